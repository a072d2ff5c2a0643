"""The history: years of closed bars of one market, in Parquet by timeframe and month.

1. `<folder>/<timeframe>/<YYYY-MM>/` holds the segments of the bars that open in that month (UTC). Segments
   never change: what is written becomes another one, and `compact` makes few of many.
2. A bar that is kept stays as it is. An equal one changes nothing, a different one is refused, unless it
   is written as a correction: then its segment is of a later generation than all of the month.
3. A writer that is stopped leaves a hidden file, or segments that say the same twice; both are no harm.
4. A damaged segment is named in the error; set aside, it is out of the way and the rest is read.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Final, NamedTuple, TypeVar

import numpy as np

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import TIMEFRAMES, Timeframe
from klinehub.errors import DataError, DefinitionError, StoreError
from klinehub.store import disk, parquet
from klinehub.store.checking import Report, verify
from klinehub.store.files import Files, Folder
from klinehub.store.joining import (
    FOREVER,
    Part,
    disagreement,
    held_against,
    joined,
    pair,
    refuse_disorder,
    resolved,
    times_of,
    without_echoes,
)
from klinehub.store.parquet import Piece, Segment, named

# Forty-six symbols of minutes, 37 MB. With half of that a symbol's year takes 0.10 s instead of 0.13, for its
# footers are smaller; a day of the market takes the same, and there are twice as many files.
SEGMENT_BARS: Final = 2_000_000
# Footers are kept parsed, since segments do not change; one of minutes takes a few MB.
_FOOTERS: Final = 16
# How often a read begins again because a compaction took a segment away meanwhile.
_TRIES: Final = 5
_MONTHS: Final = TIMEFRAMES["1M"]
_FOLDERS: Final = {"1mo" if name == "1M" else name: frame for name, frame in TIMEFRAMES.items()}
_MONTH: Final = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_ASIDE: Final = ".damaged"
_Item = TypeVar("_Item")


class Range(NamedTuple):
    """What is kept of a series: open times (ms UTC) of its first and last bar, and how many there are."""

    first: int
    last: int
    bars: int


class Written(NamedTuple):
    """What a write did: how many bars are new, how many were corrected, and the segments made for them."""

    new: int
    corrected: int
    segments: tuple[PurePath, ...]


class _Plan(NamedTuple):
    """A segment to be written."""

    month: str
    runs: list[tuple[str, Exact]]
    generation: int = 0


class HistoryStore:
    """The bars kept in *files*, or in a folder, which need not be there before something is written."""

    def __init__(self, files: Files | Path) -> None:
        self.files: Files = Folder(files) if isinstance(files, Path) else files
        opened = partial(parquet.opened, reading=self.files.reading)
        self._opened: Callable[[PurePath], Segment] = lru_cache(_FOOTERS)(opened)

    def __repr__(self) -> str:
        """Show where it is and which timeframes it holds."""
        kept = " ".join(one.name for one in self.timeframes)
        return f"<HistoryStore {self.files.where}, {kept or 'empty'}>"

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes that bars are kept of, from the smallest."""
        there = self.files.folders(self.files.root)
        return tuple(frame for name, frame in _FOLDERS.items() if name in there)

    def symbols(self, timeframe: Timeframe, start: int = 0, end: int = FOREVER) -> tuple[str, ...]:
        """The symbols with bars that open in [start, end) ms UTC, in order."""
        return tuple(
            sorted(
                {
                    piece.symbol
                    for segment in self._within(timeframe, None, start, end)
                    for piece in segment.head.pieces
                    if piece.first < end and start <= piece.last
                }
            )
        )

    def span(self, timeframe: Timeframe) -> tuple[int, int]:
        """Give times (ms UTC) between which all kept bars open: the turns of months; equal without any."""
        months = self.months(timeframe)
        return (_opens(months[0]), _opens(months[-1], after=1)) if months else (0, 0)

    def ranges(self, timeframe: Timeframe) -> dict[str, Range]:
        """Give what is kept of each symbol."""
        found: dict[str, list[Piece]] = {}
        for month in self.months(timeframe):
            for segment in self.segments(timeframe, month):
                for piece in segment.head.pieces:
                    found.setdefault(piece.symbol, []).append(piece)
        return {symbol: self._range(timeframe, symbol, pieces) for symbol, pieces in found.items()}

    def _range(self, frame: Timeframe, symbol: str, pieces: list[Piece]) -> Range:
        pieces.sort(key=lambda piece: piece.first)
        first, last = pieces[0].first, max(piece.last for piece in pieces)
        if all(before.last < after.first for before, after in pairwise(pieces)):
            return Range(first, last, sum(piece.bars for piece in pieces))
        return Range(first, last, self.read(frame, [symbol], first, last + 1)[symbol].rows.size)

    def months(self, timeframe: Timeframe) -> tuple[str, ...]:
        """The months that bars are kept of, such as 2025-06, in order."""
        names = self.files.folders(self._folder(timeframe))
        return tuple(name for name in names if _MONTH.fullmatch(name))

    def _folder(self, timeframe: Timeframe) -> PurePath:
        return self.files.root / ("1mo" if timeframe.monthly else timeframe.name)

    @property
    def unfinished(self) -> tuple[PurePath, ...]:
        """The files that a writer did not finish; they are no harm."""
        return tuple(path for path in self.files.below() if disk.is_unfinished(path))

    def tidy(self) -> tuple[PurePath, ...]:
        """Delete the files that a writer did not finish; gives which they were."""
        if not self.timeframes:
            return ()
        with self.files.alone():
            gone = self.unfinished
            self.files.drop(gone)
        return gone

    def paths(self, timeframe: Timeframe, month: str) -> list[PurePath]:
        """Give the files of a month's segments."""
        there = self.files.files(self._folder(timeframe) / month)
        return [path for path in there if path.suffix == parquet.SUFFIX and path.name[0] not in "._"]

    def size(self, timeframe: Timeframe, month: str) -> int:
        """Give how many bytes a month's segments have."""
        return sum(self.files.size(path) for path in self.paths(timeframe, month))

    def segments(
        self, timeframe: Timeframe, month: str, symbols: Sequence[str] | None = None
    ) -> Iterator[Segment]:
        """Open a month's segments, those that may hold one of *symbols*; raises DamagedSegment."""
        for path in self.paths(timeframe, month):
            if symbols is None or named(path).may_hold(symbols):
                yield self._opened(path)

    def read(
        self, timeframe: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, Exact]:
        """Give the kept bars that open in [start, end) ms UTC by symbol, oldest first; None means all.

        Symbols without bars are left out. Raises DamagedSegment for a file that is not as it was written.
        """
        parts = self._settled(timeframe, symbols, start, end)
        return {symbol: joined(resolved(symbol, timeframe, found)) for symbol, found in parts.items()}

    def _settled(
        self, frame: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, list[Part]]:
        """Collect parts, anew when a compaction has taken a segment away."""
        for _ in range(_TRIES - 1):
            try:
                return self._parts(frame, symbols, start, end)
            except FileNotFoundError:
                continue
        return self._parts(frame, symbols, start, end)

    def _parts(
        self, frame: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, list[Part]]:
        found: dict[str, list[Part]] = {}
        wanted = None if symbols is None else frozenset(symbols)
        for segment in self._within(frame, symbols, start, end):
            groups = _touched(segment, wanted, start, end)
            for symbol, exact in parquet.pieces(segment, groups) if groups else ():
                part = _cut(exact, start, end)
                if part.rows.size and (wanted is None or symbol in wanted):
                    found.setdefault(symbol, []).append(Part(segment.head.generation, part))
        return found

    def _within(
        self, frame: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> Iterator[Segment]:
        for month in self.months(frame):
            if _opens(month) < end and start < _opens(month, after=1):
                yield from self.segments(frame, month, symbols)

    def write(self, timeframe: Timeframe, bars: Mapping[str, Exact], *, replace: bool = False) -> Written:
        """Keep closed bars; equal ones again change nothing, and on disk it is when this returns.

        Raises DataError, and writes nothing, for bars out of order or off the grid, for numbers that cannot
        be kept exactly, and for a bar that differs from the one that is kept, unless *replace* makes it a
        correction. Raises StoreError where the disk refuses.
        """
        clean = {symbol: without_echoes(exact) for symbol, exact in bars.items() if exact.rows.size}
        for symbol, exact in clean.items():
            refuse_disorder(symbol, exact, timeframe)
        with self.files.alone():
            fresh, corrections = self._news(timeframe, clean, replace=replace)
            plans = [*_by_month(fresh), *self._corrections(timeframe, corrections)]
            # All is encoded before any of it is written: a number that can not be kept is refused here.
            files = [(plan.month, *parquet.encode(timeframe, plan.runs, plan.generation)) for plan in plans]
            made = tuple(self._put(timeframe, *file) for file in files)
        return Written(_count(fresh), _count(corrections), made)

    def _news(
        self, frame: Timeframe, bars: Mapping[str, Exact], *, replace: bool
    ) -> tuple[dict[str, Exact], dict[str, Exact]]:
        """Give the bars that are not kept yet, and those that differ from what is kept."""
        if not bars:
            return {}, {}
        spans = [times_of(exact)[[0, -1]] for exact in bars.values()]
        kept = self.read(frame, list(bars), int(min(a for a, _ in spans)), int(max(b for _, b in spans)) + 1)
        fresh, corrections = dict(bars), {}
        for symbol, old in kept.items():
            new = bars[symbol]
            held = held_against(old, new)
            fresh[symbol] = Exact(new.rows[held.fresh], new.scale)
            if held.different.any():
                two = pair(old, new, int(np.argmax(held.different)))
                if not replace:
                    raise DataError(
                        f"{disagreement(symbol, frame, two)}: the first is kept, nothing was written. "
                        f"Where the second is right, write with replace=True."
                    )
                corrections[symbol] = Exact(new.rows[held.different], new.scale)
        return fresh, corrections

    def _corrections(self, frame: Timeframe, bars: Mapping[str, Exact]) -> Iterator[_Plan]:
        """Plan corrections, of a later generation than all that their month holds."""
        for plan in _by_month(bars):
            latest = max(segment.head.generation for segment in self.segments(frame, plan.month))
            yield plan._replace(generation=latest + 1)

    def _put(self, frame: Timeframe, month: str, name: str, body: bytes) -> PurePath:
        path = self._folder(frame) / month / name
        self.files.put(path, body)
        return path

    def compact(self, timeframe: Timeframe, month: str) -> tuple[PurePath, ...]:
        """Make few segments of a month's many, the same bars in the order of symbols; gives the new ones.

        Nothing is done where there is nothing to gain. Raises DamagedSegment, and deletes nothing, where a
        segment is damaged; needs memory for a segment, not for a month.
        """
        span = _opens(month), _opens(month, after=1)
        with self.files.alone():
            old = list(self.segments(timeframe, month))
            if _is_compact(old):
                return ()
            generation = max(segment.head.generation for segment in old)
            made: list[PurePath] = []
            for symbols in _batches(old):
                parts = self._parts(timeframe, symbols, *span)
                runs = [(s, run) for s in symbols for run in resolved(s, timeframe, parts[s])]
                made.append(self._put(timeframe, month, *parquet.encode(timeframe, runs, generation)))
            self.files.drop(segment.path for segment in old if segment.path not in made)
        return tuple(made)

    def drop(self, timeframe: Timeframe, month: str) -> tuple[PurePath, ...]:
        """Delete a month's segments, for good; gives which they were. What was set aside stays."""
        folder = self._folder(timeframe) / month
        with self.files.alone():
            gone = tuple(self.paths(timeframe, month))
            self.files.drop([*gone, *filter(disk.is_unfinished, self.files.files(folder))])
            self.files.clear(folder)
        return gone

    def verify(self) -> Report:
        """Check every byte and bar; names what is damaged, in conflict or missing, and raises none of it."""
        return verify(self)

    def set_aside(self, path: PurePath) -> PurePath:
        """Rename a damaged segment, so that nothing reads it any more; gives its new place."""
        aside = path.with_name(f"_{path.name}{_ASIDE}")
        with self.files.alone():
            self.files.rename(path, aside)
        return aside

    @property
    def damaged(self) -> tuple[PurePath, ...]:
        """The segments that were set aside."""
        there = self.files.below()
        return tuple(path for path in there if path.suffix == _ASIDE and path.name[0] == "_")

    def lost(self, aside: PurePath, known: Sequence[str]) -> Iterator[tuple[Timeframe, str, int, int]]:
        """Say what a segment that was set aside held: timeframe, symbol, and times between which bars open.

        Where its footer is damaged too, it may be any of the *known* symbols that its name allows, all month.
        """
        name = aside.name.removeprefix("_").removesuffix(_ASIDE)
        frame, month = _FOLDERS[aside.parent.parent.name], aside.parent.name
        try:
            for piece in parquet.opened(aside, self.files.reading, name).head.pieces:
                yield frame, piece.symbol, piece.first, piece.last + 1
        except StoreError:
            told = named(aside.with_name(name))
            symbols = {symbol for symbol in known if told.may_hold([symbol])} | {told.first, told.last}
            for symbol in sorted(symbols):
                yield frame, symbol, _opens(month), _opens(month, after=1)


def _opens(month: str, after: int = 0) -> int:
    """Give the open time (ms UTC) of a month such as 2025-06, or of one so many months *after* it."""
    if not _MONTH.fullmatch(month):
        raise DefinitionError(f"{month!r} is no month: write it like 2025-06.")
    year, number = map(int, month.split("-"))
    return _MONTHS.open_time(12 * year + number - 1 + after)


def _month(time: int) -> str:
    year, month = divmod(_MONTHS.index(time), 12)
    return f"{year:04}-{month + 1:02}"


def _touched(segment: Segment, wanted: frozenset[str] | None, start: int, end: int) -> list[int]:
    """Give the numbers of the row groups that hold something of what is wanted."""
    return [
        number
        for number, group in enumerate(segment.head.groups)
        if any(
            piece.first < end and start <= piece.last and (wanted is None or piece.symbol in wanted)
            for piece in group.pieces
        )
    ]


def _cut(exact: Exact, start: int, end: int) -> Exact:
    low, high = np.searchsorted(times_of(exact), (start, end))
    return Exact(exact.rows[low:high], exact.scale)


def _count(bars: Mapping[str, Exact]) -> int:
    return sum(exact.rows.size for exact in bars.values())


def _by_month(bars: Mapping[str, Exact]) -> Iterator[_Plan]:
    """Plan segments, their runs in the order of symbols."""
    months: dict[str, list[tuple[str, Exact]]] = {}
    for symbol in sorted(bars):
        exact = bars[symbol]
        while exact.rows.size:
            month = _month(int(times_of(exact)[0]))
            size = int(np.searchsorted(times_of(exact), _opens(month, after=1)))
            months.setdefault(month, []).append((symbol, Exact(exact.rows[:size], exact.scale)))
            exact = Exact(exact.rows[size:], exact.scale)
    for month in sorted(months):
        for runs in _portions(months[month], [run.rows.size for _, run in months[month]]):
            yield _Plan(month, runs)


def _portions(items: Sequence[_Item], sizes: Sequence[int]) -> Iterator[list[_Item]]:
    """Part items into lists of at most SEGMENT_BARS bars, or of one item that is larger."""
    portion: list[_Item] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        if portion and total + size > SEGMENT_BARS:
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += size
    if portion:
        yield portion


def _batches(segments: Sequence[Segment]) -> Iterator[list[str]]:
    """Part the symbols of segments, in order, so that each list's bars make one segment."""
    bars: dict[str, int] = {}
    for segment in segments:
        for piece in segment.head.pieces:
            bars[piece.symbol] = bars.get(piece.symbol, 0) + piece.bars
    symbols = sorted(bars)
    return _portions(symbols, [bars[symbol] for symbol in symbols])


def _is_compact(segments: Sequence[Segment]) -> bool:
    """Whether each symbol is in one segment and there are no more segments than its bars need."""
    held = [{piece.symbol for piece in segment.head.pieces} for segment in segments]
    once = len(set().union(*held)) == sum(map(len, held))
    return once and len(segments) <= len(list(_batches(segments)))
