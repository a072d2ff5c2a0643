"""Trend: where the price stands to its averages, and how straight and strong it moves."""

from typing import Final

from klinehub.factors.define import Bar, State, factor
from klinehub.factors.lanes import choose, counted
from klinehub.factors.steps import (
    atr,
    atr_bars,
    bars,
    before,
    channel,
    ema,
    ema_bars,
    in_ranges,
    kept,
    kernel,
    length,
    ratio,
    regression,
    settled,
    total,
    true_range,
    wilder_bars,
    window_bars,
    within,
)

FAMILY: Final = "trend"
SHARE: Final = "share of the price"
WILDER: Final = "Wilder, New Concepts in Technical Trading Systems (1978)"
# The efficiency ratio whose pace KAMA's warm-up is reckoned with; markets without a trend have 0.3.
IDLE: Final = 0.25
# Bars in which the price crosses a Supertrend line, so that from then on every run has the same lines. Of 762
# runs over a quarter of 521 recorded markets none was off by a thousandth of the values' deviation.
FLIPS: Final = 100


def kama_bars(n: int) -> int:
    """Give the bars of Kaufman's average, at the pace of a market that hardly gets anywhere."""
    pace = (IDLE * (2.0 / 3.0 - 2.0 / 31.0) + 2.0 / 31.0) ** 2
    return length(n) + settled(1.0 - pace)


def adx_bars(n: int) -> int:
    """Give the bars of the ADX: its first directional index comes at bar n, and is averaged over n."""
    return wilder_bars(n, n) + 1


@factor(
    state=2,
    warmup=ema_bars,
    family=FAMILY,
    formula="(close - EMA(n)) / EMA(n)",
    unit=SHARE,
    span="above -1, mostly -0.1 to 0.1",
    source="exponential moving average, started from its first mean as TA-Lib's EMA",
)
def ema_distance(state: State, close: Bar, n: int = 50) -> float:
    """Distance of the close to its exponential average.

    0.0 where the price never moved.
    """
    mean = ema(state, 0, close, n)
    return (close - mean) / mean


@factor(
    state=lambda n: kept(n, 1),
    warmup=window_bars,
    family=FAMILY,
    formula="(close - SMA(n)) / SMA(n)",
    unit=SHARE,
    span="above -1, mostly -0.1 to 0.1",
    source="simple moving average, as TA-Lib's SMA",
)
def sma_distance(state: State, close: Bar, n: int = 50) -> float:
    """Distance of the close to its simple average.

    Within rounding (1e-15) of 0.0 where the price did not move.
    """
    mean = total(state, 0, close, n) / n
    return (close - mean) / mean


@factor(
    state=lambda n: 3 + kept(n, 1) + kept(n, 1),
    warmup=kama_bars,
    family=FAMILY,
    formula="(close - KAMA(n)) / KAMA(n), KAMA += (close - KAMA) * (ER * (2/3 - 2/31) + 2/31)², "
    "ER = |close - close n bars ago| / sum of |changes|",
    unit=SHARE,
    span="above -1, mostly -0.05 to 0.05",
    source="Kaufman, Trading Systems and Methods (1995); started from the close before, as TA-Lib's KAMA",
)
def kama_distance(state: State, close: Bar, n: int = 10) -> float:
    """Distance of the close to Kaufman's adaptive average.

    0.0 where the price never moved. How fast its start is forgotten depends on the market: its warm-up is
    reckoned for an efficiency ratio of 0.25; more is left where a market goes nowhere for hundreds of bars.
    """
    count, last = bars(state, 0), state[1]
    mean: float = state[2]
    net = abs(close - before(state, 3, close, n))
    path = total(state, 3 + kept(n, 1), abs(close - last) if count > 0.0 else 0.0, n)
    state[1] = close
    if count < n:
        mean = close
    else:
        efficiency = choose(path <= net, 1.0, ratio(net, path, 1.0))
        pace = efficiency * (2.0 / 3.0 - 2.0 / 31.0) + 2.0 / 31.0
        mean += (close - mean) * (pace * pace)
    state[2] = mean
    return (close - mean) / mean


@factor(
    state=lambda _n, span: 2 + kept(span, 1),
    warmup=lambda n, span: ema_bars(n) + length(span),
    family=FAMILY,
    formula="(EMA(n) - EMA(n) span bars ago) / (EMA(n) span bars ago * span)",
    unit=f"{SHARE} per bar",
    span="unbounded, mostly -0.01 to 0.01",
    source="slope of an exponential moving average",
)
def ema_slope(state: State, close: Bar, n: int = 20, span: int = 5) -> float:
    """Slope of the exponential average.

    0.0 where the price never moved.
    """
    mean = ema(state, 0, close, n)
    old = before(state, 2, mean, span)
    return (mean - old) / (old * span)


