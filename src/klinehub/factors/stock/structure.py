"""Structure: where the price stands among its own highs, lows and gaps."""

from math import isnan, nan
from typing import Final

from klinehub.factors.define import Bar, State, factor
from klinehub.factors.expr import Expr, field
from klinehub.factors.lanes import choose
from klinehub.factors.steps import (
    atr,
    atr_bars,
    bars,
    before,
    channel,
    in_ranges,
    kept,
    kernel,
    length,
    ratio,
    window_bars,
)

FAMILY: Final = "structure"
DONCHIAN: Final = "Donchian channel"
SWING: Final = "confirmed fractal swings; Wilder's ATR"
# How many open gaps of a side are kept; a ninth drops the oldest.
OPEN_GAPS: Final = 8
# What _newest_gap keeps.
GAPS: Final = 2 + 3 * OPEN_GAPS


@factor(
    state=lambda n: kept(n, 2),
    warmup=window_bars,
    family=FAMILY,
    formula="(close - lowest) / (highest - lowest) of n bars",
    unit="share of the channel",
    span="0 to 1; 0.5 where the price did not move",
    source=DONCHIAN,
)
def donchian_position(state: State, high: Bar, low: Bar, close: Bar, n: int = 55) -> float:
    """Place in the Donchian channel.

    0.5 where the channel has no width.
    """
    top, bottom = channel(state, 0, high, low, n)
    return ratio(close - bottom, top - bottom, 0.5)


@factor(
    state=lambda n: 2 + kept(n, 2),
    warmup=length,
    family=FAMILY,
    formula="(close - middle) / (half the width) of the high-low channel of the n bars before",
    unit="half channels",
    span="unbounded; beyond -1 or 1 is a breakout",
    source=f"{DONCHIAN}, the bar itself left out",
)
def donchian(state: State, high: Bar, low: Bar, close: Bar, n: int = 55) -> float:
    """Donchian breakout.

    0.0 where the channel has no width.
    """
    top, bottom = state[0], state[1]
    state[0], state[1] = channel(state, 2, high, low, n)
    return ratio((close - bottom) - (top - close), top - bottom, 0.0)


@factor(
    state=lambda n, _memory: 4 + kept(n, 2),
    warmup=lambda n, memory: length(n) + window_bars(memory),
    family=FAMILY,
    formula="k or -k where the newest close above the highs or below the lows of the n bars before it was "
    "k - 1 bars ago",
    unit="bars",
    span="-memory to memory; 0 where there was none",
    source=f"{DONCHIAN}, the bar itself left out",
)
def breakout_age(state: State, high: Bar, low: Bar, close: Bar, n: int = 20, memory: int = 100) -> float:
    """Bars since the last breakout, with its direction.

    1.0 or -1.0 at a breakout itself; 0.0 where none of the last *memory* bars was one.
    """
    count, top, bottom = bars(state, 0), state[1], state[2]
    state[1], state[2] = channel(state, 4, high, low, n)
    if count >= n:
        state[3] = choose(close > top, count + 1.0, choose(close < bottom, -(count + 1.0), state[3]))
    age: float = count + 2.0 - abs(state[3])
    age = choose((state[3] == 0.0) | (age > memory), 0.0, age)
    return choose(state[3] < 0.0, 0.0 - age, age)


@kernel
def _newest_swing(state: State, at: int, x: float, n: int, memory: int) -> float:
    """Give the newest of the last *memory* values that none within n places exceeded; NaN for none.

    It is known n bars after. kept(2 * n + 1, 2) + kept(n, 1) + 3 numbers.
    """
    count = bars(state, at)
    top, _ = channel(state, at + 3, x, x, 2 * n + 1)
    middle = before(state, at + 3 + kept(2 * n + 1, 2), x, n)
    if count >= 2.0 * n:
        state[at + 1] = choose(middle == top, middle, state[at + 1])
        state[at + 2] = choose(middle == top, count + 1.0 - n, state[at + 2])
    born: float = state[at + 2]
    return choose((born > 0.0) & (count + 1.0 - born < memory), state[at + 1], nan)


