"""Bodies: REST kline answers parsed into exact rows, compiled, with msgspec for what is unusual."""

import re
from decimal import Decimal
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from klinehub.domain.kline import ROW, ROW_WORDS, Exact, Rows, Scale
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DataError
from klinehub.feed.numerals import integer, mantissa, nearest, skip
from klinehub.panel.memory import (
    F64,
    I64,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    U8,
    VOLUME,
    kernel,
)

FIELDS: Final = 12
_ROW_BYTES: Final = 40  # no row of twelve fields is shorter
_QUOTE, _COMMA, _DOT, _ZERO, _NINE, _OPEN, _CLOSE = 34, 44, 46, 48, 57, 91, 93
# For each of the twelve fields: the word it goes to (-1: not kept).
_WORD_OF = np.array([OPEN_TIME, 1, 2, 3, 4, VOLUME, -1, QUOTE, TRADES, TAKER_BASE, TAKER_QUOTE, -1])
_END: Final = 6  # the field that tells a bar's last millisecond
# The fields that prices, base volumes and quote volumes are printed in.
KIND_FIELDS: Final = ((1, 2, 3, 4), (5, 9), (7, 10))
MANTISSA_LIMIT: Final = 2**63
# Longer numerals than any exchange prints, and still quick to count with.
_NUMERAL = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)


@kernel
def _past(buf: U8, at: int, byte: int) -> int:
    """Step over *byte* and the white space behind it; the size of the body when another one is there."""
    return skip(buf, at + 1, buf.size) if at < buf.size and buf[at] == byte else buf.size


@kernel
def _number(buf: U8, at: int) -> tuple[int, int, int]:
    """Find digits and dots, in quotes or not: where they start and end, and what follows them.

    They end before they start when they are no JSON.
    """
    quoted = at < buf.size and buf[at] == _QUOTE
    start = at + 1 if quoted else at
    end = start
    while end < buf.size and (_ZERO <= buf[end] <= _NINE or buf[end] == _DOT):
        end += 1
    unclosed = quoted and (end == buf.size or buf[end] != _QUOTE)
    padded = not quoted and end - start > 1 and buf[start] == _ZERO and buf[start + 1] != _DOT
    after = skip(buf, end + 1 if quoted else end, buf.size)
    return start, start - 1 if unclosed or padded else end, after


@kernel
def _field(buf: U8, start: int, end: int, word: int, line: I64, line_f: F64, scale: I64) -> bool:
    """Take one field of a row; *scale* learns the decimals."""
    if word in (OPEN_TIME, TRADES):
        line[word] = integer(buf, start, end)
        return bool(line[word] >= 0)
    value, decimals = mantissa(buf, start, end)
    if value < 0 or word < 0:
        return bool(value >= 0)
    if word < VOLUME:
        line_f[word] = nearest(value, decimals)
        scale[0] = max(scale[0], decimals)
        return not np.isnan(line_f[word])
    kind = 1 if word in (VOLUME, TAKER_BASE) else 2
    line[word] = value
    if value == 0:
        return True
    if scale[kind] >= 0 and scale[kind] != decimals:
        return False
    scale[kind] = decimals
    return True


@kernel
def _parse(buf: U8, words: I64, words_f: F64, ends: I64, of: I64, scale: I64) -> int:
    """Parse a whole body; gives the number of rows, -1 when the body is not of the plain form."""
    scale[0], scale[1], scale[2] = 0, -1, -1
    count = 0
    at = _past(buf, skip(buf, 0, buf.size), _OPEN)
    while at < buf.size and (count > 0 or buf[at] != _CLOSE):
        if count == words.shape[0]:
            return -1
        at = _past(buf, at, _OPEN)
        for field in range(FIELDS):
            start, end, at = _number(buf, at)
            if not _field(buf, start, end, of[field], words[count], words_f[count], scale):
                return -1
            if field == _END:
                ends[count] = integer(buf, start, end)
            at = _past(buf, at, _COMMA if field < FIELDS - 1 else _CLOSE)
        count += 1
        if at == buf.size or buf[at] != _COMMA:
            break
        at = _past(buf, at, _COMMA)
    whole = at < buf.size and buf[at] == _CLOSE and skip(buf, at + 1, buf.size) == buf.size
    return count if whole else -1


