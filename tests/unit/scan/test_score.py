"""The default score: its parts and weights, and which side a score takes."""

import math
from pathlib import Path

import pytest

from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.points import share_weights
from klinehub.factors.stock import stock_factor
from klinehub.scan.score import (
    _PARTS,
    DEFAULT_WEIGHTS,
    PARTS,
    check_weights,
    default_parts,
    reading,
    side,
    weights_of,
)

FRAMES = ("1h", "5m", "15m")


def test_the_weights_sum_to_100_and_are_what_the_parts_weigh() -> None:
    parts = default_parts(DEFAULT_WEIGHTS, FRAMES, "15m", benchmark=True)

    assert sum(DEFAULT_WEIGHTS.values()) == 100.0
    assert weights_of(parts) == DEFAULT_WEIGHTS == share_weights(DEFAULT_WEIGHTS, PARTS)


def test_parts_of_other_timeframes_read_the_next_larger_and_the_next_smaller() -> None:
    parts = {one.name: one.expr for one in default_parts(DEFAULT_WEIGHTS, FRAMES, "15m", benchmark=True)}

    assert parts["trend_larger"] == parts["trend"].on("1h")
    assert parts["trend_smaller"] == parts["trend"].on("5m")


def test_what_can_not_be_had_is_left_out() -> None:
    parts = default_parts(DEFAULT_WEIGHTS, ["15m"], "15m", benchmark=False, unavailable=["taker_delta"])
    gone = {"trend_larger", "trend_smaller", "taker_delta", "relative_strength"}

    assert [one.name for one in parts] == [name for name in PARTS if name not in gone]
    with pytest.raises(DefinitionError, match=r"\(trend_larger\) can be had"):
        default_parts({"trend_larger": 1.0}, ["15m"], "15m", benchmark=True)


def test_the_parts_that_read_a_field_are_known() -> None:
    assert reading(["taker_quote"]) == {"taker_delta"}
    assert reading(["benchmark"]) == {"relative_strength"}
    assert reading(["close"]) == set(PARTS) - {"taker_delta"}
    assert reading([]) == set()


def test_weights_come_in_the_parts_order_without_the_zeros() -> None:
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


def test_the_page_has_the_weights_that_are_used() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "scoring.md").read_text("utf-8")
    frames = {"trend_larger": "next larger", "trend_smaller": "next smaller"}
    for name, (factor, weight, scale, centre) in _PARTS.items():
        link = f"[`{factor}`](factors.md#{stock_factor(factor).family})"
        cells = (f"`{name}`", link, f"{weight:g}", frames.get(name, "scan's"))

        assert f"| {' | '.join(cells)} | {scale:g} | {centre:g} |" in page
