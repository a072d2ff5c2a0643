from collections.abc import Callable
from typing import Any

import msgspec
import numba as nb
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from klinehub.domain.timeframe import TIMEFRAMES, Timeframe, timeframe
from klinehub.factors.engine import BENCHMARK, Factor, compile_loop, evaluate, usable, warm_up
from klinehub.factors.library import STOCK
from klinehub.panel.block import Block
from klinehub.panel.memory import F64

Market = Callable[..., Block]

pytestmark = pytest.mark.timeout(120)


def value(factor: Factor, block: Block) -> F64:
    return evaluate(factor, block, block.close[0])


def cut(block: Block, start: int, end: int) -> Block:
    return Block(*(np.ascontiguousarray(field[:, start:end]) for field in block))


def with_bar(block: Block, row: int, bar: int, number: float) -> Block:
    fields = [field.copy() for field in block]
    for field in fields:
        field[row, bar] = number
    return Block(*fields)


def test_a_value_is_the_same_bits_for_any_length_of_history_before_it(factor: Factor, market: Market) -> None:
    block = market(bars=400)
    expected = value(factor, block)

    assert np.isfinite(expected).all()
    assert_array_equal(value(factor, cut(block, 400 - factor.window, 400)), expected)
    assert_array_equal(value(factor, cut(block, 50, 400)), expected)


def test_later_bars_never_change_a_value(factor: Factor, market: Market) -> None:
    block, other = market(seed=1, bars=320), market(seed=2, bars=320)
    joined = Block(
        *(np.concatenate((a[:, :300], b[:, 300:]), axis=1) for a, b in zip(block, other, strict=True))
    )

    assert_array_equal(value(factor, cut(joined, 0, 300)), value(factor, cut(block, 0, 300)))
    assert not np.array_equal(value(factor, joined), value(factor, block))


def test_a_value_depends_on_its_own_row_alone(factor: Factor, market: Market) -> None:
    block = market(symbols=9)
    expected = evaluate(factor, block, block.close[0])
    order = np.array([4, 2, 8, 0, 7, 1, 3, 6, 5])
    shuffled = Block(*(np.ascontiguousarray(field[order]) for field in block))

    assert_array_equal(evaluate(factor, shuffled, block.close[0]), expected[order])


def test_the_declared_window_is_exactly_what_a_hole_blocks(factor: Factor, market: Market) -> None:
    block = market()
    inside, outside = 300 - factor.window, 300 - factor.window - 1
    clean = value(factor, block)
    holed = value(factor, with_bar(block, 3, inside, np.nan))

    assert np.isnan(holed[3])
    assert_array_equal(np.delete(holed, 3), np.delete(clean, 3))
    assert_array_equal(value(factor, with_bar(block, 3, outside, np.nan)), clean)
    assert np.isnan(value(factor, with_bar(block, 3, 299, np.nan))[3])


def test_a_hole_in_any_field_that_is_read_gives_nan(factor: Factor, market: Market) -> None:
    block = market()
    for name in set(factor.fields) - {BENCHMARK}:
        field = getattr(block, name).copy()
        field[5, -7] = np.nan

        assert np.flatnonzero(np.isnan(value(factor, block._replace(**{name: field})))).tolist() == [5]


@nb.njit
def last_of_one(a: F64) -> float:
    return float(a[-1])


@nb.njit
def last_of_two(a: F64, b: F64) -> float:
    return float(a[-1] + b[-1])


@nb.njit
def last_of_three(a: F64, b: F64, c: F64) -> float:
    return float(a[-1] + b[-1] + c[-1])


@pytest.mark.parametrize("call", [last_of_one, last_of_two, last_of_three])
def test_a_kernel_of_ones_own_never_meets_a_hole_although_it_would_not_notice(
    market: Market, call: Callable[..., float]
) -> None:
    fields = ("open", "volume", "trades")[
        : ("last_of_one", "last_of_two", "last_of_three").index(call.__name__) + 1
    ]
    mine = msgspec.structs.replace(STOCK[0], name="mine", fields=fields, window=5, kernel=call)
    block = market()

    assert_array_equal(value(mine, block), sum(getattr(block, name)[:, -1] for name in fields))
    for name in fields:
        field = getattr(block, name).copy()
        field[2, -5] = field[6, -6] = np.nan
        assert np.flatnonzero(np.isnan(value(mine, block._replace(**{name: field})))).tolist() == [2]


