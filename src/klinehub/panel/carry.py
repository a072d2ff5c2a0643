"""Carrying: kernels that take a bar of all symbols out of the ring for a store, and put it back."""

from klinehub.domain.kline import CLOSED, ROW_WORDS
from klinehub.panel.memory import (
    I64,
    MANTISSA_MAX,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    VOLUME,
    Memory,
    copy_words,
    is_closed,
    kernel,
)
from klinehub.panel.merge import advance
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
def put_bar(mem: Memory, t: int, index: int, rows: I64, states: I64, words: I64, factors: I64) -> int:
    """Write closed bars of index *index* where none are; bars of a row come in the order of time.

    `rows[i]` is -1 for a line to leave out; *factors* [i, 2] bring its base and quote volumes to the row's
    decimals. A bar that does not fit 64 bits then is left out, too. Gives how many were written.
    """
    bars, written = mem.state.shape[2], 0
    slot = index % bars
    for i in range(rows.size):
        row = rows[i]
        if row < 0 or states[i] < CLOSED or index <= mem.newest[t, row] - bars:
            continue
        # Takers take at most all, but what is kept need not make sense.
        most_base = max(words[i, VOLUME], words[i, TAKER_BASE])
        most_quote = max(words[i, QUOTE], words[i, TAKER_QUOTE])
        if most_base > MANTISSA_MAX // factors[i, 0] or most_quote > MANTISSA_MAX // factors[i, 1]:
            continue
        if index <= mem.newest[t, row] and mem.state[t, row, slot] >= CLOSED:
            continue
        open_row(mem.sequence, t, row)
        if index > mem.newest[t, row]:
            advance(mem, t, row, index)
        cell = mem.cells[t, row, slot]
        for word in range(ROW_WORDS):
            cell[word] = words[i, word]
        cell[VOLUME] *= factors[i, 0]
        cell[TAKER_BASE] *= factors[i, 0]
        cell[QUOTE] *= factors[i, 1]
        cell[TAKER_QUOTE] *= factors[i, 1]
        mem.state[t, row, slot] = states[i]
        close_row(mem.sequence, t, row)
        written += 1
    return written
