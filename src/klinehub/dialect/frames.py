"""Kline events for the WebSocket, rendered many at a time into one buffer.

Each stream has a `Stencil`: the bytes of its event that never change, cut where numbers go. Only numbers
are printed per event, about a microsecond each.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from klinehub.dialect.digits import U8, put_bytes, put_int, put_volume
from klinehub.dialect.render import put_price
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import (
    CLOSE,
    HIGH,
    LOW,
    OPEN,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    VOLUME,
    bar_index,
    bar_open,
)

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

EVENT_BYTES: Final = 640
# Columns of a stream's numbers: the bounds of its three pieces, decimals, length and offset of its bars,
# whether a zero is printed bare, and whether there are trade ids.
_A, _B, _C, _END, PRICE, BASE, MONEY, LENGTH, OFFSET, BARE, IDS, COLUMNS = range(12)


def _bytes(text: str) -> U8:
    return np.frombuffer(text.encode(), np.uint8).copy()


_CLOSE_TIME: Final = _bytes(',"T":')
_LAST_ID: Final = _bytes(',"L":')
_FIELDS: Final = np.array([_bytes(f',"{name}":') for name in "ochlvnxqVQ"])
_PRICES_OUT: Final = np.array([OPEN, CLOSE, HIGH, LOW])
_TRUE, _FALSE = _bytes("true"), _bytes("false")
_END_OF_EVENT: Final = _bytes(',"B":"0"}}')
# A simulated market's trade ids are made from the minute, since its truth holds no single trades.
IDS_PER_MINUTE: Final = 100_000


class Stencil(NamedTuple):
    """The constant pieces of one stream's events and the numbers needed to fill them."""

    first: bytes
    second: bytes
    third: bytes
    decimals: tuple[int, int, int]
    timeframe: Timeframe
    bare_zero: bool = True
    ids: bool = True


def kline_stencil(
    listing: Listing,
    decimals: tuple[int, int, int],
    timeframe: Timeframe,
    *,
    bare_zero: bool = True,
    ids: bool = True,
) -> Stencil:
    """Cut the event of `<symbol>@kline_<interval>`; without *ids* it tells of no trade ids."""
    name = listing.symbol
    return Stencil(
        b'{"e":"kline","E":',
        f',"s":"{name}","k":{{"t":'.encode(),
        f',"s":"{name}","i":"{timeframe.name}","f":'.encode(),
        decimals,
        timeframe,
        bare_zero,
        ids,
    )


def continuous_stencil(
    listing: Listing, decimals: tuple[int, int, int], timeframe: Timeframe, *, ids: bool = True
) -> Stencil:
    """Cut the event of `<pair>_<contract type>@continuousKline_<interval>`, whose bar names no symbol."""
    return Stencil(
        b'{"e":"continuous_kline","E":',
        f',"ps":"{listing.pair}","ct":"{listing.contract_type}","k":{{"t":'.encode(),
        f',"i":"{timeframe.name}","f":'.encode(),
        decimals,
        timeframe,
        ids=ids,
    )


class Sheet:
    """The stencils of all kline streams in arrays that a kernel can read; grows by doubling."""

    def __init__(self) -> None:
        self.size = 0
        self.numbers = np.zeros((64, COLUMNS), np.int64)
        self.pool = np.zeros(4096, np.uint8)
        self._used = 0

    def add(self, stencil: Stencil) -> int:
        """Keep a stencil; gives its line."""
        pieces = (stencil.first, stencil.second, stencil.third)
        text = b"".join(pieces)
        while self._used + len(text) > len(self.pool):
            self.pool = np.concatenate((self.pool, np.zeros_like(self.pool)))
        if self.size == len(self.numbers):
            self.numbers = np.concatenate((self.numbers, np.zeros_like(self.numbers)))
        cuts = np.cumsum([self._used, *map(len, pieces)])
        self.pool[self._used : cuts[-1]] = np.frombuffer(text, np.uint8)
        frame = stencil.timeframe
        period = (frame.milliseconds, frame.offset)
        self.numbers[self.size] = (*cuts, *stencil.decimals, *period, stencil.bare_zero, stencil.ids)
        self._used = int(cuts[-1])
        self.size += 1
        return self.size - 1


