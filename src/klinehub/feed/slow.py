"""The slow path: frames that the compiled parser leaves alone, read by msgspec and Decimal."""

from decimal import Decimal

import msgspec
import numpy as np

from klinehub.domain.kline import Scale
from klinehub.errors import DataError
from klinehub.feed.body import MANTISSA_LIMIT, nearest_float, number, whole
from klinehub.feed.wire import (
    BASE_DECIMALS,
    CLOSED_AT,
    EVENT_AT,
    EVENT_WORDS,
    PRICE_DECIMALS,
    QUOTE_DECIMALS,
    ROW_AT,
    TIMEFRAME_AT,
    apply,
    fit,
)
from klinehub.panel.memory import (
    CLOSE,
    HIGH,
    I64,
    LOW,
    OPEN,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    VOLUME,
)
from klinehub.panel.ring import Ring


class WireBar(msgspec.Struct, frozen=True, gc=False):
    """The `k` object of a kline event, with our fields only."""

    t: int
    s: str
    i: str
    o: str
    h: str
    l: str  # noqa: E741 - the wire's name
    c: str
    v: str
    q: str
    V: str
    Q: str
    n: int
    # Nothing but `true` proves a close: a 1 or a "true" is no word of the exchange.
    x: bool


class WireEvent(msgspec.Struct, frozen=True, gc=False):
    """A kline event; others have no `k`, or not of these fields, and a refusal only has its `error`."""

    e: str = ""
    E: int = -1
    s: str = ""
    k: WireBar | None = None
    ps: str = ""
    ct: str = ""
    cs: str = ""
    error: object = None


class _Combined(msgspec.Struct, frozen=True, gc=False):
    data: msgspec.Raw = msgspec.Raw()


_combined = msgspec.json.Decoder(_Combined).decode
_event = msgspec.json.Decoder(WireEvent).decode


def read_event(frame: bytes) -> WireEvent | None:
    """Read any single event, raw or combined; None for arrays and for the answers to our own messages.

    Raises DataError when the frame is not valid JSON, a kline lacks a field or a message was refused.
    """
    try:
        frame.decode()  # what msgspec skips it does not look at
        data = (
            frame.lstrip() if frame.lstrip()[:1] == b"[" else bytes(_combined(frame).data) or frame.lstrip()
        )
        if data[:1] != b"{":
            return None
        event = _event(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise DataError(
            f"A frame could not be read ({exc}); it begins {frame[:60]!r}. It is set aside."
        ) from exc
    if event.error is not None:
        raise DataError(f"The exchange refused a message: {frame[:200]!r}.")
    return event if event.e else None


def merge_slowly(ring: Ring, event: WireEvent, now: int, listened: frozenset[str]) -> I64:
    """Merge one kline event of any form into the ring; gives the reports as `ingest` does.

    Raises DataError for numbers that are none, not finite, negative or too large.
    """
    bar = event.k
    if bar is None or event.e != "kline" or bar.s not in ring.rows or bar.i not in listened:
        return np.empty((0, 5), np.int64)
    words = _words(ring, event, bar)
    flags = fit(ring.memory, words, words.view(np.float64))
    if flags:
        raise DataError(f"{bar.s} {bar.i} {bar.t}: the kline contradicts itself; it is set aside.")
    timeframes = len(ring.timeframes)
    closed = np.full(timeframes, -1, np.int64)
    reports = np.zeros((timeframes + 1, 5), np.int64)
    count = apply(ring.memory, words, now, 0, closed, reports, 0)
    return reports[:count]


def _words(ring: Ring, event: WireEvent, bar: WireBar) -> I64:
    """Turn a decoded bar into event words, carrying more decimals in the ring if it needs them."""
    row = ring.rows[bar.s]
    prices = [number(text) for text in (bar.o, bar.h, bar.l, bar.c)]
    volumes = [number(text) for text in (bar.v, bar.V, bar.q, bar.Q)]
    if not all(0 <= n < MANTISSA_LIMIT for n in (bar.t, bar.n, event.E)):
        raise DataError(f"{bar.s} {bar.i}: a time or count does not fit 64 bits; the kline is set aside.")
    needed = Scale(max(_places(price) for price in prices), *_volume_places(volumes))
    if any(new > old for new, old in zip(needed, ring.scale(row), strict=True)):
        ring.rescale(row, needed)
    scale = ring.scale(row)
    words = np.zeros(EVENT_WORDS, np.int64)
    words.view(np.float64)[[OPEN, HIGH, LOW, CLOSE]] = [nearest_float(price) for price in prices]
    words[[VOLUME, TAKER_BASE]] = [whole(v, scale.base) for v in volumes[:2]]
    words[[QUOTE, TAKER_QUOTE]] = [whole(v, scale.quote) for v in volumes[2:]]
    words[[OPEN_TIME, TRADES, CLOSED_AT, EVENT_AT]] = (bar.t, bar.n, bar.x, event.E)
    words[[ROW_AT, TIMEFRAME_AT]] = (row, ring.number[bar.i])
    words[[PRICE_DECIMALS, BASE_DECIMALS, QUOTE_DECIMALS]] = scale
    return words


def _places(value: Decimal) -> int:
    """Count the decimals of a numeral; an exponent's are those of its plain form."""
    return max(0, -int(value.as_tuple().exponent))


def _volume_places(volumes: list[Decimal]) -> tuple[int, int]:
    """Give the decimals of the base and of the quote volumes, zeros left out."""
    places = [_places(v) if v else 0 for v in volumes]
    return max(places[:2]), max(places[2:])