def test_too_short_a_history_is_warming(factor: Factor, market: Market) -> None:
    block = market()
    young = Block(*(field.copy() for field in block))
    for field in young:
        field[2, :-3] = np.nan

    assert np.isnan(value(factor, young)[2])
    assert np.isnan(value(factor, cut(block, 301 - factor.window, 300))).all()
    assert np.isnan(value(factor, cut(block, 297, 300))).all()


@pytest.mark.parametrize("price", [0.1, 1e-8, 61234.5, 0.0])
@pytest.mark.parametrize("volume", [0.0, 0.1, 1e12])
def test_flat_prices_give_a_defined_neutral_value(factor: Factor, price: float, volume: float) -> None:
    flat, traded = np.full((2, 300), price), np.full((2, 300), volume)
    block = Block(flat, flat, flat, flat, traded, traded * price, traded, traded / 2, traded * price / 2)
    squashed = factor.squash(value(factor, block))

    if price:
        assert_array_equal(squashed, [0.0, 0.0])
    else:
        assert not np.isinf(squashed).any()


def test_no_bars_however_absurd_give_an_infinity(factor: Factor) -> None:
    rng = np.random.default_rng(3)
    extremes = np.array([0.0, -0.0, 5e-324, 1e-300, 1.0, 1e300, -1e300, 1.7e308])
    for _ in range(20):
        block = Block(*(rng.choice(extremes, (4, 300)) for _ in Block._fields))

        assert not np.isinf(value(factor, block)).any()
        assert not (np.abs(factor.squash(value(factor, block))) > 1.0).any()


def test_without_a_benchmark_only_what_reads_it_is_nan(factor: Factor, market: Market) -> None:
    assert np.isnan(evaluate(factor, market())).all() == (BENCHMARK in factor.fields)


def test_squash_keeps_the_sign_the_order_and_the_bounds(factor: Factor) -> None:
    steps = np.array([-1e308, -1e9, -1.0, -0.1, 0.0, 0.1, 1.0, 1e9, 1e308])
    squashed = factor.squash(factor.centre + steps * min(1.0, factor.scale))

    assert (np.diff(squashed) >= 0.0).all()
    assert_array_equal(np.sign(squashed), np.sign(steps))
    assert (np.abs(squashed) <= 1.0).all()
    assert factor.squash(np.array([factor.centre + factor.scale]))[0] == pytest.approx(0.5**0.5)
    assert np.isnan(factor.squash(np.array([np.nan]))).all()


def test_after_warm_up_nothing_is_compiled_any_more(factor: Factor, market: Market) -> None:
    warm_up(STOCK)
    loop: Any = compile_loop(len(factor.fields))
    kernel: Any = factor.kernel
    before = list(loop.signatures)
    kernels_before = list(kernel.signatures)
    value(factor, market())

    assert list(loop.signatures) == before
    assert len(before) == 1
    assert list(kernel.signatures) == kernels_before


def newest_closed(frame: Timeframe, time: int) -> int:
    """Count up bar by bar to the last one whose close time is not after *time*."""
    bar = frame.index(time) - 3
    while frame.close_time(bar + 1) <= time:
        bar += 1
    return bar


# In the week around a month's end, so that weeks, months and odd offsets all turn over.
START = 1_711_843_200_000


@pytest.mark.parametrize("main", ["1m", "3m", "5m", "15m", "1h", "4h", "1d", "1w", "1M"])
@pytest.mark.parametrize("frame", list(TIMEFRAMES))
def test_the_usable_bar_is_the_last_one_closed_by_then(main: str, frame: str) -> None:
    base, other = timeframe(main), timeframe(frame)
    first = base.index(START)
    for bar in range(first, first + 40):
        assert usable(other, base, bar) == newest_closed(other, base.close_time(bar))


def test_for_an_even_multiple_the_usable_bar_is_the_designs_formula() -> None:
    quarter, hour = timeframe("15m"), timeframe("1h")
    for i in range(quarter.index(START), quarter.index(START) + 12):
        assert usable(hour, quarter, i) == (i + 1) // 4 - 1
        assert usable(quarter, quarter, i) == i
        assert usable(timeframe("5m"), quarter, i) == 3 * i + 2


def test_the_obvious_wrong_alignment_would_be_caught() -> None:
    quarter, hour = timeframe("15m"), timeframe("1h")
    bars = range(quarter.index(START), quarter.index(START) + 12)
    leaks = [i for i in bars if hour.close_time(i // 4) > quarter.close_time(i)]

    assert len(leaks) == 9
    assert all(i // 4 != usable(hour, quarter, i) for i in leaks)
