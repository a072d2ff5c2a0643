"""Reading what a hub has left on disk: history, and before it the newest days in the hot store.

A hot store has one writer, and a reader must not keep it from starting: the store is opened for a reading and
given back after it. Where a hub has it, history alone is read, and that is said.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import DAY, TIMEFRAMES, Timeframe
from klinehub.errors import StoreError
from klinehub.store.hot import HotStore
from klinehub.store.joining import FOREVER
from klinehub.store.sources import Source, Sources

_FRAMES: Final = {frame.milliseconds: frame for frame in TIMEFRAMES.values()}


class Resting:
    """One market's *sources*, and the hot store that *hot* opens to look at it, where there is one.

    `missing` says why the newest days were not in the last reading; empty where they were.
    """

    def __init__(self, sources: Sequence[Source], hot: Callable[[], HotStore] | None = None) -> None:
        self.missing = ""
        self._sources = tuple(sources)
        self._hot = hot

    @contextmanager
    def opened(self) -> Iterator[Sources]:
        """Open what there is for as long as the block runs."""
        store = self._looked()
        if store is None:
            yield Sources(self._sources)
            return
        try:
            yield both(self._sources, store)
        finally:
            store.tables.close()

    def _looked(self) -> HotStore | None:
        self.missing = ""
        try:
            return None if self._hot is None else self._hot()
        except StoreError as exc:
            self.missing = str(exc)
            return None


def both(sources: Sequence[Source], hot: HotStore) -> Sources:
    """Give *sources* with the newest days before them."""
    return Sources([*(_Behind(source, hot) for source in sources), hot], listed(hot))


class _Behind:
    """A source that a correction in the hot store has not reached yet: of such bars the hot store tells."""

    def __init__(self, source: Source, hot: HotStore) -> None:
        self._source = source
        self._hot = hot

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        return self._source.timeframes

    def symbols(self, timeframe: Timeframe, start: int = 0, end: int = FOREVER) -> tuple[str, ...]:
        return self._source.symbols(timeframe, start, end)

    def span(self, timeframe: Timeframe) -> tuple[int, int]:
        return self._source.span(timeframe)

    def read(
        self, timeframe: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, Exact]:
        found = self._source.read(timeframe, symbols, start, end)
        low, high = self._hot.span(timeframe)
        for day in range(max(low, start) // DAY * DAY, min(high, end), DAY):
            if self._hot.was_sealed(timeframe, day):
                told = self._hot.read(timeframe, symbols, max(day, start), min(day + DAY, end))
                for symbol in found.keys() & told.keys():
                    rows = found[symbol].rows
                    stays = ~np.isin(rows["open_time"], told[symbol].rows["open_time"])
                    found[symbol] = Exact(rows[stays], found[symbol].scale)
        return {symbol: exact for symbol, exact in found.items() if exact.rows.size}


def listed(store: HotStore) -> dict[str, int]:
    """Give the open time (ms UTC) of each symbol's first bar, as far as a hub has learned it.

    The first bars of all timeframes hold the same moment; that of the smallest opens last.
    """
    found: dict[str, int] = {}
    for (length, symbol), bar in store.firsts.items():
        if bar >= 0 and length in _FRAMES:
            found[symbol] = max(found.get(symbol, 0), _FRAMES[length].open_time(bar))
    return found
