"""A script of kline frames: what an exchange would send over a few minutes, rendered beforehand.

1. The bars are those of the simulated market, each symbol's minute drawn up to a number of moments.
2. The text is written here, digit by digit from integers, and shares no code with the exchange's own.
3. Every `GIANT_EVERY`th symbol trades in so large numbers that float64 could not hold its volumes.
"""

from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import MINUTE, Timeframe, in_order
from klinehub.panel.memory import EXACT
from klinehub.settings import DEFAULT_TIMEFRAMES
from klinehub.sim.market import SLOTS, Instrument, Market
from klinehub.sim.synthetic import synthetic
from klinehub.sim.truth import (
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
    add,
    exact,
)

FRAMES: Final = in_order(DEFAULT_TIMEFRAMES)
GIANT_EVERY: Final = 25
# Larger than 2**53 and still 18 digits, the most that the compiled parser reads.
GIANT: Final = 64 * EXACT
# Bars of history that a forming bar's sum may need, with some to spare.
HISTORY: Final = 70
IDS_PER_MINUTE: Final = 100_000


class History(NamedTuple):
    """The closed bars of one series before the script begins."""

    symbol: str
    timeframe: Timeframe
    exact: Exact


class Frame(NamedTuple):
    """One message: the number of the stream it is of, its event time (ms UTC), and its text."""

    series: int
    time: int
    text: bytes


class Script(NamedTuple):
    """Frames in the order they are sent, the streams they belong to, and the history before *start*."""

    start: int
    streams: tuple[tuple[str, Timeframe], ...]
    symbols: tuple[str, ...]
    histories: tuple[History, ...]
    frames: tuple[Frame, ...]


class _Series:
    """One stream while it is written: the sum of its bar's whole minutes, and what was last told."""

    def __init__(self, market: Market, number: int, i: int, frame: Timeframe, factor: int) -> None:
        self.number, self.i, self.frame, self.factor = number, i, frame, factor
        self.one: Instrument = market.instruments[i]
        self.part: I64 | None = None
        self.told = -1

    def begin(self, market: Market, minute: int) -> None:
        """Take the whole minutes of the bar that is open at *minute*."""
        index = self.frame.index(minute)
        self.part = None
        if self.frame.open_time(index) < minute:
            bars = market.bars(self.i, self.frame, index, index, minute)
            self.part = bars[0] if len(bars) else None
        self.told = -1

    def bar(self, slot: I64, minute: int) -> I64:
        """Give the open bar with the part of the minute that is over."""
        if self.part is None:
            bar = slot.copy()
            bar[OPEN_TIME] = self.frame.open_time(self.frame.index(minute))
        else:
            bar = self.part.copy()
            add(bar, slot)
        return bar


def write(
    seed: int, timeframes: tuple[Timeframe, ...], *, symbols: int, start: int, minutes: int, moments: int
) -> Script:
    """Write *minutes* of frames, each stream told at up to *moments* moments a minute.

    The last minute breaks off half way, so that bars are left forming.
    """
    market = synthetic(symbols, seed, start=start, churn_hours=0)
    rng = np.random.default_rng(seed)
    names = tuple(one.symbol for one in market.listings(start) if one.trading and one.perpetual)[:symbols]
    names = tuple(dict.fromkeys(names))
    factors = {name: _factor(market, name, start) for name in names[::GIANT_EVERY]}
    series = [
        _Series(market, number, market.index[name], tf, factors.get(name, 1))
        for number, (tf, name) in enumerate((tf, name) for tf in timeframes for name in names)
    ]
    frames: list[Frame] = []
    for minute in range(start, start + minutes * MINUTE, MINUTE):
        last = minute + MINUTE == start + minutes * MINUTE
        frames += _minute(market, series, minute, moments, rng, whole=not last)
    return Script(
        start,
        tuple((one.one.symbol, one.frame) for one in series),
        names,
        tuple(_histories(market, names, factors, start)),
        tuple(frames),
    )


