"""Beside the klines: numbers that the exchange tells on their own, kept with the bar they belong to.

1. What is told at event time E is kept with the bar that holds E, in every timeframe; a later telling within
   that bar replaces it. So a closed bar has what was known last inside it, and NaN where nothing was told.
2. Once a row's kline has closed, what is told late of that bar is left out: a closed bar does not change.
3. Numbers that have a history of their own come bar by bar instead and may come late; where a reader has been
   already this counts as a change of the row, as a late kline does.
4. Where no closed kline is held nothing is shown either.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from klinehub.panel.memory import F64, I64, LENGTH, OFFSET, Memory, bar_index, is_closed, kernel


class Kept(NamedTuple):
    """What is kept, for T timeframes, F fields, S rows and N bars each; slots are those of the ring."""

    values: F64  # [T, F, S, N]
    held: I64  # [T, S, N] absolute index of the bar that a slot holds, -1 for none
    told: I64  # [F, S] exchange time (ms) of the last telling, 0 for none
    last: F64  # [F, S] what was told then
    seen: I64  # [T] the newest bar that a reader has asked for
    changes: I64  # [T, S] how often a bar was written that a reader had asked for


class Beside:
    """Numbers beside the klines of *memory*: the write side; panels of the same ring are the read side."""

    def __init__(self, memory: Memory, fields: Sequence[str]) -> None:
        timeframes, rows, bars = memory.state.shape
        self.fields = tuple(fields)
        self.place = {name: number for number, name in enumerate(fields)}
        self.kept = Kept(
            values=np.full((timeframes, len(fields), rows, bars), np.nan),
            held=np.full((timeframes, rows, bars), -1, np.int64),
            told=np.zeros((len(fields), rows), np.int64),
            last=np.full((len(fields), rows), np.nan),
            seen=np.full(timeframes, -1, np.int64),
            changes=np.zeros((timeframes, rows), np.int64),
        )
        self._memory = memory

    def __repr__(self) -> str:
        """Show the fields, for example `<Beside mark_price index_price>`."""
        return f"<Beside {' '.join(self.fields)}>"

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        return sum(part.nbytes for part in self.kept)

    def tell(self, fields: Sequence[str], rows: I64, times: I64, values: F64) -> int:
        """Keep what was told of *rows* at *times* (exchange ms): float64 [fields, rows], NaN is unknown.

        Gives how many tellings came after a later one, or in some timeframe after their bar had closed.
        """
        places = np.array([self.place[name] for name in fields], np.int64)
        return int(_tell(self._memory, self.kept, places, rows, times, values))

    def put(self, t: int, field: str, row: int, first: int, values: F64) -> int:
        """Keep a row's numbers of the bars of timeframe *t* from absolute index *first* on.

        Gives how many of them changed a bar that had been read.
        """
        return int(_put(self._memory, self.kept, t, self.place[field], row, first, values))

    def settle(self, t: int, index: int) -> None:
        """Let what was told last stand for the bar of this index of timeframe *t* too, which is over.

        For one moment's view alone: where bars go on to close it would let them know what came after.
        """
        for field, last in zip(self.fields, self.kept.last, strict=True):
            for row in np.flatnonzero(~np.isnan(last)).tolist():
                self.put(t, field, row, index, last[row : row + 1])

    def told(self, field: str) -> I64:
        """Give the exchange time (ms) of the last telling of each row; 0 for none."""
        times: I64 = self.kept.told[self.place[field]]
        return times

    def read(self, t: int, field: str, rows: I64, last: int, out: F64) -> None:
        """Fill *out* [rows, n] with a field's values at the closed bars that end at index *last*."""
        _read(self._memory, self.kept, t, self.place[field], rows, last, out)

    def open(self, t: int, field: str, rows: I64, index: int) -> F64:
        """Give a field's values [rows] at the bars of this index as they stand, NaN where none was told."""
        slot = index % self.kept.held.shape[2]
        values = self.kept.values[t, self.place[field], rows, slot]
        held: F64 = np.where(self.kept.held[t, rows, slot] == index, values, np.nan)
        return held


@kernel
def _opened(kept: Kept, t: int, row: int, index: int) -> bool:
    """Let a slot hold the bar of this index, unless it holds a later one."""
    slot = index % kept.held.shape[2]
    before = kept.held[t, row, slot]
    if before < index:
        kept.held[t, row, slot] = index
        for field in range(kept.values.shape[1]):
            kept.values[t, field, row, slot] = float("nan")
    return bool(before <= index)


@kernel
def _tell(mem: Memory, kept: Kept, fields: I64, rows: I64, times: I64, values: F64) -> int:
    bars, late = kept.held.shape[2], 0
    for n in range(rows.size):
        row, time = rows[n], times[n]
        is_late = False
        for f in range(fields.size):
            is_late = is_late or time < kept.told[fields[f], row]
        for t in range(kept.held.shape[0] if not is_late else 0):
            index = bar_index(time, mem.grid[t, LENGTH], mem.grid[t, OFFSET])
            if is_closed(mem, t, row, index) or not _opened(kept, t, row, index):
                is_late = True
                continue
            for f in range(fields.size):
                kept.values[t, fields[f], row, index % bars] = values[f, n]
        for f in range(fields.size):
            if time >= kept.told[fields[f], row]:
                kept.told[fields[f], row] = time
                kept.last[fields[f], row] = values[f, n]
        late += 1 if is_late else 0
    return late


@kernel
def put(mem: Memory, kept: Kept, t: int, field: int, row: int, index: int, new: float) -> int:
    """Keep a row's number of one bar; gives 1 if that changed a bar that had been read, else 0."""
    bars = kept.held.shape[2]
    if index < 0 or not _opened(kept, t, row, index):
        return 0
    old = kept.values[t, field, row, index % bars]
    if old == new or (np.isnan(old) and np.isnan(new)):
        return 0
    kept.values[t, field, row, index % bars] = new
    if index > kept.seen[t] or not is_closed(mem, t, row, index):
        return 0
    kept.changes[t, row] += 1
    return 1


@kernel
def _put(mem: Memory, kept: Kept, t: int, field: int, row: int, first: int, values: F64) -> int:
    changed = 0
    for n in range(values.size):
        changed += put(mem, kept, t, field, row, first + n, values[n])
    return changed


@kernel
def _read(mem: Memory, kept: Kept, t: int, field: int, rows: I64, last: int, out: F64) -> None:
    bars, first = kept.held.shape[2], last - out.shape[1] + 1
    kept.seen[t] = max(kept.seen[t], last)
    for r in range(rows.size):
        row = rows[r]
        for at in range(out.shape[1]):
            index = first + at
            held = index >= 0 and kept.held[t, row, index % bars] == index and is_closed(mem, t, row, index)
            out[r, at] = kept.values[t, field, row, index % bars] if held else float("nan")
