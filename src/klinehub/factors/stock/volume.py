"""Volume and flow: how much is traded, who pays the spread, and what it moves."""

from math import nan, sqrt
from typing import Final

from klinehub.factors.define import Bar, State, factor
from klinehub.factors.lanes import choose
from klinehub.factors.steps import (
    kept,
    length,
    moments,
    ratio,
    regression,
    returns,
    total,
    totals,
    window_bars,
)

FAMILY: Final = "volume"
TIMES: Final = "times the mean"
TAKERS: Final = "the exchange's taker fields"


@factor(
    state=lambda n: 2 + kept(n, 2),
    warmup=lambda n: length(n, 2),
    family=FAMILY,
    formula="max(0, (volume - mean) / deviation of the n bars before) * sign(close - open)",
    unit="standard deviations",
    span="unbounded; 0 below the mean, since a quiet bar has no direction",
    source="z-score, population deviation",
)
def volume_z(state: State, open_: Bar, close: Bar, volume: Bar, n: int = 96) -> float:
    """Volume surge with direction.

    0.0 where the volumes before were all equal, and for a bar that closes where it opened.
    """
    mean, square = state[0], state[1]
    state[0], state[1] = moments(state, 2, volume, n)
    above = max(0.0, ratio(volume - mean, sqrt(square / n), 0.0))
    return choose(close > open_, above, choose(close < open_, -above, 0.0))


@factor(
    state=lambda n: 1 + kept(n, 1),
    warmup=length,
    family=FAMILY,
    formula="quote_volume / mean of the n bars before",
    unit=TIMES,
    span="0 and above, mostly 0.2 to 10",
    source="relative volume",
)
def volume_surge(state: State, quote_volume: Bar, n: int = 96) -> float:
    """Turnover against its mean.

    1.0 where nothing was traded in the bars before.
    """
    before = state[0]
    state[0] = total(state, 1, quote_volume, n)
    return ratio(quote_volume, before / n, 1.0)


@factor(
    state=lambda n: 2 + kept(n, 3) + kept(n, 1),
    warmup=lambda n: window_bars(n, 2),
    family=FAMILY,
    formula="slope per bar of the least-squares line through n values of OBV / mean volume of n bars",
    unit="mean volumes per bar",
    span="-1.5 to 1.5, and little beyond for small n",
    source="Granville's on-balance volume, as TA-Lib's LINEARREG_SLOPE of OBV",
)
def obv_slope(state: State, close: Bar, volume: Bar, n: int = 20) -> float:
    """Slope of the on-balance volume.

    0.0 where nothing was traded, or every bar closed where the one before did.
    """
    last = state[0]
    flow = choose(close > last, volume, choose(close < last, -volume, 0.0))
    flow = choose(last > 0.0, flow, 0.0)
    state[0] = close
    state[1] += flow
    slope, _ = regression(state, 2, state[1], n)
    return ratio(slope, total(state, 2 + kept(n, 3), volume, n) / n, 0.0)


@factor(
    state=lambda n: 1 + kept(n, 3) + kept(n, 1),
    warmup=lambda n: window_bars(n, 2),
    family=FAMILY,
    formula="slope per bar of the least-squares line through n values of the sum of (2 * taker_quote - "
    "quote_volume) / mean quote_volume of n bars",
    unit="mean turnovers per bar",
    span="-1.5 to 1.5, and little beyond for small n",
    source=f"cumulative volume delta; {TAKERS}",
)
def cvd_slope(state: State, quote_volume: Bar, taker_quote: Bar, n: int = 20) -> float:
    """Slope of the cumulative volume delta.

    0.0 where nothing was traded.
    """
    state[0] += 2.0 * taker_quote - quote_volume
    slope, _ = regression(state, 1, state[0], n)
    return ratio(slope, total(state, 1 + kept(n, 3), quote_volume, n) / n, 0.0)


@factor(
    state=lambda n: 1 + kept(n, 2),
    warmup=length,
    family=FAMILY,
    formula="100 * U / (U + D), sums over n of p * volume of the bars whose p rose and fell, "
    "p = (high + low + close) / 3",
    unit="points",
    span="0 to 100; 50 where nothing flowed",
    source="Quong and Soudack (1989), as TA-Lib's MFI",
)
def mfi(state: State, high: Bar, low: Bar, close: Bar, volume: Bar, n: int = 14) -> float:
    """Money flow index.

    50.0 where nothing was traded, or nothing moved. (TA-Lib gives 0 for flows that sum to less than 1.)
    """
    price = (high + low + close) / 3.0
    last = choose(state[0] == 0.0, price, state[0])
    state[0] = price
    flow = price * volume
    rise, fall = choose(price > last, flow, 0.0), choose(price < last, flow, 0.0)
    up, down = totals(state, 1, rise, fall, n)
    return 100.0 * ratio(up, up + down, 0.5)