def _factor(market: Market, name: str, start: int) -> int:
    """Give what to multiply a symbol's volumes with, so that its hours stay within 18 digits."""
    i = market.index[name]
    one = market.instruments[i]
    hour = start // (60 * MINUTE)
    largest = int(market.coarse(i, hour - 2, hour)[:, QUOTE].max()) * one.tick
    return max(1, GIANT // max(largest, 1))


def _minute(
    market: Market, series: list[_Series], minute: int, moments: int, rng: np.random.Generator, *, whole: bool
) -> list[Frame]:
    """Write one minute, streams in a new random order at each moment; a *whole* minute ends with closes."""
    frames: list[Frame] = []
    inside: dict[int, I64 | None] = {}
    for one in series:
        one.begin(market, minute)
        if one.i not in inside:
            inside[one.i] = market.slots(one.i, minute)
    for moment in range(1, (moments if whole else moments // 2) + 1):
        slot = moment * SLOTS // moments - 1
        over = slot == SLOTS - 1
        event = minute + (slot + 1) * MINUTE // SLOTS
        for number in rng.permutation(len(series)).tolist():
            one, slots = series[number], inside[series[number].i]
            if slots is None:
                continue
            bar = one.bar(slots[slot], minute)
            closed = over and one.frame.open_time(one.frame.index(minute) + 1) == minute + MINUTE
            if bar[TRADES] != one.told or closed:
                one.told = int(bar[TRADES])
                frames.append(Frame(number, event, _text(one, bar.tolist(), event, closed=closed)))
    return frames


def _text(one: _Series, bar: list[int], event: int, *, closed: bool) -> bytes:
    """Print one frame as the exchange does on a combined connection."""
    tick, step, symbol, frame = one.one.tick, one.one.step * one.factor, one.one.symbol, one.frame
    price, base, quote = one.one.scale
    opened, trades = bar[OPEN_TIME], bar[TRADES]
    first = opened // MINUTE * IDS_PER_MINUTE if trades else -1
    last = first + trades - 1 if trades else -1
    prices = ",".join(
        f'"{name}":"{_fixed(bar[word] * tick, price)}"'
        for name, word in (("o", OPEN), ("c", CLOSE), ("h", HIGH), ("l", LOW))
    )
    return (
        f'{{"stream":"{symbol.lower()}@kline_{frame.name}","data":{{"e":"kline","E":{event},"s":"{symbol}","k":'
        f'{{"t":{opened},"T":{frame.close_time(frame.index(opened))},"s":"{symbol}","i":"{frame.name}",'
        f'"f":{first},"L":{last},{prices},"v":"{_volume(bar[VOLUME] * step, base)}","n":{trades},'
        f'"x":{"true" if closed else "false"},"q":"{_volume(bar[QUOTE] * tick * step, quote)}",'
        f'"V":"{_volume(bar[TAKER_BASE] * step, base)}",'
        f'"Q":"{_volume(bar[TAKER_QUOTE] * tick * step, quote)}",'
        f'"B":"0"}}}}}}'
    ).encode()


def _fixed(mantissa: int, decimals: int) -> str:
    digits = str(mantissa).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits


def _volume(mantissa: int, decimals: int) -> str:
    return _fixed(mantissa, decimals) if mantissa else "0"


def _histories(market: Market, names: tuple[str, ...], factors: dict[str, int], start: int) -> list[History]:
    """Give the closed bars before *start* of the default timeframes, giants in their size."""
    found = []
    for name in names:
        i = market.index[name]
        one, factor = market.instruments[i], factors.get(name, 1)
        for frame in FRAMES:
            last = frame.index(start) - 1
            bars = market.bars(i, frame, last - HISTORY + 1, last, start).copy()
            bars[:, [VOLUME, QUOTE, TAKER_BASE, TAKER_QUOTE]] *= factor
            found.append(History(name, frame, exact(bars, one.units, one.scale)))
    return found
