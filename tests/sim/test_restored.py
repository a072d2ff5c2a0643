"""A hub with a store on virtual time: what it kept is there after a stop, and only the rest is asked for."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Self
from unittest.mock import patch

import numpy as np
import pytest
from tests.sim.worlds import HOUR, plainly

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import MINUTE, Timeframe, timeframe
from klinehub.factors.stock import stock_factor
from klinehub.feed.decisions import Fetch
from klinehub.feed.live import Live
from klinehub.hub import Hub
from klinehub.panel.history import History
from klinehub.panel.recorded import history_of
from klinehub.scan.scanner import Scanner
from klinehub.scan.screen import Screen
from klinehub.settings import HubSettings
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.market import Market
from klinehub.sim.synthetic import synthetic
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore
from klinehub.store.sealing import Stores
from klinehub.store.sqlite import SqliteTables

pytestmark = pytest.mark.timeout(120)
SYMBOLS: Final = 4
BARS: Final = 70
START: Final = HOUR + 7 * MINUTE + 30_000


class Place:
    """A simulated exchange, a folder for the store, and hubs one after the other."""

    def __init__(self, loop: SimLoop, folder: Path) -> None:
        self.clock = Clock(START, 1.0, loop.time)
        self.market: Market = synthetic(SYMBOLS, 1, start=START, churn_hours=0)
        self.exchange = Exchange(self.market, self.clock)
        self.folder = folder
        self.urls: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        self.served = await serve(self.exchange, port=0, ws_port=0)
        stream = f"{self.served.ws_url}/market/stream"
        self.urls = {"rest_url": self.served.rest_url, "stream_url": stream}
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.served.close()

    def store(self) -> HotStore:
        return HotStore(SqliteTables(self.folder / "hot.sqlite3", origin="sim"))

    def stores(self) -> Stores:
        return Stores(self.store(), HistoryStore(self.folder / "history"))

    def hub(self, **settings: Any) -> Hub:
        wanted = HubSettings(**{**self.urls, "bars": BARS, "audit": 0.0, **settings})
        return Hub(wanted, clock=self.clock, network=SimNetwork(), jitter=lambda: 0.5, open_store=self.stores)

    def assert_true(self, hub: Hub) -> None:
        for frame in hub.timeframes:
            last = frame.index(self.clock.now() - 5_000) - 1
            for symbol in hub.symbols:
                kept = hub.panel(frame.name).exact(symbol, start=last - BARS + 1, end=last)
                assert plainly(kept) == plainly(self.truth(symbol, frame, last - BARS + 1, last))
                assert len(kept.rows) == BARS

    def recorded(self, hub: Hub, frame: Timeframe, bars: int) -> History:
        """Give the exchange's own bars as a panel."""
        last = hub.panel(frame.name).closed_bar
        found = {symbol: self.truth(symbol, frame, last - bars + 1, last) for symbol in hub.symbols}
        return history_of(frame, found, hub.symbols)

    def truth(self, symbol: str, frame: Timeframe, first: int, last: int) -> Any:
        return self.market.klines(self.market.index[symbol], frame, first, last, self.clock.now())


def play(folder: Path, act: Callable[[Place], Awaitable[None]]) -> None:
    async def main(loop: SimLoop) -> None:
        async with Place(loop, folder) as place:
            await act(place)

    run(main, seed=1)


async def all_fresh(hub: Hub) -> None:
    while hub.get_stats()["stale_symbols"] or hub.core.missing(hub.now()):  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.25)


def asking() -> tuple[Any, Counter[tuple[str, str]]]:
    """Count, while it lasts, what hubs ask for by timeframe and use."""
    asked: Counter[tuple[str, str]] = Counter()
    fetch = Live.fetch

    async def counted(live: Live, item: Fetch) -> None:
        asked[item.timeframe, item.use.value] += 1
        await fetch(live, item)

    return patch.object(Live, "fetch", counted), asked


