"""Telling: what the followers of a board are told of a ring's bars, and when.

1. A line is a kline stream that somebody follows. Its bars are those of a timeframe that the ring keeps, or
   the sums of such: a 4h bar is made of 1h bars, by the same rule as the ring's own.
2. A bar is told closed once, when all its parts are proved; the bars of a line come in order, so that one
   that lacks holds up those behind it until it is there, or the exchange is known not to have it.
3. Only the bar behind the last one told closed is told while it forms, when it has more trades than before.
4. What closed before somebody followed the line is not told.

All lines are looked at in one kernel; a line on which nothing happened costs a few comparisons.
"""

from collections.abc import Collection
from typing import Final

import numpy as np
from numba import njit

from klinehub.dialect.board import Board
from klinehub.dialect.digits import U8
from klinehub.dialect.frames import PRICE, Events, kline_events
from klinehub.domain.kline import CLOSED, EMPTY, ROW_WORDS
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import (
    F64,
    I64,
    OPEN_TIME,
    TRADES,
    Memory,
    bar_index,
    bar_open,
    copy_words,
    kernel,
)
from klinehub.panel.resample import fold
from klinehub.panel.ring import Ring

# Columns of a line's state: the timeframe of its parts and its row, length and offset of its bars, the last
# bar told closed, then of the last update told: its bar, its trades, the round it was told in, and the
# sequence of the row when it was looked at.
PART, ROW, LENGTH, OFFSET, TOLD, BAR, COUNT, ROUND, SEQUENCE, COLUMNS = range(10)
# A line without a source has no part or row; one that nobody follows has told nothing.
NONE: Final = -1
NOBODY: Final = -2
# Bars that close at one look beyond this many are told at the next.
MOST_AT_ONCE: Final = 4_096
# So many lines that are held up are looked at in one go, the others in the next.
MOST_HELD_UP: Final = 256


@kernel
def _first_part(mem: Memory, spec: I64, index: int) -> int:
    """Give the first part of a bar, leaving out those from before the symbol's first bar."""
    t = spec[PART]
    opens = bar_open(index, spec[LENGTH], spec[OFFSET])
    return int(max(bar_index(opens, mem.grid[t, 0], mem.grid[t, 1]), mem.first[t, spec[ROW]]))


@kernel
def _last_part(mem: Memory, spec: I64, index: int) -> int:
    """Give the last part of a bar."""
    t = spec[PART]
    after = bar_open(index + 1, spec[LENGTH], spec[OFFSET])
    return int(bar_index(after, mem.grid[t, 0], mem.grid[t, 1]) - 1)


@kernel
def _bar_of(mem: Memory, spec: I64, part: int) -> int:
    """Give the bar that a part belongs to."""
    t = spec[PART]
    return bar_index(bar_open(part, mem.grid[t, 0], mem.grid[t, 1]), spec[LENGTH], spec[OFFSET])


@kernel
def _sum(mem: Memory, spec: I64, index: int, out: I64, out_f: F64) -> bool:
    """Write a bar as far as its parts have come; False where one lacks, or none has come."""
    t, row, bars = spec[PART], spec[ROW], mem.state.shape[2]
    newest = mem.newest[t, row]
    start, end = _first_part(mem, spec, index), min(_last_part(mem, spec, index), newest)
    if end < start or start <= newest - bars:
        return False
    for part in range(start, end + 1):
        slot = part % bars
        state = mem.state[t, row, slot]
        if state == EMPTY or (state < CLOSED and part < newest):
            return False
        if part == start:
            copy_words(out, mem.cells[t, row, slot])
            out[OPEN_TIME] = bar_open(index, spec[LENGTH], spec[OFFSET])
        else:
            fold(out, out_f, mem.cells[t, row, slot], mem.floats[t, row, slot])
    return True


@kernel
def _has_ended(mem: Memory, spec: I64, index: int) -> bool:
    """Whether the last part of a bar is there and closed, or a later part is there."""
    t, row = spec[PART], spec[ROW]
    newest, last = mem.newest[t, row], _last_part(mem, spec, index)
    return bool(newest > last or (newest == last and mem.state[t, row, last % mem.state.shape[2]] >= CLOSED))


@kernel
def _pass_over(mem: Memory, spec: I64) -> None:
    """Leave out the bars that are not held whole any more, and those from before the symbol's first."""
    t, row = spec[PART], spec[ROW]
    oldest = max(mem.newest[t, row] - mem.state.shape[2] + 1, mem.first[t, row])
    held = _bar_of(mem, spec, oldest)
    if _first_part(mem, spec, held) < oldest:
        held += 1
    spec[TOLD] = max(spec[TOLD], held - 1)


