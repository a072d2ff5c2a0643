"""Several stores read as one, with every timeframe that can be built from what they hold.

1. A bar is read wherever it is kept. Two sources that have it agree, or the bar is named and nothing given.
2. A bar that no source has is built of the next smaller timeframe that is kept, by the rule of
   `panel/roll.py`: of all its parts or not at all. What that one lacks is built in turn.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.roll import UNKNOWN, indexes, rolled
from klinehub.store.joining import FOREVER, Part, joined, resolved, times_of

# A year of minutes of four symbols; of a whole market they would take 23 GB.
PARTS: Final = 2_200_000
# Absolute indexes of bars: the first and the one behind the last.
_Bars: TypeAlias = tuple[int, int]


class Source(Protocol):
    """Where closed bars of one market are kept."""

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes that bars are kept of."""

    def symbols(self, timeframe: Timeframe, start: int = 0, end: int = FOREVER) -> tuple[str, ...]:
        """The symbols with bars around [start, end) ms UTC."""

    def span(self, timeframe: Timeframe) -> tuple[int, int]:
        """Give times (ms UTC) between which all bars open; they may lie closer, and are equal without any."""

    def read(
        self, timeframe: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, Exact]:
        """Give the kept bars that open in [start, end) ms UTC by symbol, oldest first; None means all."""


class Sources:
    """The bars of one market in several sources.

    *listed* tells the open time (ms UTC) of the first bar that a symbol has at all, where that is known: a
    larger bar that holds it is then built of the parts from there on.
    """

    def __init__(self, sources: Sequence[Source], listed: Mapping[str, int] | None = None) -> None:
        self._sources = tuple(sources)
        self._listed = dict(listed or {})

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes that some source keeps, from the smallest; others are built of these."""
        kept = {frame for source in self._sources for frame in source.timeframes}
        return tuple(sorted(kept, key=lambda frame: frame.milliseconds))

    def symbols(self, timeframe: Timeframe, start: int = 0, end: int = FOREVER) -> tuple[str, ...]:
        """The symbols with bars of this timeframe, or of one that it is built of, in [start, end)."""
        frames = [frame for frame in self.timeframes if frame == timeframe or timeframe.holds(frame)]
        each = (one.symbols(frame, start, end) for one in self._sources for frame in frames)
        return tuple(sorted(set().union(*each)))

    def read(
        self, timeframe: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, Exact]:
        """Give the bars that open in [start, end) ms UTC by symbol, oldest first; None means all.

        Symbols without bars are left out. Raises DataError for a bar on which two sources disagree.
        """
        parts: dict[str, list[Part]] = {}
        for source in self._sources:
            for symbol, exact in source.read(timeframe, symbols, start, end).items():
                parts.setdefault(symbol, []).append(Part(0, exact))
        kept = {symbol: joined(resolved(symbol, timeframe, own)) for symbol, own in parts.items()}
        smaller = [frame for frame in self.timeframes if timeframe.holds(frame)]
        if not smaller:
            return kept
        wanted = self.symbols(timeframe, start, end) if symbols is None else symbols
        low, high = self._within(smaller)
        # A bar that opens before the first part is not whole, but may be where the symbol was listed then.
        bars = timeframe.index(max(start, low) - 1), timeframe.index(min(end, high) - 1) + 1
        first = max(bars[0], timeframe.index(start - 1) + 1)
        return self._filled(timeframe, smaller[-1], kept, _holes(timeframe, kept, wanted, (first, bars[1])))

    def span(self, timeframe: Timeframe) -> tuple[int, int]:
        """Give times (ms UTC) between which all bars of this timeframe, or those it is built of, open."""
        return self._within([one for one in self.timeframes if one == timeframe or timeframe.holds(one)])

    def _within(self, frames: Sequence[Timeframe]) -> tuple[int, int]:
        """Give times between which all bars of these timeframes open."""
        spans = [source.span(frame) for source in self._sources for frame in frames]
        held = [(low, high) for low, high in spans if low < high]
        return min((low for low, _ in held), default=0), max((high for _, high in held), default=0)

    def _filled(
        self,
        whole: Timeframe,
        part: Timeframe,
        kept: Mapping[str, Exact],
        holes: Mapping[_Bars, Sequence[str]],
    ) -> dict[str, Exact]:
        """Build bars where none are kept, of the parts in these *holes* alone."""
        runs = {symbol: [Part(0, exact)] for symbol, exact in kept.items()}
        for (first, end), symbols in _portions(whole, part, holes):
            parts = self.read(part, symbols, whole.open_time(first), whole.open_time(end))
            for symbol, exact in parts.items():
                listed = self._listed.get(symbol)
                made = rolled(exact, part, whole, UNKNOWN if listed is None else part.index(listed))
                runs.setdefault(symbol, []).append(Part(0, made))
        whole_runs = {symbol: resolved(symbol, whole, own) for symbol, own in runs.items()}
        return {symbol: joined(own) for symbol, own in sorted(whole_runs.items()) if own}


def _portions(
    whole: Timeframe, part: Timeframe, holes: Mapping[_Bars, Sequence[str]]
) -> Iterator[tuple[_Bars, Sequence[str]]]:
    """Part the symbols of each hole so that no more than some million parts are in memory at a time."""
    for bars, symbols in holes.items():
        first, end = (part.index(whole.open_time(bar)) for bar in bars)
        size = max(1, PARTS // max(1, end - first))
        for at in range(0, len(symbols), size):
            yield bars, symbols[at : at + size]


def _holes(
    frame: Timeframe, kept: Mapping[str, Exact], symbols: Sequence[str], bars: _Bars
) -> dict[_Bars, list[str]]:
    """Give the runs of bars (first index, index behind the last) among *bars* and which symbols lack them."""
    first, end = bars
    holes: dict[_Bars, list[str]] = {}
    for symbol in symbols:
        held = indexes(frame, times_of(kept[symbol])) if symbol in kept else np.empty(0, np.int64)
        edges = np.concatenate(([first - 1], held, [end]))
        for at in np.flatnonzero(np.diff(edges) > 1):
            holes.setdefault((int(edges[at]) + 1, int(edges[at + 1])), []).append(symbol)
    return holes
