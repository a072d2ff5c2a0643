"""Carrying bars out of a ring and back: all of them, once, and none that would not fit."""

from typing import Final

import numpy as np

from klinehub.domain.kline import CLOSED, ROW_WORDS, VERIFIED, Scale
from klinehub.domain.timeframe import timeframe
from klinehub.panel.carry import put_bar, take_bar
from klinehub.panel.memory import I64, MANTISSA_MAX, OPEN_TIME, QUOTE, TAKER_BASE, TAKER_QUOTE, VOLUME
from klinehub.panel.ring import Ring

MINUTE: Final = timeframe("1m")
FIRST: Final = 29_853_020
ONES: Final[I64] = np.ones((3, 2), np.int64)


def a_ring() -> Ring:
    ring = Ring((MINUTE,), rows=3, bars=4)
    for name in ("A", "B", "C"):
        ring.add(name, Scale(2, 3, 5))
    return ring


def bars(index: int, *volumes: int) -> I64:
    """Give a bar of each row; a volume stands in all four mantissas."""
    words = np.zeros((len(volumes), ROW_WORDS), np.int64)
    words[:, OPEN_TIME] = MINUTE.open_time(index)
    for word in (VOLUME, QUOTE, TAKER_BASE, TAKER_QUOTE):
        words[:, word] = volumes
    return words


def put(ring: Ring, index: int, words: I64, rows: list[int], factors: I64 = ONES) -> int:
    states = np.full(len(rows), CLOSED)
    return int(put_bar(ring.memory, 0, index, np.array(rows), states, words, factors))


def taken(ring: Ring, index: int) -> dict[int, int]:
    """Give the volume of each row that has closed a bar."""
    rows, states, words = np.empty(3, np.int64), np.empty(3, np.int64), np.empty((3, ROW_WORDS), np.int64)
    count = int(take_bar(ring.memory, 0, index, 3, rows, states, words))
    return dict(zip(rows[:count].tolist(), words[:count, VOLUME].tolist(), strict=True))


def test_what_is_put_in_comes_out_and_no_line_of_nobody() -> None:
    ring = a_ring()

    assert put(ring, FIRST, bars(FIRST, 7, 8, 9), [2, -1, 0]) == 2
    assert taken(ring, FIRST) == {0: 9, 2: 7}
    assert taken(ring, FIRST + 1) == {}


def test_a_bar_that_is_there_stays_and_one_that_is_too_old_is_left_out() -> None:
    ring = a_ring()
    put(ring, FIRST + 4, bars(FIRST + 4, 7), [0])
    ring.memory.state[0, 0, (FIRST + 4) % 4] = VERIFIED

    assert put(ring, FIRST + 4, bars(FIRST + 4, 1), [0]) == 0
    assert put(ring, FIRST, bars(FIRST, 1), [0]) == 0
    assert put(ring, FIRST + 1, bars(FIRST + 1, 1), [0]) == 1
    assert taken(ring, FIRST + 4) == {0: 7}


def test_mantissas_take_the_decimals_of_their_row_or_are_left_out() -> None:
    ring = a_ring()
    factors = np.array([[100, 10], [100, 10], [1, 1]])

    assert put(ring, FIRST, bars(FIRST, 7, MANTISSA_MAX // 100 + 1, MANTISSA_MAX), [0, 1, 2], factors) == 2
    assert taken(ring, FIRST) == {0: 700, 2: MANTISSA_MAX}
    assert ring.memory.cells[0, 0, FIRST % 4, [VOLUME, QUOTE, TAKER_BASE, TAKER_QUOTE]].tolist() == [
        *(700, 70),
        *(700, 70),
    ]
