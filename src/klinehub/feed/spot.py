"""Spot beside futures: the pairs of a hub's contracts, followed by a hub of their own.

1. A contract's pair has its base asset and its quote asset, or the coin of which the contract counts 1,000 or
   1,000,000 (1000PEPEUSDT is 1,000 times PEPEUSDT); a pair of the contract's own name goes first.
2. The pairs have streams, a ring and a budget of their own. What goes wrong with them is told in the stats,
   and tried again; the futures neither wait for it nor end with it.
3. What spot has closed is copied beside the futures' klines when either market closes a bar.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple, Protocol

from klinehub.domain.listing import Listing
from klinehub.errors import DefinitionError, KlinehubError
from klinehub.feed.decisions import Decisions
from klinehub.panel.beside import Beside
from klinehub.panel.pairs import Pairs
from klinehub.panel.panel import Panel
from klinehub.panel.ring import Ring

# How contracts name that they count more than one coin.
MULTIPLIERS: Final = (("1000000", 1_000_000), ("1M", 1_000_000), ("1000", 1_000))
# Real seconds until spot is tried again that could not be started.
AGAIN: Final = 30.0
COIN: Final = "COIN"
# What is told of spot, under these names with "spot_" before them.
TOLD: Final = (
    *("symbols", "fresh_symbols", "stale_symbols", "stale_reasons", "missing_bars", "late_closes"),
    *("corrections", "reconnects", "rest_closed", "rest_calls", "rest_weight", "panel_bytes"),
)


class Pair(NamedTuple):
    """A spot pair, and how many of its coins one unit of the contract stands for."""

    symbol: str
    multiplier: int


class Followed(Protocol):
    """What follows the pairs: a hub."""

    ring: Ring

    def panel(self, timeframe: str) -> Panel:
        """Give the read side of one timeframe."""

    def get_stats(self) -> dict[str, int | float | str]:
        """Count what is held and has been done."""


# Chooses of a spot market's listings those to follow.
Choose = Callable[[Iterable[Listing]], tuple[str, ...]]
Open = Callable[[Choose, Callable[[Decisions], None]], AbstractAsyncContextManager[Followed]]


def pairs_of(contracts: Iterable[Listing], spot: Iterable[Listing]) -> dict[str, Pair]:
    """Give the spot pair of each contract that has one, by the contract's symbol."""
    listed = {(one.base_asset, one.quote_asset): one.symbol for one in spot if one.trading}
    found = {}
    for contract in contracts:
        if contract.underlying_type != COIN:
            continue
        for base, multiplier in _bases(contract.base_asset):
            symbol = listed.get((base, contract.quote_asset))
            if symbol is not None:
                found[contract.symbol] = Pair(symbol, multiplier)
                break
    return found


def _bases(asset: str) -> Iterable[tuple[str, int]]:
    """Give the coins that a contract's asset may stand for, the likeliest first, with how many of them."""
    yield asset, 1
    for prefix, multiplier in MULTIPLIERS:
        if asset.startswith(prefix) and len(asset) > len(prefix):
            yield asset.removeprefix(prefix), multiplier


class Spot:
    """Keeps the pairs of *contracts* beside the klines of *ring*, with a hub that *opened* makes.

    `trouble` is why spot could not be started the last time, nothing when it was.
    """

    def __init__(
        self, ring: Ring, beside: Beside, contracts: Callable[[], Iterable[Listing]], opened: Open
    ) -> None:
        self.market: Followed | None = None
        self.trouble = ""
        self.pairs: Mapping[str, Pair] = {}
        self._ring = ring
        self._beside = beside
        self._contracts = contracts
        self._opened = opened
        self._kept: Pairs | None = None
        self._joined: tuple[int, int] = (0, 0)

    async def run(self) -> None:
        """Follow the pairs until cancelled; where they cannot be, say why and try again."""
        while True:
            await self._attend(asyncio.Event())
            await asyncio.sleep(AGAIN)

    async def once(self) -> None:
        """Take in what spot has now, for a hub without streams."""
        over = asyncio.Event()
        over.set()
        await self._attend(over)

    async def _attend(self, over: asyncio.Event) -> None:
        """Open the market, take its bars in and stay until it is *over*; keep why it could not be opened."""
        try:
            async with self._opened(self._choose, self._on_news) as market:
                self.market, self.trouble = market, ""
                self._kept = Pairs(self._ring, self._beside, market.ring)
                self._joined = (0, 0)
                self.copy(tf.name for tf in market.ring.timeframes)
                await over.wait()
        except KlinehubError as exc:
            self.trouble = str(exc)

    def panel(self, timeframe: str) -> Panel:
        """Give the read side of the pairs' bars; raises DefinitionError while there are none."""
        if self.market is None:
            why = f": {self.trouble}" if self.trouble else ", it is still starting."
            raise DefinitionError(f"Spot is not there yet{why}")
        return self.market.panel(timeframe)

    def copy(self, timeframes: Iterable[str]) -> None:
        """Put what spot has closed of these timeframes beside the futures' klines."""
        market, kept = self.market, self._kept
        if market is None or kept is None:
            return
        sizes = (len(self._ring.symbols), len(market.ring.symbols))
        if sizes != self._joined:
            self._joined = sizes
            kept.join({one: pair for one, pair in self.pairs.items() if pair.symbol in market.ring.rows})
        for name in timeframes:
            if name in market.ring.number:
                kept.copy(name)

    def stats(self) -> dict[str, int | float | str]:
        """Count what is held of spot and was done for it; `spot_trouble` says why there is nothing."""
        told = {} if self.market is None else self.market.get_stats()
        return {"spot_trouble": self.trouble, **{f"spot_{name}": told[name] for name in TOLD if name in told}}

    def _choose(self, listings: Iterable[Listing]) -> tuple[str, ...]:
        """Choose the pairs of the contracts that are followed now, in their order."""
        self.pairs = pairs_of(self._contracts(), listings)
        self._joined = (0, 0)
        return tuple(dict.fromkeys(pair.symbol for pair in self.pairs.values()))

    def _on_news(self, news: Decisions) -> None:
        changed = [*(one.timeframe for one in news.closed), *(one.timeframe for one in news.revised)]
        self.copy(dict.fromkeys([*changed, *(one.timeframe for one in news.corrected)]))
