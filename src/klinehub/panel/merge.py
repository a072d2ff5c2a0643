"""Merging: how one bar is written into the ring, and what that write meant.

1. A bar older than the ring is left out.
2. A newer index moves the row forward; the slots passed over become empty.
3. A forming bar is only overwritten by a later event of the same bar, or by its close.
4. A closed bar is never overwritten: an equal one changes nothing, a different one is a conflict, and only
   `Ring.correct` changes it.
"""

from typing import Final

import numpy as np

from klinehub.domain.kline import CLOSED, EMPTY, FORMING, ROW_WORDS, VERIFIED, Exact
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import (
    I64,
    OPEN_TIME,
    TRADES,
    VOLUME,
    Memory,
    bar_index,
    bar_open,
    copy_words,
    is_closed,
    kernel,
)
from klinehub.panel.sequence import close_row, open_row

# What a write meant; flags add up.
QUIET: Final = 0
CLOSED_NOW: Final = 1
UNPROVEN: Final = 2  # the row moved on while the bar before had not closed
GAP: Final = 4
CONFLICT: Final = 8
OLD: Final = 16

# A REST row proves a close when it was asked for this long after the close, in exchange time.
PROOF: Final = 2_000
# A row that knows less than the stream told is believed all the same this long after the close: no replica
# lags so far behind, so the stream has told something that was not true.
LAG: Final = 60_000


def proven(frame: Timeframe, exact: Exact, asked: int) -> Exact:
    """Give the bars that an answer asked for at exchange time *asked* (ms) proves closed."""
    times = exact.rows["open_time"].tolist()
    closed = [frame.close_time(frame.index(time)) + PROOF <= asked for time in times]
    return Exact(exact.rows[np.array(closed, bool)], exact.scale)


@kernel
def advance(mem: Memory, t: int, row: int, index: int) -> int:
    """Move an open row's newest bar to *index*; say what the bars in between lack."""
    bars = mem.state.shape[2]
    newest = mem.newest[t, row]
    flags = QUIET
    if newest >= 0:
        if mem.state[t, row, newest % bars] == FORMING:
            flags |= UNPROVEN
        if index > newest + 1:
            flags |= GAP
    start = max(newest + 1, index - bars + 1)
    for passed in range(start, index + 1):
        mem.state[t, row, passed % bars] = EMPTY
    mem.newest[t, row] = index
    mem.event[t, row] = 0
    return flags


@kernel
def write(mem: Memory, t: int, row: int, index: int, words: I64, state: int) -> None:
    """Copy a bar's ten words into its slot, of a row that is open."""
    slot = index % mem.state.shape[2]
    if state >= CLOSED and (index < mem.newest[t, row] or mem.state[t, row, slot] >= CLOSED):
        mem.changes[t, row] += 1
    if state >= CLOSED:
        mem.writes[t, slot] += 1
    copy_words(mem.cells[t, row, slot], words)
    mem.state[t, row, slot] = state


@kernel
def put(mem: Memory, t: int, row: int, index: int, words: I64, state: int) -> None:
    """Copy a bar's ten words into its slot; readers see an odd sequence meanwhile."""
    open_row(mem.sequence, t, row)
    write(mem, t, row, index, words, state)
    close_row(mem.sequence, t, row)


@kernel
def merge_closed(mem: Memory, t: int, row: int, words: I64) -> int:
    """Write a closed bar (ten words); a closed bar that is there already stays as it is."""
    bars = mem.state.shape[2]
    index = bar_index(words[OPEN_TIME], mem.grid[t, 0], mem.grid[t, 1])
    newest = mem.newest[t, row]
    if newest >= 0 and index <= newest - bars:
        return OLD
    slot = index % bars
    if index <= newest and mem.state[t, row, slot] >= CLOSED:
        for w in range(ROW_WORDS):
            if mem.cells[t, row, slot, w] != words[w]:
                return CONFLICT
        return QUIET
    open_row(mem.sequence, t, row)
    flags = advance(mem, t, row, index) if index > newest else QUIET
    write(mem, t, row, index, words, CLOSED)
    close_row(mem.sequence, t, row)
    return flags | CLOSED_NOW


@kernel
def _behind(mem: Memory, t: int, row: int, slot: int, words: I64) -> bool:
    """Whether an update knows fewer trades than the forming bar, or less volume where none are told."""
    cell = mem.cells[t, row, slot]
    less = words[TRADES] < cell[TRADES]
    if words[TRADES] == 0 and cell[TRADES] == 0:
        less = words[VOLUME] < cell[VOLUME]
    return bool(mem.state[t, row, slot] == FORMING and less)


@kernel
def merge_forming(mem: Memory, t: int, row: int, words: I64, event: int) -> int:
    """Write an update of a forming bar; an older event, or fewer trades than are kept, changes nothing."""
    index = bar_index(words[OPEN_TIME], mem.grid[t, 0], mem.grid[t, 1])
    newest = mem.newest[t, row]
    if index < newest:
        return OLD
    slot = index % mem.state.shape[2]
    if index == newest and (
        mem.state[t, row, slot] >= CLOSED or event < mem.event[t, row] or _behind(mem, t, row, slot, words)
    ):
        return OLD
    open_row(mem.sequence, t, row)
    flags = advance(mem, t, row, index) if index > newest else QUIET
    mem.event[t, row] = event
    write(mem, t, row, index, words, FORMING)
    close_row(mem.sequence, t, row)
    return flags


@kernel
def load_rows(mem: Memory, t: int, row: int, rows: I64, asked: int) -> int:
    """Merge REST rows ([n, 10], oldest first) that were asked for at exchange time *asked*.

    Rows not yet proven closed are left to the stream, except a forming bar of a streamed timeframe that
    is new here or has more trades. A row that knows fewer trades than the stream has told is behind it, and
    for a minute it proves nothing. Returns the flags of all rows together.
    """
    flags = QUIET
    for i in range(rows.shape[0]):
        words = rows[i]
        index = bar_index(words[OPEN_TIME], mem.grid[t, 0], mem.grid[t, 1])
        following = bar_open(index + 1, mem.grid[t, 0], mem.grid[t, 1])
        newest = mem.newest[t, row]
        held = newest - mem.state.shape[2] < index <= newest
        if following - 1 + PROOF <= asked:
            late = asked >= following + LAG
            if late or not (held and _behind(mem, t, row, index % mem.state.shape[2], words)):
                flags |= merge_closed(mem, t, row, words)
        elif words[OPEN_TIME] <= asked < following and mem.grid[t, 2] < 0:
            flags |= merge_forming(
                mem, t, row, words, mem.event[t, row] if index <= mem.newest[t, row] else 0
            )
    return flags


@kernel
def verify_bar(mem: Memory, t: int, row: int, words: I64) -> int:
    """Compare a closed bar with a second answer: 1 equal (now verified), 0 different, -1 not closed here."""
    index = bar_index(words[OPEN_TIME], mem.grid[t, 0], mem.grid[t, 1])
    if not is_closed(mem, t, row, index):
        return -1
    slot = index % mem.state.shape[2]
    for w in range(ROW_WORDS):
        if mem.cells[t, row, slot, w] != words[w]:
            return 0
    open_row(mem.sequence, t, row)
    mem.state[t, row, slot] = VERIFIED
    close_row(mem.sequence, t, row)
    return 1