@pytest.mark.parametrize("away", [1, 10 * 60, 55 * 60])
def test_after_a_stop_only_the_missed_minutes_are_asked_for(tmp_path: Path, away: int) -> None:
    async def act(place: Place) -> None:
        async with place.hub() as hub:
            await asyncio.sleep(130)
            place.assert_true(hub)
        await asyncio.sleep(away)
        counting, asked = asking()
        with counting:
            async with place.hub() as hub:
                assert hub.summary is not None
                assert hub.summary.requests == 0
                await all_fresh(hub)
                assert set(asked) <= {("1m", "repair")}
                assert asked["1m", "repair"] == (SYMBOLS if away > 60 else asked["1m", "repair"])
                await asyncio.sleep(70)
                place.assert_true(hub)
                assert hub.get_stats()["durable"] is True

    play(tmp_path, act)


def test_after_a_stop_of_days_what_is_too_old_is_warmed_up_anew(tmp_path: Path) -> None:
    async def act(place: Place) -> None:
        async with place.hub():
            await asyncio.sleep(70)
        await asyncio.sleep(30 * 3_600)
        counting, asked = asking()
        with counting:
            async with place.hub() as hub:
                await all_fresh(hub)
                await asyncio.sleep(70)
                place.assert_true(hub)
        assert {name for name, use in asked if use == "warm-up"} == {"1m", "5m", "15m"}
        assert asked["1h", "repair"] == SYMBOLS

    play(tmp_path, act)


def test_a_deeper_history_than_was_kept_is_asked_for_anew(tmp_path: Path) -> None:
    async def act(place: Place) -> None:
        async with place.hub(bars=20):
            await asyncio.sleep(10)
        async with place.hub() as hub:
            await all_fresh(hub)
            place.assert_true(hub)

    play(tmp_path, act)


def test_stopping_keeps_what_closed_and_the_store_equals_the_exchange(tmp_path: Path) -> None:
    async def act(place: Place) -> None:
        async with place.hub() as hub:
            await asyncio.sleep(65)
            closed = {frame.name: hub.panel(frame.name).closed_bar for frame in hub.timeframes}
        store = place.store()
        for name, last in closed.items():
            frame = timeframe(name)
            kept = store.read(frame, None, frame.open_time(last - BARS + 1), frame.open_time(last + 1))
            assert {symbol: plainly(exact) for symbol, exact in kept.items()} == {
                symbol: plainly(place.truth(symbol, frame, last - BARS + 1, last)) for symbol in hub.symbols
            }
        store.tables.close()

    play(tmp_path, act)


def test_a_smaller_universe_takes_nothing_from_the_others(tmp_path: Path) -> None:
    async def act(place: Place) -> None:
        async with place.hub() as hub:
            await asyncio.sleep(65)
            names = hub.symbols
        async with place.hub(symbols=names[:1]):
            await asyncio.sleep(65)
        async with place.hub() as hub:
            assert hub.summary is not None
            assert hub.summary.requests == 0
            await all_fresh(hub)
            place.assert_true(hub)

    play(tmp_path, act)


def test_bars_from_before_the_first_are_not_missed_after_a_restart(tmp_path: Path) -> None:
    async def act(place: Place) -> None:
        async with place.hub(bars=900, timeframes=("1h",)) as hub:
            firsts = hub.ring.memory.first.copy()
            await asyncio.sleep(10)
        async with place.hub(bars=900, timeframes=("1h",)) as hub:
            assert hub.summary is not None
            assert hub.summary.requests == 0
            assert hub.ring.memory.first.tolist() == firsts.tolist()
            assert hub.core.missing(hub.now()) == []

    play(tmp_path, act)


def test_a_deep_history_follows_while_the_hub_is_live(tmp_path: Path) -> None:
    async def act(place: Place) -> None:
        counting, asked = asking()
        with counting:
            async with place.hub(bars=1_200, shallow=50) as hub:
                assert hub.panel("1m").klines(hub.symbols[0], 1_200).size < 200
                assert hub.get_stats()["stale_symbols"] == 0
                await asyncio.sleep(20)
                assert hub.panel("1m").klines(hub.symbols[0], 1_200).size == 1_200
                assert hub.get_stats()["missing_bars"] == 0
                assert {use for _, use in asked} == {"warm-up", "deepen"}
                await asyncio.sleep(60)
                verified = await hub.verify()
                assert (len(verified.different), verified.failed) == (0, {})
                assert verified.checked == SYMBOLS * 1_200 * 3 + sum(
                    hub.panel("1h").klines(symbol, 1_200).size for symbol in hub.symbols
                )

    play(tmp_path, act)