@factor(
    state=lambda n, _memory, _span: 3 + 3 + kept(2 * n + 1, 2) + kept(n, 1),
    warmup=lambda n, memory, span: max(length(n) + window_bars(memory, 2 * n + 1), atr_bars(span)),
    family=FAMILY,
    formula="(close - H) / ATR(span), H the newest high of the last memory bars that no high within n bars "
    "on either side exceeds",
    unit="ATR",
    span="unbounded, mostly -10 to 2; positive above the swing",
    source=SWING,
)
def swing_high_distance(
    state: State, high: Bar, low: Bar, close: Bar, n: int = 3, memory: int = 100, span: int = 14
) -> float:
    """Distance to the last swing high.

    NaN where there was none; 0.0 where the market stands still.
    """
    unit = atr(state, 0, high, low, close, span)
    return in_ranges(close - _newest_swing(state, 3, high, n, memory), unit, close)


@factor(
    state=lambda n, _memory, _span: 3 + 3 + kept(2 * n + 1, 2) + kept(n, 1),
    warmup=lambda n, memory, span: max(length(n) + window_bars(memory, 2 * n + 1), atr_bars(span)),
    family=FAMILY,
    formula="(close - L) / ATR(span), L the newest low of the last memory bars that no low within n bars "
    "on either side undercuts",
    unit="ATR",
    span="unbounded, mostly -2 to 10; negative below the swing",
    source=SWING,
)
def swing_low_distance(
    state: State, high: Bar, low: Bar, close: Bar, n: int = 3, memory: int = 100, span: int = 14
) -> float:
    """Distance to the last swing low.

    NaN where there was none; 0.0 where the market stands still.
    """
    unit = atr(state, 0, high, low, close, span)
    return in_ranges(close + _newest_swing(state, 3, -low, n, memory), unit, close)


@kernel
def _newest_gap(state: State, at: int, count: float, low: float, high_before: float, memory: int) -> float:
    """Give the upper edge of the nearest open gap below the price; NaN for none. GAPS numbers.

    A gap opens above *high_before*, shrinks with each low within it and is gone with one below it. A newer
    one lies above every older one, so that they are a stack: the newest is the nearest.
    """
    newest, held = int(state[at]), int(state[at + 1])
    slot = at + 2 + 3 * newest
    while held > 0 and low <= state[slot]:
        newest = newest - 1 if newest > 0 else OPEN_GAPS - 1
        held -= 1
        slot = at + 2 + 3 * newest
    if held > 0:
        state[slot + 1] = min(state[slot + 1], low)
    if count >= 2.0 and low > high_before:
        newest = newest + 1 if newest < OPEN_GAPS - 1 else 0
        held = min(held + 1, OPEN_GAPS)
        slot = at + 2 + 3 * newest
        state[slot], state[slot + 1], state[slot + 2] = high_before, low, count
    state[at], state[at + 1] = newest, held
    edge: float = state[slot + 1]
    return edge if held > 0 and count - state[slot + 2] < memory else nan


@factor(
    state=lambda _memory, _span: 4 + kept(2, 1) + kept(2, 1) + GAPS + GAPS,
    warmup=lambda memory, span: max(window_bars(memory) + 2, atr_bars(span)),
    branches=True,
    family=FAMILY,
    formula="(close - E) / ATR(span), E the near edge of the nearest open gap of the last memory bars: low "
    "above the high two bars before, or high below the low two bars before",
    unit="ATR",
    span="unbounded, mostly -10 to 10; positive above a gap, negative below",
    source="imbalance of three bars; what later bars have traded through is taken off; 8 of a side are kept",
)
def fair_value_gap(state: State, high: Bar, low: Bar, close: Bar, memory: int = 100, span: int = 14) -> float:
    """Distance to the nearest open fair-value gap.

    NaN where none is open; 0.0 where the market stands still. Of two equally near, the one below.
    """
    count = bars(state, 0)
    unit = atr(state, 1, high, low, close, span)
    at = 4 + kept(2, 1)
    top, bottom = before(state, 4, high, 2), before(state, at, low, 2)
    at += kept(2, 1)
    above = close - _newest_gap(state, at, count, low, top, memory)
    below = close + _newest_gap(state, at + GAPS, count, -high, -bottom, memory)
    nearest = below if isnan(above) or -below < above else above
    return in_ranges(nearest, unit, close)


