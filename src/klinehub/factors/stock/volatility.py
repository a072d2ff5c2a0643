"""Volatility: how much the price moves, and whether it moves more than before."""

from math import sqrt
from typing import Final

from klinehub.factors.define import Bar, State, factor
from klinehub.factors.lanes import choose
from klinehub.factors.steps import (
    atr,
    atr_bars,
    before,
    in_ranges,
    kept,
    length,
    log_ratio,
    moments,
    ratio,
    returns,
    total,
    window_bars,
)

FAMILY: Final = "volatility"
BOLLINGER: Final = "Bollinger bands with the population's deviation, as TA-Lib's BBANDS"
PER_BAR: Final = "share of the price per bar"
LN2: Final = 0.6931471805599453


@factor(
    state=3,
    warmup=atr_bars,
    family=FAMILY,
    formula="100 * ATR(n) / close",
    unit="percent of the price",
    span="0 and above, mostly 0.1 to 5",
    source="Wilder, New Concepts in Technical Trading Systems (1978), as TA-Lib's NATR",
)
def atr_percent(state: State, high: Bar, low: Bar, close: Bar, n: int = 14) -> float:
    """Average true range.

    0.0 where the price never moved.
    """
    return 100.0 * (atr(state, 0, high, low, close, n) / close)


@factor(
    state=lambda n, _width: kept(n, 2),
    warmup=lambda n, _width: window_bars(n, 2),
    family=FAMILY,
    formula="(close - lower) / (upper - lower), bands at SMA(n) -+ width * deviation of n closes",
    unit="width of the bands",
    span="unbounded, mostly 0 to 1; beyond is outside of the bands",
    source=BOLLINGER,
)
def bollinger_b(state: State, close: Bar, n: int = 20, width: float = 2.0) -> float:
    """Bollinger %B.

    0.5 where the price did not move.
    """
    mean, square = moments(state, 0, close, n)
    return 0.5 + ratio(close - mean, 2.0 * width * sqrt(square / n), 0.0)


@factor(
    state=lambda n, _width: kept(n, 2),
    warmup=lambda n, _width: window_bars(n, 2),
    family=FAMILY,
    formula="(upper - lower) / SMA(n), bands at SMA(n) -+ width * deviation of n closes",
    unit="share of the price",
    span="0 and above, mostly 0.002 to 0.2",
    source=BOLLINGER,
)
def bollinger_width(state: State, close: Bar, n: int = 20, width: float = 2.0) -> float:
    """Bollinger bandwidth.

    0.0 where the price did not move.
    """
    mean, square = moments(state, 0, close, n)
    return 2.0 * width * sqrt(square / n) / mean


@factor(
    state=lambda n, _width, _reach: 3 + kept(n, 2),
    warmup=lambda n, _width, _reach: max(window_bars(n, 2), atr_bars(n)),
    family=FAMILY,
    formula="width * deviation of n closes / (reach * ATR(n)): width of the Bollinger bands over the Keltner "
    "channel's",
    unit="ratio",
    span="0 and above, mostly 0.3 to 3; below 1 is a squeeze",
    source="Carter, Mastering the Trade (2005); Wilder's ATR",
)
def keltner_squeeze(
    state: State, high: Bar, low: Bar, close: Bar, n: int = 20, width: float = 2.0, reach: float = 1.5
) -> float:
    """Bollinger width over Keltner width.

    0.0 where the market stands still: nothing is more squeezed.
    """
    unit = atr(state, 0, high, low, close, n)
    _, square = moments(state, 3, close, n)
    return in_ranges(width * sqrt(square / n), reach * unit, close)


@factor(
    state=lambda n: 1 + kept(n, 1),
    warmup=length,
    family=FAMILY,
    formula="sqrt(mean of n squared returns), return = close / close before - 1",
    unit=PER_BAR,
    span="0 and above, mostly 0.0005 to 0.05",
    source="realised volatility around zero, of simple instead of logarithmic returns",
)
def realised(state: State, close: Bar, n: int = 20) -> float:
    """Realised volatility.

    0.0 where the price did not move.
    """
    step = returns(state, 0, close)
    return sqrt(total(state, 1, step * step, n) / n)


@factor(
    state=lambda n: kept(n, 1),
    warmup=window_bars,
    family=FAMILY,
    formula="sqrt(mean of n values of ln(high / low)² / (4 ln 2))",
    unit=PER_BAR,
    span="0 and above, mostly 0.0005 to 0.05",
    source="Parkinson, The Extreme Value Method for Estimating the Variance of the Rate of Return (1980)",
)
def parkinson(state: State, high: Bar, low: Bar, n: int = 20) -> float:
    """Parkinson volatility, of highs and lows.

    0.0 where the price did not move.
    """
    span = log_ratio(high, low)
    return sqrt(total(state, 0, span * span, n) / (4.0 * LN2 * n))


@factor(
    state=lambda n: kept(n, 1),
    warmup=window_bars,
    family=FAMILY,
    formula="sqrt(mean of n values of ln(high / low)² / 2 - (2 ln 2 - 1) * ln(close / open)²)",
    unit=PER_BAR,
    span="0 and above, mostly 0.0005 to 0.05",
    source="Garman and Klass, On the Estimation of Security Price Volatilities (1980)",
)
def garman_klass(state: State, open_: Bar, high: Bar, low: Bar, close: Bar, n: int = 20) -> float:
    """Garman-Klass volatility, of whole bars.

    0.0 where the price did not move.
    """
    span, step = log_ratio(high, low), log_ratio(close, open_)
    square = 0.5 * (span * span) - (2.0 * LN2 - 1.0) * (step * step)
    return sqrt(total(state, 0, max(square, 0.0), n) / n)


@factor(
    state=lambda n, span: 1 + kept(n, 1) + kept(span, 2),
    warmup=lambda n, span: length(n) + window_bars(span, 2),
    family=FAMILY,
    formula="deviation / mean of the last span values of realised(n)",
    unit="ratio",
    span="0 and above, mostly 0.05 to 1",
    source="coefficient of variation of the realised volatility",
)
def volatility_of_volatility(state: State, close: Bar, n: int = 20, span: int = 96) -> float:
    """Volatility of volatility.

    0.0 where the price did not move.
    """
    step = returns(state, 0, close)
    level = sqrt(total(state, 1, step * step, n) / n)
    mean, square = moments(state, 1 + kept(n, 1), level, span)
    return ratio(sqrt(square / span), mean, 0.0)


@factor(
    state=lambda fast, slow: 1 + kept(fast, 1) + kept(slow, 1) + kept(fast, 1),
    warmup=lambda fast, slow: max(length(fast), length(slow)),
    family=FAMILY,
    formula="max(0, rv(fast) / rv(slow) - 1) * sign(close - close fast bars ago), rv = rms of returns",
    unit="ratio less one",
    span="-1.45 to 1.45; 0 while volatility contracts",
    source="realised volatility of simple returns",
)
def volatility(state: State, close: Bar, fast: int = 20, slow: int = 120) -> float:
    """Volatility expansion with direction.

    0.0 where the price did not move, or is what it was.
    """
    step = returns(state, 0, close)
    short = total(state, 1, step * step, fast)
    long = total(state, 1 + kept(fast, 1), step * step, slow)
    move = close - before(state, 1 + kept(fast, 1) + kept(slow, 1), close, fast)
    expansion = max(0.0, sqrt(ratio(short * slow, long * fast, 0.0)) - 1.0)
    return choose(move > 0.0, expansion, choose(move < 0.0, -expansion, 0.0))
