"""Cutting: one bar of the symbols that a hub follows, out of its ring and into bytes."""

import zlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from klinehub.domain.kline import CLOSED, FORMING, ROW_WORDS
from klinehub.panel.carry import take_bar, take_open
from klinehub.panel.memory import I64
from klinehub.panel.ring import Ring
from klinehub.store.slices import ABSENT, Lines, encode

Flags = npt.NDArray[np.bool_]


class Cut(NamedTuple):
    """A bar of many symbols: their names in alphabetical order, three bytes of decimals each, a slice."""

    symbols: tuple[str, ...]
    scales: bytes
    slice: bytes

    @property
    def sum(self) -> int:
        """A checksum: two hubs that have the same bars of the same symbols cut the same."""
        return zlib.crc32(self.slice, zlib.crc32(self.scales, zlib.crc32("\n".join(self.symbols).encode())))


class Cutter:
    """Cuts bars out of *ring*; *absent* gives those that the exchange does not have."""

    def __init__(self, ring: Ring, absent: Callable[[], AbstractSet[tuple[int, int, int]]]) -> None:
        self._ring = ring
        self._absent = absent
        self._rank = np.empty(0, np.int64)

    def closed(self, t: int, bar: int, own: Flags) -> Cut:
        """Cut the closed bar *bar* of a timeframe (by number) of the rows that are marked in *own*."""
        count = len(self._ring.symbols)
        rows, states = np.empty(count, np.int64), np.empty(count, np.int64)
        words = np.empty((count, ROW_WORDS), np.int64)
        found = int(take_bar(self._ring.memory, t, bar, count, rows, states, words))
        rows, words = rows[:found], words[:found]
        mine = own[rows]
        rows, words = rows[mine], words[mine]
        none = np.array(self._none(t, bar, own, frozenset(rows.tolist())), np.int64)
        # Who has verified a bar and who has not tell the same of it.
        states = np.concatenate((np.full(rows.size, CLOSED), np.full(none.size, ABSENT)))
        rows = np.concatenate((rows, none))
        words = np.concatenate((words, np.zeros((none.size, ROW_WORDS), np.int64)))
        return self._cut(t, bar, rows, states, words)

    def open(self, t: int, bar: int, own: Flags) -> Cut:
        """Cut the bar *bar* of those rows in *own* in which it is open."""
        count = len(self._ring.symbols)
        rows, words = np.empty(count, np.int64), np.empty((count, ROW_WORDS), np.int64)
        found = int(take_open(self._ring.memory, t, bar, count, rows, words))
        rows, words = rows[:found], words[:found]
        mine = own[rows]
        return self._cut(t, bar, rows[mine], np.full(int(mine.sum()), FORMING), words[mine])

    def names(self, rows: I64) -> I64:
        """Give rows in the alphabetical order of their symbols."""
        if self._rank.size != len(self._ring.symbols):
            self._rank = np.argsort(np.argsort(np.array(self._ring.symbols)))
        ordered: I64 = rows[np.argsort(self._rank[rows])]
        return ordered

    def _none(self, t: int, bar: int, own: Flags, held: AbstractSet[int]) -> list[int]:
        """List the rows of which the exchange has no such bar."""
        told = (row for number, row, index in self._absent() if number == t and index == bar)
        return sorted(row for row in told if own[row] and row not in held)

    def _cut(self, t: int, bar: int, rows: I64, states: I64, words: I64) -> Cut:
        ring = self._ring
        place = np.empty(len(ring.symbols), np.int64)
        place[rows] = np.arange(rows.size)
        rows = self.names(rows)
        order, decimals = place[rows], ring.memory.decimals[rows]
        lines = Lines(np.arange(rows.size), states[order], words[order])
        return Cut(
            tuple(ring.symbols[row] for row in rows.tolist()),
            decimals.astype(np.uint8).tobytes(),
            encode(ring.timeframes[t].milliseconds, bar, lines, np.ascontiguousarray(decimals[:, 0])),
        )
