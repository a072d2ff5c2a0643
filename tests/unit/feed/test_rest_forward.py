"""Requests that are passed on as they are: counted, paced and learnt from like every other."""

import asyncio
from typing import Any

import pytest
from tests.unit.feed.desks import KLINES, NOW, Desk, desk, exchange_error

from klinehub.errors import Banned, Blocked, FeedError, Unanswered, Unreachable
from klinehub.feed.budget import BAN_MARGIN, MINUTE
from klinehub.feed.forwarded import Call, Reply
from klinehub.feed.use import Use
from klinehub.sim.loop import SimLoop, run

DEPTH = Call("GET", "/fapi/v1/depth", "symbol=%E5%B8%81USDT&limit=5")


async def forward(made: Desk, call: Call = DEPTH, **more: Any) -> Reply:
    return await made.rest.forward(call, weight=2, use=more.pop("use", Use.FORWARDED), **more)


def test_a_request_is_sent_as_it_is_and_its_weight_is_followed() -> None:
    call = Call("PUT", "/fapi/v1/x", "b=%2f&a=+1", {"X-Some": "thing"}, b"c=%2F")

    async def main(loop: SimLoop) -> tuple[Reply, Any, Desk]:
        reply = {"text": '{"a":1}', "headers": {"X-MBX-USED-WEIGHT-1M": "44", "X-Other": "x"}}
        async with desk(loop, reply) as made:
            given = await forward(made, call)
            request = made.exchange.requests[0]
            return given, (request.method, request.raw_path, request.headers["X-Some"]), made

    reply, sent, made = run(main)

    assert sent == ("PUT", "/fapi/v1/x?b=%2f&a=+1", "thing")
    assert (reply.status, reply.body, reply.headers["X-Other"]) == (200, b'{"a":1}', "x")
    assert (made.gate.calls, made.gate.spent, made.gate.used) == (1, 2, 44)


def test_a_get_has_no_kind_of_body() -> None:
    async def main(loop: SimLoop) -> list[str]:
        async with desk(loop, {"text": "[]"}) as made:
            await forward(made)
            return sorted(made.exchange.requests[0].headers)

    assert run(main) == ["Accept", "Accept-Encoding", "Host", "User-Agent"]


@pytest.mark.parametrize(
    ("status", "text", "closed"),
    [
        (400, exchange_error(-1121, "Invalid symbol."), ""),
        (401, exchange_error(-2014, "API-key format invalid."), ""),
        (404, "<html>", ""),
        (429, exchange_error(-1015, "Too many new orders."), ""),
        (418, "<html>", "banned until"),
        (400, exchange_error(-1003, "Too many requests."), "banned until"),
        (403, "<html>", "blocked (403) until"),
        (451, exchange_error(0, "restricted"), "blocked (451) until"),
        (503, exchange_error(-1008, "overloaded"), "resting until"),
        (503, "Service Unavailable.", ""),
    ],
)
def test_every_status_is_given_back_and_the_gate_learns_from_it(status: int, text: str, closed: str) -> None:
    async def main(loop: SimLoop) -> tuple[Reply, str, int]:
        async with desk(loop, {"status": status, "text": text}) as made:
            return await forward(made), made.gate.closed(made.gate.now()), made.gate.calls

    reply, told, calls = run(main)

    assert (reply.status, reply.body, calls) == (status, text.encode(), 1)
    assert told.startswith(closed)
    assert bool(told) == bool(closed)


def test_a_ban_that_a_forwarded_request_met_is_everybodys() -> None:
    async def main(loop: SimLoop) -> int:
        text = exchange_error(-1003, f"Way too many requests; IP(1.2.3.4) banned until {NOW + 90_000}.")
        async with desk(loop, {"status": 418, "text": text}) as made:
            await forward(made)
            with pytest.raises(Banned) as caught:
                await made.get()
            return caught.value.until

    assert run(main) == NOW + 90_000 + BAN_MARGIN


