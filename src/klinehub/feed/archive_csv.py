"""Archive CSV: klines of twelve fields, with header or none, in ms or µs, read exactly."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from klinehub.domain.kline import ROW, ROW_WORDS, Exact, Rows, Scale
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DataError
from klinehub.feed.body import FIELDS, KIND_FIELDS, consistent, is_bar
from klinehub.panel.memory import (
    F64,
    I64,
    MANTISSA_MAX,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    U8,
    VOLUME,
    kernel,
    power_of_ten,
    to_float,
)

_NEWLINE, _RETURN, _COMMA, _DOT, _ZERO, _NINE = 10, 13, 44, 46, 48, 57
_OPENED, _CLOSED, _COUNT = 0, 6, 8
# What a number is that is none, and one with more digits than fit.
_JUNK, _LARGE = -1, -2
# Spot archives count microseconds from 2025 on; no millisecond time has this many digits.
MICROSECONDS: Final = 10**14
_MOST_DECIMALS: Final = 18
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Numbers(NamedTuple):
    """The numbers of a file: mantissas and printed decimals [rows, 12], and the line of each row.

    Times are in ms. The twelfth field, which the exchange says to ignore, is zero.
    """

    mantissas: I64
    decimals: I64
    lines: I64

    @property
    def scale(self) -> Scale:
        """The most decimals that prices, base and quote volumes are printed with; a volume of 0 has none."""
        used = np.where(self.mantissas != 0, self.decimals, 0)
        price, base, quote = ([*fields] for fields in KIND_FIELDS)
        return Scale(*(int(d[:, f].max()) for d, f in ((self.decimals, price), (used, base), (used, quote))))


class KlineFile(NamedTuple):
    """The bars of one file, oldest first, and what was not as it should be in it."""

    exact: Exact
    notes: tuple[str, ...]


@kernel
def _number(text: U8, start: int, end: int) -> tuple[int, int]:
    """Parse digits with at most one dot between them into mantissa and decimals."""
    value, decimals = 0, -1
    for at in range(start, end):
        c = text[at]
        if c == _DOT and decimals < 0 and start < at < end - 1:
            decimals = 0
        elif _ZERO <= c <= _NINE:
            digit = int(c) - _ZERO
            if value > (MANTISSA_MAX - digit) // 10 or decimals == _MOST_DECIMALS:
                return _LARGE, 0
            value = value * 10 + digit
            decimals += 1 if decimals >= 0 else 0
        else:
            return _JUNK, 0
    return value if end > start else _JUNK, max(decimals, 0)


@kernel
def _line(text: U8, start: int, end: int, mantissas: I64, decimals: I64) -> int:
    """Read one line of twelve fields; gives 0, or what kind of number is none."""
    for field in range(FIELDS):
        stop = start
        while stop < end and text[stop] != _COMMA:
            stop += 1
        if (stop == end) != (field == FIELDS - 1):
            return _JUNK
        if field < FIELDS - 1:
            mantissas[field], decimals[field] = _number(text, start, stop)
            if mantissas[field] < 0:
                return int(mantissas[field])
            if field in (_OPENED, _CLOSED, _COUNT) and decimals[field] > 0:
                return _JUNK
        start = stop + 1
    return 0


@kernel
def _parse(text: U8, mantissas: I64, decimals: I64, lines: I64) -> tuple[int, int]:
    """Read all lines; gives how many held numbers, and what is wrong with the one that reading ended at."""
    row, at, line = 0, 0, 0
    while at < text.size:
        line += 1
        end = at
        while end < text.size and text[end] != _NEWLINE:
            end += 1
        stop = end - 1 if end > at and text[end - 1] == _RETURN else end
        header = line == 1 and stop > at and not _ZERO <= text[at] <= _NINE
        if stop > at and not header:
            lines[row] = line
            wrong = _line(text, at, stop, mantissas[row], decimals[row])
            if wrong < 0:
                return row, wrong
            row += 1
        at = end + 1
    return row, 0


def read_numbers(text: bytes, name: str) -> Numbers:
    """Read the rows of a kline file; raises DataError, with the line, where it is no such file.

    The first line may be a header; empty lines are passed over.
    """
    buffer = np.frombuffer(text.removeprefix(_BYTE_ORDER_MARK), np.uint8)
    most = int(np.count_nonzero(buffer == _NEWLINE)) + 1
    mantissas, decimals = np.zeros((most, FIELDS), np.int64), np.zeros((most, FIELDS), np.int64)
    lines = np.zeros(most, np.int64)
    rows, wrong = _parse(buffer, mantissas, decimals, lines)
    if wrong == _LARGE:
        says = f"{name}, line {lines[rows]} has a number that does not fit 64 bits"
        raise DataError(f"{says}: leave this timeframe out, bars of a smaller one add up to it.")
    if wrong or not rows:
        line = f", line {lines[rows]} is not" if wrong else " holds no"
        raise DataError(f"{name}{line} 12 numbers separated by commas: download the file again.")
    times = mantissas[:rows, [_OPENED, _CLOSED]]
    mantissas[:rows, [_OPENED, _CLOSED]] = np.where(times >= MICROSECONDS, times // 1000, times)
    return Numbers(mantissas[:rows], decimals[:rows], lines[:rows])


@kernel
def _convert(mantissas: I64, decimals: I64, scale: I64, words: I64, floats: F64) -> int:
    """Write numbers as exact rows; gives the row of a volume that does not fit 64 bits, -1 when all do."""
    for i in range(words.shape[0]):
        words[i, OPEN_TIME], words[i, TRADES] = mantissas[i, _OPENED], mantissas[i, _COUNT]
        for w in range(1, VOLUME):
            floats[i, w] = to_float(mantissas[i, w], power_of_ten(decimals[i, w]))
        for word, field, kind in ((VOLUME, 5, 1), (QUOTE, 7, 2), (TAKER_BASE, 9, 1), (TAKER_QUOTE, 10, 2)):
            value = mantissas[i, field]
            power = power_of_ten(scale[kind] - decimals[i, field]) if value > 0 else 1
            if value > MANTISSA_MAX // power:
                return i
            words[i, word] = value * power
    return -1


def read_klines(text: bytes, name: str, timeframe: Timeframe, *, now: int) -> KlineFile:
    """Read a kline file of *timeframe* into exact rows, only bars that had closed by *now* (ms UTC).

    Rows that cannot be (off the grid, high below low, another bar length) and bars that are there twice with
    different values are left out and noted; disorder is sorted and noted. Raises DataError, with the line,
    where the file is no such file.
    """
    numbers = read_numbers(text, name)
    rows = _rows(numbers, name)
    opens, ends = numbers.mantissas[:, _OPENED], numbers.mantissas[:, _CLOSED]
    sound = consistent(rows) & is_bar(opens, ends, timeframe)
    notes = _noted(f"{name}: {{}} no {timeframe.name} bar", ~sound, numbers.lines)
    opened = sound & (ends >= now)
    notes += _noted(f"{name}: {{}} a bar that is still open", opened, numbers.lines)
    chosen, told = _ordered(rows, np.flatnonzero(sound & ~opened), numbers.lines, name)
    return KlineFile(Exact(rows[chosen], numbers.scale), (*notes, *told))


def _rows(numbers: Numbers, name: str) -> Rows:
    """Convert a file's numbers; raises DataError where a volume is too large."""
    rows = np.zeros(len(numbers.lines), ROW)
    words = rows.view(np.int64).reshape(-1, ROW_WORDS)
    scale = np.array(numbers.scale, np.int64)
    bad = int(_convert(numbers.mantissas, numbers.decimals, scale, words, words.view(np.float64)))
    if bad >= 0:
        raise DataError(
            f"{name}, line {numbers.lines[bad]}: a volume does not fit 64 bits with the decimals of the file."
        )
    return rows


