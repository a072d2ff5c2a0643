"""Sections: what is computed over all symbols of one bar, in one fixed order of symbols.

A sum over symbols depends on their order in its last bits, and numpy's own also on how many bars are summed
at a time (2,762 of 3,000 bars differed). These kernels take one bar after the other and the symbols by name,
so a scan and a replay agree in every bit, whatever rows the symbols have.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from klinehub.factors.kernels import kernel
from klinehub.panel.memory import F64, I64

Flags = npt.NDArray[np.bool_]
# Deviations below this share of the values are rounding.
_ROUNDING: Final = 1e-12


@kernel
def _count(values: F64, where: F64, order: I64, t: int, rows: I64) -> int:
    """List the symbols that are known at a bar and that the condition lets in, if any; gives how many."""
    count = 0
    for s in order:
        if values[s, t] == values[s, t] and (where.size == 0 or where[s, t] == 1.0):
            rows[count] = s
            count += 1
    return count


@kernel
def _sums(values: F64, where: F64, order: I64, middle: F64, powers: int, counts: F64) -> F64:
    """Sum the distances to *middle*, or their squares, of the symbols that count; *counts* says how many do.

    Symbol after symbol in their order, all bars side by side. To add 0.0 for one that does not count changes
    no bit: no sum is ever -0.0.
    """
    bars = values.shape[1]
    sums = np.zeros(bars)
    counts[:] = 0.0
    for s in order:
        for t in range(bars):
            takes_part = values[s, t] == values[s, t]
            if where.size > 0:
                takes_part = takes_part and where[s, t] == 1.0
            apart = values[s, t] - middle[t]
            sums[t] += (apart * apart if powers == 2 else apart) if takes_part else 0.0
            counts[t] += 1.0 if takes_part else 0.0
    return sums


@kernel
def mean(values: F64, where: F64, order: I64, share: float, out: F64) -> None:  # noqa: ARG001 - one form for all
    """Give all symbols [symbols, bars] the mean of those that count."""
    bars = values.shape[1]
    counts = np.empty(bars)
    totals = _sums(values, where, order, np.zeros(bars), 1, counts)
    for s in range(values.shape[0]):
        for t in range(bars):
            out[s, t] = totals[t] / counts[t] if counts[t] > 0.0 else np.nan


@kernel
def zscore(values: F64, where: F64, order: I64, share: float, out: F64) -> None:  # noqa: ARG001 - as above
    """Give the distance to the mean in population deviations; 0 where all are equal."""
    bars = values.shape[1]
    counts, middle, deviation = np.empty(bars), np.zeros(bars), np.empty(bars)
    totals = _sums(values, where, order, middle, 1, counts)
    for t in range(bars):
        middle[t] = totals[t] / max(counts[t], 1.0)
    squares = _sums(values, where, order, middle, 2, counts)
    for t in range(bars):
        deviation[t] = np.sqrt(squares[t] / max(counts[t], 1.0))
    for s in range(values.shape[0]):
        for t in range(bars):
            apart = values[s, t] - middle[t]
            score = apart / deviation[t] if deviation[t] > _ROUNDING * abs(middle[t]) else 0.0
            takes_part = values[s, t] == values[s, t]
            if where.size > 0:
                takes_part = takes_part and where[s, t] == 1.0
            out[s, t] = score if takes_part else np.nan


@kernel
def rank(values: F64, where: F64, order: I64, share: float, out: F64) -> None:  # noqa: ARG001 - as above
    """Give places from 0 (lowest) to 1 (highest); equal values share the mean of theirs."""
    rows = np.empty(order.size, np.int64)
    known = np.empty(order.size)
    for t in range(values.shape[1]):
        count = _count(values, where, order, t, rows)
        for n in range(count):
            known[n] = values[rows[n], t]
        out[:, t] = np.nan
        places = np.argsort(known[:count])
        first = 0
        while first < count:
            last = first
            while last + 1 < count and known[places[last + 1]] == known[places[first]]:
                last += 1
            place = 0.5 * (first + last) / (count - 1.0) if count > 1 else 0.5
            for n in range(first, last + 1):
                out[rows[places[n]], t] = place
            first = last + 1


@kernel
def winsorize(values: F64, where: F64, order: I64, share: float, out: F64) -> None:
    """Pull the *share* of lowest and of highest values in to the next ones."""
    rows = np.empty(order.size, np.int64)
    known = np.empty(order.size)
    for t in range(values.shape[1]):
        count = _count(values, where, order, t, rows)
        for n in range(count):
            known[n] = values[rows[n], t]
        out[:, t] = np.nan
        if count == 0:
            continue
        ordered = np.sort(known[:count])
        cut = int(share * count)
        low, high = ordered[cut], ordered[count - 1 - cut]
        for n in range(count):
            out[rows[n], t] = min(max(known[n], low), high)


_EVERYONE: Final = np.empty((0, 0))
SECTIONS: Final = {"mean": mean, "zscore": zscore, "rank": rank, "winsorize": winsorize}


def section(op: str, values: F64, where: F64 | None, order: I64, share: float) -> F64:
    """Compute one operation over all symbols, bar by bar: float64 [symbols, bars].

    Symbols that are unknown, or for which *where* is not 1, take no part and stay unknown (but for `mean`).
    """
    out = np.empty(values.shape)
    some = _EVERYONE if where is None else np.ascontiguousarray(where)
    SECTIONS[op](np.ascontiguousarray(values), some, order, share, out)
    return out
