"""The reads of a hub: copies of what it holds, in the forms that programs know."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from klinehub.dialect.render import twelve_fields
from klinehub.domain.kline import CLOSED, Klines
from klinehub.domain.listing import Listing
from klinehub.domain.stale import Reason, Stale
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.feed.core import Core
from klinehub.feed.spot import Spot
from klinehub.panel.panel import Panel
from klinehub.panel.recorded import klines_of
from klinehub.panel.ring import Ring
from klinehub.store.shelf import Shelf

if TYPE_CHECKING:
    import pandas as pd


class Reads:
    """The reads of a hub; `hits` and `misses` count those that found all they asked for, and less."""

    hits = 0
    misses = 0
    spot: Spot | None = None

    # Without streams a hub shows one moment.
    streams = True
    symbols: tuple[str, ...]
    listings: dict[str, Listing]
    timeframes: tuple[Timeframe, ...]
    ring: Ring
    shelf: Shelf
    core: Core
    _panels: dict[str, Panel]

    def now(self) -> int:
        """Give the exchange time in ms UTC."""
        raise NotImplementedError

    def pair(self, symbol: str) -> str:
        """Name a symbol as ccxt and freqtrade do; by its own name where it is not listed any more."""
        listing = self.listings.get(symbol)
        return symbol if listing is None else listing.unified

    def panel(self, timeframe: str) -> Panel:
        """Give the read side of one timeframe; raises UnknownName for one that is not kept."""
        if timeframe not in self.ring.number:
            raise UnknownName("timeframe", timeframe, self.ring.number)
        return self._panels[timeframe]

    def is_fresh(self, symbol: str, max_age_seconds: float = 300) -> bool:
        """Whether the stream told something of *symbol* in the last *max_age_seconds* of market time."""
        heard = int(self.ring.memory.heard[0, self.panel(self.timeframes[0].name).row(symbol)])
        return heard > 0 and self.now() - heard <= max_age_seconds * 1000

    def stale(self, symbol: str) -> Stale | None:
        """Give why *symbol* is not proven fresh, and since when; None when it is fresh."""
        told = self._panels[self.timeframes[0].name].stale(symbol)
        judged = self.core.liveness.unjudged(self.now()) if told is None else 0
        return Stale(Reason.CLOCK.text, judged) if judged else told

    def all_stale(self, symbols: Iterable[str]) -> dict[str, Stale]:
        """Give why and since when by symbol, of those that are stale."""
        found = ((symbol, self.stale(symbol)) for symbol in symbols if self.streams)
        return {symbol: stale for symbol, stale in found if stale is not None}

    def stale_rows(self) -> dict[int, Stale]:
        """Give why and since when by row of the ring, of those that are stale; quicker than one by one."""
        if not self.streams:
            return {}
        count = len(self.ring.symbols)
        words = self.ring.memory.stale[:count]
        told = np.flatnonzero(words[:, 0])
        found = {
            row: Stale(Reason(reason).text, since)
            for row, (reason, since) in zip(told.tolist(), words[told].tolist(), strict=True)
        }
        judged = self.core.liveness.unjudged(self.now())
        return dict.fromkeys(range(count), Stale(Reason.CLOCK.text, judged)) | found if judged else found

    def held(self) -> dict[str, int | float | str]:
        """Count what is held, what was read of it, and what of it is stale."""
        state, stale = self.ring.memory.state, self.all_stale(self.symbols)
        reasons = Counter(one.reason for one in stale.values())
        return {
            "symbols": len(self.symbols),
            "fresh_symbols": sum(self.is_fresh(symbol) for symbol in self.symbols),
            "timeframes": " ".join(tf.name for tf in self.timeframes),
            "bars": int((state > 0).sum()),
            "closed_bars": int((state >= CLOSED).sum()),
            **self.counted_reads(),
            "stale_symbols": len(stale),
            "stale_reasons": ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()),
            "stale_since": min((one.since for one in stale.values()), default=0),
        }

    def spot_panel(self, timeframe: str) -> Panel:
        """Give the read side of the spot pairs' bars, whose rows are the pairs; needs the setting `spot`."""
        if self.spot is None:
            raise DefinitionError("Spot is not followed: switch `market.spot` on.")
        return self.spot.panel(timeframe)

    def klines(self, symbol: str, timeframe: str, limit: int = 300, *, forming: bool = False) -> Klines:
        """Copy a symbol's last *limit* closed bars, oldest first; with *forming* the open bar is added."""
        if limit < 0:
            raise DefinitionError(f"A limit of {limit} bars is none: give 0 or more.")
        out = self.panel(timeframe).klines(symbol, limit, forming=forming)
        out.stale = self.stale(symbol)
        self._count(out.size, limit)
        return out

    async def range(self, symbol: str, timeframe: str, start: int, end: int) -> Klines:
        """Give the closed bars that open in [start, end) ms UTC: from memory, from disk, or by REST.

        What REST brings is kept. Raises a FeedError where it has to be asked and can not be.
        """
        panel = self.panel(timeframe)
        panel.row(symbol)
        out = klines_of(await self.shelf.levels.read(symbol, panel.timeframe, start, end), panel.timeframe)
        out.stale = self.stale(symbol)
        return out

    def _count(self, found: int, limit: int) -> None:
        """Count a read as a hit of the cache, or as a miss where it held fewer bars than asked for."""
        if found >= limit:
            self.hits += 1
        else:
            self.misses += 1

    def get_klines(self, symbol: str, timeframe: str, limit: int = 300) -> list[list[int | str]]:
        """Give the last *limit* closed bars as REST prints them: 12 fields, numbers as text."""
        panel = self.panel(timeframe)
        last = panel.newest_closed(symbol)
        rows = twelve_fields(panel.exact(symbol, start=last - limit + 1, end=last), panel.timeframe)
        self._count(len(rows), limit)
        return rows

    async def get_multi_timeframe_data(
        self, symbol: str, timeframes: Sequence[str], limit: int = 50
    ) -> "dict[str, pd.DataFrame]":
        """Give one symbol's closed bars as a DataFrame per timeframe; needs the pandas extra."""
        return {name: self.klines(symbol, name, limit).to_pandas() for name in timeframes}

    async def batch_get_multi_timeframe_data(
        self, symbols: Sequence[str], timeframes: Sequence[str], limit: int = 50
    ) -> "dict[str, dict[str, pd.DataFrame]]":
        """Give DataFrames as {symbol: {timeframe: frame}}; needs the pandas extra."""
        return {symbol: await self.get_multi_timeframe_data(symbol, timeframes, limit) for symbol in symbols}

    def counted_reads(self) -> dict[str, int | float]:
        """Count reads, and give the share of them that found all they asked for."""
        reads = self.hits + self.misses
        return {"hits": self.hits, "misses": self.misses, "hit_rate": self.hits / reads if reads else 0.0}
