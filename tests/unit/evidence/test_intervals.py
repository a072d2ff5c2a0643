"""Intervals hold what is true as often as they say, also where horizons overlap and moods last."""

import numpy as np
import pytest

from klinehub.evidence.cross import cross, quantiles_of
from klinehub.evidence.forward import forward_returns, prices_of
from klinehub.evidence.intervals import critical, lags_of, median_interval, newey_west

SEEDS = 1_000


def covered(kind: str, overlap: int, bars: int = 1_500, mood: float = 0.0) -> float:
    """Give how often the interval of a mean of zero holds zero, over many seeds."""
    held = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng([seed, overlap])
        noise = rng.normal(size=bars + 200) if kind == "normal" else rng.standard_t(4, bars + 200)
        if mood:
            for bar in range(1, noise.size):
                noise[bar] += mood * noise[bar - 1]
        summed = np.convolve(noise, np.ones(overlap), "valid")[-bars:]
        found = newey_west(summed, overlap)
        held += found.low <= 0.0 <= found.high
    return held / SEEDS


@pytest.mark.parametrize("overlap", [1, 4, 24])
def test_intervals_of_overlapping_returns_hold_the_truth_95_times_in_100(overlap: int) -> None:
    assert 0.93 <= covered("tails", overlap) <= 0.97


def test_a_random_score_is_worth_nothing_93_to_97_times_in_100() -> None:
    """Random scores on returns that go together in time and over symbols: the interval of the rank IC."""
    held = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        moves = rng.standard_t(4, (400, 20)) * 0.01 + rng.normal(0.0, 0.02, (400, 1))
        opens = np.exp(np.cumsum(moves, axis=0))
        scores = rng.normal(size=opens.shape)
        found = cross(
            scores,
            forward_returns(prices_of(opens, opens, grace=1), 8),
            quantiles_of(scores, np.ones(opens.shape, bool), 5),
            5,
        )
        interval = newey_west(found.rank_ic, 8)
        held += not interval.says
    assert 0.93 <= held / SEEDS <= 0.97


def test_an_edge_of_five_hundredths_is_found_19_times_in_20() -> None:
    found = 0
    for seed in range(100):
        rng = np.random.default_rng([5, seed])
        moves = rng.standard_t(5, (1_000, 50)) * 0.01
        opens = np.exp(np.cumsum(moves, axis=0))
        scores = rng.normal(size=opens.shape)
        # A correlation of 0.05 with the return from the next open to the one after it.
        scores[:-2] = 0.05 * moves[2:] / moves.std() + np.sqrt(1 - 0.05**2) * scores[:-2]
        returns = forward_returns(prices_of(opens, opens, grace=1), 1)
        seen = cross(scores, returns, quantiles_of(scores, np.ones(opens.shape, bool), 5), 5)
        found += newey_west(seen.ic, 1).low > 0.0
    assert found >= 95


def test_few_bars_have_no_interval_and_none_has_no_mean() -> None:
    assert np.isnan(newey_west(np.ones(29)).low)
    assert newey_west(np.ones(29)).mean == 1.0
    assert newey_west(np.full(5, np.nan)).n == 0
    assert newey_west(np.array([np.nan, *range(40)])).n == 40


def test_more_lags_and_more_certainty_widen_it() -> None:
    assert critical(0.0) == pytest.approx(1.96)
    assert critical(0.1) > critical(0.02) > critical(0.0)
    assert critical(0.0, 0.99) == pytest.approx(2.5758, abs=1e-3)
    assert lags_of(10_000, 1) < lags_of(10_000, 24) == 69
    assert lags_of(40, 96) == 20


def test_a_median_is_where_it_is_and_days_that_go_together_widen_its_interval() -> None:
    rng = np.random.default_rng(3)
    days = np.repeat(np.arange(200), 50)
    alone = rng.normal(0.01, 0.05, days.size)
    together = alone + np.repeat(rng.normal(0.0, 0.05, 200), 50)

    calm = median_interval(alone, days, np.random.default_rng(1))
    wide = median_interval(together, days, np.random.default_rng(1))
    assert calm.low < calm.mean == np.median(alone) < calm.high
    assert wide.high - wide.low > 2 * (calm.high - calm.low)
    assert median_interval(together, days, np.random.default_rng(1)) == wide
    assert np.isnan(median_interval(alone[:100], days[:100], rng).low)


def test_the_interval_of_a_median_holds_the_truth() -> None:
    held = 0
    for seed in range(300):
        rng = np.random.default_rng([9, seed])
        days = np.repeat(np.arange(60), 20)
        values = rng.standard_t(4, days.size) + np.repeat(rng.normal(0.0, 0.5, 60), 20)
        found = median_interval(values, days, rng, draws=200, bins=200)
        held += found.low <= 0.0 <= found.high
    assert 0.90 <= held / 300 <= 0.98
