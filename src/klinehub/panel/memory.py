"""The ring's memory: where each number lies in one flat buffer, and arithmetic on it.

A bar is ten words of eight bytes (dtype ROW); `cells` and `floats` are two views of the same bytes.
The buffer is an argument, so that it can be private memory or a shared mapping.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

from klinehub.domain.kline import CLOSED, ROW_WORDS
from klinehub.domain.timeframe import DAY, Timeframe

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
F = TypeVar("F", bound=Callable[..., Any])

# Kernels on the way of a kline only borrow the arrays they are given. Counting references to each of the
# ring's arrays at every call took two thirds of the time (2.8 us a message against 1.0 without), hence
# `_nrt=False`; in exchange such a kernel cannot make an array, nor copy one slice into another.
kernel = cast("Callable[[F], F]", njit(cache=True, nogil=True, _nrt=False))  # type: ignore[call-overload]

# Words of a bar, in the order of dtype ROW.
OPEN_TIME, OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE, TRADES, TAKER_BASE, TAKER_QUOTE = range(ROW_WORDS)
MONTH: Final = 31 * DAY
# The largest mantissa, and which part of a scale each mantissa has.
MANTISSA_MAX: Final = 2**63 - 1
SCALE_OF: Final = ((VOLUME, 1), (QUOTE, 2), (TAKER_BASE, 1), (TAKER_QUOTE, 2))
# Integers up to this are float64 without loss.
EXACT: Final = 2**53
# Columns of `grid`, one line per timeframe.
LENGTH, OFFSET, PARENT = range(3)


class Memory(NamedTuple):
    """Views of one buffer, for T timeframes, S symbols and N bars each."""

    cells: I64  # [T, S, N, 10] bars at slot = absolute index % N
    floats: F64  # the same bytes: words 1 to 4 are prices
    state: U8  # [T, S, N] empty, forming, closed or verified
    newest: I64  # [T, S] absolute index of the newest bar, -1 when there is none
    first: I64  # [T, S] index of the first bar that exists at all, -1 while not known
    event: I64  # [T, S] the exchange's event time of the newest bar's last update
    heard: I64  # [T, S] exchange time up to which a stream has told its klines
    stale: I64  # [S, 2] why a symbol is not proven fresh (0: it is) and since when, exchange time in ms
    parts: I64  # [T, S, 10] the closed parts of the larger bar now forming
    parts_f: F64  # the same bytes
    parts_next: I64  # [T, S] index of the first part not in that sum, -1 when the sum has a hole
    decimals: I64  # [S, 3] printed decimals of prices, base and quote volumes
    sequence: I64  # [T, S] odd while a row is written
    changes: I64  # [T, S] how often closed bars were written other than at a row's end
    writes: I64  # [T, N] how often a closed bar was written into a slot, for those who keep them on disk
    grid: I64  # [T, 3] length, offset and parent of each timeframe


def _shapes(timeframes: int, rows: int, bars: int) -> dict[str, tuple[int, ...]]:
    """Give the shape of each int64 array, in the order of the buffer."""
    both = (timeframes, rows)
    return {
        "cells": (*both, bars, ROW_WORDS),
        "newest": both,
        "first": both,
        "event": both,
        "heard": both,
        "stale": (rows, 2),
        "parts": (*both, ROW_WORDS),
        "parts_next": both,
        "decimals": (rows, 3),
        "sequence": both,
        "changes": both,
        "writes": (timeframes, bars),
        "grid": (timeframes, 3),
    }


def size(timeframes: int, rows: int, bars: int) -> int:
    """Give the bytes that a ring of these dimensions takes."""
    words = sum(int(np.prod(shape)) for shape in _shapes(timeframes, rows, bars).values())
    return words * 8 + timeframes * rows * bars


def lay(buffer: U8, timeframes: int, rows: int, bars: int) -> Memory:
    """Lay the ring's arrays over *buffer* (uint8, at least `size()` bytes) and leave what is in them."""
    views: dict[str, npt.NDArray[np.int64] | npt.NDArray[np.float64] | npt.NDArray[np.uint8]] = {}
    at = 0
    for name, shape in _shapes(timeframes, rows, bars).items():
        end = at + int(np.prod(shape)) * 8
        views[name] = buffer[at:end].view(np.int64).reshape(shape)
        at = end
    state = buffer[at : at + timeframes * rows * bars].reshape(timeframes, rows, bars)
    views["floats"] = views["cells"].view(np.float64)
    views["parts_f"] = views["parts"].view(np.float64)
    return Memory(**views, state=state)  # type: ignore[arg-type]


