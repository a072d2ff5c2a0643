"""Plans: each term once, after what it is made of, and as many bars as the values asked for take."""

from itertools import pairwise
from typing import Final

import pytest

from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.errors import DefinitionError
from klinehub.factors.define import Bar, State, Window, factor
from klinehub.factors.expr import Expr, const, field
from klinehub.factors.loops import BLOCK
from klinehub.factors.plan import Plan, Step, lookback, planned, spanned

CLOSE: Final = field("close")
FRAMES: Final = ("5m", "15m", "1h", "1d")


@factor(window=lambda n: n + 1)
def change(close: Window, n: int = 20) -> float:
    return float(close[-1] - close[0])


@factor(state=1, warmup=lambda n: 4 * n)
def average(state: State, close: Bar, n: int = 20) -> float:
    return close


def plan(*exprs: Expr, bars: int = 1) -> Plan:
    return planned(exprs, "15m", FRAMES, bars=bars)


@pytest.mark.parametrize(
    ("expr", "bars", "rows"),
    [
        (CLOSE, 1, {"15m": 1}),
        (CLOSE, 7, {"15m": 7}),
        (const(3), 7, {}),
        (change(), 1, {"15m": 21}),
        (change(), 7, {"15m": 27}),
        (average(), 1, {"15m": 1 + 80 + BLOCK - 1}),
        (change().lag(5), 1, {"15m": 26}),
        (change().lag(5).rank().lag(2), 3, {"15m": 30}),
        (change() + change(30), 1, {"15m": 31}),
        (CLOSE.on("1h"), 1, {"1h": 2}),
        (change().on("1h"), 8, {"1h": 24}),
        (CLOSE.on("5m"), 2, {"5m": 8}),
        (change().on("15m").on("1h") - CLOSE, 1, {"1h": 0, "15m": 30}),
        ((CLOSE + 1).on("1h").lag(4), 1, {"1h": 3}),
    ],
)
def test_the_rows_that_are_read_are_those_that_the_values_take(
    expr: Expr, bars: int, rows: dict[str, int]
) -> None:
    expected = {name: count for name, count in rows.items() if count}

    assert plan(expr, bars=bars).rows == expected


def test_every_term_is_there_once_after_its_parts() -> None:
    """Equal terms that were written twice are one; on another timeframe they are another."""
    shared = change().on("1h").zscore()
    steps = plan(shared + change(), shared.lag(3) > change(20), change().on("1h").zscore()).steps
    place = {step: n for n, step in enumerate(steps)}

    assert len(place) == len(steps)
    assert [step.timeframe for step in steps if step.term == change()] == ["1h", "15m"]
    for step in steps:
        frame = step.term.params[0] if step.term.op == "on" else step.timeframe
        assert all(place[Step(arg, frame)] < place[step] for arg in step.term.args)


def test_a_shared_term_has_the_bars_of_its_most_demanding_use() -> None:
    made = plan(change() + 1, change().lag(9), change().lag(4))

    assert made.bars[Step(change(), "15m")] == 10
    assert made.rows == {"15m": 30}


def test_a_term_on_its_own_timeframe_is_planned_as_one_on_another() -> None:
    assert plan(CLOSE.on("15m")).rows == {"15m": 3}


@pytest.mark.parametrize("frame", ["5m", "15m", "1h", "1d"])
@pytest.mark.parametrize("other", ["1m", "5m", "1h", "4h", "3d", "1w", "1M"])
def test_no_bar_that_is_used_lies_before_what_is_kept(frame: str, other: str) -> None:
    here, there = TIMEFRAMES[frame], TIMEFRAMES[other]
    start = here.index(1_789_948_800_000)
    used = [there.index(here.close_time(bar) + 1) - 1 for bar in range(start, start + 300)]

    assert all(one <= two for one, two in pairwise(used))
    for bars in (1, 2, 13, 130):
        # The newest that is kept may be from up to the end of the bar that is asked for.
        for last in range(bars, 300):
            assert used[last] - used[last - bars + 1] + 1 <= spanned(here, there, bars)


def test_a_leaf_looks_back_over_its_window_or_its_warm_up_and_its_block() -> None:
    assert (lookback(CLOSE), lookback(change(7)), lookback(average(7))) == (0, 7, 28 + BLOCK - 1)


def test_a_timeframe_that_is_not_kept_is_told_with_the_term_and_the_nearest() -> None:
    with pytest.raises(
        DefinitionError, match=r"change\(20\) is asked for on 4h, which is not kept.*Did you mean"
    ):
        plan(change().on("4h") > 0)
    with pytest.raises(DefinitionError, match="close is asked for on 15m, which is not kept"):
        planned([CLOSE], "15m", ["1h"])