@pytest.mark.parametrize(
    ("close", "kind"),
    [
        (lambda gate: gate.banned(NOW + MINUTE), Banned),
        (lambda gate: gate.blocked(403), Blocked),
        (lambda gate: [gate.failed(NOW + n) for n in range(5)], Unreachable),
    ],
)
def test_while_the_gate_is_closed_nothing_leaves(close: Any, kind: type[FeedError]) -> None:
    async def main(loop: SimLoop) -> int:
        async with desk(loop, {"text": "[]"}) as made:
            close(made.gate)
            with pytest.raises(kind) as caught:
                await forward(made)
            assert type(caught.value) is kind
            return len(made.exchange.requests)

    assert run(main) == 0


def test_patience_is_for_the_turn_and_not_for_the_answer() -> None:
    async def main(loop: SimLoop) -> tuple[float, int, int]:
        async with desk(loop, {"text": "[]"}) as made:
            await made.gate.take(80)
            made.gate.landed(80)
            with pytest.raises(TimeoutError):
                await forward(made, patience=2.0)
            seconds = loop.time()
            await forward(made, use=Use.ORDERS, patience=0.001)
            return seconds, made.gate.waiting, made.gate.spent

    assert run(main) == (2.0, 0, 82)


def test_failures_let_the_host_rest_and_one_request_is_the_probe() -> None:
    async def main(loop: SimLoop) -> tuple[list[int], str, int]:
        async with desk(loop, {"status": 502, "text": "no"}) as made:
            statuses = []
            for _ in range(5):
                statuses.append((await forward(made)).status)
                await asyncio.sleep(1)
            with pytest.raises(Unreachable, match="resting"):
                await forward(made)
            await asyncio.sleep(60)
            await forward(made)
            with pytest.raises(Unreachable, match="resting") as caught:
                await forward(made)
            return statuses, str(caught.value), len(made.exchange.requests)

    statuses, text, asked = run(main)

    assert (statuses, asked) == ([502] * 5, 6)
    assert "answered /fapi/v1/depth with status 502" in text


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ({"text": "<html>Please log in</html>"}, "status 200: this is not the exchange"),
        ({"status": 302, "headers": {"Location": "http://portal.test/secret"}}, "status 302: this is not"),
        ({"status": 407}, "status 407"),
        ({"text": '[{"a":'}, "status 200: this is not the exchange"),
    ],
)
def test_a_stranger_is_no_answer_and_is_not_quoted(reply: dict[str, Any], says: str) -> None:
    async def main(loop: SimLoop) -> tuple[str, int]:
        async with desk(loop, reply) as made:
            with pytest.raises(Unanswered) as caught:
                await forward(made)
            return str(caught.value), made.gate.calls

    text, calls = run(main)

    assert says in text
    assert not {"secret", "log in", "symbol"} & set(text.split())
    assert calls == 1


def test_strangers_in_a_row_let_the_host_rest() -> None:
    async def main(loop: SimLoop) -> str:
        async with desk(loop, {"text": "<html>Please log in</html>"}) as made:
            for _ in range(5):
                with pytest.raises(Unanswered):
                    await forward(made)
            return made.gate.closed(made.gate.now())

    assert run(main).startswith("resting until")


def test_one_that_is_cancelled_leaves_no_weight_on_its_way() -> None:
    async def main(loop: SimLoop) -> tuple[int, int]:
        async def late(_: Any) -> Any:
            await asyncio.sleep(5)

        async with desk(loop, late) as made:
            asking = asyncio.create_task(forward(made))
            await asyncio.sleep(1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            used = made.gate.used
            await asyncio.sleep(60)
            return used, made.gate.used

    assert run(main) == (2, 0)


def test_klines_and_forwarded_requests_share_connections() -> None:
    async def main(loop: SimLoop) -> set[Any]:
        async with desk(loop, {"text": "[]"}) as made:
            await made.rest.get(KLINES, {}, weight=1)
            await forward(made)
            return {request.transport for request in made.exchange.requests}

    assert len(run(main)) == 1
