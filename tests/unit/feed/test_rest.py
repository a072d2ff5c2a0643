"""REST calls: every one counted, every refusal told apart and explained."""

import asyncio
import gzip
import json
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.feed.desks import (
    BASE,
    DATE,
    KLINES,
    NOW,
    START,
    Desk,
    desk,
    exchange_error,
    refused,
)

from klinehub.domain.clock import Clock
from klinehub.errors import BadRequest, Banned, Blocked, DefinitionError, FeedError, ProxyError, Unreachable
from klinehub.feed import rest as rest_module
from klinehub.feed.budget import BAN_MARGIN, GUARD, MINUTE, WeightGate
from klinehub.feed.rest import RestClient
from klinehub.feed.use import Use
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.wire import heavy

RECORDED = Path(__file__).parents[4] / "shared" / "realdata" / "raw_errors" / "binance_error_bodies.jsonl"


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