@njit(cache=True, nogil=True)
def _put_event(
    buffer: U8, at: int, pool: U8, spec: I64, word: I64, price: F64, event: int, closed: int
) -> int:
    """Print one event; trade-less bars, and all where there are no trade ids, have -1 for both."""
    at = put_bytes(buffer, at, pool[spec[_A] : spec[_B]])
    at = put_int(buffer, at, event)
    at = put_bytes(buffer, at, pool[spec[_B] : spec[_C]])
    opens = word[OPEN_TIME]
    at = put_int(buffer, at, opens)
    at = put_bytes(buffer, at, _CLOSE_TIME)
    index = bar_index(opens, spec[LENGTH], spec[OFFSET])
    at = put_int(buffer, at, bar_open(index + 1, spec[LENGTH], spec[OFFSET]) - 1)
    at = put_bytes(buffer, at, pool[spec[_C] : spec[_END]])
    trades = word[TRADES]
    first = opens // 60_000 * IDS_PER_MINUTE if trades > 0 and spec[IDS] == 1 else -1
    at = put_int(buffer, at, first)
    at = put_bytes(buffer, at, _LAST_ID)
    at = put_int(buffer, at, first + trades - 1 if first >= 0 else -1)
    for w in range(4):
        at = put_bytes(buffer, at, _FIELDS[w])
        at = put_price(buffer, at, price[_PRICES_OUT[w]], spec[PRICE])
    at = put_bytes(buffer, at, _FIELDS[4])
    at = put_volume(buffer, at, word[VOLUME], spec[BASE], spec[BARE])
    at = put_bytes(buffer, at, _FIELDS[5])
    at = put_int(buffer, at, trades)
    at = put_bytes(buffer, at, _FIELDS[6])
    at = put_bytes(buffer, at, _TRUE if closed == 1 else _FALSE)
    at = put_bytes(buffer, at, _FIELDS[7])
    at = put_volume(buffer, at, word[QUOTE], spec[MONEY], spec[BARE])
    at = put_bytes(buffer, at, _FIELDS[8])
    at = put_volume(buffer, at, word[TAKER_BASE], spec[BASE], spec[BARE])
    at = put_bytes(buffer, at, _FIELDS[9])
    at = put_volume(buffer, at, word[TAKER_QUOTE], spec[MONEY], spec[BARE])
    return put_bytes(buffer, at, _END_OF_EVENT)


@njit(cache=True, nogil=True)
def _put_events(
    pool: U8,
    numbers: I64,
    lines: I64,
    words: I64,
    prices: F64,
    event: int,
    closed: int,
    buffer: U8,
    cuts: I64,
) -> None:
    """Print an event for each of *lines*; event j lies at buffer[cuts[j]:cuts[j + 1]]."""
    cuts[0] = 0
    for j in range(lines.size):
        spec = numbers[lines[j]]
        cuts[j + 1] = _put_event(buffer, cuts[j], pool, spec, words[j], prices[j], event, closed)


class Events(NamedTuple):
    """Rendered payloads: number j belongs to line lines[j] and lies at buffer[cuts[j]:cuts[j + 1]]."""

    lines: I64
    buffer: U8
    cuts: I64


def kline_events(sheet: Sheet, lines: I64, words: I64, event: int, *, closed: bool) -> Events:
    """Render an event for each line, whose exact rows are *words* (int64 view), at exchange time *event*."""
    buffer, cuts = np.empty(len(lines) * EVENT_BYTES, np.uint8), np.empty(len(lines) + 1, np.int64)
    _put_events(
        sheet.pool, sheet.numbers, lines, words, words.view(np.float64), event, int(closed), buffer, cuts
    )
    return Events(lines, buffer, cuts)
