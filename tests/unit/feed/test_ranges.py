"""The cheapest ranges, held against every possible choice of ranges."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.feed import ranges
from klinehub.feed.binance import KLINES_WEIGHTS, MOST_ROWS, klines_weight
from klinehub.feed.ranges import Planned, cheapest, order

FIRST: Final = 29_854_020
Runs = list[tuple[int, int]]
Weights = tuple[tuple[int, int], ...]


@st.composite
def some_runs(draw: st.DrawFn, *, most: int = 12, longest: int = 400) -> Runs:
    lengths = draw(st.lists(st.tuples(st.integers(1, longest), st.integers(1, longest)), max_size=most))
    found, index = [], FIRST
    for apart, length in lengths:
        index += apart
        found.append((index, index + length - 1))
        index += length
    return found


@st.composite
def weight_tables(draw: st.DrawFn) -> Weights:
    steps = draw(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=3))
    rows = weight = 0
    table = []
    for more_rows, more_weight in steps:
        rows, weight = rows + more_rows, weight + more_weight
        table.append((rows, weight))
    return tuple(table)


def cost(found: Runs, weights: Weights = KLINES_WEIGHTS) -> tuple[int, int, int]:
    each = [next(weight for rows, weight in weights if count <= rows) for _, count in found]
    return sum(each), len(found), sum(count for _, count in found)


def bars(missing: Runs) -> set[int]:
    return {index for first, last in missing for index in range(first, last + 1)}


def least_cost(missing: frozenset[int], longest: int, weights: Weights) -> tuple[int, int, int]:
    """Try every length of a range from each bar that is not covered yet."""
    ordered = sorted(missing)

    @cache
    def best(start: int) -> tuple[int, int, int]:
        left = [index for index in ordered if index >= start]
        if not left:
            return 0, 0, 0
        tried = []
        for count in range(1, longest + 1):
            weight, requests, rows = cost([(left[0], count)], weights)
            after = best(left[0] + count)
            tried.append((weight + after[0], requests + after[1], rows + after[2]))
        return min(tried)

    return best(0)


@given(st.frozensets(st.integers(0, 30), max_size=20), weight_tables(), st.integers(1, 12))
def test_no_other_choice_of_ranges_is_cheaper(missing: frozenset[int], weights: Weights, most: int) -> None:
    most = min(most, weights[-1][0])
    ordered = sorted(missing)
    starts = [index for index in ordered if index - 1 not in missing]
    gaps = list(zip(starts, [index for index in ordered if index + 1 not in missing], strict=True))

    found = cheapest(gaps, most=most, weights=weights)
    assert bars([(start, start + count - 1) for start, count in found]) >= missing
    assert all(1 <= count <= most for _, count in found)
    assert cost(found, weights) == least_cost(missing, most, weights)


@given(some_runs(), st.sampled_from([1, 60, 500, MOST_ROWS]))
def test_every_missing_bar_is_in_one_range_of_an_allowed_size(missing: Runs, most: int) -> None:
    found = cheapest(missing, most=most)

    covered = [index for start, count in found for index in range(start, start + count)]
    assert set(covered) >= bars(missing)
    assert len(set(covered)) == len(covered)
    assert found == sorted(found)
    assert all(1 <= count <= most for _, count in found)


@given(some_runs())
def test_it_never_weighs_more_than_one_range_a_run_nor_than_one_for_all(missing: Runs) -> None:
    weight, _, _ = cost(cheapest(missing))

    each = sum(-(-(last - first + 1) // 499) * 2 for first, last in missing)
    assert weight <= each
    if missing and (whole := missing[-1][1] - missing[0][0] + 1) <= MOST_ROWS:
        assert weight <= klines_weight(whole)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ([], []),
        ([(7, 7)], [(7, 1)]),
        # One request of two hundred bars weighs as much as two of one.
        ([(0, 0), (200, 200)], [(0, 201)]),
        ([(0, 0), (60, 60)], [(0, 61)]),
        ([(0, 0), (499, 499)], [(0, 1), (499, 1)]),
        ([(0, 99)], [(0, 100)]),
        # Two small ones are cheaper than one over the five hundred bars in between.
        ([(0, 4), (600, 604)], [(0, 5), (600, 5)]),
        # Fewest bars where weight and requests are equal.
        ([(0, 0), (98, 98), (100, 100), (300, 300), (800, 800)], [(0, 301), (800, 1)]),
        ([(0, 0), (450, 450), (499, 499), (900, 900)], [(0, 1), (450, 451)]),
        # 499 rows for a weight of 2 are the cheapest by bar.
        ([(0, 1496)], [(0, 499), (499, 499), (998, 499)]),
        ([(0, 599)], [(0, 499), (499, 101)]),
        ([(0, 999)], [(0, 1000)]),
    ],
)
def test_ranges_that_can_be_worked_out_by_hand(missing: Runs, expected: Runs) -> None:
    found = cheapest(missing)

    assert found == expected


@pytest.mark.parametrize(
    ("missing", "weight", "most_looks"),
    [
        ([(n * 15, n * 15 + n % 3) for n in range(100)], 6, 101),
        ([(n * 1_500, n * 1_500 + 1_200) for n in range(100)], 600, 1_000),
        ([(0, 525_599)], 2 * -(-525_600 // 499), 5_000),
    ],
    ids=["scattered", "long", "a-year-of-minutes"],
)
def test_few_positions_are_looked_at_however_long_the_runs_are(
    monkeypatch: pytest.MonkeyPatch, missing: Runs, weight: int, most_looks: int
) -> None:
    """Counted, not timed."""
    looks = 0
    steps = ranges._steps

    def counted(*given: Any) -> Iterator[tuple[int, int]]:
        nonlocal looks
        looks += 1
        return steps(*given)

    monkeypatch.setattr(ranges, "_steps", counted)

    assert cost(cheapest(missing))[0] == weight
    assert looks <= most_looks


def test_ranges_are_asked_cheapest_first_then_by_importance_and_timeframe() -> None:
    plans = [
        Planned(2, 0, 10, 50, 1),
        Planned(0, 1, 10, 50, 1),
        Planned(0, 0, 90, 50, 1),
        Planned(0, 0, 10, 50, 1),
        Planned(0, 0, 10, 499, 2),
        Planned(9, 3, 10, 1, 1),
    ]

    assert order(plans) == [plans[3], plans[2], plans[1], plans[0], plans[5], plans[4]]
    assert order(reversed(plans)) == order(plans)
