"""Carrying: kernels that take a bar of all symbols out of the ring, for a store or a relay, and back."""

from klinehub.domain.kline import CLOSED, FORMING
from klinehub.panel.memory import (
    I64,
    MANTISSA_MAX,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    VOLUME,
    Memory,
    bar_index,
    copy_words,
    is_closed,
    kernel,
)
from klinehub.panel.merge import CLOSED_NOW, OLD, QUIET, advance, merge_closed, merge_forming
from klinehub.panel.resample import lift
from klinehub.panel.sequence import close_row, open_row


@kernel
def take_bar(mem: Memory, t: int, index: int, count: int, rows: I64, states: I64, words: I64) -> int:
    """Copy the bar *index* of those of the first *count* rows that have closed it; gives how many."""
    slot, found = index % mem.state.shape[2], 0
    for row in range(count):
        if is_closed(mem, t, row, index):
            rows[found], states[found] = row, mem.state[t, row, slot]
            copy_words(words[found], mem.cells[t, row, slot])
            found += 1
    return found


@kernel
def take_open(mem: Memory, t: int, index: int, count: int, rows: I64, words: I64) -> int:
    """Copy the bar *index* of those of the first *count* rows in which it is open; gives how many."""
    slot, found = index % mem.state.shape[2], 0
    for row in range(count):
        if mem.newest[t, row] == index and mem.state[t, row, slot] == FORMING:
            rows[found] = row
            copy_words(words[found], mem.cells[t, row, slot])
            found += 1
    return found


@kernel
def _widened(words: I64, factors: I64) -> bool:
    """Bring base and quote volumes to more decimals; False where they do not fit 64 bits then."""
    # Takers take at most all, but what is kept need not make sense.
    most_base = max(words[VOLUME], words[TAKER_BASE])
    most_quote = max(words[QUOTE], words[TAKER_QUOTE])
    if most_base > MANTISSA_MAX // factors[0] or most_quote > MANTISSA_MAX // factors[1]:
        return False
    words[VOLUME] *= factors[0]
    words[TAKER_BASE] *= factors[0]
    words[QUOTE] *= factors[1]
    words[TAKER_QUOTE] *= factors[1]
    return True


@kernel
def merge_bar(mem: Memory, t: int, rows: I64, words: I64, factors: I64, flags: I64, closed: I64) -> None:
    """Merge one closed bar of many rows as a stream's close is; `flags[i]` says what each write meant.

    Rows and factors are as of `put_bar`, *words* are widened in place. A newest bar builds the larger ones:
    `closed[i, t]` are the open times of those that closed with it, -1 else.
    """
    for i in range(rows.size):
        row, flags[i] = rows[i], QUIET
        for larger in range(closed.shape[1]):
            closed[i, larger] = -1
        if row < 0 or not _widened(words[i], factors[i]):
            continue
        newest = mem.newest[t, row]
        flags[i] = merge_closed(mem, t, row, words[i])
        if flags[i] & CLOSED_NOW:
            closed[i, t] = words[i, OPEN_TIME]
            # Larger bars of older ones come by themselves.
            if bar_index(words[i, OPEN_TIME], mem.grid[t, 0], mem.grid[t, 1]) >= newest - 1:
                lift(mem, t, row, closed[i])


@kernel
def show_bar(mem: Memory, t: int, rows: I64, words: I64, factors: I64, event: int, closed: I64) -> None:
    """Merge the open bar of many rows, told at exchange time *event*, and show it in the larger bars."""
    for i in range(rows.size):
        if rows[i] < 0 or not _widened(words[i], factors[i]):
            continue
        if not merge_forming(mem, t, rows[i], words[i], event) & OLD:
            closed[t] = -1
            lift(mem, t, rows[i], closed)


@kernel
def put_bar(mem: Memory, t: int, index: int, rows: I64, states: I64, words: I64, factors: I64) -> int:
    """Write closed bars of index *index* where none are; bars of a row come in the order of time.

    `rows[i]` is -1 for a line to leave out; *factors* [i, 2] bring its base and quote volumes to the row's
    decimals, in place. A bar that does not fit 64 bits then is left out, too. Gives how many were written.
    """
    bars, written = mem.state.shape[2], 0
    slot = index % bars
    for i in range(rows.size):
        row = rows[i]
        if row < 0 or states[i] < CLOSED or index <= mem.newest[t, row] - bars:
            continue
        if index <= mem.newest[t, row] and mem.state[t, row, slot] >= CLOSED:
            continue
        if not _widened(words[i], factors[i]):
            continue
        open_row(mem.sequence, t, row)
        if index > mem.newest[t, row]:
            advance(mem, t, row, index)
        copy_words(mem.cells[t, row, slot], words[i])
        mem.state[t, row, slot] = states[i]
        close_row(mem.sequence, t, row)
        written += 1
    return written
