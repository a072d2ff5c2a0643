"""Slices: all symbols' closed bars of one timeframe and bar as a few bytes, exactly.

1. A slice is a head (mark, version, CRC-32 of its key and body) and a body: the number of lines, then a line
   for each symbol in the order of its number in the store's index.
2. A line is what the symbol has of this bar: its ten words, or the mark that the exchange has no such bar.
3. Prices are counted in ticks of the symbol's printed decimals: the open, the close from it, and how far
   high and low lie beyond the two. Numbers take as many bytes as they need (LEB128): a recorded bar takes 24
   instead of 80. A price that its ticks would not give back bit for bit is kept as it is.
4. The open time is not kept: the key tells it. A slice under another key does not add up.
"""

import struct
import zlib
from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.kline import EMPTY, ROW_WORDS
from klinehub.errors import StoreError
from klinehub.panel.memory import (
    CLOSE,
    EXACT,
    F64,
    HIGH,
    I64,
    LOW,
    OPEN,
    OPEN_TIME,
    U8,
    VOLUME,
    kernel,
    power_of_ten,
    to_float,
)

# What a line says of its symbol is a bar's state, closed or verified, or that there is none.
ABSENT: Final = EMPTY
RAW: Final = 4  # added to the state: prices are four float64 as they are

HEAD: Final = struct.Struct("<2sBI")
MARK: Final = b"KS"
VERSION: Final = 1
_KEY: Final = struct.Struct("<qq")
# The longest line: number and state, then nine numbers of up to ten bytes.
LINE_BYTES: Final = 11 + 9 * 10


class Lines(NamedTuple):
    """What a slice says: the n symbols' numbers in the index (ascending), states, and words [n, 10]."""

    numbers: I64
    states: I64
    words: I64


@kernel
def _put_number(out: U8, at: int, value: int) -> int:
    """Write a number of 0 to 2**63 - 1, seven bits a byte; gives the place behind it."""
    while value >= 128:
        out[at] = np.uint8((value & 127) | 128)
        value >>= 7
        at += 1
    out[at] = np.uint8(value)
    return at + 1


@kernel
def _number(buf: U8, at: int) -> tuple[int, int]:
    """Read a number: the place behind it and the value; the place is -1 when there is none."""
    value, shift = 0, 0
    while 0 <= at < buf.size and shift < 63:
        byte = int(buf[at])
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return at, value
        shift += 7
    return -1, 0


@kernel
def _ticks(price: float, power: int) -> int:
    """Count a price in ticks of 1 / power; -1 when that would not give the same bits back."""
    ticks = price * float(power)
    if not 0.0 <= ticks < float(EXACT):
        return -1
    count = int(np.rint(ticks))
    return count if to_float(count, power) == price and not (count == 0 and np.signbit(price)) else -1


@kernel
def _put_prices(out: U8, at: int, floats: F64, power: int) -> int:
    """Write four prices in ticks; gives the place behind them, -1 when they have to be kept as they are."""
    first, last = _ticks(floats[OPEN], power), _ticks(floats[CLOSE], power)
    high, low = _ticks(floats[HIGH], power), _ticks(floats[LOW], power)
    if first < 0 or low < 0 or high < max(first, last) or last < 0 or low > min(first, last):
        return -1
    at = _put_number(out, at, first)
    moved = last - first
    at = _put_number(out, at, 2 * moved if moved >= 0 else -2 * moved - 1)
    at = _put_number(out, at, high - max(first, last))
    return _put_number(out, at, min(first, last) - low)


@kernel
def _encode(numbers: I64, states: I64, words: I64, floats: F64, decimals: I64, out: U8) -> int:
    """Write a body; gives its size, or -1 when a number does not fit."""
    at = _put_number(out, 0, numbers.size)
    before = -1
    for line in range(numbers.size):
        at = _put_number(out, at, numbers[line] - before - 1)
        before = numbers[line]
        state_at = at
        out[at] = np.uint8(states[line])
        at += 1
        if states[line] == ABSENT:
            continue
        behind = _put_prices(out, at, floats[line], power_of_ten(decimals[line]))
        if behind < 0:
            out[state_at] = np.uint8(states[line] + RAW)
            for word in range(OPEN, CLOSE + 1):
                bits = words[line, word]
                for byte in range(8):
                    out[at + byte] = np.uint8((bits >> (8 * byte)) & 255)
                at += 8
        else:
            at = behind
        for word in range(VOLUME, ROW_WORDS):
            if words[line, word] < 0:
                return -1
            at = _put_number(out, at, words[line, word])
    return at


