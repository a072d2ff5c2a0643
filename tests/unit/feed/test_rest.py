"""REST calls: every one counted, every refusal told apart and explained."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from aiohttp import web

from klinehub.domain.clock import Clock
from klinehub.errors import BadRequest, Banned, Blocked, DefinitionError, FeedError, ProxyError, Unreachable
from klinehub.feed import rest as rest_module
from klinehub.feed.budget import BAN_MARGIN, GUARD, MINUTE, WeightGate
from klinehub.feed.rest import RestClient
from klinehub.feed.use import Use
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.wire import heavy, steady

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")
START = 29_000_000 * MINUTE
NOW = START + 10_000
DATE = formatdate(NOW / 1000, usegmt=True)
BASE = "http://127.0.0.1:8080"
KLINES = "/fapi/v1/klines"
RECORDED = Path(__file__).parents[4] / "shared" / "realdata" / "raw_errors" / "binance_error_bodies.jsonl"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Exchange:
    """Answers with what the test wants, one reply after the other, the last one for ever."""

    def __init__(self, *replies: web.StreamResponse | Handler | dict[str, Any]) -> None:
        self.replies = list(replies)
        self.requests: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, dict):
            # Without one the server would tell the machine's own time.
            return web.Response(**reply | {"headers": {"Date": DATE, **reply.get("headers", {})}})
        return reply if isinstance(reply, web.StreamResponse) else await reply(request)


class Desk:
    """A client, its gate and the exchange that it asks."""

    def __init__(self, loop: SimLoop, exchange: Exchange) -> None:
        clock = Clock(NOW, 1.0, loop.time)
        self.exchange = exchange
        self.gate = WeightGate(clock, limit=100, share=0.8)
        self.rest = RestClient(BASE, SimNetwork(), self.gate, clock)

    async def get(self, **params: str | int) -> bytes:
        return await self.rest.get(KLINES, params, weight=2)


@asynccontextmanager
async def desk(
    loop: SimLoop, *replies: web.StreamResponse | Handler | dict[str, Any]
) -> "AsyncIterator[Desk]":
    exchange = Exchange(*replies)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", exchange.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 8080).start()
    made = Desk(loop, exchange)
    try:
        yield made
    finally:
        await made.rest.close()
        await runner.cleanup()


def refused(kind: type[FeedError], match: str, **reply: Any) -> tuple[FeedError, Desk]:
    """Answer one request with *reply*, expect an error of *kind* and give it."""

    async def main(loop: SimLoop) -> tuple[FeedError, Desk]:
        async with desk(loop, reply) as made:
            with pytest.raises(kind, match=match) as caught:
                await made.get(symbol="BTCUSDT")
            return caught.value, made

    error, made = run(main, delay=steady(0.01))
    assert type(error) is kind
    return error, made


def exchange_error(code: int, text: str) -> str:
    return json.dumps({"code": code, "msg": text})


def test_a_body_comes_back_as_it_is_and_is_counted() -> None:
    async def main(loop: SimLoop) -> tuple[bytes, Desk]:
        async with desk(loop, {"text": " [[1,2]]", "headers": {"x-mbx-used-weight-1m": "7"}}) as made:
            return await made.get(symbol="BTCUSDT", limit=499), made

    body, made = run(main)

    assert body == b" [[1,2]]"
    assert (made.gate.calls, made.gate.spent, made.gate.used) == (1, 2, 7)
    assert made.exchange.requests[0].path_qs == f"{KLINES}?symbol=BTCUSDT&limit=499"


def test_symbols_are_sent_as_utf_8() -> None:
    async def main(loop: SimLoop) -> str:
        async with desk(loop, {"text": "[]"}) as made:
            await made.get(symbol="币安人生USDT")
            return made.exchange.requests[0].raw_path

    assert run(main) == f"{KLINES}?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT"


def test_an_answer_says_when_it_was_asked_not_when_it_was_wanted() -> None:
    async def main(loop: SimLoop) -> list[int]:
        async with desk(loop, {"text": "[]"}) as made:
            made.gate.offset = 500
            return [(await made.rest.ask(KLINES, {}, weight=80)).asked for _ in range(2)]

    assert run(main) == [NOW + 500, START + MINUTE + GUARD]


def test_gzip_is_asked_for_and_unpacked() -> None:
    async def main(loop: SimLoop) -> tuple[bytes, str]:
        reply = {"body": gzip.compress(b"[1]"), "headers": {"Content-Encoding": "gzip"}}
        async with desk(loop, reply) as made:
            return await made.get(), made.exchange.requests[0].headers["Accept-Encoding"]

    assert run(main) == (b"[1]", "gzip")


def test_a_gzip_bomb_stops_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "MAX_BODY", 1 << 20)
    bomb = gzip.compress(b"[" + b" " * (64 << 20))

    refused(FeedError, "more than 1 MiB", body=bomb, headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("status", "headers", "text", "until"),
    [
        (429, {"Retry-After": "7"}, "Too many requests.", NOW + 7_000),
        (429, {}, "Too many requests.", START + MINUTE),
        (418, {}, f"Way too many requests; IP(1.2.3.4) banned until {NOW + 90_000}.", NOW + 90_000),
        (418, {"Retry-After": "300"}, "no end in the text", NOW + 300_000),
        (418, {"Retry-After": "soon"}, "no end anywhere", NOW + 2 * MINUTE),
        (418, {}, f"Stale answer: banned until {NOW - 90_000}.", NOW + 2 * MINUTE),
    ],
)
def test_a_ban_is_obeyed_until_its_end(status: int, headers: dict[str, str], text: str, until: int) -> None:
    error, made = refused(Banned, text[:8], status=status, headers=headers, text=exchange_error(-1003, text))

    assert isinstance(error, Banned)
    assert error.until == made.gate.banned_until
    assert abs(error.until - until - BAN_MARGIN) <= 40
    assert "UTC" in str(error)
    assert made.gate.calls == 1


def test_nothing_is_asked_during_a_ban() -> None:
    async def main(loop: SimLoop) -> int:
        reply = {"status": 429, "headers": {"Retry-After": "30"}, "text": exchange_error(-1003, "slow down")}
        async with desk(loop, reply, {"text": "[]"}) as made:
            for _ in range(5):
                with pytest.raises(Banned):
                    await made.get()
            asked = len(made.exchange.requests)
            await asyncio.sleep(31.5)
            await made.get()
            return asked

    assert run(main) == 1


def test_a_firewall_and_a_forbidden_country_are_told_apart() -> None:
    wall, _ = refused(Blocked, "firewall", status=403, text="<html>Request blocked.</html>")
    place, _ = refused(
        Blocked, "refuses this location", status=451, text=exchange_error(0, "restricted location\n\x1b[31m")
    )

    assert "network.proxy" in str(wall)
    assert "restricted location??[31m" in str(place)


def test_a_bad_request_carries_the_exchange_code() -> None:
    error, made = refused(
        BadRequest, "Invalid symbol", status=400, text=exchange_error(-1121, "Invalid symbol.")
    )

    assert isinstance(error, BadRequest)
    assert error.code == -1121
    assert made.gate.calls == 1


@pytest.mark.parametrize("status", [408, 500, 503])
def test_a_failing_exchange_is_asked_three_times_with_pauses(status: int) -> None:
    async def main(loop: SimLoop) -> tuple[int, float]:
        async with desk(loop, {"status": status, "text": "Service Unavailable."}) as made:
            with pytest.raises(Unreachable, match=f"status {status}, 3 times"):
                await made.get()
            return made.gate.calls, loop.time()

    calls, seconds = run(main)

    assert calls == 3
    assert 2.5 < seconds < 3


def test_a_passing_failure_is_healed_and_every_try_counts() -> None:
    async def main(loop: SimLoop) -> tuple[bytes, int]:
        async with desk(loop, {"status": 503}, {"text": "[1]"}) as made:
            return await made.get(), made.gate.spent

    assert run(main) == (b"[1]", 4)


def test_a_connection_that_breaks_is_tried_again_and_counted() -> None:
    async def drop(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def main(loop: SimLoop) -> tuple[bytes, int]:
        async with desk(loop, {"text": "[0]"}, drop, {"text": "[1]"}) as made:
            await made.get()
            return await made.get(), made.gate.calls

    assert run(main) == (b"[1]", 3)


def test_a_truncated_body_is_never_served() -> None:
    async def truncate(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"[[1")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def main(loop: SimLoop) -> int:
        async with desk(loop, truncate) as made:
            with pytest.raises(Unreachable, match=r"connection to 127\.0\.0\.1:8080 failed"):
                await made.get()
            return made.gate.calls

    assert run(main) == 3


def test_a_silent_exchange_times_out_once() -> None:
    async def silence(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3_600)
        return web.Response()

    async def main(loop: SimLoop) -> tuple[int, float]:
        async with desk(loop, silence) as made:
            with pytest.raises(Unreachable, match="did not answer in time"):
                await made.get()
            return made.gate.calls, loop.time()

    calls, seconds = run(main)

    assert calls == 1
    assert seconds == pytest.approx(10, abs=1)


def test_nobody_there_is_said_with_host_and_port() -> None:
    async def main(loop: SimLoop) -> None:
        clock = Clock(NOW, 1.0, loop.time)
        rest = RestClient("http://127.0.0.1:1", SimNetwork(), WeightGate(clock), clock)
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 refused the connection: check"):
            await rest.get("/fapi/v1/ping", {}, weight=1)
        await rest.close()

    run(main)


@pytest.mark.parametrize(
    "reply",
    [
        {"status": 200, "text": "<html>Please log in to the hotel network</html>"},
        {"status": 404, "text": "<html>not found</html>"},
        {"status": 200, "text": ""},
        {"status": 302, "headers": {"Location": "http://user:secret@portal.test/login"}},
    ],
)
def test_something_else_that_answers_is_said_so(reply: dict[str, Any]) -> None:
    error, made = refused(FeedError, "not the exchange answering", **reply)

    assert "secret" not in str(error)
    assert len(made.exchange.requests) == 1


def test_a_proxy_that_wants_a_login_is_named() -> None:
    refused(ProxyError, "credentials", status=407, text="<html>login</html>")


def test_an_address_without_a_scheme_is_refused_at_once() -> None:
    clock = Clock(NOW, 1.0, lambda: 0.0)

    with pytest.raises(DefinitionError, match=r"https://fapi\.binance\.com"):
        RestClient("fapi.binance.com", SimNetwork(), WeightGate(clock), clock)


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded bodies are not on this machine")
def test_the_recorded_refusals_are_told_apart() -> None:
    kinds = {418: Banned, 429: Banned, 451: Blocked, 403: Blocked, 400: BadRequest}
    until = 1746327239762
    at = until - 90_000
    for line in RECORDED.read_text().splitlines():
        seen = json.loads(line)
        body = seen.get("body_text") or json.dumps(seen["body"], indent=2)

        reply = {
            "status": seen["http"],
            "text": body,
            "headers": {"Date": formatdate(at / 1000, usegmt=True)},
        }
        error, _ = refused(kinds[seen["http"]], "address|rejected|answered", **reply)

        if isinstance(error, Banned) and seen["http"] == 418:
            assert error.until == until + BAN_MARGIN


@pytest.mark.parametrize(
    ("date", "told"),
    [
        (DATE, NOW),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777_000),
        ("Sunday, 06-Nov-94 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:61 GMT", None),
        ("Sun, 99 Abc 0000 08:49:37 GMT", None),
        ("soon", None),
        ("", None),
    ],
)
def test_an_answer_says_what_time_the_exchange_had(date: str, told: int | None) -> None:
    async def main(loop: SimLoop) -> int | None:
        async with desk(loop, {"text": "[]", "headers": {"Date": date}}) as made:
            return (await made.rest.ask(KLINES, {}, weight=1)).told

    assert run(main) == told


def test_each_use_has_its_own_share() -> None:
    async def main(loop: SimLoop) -> list[int]:
        async with desk(loop, {"text": "[]"}) as made:
            asks = [
                made.rest.ask(KLINES, {}, weight=2, use=use) for use in (Use.AUDIT, Use.AUDIT, Use.REPAIR)
            ]
            return [answer.asked for answer in await asyncio.gather(*asks)]

    assert run(main) == [NOW, START + MINUTE + GUARD, NOW]


def test_a_failing_host_is_left_in_peace_by_a_storm_of_repairs() -> None:
    """Eight workers that go on and on: a few requests each until the gate rests, then a probe a minute."""

    async def main(loop: SimLoop) -> tuple[int, int, list[str]]:
        async with desk(loop, {"status": 502, "text": "<html>Bad Gateway</html>"}) as made:
            told: list[str] = []

            async def repair() -> None:
                while True:
                    try:
                        await made.rest.get(KLINES, {}, weight=1, use=Use.REPAIR)
                    except Unreachable as exc:
                        told.append(str(exc))
                    await asyncio.sleep(0.1)

            workers = [asyncio.create_task(repair()) for _ in range(8)]
            await asyncio.sleep(10)
            before = len(made.exchange.requests)
            await asyncio.sleep(600)
            for worker in workers:
                worker.cancel()
            return before, len(made.exchange.requests) - before, told

    before, after, told = run(main)

    assert before <= 8 * 5
    assert 9 <= after <= 11
    assert "status 502" in told[0]
    assert "resting until" in told[-1]


def test_a_hiccup_of_many_requests_at_once_closes_nothing() -> None:
    async def main(loop: SimLoop) -> int:
        async with desk(loop, *[{"status": 502, "text": ""}] * 32, {"text": "[]"}) as made:
            await asyncio.gather(*(made.rest.get(KLINES, {}, weight=1) for _ in range(32)))
            return made.gate.calls

    assert run(main) == 64


def test_a_block_is_asked_about_once_in_five_minutes() -> None:
    async def main(loop: SimLoop) -> list[int]:
        async with desk(loop, {"status": 451, "text": exchange_error(0, "restricted location")}) as made:
            counts = []
            for _ in range(3):
                for _ in range(100):
                    with pytest.raises(Blocked):
                        await made.get()
                    await asyncio.sleep(3)
                counts.append(len(made.exchange.requests))
                await asyncio.sleep(1)
            return counts

    assert run(main) == [1, 2, 3]


def test_an_overloaded_exchange_is_not_asked_again_at_once() -> None:
    async def main(loop: SimLoop) -> tuple[int, int]:
        reply = {"status": 503, "text": exchange_error(-1008, "Server is currently overloaded.")}
        async with desk(loop, reply, {"text": "[]"}) as made:
            with pytest.raises(Unreachable, match=r"overloaded.*, 1 time: wait"):
                await made.get()
            with pytest.raises(Unreachable, match="resting until"):
                await made.get()
            asked = len(made.exchange.requests)
            await asyncio.sleep(5.1)
            await made.get()
            return asked, len(made.exchange.requests)

    assert run(main) == (1, 2)


@pytest.mark.parametrize(
    ("reply", "closes"),
    [
        ({"status": 400, "text": exchange_error(-1121, "Invalid symbol.")}, False),
        ({"status": 200, "text": "<html>Please log in</html>"}, True),
        ({"status": 302, "headers": {"Location": "http://portal.test/"}}, True),
    ],
)
def test_a_bad_request_is_an_answer_and_a_foreign_body_is_none(
    reply: dict[str, Any], *, closes: bool
) -> None:
    async def main(loop: SimLoop) -> str:
        async with desk(loop, reply) as made:
            for _ in range(5):
                with pytest.raises(FeedError):
                    await made.get()
            return made.gate.closed(made.gate.now())

    assert run(main).startswith("resting until") == closes


def test_a_ban_met_while_a_retry_waits_stops_the_retry() -> None:
    async def main(loop: SimLoop) -> int:
        async with desk(loop, {"status": 502, "text": ""}) as made:
            asking = asyncio.create_task(made.get())
            await asyncio.sleep(0.3)
            made.gate.banned(NOW + 5 * MINUTE)
            with pytest.raises(Banned):
                await asking
            return len(made.exchange.requests)

    assert run(main) == 1


def test_a_ban_ends_by_the_exchanges_clock_not_by_ours() -> None:
    """Our clock is an hour ahead and nobody has read the exchange's time yet."""
    there = NOW - 60 * MINUTE

    async def main(loop: SimLoop) -> tuple[int, int]:
        text = exchange_error(-1003, f"Way too many requests; IP banned until {there + 90_000}.")
        headers = {"Date": formatdate(there / 1000, usegmt=True)}
        async with desk(loop, {"status": 418, "text": text, "headers": headers}, {"text": "[]"}) as made:
            with pytest.raises(Banned):
                await made.get()
            await asyncio.sleep(89)
            with pytest.raises(Banned):
                await made.get()
            await asyncio.sleep(3)
            await made.get()
            return len(made.exchange.requests), made.gate.offset

    asked, offset = run(main)

    assert asked == 2
    assert abs(offset + 60 * MINUTE) <= 1_000


