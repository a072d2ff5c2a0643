"""Cross-sections against alphalens' own figures and against the plain definitions."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from tests.unit.evidence.alphalens_golden import GOLDEN, HORIZONS, QUANTILES, market

from klinehub.evidence.cross import Cross, cross, quantiles_of, turnover
from klinehub.evidence.forward import forward_returns, prices_of
from klinehub.panel.memory import F64

NEAR = 1e-9


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def seen() -> dict[int, Cross]:
    scores, opens = market()
    prices = prices_of(opens, opens, grace=1)
    quantile = quantiles_of(scores, np.ones(scores.shape, bool), QUANTILES)
    return {bars: cross(scores, forward_returns(prices, bars), quantile, QUANTILES) for bars in HORIZONS}


@pytest.mark.parametrize("bars", HORIZONS)
def test_rank_ic_quantiles_and_spread_are_those_of_alphalens(
    golden: dict[str, Any], seen: dict[int, Cross], bars: int
) -> None:
    told, own = golden[str(bars)], seen[bars]
    known = np.isfinite(own.rank_ic)

    assert_allclose(own.rank_ic[known], told["rank_ic"], atol=NEAR, rtol=0)
    assert_allclose(own.spread[known], told["spread"], atol=NEAR, rtol=0)
    beyond = np.nansum((own.quantiles - own.mean) * own.sizes, axis=1) / own.sizes.sum(axis=1)
    assert_allclose(beyond, told["quantiles"], atol=NEAR, rtol=0)


@pytest.mark.parametrize("bars", HORIZONS)
def test_turnover_is_that_of_alphalens(golden: dict[str, Any], bars: int) -> None:
    scores, opens = market()
    # alphalens knows no quantile where it knows no return.
    whole = np.isfinite(forward_returns(prices_of(opens, opens, grace=1), bars))
    quantile = quantiles_of(scores, whole, QUANTILES)

    for which in (1, QUANTILES):
        own = turnover(quantile, which, bars)
        assert_allclose(own[np.isfinite(own)], golden[str(bars)]["turnover"][str(which)], atol=NEAR, rtol=0)


def test_each_symbol_is_in_the_quantile_in_which_alphalens_has_it(golden: dict[str, Any]) -> None:
    scores, _ = market()
    cut = quantiles_of(scores, np.ones(scores.shape, bool), QUANTILES)

    assert_array_equal(cut[: len(golden["1"]["cut"])], golden["1"]["cut"])


def ranks(values: F64) -> F64:
    """The definition: how many are below, and half of those that are equal."""
    below = (values[None, :] < values[:, None]).sum(axis=1)
    found: F64 = below + ((values[None, :] == values[:, None]).sum(axis=1) + 1) / 2
    return found


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(-1e300, 1e300), st.sampled_from([0.0, -0.0, 1.0, 1.0 / 64])),
            st.one_of(st.floats(-0.9, 1e6), st.just(0.0)),
        ),
        min_size=5,
        max_size=40,
    )
)
def test_correlations_are_those_of_the_definition_with_ties_zeros_and_any_size(
    pairs: list[tuple[float, float]],
) -> None:
    scores, returns = (np.array([column]) for column in zip(*pairs, strict=True))
    found = cross(scores, returns, quantiles_of(scores, np.ones(scores.shape, bool), 2), 2)

    a, b = ranks(scores[0]), ranks(returns[0])
    if a.std() > 0 and b.std() > 0:
        assert_allclose(found.rank_ic[0], np.corrcoef(a, b)[0, 1], atol=1e-12)
    else:
        assert np.isnan(found.rank_ic[0])


def test_who_is_no_member_has_no_score_or_no_return_takes_no_part() -> None:
    rng = np.random.default_rng(1)
    scores, returns = rng.normal(size=(2, 1, 30))
    alone = cross(scores[:, :20], returns[:, :20], quantiles_of(scores[:, :20], np.ones((1, 20), bool), 5), 5)
    members = np.ones((1, 30), bool)
    members[0, 20:25] = False
    scores[0, 25:] = np.nan
    found = cross(scores, returns, quantiles_of(scores, members, 5), 5)

    assert found.known[0] == 20
    assert_array_equal([found.ic, found.rank_ic, found.mean], [alone.ic, alone.rank_ic, alone.mean])
    returns[0, 3] = np.nan
    assert cross(scores, returns, quantiles_of(scores, members, 5), 5).known[0] == 19


def test_a_constant_score_says_nothing_and_few_symbols_give_nothing() -> None:
    returns = np.linspace(-1, 1, 20)[None, :]
    constant, few = np.zeros((1, 20)), np.full((1, 20), np.nan)
    few[0, :4] = range(4)

    for scores in (constant, few):
        found = cross(scores, returns, quantiles_of(scores, np.ones((1, 20), bool), 5), 5)
        assert np.isnan(found.rank_ic[0])
        assert np.isnan(found.ic[0])