@kernel
def _prices(buf: U8, at: int, floats: F64, power: int) -> int:
    """Read four prices in ticks; gives the place behind them, -1 when they are not there."""
    at, first = _number(buf, at)
    at, moved = _number(buf, at)
    at, above = _number(buf, at)
    at, below = _number(buf, at)
    last = first + (moved // 2 if moved % 2 == 0 else -(moved // 2) - 1)
    high, low = max(first, last) + above, min(first, last) - below
    if at < 0 or low < 0 or high >= EXACT or min(first, above) < 0:
        return -1
    floats[OPEN], floats[CLOSE] = to_float(first, power), to_float(last, power)
    floats[HIGH], floats[LOW] = to_float(high, power), to_float(low, power)
    return at


@kernel
def _raw_prices(buf: U8, at: int, words: I64) -> int:
    """Read four float64 as they are."""
    if at + 32 > buf.size:
        return -1
    for word in range(OPEN, CLOSE + 1):
        bits = 0
        for byte in range(8):
            bits |= int(buf[at + byte]) << (8 * byte)
        words[word] = bits
        at += 8
    return at


@kernel
def _decode(buf: U8, opened: int, decimals: I64, numbers: I64, states: I64, words: I64, floats: F64) -> int:
    """Read a body into lines; gives how many there are, or -1 when it is damaged.

    `decimals[number]` are a symbol's price decimals, -1 where the index does not know the number: such lines
    are left out.
    """
    at, count = _number(buf, 0)
    if at < 0 or count > numbers.size:
        return -1
    before, line = -1, 0
    for _ in range(count):
        at, step = _number(buf, at)
        number = before + 1 + step
        if at < 0 or at >= buf.size or number < 0:
            return -1
        before = number
        state = int(buf[at])
        at += 1
        known = number < decimals.size and decimals[number] >= 0
        numbers[line], states[line] = number, state & 3
        words[line, OPEN_TIME] = opened
        if state >= RAW:
            at = _raw_prices(buf, at, words[line])
        elif state != ABSENT:
            at = _prices(buf, at, floats[line], power_of_ten(decimals[number] if known else 0))
        for word in range(OPEN if state == ABSENT else VOLUME, ROW_WORDS):
            if state == ABSENT:
                words[line, word] = 0
            else:
                at, words[line, word] = _number(buf, at)
        if at < 0:
            return -1
        line += known
    return line if at == buf.size else -1


def encode(timeframe: int, bar: int, lines: Lines, decimals: I64) -> bytes:
    """Give the slice of a bar (absolute index) of a timeframe (its length in ms); *decimals* [n] of prices.

    Raises StoreError for a volume below zero.
    """
    words = np.ascontiguousarray(lines.words)
    out = np.empty(10 + len(lines.numbers) * LINE_BYTES, np.uint8)
    size = int(_encode(lines.numbers, lines.states, words, words.view(np.float64), decimals, out))
    if size < 0:
        raise StoreError(f"The bar {bar} of {timeframe} ms holds a volume below zero: it is not kept.")
    body = out[:size].tobytes()
    return HEAD.pack(MARK, VERSION, _sum(timeframe, bar, body)) + body


def decode(timeframe: int, bar: int, opened: int, data: bytes, decimals: I64) -> Lines:
    """Read the slice of a bar that opens at *opened* (ms); *decimals* by number, -1 for numbers not known.

    Lines of numbers that are not known are left out: nobody can tell whose they are.
    Raises StoreError when it is damaged, or the slice of another bar.
    """
    if len(data) < HEAD.size:
        raise StoreError(f"A slice of {len(data)} bytes is cut short.")
    mark, version, told = HEAD.unpack_from(data)
    body = data[HEAD.size :]
    if mark != MARK or version != VERSION or told != _sum(timeframe, bar, body):
        raise StoreError("A slice does not add up: its checksum is another one.")
    # No more than are told of: room for as many lines as bytes could hold takes longer than reading them.
    most = min(len(body) // 2, max(0, int(_number(np.frombuffer(body, np.uint8), 0)[1])))
    numbers, states = np.empty(most, np.int64), np.empty(most, np.int64)
    words = np.zeros((most, ROW_WORDS), np.int64)
    count = int(
        _decode(
            np.frombuffer(body, np.uint8), opened, decimals, numbers, states, words, words.view(np.float64)
        )
    )
    if count < 0:
        raise StoreError("A slice adds up and says nothing: it was not written by klinehub.")
    return Lines(numbers[:count], states[:count], words[:count])


def _sum(timeframe: int, bar: int, body: bytes) -> int:
    """Give the checksum of a slice with its key."""
    return zlib.crc32(body, zlib.crc32(_KEY.pack(timeframe, bar)))
