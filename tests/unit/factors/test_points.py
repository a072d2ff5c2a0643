"""Points: they add up exactly in any order, never leave the scale, and share what is left."""

import math
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.errors import DefinitionError
from klinehub.factors.define import Window, factor
from klinehub.factors.expr import field
from klinehub.factors.points import Part, available, points, score, share_weights, total

CLOSE: Final = field("close")
finite = st.floats(-1e308, 1e308, allow_nan=False)
weights = st.lists(finite.filter(bool), min_size=1, max_size=12)
NAN: Final = math.nan


@factor(window=2)
def against(close: Window, benchmark: Window) -> float:
    return float(close[1] / benchmark[1])


def parts_of(chosen: list[float], scale: float = 1.0) -> tuple[Part, ...]:
    return tuple(Part(f"p{n}", CLOSE, weight, scale) for n, weight in enumerate(chosen))


def given_by(parts: tuple[Part, ...], values: list[float]) -> list[float]:
    found: list[float] = points(parts, [np.array([[value]]) for value in values])[:, 0, 0].tolist()
    return found


@given(weights, st.data())
def test_points_add_up_exactly_in_any_order_and_never_leave_the_scale(
    chosen: list[float], data: st.DataObject
) -> None:
    values = st.lists(finite, min_size=len(chosen), max_size=len(chosen))
    drawn = data.draw(st.one_of(st.just([1e300] * len(chosen)), values))
    found = given_by(parts_of(chosen), drawn)
    shared = share_weights({f"p{n}": weight for n, weight in enumerate(chosen)}, [f"p{n}" for n in range(12)])

    assert sum(found) == sum(reversed(found)) == math.fsum(found) == float(np.sum(found))
    assert abs(sum(found)) <= 100.0
    assert all((one * 64.0).is_integer() for one in found)
    assert all(abs(one) <= abs(weight) for one, weight in zip(found, shared.values(), strict=True))


@given(weights)
def test_full_agreement_reaches_the_scale_to_within_a_64th_a_part(chosen: list[float]) -> None:
    best = sum(given_by(parts_of([abs(weight) for weight in chosen]), [1e300] * len(chosen)))

    assert 100.0 - len(chosen) / 64.0 <= best <= 100.0


def test_points_are_cut_towards_zero_without_a_negative_zero_and_nan_stays() -> None:
    values = np.array([[1.0, -1.0, -1e-9, NAN, 1e300, -1e300]])
    found = points((Part("a", CLOSE, 10.0, 1.0),), [values])[0, 0].tolist()

    assert found[:3] == [70.703125, -70.703125, 0.0]
    assert math.copysign(1.0, found[2]) == 1.0
    assert math.isnan(found[3])
    assert found[4:] == [99.984375, -99.984375]


def test_a_value_counts_from_its_centre_in_its_scale() -> None:
    part = Part("a", CLOSE, 2.0, 15.0, 50.0)

    assert given_by((part,), [65.0]) == given_by((part._replace(centre=0.0),), [15.0]) == [70.703125]
    assert given_by((part,), [50.0]) == [0.0]


def test_a_symbol_of_which_a_part_is_unknown_has_no_score() -> None:
    values = [np.array([[1.0], [NAN]]), np.array([[1.0], [1.0]])]
    scores = total(points(parts_of([1.0, 1.0]), values))[:, 0]

    assert np.isnan(scores).tolist() == [False, True]


def test_a_part_that_compares_with_nothing_leaves_its_weight_to_the_others_at_that_bar() -> None:
    parts = (Part("own", CLOSE, 1.0, 1.0), Part("than", against(), 3.0, 1.0))
    values = [np.array([[1.0, 1.0], [2.0, 2.0]]), np.array([[1.0, NAN], [NAN, NAN]])]
    found = points(parts, values)

    assert available(parts, values) == [("own", "than"), ("own",)]
    assert found[:, 0, 0].tolist() == [17.671875, 53.03125]
    assert np.isnan(total(found)[1, 0])
    assert found[:, :, 1].tolist() == [[70.703125, 89.4375], [0.0, 0.0]]


def test_where_no_part_counts_there_is_no_score() -> None:
    parts = (Part("than", against(), 3.0, 1.0),)
    found = total(points(parts, [np.array([[1.0, NAN], [2.0, NAN]])]))

    assert np.isnan(found).tolist() == [[False, True], [False, True]]


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (against(), True),
        (against().on("1h").zscore() + CLOSE, True),
        (CLOSE / field("benchmark"), True),
        (CLOSE, False),
        (CLOSE.rank(where=CLOSE > 1), False),
    ],
)
def test_what_reads_the_benchmark_compares_with_it(expr: object, *, expected: bool) -> None:
    assert Part("a", expr, 1.0, 1.0).compares == expected  # type: ignore[arg-type]


def test_weights_are_shared_in_proportion_and_by_their_size() -> None:
    assert share_weights({"a": 3.0, "b": -1.0}, ("a", "b")) == {"a": 75.0, "b": -25.0}
    assert share_weights({"a": 60.0, "b": 40.0}, ("b", "a")) == {"a": 60.0, "b": 40.0}
    assert share_weights({"a": 60.0, "b": 40.0}, ("b",)) == {"b": 100.0}
    assert share_weights({"a": 1.0}, ()) == {}
    assert share_weights({"a": 1e308, "b": 1e308}, ("a", "b")) == {"a": 50.0, "b": 50.0}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ((), "weigh at least one"),
        (parts_of([0.0, -0.0]), "weigh at least one"),
        (parts_of([NAN]), "p0: weight nan, scale 1, centre 0 give no points"),
        (parts_of([1.0], 0.0), "scale 0"),
        (parts_of([1.0], -1.0), "scale -1"),
        (parts_of([1.0], math.inf), "scale inf"),
        ((Part("a", CLOSE, 1.0, 1.0, NAN),), "centre nan"),
        (parts_of([1.0]) * 2, "Two parts of a score are called p0"),
    ],
)
def test_a_score_of_nothing_is_refused(parts: tuple[Part, ...], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        score(parts)


def test_equal_scores_are_equal_expressions() -> None:
    assert score(parts_of([1.0, 2.0])) == score(parts_of([1.0, 2.0])) != score(parts_of([1.0, 3.0]))
