"""The laws of merging: what may overwrite what, and what a write means."""

from typing import Final

import numpy as np
import pytest
from tests.unit.panel.model import SCALE, Bar, exact, market, words

from klinehub.domain.kline import CLOSED, EMPTY, FORMING, VERIFIED
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DataError
from klinehub.panel.merge import (
    CLOSED_NOW,
    CONFLICT,
    GAP,
    LAG,
    OLD,
    PROOF,
    QUIET,
    UNPROVEN,
    merge_closed,
    merge_forming,
)
from klinehub.panel.ring import Ring

MINUTE: Final = timeframe("1m")
FIRST: Final = 28_333_333
BARS: Final = 8


@pytest.fixture
def ring() -> Ring:
    made = Ring([MINUTE], rows=2, bars=BARS)
    made.add("BTCUSDT", SCALE)
    made.add("ETHUSDT", SCALE)
    return made


@pytest.fixture
def bars() -> list[Bar]:
    return market(MINUTE, FIRST, 3 * BARS, 7, quiet=0.0)


def closed(ring: Ring, bar: Bar) -> int:
    return int(merge_closed(ring.memory, 0, 1, words(bar)))


def updated(ring: Ring, bar: Bar, event: int) -> int:
    return int(merge_forming(ring.memory, 0, 1, words(bar), event))


def kept(ring: Ring) -> list[tuple[int, int]]:
    """Give (open time, state) of each bar of the row that is written, oldest first."""
    newest, memory = int(ring.memory.newest[0, 1]), ring.memory
    slots = [i % BARS for i in range(newest - BARS + 1, newest + 1)]
    return [
        (int(memory.cells[0, 1, s, 0]), int(memory.state[0, 1, s])) for s in slots if memory.state[0, 1, s]
    ]


def test_a_forming_bar_never_overwrites_a_closed_one(ring: Ring, bars: list[Bar]) -> None:
    assert closed(ring, bars[0]) == CLOSED_NOW
    before = ring.memory.cells.copy()

    assert updated(ring, bars[0]._replace(close=1), event=10**15) == OLD
    assert np.array_equal(ring.memory.cells, before)


def test_an_update_older_than_the_one_kept_is_ignored(ring: Ring, bars: list[Bar]) -> None:
    updated(ring, bars[0], event=1_000)

    assert updated(ring, bars[0]._replace(trades=5), event=999) == OLD
    assert ring.memory.cells[0, 1, FIRST % BARS, 7] == bars[0].trades
    more = bars[0].trades + 6
    assert updated(ring, bars[0]._replace(trades=more), event=1_000) == QUIET
    assert ring.memory.cells[0, 1, FIRST % BARS, 7] == more


def test_a_forming_bar_never_loses_trades(ring: Ring, bars: list[Bar]) -> None:
    """A replica that lags behind may tell an older state with a younger event time."""
    updated(ring, bars[0], event=1_000)
    before = ring.memory.cells.copy()

    assert updated(ring, bars[0]._replace(close=1, trades=bars[0].trades - 1), event=2_000) == OLD
    assert np.array_equal(ring.memory.cells, before)
    assert updated(ring, bars[0]._replace(close=1), event=1_500) == QUIET
    assert ring.memory.floats[0, 1, FIRST % BARS, 4] == 0.01
    assert updated(ring, bars[1]._replace(trades=1), event=3_000) == UNPROVEN


def test_the_next_bar_begins_its_own_order_of_updates(ring: Ring, bars: list[Bar]) -> None:
    updated(ring, bars[0], event=5_000)
    closed(ring, bars[0])

    assert updated(ring, bars[1], event=10) == QUIET


def test_a_closed_bar_is_immutable(ring: Ring, bars: list[Bar]) -> None:
    closed(ring, bars[0])
    before = ring.memory.cells.copy()

    assert closed(ring, bars[0]) == QUIET
    for word in Bar._fields[1:]:
        different = bars[0]._replace(**{word: getattr(bars[0], word) + 1})
        assert closed(ring, different) == CONFLICT
    assert np.array_equal(ring.memory.cells, before)


def test_a_verified_bar_is_immutable_and_stays_verified(ring: Ring, bars: list[Bar]) -> None:
    closed(ring, bars[0])
    ring.verify(0, 1, exact(bars[:1]))

    assert closed(ring, bars[0]._replace(close=1)) == CONFLICT
    assert closed(ring, bars[0]) == QUIET
    assert kept(ring) == [(bars[0].open_time, VERIFIED)]


def test_a_close_replaces_whatever_the_updates_said(ring: Ring, bars: list[Bar]) -> None:
    updated(ring, bars[0]._replace(trades=1), event=10**15)

    assert closed(ring, bars[0]) == CLOSED_NOW
    assert ring.memory.cells[0, 1, FIRST % BARS].tolist() == words(bars[0]).tolist()


