"""The kernels of the stock factors: one window of closed bars in, one number out.

Each kernel is a pure function of the arrays it gets (1-D float64, oldest first, no holes), so a value
never depends on when the program started. Recursive averages restart inside the window with TA-Lib's
seeds. Only + - * / sqrt and comparisons are used, in a fixed order and without fastmath: those are
rounded the same everywhere, so live and replay agree in every bit.

A kernel that gets too few bars gives NaN. A quotient whose divisor is zero (flat prices, no volume) is
0.0: no movement, no opinion.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

Series = npt.NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])

kernel = cast("Callable[[F], F]", njit(cache=True, nogil=True, error_model="numpy"))

# Returns and volumes that differ by less than this share of their size differ by rounding only.
ROUNDING: Final = 1e-12


@kernel
def ema(series: Series, length: int) -> float:
    """Give the exponential average of *series*, started from the mean of its first *length* values."""
    if series.size < length:
        return np.nan
    total = 0.0
    for i in range(length):
        total += series[i]
    value = total / length
    alpha = 2.0 / (length + 1.0)
    for i in range(length, series.size):
        value = (series[i] - value) * alpha + value
    return value


@kernel
def true_range(high: float, low: float, before: float) -> float:
    """Give the span of a bar, counted from the close *before* it where that lies outside."""
    return max(high - low, abs(high - before), abs(low - before))


@kernel
def atr(high: Series, low: Series, close: Series, length: int) -> float:
    """Give Wilder's average true range, started from the mean of the first *length* true ranges."""
    if close.size <= length:
        return np.nan
    value = 0.0
    for i in range(1, length + 1):
        value += true_range(high[i], low[i], close[i - 1])
    value /= length
    for i in range(length + 1, close.size):
        value = (value * (length - 1.0) + true_range(high[i], low[i], close[i - 1])) / length
    return value


@kernel
def macd_histogram(close: Series) -> float:
    """Give MACD(12, 26) less its 9-bar signal line, in price; the fast average starts with the slow one."""
    fast_length, slow_length, signal_length = 12, 26, 9
    if close.size < slow_length + signal_length - 1:
        return np.nan
    slow = ema(close[:slow_length], slow_length)
    fast = ema(close[slow_length - fast_length : slow_length], fast_length)
    line = fast - slow
    signal = line
    for i in range(slow_length, close.size):
        slow = (close[i] - slow) * (2.0 / (slow_length + 1.0)) + slow
        fast = (close[i] - fast) * (2.0 / (fast_length + 1.0)) + fast
        line = fast - slow
        age = i - slow_length + 2
        if age < signal_length:
            signal += line
        elif age == signal_length:
            signal = (signal + line) / signal_length
        else:
            signal = (line - signal) * (2.0 / (signal_length + 1.0)) + signal
    return line - signal


@kernel
def directional(high: Series, low: Series, close: Series, length: int) -> tuple[float, float, float]:
    """Give ADX, DI+ and DI- (each 0 to 100) as Wilder smooths them; NaN below 2 * *length* bars."""
    if close.size < 2 * length:
        return np.nan, np.nan, np.nan
    plus = minus = span = strength = plus_share = minus_share = 0.0
    for i in range(1, close.size):
        if i >= length:
            plus -= plus / length
            minus -= minus / length
            span -= span / length
        up, down = high[i] - high[i - 1], low[i - 1] - low[i]
        if down > 0.0 and down > up:
            minus += down
        elif up > 0.0 and up > down:
            plus += up
        span += true_range(high[i], low[i], close[i - 1])
        if i < length or span <= 0.0 or plus + minus <= 0.0:
            continue
        plus_share, minus_share = 100.0 * (plus / span), 100.0 * (minus / span)
        spread = 100.0 * (abs(minus_share - plus_share) / (minus_share + plus_share))
        if i < 2 * length:
            strength += spread / length
        else:
            strength = (strength * (length - 1.0) + spread) / length
    return strength, plus_share, minus_share


@kernel
def trend(high: Series, low: Series, close: Series) -> float:
    """Give EMA(20) less EMA(50) in units of ATR(14)."""
    unit = atr(high, low, close, 14)
    apart = ema(close, 20) - ema(close, 50)
    return 0.0 if unit == 0.0 else apart / unit


