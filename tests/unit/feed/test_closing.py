"""Closing: a bar is announced once and in order, when all who should have closed it or the grace is over."""

from typing import Final

import pytest
from tests.unit.feed.frames import a_ring
from tests.unit.feed.telling import FRAMES, MINUTE, NAMES, START, at, names_of
from tests.unit.panel.model import SCALE

from klinehub.domain.kline import CLOSED, FORMING
from klinehub.feed.closing import Closing
from klinehub.feed.decisions import BarClosed, Decisions, Revision
from klinehub.feed.roster import Roster

GRACE: Final = 3_000
BARS: Final = 16
FIRST: Final = START // MINUTE


class Room:
    """A ring of minutes, who is followed, and what is announced."""

    def __init__(self, *, begin: int | None = START + 2_000) -> None:
        self.ring = a_ring(NAMES, SCALE, FRAMES[:1], bars=BARS)
        self.roster = Roster(self.ring)
        self.roster.follow(NAMES)
        self.closing = Closing(self.ring, self.roster, GRACE)
        if begin is not None:
            self.closing.begin(begin)

    def put(self, minute: int, *names: str, state: int = CLOSED) -> None:
        for name in names or NAMES:
            row, memory = self.ring.rows[name], self.ring.memory
            memory.newest[0, row] = max(memory.newest[0, row], FIRST + minute)
            memory.state[0, row, (FIRST + minute) % BARS] = state

    def told(self, now: int, *, patience_ends: bool = False) -> list[BarClosed]:
        into = Decisions()
        self.closing.announce(now, into, patience_ends=patience_ends)
        return into.closed

    def revised(self, minute: int, name: str = "A") -> list[Revision]:
        into = Decisions()
        self.closing.revise(0, self.ring.rows[name], at(minute), into)
        return into.revised


def test_nothing_is_announced_or_revised_before_it_begins() -> None:
    room = Room(begin=None)
    room.put(0)

    assert room.told(at(9), patience_ends=True) == []
    assert room.revised(0) == []
    assert room.closing.late == 0


def test_a_bar_that_all_have_closed_is_announced_once_it_has_ended() -> None:
    """A close told too early, by a clock that runs ahead, is not believed."""
    room = Room()
    room.put(0)

    assert room.told(at(1) - 1) == []
    assert room.told(at(1)) == [BarClosed("1m", FIRST, START, complete=True, missing=())]
    assert room.told(at(1) + 10) == []


@pytest.mark.parametrize("state", [0, FORMING])
def test_one_that_lacks_it_is_waited_for_until_the_grace_is_over(state: int) -> None:
    room = Room()
    room.put(0, "A", "B")
    if state:
        room.put(0, "C", state=state)

    assert room.told(at(5)) == []
    assert room.told(at(1) - 1 + GRACE - 1, patience_ends=True) == []
    (one,) = room.told(at(1) - 1 + GRACE, patience_ends=True)
    assert (one.complete, one.missing) == (False, ("C",))


def test_a_bar_whose_place_is_taken_by_another_is_not_closed() -> None:
    room = Room()
    room.put(0)
    room.put(BARS, "B")
    (one,) = room.told(at(2) - 1, patience_ends=True)

    assert one.missing == ("B",)


def test_who_was_listed_later_or_froze_before_is_not_waited_for() -> None:
    room = Room()
    room.put(0, "A")
    room.ring.memory.first[0, room.ring.rows["B"]] = FIRST + 1
    room.roster.freeze("C", "SETTLING", START + 1)

    assert room.told(at(1)) == [BarClosed("1m", FIRST, START, complete=True, missing=())]


def test_bars_are_announced_in_order_and_one_that_waits_holds_up_the_next() -> None:
    room = Room()
    for minute in (0, 2):
        room.put(minute)
    room.put(1, "A", "B")

    assert names_of(room.told(at(3))) == [("1m", at(1))]
    room.put(1, "C")
    assert names_of(room.told(at(3))) == [("1m", at(2)), ("1m", at(3))]


def test_what_closes_after_its_announcement_is_a_revision_and_counted() -> None:
    room = Room()
    room.put(0)
    room.told(at(1))

    assert room.revised(0, "B") == [Revision("1m", FIRST, "B")]
    assert room.revised(1) == []
    assert room.revised(-1) == []
    assert room.closing.late == 1
