"""Sections: over all symbols of a bar, in one order, each bar for itself."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.factors.section import SECTIONS, section
from klinehub.panel.memory import F64

NAN: Final = math.nan
OPS: Final = sorted(SECTIONS)
each = pytest.mark.parametrize("op", OPS)


def market(seed: int, symbols: int = 60, bars: int = 40) -> F64:
    """Values of all sizes, some of them equal and some unknown."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(symbols, bars)) * 10.0 ** rng.integers(-3, 4, (symbols, 1))
    values[rng.random(values.shape) < 0.1] = 0.5
    values[rng.random(values.shape) < 0.1] = NAN
    return values


def alone(op: str, values: F64, where: F64 | None = None, share: float = 0.1) -> F64:
    return section(op, values, where, np.arange(len(values), dtype=np.int64), share)


def same(one: F64, two: F64) -> bool:
    return bool(((one == two) | (np.isnan(one) & np.isnan(two))).all())


def plain_mean(known: list[float], _: float) -> list[float]:
    return [math.fsum(known) / len(known)] * len(known)


def plain_zscore(known: list[float], _: float) -> list[float]:
    middle = math.fsum(known) / len(known)
    deviation = math.sqrt(math.fsum((x - middle) ** 2 for x in known) / len(known))
    return [(x - middle) / deviation if deviation > 1e-12 * abs(middle) else 0.0 for x in known]


def plain_rank(known: list[float], _: float) -> list[float]:
    if len(known) == 1:
        return [0.5]
    return [
        (sum(y < x for y in known) + 0.5 * (sum(y == x for y in known) - 1)) / (len(known) - 1) for x in known
    ]


def plain_winsorize(known: list[float], share: float) -> list[float]:
    ordered, cut = sorted(known), int(share * len(known))
    return [min(max(x, ordered[cut]), ordered[-1 - cut]) for x in known]


PLAIN: Final[dict[str, Callable[[list[float], float], list[float]]]] = {
    "mean": plain_mean,
    "zscore": plain_zscore,
    "rank": plain_rank,
    "winsorize": plain_winsorize,
}


@each
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([NAN, -3.0, 0.0, 0.1, 0.1, 7.0, 1e9]), st.sampled_from([0.0, 1.0, NAN])),
        min_size=1,
        max_size=12,
    ),
    limited=st.booleans(),
    share=st.sampled_from([0.05, 0.2, 0.49]),
)
def test_each_is_its_definition_over_those_that_count(
    op: str, rows: list[tuple[float, float]], *, limited: bool, share: float
) -> None:
    values, where = np.array(rows)[:, :1], np.array(rows)[:, 1:]
    counted = [n for n, (x, flag) in enumerate(rows) if not math.isnan(x) and (flag == 1.0 or not limited)]
    found = alone(op, values, where if limited else None, share)[:, 0]
    expected = np.full(len(rows), NAN)
    if counted:
        expected[counted] = PLAIN[op]([rows[n][0] for n in counted], share)
        if op == "mean":
            expected[:] = expected[counted[0]]

    assert np.isnan(found).tolist() == np.isnan(expected).tolist()
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True)


@each
@pytest.mark.parametrize("limited", [False, True])
def test_a_bar_does_not_see_the_others_whatever_is_computed_at_a_time(op: str, *, limited: bool) -> None:
    values = market(1)
    where = (market(2) > 0.0).astype(float) if limited else None
    whole = alone(op, values, where)
    for t in range(values.shape[1]):
        one = alone(op, values[:, t : t + 1], None if where is None else where[:, t : t + 1])
        assert same(one, whole[:, t : t + 1])


@each
def test_the_order_of_the_rows_changes_no_bit(op: str) -> None:
    values = market(3)
    moved = np.random.default_rng(4).permutation(len(values))
    back = np.argsort(moved).astype(np.int64)

    assert same(section(op, values[moved], None, back, 0.1), alone(op, values)[moved])


@each
def test_memory_in_any_layout_is_read_right(op: str) -> None:
    values = market(5)

    assert same(alone(op, np.asfortranarray(values)), alone(op, values))
    assert same(alone(op, values[:, ::-2]), alone(op, values[:, ::-2].copy()))


def test_the_order_of_summation_would_show_otherwise() -> None:
    """The values are such that another order of the symbols gives other bits."""
    values = market(3)
    moved = np.random.default_rng(4).permutation(len(values))

    assert not same(alone("mean", values[moved]), alone("mean", values)[moved])


@each
def test_who_is_unknown_or_left_out_changes_nothing(op: str) -> None:
    values = market(6, symbols=20)
    where = np.ones(values.shape)
    where[7] = 0.0
    where[8] = NAN
    less = np.delete(values, [7, 8], axis=0)
    found = alone(op, values, where)

    assert same(np.delete(found, [7, 8], axis=0), alone(op, less))
    assert op == "mean" or np.isnan(found[[7, 8]]).all()


def test_equal_values_share_a_place_and_deviate_by_nothing() -> None:
    equal = np.full((5, 1), 60000.1)

    assert alone("rank", equal)[:, 0].tolist() == [0.5] * 5
    assert alone("zscore", equal)[:, 0].tolist() == [0.0] * 5
    assert alone("rank", np.array([[3.0], [1.0], [3.0], [2.0]]))[:, 0].tolist() == pytest.approx(
        [2.5 / 3, 0.0, 2.5 / 3, 1 / 3]
    )


@each
def test_a_market_of_nobody_is_unknown(op: str) -> None:
    assert np.isnan(alone(op, np.full((3, 2), NAN))).all()
    assert alone(op, np.empty((0, 4))).shape == (0, 4)