def test_a_range_comes_from_memory_then_disk_then_the_exchange_and_is_kept(tmp_path: Path) -> None:
    async def act(place: Place) -> None:
        frame = timeframe("1m")
        async with place.hub() as hub:
            await asyncio.sleep(70)
            symbol, now = hub.symbols[0], hub.now()
            last = frame.index(now) - 2

            async def told(back: int) -> dict[str, int | float | str]:
                start, end = frame.open_time(last - back), frame.open_time(last)
                found = await hub.range(symbol, "1m", start, end)
                true = place.truth(symbol, frame, last - back, last - 1)
                assert found["close"].tolist() == true.rows["close"].tolist()
                assert found["trades"].tolist() == true.rows["trades"].tolist()
                return hub.get_stats()

            assert (await told(30))["range_memory_hits"] == 1
            stats = await told(3_000)
            assert (stats["range_exchange_reads"], stats["range_promoted"]) == (1, 1)
            stats = await told(3_000)
            assert (stats["range_exchange_reads"], stats["range_memory_hits"]) == (1, 2)
        async with place.hub() as hub:
            stats = await told(3_000)
            assert (stats["range_exchange_reads"], stats["range_store_hits"]) == (0, 1)
            await asyncio.sleep(700)
            stats = await told(1_000)
            assert (stats["range_store_hits"], stats["range_expired"]) == (2, 1)

    play(tmp_path, act)


def test_what_has_left_memory_is_computed_from_disk(tmp_path: Path) -> None:
    async def act(place: Place) -> None:
        rsi = stock_factor("rsi")()
        columns = {"rsi": rsi, "rank": rsi.rank(), "larger": stock_factor("roc")(3).on("5m")}
        screen = Screen(name="past", timeframe="1m", where=rsi > 50, columns=columns)
        async with place.hub(bars=450):
            await asyncio.sleep(70)
        async with place.hub() as hub:
            await all_fresh(hub)
            sheets, last = hub.scanning.sheets, hub.panel("1m").closed_bar
            assert hub.panel("1m").bars < 100
            # Half of what is read is in memory, and nothing of it.
            for bar in (last - 20, last - 180):
                views = {name: place.recorded(hub, timeframe(name), 450) for name in ("1m", "5m")}
                true = Scanner(views, [screen], listed=hub._listed).sheet(bar)
                found = await sheets.at(screen, bar)
                assert not found.warming.any()
                for name in columns:
                    assert found.columns[name].tolist() == true.columns[name].tolist()
                assert found.passes is not None
                assert true.passes is not None
                assert found.passes.tolist() == true.passes.tolist()
                for row, symbol in enumerate(hub.symbols):
                    series = await sheets.series(screen, symbol, bar, 20)
                    assert {name: values[-1] for name, values in series.items()} == {
                        name: values[row] for name, values in true.columns.items()
                    }
                    assert not np.isnan(series["rsi"]).any()
            nothing = await sheets.at(screen, last - 5_000)
            assert nothing.missing.all()

    play(tmp_path, act)


def test_days_move_into_history_while_the_hub_is_live(tmp_path: Path) -> None:
    async def act(place: Place) -> None:
        async with place.hub() as hub:
            await asyncio.sleep(2.2 * 3_600)  # past midnight, and an hour more
            assert int(hub.get_stats()["sealed_days"]) > 0
            assert hub.get_stats()["history_fault"] == ""
            names = hub.symbols
        history = HistoryStore(tmp_path / "history")
        for name in ("5m", "15m"):
            frame = timeframe(name)
            for symbol, exact in history.read(frame, names, *history.span(frame)).items():
                low, high = (frame.index(int(time)) for time in exact.rows["open_time"][[0, -1]])
                assert plainly(exact) == plainly(place.truth(symbol, frame, low, high))
                assert frame.open_time(high + 1) == HOUR + 3_600_000

    play(tmp_path, act)
