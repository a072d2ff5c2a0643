"""The ledger: which bars a symbol should have and does not."""

from typing import NamedTuple

import numpy as np
from numba import njit

from klinehub.panel.memory import I64, Memory, is_closed


class Gap(NamedTuple):
    """A run of bars that should be closed and are not: timeframe number, row, first and last index."""

    timeframe: int
    row: int
    start: int
    end: int


@njit(cache=True, nogil=True)
def _scan(mem: Memory, t: int, rows: I64, wanted: int, upto: I64, out: I64) -> int:
    """Write (row, start, end) of each run of unclosed bars into *out*; give their number."""
    bars = mem.state.shape[2]
    found = 0
    for r in range(rows.size):
        row, last = rows[r], upto[r]
        newest = mem.newest[t, row]
        oldest = max(last - wanted + 1, newest - bars + 1, mem.first[t, row])
        start = -1
        for index in range(oldest, last + 1):
            missing = not is_closed(mem, t, row, index)
            if missing and start < 0:
                start = index
            if start >= 0 and (not missing or index == last):
                if found == out.shape[0]:
                    return found
                out[found, 0], out[found, 1] = row, start
                out[found, 2] = index if missing else index - 1
                found += 1
                start = -1
    return found


def gaps(mem: Memory, t: int, rows: I64, *, wanted: int, upto: int | I64, most: int = 4096) -> list[Gap]:
    """List the runs of missing bars among the *wanted* bars that end at index *upto*, of all or of each row.

    Bars from before a symbol's first bar are not missed; at most *most* runs are listed.
    """
    out = np.empty((most, 3), np.int64)
    each = np.full(rows.size, upto) if isinstance(upto, int) else upto
    found = _scan(mem, t, rows, wanted, each, out)
    return [Gap(t, int(row), int(start), int(end)) for row, start, end in out[:found]]
