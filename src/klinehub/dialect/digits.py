"""Printing numbers into a byte buffer, for the kernels that make JSON."""

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]


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
def put_fixed(buffer: U8, at: int, mantissa: int, decimals: int) -> int:
    """Print a quoted number with all its decimals: (612, 1) becomes "61.2"."""
    buffer[at] = 34
    at += 1
    power = 1
    for _ in range(decimals):
        power *= 10
    at = put_int(buffer, at, mantissa // power)
    if decimals > 0:
        buffer[at] = 46
        rest = mantissa % power
        for i in range(decimals, 0, -1):
            buffer[at + i] = 48 + rest % 10
            rest //= 10
        at += decimals + 1
    buffer[at] = 34
    return at + 1


@njit(cache=True, nogil=True)
def put_volume(buffer: U8, at: int, mantissa: int, decimals: int, bare: int) -> int:
    """Print a volume with all its decimals; with *bare* (1 or 0) a zero is "0", as on futures."""
    if mantissa == 0 and bare == 1:
        return put_fixed(buffer, at, 0, 0)
    return put_fixed(buffer, at, mantissa, decimals)
