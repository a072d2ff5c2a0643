"""Reading: kernels that copy bars out of the ring in the form users and factors want."""

import numpy as np
import numpy.typing as npt

from klinehub.domain.kline import CLOSED, EMPTY, FORMING
from klinehub.panel.memory import (
    CLOSE,
    F64,
    HIGH,
    I64,
    LOW,
    MONTH,
    OPEN,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    VOLUME,
    Memory,
    bar_open,
    is_closed,
    kernel,
    power_of_ten,
    to_float,
)


@kernel
def newest_closed(mem: Memory, t: int, row: int) -> int:
    """Give the absolute index of a row's newest closed bar, -1 when there is none."""
    return _closed_upto(mem, t, row, mem.newest[t, row])


@kernel
def _closed_upto(mem: Memory, t: int, row: int, newest: int) -> int:
    bars = mem.state.shape[2]
    for index in range(newest, max(newest - bars, -1), -1):
        if mem.state[t, row, index % bars] >= CLOSED:
            return index
    return -1


@kernel
def copy_klines(mem: Memory, t: int, row: int, limit: int, forming: int, out: I64, out_f: F64) -> int:
    """Fill *out* ([limit + 1, 12], two views of one array) with the newest closed bars, oldest first.

    With *forming* the open bar follows them. Bars that are not there, or were passed without a close, are
    left out; returns how many were written, at the end of *out*.
    """
    # Where another process writes this row meanwhile, what is read twice may differ: the newest bar is read
    # once, and no more is written than there is room for.
    newest = mem.newest[t, row]
    last = _closed_upto(mem, t, row, newest)
    oldest = max(newest - mem.state.shape[2] + 1, last - limit + 1)
    if forming:
        last = newest
    bars = mem.state.shape[2]
    base, quote = power_of_ten(mem.decimals[row, 1]), power_of_ten(mem.decimals[row, 2])
    length, offset = mem.grid[t, 0], mem.grid[t, 1]
    at = out.shape[0]
    slot = last % bars + 1
    for index in range(last, oldest - 1, -1):
        slot = slot - 1 if slot > 0 else bars - 1
        state = mem.state[t, row, slot]
        if state < CLOSED and (state == EMPTY or index != newest):
            continue
        if at == 0:
            break
        at -= 1
        cell, cell_f = mem.cells[t, row, slot], mem.floats[t, row, slot]
        out[at, 0] = cell[OPEN_TIME]
        out_f[at, 1], out_f[at, 2], out_f[at, 3] = cell_f[OPEN], cell_f[HIGH], cell_f[LOW]
        out_f[at, 4] = cell_f[CLOSE]
        out_f[at, 5] = to_float(cell[VOLUME], base)
        out[at, 6] = cell[OPEN_TIME] + length - 1
        if length == MONTH:
            out[at, 6] = bar_open(index + 1, length, offset) - 1
        out_f[at, 7] = to_float(cell[QUOTE], quote)
        out[at, 8] = cell[TRADES]
        out_f[at, 9] = to_float(cell[TAKER_BASE], base)
        out_f[at, 10] = to_float(cell[TAKER_QUOTE], quote)
        out[at, 11] = state
    return int(out.shape[0] - at)


@kernel
def _copy_bar(cell: I64, cell_f: F64, base: int, quote: int, out: F64) -> None:
    """Fill *out* [9] with a bar; *base* and *quote* are the powers of ten of its volumes."""
    out[0], out[1], out[2], out[3] = cell_f[OPEN], cell_f[HIGH], cell_f[LOW], cell_f[CLOSE]
    out[4], out[5] = to_float(cell[VOLUME], base), to_float(cell[QUOTE], quote)
    out[6] = float(cell[TRADES])
    out[7], out[8] = to_float(cell[TAKER_BASE], base), to_float(cell[TAKER_QUOTE], quote)


@kernel
def copy_block(mem: Memory, t: int, rows: I64, last: int, out: F64) -> None:
    """Fill *out* ([9, rows, n]) with the closed bars that end at index *last*; NaN where there is none."""
    bars = mem.state.shape[2]
    for r in range(rows.shape[0]):
        row = rows[r]
        base, quote = power_of_ten(mem.decimals[row, 1]), power_of_ten(mem.decimals[row, 2])
        for at in range(out.shape[2]):
            index = last - out.shape[2] + 1 + at
            if index < 0 or not is_closed(mem, t, row, index):
                out[:, r, at] = float("nan")
                continue
            slot = index % bars
            _copy_bar(mem.cells[t, row, slot], mem.floats[t, row, slot], base, quote, out[:, r, at])


@kernel
def copy_open(mem: Memory, t: int, rows: I64, index: int, out: F64) -> None:
    """Fill *out* ([9, rows]) with the bars of this index, closed or still open; NaN where there is none."""
    slot = index % mem.state.shape[2]
    for r in range(rows.shape[0]):
        row = rows[r]
        is_open = index == mem.newest[t, row] and mem.state[t, row, slot] == FORMING
        if index < 0 or not (is_open or is_closed(mem, t, row, index)):
            out[:, r] = float("nan")
            continue
        base, quote = power_of_ten(mem.decimals[row, 1]), power_of_ten(mem.decimals[row, 2])
        _copy_bar(mem.cells[t, row, slot], mem.floats[t, row, slot], base, quote, out[:, r])


@kernel
def mark_closed(mem: Memory, t: int, rows: I64, index: int, out: npt.NDArray[np.bool_]) -> None:
    """Fill *out* [rows] with whether each row's bar of this index is closed."""
    for r in range(rows.shape[0]):
        out[r] = is_closed(mem, t, rows[r], index)


@kernel
def closed_bar(mem: Memory, t: int, rows: int) -> int:
    """Give the newest bar index that any of the first *rows* symbols has closed, -1 for none."""
    best = -1
    for row in range(rows):
        best = max(best, newest_closed(mem, t, row))
    return best


@kernel
def complete_from(mem: Memory, t: int, out: I64) -> None:
    """Fill *out* [rows] with the index from which on everything of a row is known.

    That is its oldest closed bar; where that is the first bar that exists at all, it is 0.
    """
    for row in range(out.shape[0]):
        out[row] = row_complete_from(mem, t, row)


@kernel
def row_complete_from(mem: Memory, t: int, row: int) -> int:
    """Give the index from which on everything of a row is known."""
    bars, newest = mem.state.shape[2], mem.newest[t, row]
    for index in range(max(newest - bars + 1, 0), newest + 1):
        if is_closed(mem, t, row, index):
            return 0 if mem.first[t, row] >= index else index
    return int(newest + 1)
