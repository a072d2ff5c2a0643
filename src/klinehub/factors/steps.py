"""Steps: the building blocks of stepped factors, each fed one bar at a time.

1. A block keeps its numbers in the factor's state from offset `at` on, zeros at the start of a run; the
   comment at its section says how many. Blocks of one factor lie one behind the other.
2. A window of n bars is kept as two parts (TWO PARTS below), so that a value costs the same whatever n is
   and nothing is ever subtracted: no rounding is left of what has gone, a window of zeros gives 0.0, and one
   of equal values gives them and a deviation of 0.0, exactly.
3. Recursive averages start from the mean of their first n values, as TA-Lib's do. `ema_bars` and
   `wilder_bars` say when at most LEFT of that seed is left.

Only + - * / sqrt and comparisons are used, in a fixed order: those are rounded the same everywhere, so live
and history agree in every bit. Before its window is full a block gives some finite number.
"""

from collections.abc import Callable
from functools import cache
from math import inf, nan
from typing import Any, Final, TypeVar, cast

from numba import njit
from numba.extending import register_jitable

from klinehub.factors.define import State
from klinehub.factors.lanes import choose, counted, some

F = TypeVar("F", bound=Callable[..., Any])

# Without counting references to the state (as in panel.memory): with it a step took three times as long.
_options: Any = {"cache": True, "nogil": True, "_nrt": False, "error_model": "numpy"}
kernel = cast("Callable[[F], F]", njit(**_options))
# What every bar goes through. Inlined, the places of its numbers are known when it is compiled.
within = cast("Callable[[F], F]", njit(**_options, forceinline=True))
# Plain in Python, and compiled into the kernels that use it.
shared = cast("Callable[[F], F]", register_jitable)

# What may be left of a seed when a value counts, as a share of what it was.
LEFT: Final = 1e-3
LONGEST: Final = 10_000
# An average range below this share of the price is what decay and rounding leave of a market that stands
# still: whatever is measured in it would be noise. The smallest real ticks are a hundred times larger.
QUIET: Final = 1e-9
# Values that differ by less than this share of their size differ by rounding only.
ROUNDING: Final = 1e-12
# The logarithm of two in two parts, the first short enough to be multiplied by any exponent exactly.
LN2_HIGH: Final = 6.93147180369123816490e-01
LN2_LOW: Final = 1.90821492927058770002e-10
ROOT2: Final = 1.4142135623730951


# HOW LONG: bars before the first value that counts, worked out when a factor is defined.


def length(n: int, least: int = 1) -> int:
    """Give a length in bars; raises ValueError where it makes no window."""
    if not least <= n <= LONGEST:
        raise ValueError(f"a length of {n} bars, give {least} to {LONGEST:,}")
    return n


def window_bars(n: int, least: int = 1) -> int:
    """Give how many bars a window of n bars needs before its last one."""
    return length(n, least) - 1


def ema_bars(*lengths: int) -> int:
    """Give the smallest W with (1 - 2 / (n + 1)) ** (W - n + 1) <= LEFT; of several, each of the last."""
    return sum(window_bars(n) for n in lengths) + settled(*(1.0 - 2.0 / (n + 1.0) for n in lengths))


def wilder_bars(*lengths: int) -> int:
    """Give the smallest W with (1 - 1 / n) ** (W - n + 1) <= LEFT; of several, each of the last."""
    return sum(window_bars(n) for n in lengths) + settled(*(1.0 - 1.0 / n for n in lengths))


def atr_bars(n: int) -> int:
    """Give the bars of Wilder's average true range, whose first bar has no close before it."""
    return wilder_bars(n) + 1


@cache
def settled(*decays: float) -> int:
    """Give after how many values at most LEFT of the seed is left in the last of a row of averages."""
    left = [1.0] * len(decays)
    steps = 0
    while left[-1] > LEFT:
        above = 0.0
        for place, decay in enumerate(decays):
            above = left[place] = decay * left[place] + (1.0 - decay) * above
        steps += 1
    return steps


# ONE VALUE: `bars` and `returns` keep 1 number, `before` keeps kept(n, 1).


@shared
def kept(n: int, width: int) -> int:
    """Give how many numbers a window of n bars keeps that holds *width* of them for each bar."""
    return 1 + width * (n + 1)


