"""The broker of a live hub: other programs' requests go the way of the hub's own, spot's by spot's."""

import asyncio
import json
from typing import Any, Final

import pytest
from tests.sim.worlds import Place, World, play

from klinehub.feed.use import Use
from klinehub.serve.forwarding import broker_of
from klinehub.serve.markets import Markets
from klinehub.settings import ServeSettings

pytestmark = pytest.mark.timeout(180)
SERVE: Final = ServeSettings(port=0, ws_port=0)
INTEREST: Final = "/fapi/v1/openInterest"


def test_each_market_is_asked_through_its_own_gate() -> None:
    async def act(world: World) -> list[Any]:
        assert world.hub.spot is not None
        broker, spot = broker_of(Markets(world.hub), SERVE), "/api/v3/ticker/price"
        found: list[Any] = [(await broker.forward("a", "GET", spot, "symbol=BTCUSDT")).status]
        await asyncio.sleep(30)
        for path in (INTEREST, spot):
            reply = await broker.forward("a", "GET", path, "symbol=BTCUSDT")
            found.append((reply.status, json.loads(reply.body)["symbol"]))
        found.append(broker.stats().weight)
        return found

    # Futures are live before spot is.
    assert play(act, place=Place(spot=True)) == [400, (200, "BTCUSDT"), (200, "BTCUSDT"), {"a": 3}]


def test_bots_that_ask_all_they_can_take_no_more_than_their_part_of_a_live_hubs_budget() -> None:
    """For three minutes twenty bots poll; the exchange counts for itself."""

    async def act(world: World) -> tuple[int, int, dict[int, int], int, bool]:
        hub, broker = world.hub, broker_of(Markets(world.hub), SERVE)

        async def bot(n: int) -> None:
            for turn in range(180):
                symbol = hub.symbols[(n + turn) % len(hub.symbols)]
                await broker.forward(f"bot {n}", "GET", INTEREST, f"symbol={symbol}&n={n}&turn={turn}")
                await asyncio.sleep(1)

        await asyncio.gather(*(bot(n) for n in range(20)))
        world.assert_true()
        banned = hub.gate.banned_until > 0
        return broker.stats().forwarded, hub.gate.share(Use.FORWARDED), world.weights, world.refusals, banned

    forwarded, part, weights, refusals, banned = play(act, place=Place(limit=300))

    assert part == 60
    assert forwarded >= 3 * part
    assert max(weights.values()) <= 240
    assert (refusals, banned) == (0, False)
    assert len(weights) >= 3
