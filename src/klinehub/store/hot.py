"""The hot store: the newest bars of a market, a slice for each timeframe and bar, durable at each commit.

1. Symbols are numbered in an index that only grows; one whose decimals grow gets another number.
2. Late bars and corrections are the same write as a close, and writing twice changes nothing.
3. A bar of one symbol takes the place of that symbol's; what is kept of the others stays.
4. What does not add up is moved aside and named; the bars in it are missing, so that they are fetched again.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from threading import RLock
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from klinehub.domain.kline import ROW, ROW_WORDS, Exact, Scale
from klinehub.domain.timeframe import DAY, TIMEFRAMES, Timeframe
from klinehub.errors import StoreError
from klinehub.panel.memory import I64
from klinehub.store.base import BAR_BITS, Change, Entry, First, Kept, Tables, key_of
from klinehub.store.joining import FOREVER, Part, joined, resolved
from klinehub.store.slices import ABSENT, Lines, decode, encode

_NO_WORDS: Final = np.empty((0, ROW_WORDS), np.int64)
_NO_NUMBERS: Final = np.empty(0, np.int64)
_LAST: Final = (1 << BAR_BITS) - 1
# Added to the key of a day whose bars were written after it was sealed.
OPENED: Final = 1 << BAR_BITS - 1
# Slices that are read in one go, some 3 MB.
PAGE: Final = 256


class Slice(NamedTuple):
    """What is to be kept of one bar (absolute index)."""

    timeframe: Timeframe
    bar: int
    lines: Lines


class Range(NamedTuple):
    """What is kept of a timeframe: slices, and the open times (ms) of the first and the last."""

    slices: int
    first: int
    last: int


class HotStore:
    """The slices of one market in *tables*, which this process alone writes.

    A damaged slice is moved aside, unless who only looks says *aside* is False: then it is just named.
    Tables that can not be read are closed: who tries again opens them anew.
    """

    def __init__(self, tables: Tables, *, aside: bool = True) -> None:
        self.tables = tables
        self._aside = aside
        self.where = tables.where
        kept, self._sealed = _index(tables)
        most = max((entry.number for entry in kept.entries), default=-1)
        # By number; None where a line of the index was damaged.
        self.entries: list[Entry | None] = [None] * max(most + 1, kept.used)
        for entry in kept.entries:
            self.entries[entry.number] = entry
        self._numbers = {(one.symbol, one.scale): one.number for one in kept.entries}
        self._decimals = np.array([-1 if one is None else one.scale.price for one in self.entries], np.int64)
        # By number: which symbol it is of, counted from 0.
        self._symbol_of: list[int] = []
        self._counted: dict[str, int] = {}
        for each in self.entries:
            self._symbol_of.append(-1 if each is None else self._count(each.symbol))
        self.firsts = {(one.timeframe, one.symbol): one.bar for one in kept.firsts}
        self._new: list[Entry] = []
        self.set_aside: list[str] = []
        # Closes are committed while older bars are read and moved to history.
        self._alone = RLock()

    def __repr__(self) -> str:
        """Show where it is and how many symbols it knows."""
        return f"<HotStore {self.where}, {len(self.names)} symbols>"

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols that were ever kept, in the order in which they came."""
        return tuple(self._counted)

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes that bars are kept of."""
        return tuple(frame for frame in TIMEFRAMES.values() if self.range(frame).slices)

    def symbols(self, timeframe: Timeframe, start: int = 0, end: int = FOREVER) -> tuple[str, ...]:
        """The symbols that may have bars that open in [start, end) ms UTC: all, where there are any."""
        low, high = self.span(timeframe)
        return tuple(sorted(self.names)) if low < end and start < high else ()

    def span(self, timeframe: Timeframe) -> tuple[int, int]:
        """Give times (ms UTC) between which all bars open; equal without any."""
        kept = self.range(timeframe)
        return (kept.first, kept.last + 1) if kept.slices else (0, 0)

    def _count(self, symbol: str) -> int:
        return self._counted.setdefault(symbol, len(self._counted))

    def number(self, symbol: str, scale: Scale) -> int:
        """Give the number under which a symbol is kept while it is printed with these decimals."""
        found = self._numbers.get((symbol, scale))
        if found is not None:
            return found
        entry = Entry(len(self.entries), symbol, scale)
        self.entries.append(entry)
        self._symbol_of.append(self._count(symbol))
        self._numbers[symbol, scale] = entry.number
        self._decimals = np.append(self._decimals, scale.price)
        self._new.append(entry)
        return entry.number

    @property
    def salvages(self) -> int:
        """How often a damaged store was replaced by what could be saved of it."""
        return self.tables.salvages

    def renew(self) -> None:
        """Write the whole index of symbols again with the next commit."""
        self._new = [one for one in self.entries if one is not None]

    def commit(
        self, slices: Sequence[Slice], *, firsts: Sequence[First] = (), records: Sequence[str] = ()
    ) -> None:
        """Lay slices over those that are there, all or none; on disk when this returns.

        Raises StoreError; then nothing is written, and the same can be written again.
        """
        with self._alone:
            new = tuple(self._new)
            bodies = tuple((key_of(one.timeframe, one.bar), self._encoded(self._laid(one))) for one in slices)
            opened = tuple({day_of(one.timeframe, one.bar) for one in slices} & self._sealed)
            again = tuple(day | OPENED for day in opened)
            change = Change(new, bodies, tuple(firsts), tuple(records), sealed=again, opened=opened)
            self.tables.commit(change)
            del self._new[: len(new)]
            self._sealed = self._sealed.difference(opened).union(again)
        self.firsts.update({(one.timeframe, one.symbol): one.bar for one in firsts})

    def is_sealed(self, timeframe: Timeframe, time: int) -> bool:
        """Say whether history holds the bars of the day of *time* (ms UTC) as they are here."""
        return day_of(timeframe, timeframe.index(time)) in self._sealed

    def was_sealed(self, timeframe: Timeframe, time: int) -> bool:
        """Say whether history holds the bars of the day of *time* (ms UTC) as they once were here."""
        return day_of(timeframe, timeframe.index(time)) | OPENED in self._sealed

    def seal(self, timeframe: Timeframe, time: int) -> None:
        """Say that history holds the bars of the day of *time* (ms UTC)."""
        day = day_of(timeframe, timeframe.index(time))
        with self._alone:
            self.tables.commit(Change(sealed=(day,), opened=(day | OPENED,)))
            self._sealed = self._sealed.union((day,)).difference((day | OPENED,))

    def _laid(self, one: Slice) -> Slice:
        """Give a slice with what is kept of symbols that it does not tell of."""
        for _, kept in self.slices(one.timeframe, one.bar, one.bar):
            return one._replace(lines=_laid_over(kept, one.lines, np.array(self._symbol_of)))
        return one

    def _encoded(self, one: Slice) -> bytes:
        return encode(one.timeframe.milliseconds, one.bar, one.lines, self._decimals[one.lines.numbers])

    def slices(self, timeframe: Timeframe, first: int, last: int) -> Iterator[tuple[int, Lines]]:
        """Give the bars from index *first* to *last* (inclusive) that are kept, in order.

        A slice that does not add up is moved aside, named in `set_aside`, and left out.
        """
        damaged = []
        for key, body in self._pages(key_of(timeframe, max(0, first)), key_of(timeframe, min(last, _LAST))):
            bar = key & _LAST
            try:
                opened = timeframe.open_time(bar)
                yield bar, decode(timeframe.milliseconds, bar, opened, body, self._decimals)
            except StoreError as exc:
                damaged.append((key, body, str(exc)))
        if damaged:
            self.set_aside += [f"{timeframe.name} {key & _LAST}: {why}" for key, _, why in damaged]
        if damaged and self._aside:
            # A disk that takes nothing now finds them damaged again.
            with self._alone, suppress(StoreError):
                self.tables.commit(Change(damaged=tuple(damaged)))

    def _pages(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Give slices a page at a time: nobody waits for longer than a page takes."""
        while first <= last:
            with self._alone:
                page = list(islice(self.tables.scan(first, last), PAGE))
            yield from page
            if len(page) < PAGE:
                return
            first = page[-1][0] + 1

    def read(
        self, timeframe: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, Exact]:
        """Give the closed bars that open in [start, end) ms UTC by symbol, oldest first; None means all."""
        first, last = timeframe.index(start - 1) + 1, timeframe.index(end - 1)
        asked = None if symbols is None else frozenset(symbols)
        wanted = np.array(
            [one is not None and (asked is None or one.symbol in asked) for one in self.entries], bool
        )
        numbers, words = self._collected(timeframe, first, last, wanted)
        order = np.argsort(numbers, kind="stable")
        numbers, words = numbers[order], words[order]
        found: dict[str, list[Part]] = {}
        for at, upto in pairwise(np.flatnonzero(np.diff(numbers, prepend=-1, append=-1)).tolist()):
            entry = self.entries[int(numbers[at])]
            if entry is not None:
                rows = np.ascontiguousarray(words[at:upto]).view(ROW).reshape(-1)
                found.setdefault(entry.symbol, []).append(Part(0, Exact(rows, entry.scale)))
        return {symbol: joined(resolved(symbol, timeframe, parts)) for symbol, parts in found.items()}

    def _collected(
        self, timeframe: Timeframe, first: int, last: int, wanted: npt.NDArray[np.bool_]
    ) -> tuple[I64, I64]:
        """Give the numbers [n] and words [n, 10] of a range's bars in the order of time, those *wanted*."""
        numbers, words = [], []
        for _, lines in self.slices(timeframe, first, last):
            # A number that is as new as this reading was not asked for.
            there = (lines.states != ABSENT) & (lines.numbers < wanted.size)
            there[there] = wanted[lines.numbers[there]]
            numbers.append(lines.numbers[there])
            words.append(lines.words[there])
        return np.concatenate([_NO_NUMBERS, *numbers]), np.concatenate([_NO_WORDS, *words])

    def range(self, timeframe: Timeframe) -> Range:
        """Give how much is kept of a timeframe; open times are 0 where there is nothing."""
        with self._alone:
            count, least, greatest = self.tables.bounds(key_of(timeframe, 0), key_of(timeframe, _LAST))
        if not count:
            return Range(0, 0, 0)
        return Range(count, *(timeframe.open_time(key & _LAST) for key in (least, greatest)))

    def drop(self, timeframe: Timeframe, before: int) -> None:
        """Delete the slices of bars before absolute index *before*."""
        with self._alone:
            self.tables.commit(Change(gone=((key_of(timeframe, 0), key_of(timeframe, before) - 1),)))


def _index(tables: Tables) -> tuple[Kept, frozenset[int]]:
    """Read what lies beside slices, and the days that history holds."""
    try:
        return tables.kept(), tables.sealed()
    except BaseException:
        tables.close()
        raise


def day_of(timeframe: Timeframe, bar: int) -> int:
    """Give the key of the UTC day in which a bar opens."""
    return timeframe.milliseconds << BAR_BITS | timeframe.open_time(bar) // DAY


def _laid_over(kept: Lines, new: Lines, symbol_of: I64) -> Lines:
    """Give the lines of both; of a symbol in both the new one, but no absence hides a bar."""
    has_bar, told = np.zeros((2, symbol_of.size + 1), bool)
    has_bar[symbol_of[kept.numbers[kept.states > ABSENT]]] = True
    taken = (new.states > ABSENT) | ~has_bar[symbol_of[new.numbers]]
    told[symbol_of[new.numbers[taken]]] = True
    stays = ~told[symbol_of[kept.numbers]]
    both = [
        np.concatenate((new_part[taken], old_part[stays]))
        for new_part, old_part in zip(new, kept, strict=True)
    ]
    order = np.argsort(both[0], kind="stable")
    return Lines(*(part[order] for part in both))
