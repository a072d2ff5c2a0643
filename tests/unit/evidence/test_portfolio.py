"""The long-short portfolio, its costs, and Sharpe ratios that know how many were tried."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from klinehub.domain.timeframe import DAY
from klinehub.evidence.portfolio import Costs, booked, capacity, drawdown, weights_of
from klinehub.evidence.sharpe import daily, deflated, error, expected_best, probabilistic, sharpe

FREE = Costs(0.0, 0.0)


def test_half_is_long_the_highest_quantile_and_half_short_the_lowest() -> None:
    quantile = np.array([[1, 1, 2, 3, 3], [0, 0, 0, 0, 0], [1, 2, 3, 3, 3]], np.int8)
    held = weights_of(quantile, 3, 1)

    assert_allclose(held[0], [-0.25, -0.25, 0.0, 0.25, 0.25])
    assert_allclose(held[1], 0.0)
    assert_allclose(held[2], [-0.5, 0.0, *[0.5 / 3] * 3])


def test_what_is_held_for_some_bars_is_exchanged_a_part_at_a_bar() -> None:
    quantile = np.array([[2, 1]] * 3 + [[1, 2]] * 4, np.int8)
    held = weights_of(quantile, 2, 3)

    assert_allclose(held[:, 0], np.array([1, 2, 3, 1, -1, -3, -3]) / 6)
    assert_allclose(held[:, 0], -held[:, 1])


def test_each_traded_amount_costs_and_what_prices_moved_is_traded_back() -> None:
    weights = np.array([[0.5, -0.5], [0.5, -0.5], [0.0, 0.0]])
    returns = np.array([[0.10, 0.0], [0.0, 0.20], [0.5, 0.5]])
    found = booked(weights, returns, Costs(0.001, 0.001))

    assert_allclose(found.gross, [0.05, -0.10, 0.0])
    # 0.5 + 0.5, then 0.05 that the first gained, then all with the 0.10 that the second gained.
    assert_allclose(found.traded, [1.0, 0.05, 0.5 + 0.6])
    assert_allclose(found.net, found.gross - 0.002 * found.traded)


def test_longs_pay_funding_and_what_has_no_price_brings_nothing_and_is_counted() -> None:
    weights = np.array([[0.5, -0.5]])
    found = booked(weights, np.array([[np.nan, 0.1]]), FREE, np.array([[0.01, 0.02]]))

    assert_allclose(found.gross, [-0.05])
    assert_allclose(found.funding, [0.5 * 0.01 - 0.5 * 0.02])
    assert_allclose(found.net, [-0.05 + 0.005])
    assert found.unpriced == 1


def test_drawdown_is_below_the_highest_and_begins_at_nothing() -> None:
    assert_allclose(drawdown(np.array([-0.1, 0.3, -0.2, -0.1])), [-0.1, 0.0, -0.2, -0.3])


def test_capacity_keeps_nine_in_ten_trades_below_a_hundredth_of_the_bar() -> None:
    weights = np.zeros((11, 1))
    weights[1::2] = 0.5
    turnover = np.full((11, 1), 1_000_000.0)

    assert capacity(weights, turnover) == pytest.approx(20_000.0)
    assert math.isnan(capacity(weights, np.full((11, 1), np.nan)))


def test_bars_are_summed_to_days() -> None:
    times = np.array([0, 1, 2, 26, 50]) * 3_600_000 + DAY
    assert_allclose(daily(np.array([1.0, 2.0, np.nan, 4.0, 8.0]), times), [3.0, 4.0, 8.0])


def test_a_sharpe_ratio_of_nothing_is_not_known() -> None:
    assert math.isnan(sharpe(np.zeros(100)))
    assert math.isnan(sharpe(np.arange(5.0)))
    assert math.isnan(probabilistic(np.zeros(100)))
    assert math.isnan(deflated(np.zeros(100), np.array([np.nan])))


def test_the_error_of_a_sharpe_ratio_is_that_of_many_draws() -> None:
    rng = np.random.default_rng(4)
    drawn = rng.normal(0.05, 1.0, (4_000, 250))
    ratios = [sharpe(days) for days in drawn]

    assert np.std(ratios) == pytest.approx(error(drawn[0]), rel=0.05)
    above = [probabilistic(days, 0.05) > 0.95 for days in drawn]
    assert 0.03 < np.mean(above) < 0.07


def test_the_best_of_worthless_trials_is_no_better_than_expected() -> None:
    rng = np.random.default_rng(7)
    best = [max(sharpe(days) for days in rng.normal(0.0, 1.0, (50, 250))) for _ in range(300)]

    assert np.mean(best) == pytest.approx(expected_best(50, 1 / math.sqrt(250)), rel=0.06)
    assert expected_best(1, 1.0) == 0.0


def test_many_trials_make_the_best_of_them_less_sure() -> None:
    rng = np.random.default_rng(2)
    days = rng.normal(0.12, 1.0, 365)
    trials = np.concatenate(([sharpe(days)], rng.normal(0.0, 0.05, 99)))

    assert deflated(days, trials[:1]) == probabilistic(days) > 0.9
    assert deflated(days, trials) < 0.5
