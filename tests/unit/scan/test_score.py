import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.library import STOCK
from klinehub.scan.score import DEFAULT_WEIGHTS, check_weights, points, share_weights, side

NAMES = [item.name for item in STOCK]
weights = st.dictionaries(
    st.sampled_from(NAMES),
    st.floats(-1e308, 1e308, allow_nan=False).filter(bool),
    min_size=1,
)


@given(weights, st.data())
def test_points_add_up_exactly_in_any_order_and_never_leave_the_scale(
    chosen: dict[str, float], data: st.DataObject
) -> None:
    shared = share_weights(check_weights(chosen), chosen)
    opinions = st.lists(st.floats(-1.0, 1.0), min_size=len(shared), max_size=len(shared))
    drawn = data.draw(st.one_of(st.just([1.0] * len(shared)), opinions))
    parts = [float(points(w, np.array([x]))[0]) for w, x in zip(shared.values(), drawn, strict=True)]

    assert sum(parts) == sum(reversed(parts)) == math.fsum(parts) == float(np.sum(parts))
    assert abs(sum(parts)) <= 100.0
    assert all((part * 64.0).is_integer() for part in parts)
    assert all(abs(part) <= abs(weight) for part, weight in zip(parts, shared.values(), strict=True))


@given(weights)
def test_full_agreement_reaches_the_scale_to_within_a_64th_a_factor(chosen: dict[str, float]) -> None:
    shared = share_weights(check_weights(chosen), chosen)
    best = sum(float(points(abs(w), np.array([1.0]))[0]) for w in shared.values())

    assert 100.0 - len(shared) / 64.0 <= best <= 100.0


def test_points_are_cut_towards_zero_without_a_negative_zero_and_nan_stays() -> None:
    found = points(10.0, np.array([0.99999, -0.99999, -0.0001, np.nan])).tolist()

    assert found[:3] == [9.984375, -9.984375, 0.0]
    assert math.copysign(1.0, found[2]) == 1.0
    assert math.isnan(found[3])


def test_the_default_weights_are_shared_among_what_is_available() -> None:
    assert share_weights(DEFAULT_WEIGHTS, DEFAULT_WEIGHTS) == DEFAULT_WEIGHTS

    left = share_weights(DEFAULT_WEIGHTS, set(DEFAULT_WEIGHTS) - {"taker_delta"})

    assert "taker_delta" not in left
    assert sum(left.values()) == pytest.approx(100.0, rel=1e-14)
    assert left["trend"] / left["rsi"] == pytest.approx(14 / 8)
    assert share_weights(DEFAULT_WEIGHTS, ()) == {}


def test_a_negative_weight_turns_its_factor_round_and_counts_by_its_size() -> None:
    assert share_weights({"trend": 3.0, "rsi": -1.0}, ("trend", "rsi")) == {"trend": 75.0, "rsi": -25.0}


def test_weights_come_in_the_librarys_order_without_the_zeros() -> None:
    assert list(check_weights({"rsi": 1, "adx": 0, "trend": 2})) == ["trend", "rsi"]


def test_wrong_weights_are_refused_with_what_to_do() -> None:
    with pytest.raises(UnknownName, match=r"Unknown factor 'rs'.*'rsi'"):
        check_weights({"rs": 1.0})
    with pytest.raises(DefinitionError, match="weight of rsi is nan"):
        check_weights({"rsi": math.nan})
    with pytest.raises(DefinitionError, match="weigh at least one"):
        check_weights({"rsi": 0.0})


def test_a_side_is_taken_from_the_threshold_on() -> None:
    assert [side(x) for x in (-100.0, -20.0, -19.984375, 0.0, 19.984375, 20.0)] == [
        "short", "short", "flat", "flat", "flat", "long",
    ]  # fmt: skip
    assert [side(x, side_from=0.0) for x in (-0.015625, 0.0, 0.015625)] == ["short", "flat", "long"]
