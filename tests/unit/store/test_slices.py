"""Slices: what goes in comes out bit for bit, and what is damaged never does."""

import struct
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.domain.kline import CLOSED, VERIFIED
from klinehub.errors import StoreError
from klinehub.panel.memory import I64
from klinehub.store.slices import ABSENT, Lines, decode, encode

MINUTE: Final = 60_000
BAR: Final = 29_853_020
OPENED: Final = BAR * MINUTE
MOST: Final = 2**63 - 1
# Three symbols that the index knows, one that it has lost, one more.
DECIMALS: Final[I64] = np.array([2, 0, 7, -1, 18], np.int64)


def bits(price: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", price))[0])


def lines(*told: tuple[int, int, tuple[float, ...], tuple[int, ...]]) -> Lines:
    """Give lines of (number, state, four prices, five mantissas)."""
    words = [
        [OPENED, *map(bits, prices), *rest] if state else [OPENED] + [0] * 9
        for _, state, prices, rest in told
    ]
    return Lines(
        np.array([one[0] for one in told], np.int64),
        np.array([one[1] for one in told], np.int64),
        np.array(words, np.int64).reshape(-1, 10),
    )


def round_trip(told: Lines) -> Lines:
    return decode(MINUTE, BAR, OPENED, encode(MINUTE, BAR, told, DECIMALS[told.numbers]), DECIMALS)


def plainly(told: Lines) -> list[list[Any]]:
    return [part.tolist() for part in told]


def priced(decimals: int) -> st.SearchStrategy[tuple[float, ...]]:
    """Four prices as an exchange prints them, in the order open, high, low, close; rarely in any other."""
    ticks = st.integers(0, 10**12).map(lambda n: float(f"{n}e-{decimals}"))
    ordered = st.tuples(ticks, ticks, ticks, ticks).map(
        lambda p: (sorted(p)[1], max(p), min(p), sorted(p)[2])
    )
    return ordered | st.tuples(*[st.floats(allow_nan=False)] * 4)


volumes: Final = st.tuples(*[st.integers(0, 10**6) | st.integers(0, MOST)] * 5)


@st.composite
def slices(draw: st.DrawFn) -> Lines:
    numbers = sorted(draw(st.sets(st.sampled_from([0, 1, 2, 4]))))
    told = []
    for number in numbers:
        state = draw(st.sampled_from([ABSENT, CLOSED, VERIFIED]))
        told.append((number, state, draw(priced(int(DECIMALS[number]))), draw(volumes)))
    return lines(*told)


@given(slices())
def test_every_bar_comes_back_bit_for_bit(told: Lines) -> None:
    assert plainly(round_trip(told)) == plainly(told)


def test_a_recorded_bar_takes_a_third_of_its_words() -> None:
    told = lines(
        (
            0,
            CLOSED,
            (67_123.5, 67_130.25, 67_101.0, 67_102.01),
            (123_456, 8_284_012_345, 2_011, 61_728, 4_142_006_172),
        )
    )

    assert len(encode(MINUTE, BAR, told, DECIMALS[told.numbers])) <= 8 + 1 + 80 // 2 - 10


@pytest.mark.parametrize(
    "prices",
    [
        (-0.0, 1.0, -0.0, 1.0),
        (1.005, 1.005, 1.005, 1.005),
        (1e300, 1e300, 1e300, 1e300),
        (1.0, 0.5, 2.0, 1.0),
    ],
)
def test_prices_that_are_no_ticks_are_kept_as_they_are(prices: tuple[float, ...]) -> None:
    told = lines((0, CLOSED, prices, (1, 2, 3, 4, 5)))

    assert plainly(round_trip(told)) == plainly(told)


def test_a_volume_below_zero_is_refused() -> None:
    told = lines((0, CLOSED, (1.0, 1.0, 1.0, 1.0), (1, 2, 3, 4, -1)))

    with pytest.raises(StoreError, match="below zero"):
        encode(MINUTE, BAR, told, DECIMALS[told.numbers])


WHOLE: Final = lines((0, CLOSED, (1.5, 2.0, 1.25, 1.75), (1, 2, 3, 4, 5)), (2, ABSENT, (), ()))


@pytest.mark.parametrize(("timeframe", "bar"), [(MINUTE, BAR + 1), (5 * MINUTE, BAR)])
def test_the_slice_of_another_bar_is_refused(timeframe: int, bar: int) -> None:
    with pytest.raises(StoreError, match="does not add up"):
        decode(timeframe, bar, OPENED, encode(MINUTE, BAR, WHOLE, DECIMALS[WHOLE.numbers]), DECIMALS)


def test_no_flipped_bit_is_read() -> None:
    data = encode(MINUTE, BAR, WHOLE, DECIMALS[WHOLE.numbers])
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreError):
            decode(MINUTE, BAR, OPENED, bytes(damaged), DECIMALS)
    for size in range(len(data)):
        with pytest.raises(StoreError):
            decode(MINUTE, BAR, OPENED, data[:size], DECIMALS)


@pytest.mark.parametrize(("decimals", "kept"), [([-1, 0, 7], [2]), ([2], [0]), ([], [])])
def test_a_symbol_that_the_index_has_lost_is_not_guessed(decimals: list[int], kept: list[int]) -> None:
    data = encode(MINUTE, BAR, WHOLE, DECIMALS[WHOLE.numbers])
    told = decode(MINUTE, BAR, OPENED, data, np.array(decimals, np.int64))

    assert told.numbers.tolist() == kept
    there = np.isin(WHOLE.numbers, kept)
    assert plainly(told) == [part[there].tolist() for part in WHOLE]


@given(st.binary(max_size=200), st.integers(0, 4))
def test_any_body_is_refused_or_read(junk: bytes, count: int) -> None:
    """A body whose checksum fits can still say anything."""
    from klinehub.store.slices import HEAD, MARK, VERSION, _sum

    body = bytes([count]) + junk
    data = HEAD.pack(MARK, VERSION, _sum(MINUTE, BAR, body)) + body
    try:
        told = decode(MINUTE, BAR, OPENED, data, DECIMALS)
    except StoreError:
        return
    assert plainly(round_trip(told)) == plainly(told)
