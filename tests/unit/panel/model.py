"""A slow, plain model of bars, for tests to hold the panel against: integers and fractions only."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import I64

SCALE: Final = Scale(2, 3, 5)


class Bar(NamedTuple):
    """A bar with prices in hundredths and volumes as mantissas of `SCALE`."""

    open_time: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trades: int
    taker_base: int
    taker_quote: int

    @property
    def row(self) -> tuple[int | float, ...]:
        """The bar as a line of dtype ROW."""
        prices = (float(Fraction(ticks, 10**SCALE.price)) for ticks in self[1:5])
        return (self.open_time, *prices, *self[5:])


def exact(bars: Sequence[Bar], scale: Scale = SCALE) -> Exact:
    """Give bars in the exact form."""
    return Exact(np.array([bar.row for bar in bars], ROW), scale)


def words(bar: Bar) -> I64:
    """Give a bar's ten words."""
    return exact([bar]).rows.view(np.int64)


def roll_up(parts: Iterable[Bar], timeframe: Timeframe) -> Bar:
    """Aggregate the parts of one larger bar by the law measured on recordings.

    A trade-less part gives nothing to the prices; a bar of nothing else is flat at the last close.
    """
    parts = list(parts)
    traded = [bar for bar in parts if bar.trades or bar.volume]
    told = traded or parts[-1:]
    sums = (sum(bar[word] for bar in parts) for word in range(5, 10))
    return Bar(
        timeframe.open_time(timeframe.index(parts[0].open_time)),
        told[0].open,
        max(bar.high for bar in told),
        min(bar.low for bar in told),
        told[-1].close,
        *sums,
    )


def market(timeframe: Timeframe, first: int, count: int, seed: int, *, quiet: float = 0.3) -> list[Bar]:
    """Draw *count* bars from index *first*; a share of *quiet* is trade-less and flat at the last close."""
    rng = np.random.default_rng(seed)
    last = int(rng.integers(1, 10**6))
    bars = []
    for index in range(first, first + count):
        opened = timeframe.open_time(index)
        if rng.random() < quiet:
            bars.append(Bar(opened, last, last, last, last, 0, 0, 0, 0, 0))
            continue
        prices = [int(p) for p in rng.integers(1, 10**6, 4)]
        volume, quote, trades = (int(n) for n in rng.integers(1, 10**15, 3))
        taker = (int(rng.integers(0, volume + 1)), int(rng.integers(0, quote + 1)))
        bars.append(
            Bar(opened, prices[0], max(prices), min(prices), prices[1], volume, quote, trades, *taker),
        )
        last = prices[1]
    return bars


def forming(bar: Bar, share: Fraction, last: int) -> Bar:
    """Give what a bar may have looked like when *share* of it was over; *last* is the price before it."""
    part = [int(n * share) for n in bar[5:]]
    if part[2] == 0:
        return Bar(bar.open_time, last, last, last, last, 0, 0, 0, 0, 0)
    middle = bar.low + int((bar.high - bar.low) * share)
    return Bar(bar.open_time, bar.open, max(bar.open, middle), min(bar.open, middle), middle, *part)
