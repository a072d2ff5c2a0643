"""Rolling up: larger bars out of an array of smaller ones, by the same rule and the same sums as the ring's.

A larger bar is made of all its parts or not at all; only parts from before the symbol's first bar are not
expected. Bars without a trade give nothing to prices, and sums are of integers (see resample).
"""

from typing import Final

import numpy as np

from klinehub.domain.kline import ROW, ROW_WORDS, Exact
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DataError
from klinehub.panel.memory import F64, I64, OPEN_TIME, VOLUME, bar_index, bar_open, copy_words, kernel
from klinehub.panel.resample import fold

# A first bar that is not known: every part is expected.
UNKNOWN: Final = -1


@kernel
def _indexes(times: I64, length: int, offset: int, out: I64) -> None:
    for i in range(times.size):
        out[i] = bar_index(times[i], length, offset)


@kernel
def _opens(indexes: I64, length: int, offset: int, out: I64) -> None:
    for i in range(indexes.size):
        out[i] = bar_open(indexes[i], length, offset)


def indexes(timeframe: Timeframe, times: I64) -> I64:
    """Give the absolute indexes [n] of the bars that hold *times* (ms UTC)."""
    out = np.empty(times.size, np.int64)
    _indexes(np.ascontiguousarray(times), timeframe.milliseconds, timeframe.offset, out)
    return out


def opens(timeframe: Timeframe, bars: I64) -> I64:
    """Give the open times [n] (ms UTC) of bars by their absolute indexes."""
    out = np.empty(bars.size, np.int64)
    _opens(np.ascontiguousarray(bars), timeframe.milliseconds, timeframe.offset, out)
    return out


@kernel
def _roll(words: I64, words_f: F64, part: I64, whole: I64, first: int, out: I64, out_f: F64) -> int:
    """Fill *out* with the larger bars whose parts are all there; gives how many, -1 where a sum overflows."""
    count, at = 0, 0
    while at < words.shape[0]:
        index = bar_index(words[at, OPEN_TIME], whole[0], whole[1])
        opened = bar_open(index, whole[0], whole[1])
        expected = max(bar_index(opened, part[0], part[1]), first)
        end = bar_index(bar_open(index + 1, whole[0], whole[1]), part[0], part[1])
        copy_words(out[count], words[at])
        out[count, OPEN_TIME] = opened
        complete = True
        begun = at
        while at < words.shape[0] and bar_index(words[at, OPEN_TIME], part[0], part[1]) < end:
            complete = complete and bar_index(words[at, OPEN_TIME], part[0], part[1]) == expected
            expected += 1
            if at > begun:
                fold(out[count], out_f[count], words[at], words_f[at])
                for w in range(VOLUME, ROW_WORDS):
                    # Mantissas are not negative, so a sum that wrapped is less than its last part.
                    if out[count, w] < words[at, w]:
                        return -1
            at += 1
        if complete and expected == end:
            count += 1
    return count


def rolled(exact: Exact, part: Timeframe, whole: Timeframe, first: int = UNKNOWN) -> Exact:
    """Make bars of *whole* out of the bars of *part* in *exact* (oldest first, each bar once).

    *first* is the absolute index of the symbol's first bar of *part*, where it is known. A larger bar with
    a part missing is left out. Raises DataError where a sum does not fit 64 bits.
    """
    words = np.ascontiguousarray(exact.rows).view(np.int64).reshape(-1, ROW_WORDS)
    out = np.empty((words.shape[0], ROW_WORDS), np.int64)
    small, large = (np.array((tf.milliseconds, tf.offset)) for tf in (part, whole))
    count = _roll(words, words.view(np.float64), small, large, first, out, out.view(np.float64))
    if count < 0:
        raise DataError(f"A sum of {part.name} volumes does not fit 64 bits: read a smaller timeframe.")
    return Exact(out[:count].copy().view(ROW).reshape(-1), exact.scale)
