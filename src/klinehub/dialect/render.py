"""Klines as the REST API prints them, from the exact form."""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from klinehub.dialect.digits import POWERS, U8, put_fixed, put_int, put_volume
from klinehub.domain.kline import ROW_WORDS, Exact
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import (
    CLOSE,
    OPEN,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    VOLUME,
    bar_index,
)
from klinehub.panel.memory import bar_open as open_of

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
# Twelve fields of at most 20 digits with quotes, point and comma.
_ROW_BYTES: Final = 300


@njit(cache=True, nogil=True)
def put_price(buffer: U8, at: int, price: float, decimals: int) -> int:
    """Print the float64 nearest to a printed price with all its decimals, hence its text."""
    return put_fixed(buffer, at, int(np.rint(price * float(POWERS[decimals]))), decimals)


@njit(cache=True, nogil=True)
def _put_row(buffer: U8, at: int, word: I64, price: F64, decimals: I64, close_time: int) -> int:
    """Print one row `[open time, "open", ..., "0"]`."""
    buffer[at] = 91
    at = put_int(buffer, at + 1, word[OPEN_TIME])
    for w in range(OPEN, CLOSE + 1):
        buffer[at] = 44
        at = put_price(buffer, at + 1, price[w], decimals[0])
    buffer[at] = 44
    at = put_volume(buffer, at + 1, word[VOLUME], decimals[1], decimals[3])
    buffer[at] = 44
    at = put_int(buffer, at + 1, close_time)
    buffer[at] = 44
    at = put_volume(buffer, at + 1, word[QUOTE], decimals[2], decimals[3])
    buffer[at] = 44
    at = put_int(buffer, at + 1, word[TRADES])
    buffer[at] = 44
    at = put_volume(buffer, at + 1, word[TAKER_BASE], decimals[1], decimals[3])
    buffer[at] = 44
    at = put_volume(buffer, at + 1, word[TAKER_QUOTE], decimals[2], decimals[3])
    buffer[at] = 44
    at = put_fixed(buffer, at + 1, 0, 0)
    buffer[at] = 93
    return at + 1


@njit(cache=True, nogil=True)
def _put_rows(words: I64, prices: F64, decimals: I64, length: int, offset: int, buffer: U8) -> int:
    """Print all rows as one array; gives its length in bytes."""
    buffer[0] = 91
    at = 1
    for i in range(words.shape[0]):
        if i > 0:
            buffer[at] = 44
            at += 1
        index = bar_index(words[i, OPEN_TIME], length, offset)
        at = _put_row(buffer, at, words[i], prices[i], decimals, open_of(index + 1, length, offset) - 1)
    buffer[at] = 93
    return at + 1


def rows_json(exact: Exact, timeframe: Timeframe, *, bare_zero: bool = True) -> bytes:
    """Print exact rows as the JSON body of a klines answer, digit for digit as the exchange would."""
    rows = np.ascontiguousarray(exact.rows)
    words = rows.view(np.int64).reshape(-1, ROW_WORDS)
    buffer = np.empty(len(rows) * _ROW_BYTES + 2, np.uint8)
    decimals = np.array([*exact.scale, bare_zero], np.int64)
    prices = rows.view(np.float64).reshape(-1, ROW_WORDS)
    size = _put_rows(words, prices, decimals, timeframe.milliseconds, timeframe.offset, buffer)
    return buffer[:size].tobytes()


def _fixed(mantissa: int, decimals: int) -> str:
    if decimals == 0:
        return str(mantissa)
    text = str(mantissa).rjust(decimals + 1, "0")
    return f"{text[:-decimals]}.{text[-decimals:]}"


def price_text(price: float, decimals: int) -> str:
    """Print a price with all its decimals, as `put_price` does."""
    return _fixed(int(np.rint(price * 10.0**decimals)), decimals)


def volume_text(mantissa: int, decimals: int, *, bare_zero: bool = True) -> str:
    """Print a volume with all its decimals, a *bare_zero* as 0, as `put_volume` does."""
    return _fixed(mantissa, decimals) if mantissa or not bare_zero else "0"


def twelve_fields(exact: Exact, timeframe: Timeframe) -> list[list[int | str]]:
    """Give exact rows as the 12-field lists that REST clients know."""
    price, base, quote = exact.scale
    return [
        [
            time,
            *(price_text(value, price) for value in (opened, high, low, close)),
            volume_text(volume, base),
            timeframe.close_time(timeframe.index(time)),
            volume_text(money, quote),
            trades,
            volume_text(takers[0], base),
            volume_text(takers[1], quote),
            "0",
        ]
        for time, opened, high, low, close, volume, money, trades, *takers in exact.rows.tolist()
    ]
