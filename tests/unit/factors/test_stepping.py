"""Symbols that are stepped side by side: the same to the last bit as each alone, live as on history."""

import math
from typing import Final

import numpy as np
import pytest
from tests.unit.factors.markets import BASE, FIRST, names, planes

from klinehub.factors.engine import Engine
from klinehub.factors.expr import Expr
from klinehub.factors.lanes import LANES, choose, counted, some
from klinehub.factors.stepping import _MUCH
from klinehub.factors.stock import STOCK
from klinehub.panel.history import History
from klinehub.panel.memory import F64

pytestmark = pytest.mark.timeout(120)
# More than two chunks, the last of them not full.
SYMBOLS: Final = 2 * LANES + 5
BARS: Final = 620
NAMES: Final = ("ema_distance", "adx", "donchian", "beta", "cci", "obv_slope", "tsi", "fair_value_gap")
TERMS: Final[dict[str, Expr]] = {one.name: one() for one in STOCK if one.name in NAMES}


def holey(seed: int, symbols: int = SYMBOLS, bars: int = BARS) -> F64:
    """Bars of which every symbol but a few lacks some: holes of all sizes, late listings and delistings."""
    rng, made = np.random.default_rng(seed), planes(seed, symbols, bars)
    for row in range(1, symbols):
        at = int(rng.integers(0, bars))
        if row % 5 == 1:
            made[:, row, :at] = np.nan
        if row % 5 == 2:
            made[:, row, at:] = np.nan
        if row % 5 > 2:
            made[:, row, at : at + int(rng.integers(1, 40))] = np.nan
    return made


def engine(bars: F64, length: int, symbols: tuple[str, ...] | None = None) -> Engine:
    kept = names(3, bars.shape[1]) if symbols is None else symbols
    panel = History(BASE, kept, FIRST, bars)
    return Engine(TERMS, {"15m": panel}, "15m", bars=length, benchmark=names(3, SYMBOLS)[0])


def same(one: F64, other: F64) -> bool:
    known = ~np.isnan(other)
    return bool((np.isnan(one) == ~known).all() and one[known].tobytes() == other[known].tobytes())


@pytest.mark.parametrize("seed", [1, 2])
def test_bars_one_by_one_and_some_at_a_time_give_what_the_history_gives(seed: int) -> None:
    bars = holey(seed)
    whole = engine(bars, BARS).at(FIRST + BARS - 1)
    live, rng = engine(bars, 1), np.random.default_rng(seed)
    at = 150
    while at < BARS:
        values = live.at(FIRST + at)
        for name, column in values.items():
            assert same(column[:, 0], whole[name][:, at]), (name, at)
        at += int(rng.choice([1, 1, 1, 2, 7, 60]))


def test_a_symbol_has_the_values_that_it_has_without_the_others() -> None:
    bars, kept = holey(3), names(3, SYMBOLS)
    whole = engine(bars, BARS).at(FIRST + BARS - 1)
    for row in (1, 2, 3, LANES - 1, LANES, SYMBOLS - 1):
        pair = engine(bars[:, [0, row]], BARS, (kept[0], kept[row])).at(FIRST + BARS - 1)
        for name, column in pair.items():
            assert same(column[1], whole[name][row]), (name, row)


def test_more_values_than_a_cache_holds_are_the_same() -> None:
    """They are written past it."""
    bars = planes(4, 300, BARS)
    whole = engine(bars, BARS).at(FIRST + BARS - 1)
    assert len(TERMS) * BARS * 300 * 8 > _MUCH
    for at in (300, BARS - 1):
        one = engine(bars[:, :, : at + 1], 1).at(FIRST + at)
        assert all(same(column[:, 0], whole[name][:, at]) for name, column in one.items())


def test_a_corrected_symbol_is_stepped_with_the_others_again() -> None:
    bars, right = holey(5), holey(5)
    bars[:, 4, 300:310] *= 1.01
    panel = History(BASE, names(3, SYMBOLS), FIRST, bars)
    live = Engine(TERMS, {"15m": panel}, "15m", benchmark=names(3, SYMBOLS)[0])
    live.at(FIRST + 400)
    panel.planes[:] = right
    panel.changes[4] += 1
    whole = engine(right, BARS).at(FIRST + BARS - 1)
    for at in (400, 401, 402, 520):
        values = live.at(FIRST + at)
        assert all(same(column[:, 0], whole[name][:, at]) for name, column in values.items())


def test_what_was_given_can_not_be_written_into() -> None:
    values = engine(planes(1, 3, BARS), 5).at(FIRST + BARS - 1)

    with pytest.raises(ValueError, match="read-only"):
        values["cci"][0, 0] = 1.0


def test_in_plain_python_the_words_of_lanes_are_those_of_one_float() -> None:
    assert [choose(one > 0.0, 1.0, 2.0) for one in (3.0, -3.0, math.nan)] == [1.0, 2.0, 2.0]
    assert counted(np.array([3.0, 4.0]), 1) == 4.0
    assert [some(one > 0.0) for one in (3.0, math.nan)] == [True, False]