@within
def bars(state: State, at: int) -> float:
    """Count the bars of the run: gives how many lie before this one."""
    count = counted(state, at)
    state[at] = count + 1.0
    return count


@within
def before(state: State, at: int, x: float, n: int) -> float:
    """Give the value n bars before; until there is one, x itself."""
    place = int(counted(state, at))
    old: float = state[at + 2 + place] if counted(state, at + 1) > 0.0 else x
    state[at + 2 + place] = x
    state[at] = place + 1.0
    if place + 1 == n:
        state[at] = 0.0
        state[at + 1] = 1.0
    return old


@within
def returns(state: State, at: int, price: float) -> float:
    """Give the simple return since the bar before; 0.0 at the first."""
    last = state[at]
    state[at] = price
    return choose(last == 0.0, 0.0, (price - last) / last)


@within
def ratio(x: float, y: float, otherwise: float) -> float:
    """Give x / y, or *otherwise* where y is zero."""
    return choose(y == 0.0, otherwise, x / y)


@within
def in_ranges(x: float, unit: float, price: float) -> float:
    """Give a distance in units of the average true range; 0.0 in a market that stands still."""
    return choose(unit <= QUIET * price, 0.0, x / unit)


@within
def true_range(high: float, low: float, last: float) -> float:
    """Give the span of a bar, counted from the close before it where that lies outside."""
    return max(high - low, abs(high - last), abs(low - last))


@kernel
def log_ratio(a: float, b: float) -> float:
    """Give the natural logarithm of a / b of two positive prices to about 1 ulp; NaN where one is not.

    2 * artanh((a - b) / (a + b)) as its series, after the smaller one was doubled until they are alike.
    """
    known = (a > 0.0) & (a < inf) & (b > 0.0) & (b < inf)
    a, b = choose(known, a, 1.0), choose(known, b, 1.0)
    doublings = 0.0
    while some(a > ROOT2 * b):
        doublings = choose(a > ROOT2 * b, doublings + 1.0, doublings)
        b = choose(a > ROOT2 * b, 2.0 * b, b)
    while some(b > ROOT2 * a):
        doublings = choose(b > ROOT2 * a, doublings - 1.0, doublings)
        a = choose(b > ROOT2 * a, 2.0 * a, a)
    t = (a - b) / (a + b)
    u = t * t
    tail = 1.0 / 11.0 + u * (1.0 / 13.0 + u * (1.0 / 15.0 + u * (1.0 / 17.0 + u * (1.0 / 19.0))))
    # Below a ratio of 1.04 the later terms are less than what rounding takes.
    tail = choose(u > 4e-4, tail, 0.0)
    tail = u * (1.0 / 3.0 + u * (0.2 + u * (1.0 / 7.0 + u * (1.0 / 9.0 + u * tail))))
    return choose(known, doublings * LN2_HIGH + (doublings * LN2_LOW + (2.0 * t + 2.0 * t * tail)), nan)


# RECURSIVE AVERAGES: `ema` and `wilder` keep 2 numbers, `atr` 3, `gains` 4.


@within
def ema(state: State, at: int, x: float, n: int) -> float:
    """Give the exponential average with weight 2 / (n + 1), started from the mean of the first n values."""
    count = counted(state, at) + 1.0
    weight = 2.0 / (n + 1.0) if count > n else 1.0 / count
    value: float = state[at + 1]
    value += (x - value) * weight
    state[at] = count
    state[at + 1] = value
    return value


@within
def wilder(state: State, at: int, x: float, n: int) -> float:
    """Give Wilder's average with weight 1 / n, started from the mean of the first n values."""
    count = counted(state, at) + 1.0
    weight = 1.0 / n if count > n else 1.0 / count
    value: float = state[at + 1]
    value += (x - value) * weight
    state[at] = count
    state[at + 1] = value
    return value


@within
def atr(state: State, at: int, high: float, low: float, close: float, n: int) -> float:
    """Give Wilder's average true range; the first bar has none, and gives 0.0."""
    count, last = counted(state, at), state[at + 2]
    state[at], state[at + 2] = count + 1.0, close
    if count == 0.0:
        return 0.0
    weight = 1.0 / n if count > n else 1.0 / count
    value: float = state[at + 1]
    value += (true_range(high, low, last) - value) * weight
    state[at + 1] = value
    return value