@kernel
def _next_close(mem: Memory, spec: I64, out: I64, out_f: F64) -> bool:
    """Write the bar behind the last one told, if it has closed meanwhile."""
    if spec[TOLD] == NOBODY or not _has_ended(mem, spec, spec[TOLD] + 1):
        return False
    _pass_over(mem, spec)
    index = spec[TOLD] + 1
    if not _has_ended(mem, spec, index) or not _sum(mem, spec, index, out, out_f):
        return False
    last = _last_part(mem, spec, index)
    if mem.state[spec[PART], spec[ROW], last % mem.state.shape[2]] < CLOSED:
        return False
    spec[TOLD] = index
    spec[COUNT] = spec[SEQUENCE] = NONE
    return True


@njit(cache=True, nogil=True)
def _closes(mem: Memory, lines: I64, out: I64, out_f: F64, found: I64) -> int:
    """Collect the bars to be told closed, those of a line in order; gives how many."""
    count = 0
    for n in range(lines.shape[0]):
        while count < found.size and _next_close(mem, lines[n], out[count], out_f[count]):
            found[count] = n
            count += 1
    return count


@kernel
def _next_update(mem: Memory, spec: I64, out: I64, out_f: F64) -> bool:
    """Write the forming bar of a line, if it was told otherwise or not at all."""
    if spec[TOLD] == NOBODY:
        return False
    t, row, index = spec[PART], spec[ROW], spec[TOLD] + 1
    newest, sequence = mem.newest[t, row], mem.sequence[t, row]
    if newest < 0 or sequence == spec[SEQUENCE] or _bar_of(mem, spec, newest) != index:
        return False
    if _has_ended(mem, spec, index):
        return False
    spec[SEQUENCE] = sequence
    # As the exchange does: a bar without a trade is not told while it forms.
    if not _sum(mem, spec, index, out, out_f) or out[TRADES] == 0 or out[TRADES] == spec[COUNT]:
        return False
    spec[COUNT] = out[TRADES]
    spec[BAR] = index
    return True


@njit(cache=True, nogil=True)
def _updates(mem: Memory, lines: I64, number: int, last: I64, last_f: F64, out: I64, found: I64) -> int:
    """Collect the forming bars that changed, and keep them in *last* [lines, 10]; gives how many."""
    count = 0
    for n in range(lines.shape[0]):
        if _next_update(mem, lines[n], last[n], last_f[n]):
            lines[n, ROUND] = number
            copy_words(out[count], last[n])
            found[count] = n
            count += 1
    return count


@njit(cache=True, nogil=True)
def _begin(mem: Memory, lines: I64, counts: I64, now: int) -> None:
    """Begin the lines that are followed now and were not, behind what has closed up to *now*."""
    for n in range(lines.shape[0]):
        spec = lines[n]
        if counts[n] == 0 or spec[PART] == NONE or spec[ROW] == NONE:
            spec[TOLD] = NOBODY
            continue
        if spec[TOLD] != NOBODY:
            continue
        newest = mem.newest[spec[PART], spec[ROW]]
        index = bar_index(now, spec[LENGTH], spec[OFFSET]) if newest < 0 else _bar_of(mem, spec, newest)
        spec[TOLD] = index if newest >= 0 and _has_ended(mem, spec, index) else index - 1
        spec[BAR] = spec[COUNT] = spec[SEQUENCE] = NONE


@njit(cache=True, nogil=True)
def _held_up(mem: Memory, lines: I64, out: I64) -> int:
    """Collect the lines whose next bar has ended and could not be told; gives how many."""
    count = 0
    for n in range(lines.shape[0]):
        if lines[n, TOLD] != NOBODY and _has_ended(mem, lines[n], lines[n, TOLD] + 1):
            out[count] = n
            count += 1
    return count


