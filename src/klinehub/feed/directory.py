"""The directory: which row and timeframe a frame's bytes name, for compiled code."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import I64, U8, kernel

NAME_BYTES = 64
# A code that no bytes of a frame have.
NEVER = -2
_FNV_PRIME = 1_099_511_628_211
_FNV_START = 1_469_598_103_934_665_603


class Directory(NamedTuple):
    """An open-addressed table of UTF-8 symbol names, and the codes of the timeframes listened to."""

    slots: I64  # [power of two] row or -1
    names: U8  # [rows, 64]
    lengths: I64  # [rows]
    codes: I64  # [timeframes] packed bytes of the timeframe's name, NEVER for one not streamed


def directory(
    symbols: Sequence[str], timeframes: Sequence[Timeframe], streamed: Sequence[Timeframe]
) -> Directory:
    """Build the table for *symbols* in row order; only *streamed* timeframes are recognised."""
    size = 64
    while size < 4 * len(symbols):
        size *= 2
    slots = np.full(size, -1, np.int64)
    names = np.zeros((len(symbols), NAME_BYTES), np.uint8)
    lengths = np.zeros(len(symbols), np.int64)
    for row, symbol in enumerate(symbols):
        text = np.frombuffer(symbol.encode(), np.uint8)
        names[row, : text.size], lengths[row] = text, text.size
        _insert(slots, names, row, text.size)
    codes = [_code(tf.name) if tf in streamed else NEVER for tf in timeframes]
    return Directory(slots, names, lengths, np.array(codes, np.int64))


def _code(name: str) -> int:
    """Pack a timeframe's name into an integer, as `pack` does with a frame's bytes."""
    return int.from_bytes(name.encode(), "big")


@kernel
def pack(buf: U8, start: int, end: int) -> int:
    """Pack up to seven bytes of a frame into an integer, the last byte lowest; -1 for more than that."""
    if end - start > 7:
        return -1
    code = 0
    for at in range(start, end):
        code = (code << 8) | int(buf[at])
    return code


@kernel
def _hash(buf: U8, start: int, end: int) -> int:
    value = np.uint64(_FNV_START)
    for at in range(start, end):
        value = (value ^ np.uint64(buf[at])) * np.uint64(_FNV_PRIME)
    return int((value ^ (value >> np.uint64(29))) & np.uint64(0x7FFFFFFF))


@kernel
def _insert(slots: I64, names: U8, row: int, length: int) -> None:
    at = _hash(names[row], 0, length) & (slots.size - 1)
    while slots[at] >= 0:
        at = (at + 1) & (slots.size - 1)
    slots[at] = row


@kernel
def find_row(where: Directory, buf: U8, start: int, end: int) -> int:
    """Find the row of the symbol named by these bytes, -1 when it has none."""
    at = _hash(buf, start, end) & (where.slots.size - 1)
    while where.slots[at] >= 0:
        row = where.slots[at]
        if where.lengths[row] == end - start:
            same = True
            for i in range(end - start):
                if where.names[row, i] != buf[start + i]:
                    same = False
                    break
            if same:
                return int(row)
        at = (at + 1) & (where.slots.size - 1)
    return -1


@kernel
def find_timeframe(where: Directory, code: int) -> int:
    """Find the number of the timeframe with this packed name, -1 when it is not listened to."""
    for t in range(where.codes.size):
        if where.codes[t] == code:
            return t
    return -1
