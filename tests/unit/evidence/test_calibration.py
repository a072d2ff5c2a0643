"""Calibration: planted returns come back by the scores that they followed, from what could be had."""

from typing import Final

import numpy as np
import pytest

from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.evidence.calibration import buckets, edges_of
from klinehub.evidence.forward import Prices
from klinehub.evidence.replay import Replayed
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64
from klinehub.scan.likeness import Bucket
from klinehub.scan.scanner import default_screen
from klinehub.scan.screen import Screen

pytestmark = pytest.mark.timeout(60)
FRAME: Final = TIMEFRAMES["1h"]
FIRST: Final = FRAME.index(1_735_689_600_000)
BARS, SYMBOLS = 24 * 60, 40
SCORE: Final = default_screen(("1h",))


def market(edge: float, seed: int = 1) -> tuple[F64, Prices]:
    """Scores of -100 to 100, and prices that go *edge* a point of it in the bar after the next open."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-100.0, 100.0, (BARS, SYMBOLS))
    steps = rng.normal(0.0, 0.002, (BARS, SYMBOLS))
    # A score of bar t is paid from the open of t + 1 to that of t + 2.
    steps[2:] += edge * scores[:-2]
    opens = 100.0 * np.exp(np.cumsum(steps, axis=0))
    return scores, Prices(opens, opens, np.full(SYMBOLS, BARS))


def parted(
    scores: F64,
    prices: Prices,
    screen: Screen = SCORE,
    hits: Flags | None = None,
    members: Flags | None = None,
) -> list[Bucket]:
    every = np.ones(scores.shape, bool)
    names = tuple(f"S{n}USDT" for n in range(SYMBOLS))
    replayed = Replayed(screen, "1h", FIRST, names, scores, every if hits is None else hits, every)
    inside = every if members is None else members
    return list(buckets(replayed, FRAME, prices, inside, (1, 4), np.random.default_rng(0)))


def test_what_followed_scores_comes_back_by_bucket_with_its_interval() -> None:
    edge = 1e-4
    found = parted(*market(edge))

    assert len(found) == 12
    assert [one.low for one in found[1:]] == [one.high for one in found[:-1]]
    assert (found[0].low, found[-1].high) == (None, None)
    assert sum(one.n for one in found) == BARS * SYMBOLS
    for one in found[1:-1]:
        first = one.outcomes[0]
        middle = edge * ((one.low or 0.0) + (one.high or 0.0)) / 2.0
        assert first.interval is not None
        assert first.interval[0] <= (first.median or 0.0) <= first.interval[1]
        assert first.median == pytest.approx(middle, abs=3e-4)
    assert (found[-1].outcomes[0].hit_rate or 0.0) > 0.99
    assert (found[0].outcomes[0].hit_rate or 0.0) > 0.99


def test_scores_that_say_nothing_have_medians_that_are_not_told_from_zero() -> None:
    outcomes = [one.outcomes[0] for one in parted(*market(0.0))]

    inside = [one.interval is not None and one.interval[0] < 0.0 < one.interval[1] for one in outcomes]
    assert sum(inside) >= len(inside) - 2
    assert all(0.4 < (one.hit_rate or 0.0) < 0.6 for one in outcomes)


def test_a_return_that_was_over_when_the_score_was_known_is_not_counted() -> None:
    scores, prices = market(0.0)
    # What the bar itself did up to the next open, which nobody can have who waits for its close.
    opens = prices.opens.copy()
    opens[1:] *= np.exp(np.cumsum(1e-4 * scores[:-1], axis=0))
    found = parted(scores, prices._replace(opens=opens, closes=opens))

    assert abs(found[-2].outcomes[0].median or 1.0) < 1e-3


def test_only_hits_of_members_count() -> None:
    scores, prices = market(0.0)
    hits, members = np.zeros(scores.shape, bool), np.zeros(scores.shape, bool)
    hits[:, :10] = True
    members[:, 5:] = True

    found = parted(scores, prices, hits=hits, members=members)

    assert sum(one.n for one in found) == BARS * 5


def test_hits_without_a_score_are_one_bucket_and_go_its_way_when_prices_rise() -> None:
    scores, prices = market(0.0)
    where = Screen(name="any", timeframe="1h", where=SCORE.score[0].expr > 0.0)
    risen = prices._replace(opens=prices.opens * np.exp(0.02 * np.arange(BARS))[:, None])

    (found,) = parted(scores, risen, where)

    assert (found.low, found.high, found.n, found.days) == (None, None, BARS * SYMBOLS, 60)
    assert found.outcomes[0].hit_rate == pytest.approx(1.0)


def test_few_hits_have_few_parts_and_few_days_no_interval() -> None:
    scores, prices = market(0.0)
    hits = np.zeros(scores.shape, bool)
    hits[: 24 * 5, :2] = True

    found = parted(scores, prices, hits=hits)

    assert [one.n for one in found] == [119, 121]
    assert [one.days for one in found] == [5, 5]
    assert all(outcome.interval is None for one in found for outcome in one.outcomes)


def test_no_hits_have_no_buckets() -> None:
    scores, prices = market(0.0)

    assert parted(scores, prices, hits=np.zeros(scores.shape, bool)) == []


def test_equal_scores_are_never_parted() -> None:
    assert edges_of(np.zeros(100_000)).size == 0
    assert edges_of(np.repeat([0.0, 1.0], 50_000)).tolist() == [1.0]


def test_the_same_bars_and_draws_give_the_same_bytes() -> None:
    assert parted(*market(1e-4)) == parted(*market(1e-4))