@factor(
    state=lambda n, span: kept(n, 1) + kept(span, 1),
    warmup=lambda n, span: window_bars(n) + length(span),
    family=FAMILY,
    formula="(SMA(n) - SMA(n) span bars ago) / (SMA(n) span bars ago * span)",
    unit=f"{SHARE} per bar",
    span="unbounded, mostly -0.01 to 0.01",
    source="slope of a simple moving average",
)
def sma_slope(state: State, close: Bar, n: int = 20, span: int = 5) -> float:
    """Slope of the simple average.

    Within rounding (1e-15) of 0.0 where the price did not move.
    """
    mean = total(state, 0, close, n) / n
    old = before(state, kept(n, 1), mean, span)
    return (mean - old) / (old * span)


@factor(
    state=7,
    warmup=lambda fast, slow, n: max(ema_bars(fast), ema_bars(slow), atr_bars(n)),
    family=FAMILY,
    formula="(EMA(fast) - EMA(slow)) / ATR(n)",
    unit="ATR",
    span="unbounded, mostly -4 to 4",
    source="moving-average crossover in units of risk; seeds as TA-Lib",
)
def trend(
    state: State, high: Bar, low: Bar, close: Bar, fast: int = 20, slow: int = 50, n: int = 14
) -> float:
    """EMA trend.

    0.0 where the market stands still: no movement, no trend.
    """
    unit = atr(state, 4, high, low, close, n)
    return in_ranges(ema(state, 0, close, fast) - ema(state, 2, close, slow), unit, close)


@within
def _macd(state: State, at: int, close: float, fast: int, slow: int) -> float:
    """Give MACD from 4 numbers; the fast average starts so late that both are first known at one bar."""
    count = counted(state, at)
    long = ema(state, at, close, slow)
    return (ema(state, at + 2, close, fast) if count >= slow - fast else close) - long


@factor(
    state=4,
    warmup=lambda fast, slow: max(ema_bars(fast), ema_bars(slow)),
    family=FAMILY,
    formula="(EMA(fast) - EMA(slow)) / close",
    unit=SHARE,
    span="below 1, mostly -0.05 to 0.05",
    source="Appel's MACD; both averages started at the bar of the slow one's, as TA-Lib's MACD",
)
def macd_line(state: State, close: Bar, fast: int = 12, slow: int = 26) -> float:
    """MACD line.

    0.0 where the price never moved.
    """
    return _macd(state, 0, close, fast, slow) / close


@factor(
    state=9,
    warmup=lambda fast, slow, signal, n: max(ema_bars(fast, signal), ema_bars(slow, signal), atr_bars(n)),
    family=FAMILY,
    formula="(MACD(fast, slow) - EMA(signal) of it) / ATR(n)",
    unit="ATR",
    span="unbounded, mostly -1 to 1",
    source="Appel's MACD; seeds as TA-Lib's MACD",
)
def macd(
    state: State,
    high: Bar,
    low: Bar,
    close: Bar,
    fast: int = 12,
    slow: int = 26,
    signal: int = 9,
    n: int = 14,
) -> float:
    """MACD histogram.

    0.0 where the market stands still.
    """
    count = counted(state, 0)
    line = _macd(state, 0, close, fast, slow)
    smooth = ema(state, 4, line, signal) if count >= slow - 1.0 else line
    return in_ranges(line - smooth, atr(state, 6, high, low, close, n), close)


@factor(
    state=4,
    warmup=lambda fast, slow: max(ema_bars(fast), ema_bars(slow)),
    family=FAMILY,
    formula="100 * (EMA(fast) - EMA(slow)) / EMA(slow)",
    unit="percent of the slow average",
    span="above -100, mostly -5 to 5",
    source="percentage price oscillator; each average from its own start, as TA-Lib's PPO of EMAs",
)
def ppo(state: State, close: Bar, fast: int = 12, slow: int = 26) -> float:
    """Percentage price oscillator.

    0.0 where the price never moved.
    """
    long = ema(state, 0, close, slow)
    return 100.0 * ((ema(state, 2, close, fast) - long) / long)


@within
def _directional(state: State, high: float, low: float, close: float, n: int) -> tuple[float, float, float]:
    """Give ADX, DI+ and DI- (0 to 100) from 10 numbers, summed as Wilder does and TA-Lib starts them."""
    count = bars(state, 0)
    up, down, span = high - state[1], state[2] - low, true_range(high, low, state[3])
    state[1], state[2], state[3] = high, low, close
    if count == 0.0:
        return 0.0, 0.0, 0.0
    left = 1.0 - 1.0 / n if count >= n else 1.0
    plus, minus, span = state[4] * left, state[5] * left, state[6] * left + span
    minus = choose((down > 0.0) & (down > up), minus + down, minus)
    plus = choose((up > 0.0) & (up > down), plus + up, plus)
    state[4], state[5], state[6] = plus, minus, span
    if count >= n:
        _strengthen(state, count, n)
    return state[7], state[8], state[9]


