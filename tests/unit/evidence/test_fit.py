"""Fitted weights: planted ones are found, worthless ones are told, and folds never see what judges them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from klinehub.errors import DataError
from klinehub.evidence.fit import chosen, fit, folds, ridge
from klinehub.evidence.gram import Gram, gram_of
from klinehub.panel.memory import F64

BARS, SYMBOLS = 1_500, 40
NAMES = ("a", "b", "c")
EVEN = np.ones(3)


def market(edges: tuple[float, float, float], seed: int = 1) -> tuple[F64, F64]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, BARS, SYMBOLS))
    noise = rng.standard_t(4, (BARS, SYMBOLS)) * 0.02
    returns = noise + 0.02 * np.einsum("k,kts->ts", np.array(edges), values)
    return values, returns


def gram(edges: tuple[float, float, float], seed: int = 1) -> Gram:
    return gram_of(*market(edges, seed), np.ones((BARS, SYMBOLS), bool))


def test_the_correlation_from_products_is_that_of_the_ranks() -> None:
    values, returns = market((0.2, 0.0, 0.0))
    found = gram_of(values, returns, np.ones((BARS, SYMBOLS), bool)).ic(np.array([1.0, 0.0, 0.0]))

    ranks = [np.argsort(np.argsort(one, axis=1), axis=1) for one in (values[0], returns)]
    assert_allclose(
        found[:50], [np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks, strict=True)][:50], atol=1e-12
    )


def test_planted_weights_and_signs_are_found_and_gain_on_the_even_ones() -> None:
    found = fit(gram((0.2, -0.1, 0.0)), NAMES, EVEN, 1)

    assert found.weights["a"] > 45 > -20 > found.weights["b"]
    assert abs(found.weights["c"]) < 10
    assert sum(map(abs, found.weights.values())) == pytest.approx(100, abs=0.05)
    assert (found.kept["a"], found.kept["b"]) == (1.0, 1.0)
    assert found.verdict.startswith("Better than the weights in use")
    assert found.gain_interval is not None
    assert found.gain_interval[0] > 0


def test_worthless_parts_are_told_as_noise() -> None:
    verdicts = [fit(gram((0.0, 0.0, 0.0), seed), NAMES, EVEN, 1).verdict for seed in range(20)]

    assert sum(one.startswith("Not distinguishable") for one in verdicts) >= 18


def test_what_is_as_good_as_the_weights_in_use_is_no_better() -> None:
    found = fit(gram((0.1, 0.1, 0.1)), NAMES, EVEN, 1)

    assert found.verdict.startswith("No better than the weights in use")


@pytest.mark.parametrize("horizon", [1, 24])
def test_weights_never_see_a_return_that_reaches_into_the_bars_that_judge_them(horizon: int) -> None:
    for fold in folds(BARS, 5, horizon):
        last, first = np.flatnonzero(fold.fitted)[-1], np.flatnonzero(fold.judged)[0]
        # The return of the last bar ends at the open of bar last + 1 + horizon; as many again are embargoed.
        assert last + 1 + horizon < first - horizon
    judged = np.sum([fold.judged for fold in folds(BARS, 5, horizon)], axis=0)
    assert set(judged.tolist()) == {0, 1}


def test_later_bars_change_no_weight_of_a_fold() -> None:
    """The planted cheat: what looks at the bars that judge it would change here."""
    plain, changed = gram((0.2, -0.1, 0.0)), gram((0.2, -0.1, 0.0))
    fold = folds(BARS, 5, 1)[2]
    changed.returns[np.flatnonzero(fold.judged)[0] :] *= -5.0

    for one in (plain, changed):
        assert chosen(one, fold.fitted, 1) == chosen(plain, fold.fitted, 1)
    assert_allclose(ridge(plain, fold.fitted, 0.1), ridge(changed, fold.fitted, 0.1), rtol=0, atol=0)


def test_stronger_pulls_make_weights_more_even_and_nothing_fits_nothing() -> None:
    nothing = Gram(np.zeros((9, 3, 3)), np.zeros((9, 3)), np.zeros(9))

    assert ridge(nothing, np.ones(9, bool), 0.1).tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(nothing.ic(EVEN)).all()


def test_too_few_bars_are_refused_with_what_to_do() -> None:
    few = gram((0.2, 0.0, 0.0))
    with pytest.raises(DataError, match="shorter --headline"):
        fit(Gram(*(part[:400] for part in few)), NAMES, EVEN, 24)
