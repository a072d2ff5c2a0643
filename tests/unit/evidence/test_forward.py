"""Forward returns: from the next open, never from the bar that is scored, and to a delisting."""

import numpy as np
from numpy.testing import assert_allclose

from klinehub.evidence.forward import delisted_within, forward_returns, next_returns, prices_of

OPENS = np.array([10.0, 11.0, 12.0, 15.0, 14.0, 16.0, 20.0])[:, None]


def test_a_return_begins_at_the_open_after_the_score_and_ends_at_an_open() -> None:
    found = forward_returns(prices_of(OPENS, OPENS + 0.5, grace=1), 2)[:, 0]

    assert_allclose(found[:4], [15 / 11 - 1, 14 / 12 - 1, 16 / 15 - 1, 20 / 14 - 1])
    assert np.isnan(found[4:]).all()


def test_no_return_reads_the_bar_that_is_scored_or_one_beyond_its_horizon() -> None:
    """The planted cheat: what fills in the same bar, or looks further, would change here."""
    plain = forward_returns(prices_of(OPENS, OPENS, grace=1), 2)
    for bar in range(4):
        other = OPENS.copy()
        other[: bar + 1] *= 7.0
        other[bar + 4 :] *= 5.0
        assert forward_returns(prices_of(other, other, grace=1), 2)[bar] == plain[bar]


def test_who_is_delisted_is_left_at_the_last_close_and_counted() -> None:
    opens = np.column_stack((OPENS[:, 0], OPENS[:, 0]))
    opens[4:, 1] = np.nan
    closes = opens * 0.5
    prices = prices_of(opens, closes, grace=1)
    found = forward_returns(prices, 2)[:, 1]

    assert prices.ended.tolist() == [7, 3]
    assert_allclose(found[:3], [15 / 11 - 1, 7.5 / 12 - 1, 7.5 / 15 - 1])
    assert np.isnan(found[3:]).all()
    assert delisted_within(prices, 2, np.ones(opens.shape, bool)) == 2


def test_who_lacks_only_the_last_bars_of_a_recording_is_not_delisted() -> None:
    opens = np.column_stack((OPENS[:, 0], OPENS[:, 0]))
    opens[5:, 1] = np.nan

    assert prices_of(opens, opens, grace=3).ended.tolist() == [7, 7]
    assert prices_of(opens, opens, grace=1).ended.tolist() == [7, 4]


def test_prices_of_zero_holes_and_infinite_returns_are_unknown() -> None:
    opens = np.column_stack([OPENS[:, 0]] * 3)
    opens[2, 0], opens[2, 1], opens[2, 2] = 0.0, np.nan, 1e-320
    opens[3, 2] = 1e308
    found = next_returns(prices_of(opens, opens, grace=1))

    assert np.isnan(found[[0, 1], 0]).all()
    assert np.isnan(found[[0, 1], 1]).all()
    assert np.isnan(found[1, 2])


def test_a_horizon_longer_than_the_data_gives_nothing() -> None:
    assert np.isnan(forward_returns(prices_of(OPENS, OPENS, grace=1), 50)).all()
