"""Kline frames as the exchange sends them, and odd ones, with what a plain reader makes of each."""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import numpy as np

from klinehub.domain.kline import Scale
from klinehub.domain.timeframe import Timeframe, in_order
from klinehub.panel.memory import I64, U8
from klinehub.panel.ring import Ring

NAMES: Final = ("BTCUSDT", "1000PEPEUSDT", "币安人生USDT", "BTCUSDT_260327")
SCALE: Final = Scale(2, 3, 5)
MINUTES: Final = in_order(["1m", "5m"])
# Where each word of a row comes from: the key, and the decimals that its mantissa has (-1: a price).
PRICES: Final = ((1, "o"), (2, "h"), (3, "l"), (4, "c"))
VOLUMES: Final = ((5, "v", 1), (6, "q", 2), (8, "V", 1), (9, "Q", 2))


def a_ring(
    symbols: Sequence[str] = NAMES,
    scale: Scale = SCALE,
    frames: Sequence[Timeframe] = MINUTES,
    bars: int = 16,
) -> Ring:
    """Make a ring with a row for each symbol."""
    ring = Ring(frames, rows=max(1, len(symbols)), bars=bars)
    for symbol in symbols:
        ring.add(symbol, scale)
    return ring


def packed(frames: Sequence[bytes]) -> tuple[U8, I64, int]:
    """Lay frames end to end as `ingest` takes them."""
    ends = np.cumsum([len(frame) for frame in frames], dtype=np.int64)
    return np.frombuffer(b"".join(frames) + b"}" * 64, np.uint8).copy(), ends, len(frames)


def bar(time: int, *, symbol: str = "BTCUSDT", timeframe: str = "1m", **changes: Any) -> dict[str, Any]:
    """Give the `k` object of a small kline, with changes by key."""
    texts = {"o": "100.50", "c": "101.00", "h": "102.25", "l": "99.75", "v": "12.345", "q": "1240.67250"}
    plain = {
        "t": time,
        "T": time + 59_999,
        "s": symbol,
        "i": timeframe,
        "f": 100,
        "L": 120,
        **texts,
        "n": 21,
        "x": False,
        "V": "6.000",
        "Q": "603.00000",
        "B": "0",
    }
    return plain | changes


def event(k: dict[str, Any], *, at: int | None = None, combined: bool = True) -> bytes:
    """Give a kline event as a frame; *at* is its event time, half a second into the bar by default."""
    body = {"e": "kline", "E": k["t"] + 500 if at is None else at, "s": k["s"], "k": k}
    name = f"{k['s'].lower()}@kline_{k['i']}"
    whole = {"stream": name, "data": body} if combined else body
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


class Told(NamedTuple):
    """A kline event as `json`, `Decimal` and `float` read it, volumes as texts."""

    symbol: str
    timeframe: str
    closed: bool
    event_time: int
    open_time: int
    trades: int
    prices: tuple[float, ...]
    volumes: tuple[Decimal, ...]


def read_plainly(frame: bytes) -> Told | None:
    """Read a kline event the slow, plain way; None when it is none or one of its numbers is none."""
    try:
        whole = json.loads(frame, parse_float=str)
        body = whole.get("data", whole)
        k = body["k"]
        if body["e"] != "kline":
            return None
        prices = tuple(float(k[key]) for _, key in PRICES)
        volumes = tuple(Decimal(k[key]) for _, key, _ in VOLUMES)
        closed = {True: True, False: False, "true": True, "false": False}[k["x"]]
        return Told(k["s"], k["i"], closed, int(body["E"]), int(k["t"]), int(k["n"]), prices, volumes)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation):
        return None


def kept_as(told: Told, scale: Scale) -> tuple[int | float, ...]:
    """Give the row that this event has to become."""
    volume, quote, base_taken, quote_taken = (
        int(value.scaleb(scale[part])) for value, (_, _, part) in zip(told.volumes, VOLUMES, strict=True)
    )
    return (told.open_time, *told.prices, volume, quote, told.trades, base_taken, quote_taken)


def all_rows(ring: Ring) -> dict[tuple[str, str, int], tuple[tuple[int | float, ...], int]]:
    """Give every bar in a ring with its state, by symbol, timeframe and open time."""
    found = {}
    for tf in ring.timeframes:
        for symbol in ring.symbols:
            panel = ring.panel(tf.name)
            rows = panel.exact(symbol, start=0, end=10**12, forming=True).rows.tolist()
            states = panel.klines(symbol, ring.bars, forming=True)
            by_time = dict(zip(states["open_time"].tolist(), states["state"].tolist(), strict=True))
            for row in rows:
                found[symbol, tf.name, row[0]] = (row, by_time.get(row[0], 1))
    return found


def texts(values: Iterable[object]) -> list[str]:
    """Give things as text."""
    return [str(value) for value in values]