def test_a_gzip_bomb_costs_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "MAX_BODY", 4 << 20)
    bomb = gzip.compress(b"[" + b" " * (256 << 20), 1)
    headers = {"Content-Encoding": "gzip", "Date": DATE}
    seen: list[int] = []

    async def main(loop: SimLoop) -> None:
        async with desk(loop, {"body": bomb, "headers": headers}) as made:
            tracemalloc.start()
            try:
                with pytest.raises(FeedError, match="more than 4 MiB"):
                    await made.get()
                seen.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()

    run(main)

    assert seen[0] < 24 << 20


RawAnswer = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def raw(loop: SimLoop, answer: RawAnswer, ask: Callable[[Desk], Awaitable[T]]) -> T:
    """Ask a server that writes whatever it likes; it answers every request with *answer*."""
    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                await answer(writer)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        task.add_done_callback(lambda _: writer.close())
        served.append(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 8080)
    made = Desk(loop, Exchange())
    try:
        return await ask(made)
    finally:
        await made.rest.close()
        server.close()
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)
        await asyncio.sleep(1)


def written(*parts: bytes, pause: float = 0.0, close: bool = False) -> RawAnswer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(pause)
        if close:
            writer.close()

    return answer


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def test_a_server_that_trickles_is_given_up_on_after_the_whole_time() -> None:
    trickle = written(HEAD + b"Content-Length: 1000\r\n\r\n", *[b"["] * 900, pause=1.0)

    async def main(loop: SimLoop) -> float:
        async def ask(made: Desk) -> None:
            with pytest.raises(Unreachable, match="did not answer in time"):
                await made.get()
            times.append(loop.time())

        times: list[float] = []
        await raw(loop, trickle, ask)
        return times[0]

    assert run(main) == pytest.approx(10, abs=0.5)