def _ordered(rows: Rows, chosen: I64, lines: I64, name: str) -> tuple[I64, list[str]]:
    """Bring the chosen rows into the order of time, each bar once; gives them and what was done."""
    times = rows["open_time"][chosen]
    steps = np.diff(times)
    if np.all(steps > 0):
        return chosen, []
    notes = []
    if np.any(steps < 0):
        first = lines[chosen[1:]][steps < 0][0]
        notes.append(f"{name}: line {first} is older than the one before; the rows were sorted")
        chosen = chosen[np.argsort(times, kind="stable")]
    times = rows["open_time"][chosen]
    again = np.flatnonzero(np.diff(times) == 0) + 1
    differ = np.array([rows[chosen[i]] != rows[chosen[i - 1]] for i in again], bool)
    notes += _noted(f"{name}: {{}} a bar that is there twice", again >= 0, lines[chosen[again]])
    bad = np.isin(times, times[again[differ]])
    notes += _noted(f"{name}: {{}} a bar told in two ways; both are left out", bad, lines[chosen])
    once = np.ones(len(chosen), bool)
    once[again] = False
    return chosen[once & ~bad], notes


def _noted(text: str, marked: npt.NDArray[np.bool_], lines: I64) -> list[str]:
    """Say how many lines are marked and which is the first; nothing where none is."""
    count = int(np.count_nonzero(marked))
    if not count:
        return []
    first = int(lines[marked].min())
    return [text.format(f"line {first} is" if count == 1 else f"{count} lines from line {first} on are each")]
