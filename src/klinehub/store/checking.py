"""Checking a whole history: every byte, the order of every bar, what disagrees, and where bars lack."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
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
    """A file that is not as it was written, and what is wrong with it."""

    path: Path
    why: str


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


class _Run(NamedTuple):
    """Bars without a gap between them, by absolute index."""

    first: int
    last: int


def verify(store: "HistoryStore") -> Report:
    """Check all that *store* holds; nothing that is found ends the check."""
    segments, bars = 0, 0
    damaged: list[Damage] = []
    conflicts: list[str] = []
    gaps: list[Gap] = []
    for frame in store.timeframes:
        runs: dict[str, list[_Run]] = {}
        for path in (path for month in store.months(frame) for path in store.paths(frame, month)):
            try:
                pieces = [(symbol, list(_runs(frame, exact))) for symbol, exact in checked(path, frame)]
            except FileNotFoundError:
                continue  # a compaction has just put another segment in its place
            except StoreError as exc:
                damaged.append(Damage(path, exc.why if isinstance(exc, DamagedSegment) else str(exc)))
                continue
            segments += 1
            for symbol, found in pieces:
                runs.setdefault(symbol, []).extend(found)
        for symbol in sorted(runs):
            ordered = sorted(runs[symbol])
            conflicts += _conflicts(store, frame, symbol, ordered)
            merged = list(_merged(ordered))
            bars += sum(run.last - run.first + 1 for run in merged)
            gaps += _gaps(frame, symbol, merged)
    return Report(segments, bars, tuple(damaged), tuple(conflicts), tuple(gaps))


def _runs(frame: Timeframe, exact: Exact) -> Iterator[_Run]:
    bars = indexes(frame, times_of(exact))
    for part in np.split(bars, np.flatnonzero(np.diff(bars) > 1) + 1):
        yield _Run(int(part[0]), int(part[-1]))


def _conflicts(store: "HistoryStore", frame: Timeframe, symbol: str, runs: list[_Run]) -> Iterator[str]:
    """Read what is there twice, and give what disagrees."""
    upto = -1
    for run in runs:
        if run.first <= upto:
            first, last = run.first, min(run.last, upto)
            try:
                store.read(frame, [symbol], frame.open_time(first), frame.open_time(last + 1))
            except DataError as exc:
                yield str(exc)
            except StoreError:
                pass  # another segment of that month is damaged, which was told already
        upto = max(upto, run.last)


def _merged(runs: list[_Run]) -> Iterator[_Run]:
    """Join runs that touch or overlap."""
    first, last = runs[0]
    for run in runs:
        if run.first > last + 1:
            yield _Run(first, last)
            first = run.first
        last = max(last, run.last)
    yield _Run(first, last)


def _gaps(frame: Timeframe, symbol: str, runs: list[_Run]) -> Iterator[Gap]:
    for before, after in pairwise(runs):
        first, last = before.last + 1, after.first - 1
        yield Gap(frame.name, symbol, frame.open_time(first), frame.open_time(last), last - first + 1)
