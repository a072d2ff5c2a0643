"""The roster: who is followed, and up to which bar of each timeframe."""

import numpy as np
import pytest
from tests.unit.feed.frames import a_ring
from tests.unit.feed.telling import FRAMES, NAMES, START, at
from tests.unit.panel.model import SCALE

from klinehub.domain.timeframe import timeframe
from klinehub.feed.roster import Roster

ONE, FIVE, FIFTEEN = FRAMES
BAR, LARGER = ONE.index(START), FIVE.index(START)


@pytest.fixture
def roster() -> Roster:
    made = Roster(a_ring(NAMES, SCALE, FRAMES))
    made.follow(NAMES)
    return made


def test_who_is_followed_is_expected_to_close_every_bar(roster: Roster) -> None:
    assert roster.rows.tolist() == [0, 1, 2]
    assert roster.last(ONE, BAR).tolist() == [BAR] * 3
    assert roster.expecting(FIFTEEN, 10**6).tolist() == [0, 1, 2]
    assert roster.leaving(at(99)) == []


def test_nobody_is_followed_at_first() -> None:
    nobody = Roster(a_ring(NAMES, SCALE, FRAMES))

    assert (nobody.rows.tolist(), nobody.expecting(ONE, BAR).tolist()) == ([], [])
    assert not any(nobody.follows(name) for name in NAMES)


def test_following_adds_and_never_doubles(roster: Roster) -> None:
    other = Roster(a_ring(NAMES, SCALE, FRAMES))
    other.follow(["C"])
    other.follow(["A", "C"])

    assert other.rows.tolist() == [0, 2]


@pytest.mark.parametrize(("moment", "last"), [(0, -1), (59_999, -1), (60_000, 0), (60_001, 0), (330_000, 4)])
def test_a_frozen_symbol_is_expected_to_close_what_ended_before(
    roster: Roster, moment: int, last: int
) -> None:
    roster.freeze("B", "SETTLING", START + moment)

    assert roster.last(ONE, BAR + 9).tolist() == [BAR + 9, BAR + last, BAR + 9]
    assert roster.last(ONE, BAR - 5).tolist() == [BAR - 5] * 3
    for bar in range(BAR - 3, BAR + 9):
        assert roster.expecting(ONE, bar).tolist() == ([0, 1, 2] if bar <= BAR + last else [0, 2])


def test_a_larger_bar_that_had_not_ended_is_not_expected_either(roster: Roster) -> None:
    roster.freeze("B", "SETTLING", at(7))

    assert roster.last(FIVE, LARGER + 3).tolist() == [LARGER + 3, LARGER, LARGER + 3]
    assert roster.expecting(FIVE, LARGER).tolist() == [0, 1, 2]
    assert roster.expecting(FIVE, LARGER + 1).tolist() == [0, 2]
    assert roster.expecting(FIFTEEN, FIFTEEN.index(START)).tolist() == [0, 2]


def test_months_are_expected_of_those_who_trade_on_while_another_is_frozen(roster: Roster) -> None:
    """No calendar reaches as far as a symbol that trades on may."""
    month = timeframe("1M")
    now = month.index(START)
    roster.freeze("B", "SETTLING", START)

    assert roster.last(month, now).tolist() == [now, now - 1, now]


def test_the_first_moment_counts_and_the_last_status_is_kept(roster: Roster) -> None:
    roster.freeze("B", "SETTLING", at(1))
    roster.freeze("B", "gone", at(9))

    assert roster.last(ONE, BAR + 20).tolist()[1] == BAR
    assert roster.frozen == {"B": "gone"}


def test_who_leaves_is_expected_no_more_and_stays_frozen(roster: Roster) -> None:
    roster.freeze("B", "SETTLING", at(1))
    assert roster.leaving(at(1)) == []
    assert roster.leaving(at(1) + 1) == ["B"]
    assert roster.follows("B")
    roster.leave("B")

    assert roster.rows.tolist() == [0, 2]
    assert roster.leaving(at(99)) == []
    assert not roster.follows("B")
    assert roster.frozen == {"B": "SETTLING"}
    assert roster.last(ONE, BAR).tolist() == [BAR] * 2


@pytest.mark.parametrize("left", [False, True])
def test_who_trades_again_is_expected_to_close_every_bar_again(roster: Roster, *, left: bool) -> None:
    roster.freeze("B", "BREAK", at(1))
    if left:
        roster.leave("B")
    roster.follow(["B"])

    assert roster.rows.tolist() == [0, 1, 2]
    assert (roster.frozen, roster.leaving(at(99))) == ({}, [])
    assert np.array_equal(roster.last(ONE, BAR + 20), [BAR + 20] * 3)