def parse_klines(body: bytes, timeframe: Timeframe | None = None) -> Exact:
    """Parse the body of a klines answer (array of 12-field arrays) into exact rows, oldest first.

    Raises DataError when it is not such an array, a row contradicts itself, or one is no bar of *timeframe*.
    """
    buf = np.frombuffer(body, np.uint8)
    words = np.empty((len(body) // _ROW_BYTES + 1, ROW_WORDS), np.int64)
    ends = np.empty(len(words), np.int64)
    scale = np.zeros(3, np.int64)
    count = int(_parse(buf, words, words.view(np.float64), ends, _WORD_OF, scale))
    if count < 0:
        exact, ends = _slow(body)
    else:
        exact = Exact(_as_rows(words[:count]), Scale(*np.maximum(scale, 0).tolist()))
        ends = ends[:count]
    _check(exact)
    if timeframe is not None:
        _check_bars(exact.rows["open_time"], ends, timeframe)
    return exact


def _as_rows(words: I64) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    return np.ascontiguousarray(words).view(ROW).reshape(-1)


_decode = msgspec.json.Decoder(list[list[msgspec.Raw]]).decode
_text = msgspec.json.Decoder(str).decode


def _slow(body: bytes) -> tuple[Exact, I64]:
    """Parse any valid body through msgspec and Decimal; gives its rows and their last milliseconds."""
    try:
        body.decode()  # what msgspec skips it does not look at
        table = [[_cell(bytes(cell)) for cell in line] for line in _decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise DataError(f"Not a klines answer ({exc}): it begins {body[:60]!r}. It is set aside.") from exc
    if any(len(line) < FIELDS for line in table):
        raise DataError(f"A kline of an answer has fewer than {FIELDS} fields; it begins {body[:60]!r}.")
    values = [[number(line[field]) for field in range(FIELDS)] for line in table]
    scale = Scale(*(_most_decimals(values, fields) for fields in KIND_FIELDS))
    rows = np.zeros(len(values), ROW)
    for row, line in zip(rows, values, strict=True):
        row["open_time"], row["trades"] = whole(line[0], 0), whole(line[8], 0)
        for name, field in (("open", 1), ("high", 2), ("low", 3), ("close", 4)):
            row[name] = nearest_float(line[field])
        for name, field, places in (
            ("volume", 5, scale.base),
            ("taker_base", 9, scale.base),
            ("quote_volume", 7, scale.quote),
            ("taker_quote", 10, scale.quote),
        ):
            row[name] = whole(line[field], places)
    return Exact(rows, scale), np.array([whole(line[_END], 0) for line in values], np.int64)


def _cell(raw: bytes) -> str:
    """Give a cell's text: a bare number keeps all of its digits."""
    return _text(raw) if raw[:1] == b'"' else raw.decode()


def _most_decimals(values: list[list[Decimal]], fields: tuple[int, ...]) -> int:
    used = [-int(line[f].as_tuple().exponent) for line in values for f in fields if line[f]]
    return max([0, *used])


def number(text: str) -> Decimal:
    """Read one numeral; raises DataError when it is none."""
    if not _NUMERAL.fullmatch(text):
        raise DataError(f"{text[:60]!r} is not a number; it is set aside.")
    return Decimal(text)


def nearest_float(value: Decimal) -> float:
    """Give the float64 nearest to a numeral; raises DataError when it exceeds all of them."""
    nearest_one = float(value)
    if not np.isfinite(nearest_one):
        raise DataError(f"The price {value} is not finite; it is set aside.")
    return nearest_one


def whole(value: Decimal, places: int) -> int:
    """Give value * 10**places as an integer; raises DataError where it is none or exceeds 64 bits."""
    sign, digits, exponent = value.as_tuple()
    shift = int(exponent) + places
    kept = int("".join(map(str, digits)))
    if kept == 0:
        return 0
    kept, rest = divmod(kept * int(10 ** max(shift, 0)), int(10 ** max(-shift, 0)))
    if rest or sign or kept >= MANTISSA_LIMIT:
        raise DataError(f"The number {value} does not fit 64 bits with {places} decimals.")
    return kept


def _check(exact: Exact) -> None:
    """Refuse rows out of order or whose high and low do not hold their open and close."""
    rows = exact.rows
    if rows.size and not np.all(np.diff(rows["open_time"]) > 0):
        raise DataError("A klines answer is not in the order of time; it is set aside.")
    fine = consistent(rows)
    if not np.all(fine):
        when = int(rows["open_time"][int(np.argmin(fine))])
        raise DataError(
            f"The kline opened at {when} contradicts itself (high below low); the answer is set aside."
        )


def consistent(rows: Rows) -> npt.NDArray[np.bool_]:
    """Say of each row whether its high and low hold its open and close."""
    top, bottom = np.maximum(rows["open"], rows["close"]), np.minimum(rows["open"], rows["close"])
    fine: npt.NDArray[np.bool_] = (rows["high"] >= top) & (rows["low"] <= bottom) & (rows["low"] >= 0)
    return fine


def _check_bars(opens: I64, ends: I64, timeframe: Timeframe) -> None:
    """Refuse rows that are bars of another length, as the answer to another question has them."""
    if not np.all(is_bar(opens, ends, timeframe)):
        raise DataError(f"An answer holds rows that are no {timeframe.name} klines; it is set aside.")


def is_bar(opens: I64, ends: I64, timeframe: Timeframe) -> npt.NDArray[np.bool_]:
    """Say of each pair of first and last milliseconds whether they are those of a bar of *timeframe*."""
    if timeframe.monthly:
        months = [timeframe.index(time) for time in opens.tolist()]
        opened, ended = (
            np.array([of(month) for month in months], np.int64)
            for of in (timeframe.open_time, timeframe.close_time)
        )
    else:
        opened = opens - (opens - timeframe.offset) % timeframe.milliseconds
        ended = opened + timeframe.milliseconds - 1
    found: npt.NDArray[np.bool_] = (opens == opened) & (ends == ended)
    return found