@kernel
def _strengthen(state: State, count: float, n: int) -> None:
    """Take the bar's directional index into its average, which starts from the mean of the first n."""
    plus, minus, span, strength = state[4], state[5], state[6], state[7]
    moved = plus + minus > 0.0
    index = 100.0 * (abs(plus - minus) / (plus + minus))
    share = index / n if count < 2.0 * n else (index - strength) / n
    state[7] = choose(moved, strength + share, strength)
    state[8] = choose(moved, 100.0 * (plus / span), state[8])
    state[9] = choose(moved, 100.0 * (minus / span), state[9])


@factor(
    state=10,
    warmup=adx_bars,
    family=FAMILY,
    formula="Wilder's average over n of 100 * |DI+ - DI-| / (DI+ + DI-)",
    unit="points",
    span="0 to 100; from 25 on a trend",
    source=f"{WILDER}; seeds as TA-Lib's ADX",
)
def adx(state: State, high: Bar, low: Bar, close: Bar, n: int = 14) -> float:
    """Average directional index.

    0.0 where the price never moved.
    """
    strength, _, _ = _directional(state, high, low, close, n)
    return strength


@factor(
    state=10,
    warmup=adx_bars,
    family=FAMILY,
    formula="ADX(n) * (DI+ - DI-) / (DI+ + DI-)",
    unit="points",
    span="-100 to 100",
    source=f"{WILDER}; seeds as TA-Lib's ADX",
)
def adx_direction(state: State, high: Bar, low: Bar, close: Bar, n: int = 14) -> float:
    """Strength of the trend with its direction.

    0.0 where the price never moved.
    """
    strength, plus, minus = _directional(state, high, low, close, n)
    return strength * ratio(plus - minus, plus + minus, 0.0)


@factor(
    state=10,
    warmup=wilder_bars,
    family=FAMILY,
    formula="DI+(n) - DI-(n), DI = 100 * Wilder's sum of directional movement / of true range",
    unit="points",
    span="-100 to 100",
    source=f"{WILDER}; the first sums of n - 1 bars, as TA-Lib's PLUS_DI and MINUS_DI",
)
def di_spread(state: State, high: Bar, low: Bar, close: Bar, n: int = 14) -> float:
    """Directional movement up less down.

    0.0 where the price never moved.
    """
    _, plus, minus = _directional(state, high, low, close, n)
    return plus - minus


@within
def _newest_extremes(
    state: State, at: int, count: float, high: float, low: float, n: int
) -> tuple[float, float]:
    """Give when the last n bars were highest and lowest, the newest where equal; kept(n, 4) numbers."""
    place = int(counted(state, at))
    slot = at + 5 + 4 * place
    top, top_at, bottom, bottom_at = high, count, low, count
    if place > 0:
        top_at = choose(state[at + 1] > high, state[at + 2], count)
        top = choose(state[at + 1] > high, state[at + 1], high)
        bottom_at = choose(state[at + 3] < low, state[at + 4], count)
        bottom = choose(state[at + 3] < low, state[at + 3], low)
    state[slot], state[slot + 1], state[slot + 2], state[slot + 3] = high, count, low, count
    state[at + 1], state[at + 2], state[at + 3], state[at + 4] = top, top_at, bottom, bottom_at
    state[at] = place + 1.0
    if place + 1 == n:
        _fold_extremes(state, at, slot)
        return top_at, bottom_at
    top_at = choose(top >= state[slot + 4], top_at, state[slot + 5])
    return top_at, choose(bottom <= state[slot + 6], bottom_at, state[slot + 7])


@kernel
def _fold_extremes(state: State, at: int, slot: int) -> None:
    """Fold a full part from its newest bar back, and start a new one."""
    for j in range(slot - 4, at + 4, -4):
        newer = state[j] <= state[j + 4]
        state[j + 1] = choose(newer, state[j + 5], state[j + 1])
        state[j] = choose(newer, state[j + 4], state[j])
        newer = state[j + 2] >= state[j + 6]
        state[j + 3] = choose(newer, state[j + 7], state[j + 3])
        state[j + 2] = choose(newer, state[j + 6], state[j + 2])
    state[at] = 0.0


