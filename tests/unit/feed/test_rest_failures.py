"""REST against servers that fail, refuse, lie, trickle and never end."""

import asyncio
import gzip
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from email.utils import formatdate
from typing import Any, TypeVar

import pytest
from tests.unit.feed.desks import (
    DATE,
    KLINES,
    NOW,
    Desk,
    Exchange,
    desk,
    exchange_error,
)

from klinehub.errors import Banned, Blocked, FeedError, Unreachable
from klinehub.feed import rest as rest_module
from klinehub.feed.budget import MINUTE
from klinehub.feed.use import Use
from klinehub.sim.loop import SimLoop, run

T = TypeVar("T")


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


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one() -> None:
    """A server that answers one request twice, as a broken proxy does, puts every answer after it one off."""
    asked = iter(range(10))

    async def twice(writer: asyncio.StreamWriter) -> None:
        number = next(asked)
        for text in (b"[%d]" % number, b"[%d]" % (number + 100)):
            writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(text) + text)
            await asyncio.sleep(0.5)

    async def ask(made: Desk) -> None:
        for _ in range(4):
            told.append(await made.get())
            await asyncio.sleep(2)

    told: list[bytes] = []
    run(lambda loop: raw(loop, twice, ask))
    assert told == [b"[0]", b"[1]", b"[2]", b"[3]"]
