"""Momentum: how far the price went, and how one-sided its way was."""

from math import sqrt
from typing import Final

from klinehub.factors.define import Bar, State, factor
from klinehub.factors.lanes import choose, counted
from klinehub.factors.steps import (
    ROUNDING,
    atr,
    atr_bars,
    bars,
    before,
    channel,
    ema,
    ema_bars,
    gains,
    in_ranges,
    kept,
    kernel,
    length,
    ratio,
    total,
    totals,
    true_range,
    wilder_bars,
    window_bars,
    within,
)

FAMILY: Final = "momentum"
POINTS: Final = "points"


@factor(
    state=lambda n: kept(n, 1),
    warmup=length,
    family=FAMILY,
    formula="(close - close n bars ago) / close n bars ago",
    unit="share of the price",
    span="above -1, mostly -0.1 to 0.1",
    source="rate of change, as TA-Lib's ROCP",
)
def roc(state: State, close: Bar, n: int = 10) -> float:
    """Rate of change.

    0.0 where the price is what it was.
    """
    old = before(state, 0, close, n)
    return (close - old) / old


@factor(
    state=lambda n, _span: 3 + kept(n, 1),
    warmup=lambda n, span: max(length(n), atr_bars(span)),
    family=FAMILY,
    formula="(close - close n bars ago) / (ATR(span) * sqrt(n))",
    unit="ATR times the root of the bars",
    span="unbounded, mostly -2 to 2",
    source="time-series momentum in units of risk; Wilder's ATR as TA-Lib's",
)
def momentum(state: State, high: Bar, low: Bar, close: Bar, n: int = 24, span: int = 14) -> float:
    """Momentum in units of risk.

    0.0 where the market stands still.
    """
    unit = atr(state, 0, high, low, close, span)
    return in_ranges(close - before(state, 3, close, n), unit * sqrt(float(n)), close)


@factor(
    state=4,
    warmup=lambda n: wilder_bars(n) + 1,
    family=FAMILY,
    formula="100 * U / (U + D), Wilder's averages over n of the rises and of the falls",
    unit=POINTS,
    span="0 to 100; 50 where the price never moved",
    source="Wilder, New Concepts in Technical Trading Systems (1978), as TA-Lib's RSI",
)
def rsi(state: State, close: Bar, n: int = 14) -> float:
    """Relative strength index.

    50.0 where the price never moved (TA-Lib: 0).
    """
    up, down = gains(state, 0, close, n)
    return 100.0 * ratio(up, up + down, 0.5)


@within
def _smooth_place(state: State, at: int, high: float, low: float, close: float, n: int, smooth: int) -> float:
    """Give the mean of *smooth* places in the channel of n bars, 0 to 100; kept(n, 2) + kept(smooth, 1)."""
    top, bottom = channel(state, at, high, low, n)
    place = 100.0 * ratio(close - bottom, top - bottom, 0.5)
    return total(state, at + kept(n, 2), place, smooth) / smooth


@factor(
    state=lambda n, smooth: kept(n, 2) + kept(smooth, 1),
    warmup=lambda n, smooth: window_bars(n) + window_bars(smooth),
    family=FAMILY,
    formula="mean over smooth bars of 100 * (close - lowest) / (highest - lowest) of n bars",
    unit=POINTS,
    span="0 to 100; 50 where the price did not move",
    source="Lane's stochastic oscillator, as slow %K of TA-Lib's STOCH with simple averages",
)
def stochastic_k(state: State, high: Bar, low: Bar, close: Bar, n: int = 14, smooth: int = 3) -> float:
    """Stochastic %K.

    A bar whose channel has no width counts as 50.0 (TA-Lib: 0).
    """
    return _smooth_place(state, 0, high, low, close, n, smooth)


@factor(
    state=lambda n, smooth, signal: kept(n, 2) + kept(smooth, 1) + kept(signal, 1),
    warmup=lambda n, smooth, signal: window_bars(n) + window_bars(smooth) + window_bars(signal),
    family=FAMILY,
    formula="mean over signal bars of stochastic_k(n, smooth)",
    unit=POINTS,
    span="0 to 100; 50 where the price did not move",
    source="Lane's stochastic oscillator, as slow %D of TA-Lib's STOCH with simple averages",
)
def stochastic_d(
    state: State, high: Bar, low: Bar, close: Bar, n: int = 14, smooth: int = 3, signal: int = 3
) -> float:
    """Stochastic %D.

    A bar whose channel has no width counts as 50.0 (TA-Lib: 0).
    """
    place = _smooth_place(state, 0, high, low, close, n, smooth)
    return total(state, kept(n, 2) + kept(smooth, 1), place, signal) / signal


@factor(
    state=lambda _n, span, smooth: 4 + kept(span, 2) + kept(smooth, 1),
    warmup=lambda n, span, smooth: wilder_bars(n) + 1 + window_bars(span) + window_bars(smooth),
    family=FAMILY,
    formula="mean over smooth bars of 100 * (RSI(n) - lowest) / (highest - lowest) of span bars of RSI(n)",
    unit=POINTS,
    span="0 to 100; 50 where the RSI did not move",
    source="Chande and Kroll (1994), as TA-Lib's STOCHRSI with a simple average",
)
def stoch_rsi(state: State, close: Bar, n: int = 14, span: int = 14, smooth: int = 3) -> float:
    """Stochastic of the relative strength index.

    An RSI that moved by rounding only, as where the price stands still, counts as 50.0.
    """
    up, down = gains(state, 0, close, n)
    strength = 100.0 * ratio(up, up + down, 0.5)
    top, bottom = channel(state, 4, strength, strength, span)
    width = top - bottom
    place = choose(width <= 100.0 * ROUNDING, 50.0, 100.0 * ratio(strength - bottom, width, 0.5))
    return total(state, 4 + kept(span, 2), place, smooth) / smooth