def test_moving_on_says_what_the_bars_before_lack(ring: Ring, bars: list[Bar]) -> None:
    assert updated(ring, bars[0], 1) == QUIET
    assert updated(ring, bars[1], 2) == UNPROVEN
    assert closed(ring, bars[1]) == CLOSED_NOW
    assert updated(ring, bars[2], 3) == QUIET
    assert updated(ring, bars[5], 4) == UNPROVEN | GAP
    assert closed(ring, bars[7]) == CLOSED_NOW | UNPROVEN | GAP


def test_a_late_close_fills_its_own_place(ring: Ring, bars: list[Bar]) -> None:
    for bar in (bars[0], bars[1], bars[4]):
        closed(ring, bar)

    assert closed(ring, bars[2]) == CLOSED_NOW
    assert updated(ring, bars[3], 10**15) == OLD
    assert closed(ring, bars[3]) == CLOSED_NOW
    assert kept(ring) == [(bar.open_time, CLOSED) for bar in bars[:5]]


def test_the_ring_keeps_the_newest_bars_and_leaves_older_ones_out(ring: Ring, bars: list[Bar]) -> None:
    for bar in bars[: 2 * BARS]:
        closed(ring, bar)

    assert kept(ring) == [(bar.open_time, CLOSED) for bar in bars[BARS : 2 * BARS]]
    for bar in bars[:BARS]:
        assert closed(ring, bar) == OLD
    assert kept(ring) == [(bar.open_time, CLOSED) for bar in bars[BARS : 2 * BARS]]


@pytest.mark.parametrize("step", [BARS - 1, BARS, BARS + 1, 2 * BARS, 10**9])
def test_a_leap_forgets_what_it_passes(ring: Ring, bars: list[Bar], step: int) -> None:
    for bar in bars[:BARS]:
        closed(ring, bar)
    far = bars[0]._replace(open_time=MINUTE.open_time(FIRST + BARS - 1 + step))

    assert updated(ring, far, 1) == GAP
    left = max(0, BARS - step)
    assert kept(ring) == [
        *((bar.open_time, CLOSED) for bar in bars[BARS - left : BARS]),
        (far.open_time, FORMING),
    ]


def test_the_other_row_is_not_touched(ring: Ring, bars: list[Bar]) -> None:
    for bar in bars:
        updated(ring, bar, 1)
        closed(ring, bar)

    assert (ring.memory.state[0, 0] == EMPTY).all()
    assert ring.memory.newest[0, 0] == -1


def test_readers_find_an_even_sequence_after_each_write(ring: Ring, bars: list[Bar]) -> None:
    for bar in bars[:3]:
        updated(ring, bar, 1)
        closed(ring, bar)

    assert ring.memory.sequence[0].tolist() == [0, 12]


def test_rows_close_only_when_asked_for_two_seconds_after(bars: list[Bar]) -> None:
    end = bars[3].open_time - 1
    for late, states in (
        (-1, [CLOSED, CLOSED, FORMING]),
        (0, [CLOSED, CLOSED]),
        (PROOF - 1, [CLOSED, CLOSED]),
        (PROOF, [CLOSED, CLOSED, CLOSED]),
    ):
        ring = Ring([MINUTE], rows=2, bars=BARS)
        for symbol in ("BTCUSDT", "ETHUSDT"):
            ring.add(symbol, SCALE)
        ring.load(0, 1, exact(bars[:3]), end + late + (late == 0))
        assert [state for _, state in kept(ring)] == states, late


def test_an_answer_over_a_boundary_proves_only_what_was_over_when_asked(ring: Ring, bars: list[Bar]) -> None:
    """It was asked before bar 2 closed and answered after: its row 2 may be of any moment."""
    asked = bars[2].open_time + 59_990

    ring.load(0, 1, exact(bars[:4]), asked)

    assert kept(ring) == [
        (bars[0].open_time, CLOSED),
        (bars[1].open_time, CLOSED),
        (bars[2].open_time, FORMING),
    ]


def test_an_open_row_gives_way_to_any_update_and_never_takes_one_back(ring: Ring, bars: list[Bar]) -> None:
    one = bars[0]._replace(trades=8)
    ring.load(0, 1, exact([one]), bars[0].open_time + 10)
    assert updated(ring, one._replace(trades=9), event=1) == QUIET

    ring.load(0, 1, exact([one]), bars[0].open_time + 20)
    assert ring.memory.cells[0, 1, FIRST % BARS, 7] == 9


def test_an_open_row_with_more_trades_is_taken_and_keeps_the_order_of_updates(
    ring: Ring, bars: list[Bar]
) -> None:
    """The stream has lost updates of a bar that REST knows more of."""
    one = bars[0]._replace(trades=8)
    updated(ring, one, event=1_000)
    ring.load(0, 1, exact([one._replace(trades=12)]), bars[0].open_time + 20)
    assert ring.memory.cells[0, 1, FIRST % BARS, 7] == 12

    assert updated(ring, one._replace(trades=13), event=999) == OLD
    assert updated(ring, one._replace(trades=13), event=1_000) == QUIET


