import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.factors.runs import Series, a_market

from klinehub.factors import steps

pytestmark = pytest.mark.timeout(120)

LENGTHS = [1, 2, 3, 7, 32]
few = settings(max_examples=30)


def stepped(block: Callable[..., Any], size: int, *series: Series, n: int, at: int = 3) -> Series:
    """What a block gives for each bar, [bars, values]; it may only touch its own part of the state."""
    state = np.zeros(at + size + 5)
    rows = [block(state, at, *row, n) for row in zip(*(one.tolist() for one in series), strict=True)]
    assert not state[:at].any()
    assert not state[at + size :].any()
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1)


def windows(series: Series, n: int) -> Series:
    return np.lib.stride_tricks.sliding_window_view(series, n)


def near(values: Series, expected: Series, scale: float | Series = 0.0) -> None:
    assert values.shape == expected.shape
    assert np.isfinite(values).all()
    assert (np.abs(values - expected) <= 1e-12 * np.maximum(np.abs(expected), scale)).all()


def a_series(price: float = 100.0) -> Series:
    """Prices with flat stretches and one bar of a thousand times as much."""
    series = a_market(seed=3, bars=150, price=price)["close"]
    series[20:60] = series[20]
    series[90] *= 1000.0
    return series


def test_bars_counts_those_before() -> None:
    state = np.zeros(1)

    assert [steps.bars(state, 0) for _ in range(3)] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("n", LENGTHS)
def test_before_is_the_value_n_bars_ago_and_at_first_the_value_itself(n: int) -> None:
    series = a_series()
    values = stepped(steps.before, steps.kept(n, 1), series, n=n)[:, 0]

    assert values[:n].tolist() == series[:n].tolist()
    assert values[n:].tolist() == series[:-n].tolist()


def test_returns_are_simple_ones_and_nothing_at_first() -> None:
    state = np.zeros(1)

    assert [steps.returns(state, 0, price) for price in (4.0, 5.0, 5.0, 2.5)] == [0.0, 0.25, 0.0, -0.5]


@pytest.mark.parametrize("n", LENGTHS)
def test_totals_are_the_sums_of_the_last_n_values(n: int) -> None:
    one, other = a_series(), a_series(1e-5)
    sums = [np.array([math.fsum(window) for window in windows(series, n)]) for series in (one, other)]

    near(stepped(steps.total, steps.kept(n, 1), one, n=n)[n - 1 :, 0], sums[0])
    near(stepped(steps.totals, steps.kept(n, 2), one, other, n=n)[n - 1 :], np.column_stack(sums))


def test_nothing_is_left_of_what_has_gone() -> None:
    series = np.zeros(60)
    series[7] = 1e18
    series[40:] = 1e-9
    values = stepped(steps.total, steps.kept(10, 1), series, n=10)[:, 0]

    assert values[17:40].tolist() == [0.0] * 23
    assert values[49:] == pytest.approx(1e-8, rel=1e-15)


