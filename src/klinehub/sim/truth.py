"""The true bars of a simulated market: integers in ticks and steps, and the law by which they add up.

A bar is a line of ten integers in the order of dtype ROW: open time (ms), open, high, low, close in
ticks, volume in steps, quote volume in tick x step, trades, taker base and taker quote volume.

Bound: a quote volume's mantissa has price plus quantity decimals and must stay below 2**63. With the 5
to 7 decimals of the exchange's symbols that is 9e11 to 9e13 of the quote asset in one bar; the largest
symbol's month is some 5e11 at 5 decimals, where the bound is 9e13.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import bar_index, bar_open

I64 = npt.NDArray[np.int64]

OPEN_TIME, OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE, TRADES, TAKER_BASE, TAKER_QUOTE = range(10)
WORDS: Final = 10


# Loops over words, because each slice assignment costs numba half a second to compile.
@njit(cache=True, nogil=True)
def copy(into: I64, bar: I64) -> None:
    """Copy a bar."""
    for w in range(WORDS):
        into[w] = bar[w]


@njit(cache=True, nogil=True)
def clear(into: I64) -> None:
    """Set a bar to zero."""
    for w in range(WORDS):
        into[w] = 0


@njit(cache=True, nogil=True)
def flatten(into: I64, price: int) -> None:
    """Set the four prices of a bar to one."""
    for w in range(OPEN, CLOSE + 1):
        into[w] = price


@njit(cache=True, nogil=True)
def add(into: I64, part: I64) -> None:
    """Add the next bar to a sum of earlier ones; a trade-less bar gives nothing to a traded sum's prices."""
    if part[TRADES] > 0:
        if into[TRADES] == 0:
            into[OPEN], into[HIGH], into[LOW] = part[OPEN], part[HIGH], part[LOW]
        else:
            into[HIGH] = max(into[HIGH], part[HIGH])
            into[LOW] = min(into[LOW], part[LOW])
        into[CLOSE] = part[CLOSE]
    elif into[TRADES] == 0:
        flatten(into, part[CLOSE])
    for w in range(VOLUME, WORDS):
        into[w] += part[w]


@njit(cache=True, nogil=True)
def roll_up(bars: I64, length: int, offset: int, out: I64) -> int:
    """Aggregate bars (oldest first) to the grid of *length* and *offset*; gives the number of lines set."""
    count = 0
    current = -1
    for i in range(bars.shape[0]):
        index = bar_index(bars[i, OPEN_TIME], length, offset)
        if count > 0 and index == current:
            add(out[count - 1], bars[i])
            continue
        copy(out[count], bars[i])
        out[count, OPEN_TIME] = bar_open(index, length, offset)
        current = index
        count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def to_rows(bars: I64, units: I64, words: I64, prices: npt.NDArray[np.float64]) -> None:
    """Write bars as exact rows; `units` are an instrument's.

    `words` and `prices` are two views of the same rows.
    """
    tick, step, power, money = units[0], units[1], float(units[2]), units[3]
    for i in range(bars.shape[0]):
        words[i, OPEN_TIME] = bars[i, OPEN_TIME]
        for w in range(OPEN, CLOSE + 1):
            prices[i, w] = float(bars[i, w] * tick) / power
        words[i, VOLUME] = bars[i, VOLUME] * step
        words[i, QUOTE] = bars[i, QUOTE] * money
        words[i, TRADES] = bars[i, TRADES]
        words[i, TAKER_BASE] = bars[i, TAKER_BASE] * step
        words[i, TAKER_QUOTE] = bars[i, TAKER_QUOTE] * money


def rolled(bars: I64, timeframe: Timeframe) -> I64:
    """Give the bars of *timeframe* made of smaller *bars*."""
    out = np.empty_like(bars)
    return out[: roll_up(bars, timeframe.milliseconds, timeframe.offset, out)]


def exact(bars: I64, units: I64, scale: Scale) -> Exact:
    """Give bars in the exact form that everything outside of the simulation uses."""
    rows = np.empty(len(bars), ROW)
    words = rows.view(np.int64).reshape(-1, WORDS)
    to_rows(bars, units, words, rows.view(np.float64).reshape(-1, WORDS))
    return Exact(rows, scale)