@kernel
def _above_block(
    state: State,
    at: int,
    count: float,
    open_: float,
    high: float,
    low: float,
    close: float,
    push: float,
    within: int,
    memory: int,
) -> float:
    """Give how far the close is above the newest block of buyers, 0.0 within; NaN for none. 6 numbers."""
    born = count + 1.0
    state[at + 5] = choose(close < state[at + 3], 0.0, state[at + 5])
    made = (state[at + 2] > 0.0) & (born - state[at + 2] <= within)
    made = made & (close - open_ >= push) & (close > state[at + 1])
    state[at + 3] = choose(made, state[at], state[at + 3])
    state[at + 4] = choose(made, state[at + 1], state[at + 4])
    state[at + 5] = choose(made, born, state[at + 5])
    state[at] = choose(close < open_, low, state[at])
    state[at + 1] = choose(close < open_, high, state[at + 1])
    state[at + 2] = choose(close < open_, born, state[at + 2])
    gone = (state[at + 5] == 0.0) | (born - state[at + 5] >= memory)
    return choose(gone, nan, max(close - state[at + 4], 0.0))


@factor(
    state=16,
    warmup=lambda _push, within, memory, span: length(within) + window_bars(memory) + atr_bars(span),
    family=FAMILY,
    formula="distance of the close to the nearer order block / ATR(span). Buyers: the last falling bar, at "
    "most within bars before one that closes above its high with a body of push * ATR; gone with a close "
    "below its low, after memory bars or with a newer one. Sellers: the same upside down",
    unit="ATR",
    span="unbounded, mostly -10 to 10; positive above buyers, negative below sellers, 0 in a block",
    source="order blocks of price-action trading, in one of their definitions; Wilder's ATR",
)
def order_block_distance(
    state: State,
    open_: Bar,
    high: Bar,
    low: Bar,
    close: Bar,
    push: float = 1.0,
    within: int = 5,
    memory: int = 100,
    span: int = 14,
) -> float:
    """Distance to the nearer order block.

    NaN where there is none; 0.0 where the market stands still. Of two equally near, the buyers'.
    """
    count = bars(state, 0)
    unit = atr(state, 1, high, low, close, span)
    body = push * unit
    above = _above_block(state, 4, count, open_, high, low, close, body, within, memory)
    below = _above_block(state, 10, count, -open_, -low, -high, -close, body, within, memory)
    nearest = choose((above != above) | (below < above), -below, above)  # noqa: PLR0124 - NaN is not itself
    return in_ranges(nearest, unit, close)


@factor(
    state=lambda n: kept(n, 2),
    warmup=lambda n: window_bars(n, 2),
    family=FAMILY,
    formula="(widest - range) / (widest - narrowest), range = high - low, of n bars",
    unit="share of the ranges",
    span="0 for the widest bar of n, 1 for the narrowest (NR7 for n = 7)",
    source="Crabel, Day Trading with Short Term Price Patterns and Opening Range Breakout (1990)",
)
def range_compression(state: State, high: Bar, low: Bar, n: int = 7) -> float:
    """Narrowness of the bar among the last ones.

    0.5 where all are equally wide.
    """
    widest, narrowest = channel(state, 0, high - low, high - low, n)
    return ratio(widest - (high - low), widest - narrowest, 0.5)


@factor(
    family=FAMILY,
    formula="close / (close of the last closed day) - 1",
    unit="share of the price",
    span="above -1, mostly -0.1 to 0.1",
    source="the new day (UTC) opens where the one before closed",
)
def day_open_distance() -> Expr:
    """Distance to the day's open.

    NaN before the first day has closed.
    """
    return field("close") / field("close").on("1d") - 1.0


@factor(
    family=FAMILY,
    formula="close / (close of the last closed week) - 1",
    unit="share of the price",
    span="above -1, mostly -0.2 to 0.2",
    source="the new week (Monday, UTC) opens where the one before closed",
)
def week_open_distance() -> Expr:
    """Distance to the week's open.

    NaN before the first week has closed.
    """
    return field("close") / field("close").on("1w") - 1.0
