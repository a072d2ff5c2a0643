"""What lies where: bars, symbols, gaps and bytes of each timeframe, of history and of the hot store.

History is told by the footers of its segments; only pieces with a hole in them are decoded.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import PurePath
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from klinehub.domain.timeframe import Timeframe
from klinehub.errors import StoreError
from klinehub.panel.memory import I64
from klinehub.store.base import BAR_BITS, key_of
from klinehub.store.checking import Gap, Run, gaps, merged, runs, told_of
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore
from klinehub.store.parquet import Piece, Segment, opened, pieces
from klinehub.store.slices import ABSENT

_LAST: Final = (1 << BAR_BITS) - 1


class Kept(NamedTuple):
    """The bars of one timeframe in one store: runs by symbol, which are apart and in the order of time.

    `lacking` are the gaps between them, without those bars that the exchange is known not to have.
    """

    timeframe: Timeframe
    runs: dict[str, list[Run]]
    lacking: tuple[Gap, ...]
    bytes: int
    damaged: tuple[str, ...] = ()

    @property
    def bars(self) -> int:
        """How many bars there are."""
        return sum(run.last - run.first + 1 for own in self.runs.values() for run in own)

    @property
    def span(self) -> tuple[int, int]:
        """Open times (ms UTC) of the first and the last bar; both 0 where there is none."""
        if not self.runs:
            return 0, 0
        first = min(own[0].first for own in self.runs.values())
        last = max(own[-1].last for own in self.runs.values())
        return self.timeframe.open_time(first), self.timeframe.open_time(last)


def of_history(
    store: HistoryStore, frame: Timeframe, on_segment: Callable[[PurePath], None] = lambda _: None
) -> Kept:
    """Say what history holds of a timeframe; a damaged segment is named and holds nothing."""
    held: dict[str, list[Run]] = {}
    size, damaged = 0, []
    for path in (path for month in store.months(frame) for path in store.paths(frame, month)):
        on_segment(path)
        try:
            segment = opened(path, store.files.reading)
            found = list(_of_segment(segment, frame))
        except FileNotFoundError:
            continue  # a compaction has just put another segment in its place
        except StoreError as exc:
            damaged.append(told_of(path, exc))
            continue
        size += segment.size
        for symbol, run in found:
            held.setdefault(symbol, []).append(run)
    whole = {symbol: list(merged(sorted(held[symbol]))) for symbol in sorted(held)}
    lacking = tuple(gap for symbol, own in whole.items() for gap in gaps(frame, symbol, own))
    return Kept(frame, whole, lacking, size, tuple(f"{one.path}: {one.why}" for one in damaged))


def _of_segment(segment: Segment, frame: Timeframe) -> Iterator[tuple[str, Run]]:
    """Give the runs of a segment by symbol."""
    for number, group in enumerate(segment.head.groups):
        if all(_whole(frame, piece) for piece in group.pieces):
            for piece in group.pieces:
                yield piece.symbol, Run(frame.index(piece.first), frame.index(piece.last))
            continue
        for symbol, exact in pieces(segment, [number]):
            for run in runs(frame, exact):
                yield symbol, run


def _whole(frame: Timeframe, piece: Piece) -> bool:
    """Whether a piece has no hole."""
    return piece.bars == frame.index(piece.last) - frame.index(piece.first) + 1


def of_hot(store: HotStore, frame: Timeframe) -> Kept:
    """Say what the hot store holds of a timeframe; a damaged slice is named and holds nothing."""
    before = len(store.set_aside)
    numbers, bars, there = _lines(store, frame)
    names = sorted({one.symbol for one in store.entries if one is not None})
    codes = np.array([-1 if one is None else names.index(one.symbol) for one in store.entries], np.int64)
    symbols = codes[numbers]
    order = np.lexsort((bars, symbols))
    symbols, bars, there = symbols[order], bars[order], there[order]
    cuts = np.searchsorted(symbols, np.arange(len(names) + 1))
    held: dict[str, list[Run]] = {}
    lacking: list[Gap] = []
    for symbol, (low, high) in zip(names, pairwise(cuts.tolist()), strict=True):
        own, known = bars[low:high][there[low:high]], bars[low:high]
        if own.size:
            held[symbol] = _told(own)
            # What is known not to be does not lack; before the first bar and after the last nothing does.
            known = known[(known >= own[0]) & (known <= own[-1])]
            lacking += gaps(frame, symbol, _told(known))
    size = sum(len(body) for _, body in store.tables.scan(key_of(frame, 0), key_of(frame, _LAST)))
    return Kept(frame, held, tuple(lacking), size, tuple(store.set_aside[before:]))


def _lines(store: HotStore, frame: Timeframe) -> tuple[I64, I64, npt.NDArray[np.bool_]]:
    """Give all lines of a timeframe [n]: their numbers, their bars, and whether there is a bar."""
    numbers, bars, there = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, bool)]
    for bar, lines in store.slices(frame, 0, _LAST):
        numbers.append(lines.numbers)
        bars.append(np.full(lines.numbers.size, bar))
        there.append(lines.states != ABSENT)
    return np.concatenate(numbers), np.concatenate(bars), np.concatenate(there)


def _told(bars: I64) -> list[Run]:
    """Part some bars (absolute indexes, ascending) into runs."""
    parts = np.split(bars, np.flatnonzero(np.diff(bars) > 1) + 1)
    return [Run(int(part[0]), int(part[-1])) for part in parts]
