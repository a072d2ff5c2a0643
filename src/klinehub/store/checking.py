"""Checking a whole history: every byte, the order of every bar, what disagrees, and where bars lack."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DataError, StoreError
from klinehub.panel.roll import indexes
from klinehub.store.joining import times_of
from klinehub.store.parquet import DamagedSegment, checked

if TYPE_CHECKING:
    from klinehub.store.history import HistoryStore


class Damage(NamedTuple):
    """A file that can not be read, what is wrong with it, and whether it is not as it was written."""

    path: PurePath
    why: str
    changed: bool = True


class Gap(NamedTuple):
    """Bars that lack between others: open times (ms UTC) of the first and the last, and how many."""

    timeframe: str
    symbol: str
    first: int
    last: int
    bars: int


class Report(NamedTuple):
    """What a check of a history found; `conflicts` are bars that are kept in two forms, in words."""

    segments: int
    bars: int
    damaged: tuple[Damage, ...]
    conflicts: tuple[str, ...]
    gaps: tuple[Gap, ...]

    @property
    def sound(self) -> bool:
        """Whether all that is there can be read; bars that lack are no fault of a store."""
        return not self.damaged and not self.conflicts


class Run(NamedTuple):
    """Bars without a gap between them, by absolute index."""

    first: int
    last: int


def verify(store: "HistoryStore", on_segment: Callable[[PurePath], None] = lambda _: None) -> Report:
    """Check all that *store* holds; nothing that is found ends the check. *on_segment* is told of each."""
    segments, bars = 0, 0
    damaged: list[Damage] = []
    conflicts: list[str] = []
    found_gaps: list[Gap] = []
    for frame in store.timeframes:
        held: dict[str, list[Run]] = {}
        for path in (path for month in store.months(frame) for path in store.paths(frame, month)):
            on_segment(path)
            try:
                told = checked(path, frame, store.files.reading)
                pieces = [(symbol, list(runs(frame, exact))) for symbol, exact in told]
            except FileNotFoundError:
                continue  # a compaction has just put another segment in its place
            except StoreError as exc:
                damaged.append(told_of(path, exc))
                continue
            segments += 1
            for symbol, found in pieces:
                held.setdefault(symbol, []).extend(found)
        for symbol in sorted(held):
            ordered = sorted(held[symbol])
            conflicts += _conflicts(store, frame, symbol, ordered)
            whole = list(merged(ordered))
            bars += sum(run.last - run.first + 1 for run in whole)
            found_gaps += gaps(frame, symbol, whole)
    return Report(segments, bars, tuple(damaged), tuple(conflicts), tuple(found_gaps))


def told_of(path: PurePath, fault: StoreError) -> Damage:
    """Say what is wrong with a segment."""
    changed = isinstance(fault, DamagedSegment)
    return Damage(path, fault.why if isinstance(fault, DamagedSegment) else str(fault), changed)


def runs(frame: Timeframe, exact: Exact) -> Iterator[Run]:
    """Part bars in the order of time into runs."""
    bars = indexes(frame, times_of(exact))
    for part in np.split(bars, np.flatnonzero(np.diff(bars) > 1) + 1):
        yield Run(int(part[0]), int(part[-1]))


def _conflicts(store: "HistoryStore", frame: Timeframe, symbol: str, ordered: list[Run]) -> Iterator[str]:
    """Read what is there twice, and give what disagrees."""
    upto = -1
    for run in ordered:
        if run.first <= upto:
            first, last = run.first, min(run.last, upto)
            try:
                store.read(frame, [symbol], frame.open_time(first), frame.open_time(last + 1))
            except DataError as exc:
                yield str(exc)
            except StoreError:
                pass  # another segment of that month is damaged, which was told already
        upto = max(upto, run.last)


def merged(ordered: list[Run]) -> Iterator[Run]:
    """Join runs, from the first, that touch or overlap."""
    first, last = ordered[0]
    for run in ordered:
        if run.first > last + 1:
            yield Run(first, last)
            first = run.first
        last = max(last, run.last)
    yield Run(first, last)


def gaps(frame: Timeframe, symbol: str, whole: list[Run]) -> Iterator[Gap]:
    """Give what lacks between runs."""
    for before, after in pairwise(whole):
        first, last = before.last + 1, after.first - 1
        yield Gap(frame.name, symbol, frame.open_time(first), frame.open_time(last), last - first + 1)