def carve(buffer: U8, timeframes: Sequence[Timeframe], rows: int, bars: int) -> Memory:
    """Lay the ring's arrays over *buffer* (uint8, at least `size()` bytes) and mark all bars empty."""
    memory = lay(buffer, len(timeframes), rows, bars)
    memory.state[:] = 0
    for unset in (memory.newest, memory.first, memory.parts_next):
        unset[:] = -1
    counts = (memory.sequence, memory.changes, memory.writes)
    for zero in (memory.event, memory.heard, memory.stale, memory.decimals, *counts):
        zero[:] = 0
    for t, timeframe in enumerate(timeframes):
        memory.grid[t] = (timeframe.milliseconds, timeframe.offset, _parent(timeframes, t))
    return memory


def _parent(timeframes: Sequence[Timeframe], t: int) -> int:
    """Find the largest smaller timeframe that timeframe *t* is made of, -1 for none."""
    held = [p for p in range(t) if timeframes[t].holds(timeframes[p])]
    return held[-1] if held else -1


@kernel
def bar_index(time: int, length: int, offset: int) -> int:
    """Give the absolute index of the bar that holds *time*, months by the civil calendar."""
    if length != MONTH:
        return (time - offset) // length
    # Days to civil date, after the proleptic Gregorian calendar's 400-year cycle from 1 March 0000.
    z = time // DAY + 719_468
    era = z // 146_097
    day = z - era * 146_097
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    month = (5 * (day - (365 * year + year // 4 - year // 100)) + 2) // 153
    after_march = 2 if month < 10 else -10
    civil_year = year + era * 400 + (0 if month < 10 else 1)
    return 12 * civil_year + month + after_march


@kernel
def bar_open(index: int, length: int, offset: int) -> int:
    """Give the open time (ms UTC) of a bar by its absolute index."""
    if length != MONTH:
        return index * length + offset
    year, month = index // 12, index % 12
    y = year - 1 if month < 2 else year
    m = month + 10 if month < 2 else month - 2
    era = y // 400
    of_era = y - era * 400
    day = (153 * m + 2) // 5 + 365 * of_era + of_era // 4 - of_era // 100
    return (era * 146_097 + day - 719_468) * DAY


@kernel
def is_closed(mem: Memory, t: int, row: int, index: int) -> bool:
    """Say whether the bar of this index is held and closed; its slot may hold an older one."""
    bars, newest = mem.state.shape[2], mem.newest[t, row]
    return bool(newest - bars < index <= newest and mem.state[t, row, index % bars] >= CLOSED)


@kernel
def copy_words(into: I64, words: I64) -> None:
    """Copy a bar's ten words."""
    for w in range(ROW_WORDS):
        into[w] = words[w]


@kernel
def power_of_ten(decimals: int) -> int:
    """Give 10**decimals as an integer (decimals up to 18)."""
    power = 1
    for _ in range(decimals):
        power *= 10
    return power


@njit(cache=True, nogil=True, error_model="numpy")
def to_float(mantissa: int, power: int) -> float:
    """Give the float64 nearest to mantissa / power (a power of ten), bit-equal to float() of the text.

    Up to 2**53 the division of two exact floats is rounded once, hence right.
    """
    if mantissa < EXACT:
        return float(mantissa) / float(power)
    return _wide_to_float(mantissa, power)


@kernel
def _wide_to_float(mantissa: int, power: int) -> float:
    """Divide past 2**53, where converting and dividing would round twice: half to even, in integers."""
    whole, rest = mantissa // power, mantissa % power
    bits = 0
    while bits < 63 and (whole >> bits) > 0:
        bits += 1
    if bits > 53:
        drop = bits - 53
        kept, low, half = whole >> drop, whole & ((1 << drop) - 1), 1 << (drop - 1)
        if low > half or (low == half and (rest > 0 or kept & 1 == 1)):
            kept += 1
        return float(kept) * float(1 << drop)
    # Take the missing bits from the rest one by one: rest < power <= 10**18, so doubling cannot overflow.
    kept = whole
    scale = 1.0
    while kept < EXACT >> 1:
        rest *= 2
        kept *= 2
        scale *= 2.0
        if rest >= power:
            rest -= power
            kept += 1
    if 2 * rest > power or (2 * rest == power and kept & 1 == 1):
        kept += 1
    return float(kept) / scale
