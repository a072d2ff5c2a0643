"""The hot store: the newest bars of a market, a slice for each timeframe and bar, durable at each commit.

1. Symbols are numbered in an index that only grows; one whose decimals grow gets another number.
2. Late bars and corrections are the same write as a close, and writing twice changes nothing.
3. A bar of one symbol takes the place of that symbol's; what is kept of the others stays.
4. What does not add up is moved aside and named; the bars in it are missing, so that they are fetched again.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.kline import ROW, ROW_WORDS, Exact, Scale
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DataError, StoreError
from klinehub.panel.memory import I64, OPEN_TIME, QUOTE, TAKER_BASE, TAKER_QUOTE, VOLUME
from klinehub.store.base import BAR_BITS, Change, Entry, First, Tables, key_of
from klinehub.store.slices import ABSENT, Lines, decode, encode

# Which part of a scale each mantissa has.
_SCALE_OF: Final = ((VOLUME, 1), (QUOTE, 2), (TAKER_BASE, 1), (TAKER_QUOTE, 2))
_NO_WORDS: Final = np.empty((0, ROW_WORDS), np.int64)
_NO_NUMBERS: Final = np.empty(0, np.int64)
_LAST: Final = (1 << BAR_BITS) - 1
_MANTISSA_MAX: Final = 2**63 - 1


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
    """The slices of one market in *tables*, which this process alone writes."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.where = tables.where
        kept = tables.kept()
        most = max((entry.number for entry in kept.entries), default=-1)
        # By number; None where a line of the index was damaged.
        self.entries: list[Entry | None] = [None] * (most + 1)
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

    def __repr__(self) -> str:
        """Show where it is and how many symbols it knows."""
        return f"<HotStore {self.where}, {len(self.symbols)} symbols>"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that were ever kept, in the order in which they came."""
        return tuple(self._counted)

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

    def commit(
        self, slices: Sequence[Slice], *, firsts: Sequence[First] = (), records: Sequence[str] = ()
    ) -> None:
        """Lay slices over those that are there, all or none; on disk when this returns.

        Raises StoreError; then nothing is written, and the same can be written again.
        """
        new = tuple(self._new)
        bodies = tuple((key_of(one.timeframe, one.bar), self._encoded(self._laid(one))) for one in slices)
        self.tables.commit(Change(new, bodies, tuple(firsts), tuple(records)))
        del self._new[: len(new)]
        self.firsts.update({(one.timeframe, one.symbol): one.bar for one in firsts})

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
        low, high = key_of(timeframe, max(0, first)), key_of(timeframe, min(last, _LAST))
        for key, body in self.tables.scan(low, high):
            bar = key & _LAST
            try:
                opened = timeframe.open_time(bar)
                yield bar, decode(timeframe.milliseconds, bar, opened, body, self._decimals)
            except StoreError as exc:
                damaged.append((key, body, str(exc)))
        if damaged:
            self.set_aside += [f"{timeframe.name} {key & _LAST}: {why}" for key, _, why in damaged]
            self.tables.commit(Change(damaged=tuple(damaged)))

    def read(
        self, timeframe: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, Exact]:
        """Give the closed bars that open in [start, end) ms UTC by symbol, oldest first; None means all."""
        first, last = timeframe.index(start - 1) + 1, timeframe.index(end - 1)
        numbers, words = self._collected(timeframe, first, last)
        order = np.argsort(numbers, kind="stable")
        numbers, words = numbers[order], words[order]
        wanted = None if symbols is None else frozenset(symbols)
        found: dict[str, list[Exact]] = {}
        for at, upto in pairwise(np.flatnonzero(np.diff(numbers, prepend=-1, append=-1)).tolist()):
            entry = self.entries[int(numbers[at])]
            if entry is not None and (wanted is None or entry.symbol in wanted):
                rows = np.ascontiguousarray(words[at:upto]).view(ROW).reshape(-1)
                found.setdefault(entry.symbol, []).append(Exact(rows, entry.scale))
        return {symbol: joined(parts) for symbol, parts in found.items()}

    def _collected(self, timeframe: Timeframe, first: int, last: int) -> tuple[I64, I64]:
        """Give the numbers [n] and words [n, 10] of all bars of a range, in the order of time."""
        kept = [lines for _, lines in self.slices(timeframe, first, last)]
        bars = [lines.states != ABSENT for lines in kept]
        numbers = [lines.numbers[there] for lines, there in zip(kept, bars, strict=True)]
        words = [lines.words[there] for lines, there in zip(kept, bars, strict=True)]
        return np.concatenate([_NO_NUMBERS, *numbers]), np.concatenate([_NO_WORDS, *words])

    def range(self, timeframe: Timeframe) -> Range:
        """Give how much is kept of a timeframe; open times are 0 where there is nothing."""
        count, least, greatest = self.tables.bounds(key_of(timeframe, 0), key_of(timeframe, _LAST))
        if not count:
            return Range(0, 0, 0)
        return Range(count, *(timeframe.open_time(key & _LAST) for key in (least, greatest)))

    def drop(self, timeframe: Timeframe, before: int) -> None:
        """Delete the slices of bars before absolute index *before*."""
        self.tables.commit(Change(gone=((key_of(timeframe, 0), key_of(timeframe, before) - 1),)))


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


def joined(parts: Sequence[Exact]) -> Exact:
    """Join the bars of one symbol, in the order of time, with the most decimals that any part has.

    Raises DataError where a mantissa would not fit 64 bits then.
    """
    if len(parts) == 1:
        return parts[0]
    scale = Scale(*(max(column) for column in zip(*(part.scale for part in parts), strict=True)))
    words = np.concatenate([_widened(part, scale) for part in parts])
    words = words[np.argsort(words[:, OPEN_TIME], kind="stable")]
    return Exact(words.view(ROW).reshape(-1), scale)


def _widened(part: Exact, scale: Scale) -> I64:
    words = part.rows.view(np.int64).reshape(-1, ROW_WORDS).copy()
    for word, which in _SCALE_OF:
        factor = 10 ** (scale[which] - part.scale[which])
        if words.size and int(words[:, word].max()) > _MANTISSA_MAX // factor:
            raise DataError(f"A volume with {scale[which]} decimals does not fit 64 bits.")
        words[:, word] *= factor
    return words