@factor(
    state=lambda n: 1 + kept(n + 1, 4),
    warmup=length,
    family=FAMILY,
    formula="100 * (bars from the lowest low to the highest high of the last n + 1 bars) / n",
    unit="points",
    span="-100 to 100",
    source="Chande (1995); the newest of equal extremes, as TA-Lib's AROONOSC",
)
def aroon_oscillator(state: State, high: Bar, low: Bar, n: int = 25) -> float:
    """Aroon oscillator.

    0.0 where the price did not move: highest and lowest at the same bar.
    """
    top_at, bottom_at = _newest_extremes(state, 1, bars(state, 0), high, low, n + 1)
    return 100.0 * ((top_at - bottom_at) / n)


@factor(
    state=8,
    warmup=lambda n, _width: atr_bars(n) + FLIPS,
    family=FAMILY,
    formula="(close - line) / ATR(n); the line is the ratcheted band (high + low) / 2 -+ width * ATR(n), the "
    "lower one since a close above the upper, the upper one since a close below the lower",
    unit="ATR",
    span="unbounded, mostly -6 to 6; positive in an uptrend",
    source="Seban's Supertrend with Wilder's ATR",
)
def supertrend(state: State, high: Bar, low: Bar, close: Bar, n: int = 10, width: float = 3.0) -> float:
    """Distance to the Supertrend line.

    0.0 where the market stands still. Which side counts is known from the first flip on: 100 bars are
    allowed for it beyond what the range needs.
    """
    count, upper, lower, side, last = bars(state, 0), state[1], state[2], state[3], state[4]
    unit = atr(state, 5, high, low, close, n)
    middle, reach = 0.5 * (high + low), width * unit
    state[4] = close
    if count < n:
        return 0.0
    if count == n:
        upper, lower, side = middle + reach, middle - reach, -1.0
    else:
        upper = choose(last > upper, middle + reach, min(middle + reach, upper))
        lower = choose(last < lower, middle - reach, max(middle - reach, lower))
        side = choose(close < lower, -1.0, side)
    side = choose(close > upper, 1.0, side)
    state[1], state[2], state[3] = upper, lower, side
    return in_ranges(close - choose(side > 0.0, lower, upper), unit, close)


@factor(
    state=lambda fast, slow, long: (
        kept(fast, 2) + kept(slow, 2) + kept(long, 2) + kept(slow, 1) + kept(slow, 1)
    ),
    warmup=lambda fast, slow, long: max(window_bars(fast), window_bars(slow), window_bars(long)) + slow,
    family=FAMILY,
    formula="distance of the close to the nearer edge of the cloud, in closes; edges of slow bars before: "
    "(mid(fast) + mid(slow)) / 2 and mid(long), mid(n) = (highest + lowest of n bars) / 2",
    unit=SHARE,
    span="below 1, mostly -0.2 to 0.2; 0 within the cloud",
    source="Hosoda's Ichimoku; the cloud drawn slow bars ahead",
)
def ichimoku_distance(
    state: State, high: Bar, low: Bar, close: Bar, fast: int = 9, slow: int = 26, long: int = 52
) -> float:
    """Distance to the Ichimoku cloud.

    0.0 within the cloud, its edges included.
    """
    at = kept(fast, 2)
    top, bottom = channel(state, 0, high, low, fast)
    slow_top, slow_bottom = channel(state, at, high, low, slow)
    one = 0.25 * ((top + bottom) + (slow_top + slow_bottom))
    at += kept(slow, 2)
    top, bottom = channel(state, at, high, low, long)
    at += kept(long, 2)
    one = before(state, at, one, slow)
    other = before(state, at + kept(slow, 1), 0.5 * (top + bottom), slow)
    return (max(close - max(one, other), 0.0) + min(close - min(one, other), 0.0)) / close


@factor(
    state=lambda n: kept(n, 3),
    warmup=lambda n: window_bars(n, 2),
    family=FAMILY,
    formula="slope per bar of the least-squares line through the last n closes / close",
    unit=f"{SHARE} per bar",
    span="unbounded, mostly -0.01 to 0.01",
    source="least squares, as TA-Lib's LINEARREG_SLOPE",
)
def linreg_slope(state: State, close: Bar, n: int = 20) -> float:
    """Slope of the regression line.

    0.0 where the price did not move.
    """
    slope, _ = regression(state, 0, close, n)
    return slope / close


@factor(
    state=lambda n: kept(n, 3),
    warmup=lambda n: window_bars(n, 2),
    family=FAMILY,
    formula="squared correlation of the last n closes with their place",
    unit="share of the variance",
    span="0 to 1; 1 is a straight line",
    source="least squares, as the square of TA-Lib's CORREL with the bar's number",
)
def linreg_r2(state: State, close: Bar, n: int = 20) -> float:
    """Straightness of the price, as R² of the regression line.

    0.0 where the price did not move.
    """
    _, straight = regression(state, 0, close, n)
    return straight
