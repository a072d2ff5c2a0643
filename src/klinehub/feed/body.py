"""Bodies: REST kline answers parsed into exact rows, compiled, with msgspec for what is unusual."""

import re
from decimal import Decimal
from typing import Final

import msgspec
import numpy as np

from klinehub.domain.kline import ROW, ROW_WORDS, Exact, Scale
from klinehub.errors import DataError
from klinehub.feed.numerals import integer, mantissa, nearest
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
# Brackets as `_token` tells them: `[[`, `],[`, `]]` and `[]`.
_BEGINS, _BETWEEN, _ENDS, _NO_ROWS = 5, 9, 10, 6
# For each of the twelve fields: the word it goes to (-1: not kept).
_WORD_OF = np.array([OPEN_TIME, 1, 2, 3, 4, VOLUME, -1, QUOTE, TRADES, TAKER_BASE, TAKER_QUOTE, -1])
MANTISSA_LIMIT: Final = 2**63
# Longer numerals than any exchange prints, and still quick to count with.
_NUMERAL = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)


@kernel
def _token(buf: U8, at: int) -> tuple[int, int, int]:
    """Find the next scalar: its first byte and the byte after its last; start = size at the end.

    The third number tells the brackets before it, two bits each: 1 opens, 2 closes.
    """
    brackets = 0
    while at < buf.size and (buf[at] <= 34 or buf[at] == 44 or buf[at] == 91 or buf[at] == 93):
        if buf[at] > 44:
            brackets = (4 * brackets + (1 if buf[at] == 91 else 2)) & 0xFFFF
        at += 1
    start = at
    while at < buf.size and buf[at] != 34 and buf[at] != 44 and buf[at] != 93 and buf[at] > 32:
        at += 1
    return start, at, brackets


@kernel
def _field(  # noqa: PLR0911 - each kind of field ends the function where it is done
    buf: U8, start: int, end: int, word: int, line: I64, line_f: F64, scale: I64
) -> bool:
    """Take one field of a row; *scale* learns the decimals."""
    if word < 0:
        return True
    if word in (OPEN_TIME, TRADES):
        line[word] = integer(buf, start, end)
        return bool(line[word] >= 0)
    value, decimals = mantissa(buf, start, end)
    if value < 0:
        return False
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
def _parse(buf: U8, words: I64, words_f: F64, of: I64, scale: I64) -> int:
    """Parse a whole body; gives the number of rows, -1 when the body is not of the plain form."""
    scale[0], scale[1], scale[2] = 0, -1, -1
    at, count = 0, 0
    while True:
        start, at, brackets = _token(buf, at)
        if start >= buf.size:
            return count if brackets == (_ENDS if count else _NO_ROWS) else -1
        if count == words.shape[0] or brackets != (_BETWEEN if count else _BEGINS):
            return -1
        for field in range(FIELDS):
            if field > 0:
                start, at, brackets = _token(buf, at)
                if brackets:
                    return -1
            if not _field(buf, start, at, of[field], words[count], words_f[count], scale):
                return -1
        count += 1


def parse_klines(body: bytes) -> Exact:
    """Parse the body of a klines answer (array of 12-field arrays) into exact rows, oldest first.

    Raises DataError when it is not such an array or a row contradicts itself.
    """
    buf = np.frombuffer(body, np.uint8)
    words = np.empty((len(body) // _ROW_BYTES + 1, ROW_WORDS), np.int64)
    scale = np.zeros(3, np.int64)
    plain = body[:1] == b"[" and body.rstrip()[-1:] == b"]"
    count = int(_parse(buf, words, words.view(np.float64), _WORD_OF, scale)) if plain else -1
    exact = (
        _slow(body) if count < 0 else Exact(_as_rows(words[:count]), Scale(*np.maximum(scale, 0).tolist()))
    )
    _check(exact)
    return exact


def _as_rows(words: I64) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    return np.ascontiguousarray(words).view(ROW).reshape(-1)


_decode = msgspec.json.Decoder(list[list[msgspec.Raw]]).decode
_text = msgspec.json.Decoder(str).decode


def _slow(body: bytes) -> Exact:
    """Parse any valid body through msgspec and Decimal."""
    try:
        table = [[_cell(bytes(cell)) for cell in line] for line in _decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DataError(f"Not a klines answer ({exc}): it begins {body[:60]!r}. It is set aside.") from exc
    if any(len(line) < FIELDS for line in table):
        raise DataError(f"A kline of an answer has fewer than {FIELDS} fields; it begins {body[:60]!r}.")
    values = [[number(line[field]) for field in range(FIELDS)] for line in table]
    scale = Scale(*(_most_decimals(values, fields) for fields in ((1, 2, 3, 4), (5, 9), (7, 10))))
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
    return Exact(rows, scale)


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
    top, bottom = np.maximum(rows["open"], rows["close"]), np.minimum(rows["open"], rows["close"])
    fine = (rows["high"] >= top) & (rows["low"] <= bottom) & (rows["low"] >= 0)
    if not np.all(fine):
        when = int(rows["open_time"][int(np.argmin(fine))])
        raise DataError(
            f"The kline opened at {when} contradicts itself (high below low); the answer is set aside."
        )