def test_a_row_with_fewer_trades_than_the_stream_told_closes_nothing(ring: Ring, bars: list[Bar]) -> None:
    """It was written before the bar ended; only after a minute the stream is taken to have been wrong."""
    updated(ring, bars[0], event=1_000)
    behind = bars[0]._replace(close=1, trades=bars[0].trades - 1)

    assert ring.load(0, 1, exact([behind]), bars[1].open_time + LAG - 1) == QUIET
    assert kept(ring) == [(bars[0].open_time, FORMING)]
    assert ring.memory.cells[0, 1, FIRST % BARS].tolist() == words(bars[0]).tolist()
    assert ring.load(0, 1, exact([bars[0]]), bars[1].open_time + LAG - 1) == CLOSED_NOW
    assert kept(ring) == [(bars[0].open_time, CLOSED)]


def test_a_row_with_fewer_trades_is_believed_after_a_minute(ring: Ring, bars: list[Bar]) -> None:
    updated(ring, bars[0], event=1_000)
    behind = bars[0]._replace(trades=bars[0].trades - 1)

    assert ring.load(0, 1, exact([behind]), bars[1].open_time + LAG) == CLOSED_NOW
    assert ring.memory.cells[0, 1, FIRST % BARS].tolist() == words(behind).tolist()


def test_a_row_that_is_behind_does_not_stop_those_beside_it(ring: Ring, bars: list[Bar]) -> None:
    closed(ring, bars[0])
    updated(ring, bars[2], event=1_000)
    behind = bars[2]._replace(trades=0)

    ring.load(0, 1, exact([bars[0], bars[1], behind]), bars[3].open_time + PROOF)
    assert kept(ring) == [
        (bars[0].open_time, CLOSED),
        (bars[1].open_time, CLOSED),
        (bars[2].open_time, FORMING),
    ]


def test_rows_that_contradict_a_closed_bar_are_a_conflict(ring: Ring, bars: list[Bar]) -> None:
    closed(ring, bars[1])
    wrong = [bars[0], bars[1]._replace(close=1), bars[2]]

    flags = ring.load(0, 1, exact(wrong), bars[4].open_time)

    assert flags & CONFLICT
    assert kept(ring) == [(bar.open_time, CLOSED) for bar in bars[:3]]
    assert ring.memory.cells[0, 1, (FIRST + 1) % BARS].tolist() == words(bars[1]).tolist()


def test_rows_of_another_grid_are_refused(bars: list[Bar]) -> None:
    five, month = timeframe("5m"), timeframe("1M")
    ring = Ring([five, month], rows=1, bars=BARS)
    ring.add("BTCUSDT", SCALE)

    with pytest.raises(DataError, match="no 5m bars"):
        ring.load(0, 0, exact(bars[:3]), 10**13)
    with pytest.raises(DataError, match="no 1M bars"):
        ring.load(1, 0, exact(bars[:3]), 10**13)
    assert not ring.memory.state.any()


def test_verifying_marks_equal_bars_and_names_the_others(ring: Ring, bars: list[Bar]) -> None:
    for bar in (bars[0], bars[1], bars[3]):
        closed(ring, bar)
    updated(ring, bars[4], 1)
    answer = [bars[0], bars[1]._replace(taker_quote=bars[1].taker_quote + 1), *bars[2:6]]

    assert ring.verify(0, 1, exact(answer)) == (3, [bars[1].open_time])
    assert kept(ring) == [
        (bars[0].open_time, VERIFIED),
        (bars[1].open_time, CLOSED),
        (bars[3].open_time, VERIFIED),
        (bars[4].open_time, FORMING),
    ]


def test_where_no_trades_are_told_an_answer_with_less_volume_is_behind(ring: Ring, bars: list[Bar]) -> None:
    whole = bars[0]._replace(trades=0)
    part = whole._replace(volume=whole.volume - 1)
    updated(ring, whole, whole.open_time + 1)
    end = MINUTE.close_time(FIRST)
    proof, surely = end + PROOF, end + 1 + LAG

    assert updated(ring, part, whole.open_time + 2) == OLD
    ring.load(0, 1, exact([part]), proof)
    assert kept(ring) == [(whole.open_time, FORMING)]
    ring.load(0, 1, exact([whole]), proof)
    assert kept(ring) == [(whole.open_time, CLOSED)]

    other = Ring([MINUTE], rows=2, bars=BARS)
    other.add("BTCUSDT", SCALE)
    other.add("ETHUSDT", SCALE)
    updated(other, whole, whole.open_time + 1)
    other.load(0, 1, exact([part]), surely)
    assert kept(other) == [(whole.open_time, CLOSED)]
