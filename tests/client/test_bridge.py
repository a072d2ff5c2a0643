"""A hub behind ccxt: ccxt's own Binance class against the simulated exchange, and a class of our own."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.bridge.standin import BASES, StandIn, Watching, away, too_many, truth, unknown

from klinehub import compiled
from klinehub.app import library
from klinehub.app.library import Hub
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import timeframe
from klinehub.errors import Banned, DefinitionError, Unreachable
from klinehub.feed.decisions import BarClosed
from klinehub.serve.board.hello import _scored
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(240)
START = 1_795_252_512_345
RATE = 20.0
SAME = ("open_time", "open", "high", "low", "close")


@pytest.fixture
def clock() -> Clock:
    return Clock(START, RATE, time.monotonic)


@pytest.fixture(params=["swap", "spot"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    await compiled.ensure()
    market = synthetic(8, 1, start=START, churn_hours=0)
    exchange = Exchange(
        SpotMarket(market) if request.param == "spot" else market, Clock(START, RATE, time.monotonic)
    )
    running = await serve(exchange, port=0, ws_port=0)
    yield running
    await running.close()


async def closes(hub: Hub, count: int) -> list[tuple[BarClosed, int]]:
    """Give the next closes of the base timeframe, each with how long after its end (ms) it was told."""
    frame, found = hub.timeframes[0], []
    async for event in hub.closes():
        if event.timeframe == frame.name:
            found.append((event, hub.now() - frame.close_time(event.bar) - 1))
            if len(found) == count:
                break
    return found


async def test_the_panel_is_what_the_exchange_had(served: Served) -> None:
    spot = served.exchange.market.spot
    name = "ccxt:binance:spot" if spot else "ccxt:binanceusdm"
    there: dict[str, Any] = {"rest_url": served.rest_url, "stream_url": served.ws_url}
    async with Hub(name, timeframes=["1m", "5m"], bars=60, clock=served.exchange.clock, **there) as hub:
        found = await closes(hub, 3)
        stats, source, checked = hub.get_stats(), served.exchange.source, 0
        for symbol in hub.symbols:
            for frame in hub.timeframes:
                kept = hub.panel(frame.name).exact(symbol, start=0, end=2**62)
                times = kept.rows["open_time"]
                first, last = frame.index(int(times[0])), frame.index(int(times[-1]))
                true = source.klines(symbol, frame, first, last, 1_000)
                for field in SAME:
                    np.testing.assert_array_equal(kept.rows[field], true.rows[field])
                volumes = [one.rows["volume"].astype(float) / 10**one.scale.base for one in (kept, true)]
                np.testing.assert_array_equal(*volumes)
                assert not kept.rows["quote_volume"].any()
                checked += times.size

    assert all(event.complete for event, _ in found)
    # The proof: nothing is called closed sooner.
    assert all(after >= 2_000 for _, after in found)
    assert checked >= 2 * 60 * len(hub.symbols)
    assert hub.core.counts.updates > 0
    assert (stats["conflicts"], stats["corrections"], stats["set_aside"], stats["stale_symbols"]) == (0,) * 4
    listed = source.listings()
    assert {hub.pair(symbol) for symbol in hub.symbols} <= {one.unified for one in listed}
    assert hub.turnover["BTCUSDT"] > 0


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[StandIn]:
    made: list[StandIn] = []
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(library, "exchange_of", lambda *_, **__: made[-1])
    return made


def known(hub: Hub, name: str) -> int:
    """Count the closed bars, once each was compared with what it had to be."""
    count = 0
    for symbol in hub.symbols:
        base = symbol.removesuffix("USDT")
        frame = timeframe(name)
        for row in hub.klines(symbol, name, 60):
            index = frame.index(int(row["open_time"]))
            if name == "1m":
                assert [float(row[field]) for field in (*SAME, "volume")] == truth(base, name, index)
            count += 1
    return count


async def test_where_nobody_watches_open_bars_are_asked_for_in_turn(
    clock: Clock, standing: list[StandIn]
) -> None:
    standing.append(StandIn(clock, tells_time=False))
    async with Hub(
        "ccxt:standin", timeframes=["1m", "5m"], bars=60, native=True, clock=clock, store="off"
    ) as hub:
        found = await closes(hub, 3)

        assert hub.symbols == tuple(f"{base}USDT" for base in ("PEPE", "ETH", "BTC"))
        assert known(hub, "1m") == 3 * 60
        assert known(hub, "5m") > 0
        assert hub.bridge is not None
        assert hub.bridge.live.polled == 6
        assert any("this machine's clock" in line for line in hub.unproved)
        assert any("in turn" in line for line in hub.unproved)
    assert all(event.complete for event, _ in found)
    assert hub.core.counts.updates > 0


async def test_what_the_exchange_leaves_out_is_missing_and_not_made_up(
    clock: Clock, standing: list[StandIn]
) -> None:
    next_bar = timeframe("1m").index(START) + 1
    standing.append(StandIn(clock, absent=frozenset({("ETH", next_bar)})))
    async with Hub("ccxt:standin", timeframes=["1m"], bars=60, clock=clock, store="off") as hub:
        found = [event for event, _ in await closes(hub, 3)]
        lacking = next(event for event in found if event.bar == next_bar)
        times = hub.klines("ETHUSDT", "1m", 60)["open_time"]

    assert (lacking.complete, lacking.missing) == (False, ("ETHUSDT",))
    assert timeframe("1m").open_time(next_bar) not in times
    assert all(event.complete for event in found if event is not lacking)


async def test_after_a_refusal_nobody_asks_until_it_is_over_and_then_bars_close(
    clock: Clock, standing: list[StandIn]
) -> None:
    exchange = StandIn(clock)
    standing.append(exchange)
    async with Hub("ccxt:standin", timeframes=["1m"], bars=60, clock=clock, store="off") as hub:
        await closes(hub, 1)
        exchange.failing = [away(), too_many()]
        while exchange.failing:  # noqa: ASYNC110 - the stand-in is asked by others
            await asyncio.sleep(0.01)
        found = await closes(hub, 3)
        assert known(hub, "1m") == 3 * 60
        assert hub.bridge is not None
        assert hub.bridge.upstream.failures == 2
    assert found[-1][0].complete


@pytest.mark.parametrize("many", [True, False])
async def test_a_watch_that_breaks_is_no_calm(clock: Clock, standing: list[StandIn], many: bool) -> None:  # noqa: FBT001
    exchange = Watching(clock, many=many)
    standing.append(exchange)
    async with Hub("ccxt:standin", timeframes=["1m"], bars=60, clock=clock, store="off") as hub:
        await closes(hub, 1)
        assert (hub.live.seats_up, hub.get_stats()["stale_symbols"]) == (1, 0)
        updates = hub.core.counts.updates

        exchange.broken = away()
        while hub.live.seats_up:  # noqa: ASYNC110 - a state of the hub, that rings no bell
            await asyncio.sleep(0.01)
        stale = hub.stale("BTCUSDT")
        assert stale is not None
        # Bars go on by REST.
        await closes(hub, 1)

        exchange.broken = None
        while not hub.live.seats_up:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
        await closes(hub, 1)
        assert known(hub, "1m") == 3 * 60
        assert hub.bridge is not None
        assert (hub.bridge.live.watched, hub.bridge.live.polled) == (3, 0)
        assert hub.bridge.live.lost == (1 if many else 3)
    assert updates > 0


async def test_what_is_refused_to_be_watched_is_asked_for_in_turn(
    clock: Clock, standing: list[StandIn]
) -> None:
    exchange = Watching(clock)
    exchange.broken = unknown()
    standing.append(exchange)
    async with Hub("ccxt:standin", timeframes=["1m"], bars=60, clock=clock, store="off") as hub:
        await closes(hub, 2)
        assert hub.bridge is not None
        assert (hub.bridge.live.watched, hub.bridge.live.polled, hub.live.seats_up) == (0, 3, 1)
        assert hub.core.counts.updates > 0


async def test_what_is_not_told_can_not_be_asked_for(clock: Clock, standing: list[StandIn]) -> None:
    standing.append(StandIn(clock))
    async with Hub(
        "ccxt:standin", timeframes=["1m"], bars=60, clock=clock, store="off", streams=False
    ) as hub:
        assert "taker_delta" in hub.scan().result.unavailable
        first = _scored(hub).columns
        assert {"trend", "rsi"} <= set(first)
        assert "volume_surge" not in first
        with pytest.raises(DefinitionError, match="the exchange does not tell it"):
            hub.scanning.asked(where="taker_delta > 0")


@pytest.mark.parametrize(("error", "kind"), [(too_many(), Banned), (away(), Unreachable)])
async def test_an_exchange_that_does_not_answer_at_the_start_ends_it(
    clock: Clock, standing: list[StandIn], error: Exception, kind: type[Exception]
) -> None:
    exchange = StandIn(clock)
    exchange.failing = [error] * 5
    standing.append(exchange)
    with pytest.raises(kind, match="ccxt:standin raised"):
        await Hub("ccxt:standin", clock=clock, store="off").__aenter__()


async def test_spot_is_followed_where_there_are_no_swaps(clock: Clock, standing: list[StandIn]) -> None:
    standing.append(StandIn(clock, kinds=("spot",)))
    there: dict[str, Any] = {
        "timeframes": ["1m"],
        "bars": 20,
        "clock": clock,
        "streams": False,
        "store": "off",
    }
    async with Hub("ccxt:standin", **there) as hub:
        assert {hub.pair(symbol) for symbol in hub.symbols} == {f"{base}/USDT" for base in BASES}
