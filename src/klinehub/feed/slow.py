"""The slow path: frames that the compiled parser leaves alone, read by msgspec and Decimal."""

from decimal import Decimal, InvalidOperation

import msgspec
import numpy as np

from klinehub.domain.kline import Scale
from klinehub.errors import DataError
from klinehub.feed.body import whole
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
    x: bool


class WireEvent(msgspec.Struct, frozen=True, gc=False):
    """A kline event; other events have no `k`."""

    e: str = ""
    E: int = 0
    s: str = ""
    k: WireBar | None = None
    ps: str = ""
    ct: str = ""
    cs: str = ""


class _Combined(msgspec.Struct, frozen=True, gc=False):
    data: msgspec.Raw = msgspec.Raw()


_combined = msgspec.json.Decoder(_Combined).decode
_event = msgspec.json.Decoder(WireEvent, strict=False).decode


def read_event(frame: bytes) -> WireEvent | None:
    """Read any single event, raw or combined; None for arrays and control answers.

    Raises DataError when the frame is not valid JSON or a kline lacks a field.
    """
    try:
        data = bytes(_combined(frame).data) or frame
        if data[:1] != b"{":
            return None
        event = _event(data)
    except msgspec.DecodeError as exc:
        raise DataError(
            f"A frame could not be read ({exc}); it begins {frame[:60]!r}. It is set aside."
        ) from exc
    return event if event.e else None


def merge_slowly(ring: Ring, event: WireEvent, now: int, listened: frozenset[str]) -> I64:
    """Merge one kline event of any form into the ring; gives the reports as `ingest` does.

    Raises DataError for numbers that are none, not finite, negative or too large.
    """
    bar = event.k
    if bar is None or bar.s not in ring.rows or bar.i not in listened:
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
    try:
        prices = [float(text) for text in (bar.o, bar.h, bar.l, bar.c)]
        volumes = [Decimal(text) for text in (bar.v, bar.V, bar.q, bar.Q)]
    except (ValueError, InvalidOperation) as exc:
        raise DataError(f"{bar.s} {bar.i} {bar.t}: not a number ({exc}); the kline is set aside.") from exc
    if not all(np.isfinite(prices)) or not all(v.is_finite() for v in volumes) or bar.n < 0 or bar.t < 0:
        raise DataError(
            f"{bar.s} {bar.i} {bar.t}: a number is not finite or negative; the kline is set aside."
        )
    needed = Scale(max(_places(t) for t in (bar.o, bar.h, bar.l, bar.c)), *_volume_places(volumes))
    if any(new > old for new, old in zip(needed, ring.scale(row), strict=True)):
        ring.rescale(row, needed)
    scale = ring.scale(row)
    words = np.zeros(EVENT_WORDS, np.int64)
    words.view(np.float64)[[OPEN, HIGH, LOW, CLOSE]] = prices
    words[[VOLUME, TAKER_BASE]] = [whole(v, scale.base) for v in volumes[:2]]
    words[[QUOTE, TAKER_QUOTE]] = [whole(v, scale.quote) for v in volumes[2:]]
    words[[OPEN_TIME, TRADES, CLOSED_AT, EVENT_AT]] = (bar.t, bar.n, bar.x, event.E)
    words[[ROW_AT, TIMEFRAME_AT]] = (row, ring.number[bar.i])
    words[[PRICE_DECIMALS, BASE_DECIMALS, QUOTE_DECIMALS]] = scale
    return words


def _places(text: str) -> int:
    """Count the decimals of a plain numeral; an exponent's are those of its plain form."""
    return max(0, -int(Decimal(text).as_tuple().exponent))


def _volume_places(volumes: list[Decimal]) -> tuple[int, int]:
    """Give the decimals of the base and of the quote volumes, zeros left out."""
    places = [max(0, -int(v.as_tuple().exponent)) if v else 0 for v in volumes]
    return max(places[:2]), max(places[2:])