@few
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_part_is_never_more_than_the_whole(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = np.exp(rng.normal(0, 5, 120))
    part = np.where(rng.random(120) < 0.5, whole, whole * rng.random(120))
    values = stepped(steps.totals, steps.kept(n, 2), part, whole, n=n)

    assert (values[:, 0] <= values[:, 1]).all()


@pytest.mark.parametrize("n", LENGTHS)
def test_a_channel_is_the_highest_and_the_lowest_of_the_last_n_bars(n: int) -> None:
    market = a_market(bars=150)
    values = stepped(steps.channel, steps.kept(n, 2), market["high"], market["low"], n=n)[n - 1 :]

    assert values[:, 0].tolist() == windows(market["high"], n).max(axis=1).tolist()
    assert values[:, 1].tolist() == windows(market["low"], n).min(axis=1).tolist()


def exactly(window: Series) -> tuple[float, float]:
    """Mean and sum of squared distances to it, without rounding on the way."""
    numbers = [Fraction(value) for value in window.tolist()]
    mean = sum(numbers) / len(numbers)
    return float(mean), float(sum((number - mean) ** 2 for number in numbers))


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize(("price", "tick"), [(60000.1, 0.1), (0.0000123, 1e-9), (60000.1, 0.01), (1.0, 0.1)])
def test_moments_keep_their_digits_at_any_price_and_move(n: int, price: float, tick: float) -> None:
    series: Series = price + tick * np.random.default_rng(1).integers(-1, 2, 100).astype(float)
    series[40:80] = series[40]
    expected = np.array([exactly(window) for window in windows(series, n)])
    values = stepped(steps.moments, steps.kept(n, 2), series, n=n)[n - 1 :]

    near(values[:, 0], expected[:, 0])
    assert (np.abs(values[:, 1] - expected[:, 1]) <= 1e-9 * expected[:, 1]).all()


@pytest.mark.parametrize("price", [60000.1, 0.0000123, 0.1])
def test_equal_values_have_no_deviation_and_no_slope(price: float) -> None:
    series = a_series(price)
    series[30:] = price
    moments = stepped(steps.moments, steps.kept(20, 2), series, n=20)[50:]
    lines = stepped(steps.regression, steps.kept(20, 3), series, n=20)[50:]

    assert moments.tolist() == [[price, 0.0]] * moments.shape[0]
    assert not lines.any()


@pytest.mark.parametrize("n", [2, 3, 7, 32])
@pytest.mark.parametrize(("price", "tick"), [(60000.1, 0.1), (0.0000123, 1e-9)])
def test_a_regression_keeps_its_digits(n: int, price: float, tick: float) -> None:
    series: Series = price + tick * np.cumsum(np.random.default_rng(1).integers(-1, 2, 100)).astype(float)
    values = stepped(steps.regression, steps.kept(n, 3), series, n=n)[n - 1 :]
    for (slope, straight), window in zip(values.tolist(), windows(series, n), strict=True):
        x, y = [Fraction(i) for i in range(n)], [Fraction(value) for value in window.tolist()]
        mx, my = sum(x) / n, sum(y) / n
        xx, yy = sum((a - mx) ** 2 for a in x), sum((b - my) ** 2 for b in y)
        xy = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))

        assert slope == pytest.approx(float(xy / xx), rel=1e-9, abs=1e-9 * tick)
        assert straight == pytest.approx(float(xy * xy / (xx * yy)) if yy else 0.0, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("n", LENGTHS)
def test_comoments_are_means_and_products_about_them(n: int) -> None:
    x = np.diff(np.log(a_series())) + 1.0
    y = np.random.default_rng(2).normal(0, 1, x.size)
    y[30:70] = 0.25
    values = stepped(steps.comoments, steps.kept(n, 5), x, y, n=n)[n - 1 :]
    a, b = windows(x, n), windows(y, n)
    da, db = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    xx, xy, yy = (da * da).sum(axis=1), (da * db).sum(axis=1), (db * db).sum(axis=1)

    near(values[:, 0], a.mean(axis=1), 1.0)
    near(values[:, 1], b.mean(axis=1), 1.0)
    near(values[:, 2], xx, 1.0)
    near(values[:, 3], xy, np.sqrt(xx * yy) + 1.0)
    near(values[:, 4], yy, 1.0)
    assert not values[np.ptp(b, axis=1) == 0.0, 4].any()


@pytest.mark.parametrize("n", LENGTHS)
def test_ema_is_talibs(n: int) -> None:
    series = a_series()
    values = stepped(steps.ema, 2, series, n=n)[n - 1 :, 0]

    near(values, talib.EMA(series, n)[n - 1 :] if n > 1 else series)


@pytest.mark.parametrize("n", [1, 2, 14])
def test_wilders_averages_are_talibs(n: int) -> None:
    market = a_market(bars=150)
    high, low, close = market["high"], market["low"], market["close"]
    ranges = stepped(steps.atr, 3, high, low, close, n=n)[n:, 0]
    up, down = stepped(steps.gains, 4, close, n=n)[n:].T

    near(ranges, talib.ATR(high, low, close, n)[n:])
    if n > 1:
        near(100.0 * up / (up + down), talib.RSI(close, n)[n:])


def test_the_first_bar_has_no_range_and_no_gain() -> None:
    assert steps.atr(np.zeros(3), 0, 3.0, 1.0, 2.0, 14) == 0.0
    assert steps.gains(np.zeros(4), 0, 3.0, 14) == (0.0, 0.0)


def test_what_is_measured_in_a_market_that_stands_still_is_nothing() -> None:
    assert steps.in_ranges(0.5, 0.25, 100.0) == 2.0
    assert steps.in_ranges(0.5, 1e-8, 100.0) == 0.0
    assert steps.in_ranges(0.0, 0.0, 100.0) == 0.0


def exact_log(a: float, b: float) -> float:
    with localcontext(prec=50):
        return float((Decimal(a) / Decimal(b)).ln())


@few
@given(st.floats(1e-300, 1e300), st.floats(1e-12, 1e12))
def test_the_logarithm_is_right_to_its_last_digits_for_any_two_prices(a: float, share: float) -> None:
    b = a * share
    if not 0.0 < b < math.inf:
        return

    assert steps.log_ratio(a, b) == pytest.approx(exact_log(a, b), rel=1e-15, abs=0.0)


@few
@given(st.floats(1e-6, 1e6), st.floats(-0.05, 0.05))
def test_the_logarithm_of_near_prices_loses_nothing(price: float, move: float) -> None:
    other = price * (1.0 + move)

    assert steps.log_ratio(other, price) == pytest.approx(exact_log(other, price), rel=1e-15, abs=0.0)


@pytest.mark.parametrize("x", [0.5, 0.7, 0.999, 1.0, 1.02, 1.0201, 1.41, 1.42, 2.0, 3.0, 1e5, 5e-324, 1e307])
def test_the_logarithm_is_the_usual_one_and_its_own_mirror(x: float) -> None:
    assert steps.log_ratio(x, 1.0) == pytest.approx(math.log(x), rel=4e-16, abs=0.0)
    assert steps.log_ratio(1.0, x) == -steps.log_ratio(x, 1.0)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_what_has_no_logarithm_gives_none(bad: float) -> None:
    assert math.isnan(steps.log_ratio(bad, 1.0))
    assert math.isnan(steps.log_ratio(1.0, bad))


@pytest.mark.parametrize("n", [1, 2, 3, 9, 14, 26, 50, 83])
def test_a_warm_up_is_the_shortest_that_leaves_a_thousandth_of_the_seed(n: int) -> None:
    for bars, decay in ((steps.ema_bars(n), 1 - 2 / (n + 1)), (steps.wilder_bars(n), 1 - 1 / n)):
        assert decay ** (bars - n + 1) <= 1e-3
        assert decay ** (bars - n) > 1e-3


def test_the_usual_warm_ups() -> None:
    assert [steps.ema_bars(n) for n in (12, 20, 26, 50)] == [53, 89, 115, 222]
    assert [steps.wilder_bars(14), steps.atr_bars(14)] == [107, 108]


@pytest.mark.parametrize(("one", "other"), [(26, 9), (25, 13), (9, 26), (10, 10)])
def test_the_warm_up_of_an_average_of_averages_leaves_a_thousandth_of_the_first_seed(
    one: int, other: int
) -> None:
    need = steps.ema_bars(one, other)
    left = []
    for late in (0, 1):
        first, second = 1.0, 1.0
        for _ in range(need - one - other + 2 - late):
            first *= 1 - 2 / (one + 1)
            second += (first - second) * 2 / (other + 1)
        left.append(second)

    assert left[0] <= 1e-3 < left[1]


@pytest.mark.parametrize("n", [0, -1, 10_001])
def test_a_length_that_makes_no_window_is_refused(n: int) -> None:
    for rule in (steps.length, steps.window_bars, steps.ema_bars, steps.wilder_bars):
        with pytest.raises(ValueError, match=f"a length of {n} bars"):
            rule(n)


@few
@given(st.lists(st.floats(0.0, 1e12), min_size=1, max_size=60), st.integers(1, 20))
def test_windows_are_finite_and_bounded_by_their_values(values: list[float], n: int) -> None:
    series = np.array(values)
    mean, square = stepped(steps.moments, steps.kept(n, 2), series, n=n)[n - 1 :].T

    assert (square >= 0.0).all()
    for value, window in zip(mean, windows(series, min(n, series.size)), strict=False):
        assert window.min() * (1 - 1e-12) <= value <= window.max() * (1 + 1e-12)
