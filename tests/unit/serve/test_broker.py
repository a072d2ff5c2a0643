"""What the broker asks of the exchange, for whom, and what it tells them."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web
from tests.unit.feed.desks import exchange_error
from tests.unit.serve.brokers import BTC, DEPTH, INTEREST, NOW, rig, slow, told

from klinehub.domain.clock import Clock
from klinehub.errors import DefinitionError
from klinehub.feed import rest as rest_module
from klinehub.feed.budget import MINUTE, WeightGate
from klinehub.feed.forwarded import Reply
from klinehub.feed.rest import RestClient
from klinehub.feed.venue import SPOT
from klinehub.serve.broker import Broker, Upstream
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.synthetic import synthetic


def test_ten_clients_that_ask_the_same_cost_the_exchange_one_request() -> None:
    async def main(loop: SimLoop) -> tuple[list[Reply], int, Any]:
        clock = Clock(NOW, 1.0, loop.time)
        served = await serve(Exchange(synthetic(3, 1, start=NOW), clock), port=0, ws_port=0)
        gate = WeightGate(clock)
        rest = RestClient(served.rest_url, SimNetwork(), gate, clock)
        broker = Broker(lambda: [Upstream(rest, gate)])
        try:
            asking = (broker.forward(f"bot {n}", "GET", INTEREST, BTC) for n in range(10))
            replies = await asyncio.gather(*asking)
            spent = sum(one.used for one in served.exchange.tally.accounts.values())
            return replies, spent, broker.stats()
        finally:
            await rest.close()
            await served.close()

    replies, spent, stats = run(main)

    assert spent == 1
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    assert json.loads(replies[0].body)["symbol"] == "BTCUSDT"
    assert (stats.forwarded, stats.coalesced, stats.weight) == (1, 9, {"bot 0": 1})
    assert (stats.waiting, stats.flying, stats.errors, stats.refused) == (0, 0, 0, {})


def test_only_what_means_the_same_is_one_request_and_nothing_is_kept() -> None:
    async def main(loop: SimLoop) -> list[str]:
        async with rig(loop, slow) as made:
            same = ("symbol=BTCUSDT&limit=5", "limit=5&symbol=BTCUSDT", "limit=%35&symbol=%42TCUSDT")
            other = ("symbol=BTCUSDT&limit=50", "symbol=ETHUSDT&limit=5", "symbol=BTCUSDT")
            await asyncio.gather(*(made.ask("a", DEPTH, query) for query in same + other))
            await made.ask("a", DEPTH, same[0])
            return made.asked

    first = f"{DEPTH}?limit=5&symbol=BTCUSDT"

    assert sorted(run(main)) == sorted(
        [
            first,
            first,
            f"{DEPTH}?limit=50&symbol=BTCUSDT",
            f"{DEPTH}?limit=5&symbol=ETHUSDT",
            f"{DEPTH}?symbol=BTCUSDT",
        ]
    )


def test_a_unit_of_time_belongs_to_the_request() -> None:
    async def main(loop: SimLoop) -> list[str | None]:
        async with rig(loop, slow, venue=SPOT) as made:
            units: tuple[dict[str, str], ...] = (
                {},
                {"X-MBX-TIME-UNIT": "microsecond"},
                {"x-mbx-time-unit": "FORTNIGHT"},
            )
            await asyncio.gather(*(made.ask("a", "/api/v3/trades", BTC, headers=one) for one in units))
            return [request.headers.get("X-MBX-TIME-UNIT") for request in made.exchange.requests]

    assert run(main) == [None, "MICROSECOND"]


def test_during_a_ban_nothing_is_asked_and_clients_are_told_until_when() -> None:
    async def main(loop: SimLoop) -> tuple[Reply, list[str], dict[str, int]]:
        async with rig(loop) as made:
            made.gate.banned(NOW + 90_000)
            reply = await made.ask("a")
            return reply, made.asked, made.broker.stats().refused

    reply, asked, refused = run(main)

    assert told(reply) == (418, -1003)
    assert f"banned until {NOW + 91_000}" in json.loads(reply.body)["msg"]
    assert reply.headers["Retry-After"] == "91"
    assert (asked, refused) == ([], {"closed": 1})


@pytest.mark.parametrize(
    ("answer", "status", "code", "later"),
    [
        ({"status": 429, "text": exchange_error(-1003, "slow down")}, 429, -1003, (418, -1003)),
        ({"status": 418, "text": "<html>", "headers": {"Retry-After": "7"}}, 418, -1003, (418, -1003)),
        ({"status": 403, "text": "<html>no"}, 403, 0, (403, 0)),
        ({"status": 451, "text": exchange_error(0, "restricted location")}, 451, 0, (451, 0)),
        ({"status": 503, "text": exchange_error(-1008, "overloaded")}, 503, -1008, (503, -1001)),
    ],
)
def test_a_refusal_closes_the_gate_and_is_told_in_the_dialect(
    answer: dict[str, Any], status: int, code: int, later: tuple[int, int]
) -> None:
    async def main(loop: SimLoop) -> tuple[Reply, Reply, int]:
        async with rig(loop, answer) as made:
            return await made.ask("a"), await made.ask("b"), len(made.asked)

    first, second, asked = run(main)

    assert (told(first), told(second), asked) == ((status, code), later, 1)
    assert int(second.headers["Retry-After"]) >= 1
    assert ("Retry-After" in first.headers) == (status in {418, 429})


def test_an_error_of_the_exchange_comes_back_byte_for_byte_and_closes_nothing() -> None:
    body = '{"code":-1121,  "msg":"Invalid symbol."}'

    async def main(loop: SimLoop) -> tuple[list[Reply], str]:
        async with rig(loop, {"status": 400, "text": body}, {"status": 404, "text": "<p>none</p>"}) as made:
            replies = [await made.ask(f"client {n}") for n in range(8)]
            return replies, made.gate.closed(made.gate.now())

    replies, closed = run(main)

    assert (replies[0].status, replies[0].body) == (400, body.encode())
    assert (replies[1].status, replies[1].body) == (404, b"<p>none</p>")
    assert closed == ""


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 302, "headers": {"Location": "http://127.0.0.1:8080/elsewhere"}},
        {"status": 200, "text": "<html>Please log in</html>"},
        {"status": 200, "text": '{"openInterest":"1'},
        {"status": 407},
    ],
)
def test_what_is_not_the_exchange_is_told_as_a_failure(answer: dict[str, Any]) -> None:
    async def main(loop: SimLoop) -> tuple[Reply, int, int]:
        async with rig(loop, answer) as made:
            return await made.ask("a"), len(made.asked), made.broker.stats().errors

    reply, asked, errors = run(main)

    assert (told(reply), asked, errors) == ((503, -1001), 1, 1)


def test_what_a_client_needs_of_the_headers_comes_back_and_nothing_else() -> None:
    headers = {"X-MBX-USED-WEIGHT-1M": "900", "Set-Cookie": "a=b", "Server": "x", "Retry-After": "3"}

    async def main(loop: SimLoop) -> tuple[Reply, int]:
        async with rig(loop, {"text": "[]", "headers": headers, "content_type": "application/json"}) as made:
            return await made.ask("a"), made.gate.used

    reply, used = run(main)

    assert sorted(reply.headers) == ["Content-Type", "Date", "Retry-After"]
    assert used == 900


def test_a_failure_is_shared_and_not_kept() -> None:
    async def main(loop: SimLoop) -> tuple[list[Reply], Reply, int]:
        replies = {"status": 502, "text": "<html>Bad Gateway</html>"}, {"text": "[]"}
        async with rig(loop, *replies) as made:
            failures = await asyncio.gather(*(made.ask(f"client {n}") for n in range(5)))
            return failures, await made.ask("late"), len(made.asked)

    failures, late, asked = run(main)

    assert {told(reply) for reply in failures} == {(502, -1001)}
    assert (late.status, asked) == (200, 2)


def test_a_body_that_is_far_too_large_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "MAX_BODY", 1 << 20)

    async def main(loop: SimLoop) -> Reply:
        async with rig(loop, {"body": b"[" + b" " * (2 << 20) + b"]"}) as made:
            return await made.ask("a")

    assert told(run(main)) == (503, -1001)


def test_a_body_that_trickles_ends_with_the_time_of_a_request() -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.5)

    async def main(loop: SimLoop) -> tuple[Reply, float, Any]:
        async with rig(loop, trickle, seconds=3.0) as made:
            reply = await made.ask("a")
            return reply, loop.time(), made.broker.stats()

    reply, seconds, stats = run(main)

    assert told(reply) == (503, -1001)
    assert 3 <= seconds < 3.5
    assert (stats.errors, stats.flying) == (1, 0)


def test_what_is_counted_by_requests_stays_within_its_own_limit() -> None:
    async def main(loop: SimLoop) -> tuple[list[int], list[int], Reply, Any]:
        async with rig(loop) as made:
            ask = made.ask
            first = [(await ask("a", "/fapi/v1/fundingRate", f"limit={n}")).status for n in range(400)]
            over = await ask("a", "/fapi/v1/fundingInfo", "")
            others = [(await ask("a", "/futures/data/basis", BTC)).status]
            await asyncio.sleep(int(over.headers["Retry-After"]))
            first.append((await ask("a", "/fapi/v1/fundingInfo", "")).status)
            return first, others, over, made.broker.stats()

    first, others, over, stats = run(main)

    assert set(first) == {200}
    assert others == [200]
    assert told(over) == (429, -1003)
    assert stats.refused == {"window": 1}
    assert stats.weight == {"a": 0}


def test_without_forwarding_the_setting_is_named() -> None:
    async def main(loop: SimLoop) -> tuple[Reply, int]:
        async with rig(loop, forward=False) as made:
            return await made.ask("a"), len(made.asked)

    reply, asked = run(main)

    assert (told(reply), asked) == ((403, -1002), 0)
    assert "forward = true" in json.loads(reply.body)["msg"]


def test_a_market_that_is_not_followed_is_no_path() -> None:
    async def main(loop: SimLoop) -> tuple[Reply, int]:
        async with rig(loop) as made:
            return await made.ask("a", "/api/v3/depth"), len(made.asked)

    reply, asked = run(main)

    assert (told(reply), asked) == ((400, -5000), 0)


def test_the_exchange_never_counts_more_than_may_be_forwarded() -> None:
    """Forty clients ask all they can for three minutes."""

    async def main(loop: SimLoop) -> dict[int, int]:
        spent: dict[int, int] = {}

        async def count(_: web.Request) -> web.StreamResponse:
            minute = (NOW + int(loop.time() * 1000)) // MINUTE
            spent[minute] = spent.get(minute, 0) + 20
            return web.Response(text="[]")

        async with rig(loop, count) as made:

            async def bot(n: int) -> None:
                for turn in range(20):
                    await made.ask(f"bot {n}", "/fapi/v1/aggTrades", f"fromId={n * 1000 + turn}")
                    await asyncio.sleep(9)

            await asyncio.gather(*(bot(n) for n in range(40)))
        return spent

    spent = run(main)

    assert max(spent.values()) == 480
    assert min(spent.values()) >= 460


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(DefinitionError, match="more than 0 and at most 1"):
        Broker(list, client_share=share)


def test_a_market_that_was_opened_anew_is_asked_through_its_own_gate() -> None:
    async def main(loop: SimLoop) -> list[int]:
        async with rig(loop) as made:
            gates = [made.gate, WeightGate(made.clock)]
            rests = [RestClient("http://127.0.0.1:8080", SimNetwork(), gate, made.clock) for gate in gates]
            opened = [Upstream(rest, gate) for rest, gate in zip(rests, gates, strict=True)]
            broker = Broker(lambda: opened[:1])
            await broker.forward("a", "GET", INTEREST, BTC)
            del opened[0]
            await broker.forward("a", "GET", INTEREST, BTC)
            for rest in rests:
                await rest.close()
            return [gate.calls for gate in gates]

    assert run(main) == [1, 1]


def test_a_broker_that_closes_gives_everything_up_and_says_so() -> None:
    async def main(loop: SimLoop) -> tuple[list[Reply], float, Any]:
        async with rig(loop, slow, width=1) as made:
            asking = [asyncio.create_task(made.ask("a", DEPTH, f"limit={n % 3}")) for n in range(6)]
            await asyncio.sleep(0.1)
            made.broker.close()
            replies = await asyncio.gather(*asking)
            replies.append(await made.ask("late"))
            return replies, loop.time(), made.broker.stats()

    replies, seconds, stats = run(main)

    assert {told(reply) for reply in replies} == {(503, -1001)}
    assert seconds < 0.2
    assert (stats.flying, stats.waiting, stats.refused) == (0, 0, {"stopping": 7})


def test_who_goes_away_is_told_nothing() -> None:
    async def main(loop: SimLoop) -> bool:
        async with rig(loop, slow) as made:
            asking = asyncio.create_task(made.ask("a"))
            await asyncio.sleep(0.1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            return asking.cancelled()

    assert run(main)
