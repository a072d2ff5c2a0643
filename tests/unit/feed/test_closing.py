"""Closing: a bar is announced once and in order, when all who should have closed it or the grace is over."""

from typing import Final

import pytest
from tests.unit.feed.frames import a_ring
from tests.unit.feed.telling import (
    FRAMES,
    MINUTE,
    NAMES,
    START,
    a_core,
    answer,
    at,
    close,
    frame,
    names_of,
    repair,
    repairs,
    tell,
    truth,
)
from tests.unit.panel.model import SCALE

from klinehub.domain.kline import CLOSED, FORMING
from klinehub.domain.stale import Reason, Stale
from klinehub.feed.closing import Closing
from klinehub.feed.core import Core
from klinehub.feed.decisions import BarClosed, Decisions, Revision
from klinehub.feed.roster import Roster

# The first test with a core waits until the way of a kline is compiled.
pytestmark = pytest.mark.timeout(120)

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


def test_who_was_listed_with_this_very_bar_is_waited_for() -> None:
    room = Room()
    room.put(0, "A", "C")
    room.ring.memory.first[0, room.ring.rows["B"]] = FIRST

    assert room.told(at(1)) == []
    assert room.told(at(1) + GRACE, patience_ends=True)[0].missing == ("B",)


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


def test_a_missing_bar_is_asked_for_after_two_seconds_and_announced_as_missing_after_three() -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    assert repairs(core.on_timer(at(1) + 2_049)) == []
    assert repairs(core.on_timer(at(1) + 2_050)) == [repair("C", "1m", START, 2)]

    assert core.missing(at(1) + 2_999) == []
    assert [gap.row for gap in core.missing(at(1) + 3_000)] == [2]
    assert core.on_timer(at(1) - 1 + 2_999).closed == []
    core.ring.memory.heard[0] = at(1) + 2_500
    decisions = core.on_timer(at(1) - 1 + 3_000)
    assert [one.missing for one in decisions.closed] == [("C",)]
    assert core.ring.panel("1m").stale("C") is None
    core.on_timer(at(1) + 3_000)
    assert core.ring.panel("1m").stale("C") == Stale(Reason.GAP.text, at(1) + 2_500)


def test_answers_that_come_together_after_the_grace_complete_the_bar_before_a_timer_gives_it_up() -> None:
    core = a_core()
    close(core, 0, ("B",))
    first, second = repairs(core.on_timer(at(1) + GRACE - 500))
    now = at(1) + GRACE + 10

    assert answer(core, first, now).closed == []
    assert answer(core, second, now).closed == [
        BarClosed("1m", START // MINUTE, START, complete=True, missing=())
    ]


def test_the_end_of_an_hours_quarter_of_many_symbols_is_told_whole_in_one_batch() -> None:
    names = [f"S{n}" for n in range(40)]
    core = Core(a_ring(names, SCALE, FRAMES, bars=64), wanted=20)
    core.watch(names)
    core.go_live(START)
    for minute, one in enumerate(truth("A", 0, 13)):
        tell(core, [frame(one, name, closed=True) for name in names], at(minute + 1))

    (last,) = truth("A", 14, 14)
    decisions = tell(core, [frame(last, name, closed=True) for name in names], at(15))
    assert [end.complete for end in decisions.closed] == [True] * 3
    assert core.counts.closes == 40 * (15 + 3 + 1)
