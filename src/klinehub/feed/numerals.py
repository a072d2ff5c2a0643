"""Numerals: exact parsing of the exchange's decimal text inside compiled code."""

from typing import Final

import numpy as np
from numba import njit

from klinehub.panel.memory import EXACT, U8, kernel

# Parsing gives up beyond this many digits and leaves the text to Python.
MOST_DIGITS: Final = 18
POWERS: Final = 10.0 ** np.arange(23)
_ZERO, _NINE, _DOT = 48, 57, 46
# The four bytes that JSON takes for white space, as bits.
_BLANKS: Final = 1 << 32 | 1 << 13 | 1 << 10 | 1 << 9


@kernel
def skip(buf: U8, at: int, end: int) -> int:
    """Find the first byte from *at* on that is no white space of JSON."""
    while at < end and buf[at] <= 32 and (_BLANKS >> int(buf[at])) & 1:
        at += 1
    return at


@kernel
def mantissa(buf: U8, start: int, end: int) -> tuple[int, int]:
    """Parse digits with at most one dot into mantissa and decimals.

    The mantissa is -1 when the text is anything else (sign, exponent, over 18 digits, nothing at all).
    """
    value, digits, decimals = 0, 0, -1
    for at in range(start, end):
        c = buf[at]
        if _ZERO <= c <= _NINE:
            value = value * 10 + (int(c) - _ZERO)
            digits += 1
            if decimals >= 0:
                decimals += 1
        elif c == _DOT and decimals < 0 and digits > 0:
            decimals = 0
        else:
            return -1, 0
    if digits == 0 or digits > MOST_DIGITS or decimals == 0:
        return -1, 0
    return value, max(decimals, 0)


@njit(cache=True, nogil=True, error_model="numpy")
def nearest(value: int, decimals: int) -> float:
    """Give the float64 nearest to value / 10**decimals; NaN where one division cannot be exact."""
    if value > EXACT:
        return np.nan
    return float(value) / float(POWERS[decimals])


@kernel
def integer(buf: U8, start: int, end: int) -> int:
    """Parse a non-negative integer; -1 when the text is anything else."""
    if end - start > MOST_DIGITS or end <= start:
        return -1
    value = 0
    for at in range(start, end):
        c = buf[at]
        if c < _ZERO or c > _NINE:
            return -1
        value = value * 10 + (int(c) - _ZERO)
    return value
