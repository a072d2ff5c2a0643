"""Larger bars out of arrays of smaller ones: equal to a plain roll-up, or not there at all."""

from collections import defaultdict
from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.panel.model import SCALE, Bar, exact, market, roll_up

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import TIMEFRAMES, Timeframe, timeframe
from klinehub.errors import DataError
from klinehub.panel.roll import UNKNOWN, indexes, opens, rolled

PAIRS: Final = ["1m 3m", "1m 1h", "15m 1d", "1h 3d", "4h 1w", "1d 1w", "1d 1M", "12h 1M"]
# 2024-02-27, before the end of a leap year's February.
FEBRUARY: Final = 1_708_992_000_000


def plainly(bars: list[Bar], part: Timeframe, whole: Timeframe, first: int) -> list[Bar]:
    """Roll up by a dictionary: only larger bars with all parts from *first* on."""
    groups: dict[int, list[Bar]] = defaultdict(list)
    for bar in bars:
        groups[whole.index(bar.open_time)].append(bar)
    made = []
    for index, parts in groups.items():
        begin = max(part.index(whole.open_time(index)), first)
        expected = [part.open_time(one) for one in range(begin, part.index(whole.open_time(index + 1)))]
        if [bar.open_time for bar in parts] == expected:
            made.append(roll_up(parts, whole))
    return made


def same(one: Exact, other: Exact) -> bool:
    return one.scale == other.scale and one.rows.tobytes() == other.rows.tobytes()


@pytest.mark.parametrize("pair", PAIRS)
@given(seed=st.integers(0, 2**32), holes=st.sets(st.integers(0, 299), max_size=3), known=st.booleans())
def test_bars_are_rolled_up_as_a_plain_model_does(
    pair: str, seed: int, holes: set[int], *, known: bool
) -> None:
    part, whole = map(timeframe, pair.split())
    begin = part.index(FEBRUARY) + seed % 7
    bars = [bar for at, bar in enumerate(market(part, begin, 300, seed)) if at not in holes]
    first = part.index(bars[0].open_time) if known else UNKNOWN

    assert same(exact(plainly(bars, part, whole, first)), rolled(exact(bars), part, whole, first))


def test_a_sum_beyond_64_bits_is_refused() -> None:
    part, whole = timeframe("1m"), timeframe("3m")
    most = [bar._replace(volume=2**62) for bar in market(part, 0, 3, 1, quiet=0)]

    with pytest.raises(DataError, match="64 bits"):
        rolled(exact(most), part, whole)


def test_nothing_becomes_nothing() -> None:
    assert rolled(exact([]), timeframe("1m"), timeframe("1h")).rows.size == 0


@pytest.mark.parametrize("name", TIMEFRAMES)
def test_indexes_and_open_times_are_those_of_the_timeframe(name: str) -> None:
    tf = timeframe(name)
    times = np.arange(FEBRUARY, FEBRUARY + 80 * 86_400_000, 7_777_777)
    bars = indexes(tf, times)

    assert bars.tolist() == [tf.index(time) for time in times.tolist()]
    assert opens(tf, bars).tolist() == [tf.open_time(bar) for bar in bars.tolist()]
    assert rolled(exact([], SCALE), tf, tf).scale == SCALE