def test_headers_that_trickle_are_given_up_on_too() -> None:
    trickle = written(HEAD, *[b"X-A: 1\r\n"] * 900, pause=1.0)

    async def ask(made: Desk) -> None:
        with pytest.raises(Unreachable, match="did not answer in time"):
            await made.get()

    run(lambda loop: raw(loop, trickle, ask))


@pytest.mark.parametrize(
    "parts",
    [
        (HEAD + b"Content-Length: 100\r\n\r\n[[1,2", b""),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[[1,2\r\n", b""),
        (
            HEAD + b"Content-Encoding: gzip\r\nContent-Length: 30\r\n\r\n" + gzip.compress(b"[1]" * 99)[:20],
            b"",
        ),
        (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n[1,2]", b""),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n[[1,2\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n[]", b""),
        (HEAD + b"Content-Length: 3\r\n\r\n[1][9,9,9]", b""),
        (b"no HTTP at all\r\n\r\n", b""),
        (b"", b""),
    ],
    ids=[
        "short",
        "cut chunk",
        "cut gzip",
        "no gzip",
        "bad chunk",
        "bad length",
        "too long",
        "no HTTP",
        "nothing",
    ],
)
def test_a_body_that_is_not_whole_is_never_served(parts: tuple[bytes, ...]) -> None:
    async def ask(made: Desk) -> int:
        with pytest.raises(FeedError):
            await made.get()
        return made.gate.calls

    calls = run(lambda loop: raw(loop, written(*parts, close=True), ask))

    assert 1 <= calls <= 3


def test_a_gzip_stream_that_ends_early_inside_a_whole_body_is_not_served() -> None:
    packed = gzip.compress(b"[" + b"1," * 5_000 + b"1]")[:-20]
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)

    async def ask(made: Desk) -> bytes:
        return await made.get()

    with pytest.raises(Unreachable, match="breaks off"):
        run(lambda loop: raw(loop, written(head + packed), ask))


def test_an_answer_without_end_stops_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "MAX_BODY", 1 << 16)
    chunk = b"1000\r\n" + b"[" * 4096 + b"\r\n"
    endless = written(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 100)

    async def ask(made: Desk) -> None:
        with pytest.raises(FeedError, match="more than 0 MiB"):
            await made.get()

    run(lambda loop: raw(loop, endless, ask))


