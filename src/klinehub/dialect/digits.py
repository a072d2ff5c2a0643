"""Printing numbers into a byte buffer, for the kernels that make JSON."""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
# Every power of ten that fits 64 bits.
POWERS: Final = np.array([10**n for n in range(19)], np.int64)


@njit(cache=True, nogil=True)
def put_bytes(buffer: U8, at: int, text: U8) -> int:
    """Copy *text*; gives the position after it, as all of these do."""
    for i in range(text.size):
        buffer[at + i] = text[i]
    return at + text.size


@njit(cache=True, nogil=True)
def put_int(buffer: U8, at: int, value: int) -> int:
    """Print an integer."""
    if value < 0:
        buffer[at] = 45
        at += 1
        value = -value
    end = at + 1
    rest = value // 10
    while rest > 0:
        end += 1
        rest //= 10
    for i in range(end - 1, at - 1, -1):
        digit = value % 10
        buffer[i] = 48 + digit
        value //= 10
    return end


@njit(cache=True, nogil=True)
def _width(value: int) -> int:
    """Give how many digits a positive integer has, 1 for 0."""
    width = 1
    while width < POWERS.size and value >= POWERS[width]:
        width += 1
    return width


@njit(cache=True, nogil=True)
def put_fixed(buffer: U8, at: int, mantissa: int, decimals: int) -> int:
    """Print a quoted number with all its decimals: (612, 1) becomes "61.2".

    From the last digit to the first, dividing by 10 alone: dividing by a power once more took twice the time.
    """
    buffer[at] = 34
    end = at + 1 + max(_width(mantissa), decimals + 1) + int(decimals > 0)
    i = end - 1
    for _ in range(decimals):
        rest = mantissa // 10
        buffer[i] = 48 + mantissa - 10 * rest
        mantissa = rest
        i -= 1
    if decimals > 0:
        buffer[i] = 46
        i -= 1
    while i > at:
        rest = mantissa // 10
        buffer[i] = 48 + mantissa - 10 * rest
        mantissa = rest
        i -= 1
    buffer[end] = 34
    return end + 1


@njit(cache=True, nogil=True)
def put_volume(buffer: U8, at: int, mantissa: int, decimals: int, bare: int) -> int:
    """Print a volume with all its decimals; with *bare* (1 or 0) a zero is "0", as on futures."""
    if mantissa == 0 and bare == 1:
        return put_fixed(buffer, at, 0, 0)
    return put_fixed(buffer, at, mantissa, decimals)