@kernel
def _from_mean(state: State, at: int, x: float, n: int) -> tuple[float, float]:
    """Give x less the mean of the last n values, and their mean distance to it; 1 + n numbers.

    In distances to x, so that equal values give zeros. Four sums side by side were measured to be no faster.
    """
    place = int(counted(state, at))
    state[at + 1 + place] = x
    state[at] = place + 1.0 if place + 1 < n else 0.0
    mean = distance = 0.0
    for j in range(at + 1, at + 1 + n):
        mean += state[j] - x
    mean /= n
    for j in range(at + 1, at + 1 + n):
        distance += abs(state[j] - x - mean)
    return -mean, distance / n


@factor(
    state=lambda n: 1 + n,
    warmup=window_bars,
    family=FAMILY,
    formula="(p - SMA(n) of p) / (0.015 * mean distance of n values to it), p = (high + low + close) / 3",
    unit=POINTS,
    span="unbounded, mostly -200 to 200",
    source="Lambert (1980), as TA-Lib's CCI",
)
def cci(state: State, high: Bar, low: Bar, close: Bar, n: int = 20) -> float:
    """Commodity channel index.

    0.0 where the price did not move.
    """
    apart, typical = _from_mean(state, 0, (high + low + close) / 3.0, n)
    return ratio(apart, 0.015 * typical, 0.0)


@factor(
    state=lambda n: kept(n, 2),
    warmup=window_bars,
    family=FAMILY,
    formula="-100 * (highest - close) / (highest - lowest) of n bars",
    unit=POINTS,
    span="-100 to 0; -50 where the price did not move",
    source="Williams (1973), as TA-Lib's WILLR",
)
def williams_r(state: State, high: Bar, low: Bar, close: Bar, n: int = 14) -> float:
    """Williams %R.

    -50.0 where the channel has no width (TA-Lib: 0).
    """
    top, bottom = channel(state, 0, high, low, n)
    return -100.0 * ratio(top - close, top - bottom, 0.5)


@factor(
    state=10,
    warmup=lambda slow, fast: ema_bars(slow, fast) + 1,
    family=FAMILY,
    formula="100 * EMA(fast) of EMA(slow) of the changes / the same of their sizes",
    unit=POINTS,
    span="-100 to 100",
    source="Blau (1991); averages started from their first means",
)
def tsi(state: State, close: Bar, slow: int = 25, fast: int = 13) -> float:
    """True strength index.

    0.0 where the price never moved.
    """
    last, state[0] = state[0], close
    if bars(state, 9) == 0.0:
        return 0.0
    count = counted(state, 1)
    move, size = ema(state, 1, close - last, slow), ema(state, 3, abs(close - last), slow)
    if count < slow - 1.0:
        return 0.0
    return 100.0 * ratio(ema(state, 5, move, fast), ema(state, 7, size, fast), 0.0)


@factor(
    state=lambda n: 1 + kept(n, 2),
    warmup=length,
    family=FAMILY,
    formula="100 * (U - D) / (U + D), sums over n of the rises and of the falls",
    unit=POINTS,
    span="-100 to 100",
    source="Chande (1994). TA-Lib's CMO takes Wilder's averages instead, which is 2 * RSI - 100",
)
def cmo(state: State, close: Bar, n: int = 14) -> float:
    """Chande momentum oscillator.

    0.0 where the price did not move.
    """
    last = choose(state[0] == 0.0, close, state[0])
    state[0] = close
    up, down = totals(state, 1, max(close - last, 0.0), max(last - close, 0.0), n)
    return 100.0 * ratio(up - down, up + down, 0.0)


@within
def _pressure(state: State, at: int, bought: float, span: float, n: int) -> float:
    """Give the share of the true ranges of n bars that was bought; kept(n, 2) numbers."""
    part, whole = totals(state, at, bought, span, n)
    return ratio(part, whole, 0.5)


@factor(
    state=lambda fast, middle, slow: 1 + kept(fast, 2) + kept(middle, 2) + kept(slow, 2),
    warmup=lambda fast, middle, slow: max(length(fast), length(middle), length(slow)),
    family=FAMILY,
    formula="100 * (4 * P(fast) + 2 * P(middle) + P(slow)) / 7, P(n) = sum of (close - true low) over sum of "
    "true ranges of n bars",
    unit=POINTS,
    span="0 to 100; 50 where the price did not move",
    source="Williams (1985), as TA-Lib's ULTOSC",
)
def ultimate_oscillator(
    state: State, high: Bar, low: Bar, close: Bar, fast: int = 7, middle: int = 14, slow: int = 28
) -> float:
    """Ultimate oscillator.

    A window without any range counts as 50.0 (TA-Lib: 0).
    """
    last = choose(state[0] == 0.0, close, state[0])
    state[0] = close
    bought, span = close - min(low, last), true_range(high, low, last)
    one = _pressure(state, 1, bought, span, fast)
    two = _pressure(state, 1 + kept(fast, 2), bought, span, middle)
    three = _pressure(state, 1 + kept(fast, 2) + kept(middle, 2), bought, span, slow)
    return 100.0 * ((4.0 * one + 2.0 * two + three) / 7.0)