class Telling:
    """What was told of each line of a board about the bars of *ring*, and what is to be told now."""

    def __init__(self, board: Board, ring: Ring) -> None:
        self.round = 0
        self._board = board
        self._ring = ring
        self._lines = np.zeros((0, COLUMNS), np.int64)
        self._last = np.zeros((0, ROW_WORDS), np.int64)
        self._symbols = 0
        self._looked = 0

    @property
    def silent(self) -> int:
        """How many streams of klines are followed that the ring has nothing for."""
        size = len(self._lines)
        lacking = (self._lines[:, PART] == NONE) | (self._lines[:, ROW] == NONE)
        return int(np.count_nonzero(lacking & (self._board.counts[:size] > 0)))

    def begin(self, now: int) -> None:
        """Take in which lines are followed; the new ones are told what closes from *now* (exchange ms) on."""
        lines, ring = self._board.lines, self._ring
        if len(lines) > len(self._lines):
            fresh = [self._spec(line.timeframe) for line in lines[len(self._lines) :]]
            self._lines = np.concatenate((self._lines, np.array(fresh, np.int64)))
            self._last = np.concatenate((self._last, np.zeros((len(fresh), ROW_WORDS), np.int64)))
            self._symbols = 0
        if len(ring.symbols) != self._symbols:
            self._symbols = len(ring.symbols)
            self._lines[:, ROW] = [ring.rows.get(line.symbol, NONE) for line in lines]
        _begin(ring.memory, self._lines, self._board.counts, now)

    def closes(self, event: int) -> Events:
        """Render the bars that have closed since they were last asked for, at exchange time *event*."""
        self.begin(event)
        out, found = np.empty((MOST_AT_ONCE, ROW_WORDS), np.int64), np.empty(MOST_AT_ONCE, np.int64)
        size = _closes(self._ring.memory, self._lines, out, out.view(np.float64), found)
        return self._render(found[:size], out[:size], event, closed=True)

    def updates(self, event: int) -> Events:
        """Begin a round, and render the forming bars that changed since the one before."""
        self.round += 1
        out, found = np.empty_like(self._last), np.empty(len(self._last), np.int64)
        last = self._last
        size = _updates(self._ring.memory, self._lines, self.round, last, last.view(np.float64), out, found)
        return self._render(found[:size], out[:size], event, closed=False)

    def missed(self, wanted: U8, since: int, event: int) -> Events:
        """Render the newest update of each *wanted* line that was told after round *since*."""
        lines = self._lines
        open_still = lines[:, BAR] == lines[:, TOLD] + 1
        asked = np.zeros(len(lines), np.bool_)
        asked[: len(wanted)] = wanted[: len(lines)] == 1
        found = np.flatnonzero(asked & open_still & (lines[:, ROUND] > since))
        return self._render(found, self._last[found], event, closed=False)

    def pass_over(self, absent: Collection[tuple[int, int, int]]) -> None:
        """Go on behind bars that the exchange does not have: (number of timeframe, row, bar)."""
        if not absent:
            return
        found = np.empty(len(self._lines), np.int64)
        size = _held_up(self._ring.memory, self._lines, found)
        self._looked = self._looked + MOST_HELD_UP if self._looked + MOST_HELD_UP < size else 0
        for n in found[self._looked : min(size, self._looked + MOST_HELD_UP)].tolist():
            spec = self._lines[n]
            index, (t, row) = int(spec[TOLD]) + 1, spec[:2].tolist()
            parts = range(int(_first_part(self._ring.memory, spec, index)), int(self._last_of(spec)) + 1)
            spec[TOLD] += any((t, row, part) in absent for part in parts)

    def _last_of(self, spec: I64) -> int:
        return int(_last_part(self._ring.memory, spec, spec[TOLD] + 1))

    def _render(self, lines: I64, words: I64, event: int, *, closed: bool) -> Events:
        """Print bars with the decimals that their rows carry now."""
        decimals = self._ring.memory.decimals[self._lines[lines, ROW]]
        self._board.sheet.numbers[lines, PRICE : PRICE + 3] = decimals
        return kline_events(self._board.sheet, lines, words, event, closed=closed)

    def _spec(self, timeframe: Timeframe) -> tuple[int, ...]:
        """Give a line's constants: the largest timeframe that is kept and that its bars are made of."""
        kept = self._ring.timeframes
        parts = [t for t, one in enumerate(kept) if one == timeframe or timeframe.holds(one)]
        period = (timeframe.milliseconds, timeframe.offset)
        return (parts[-1] if parts else NONE, NONE, *period, NOBODY, NONE, NONE, 0, NONE)


class _Nobody:
    """A follower that frames are made for, but never sent to."""

    def __init__(self) -> None:
        self.combined = True
        self.wanted = np.zeros(64, np.uint8)

    def deliver(self, data: bytes) -> None:
        """Take frames and drop them."""


def warm_up(board: Board, ring: Ring, symbol: str) -> None:
    """Compile or load every kernel with a board of its own, so that no client waits for that."""
    follower, telling = _Nobody(), Telling(board, ring)
    for frame in ("1m", "3d"):
        board.follow(follower, f"{symbol.lower()}@kline_{frame}")
    telling.begin(0)
    for events in (telling.closes(0), telling.updates(0), telling.missed(follower.wanted, 0, 0)):
        board.frames_for(follower, events)
    telling.pass_over({(0, 0, 0)})
