"""Choosing: the universe of a live hub over time, and the file that remembers it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from tests.unit.scan.test_pools import HOUR, NOW, listing, ticker

from klinehub.domain.clock import Clock
from klinehub.domain.listing import Listing
from klinehub.domain.ticker import Ticker
from klinehub.domain.timeframe import timeframe
from klinehub.domain.universe_rules import Rules
from klinehub.errors import DefinitionError, FeedError
from klinehub.panel.history import History as Panel
from klinehub.panel.view import PLANES
from klinehub.scan.choosing import Choosing, Told, hours_of
from klinehub.scan.lines import read_lines
from klinehub.scan.pools import Market
from klinehub.scan.universe_history import Change
from klinehub.sim.loop import SimLoop

RULES: Final = Rules()


class Exchange:
    """Two symbols and what is turned over of them, on a virtual clock."""

    def __init__(self, clock: Clock, **turnover: float) -> None:
        self.clock = clock
        self.turnover = turnover
        self.listings: dict[str, Listing] = {name: listing(name) for name in turnover}
        self.asked = 0
        self.broken = 0

    def told(self) -> Told:
        return Told(self.clock.now, self.market, self.tickers)

    def market(self, tickers: Mapping[str, Ticker]) -> Market:
        return Market(self.listings, tickers)

    async def tickers(self) -> dict[str, Ticker]:
        self.asked += 1
        if self.broken:
            self.broken -= 1
            raise FeedError("Nobody answers: wait.")
        return {name: ticker(name, much, time=self.clock.now()) for name, much in self.turnover.items()}


def played(act: Callable[[Clock], Coroutine[object, object, None]], start: int = NOW) -> None:
    """Run a coroutine function of a clock on virtual time."""
    loop = SimLoop()
    try:
        loop.run_until_complete(act(Clock(start, 1.0, loop.time)))
    finally:
        loop.close()


def symbols(made: Choosing) -> list[str]:
    return [] if made.merged is None else list(made.merged.symbols)


async def begun(exchange: Exchange, record: Path | None = None) -> Choosing:
    made = Choosing(RULES, exchange.told(), exchange.clock, record)
    made.begin(await exchange.tickers())
    return made


def test_a_pool_is_chosen_anew_when_its_time_comes_and_not_before() -> None:
    async def act(clock: Clock) -> None:
        exchange = Exchange(clock, BTCUSDT=9e9, SURGEUSDT=4e6)
        made = await begun(exchange)
        keeping = asyncio.ensure_future(made.keep())
        exchange.turnover["SURGEUSDT"] = 5e8
        await asyncio.sleep(3_600 - 10)
        assert (exchange.asked, symbols(made)) == (1, ["BTCUSDT"])

        await asyncio.sleep(23 * 3_600)
        assert symbols(made) == ["BTCUSDT"]
        await asyncio.sleep(3_600)
        assert symbols(made) == ["BTCUSDT", "SURGEUSDT"]
        assert exchange.asked == 25
        assert made.history.at(clock.now() - HOUR) == ("BTCUSDT",)
        keeping.cancel()

    played(act)


def test_what_cannot_be_chosen_leaves_the_universe_as_it_was_and_is_tried_again() -> None:
    async def act(clock: Clock) -> None:
        exchange = Exchange(clock, BTCUSDT=9e9)
        made = await begun(exchange)
        before = made.merged
        keeping = asyncio.ensure_future(made.keep())
        exchange.broken = 2
        await asyncio.sleep(3_600)
        assert (made.merged, made.failure) == (before, "Nobody answers: wait.")

        await asyncio.sleep(120)
        assert made.failure == ""
        assert exchange.asked == 4
        keeping.cancel()

    played(act)


def test_who_trades_no_more_leaves_when_the_listing_says_so() -> None:
    async def act(clock: Clock) -> None:
        exchange = Exchange(clock, BTCUSDT=9e9, ETHUSDT=5e9)
        made = await begun(exchange)
        exchange.listings["ETHUSDT"] = listing("ETHUSDT", status="SETTLING")
        made.relisted()
        assert (symbols(made), exchange.asked) == (["BTCUSDT"], 1)

        exchange.listings.clear()
        made.relisted()
        assert symbols(made) == ["BTCUSDT"]
        assert "holds no symbols" in made.failure

    played(act)


def test_a_record_outlives_a_restart_and_tells_what_changed_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "universe.jsonl"

    async def first(clock: Clock) -> None:
        await begun(Exchange(clock, BTCUSDT=9e9, ETHUSDT=5e9), file)

    async def second(clock: Clock) -> None:
        made = await begun(Exchange(clock, BTCUSDT=9e9, SOLUSDT=5e9), file)
        assert made.history.at(NOW) == ("BTCUSDT", "ETHUSDT")
        assert made.history.at(NOW + HOUR) == ("BTCUSDT", "SOLUSDT")

    played(first)
    played(second, NOW + HOUR)
    assert [(one.symbol, one.entered) for one in read_lines(file, Change)] == [
        ("BTCUSDT", True), ("ETHUSDT", True), ("ETHUSDT", False), ("SOLUSDT", True),
    ]  # fmt: skip


def test_a_market_in_which_nothing_can_be_chosen_is_refused_at_the_start() -> None:
    async def act(clock: Clock) -> None:
        with pytest.raises(DefinitionError, match="elite_turnover"):
            await begun(Exchange(clock, DUSTUSDT=1.0))

    played(act)


def test_the_hours_of_a_panel_are_its_turnover() -> None:
    planes = np.zeros((len(PLANES), 2, 30))
    planes[PLANES.index("quote_volume")] = np.arange(60.0).reshape(2, 30)
    hours = hours_of(Panel(timeframe("1h"), ("A", "B"), 100, planes), 24)

    assert hours["A"].tolist() == list(range(6, 30))
    assert hours["B"].tolist() == list(range(36, 60))