@within
def gains(state: State, at: int, x: float, n: int) -> tuple[float, float]:
    """Give Wilder's averages of the rises and of the falls of x, both counted upwards."""
    count, last = counted(state, at), state[at + 1]
    state[at] = count + 1.0
    state[at + 1] = x
    if count == 0.0:
        return 0.0, 0.0
    weight = 1.0 / n if count > n else 1.0 / count
    up, down = state[at + 2], state[at + 3]
    up += (max(x - last, 0.0) - up) * weight
    down += (max(last - x, 0.0) - down) * weight
    state[at + 2] = up
    state[at + 3] = down
    return up, down


# TWO PARTS: each window below keeps kept(n, width) numbers: how many bars its newer part has, what they come
# to, and `width` numbers for each of n bars. The newer part grows bar by bar; when it is the whole window,
# it becomes the older one, folded from its newest bar back to each: what is left of the older part is then
# always there as one number. A bar costs one addition, one fold and one merge, whatever n is.


@within
def total(state: State, at: int, x: float, n: int) -> float:
    """Give the sum of the last n values; width 1."""
    place = int(counted(state, at))
    slot = at + 2 + place
    value: float = state[at + 1] + x
    state[slot] = x
    if place + 1 == n:
        _fold_sums(state, at, slot, 1)
        return value
    state[at] = place + 1.0
    state[at + 1] = value
    older: float = state[slot + 1]
    return value + older


@within
def totals(state: State, at: int, x: float, y: float, n: int) -> tuple[float, float]:
    """Give the sums of the last n values of two series; width 2."""
    place = int(counted(state, at))
    slot = at + 3 + 2 * place
    a, b = state[at + 1] + x, state[at + 2] + y
    state[slot], state[slot + 1] = x, y
    if place + 1 == n:
        _fold_sums(state, at, slot + 1, 2)
        return a, b
    state[at] = place + 1.0
    state[at + 1], state[at + 2] = a, b
    return a + state[slot + 2], b + state[slot + 3]


# Folding in functions of their own, rarely called, takes half off the time of what calls them.
@kernel
def _fold_sums(state: State, at: int, last: int, width: int) -> None:
    """Fold a full part from its last number back, and start a new one."""
    for j in range(last - width, at + width, -1):
        state[j] += state[j + width]
    for j in range(at, at + 1 + width):
        state[j] = 0.0


@within
def channel(state: State, at: int, high: float, low: float, n: int) -> tuple[float, float]:
    """Give the highest of the last n highs and the lowest of the last n lows; width 2."""
    place = int(counted(state, at))
    slot = at + 3 + 2 * place
    top, bottom = high, low
    if place > 0:
        top, bottom = max(state[at + 1], high), min(state[at + 2], low)
    state[slot], state[slot + 1] = high, low
    if place + 1 == n:
        _fold_channel(state, at, slot)
        return top, bottom
    state[at] = place + 1.0
    state[at + 1], state[at + 2] = top, bottom
    return max(top, state[slot + 2]), min(bottom, state[slot + 3])


@kernel
def _fold_channel(state: State, at: int, slot: int) -> None:
    """Fold a full part from its newest bar back, and start a new one."""
    for j in range(slot - 2, at + 2, -2):
        state[j] = max(state[j], state[j + 2])
        state[j + 1] = min(state[j + 1], state[j + 3])
    state[at] = 0.0


@within
def moments(state: State, at: int, x: float, n: int) -> tuple[float, float]:
    """Give the mean of the last n values and the sum of their squared distances to it; width 2."""
    place = int(counted(state, at))
    slot = at + 3 + 2 * place
    count = place + 1.0
    mean, square = state[at + 1], state[at + 2]
    step = x - mean
    mean += step / count
    square += step * (x - mean)
    state[slot] = x
    if place + 1 == n:
        _fold_moments(state, at, slot, n)
        return mean, square
    state[at] = count
    state[at + 1], state[at + 2] = mean, square
    apart, share = mean - state[slot + 2], count / n
    square += state[slot + 3] + apart * apart * (share * (n - count))
    return state[slot + 2] + apart * share, square


