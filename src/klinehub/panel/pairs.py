"""Pairs: the closes and quote volumes of one ring's bars, kept beside the klines of another.

1. Rows are paired by whoever knows which belong together; several rows may have the same partner.
2. What a partner has closed since the last time is copied bar by bar, by absolute index. A partner whose
   closed bars were changed meanwhile, or filled in, is copied anew.
3. Where a partner has no closed bar there is NaN. A bar that comes after it was read counts as a change.
"""

from typing import Final

import numpy as np

from klinehub.panel.beside import Beside, Kept, put
from klinehub.panel.memory import (
    CLOSE,
    F64,
    I64,
    QUOTE,
    Memory,
    is_closed,
    kernel,
    power_of_ten,
    to_float,
)
from klinehub.panel.read import newest_closed
from klinehub.panel.ring import Ring

PAIR_FIELDS: Final = ("spot_close", "spot_quote_volume")


class Pairs:
    """Copies the bars of *partners* beside the klines of *ring*, which keeps PAIR_FIELDS with *beside*."""

    def __init__(self, ring: Ring, beside: Beside, partners: Ring) -> None:
        self._ring = ring
        self._beside = beside
        self._partners = partners
        self._fields = np.array([beside.place[name] for name in PAIR_FIELDS], np.int64)
        self._frames = [(ring.number[tf.name], partners.number[tf.name]) for tf in partners.timeframes]
        self.join({})

    def join(self, pairs: dict[str, tuple[str, int]]) -> None:
        """Pair these symbols: each with its partner's symbol, and how many of that one it stands for."""
        known = {one: two for one, two in pairs.items() if one in self._ring.rows}
        self.rows = np.array([self._ring.rows[one] for one in known], np.int64)
        self._their = np.array([self._partners.rows[two] for two, _ in known.values()], np.int64)
        self._times = np.array([float(number) for _, number in known.values()], np.float64)
        shape = (len(self._ring.timeframes), self.rows.size)
        self._upto, self._changes = np.full(shape, -1, np.int64), np.full(shape, -1, np.int64)

    def copy(self, timeframe: str) -> int:
        """Copy what is new of one timeframe; gives how many bars changed that had been read."""
        t, theirs = self._ring.number[timeframe], self._partners.number[timeframe]
        upto, changes = self._upto[t], self._changes[t]
        rows = (self.rows, self._their)
        memories = (self._ring.memory, self._partners.memory)
        return int(
            _copy(*memories, self._beside.kept, t, theirs, *rows, self._times, self._fields, upto, changes)
        )


@kernel
def _copy(
    mem: Memory,
    source: Memory,
    kept: Kept,
    t: int,
    theirs: int,
    rows: I64,
    partners: I64,
    times: F64,
    fields: I64,
    upto: I64,
    changes: I64,
) -> int:
    changed = 0
    for p in range(rows.size):
        row, bars = partners[p], source.state.shape[2]
        last = newest_closed(source, theirs, row)
        if source.changes[theirs, row] != changes[p]:
            upto[p], changes[p] = -1, source.changes[theirs, row]
        quote = power_of_ten(source.decimals[row, 2])
        for index in range(max(upto[p] + 1, source.newest[theirs, row] - bars + 1, 0), last + 1):
            close = volume = float("nan")
            if is_closed(source, theirs, row, index):
                close = source.floats[theirs, row, index % bars, CLOSE] * times[p]
                volume = to_float(source.cells[theirs, row, index % bars, QUOTE], quote)
            changed += put(mem, kept, t, fields[0], rows[p], index, close)
            changed += put(mem, kept, t, fields[1], rows[p], index, volume)
        upto[p] = max(upto[p], last)
    return changed