@kernel
def macd(high: Series, low: Series, close: Series) -> float:
    """Give the MACD(12, 26, 9) histogram in units of ATR(14)."""
    unit = atr(high, low, close, 14)
    return 0.0 if unit == 0.0 else macd_histogram(close) / unit


@kernel
def rsi(close: Series) -> float:
    """Give Wilder's RSI(14), 0 to 100; 50 where the price never moved."""
    length = 14
    if close.size <= length:
        return np.nan
    gain = loss = 0.0
    for i in range(1, close.size):
        step = close[i] - close[i - 1]
        if i > length:
            gain *= length - 1.0
            loss *= length - 1.0
        if step > 0.0:
            gain += step
        else:
            loss -= step
        if i >= length:
            gain /= length
            loss /= length
    return 50.0 if gain + loss == 0.0 else 100.0 * (gain / (gain + loss))


@kernel
def adx(high: Series, low: Series, close: Series) -> float:
    """Give ADX(14) times (DI+ - DI-) / (DI+ + DI-): the strength of the trend with its direction."""
    strength, plus, minus = directional(high, low, close, 14)
    return 0.0 if plus + minus == 0.0 else strength * ((plus - minus) / (plus + minus))


@kernel
def momentum(high: Series, low: Series, close: Series) -> float:
    """Give the move of the last 24 bars in units of ATR(14) * sqrt(24)."""
    length = 24
    if close.size <= length:
        return np.nan
    unit = atr(high, low, close, 14) * np.sqrt(float(length))
    return 0.0 if unit == 0.0 else (close[-1] - close[-1 - length]) / unit


@kernel
def donchian(high: Series, low: Series, close: Series) -> float:
    """Give where the close stands in the channel of the bars before: -1 its low, +1 its high."""
    if close.size < 2:
        return np.nan
    top, bottom = high[0], low[0]
    for i in range(1, close.size - 1):
        top, bottom = max(top, high[i]), min(bottom, low[i])
    half = (top - bottom) / 2.0
    return 0.0 if half == 0.0 else (close[-1] - (top + bottom) / 2.0) / half


@kernel
def volume_z(open_: Series, close: Series, volume: Series) -> float:
    """Give how many deviations the last volume is above the bars before, with the bar's direction."""
    count = volume.size - 1
    if count < 2:
        return np.nan
    mean = 0.0
    for i in range(count):
        mean += volume[i]
    mean /= count
    square = 0.0
    for i in range(count):
        square += (volume[i] - mean) * (volume[i] - mean)
    deviation = np.sqrt(square / count)
    if deviation <= ROUNDING * mean or volume[-1] <= mean:
        return 0.0
    z: float = (volume[-1] - mean) / deviation
    if close[-1] > open_[-1]:
        return z
    return -z if close[-1] < open_[-1] else 0.0


@kernel
def taker_delta(quote_volume: Series, taker_quote: Series) -> float:
    """Give taker buys less taker sells as a share of the turnover, -1 to 1."""
    turnover = bought = 0.0
    for i in range(quote_volume.size):
        turnover += quote_volume[i]
        bought += taker_quote[i]
    return 0.0 if turnover == 0.0 else (2.0 * bought - turnover) / turnover


@kernel
def relative_strength(close: Series, benchmark: Series) -> float:
    """Give the sum of the returns above the benchmark's over the root of the sum of their squares."""
    if close.size < 2:
        return np.nan
    total = square = 0.0
    for i in range(1, close.size):
        excess = close[i] / close[i - 1] - benchmark[i] / benchmark[i - 1]
        total += excess
        square += excess * excess
    energy = np.sqrt(square)
    return 0.0 if energy <= ROUNDING else total / energy


@kernel
def volatility(close: Series) -> float:
    """Give how far the volatility of 20 bars is above the whole window's, with the sign of their move."""
    length = 20
    if close.size <= length:
        return np.nan
    long = short = 0.0
    for i in range(1, close.size):
        step = close[i] / close[i - 1] - 1.0
        long += step * step
        if i >= close.size - length:
            short += step * step
    if long == 0.0:
        return 0.0
    expansion = max(0.0, np.sqrt((short / length) / (long / (close.size - 1.0))) - 1.0)
    move = close[-1] - close[-1 - length]
    return expansion if move > 0.0 else (-expansion if move < 0.0 else 0.0)