@factor(
    state=lambda n: kept(n, 2),
    warmup=window_bars,
    family=FAMILY,
    formula="sum of ((close - low) - (high - close)) / (high - low) * volume / sum of volume, over n bars",
    unit="share of the volume",
    span="-1 to 1",
    source="Chaikin's money flow; its sum is TA-Lib's AD",
)
def chaikin_money_flow(state: State, high: Bar, low: Bar, close: Bar, volume: Bar, n: int = 20) -> float:
    """Chaikin money flow.

    0.0 where nothing was traded. A bar without a range counts as closed in its middle.
    """
    place = ratio((close - low) - (high - close), high - low, 0.0)
    flow, traded = totals(state, 0, place * volume, volume, n)
    return ratio(flow, traded, 0.0)


@factor(
    state=lambda n: kept(n, 2),
    warmup=window_bars,
    family=FAMILY,
    formula="(close - VWAP) / VWAP, VWAP = sum of quote_volume / sum of volume, over n bars",
    unit="share of the price",
    span="above -1, mostly -0.1 to 0.1",
    source="volume-weighted average price of all trades, rolling",
)
def vwap_distance(state: State, close: Bar, volume: Bar, quote_volume: Bar, n: int = 96) -> float:
    """Distance to the volume-weighted average price.

    0.0 where nothing was traded.
    """
    paid, traded = totals(state, 0, quote_volume, volume, n)
    return ratio(close * traded - paid, paid, 0.0)


@factor(
    state=lambda n: kept(n, 2),
    warmup=window_bars,
    family=FAMILY,
    formula="sum of taker_quote / sum of quote_volume, over n bars",
    unit="share of the turnover",
    span="0 to 1; 0.5 is balance",
    source=TAKERS,
)
def taker_ratio(state: State, quote_volume: Bar, taker_quote: Bar, n: int = 5) -> float:
    """Taker buys as a share of the turnover.

    0.5 where nothing was traded.
    """
    bought, traded = totals(state, 0, taker_quote, quote_volume, n)
    return ratio(bought, traded, 0.5)


@factor(
    state=lambda n: kept(n, 2),
    warmup=window_bars,
    family=FAMILY,
    formula="(taker buys - taker sells) / turnover, each summed over n bars",
    unit="share of the turnover",
    span="-1 to 1",
    source=TAKERS,
)
def taker_delta(state: State, quote_volume: Bar, taker_quote: Bar, n: int = 20) -> float:
    """Taker-buy delta.

    0.0 where nothing was traded.
    """
    bought, traded = totals(state, 0, taker_quote, quote_volume, n)
    return ratio(2.0 * bought - traded, traded, 0.0)


@factor(
    state=lambda n: 2 + kept(n, 2),
    warmup=length,
    family=FAMILY,
    formula="(quote_volume / trades) / (sum of quote_volume / sum of trades of the n bars before)",
    unit=TIMES,
    span="0 and above, mostly 0.3 to 3",
    source="average trade size against its own past",
)
def trade_size(state: State, quote_volume: Bar, trades: Bar, n: int = 96) -> float:
    """Size of a trade against its mean.

    1.0 where nothing was traded in the bar or in those before, or trades are not counted.
    """
    paid, count = state[0], state[1]
    state[0], state[1] = totals(state, 2, quote_volume, trades, n)
    return ratio(quote_volume * count, trades * paid, 1.0)


@factor(
    state=lambda n: 1 + kept(n, 2),
    warmup=length,
    family=FAMILY,
    formula="mean of |return| / turnover in millions of the quote asset, over those of n bars with a trade",
    unit="share of the price per million",
    span="0 and above; the higher, the less liquid",
    source="Amihud, Illiquidity and Stock Returns (2002), of simple returns",
)
def amihud(state: State, close: Bar, quote_volume: Bar, n: int = 96) -> float:
    """Amihud illiquidity.

    NaN where nothing was traded in all of the bars: then nobody knows.
    """
    step = abs(returns(state, 0, close))
    traded = choose(quote_volume > 0.0, 1.0, 0.0)
    impact, count = totals(state, 1, ratio(1e6 * step, quote_volume, 0.0), traded, n)
    return ratio(impact, count, nan)
