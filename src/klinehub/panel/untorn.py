"""Untorn reads: kernels that copy rows which another process writes, and begin again where it interfered.

A row is read a few times at most: one that is written again and again gives BUSY instead of a copy.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from klinehub.panel.memory import F64, I64, Memory, copy_words, kernel
from klinehub.panel.read import copy_block, copy_klines, copy_open, newest_closed, row_complete_from
from klinehub.panel.sequence import is_whole, noted

BUSY: Final = -2
TRIES: Final = 64


@kernel
def read_klines(
    mem: Memory, t: int, row: int, limit: int, forming: int, out: I64, out_f: F64, stale: I64
) -> int:
    """Do as `copy_klines`, and fill *stale* [2] with why the symbol is not proven fresh and since when."""
    for _ in range(TRIES):
        before = noted(mem.sequence, t, row)
        if before & 1:
            continue
        count = copy_klines(mem, t, row, limit, forming, out, out_f)
        if is_whole(mem.sequence, t, row, before) and read_stale(mem, row, stale) != BUSY:
            return count
    return BUSY


@kernel
def read_stale(mem: Memory, row: int, stale: I64) -> int:
    """Fill *stale* [2] with why a symbol is not proven fresh and since when; gives why."""
    for _ in range(TRIES):
        # The time of a reason is written before the reason itself, while the symbol is still called fresh.
        why = noted(mem.stale, row, 0)
        stale[0], stale[1] = why, noted(mem.stale, row, 1)
        if noted(mem.stale, row, 0) == why:
            return why
    return BUSY


@kernel
def read_exact(mem: Memory, t: int, row: int, start: int, end: int, least: int, out: I64, scale: I64) -> int:
    """Copy the bars from index *start* to *end* whose state is at least *least*: words [n, 10], decimals [3].

    *out* has room for `end - start + 1`; gives how many were written.
    """
    bars = mem.state.shape[2]
    for _ in range(TRIES):
        before = noted(mem.sequence, t, row)
        if before & 1:
            continue
        newest, count = mem.newest[t, row], 0
        for index in range(max(start, newest - bars + 1, 0), min(end, newest) + 1):
            if mem.state[t, row, index % bars] >= least:
                copy_words(out[count], mem.cells[t, row, index % bars])
                count += 1
        for part in range(3):
            scale[part] = mem.decimals[row, part]
        if is_whole(mem.sequence, t, row, before):
            return count
    return BUSY


@kernel
def read_block(mem: Memory, t: int, rows: I64, start: int, last: int, is_open: int, out: F64) -> int:
    """Do as `copy_block`, or with *is_open* as `copy_open` with out [9, rows, 1], from row number *start* on.

    Gives the number of the first row that is busy, or how many rows there are.
    """
    for r in range(start, rows.size):
        whole = False
        for _ in range(TRIES):
            before = noted(mem.sequence, t, rows[r])
            if before & 1:
                continue
            if is_open:
                copy_open(mem, t, rows[r : r + 1], last, out[:, r : r + 1, 0])
            else:
                copy_block(mem, t, rows[r : r + 1], last, out[:, r : r + 1])
            whole = is_whole(mem.sequence, t, rows[r], before)
            if whole:
                break
        if not whole:
            return r
    return int(rows.size)


@kernel
def read_ends(mem: Memory, t: int, start: int, out: I64) -> int:
    """Fill *out* [rows, 2] with each row's newest closed bar and from where on it is known, from *start* on.

    Gives the number of the first row that is busy, or how many rows there are.
    """
    for row in range(start, out.shape[0]):
        whole = False
        for _ in range(TRIES):
            before = noted(mem.sequence, t, row)
            if before & 1:
                continue
            out[row, 0], out[row, 1] = newest_closed(mem, t, row), row_complete_from(mem, t, row)
            whole = is_whole(mem.sequence, t, row, before)
            if whole:
                break
        if not whole:
            return row
    return int(out.shape[0])


@kernel
def note_rows(mem: Memory, t: int, out: I64) -> None:
    """Note the sequences of the first rows in *out* [rows]."""
    for row in range(out.size):
        out[row] = noted(mem.sequence, t, row)


@kernel
def mark_written(mem: Memory, t: int, before: I64, out: npt.NDArray[np.bool_]) -> None:
    """Mark in *out* [rows] which rows were written since their sequences were noted, or just then."""
    for row in range(before.size):
        out[row] = not is_whole(mem.sequence, t, row, before[row])
