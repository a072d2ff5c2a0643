"""The ring's arithmetic: floats from mantissas bit for bit, and the grid inside compiled code."""

import struct
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from klinehub.domain.timeframe import TIMEFRAMES, in_order, timeframe
from klinehub.panel.memory import bar_index, bar_open, carve, power_of_ten, size, to_float

times = st.integers(0, 4_102_444_800_000)


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


def text_of(mantissa: int, decimals: int) -> str:
    return f"{Decimal(mantissa).scaleb(-decimals):f}"


@given(st.integers(0, 2**63 - 1), st.integers(0, 8))
@example(2**53 - 1, 8)
@example(2**53, 0)
@example(2**53 + 1, 0)
@example(2**53 + 3, 0)
@example(2**63 - 1, 0)
@example(2**63 - 1, 8)
@example(13315238616042360, 7)
@example(9007199254740993, 1)
def test_a_mantissa_becomes_the_float_of_its_text(mantissa: int, decimals: int) -> None:
    assert bits(to_float(mantissa, power_of_ten(decimals))) == bits(float(text_of(mantissa, decimals)))


@given(st.integers(2**53, 2**63 - 1), st.integers(9, 18))
@example(2**53, 18)
@example(10**18 - 1, 18)
def test_it_does_so_with_as_many_decimals_as_a_mantissa_can_have(mantissa: int, decimals: int) -> None:
    assert bits(to_float(mantissa, power_of_ten(decimals))) == bits(float(text_of(mantissa, decimals)))


@given(st.integers(0, 60), st.integers(0, 2**53 - 1), st.sampled_from([-1, 0, 1]), st.integers(0, 8))
def test_it_rounds_ties_to_even(shift: int, kept: int, nudge: int, decimals: int) -> None:
    mantissa = min(max(((2 * kept + 1) << shift) + nudge, 0), 2**63 - 1)

    assert bits(to_float(mantissa, power_of_ten(decimals))) == bits(float(text_of(mantissa, decimals)))


@pytest.mark.parametrize("name", TIMEFRAMES)
@given(time=times)
def test_compiled_code_counts_bars_as_the_timeframe_does(name: str, time: int) -> None:
    tf = timeframe(name)
    index = tf.index(time)

    assert bar_index(time, tf.milliseconds, tf.offset) == index
    assert bar_open(index, tf.milliseconds, tf.offset) == tf.open_time(index)


def test_every_month_of_four_centuries_is_found() -> None:
    month = timeframe("1M")
    for index in range(12 * 1970, 12 * 2370):
        opened = month.open_time(index)
        assert bar_open(index, month.milliseconds, 0) == opened
        assert bar_index(opened, month.milliseconds, 0) == index
        assert bar_index(opened - 1, month.milliseconds, 0) == index - 1


@pytest.mark.parametrize(
    ("names", "parents"),
    [
        ("1m 5m 15m 1h", [-1, 0, 1, 2]),
        ("1m 3m 5m 15m", [-1, 0, 0, 2]),
        ("3m 5m", [-1, -1]),
        ("12h 1d 3d 1w 1M", [-1, 0, 1, 1, 1]),
    ],
)
def test_the_parent_is_the_largest_timeframe_a_bar_is_made_of(names: str, parents: list[int]) -> None:
    frames = in_order(names.split())
    memory = carve(np.zeros(size(len(frames), 2, 8), np.uint8), frames, 2, 8)

    assert memory.grid[:, 2].tolist() == parents


def test_a_used_buffer_is_taken_as_empty() -> None:
    frames = in_order(["1m", "5m"])
    buffer = np.full(size(2, 3, 8) + 5, 0xA5, np.uint8)
    memory = carve(buffer, frames, 3, 8)

    assert not memory.state.any()
    assert (memory.newest == -1).all()
    assert (memory.first == -1).all()
    assert not memory.decimals.any()
    assert np.shares_memory(memory.cells, buffer)
    assert (buffer[-5:] == 0xA5).all()