class CountingExchange:
    """Counts weight per minute of its own clock, as the real one does, and bans beyond its limit."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self.clock = clock
        self.limit = limit
        self.minutes: dict[int, int] = {}

    async def answer(self, request: web.Request) -> web.Response:
        minute = self.clock.now() // MINUTE
        used = self.minutes[minute] = self.minutes.get(minute, 0) + 2
        status = 429 if used > self.limit else 200
        return web.Response(status=status, text="[]", headers={"X-MBX-USED-WEIGHT-1M": str(used)})


@pytest.mark.parametrize("second", [5, 30, 55])
@pytest.mark.parametrize("ahead", [0, 1_700])
def test_a_warm_up_takes_the_minutes_it_needs_and_no_more(second: int, ahead: int) -> None:
    requests, limit = 212, 240

    async def main(loop: SimLoop) -> tuple[float, dict[int, int]]:
        clock = Clock(START + second * 1_000, 1.0, loop.time)
        exchange = CountingExchange(clock.shifted(ahead), limit)
        app = web.Application()
        app.router.add_get(KLINES, exchange.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 8080).start()
        gate = WeightGate(clock, limit=limit, share=0.8)
        gate.offset = ahead
        rest = RestClient(BASE, SimNetwork(), gate, clock)
        places = asyncio.Semaphore(8)

        async def one() -> None:
            async with places:
                await rest.get(KLINES, {}, weight=2)

        await asyncio.gather(*(one() for _ in range(requests)))
        seconds = loop.time()
        await rest.close()
        await runner.cleanup()
        return seconds, exchange.minutes

    seconds, minutes = run(main, delay=heavy(0.03))

    bound = 2 * 60 - second - ahead / 1_000
    assert bound <= seconds <= bound + 5
    assert sum(minutes.values()) == 2 * requests
    assert max(minutes.values()) <= limit * 0.8