@kernel
def _fold_moments(state: State, at: int, slot: int, n: int) -> None:
    """Fold a full part from its newest value back, and start a new one."""
    mean = square = 0.0
    for j in range(n):
        here = slot - 2 * j
        step = state[here] - mean
        mean += step / (j + 1.0)
        square += step * (state[here] - mean)
        state[here], state[here + 1] = mean, square
    state[at] = state[at + 1] = state[at + 2] = 0.0


@within
def regression(state: State, at: int, y: float, n: int) -> tuple[float, float]:
    """Give slope per bar and R² of the straight line through the last n values; width 3.

    R² is 0.0 where they are all equal. A part's mean place is known, so only y needs its moments.
    """
    place = int(counted(state, at))
    slot = at + 4 + 3 * place
    count = place + 1.0
    mean, both, square = state[at + 1], state[at + 2], state[at + 3]
    step = y - mean
    mean += step / count
    both += 0.5 * count * (y - mean)
    square += step * (y - mean)
    state[slot] = y
    if place + 1 == n:
        _fold_regression(state, at, slot, n)
    else:
        state[at] = count
        state[at + 1], state[at + 2], state[at + 3] = mean, both, square
        apart, weight = mean - state[slot + 3], count * (n - count)
        both += state[slot + 4] + apart * (0.5 * weight)
        square += state[slot + 5] + apart * apart * (weight / n)
    spread = n * (n * float(n) - 1.0) / 12.0
    return both / spread, choose(square == 0.0, 0.0, min(1.0, both * both / (spread * square)))


@kernel
def _fold_regression(state: State, at: int, slot: int, n: int) -> None:
    """Fold a full part from its newest bar back, each older bar being one place to the left."""
    mean = both = square = 0.0
    for j in range(n):
        here, count = slot - 3 * j, j + 1.0
        step = state[here] - mean
        mean += step / count
        both -= 0.5 * count * (state[here] - mean)
        square += step * (state[here] - mean)
        state[here], state[here + 1], state[here + 2] = mean, both, square
    state[at] = state[at + 1] = state[at + 2] = state[at + 3] = 0.0


@within
def comoments(state: State, at: int, x: float, y: float, n: int) -> tuple[float, float, float, float, float]:
    """Give the means of the last n pairs and the sums of their products (xx, xy, yy) about them; width 5."""
    place = int(counted(state, at))
    slot = at + 6 + 5 * place
    count = place + 1.0
    mx, my, xx, xy, yy = state[at + 1], state[at + 2], state[at + 3], state[at + 4], state[at + 5]
    mx, my, xx, xy, yy = _joined(mx, my, xx, xy, yy, x, y, count)
    state[slot], state[slot + 1] = x, y
    if place + 1 == n:
        _fold_comoments(state, at, slot, n)
        return mx, my, xx, xy, yy
    state[at], state[at + 1], state[at + 2] = count, mx, my
    state[at + 3], state[at + 4], state[at + 5] = xx, xy, yy
    older, share = slot + 5, count / n
    weight = share * (n - count)
    dx, dy = mx - state[older], my - state[older + 1]
    return (
        state[older] + dx * share,
        state[older + 1] + dy * share,
        xx + state[older + 2] + dx * dx * weight,
        xy + state[older + 3] + dx * dy * weight,
        yy + state[older + 4] + dy * dy * weight,
    )


@kernel
def _fold_comoments(state: State, at: int, slot: int, n: int) -> None:
    """Fold a full part from its newest pair back."""
    mx = my = xx = xy = yy = 0.0
    for j in range(n):
        here = slot - 5 * j
        mx, my, xx, xy, yy = _joined(mx, my, xx, xy, yy, state[here], state[here + 1], j + 1.0)
        state[here], state[here + 1], state[here + 2] = mx, my, xx
        state[here + 3], state[here + 4] = xy, yy
    state[at] = state[at + 1] = state[at + 2] = state[at + 3] = state[at + 4] = state[at + 5] = 0.0


@kernel
def _joined(
    mx: float, my: float, xx: float, xy: float, yy: float, x: float, y: float, count: float
) -> tuple[float, float, float, float, float]:
    """Take one more pair into means and products, which then are of *count* pairs."""
    dx, dy = x - mx, y - my
    mx, my = mx + dx / count, my + dy / count
    return mx, my, xx + dx * (x - mx), xy + dx * (y - my), yy + dy * (y - my)
