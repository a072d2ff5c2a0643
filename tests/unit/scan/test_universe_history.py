"""The universe as it was: who was in at any time, from bounded records."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.errors import DataError, DefinitionError
from klinehub.scan.universe_history import Change, History

NAMES = ("AUSDT", "BUSDT", "CUSDT", "DUSDT", "币安人生USDT")
# Who is in at each of some increasing times; the first is never nobody.
Course = list[tuple[int, frozenset[str]]]
courses = st.lists(
    st.tuples(st.integers(0, 3), st.frozensets(st.sampled_from(NAMES), min_size=1)), min_size=1, max_size=30
).map(lambda steps: [(sum(gap for gap, _ in steps[: at + 1]), who) for at, (_, who) in enumerate(steps)])


def told(course: Course) -> list[Change]:
    """The changes that lead from each step to the next, those at one time in the order of the steps."""
    return [
        Change(time, symbol, entered=symbol in now, why="test")
        for (_, before), (time, now) in pairwise([(0, frozenset()), *course])
        for symbol in sorted(before ^ now)
    ]


def known(course: Course, time: int) -> tuple[str, ...]:
    return tuple(sorted([who for start, who in course if start <= time][-1]))


@given(courses)
def test_who_was_in_comes_back_exactly(course: Course) -> None:
    history = History(told(course))

    for time in range(course[0][0], course[-1][0] + 2):
        assert history.at(time) == known(course, time)
    assert history.records == tuple(told(course))


@given(courses, st.integers(1, 12))
def test_what_is_still_known_stays_exact_when_the_oldest_is_forgotten(course: Course, most: int) -> None:
    history = History(told(course), most=most)
    assert history.since is not None

    for time in range(history.since, course[-1][0] + 2):
        assert history.at(time) == known(course, time)
    with pytest.raises(DataError, match=f"known since {history.since}"):
        history.at(history.since - 1)
    assert history.forgotten == max(0, len(told(course)) - most)
    assert len(history.records) <= most + len(NAMES)


@given(courses, st.integers(1, 12))
def test_a_history_that_was_written_down_goes_on_as_if_never_stopped(course: Course, most: int) -> None:
    changes = told(course)
    history = History(changes[: len(changes) // 2], most=most)
    written = msgspec.json.encode(history.records)
    again = History(msgspec.json.decode(written, type=list[Change]), since=history.since, most=most)
    assert again.since == history.since

    for change in changes[len(changes) // 2 :]:
        history.record(change)
        again.record(change)

    assert again.records == history.records
    assert again.since == history.since


def test_nothing_is_told_of_a_time_that_was_not_recorded() -> None:
    with pytest.raises(DataError, match="No universe was recorded yet"):
        History().at(0)
    with pytest.raises(DataError, match="known since 5, not at 4"):
        History([Change(5, "AUSDT", entered=True, why="")]).at(4)


def test_a_change_out_of_order_or_of_nothing_is_refused_and_leaves_no_trace() -> None:
    history = History([Change(5, "AUSDT", entered=True, why="")])
    with pytest.raises(DataError, match="before the last change at 5"):
        history.record(Change(4, "BUSDT", entered=True, why=""))
    with pytest.raises(DataError, match="AUSDT is in the universe already"):
        history.record(Change(6, "AUSDT", entered=True, why=""))
    with pytest.raises(DataError, match="BUSDT is out of the universe already"):
        history.record(Change(6, "BUSDT", entered=False, why=""))

    assert repr(history) == "<History 1 changes since 5, 0 forgotten>"
    assert history.at(6) == ("AUSDT",)


def test_a_history_of_nothing_is_refused() -> None:
    with pytest.raises(DefinitionError, match="keep 1 or more"):
        History(most=0)
