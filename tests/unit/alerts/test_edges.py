"""Edges: who fires, who is armed again, and that a position reads back as it was."""

from typing import Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.alerts.edges import (
    NEVER,
    Position,
    Seen,
    Stand,
    Terms,
    at_bar,
    carried,
    decide,
    pack,
    rebased,
    told,
    unpack,
    unseen,
)
from klinehub.errors import StoreError

UNKNOWN: Final = float("nan")


def followed(holds: list[float], clear: list[float] | None = None, *, cooldown: int = 0) -> list[int]:
    """Give the bars at which one cell fires."""
    stand, fired = unseen(1), []
    terms = Terms(np.array([clear is not None]), np.array([cooldown]))
    for bar, value in enumerate(holds):
        cleared = UNKNOWN if clear is None else clear[bar]
        stand, fires = decide(stand, Seen(np.array([value]), np.array([cleared])), terms, bar)
        fired += [bar] * int(fires[0])
    return fired


def test_a_symbol_fires_when_the_condition_comes_to_hold_and_not_while_it_holds() -> None:
    assert followed([0, 1, 1, 0, 1, 0, 0]) == [1, 4]


def test_whoever_holds_at_the_first_look_is_not_told_before_he_has_let_go() -> None:
    assert followed([1, 1, 0, 1]) == [3]


def test_what_is_not_known_changes_nothing() -> None:
    assert followed([UNKNOWN, 0, UNKNOWN, 1, UNKNOWN, 1, 0, UNKNOWN, 1]) == [3, 8]
    assert followed([UNKNOWN, 1, 1]) == []


def test_with_clear_a_symbol_fires_again_only_after_that_has_held() -> None:
    #        holds at 1, lets go at 2, comes back at 3: nothing in between is worth a second alert.
    assert followed([0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 1, 0]) == [1, 5]
    assert followed([0, 1, 1, 1], [0, 1, 1, 0]) == [1, 3]
    assert followed([0, 1, 0, 1], [0, 0, UNKNOWN, 0]) == [1]


def test_within_the_cooldown_nobody_fires_and_who_still_holds_after_it_does() -> None:
    assert followed([0, 1, 0, 1, 0, 0, 1], cooldown=3) == [1, 6]
    assert followed([0, 1, 0, 1, 1, 1, 1], cooldown=3) == [1, 5]
    assert followed([0, 1, 0, 1], cooldown=1) == [1, 3]


def test_who_fired_while_a_bar_was_open_does_not_fire_at_its_close_and_rests_from_it() -> None:
    terms = Terms(np.array([False]), np.array([2]))
    armed, _ = decide(unseen(1), Seen(np.zeros(1), np.zeros(1)), terms, 0)
    before = told(armed, np.array([True]), 1)

    held, fires = decide(before, Seen(np.ones(1), np.zeros(1)), terms, 1)
    assert not fires[0]
    let_go, fires = decide(before, Seen(np.zeros(1), np.zeros(1)), terms, 1)
    assert not fires[0]

    assert not decide(let_go, Seen(np.ones(1), np.zeros(1)), terms, 3)[1][0]
    assert decide(let_go, Seen(np.ones(1), np.zeros(1)), terms, 4)[1][0]
    assert not decide(held, Seen(np.ones(1), np.zeros(1)), terms, 4)[1][0]


VALUES: Final = st.sampled_from([0.0, 1.0, UNKNOWN])
BARS: Final = st.lists(st.tuples(VALUES, VALUES), max_size=30)


@given(BARS, st.booleans(), st.integers(0, 5), st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_any_restarts_and_any_bars_decided_again_give_the_same_alerts(
    bars: list[tuple[float, float]],
    has_clear: bool,  # noqa: FBT001 - drawn
    cooldown: int,
    restarts: set[int],
    again: set[int],
) -> None:
    terms = Terms(np.array([has_clear]), np.array([cooldown]))

    def run(restarts: set[int], again: set[int]) -> set[int]:
        at = Position(0, -1, np.zeros(1, np.int64), unseen(1), unseen(1))
        fired = set()
        for bar, (holds, clear) in enumerate(bars):
            seen = Seen(np.array([holds]), np.array([clear]))
            # Before the bar is complete nothing of it is known.
            for one in ([Seen(np.array([UNKNOWN]), np.array([UNKNOWN]))] if bar in again else []) + [seen]:
                before = at.before if at.bar == bar else at.stand
                stand, fires = decide(before, one, terms, bar)
                at = Position(0, bar, at.rows, before, stand)
                fired |= {bar} if fires[0] else set()
                if bar in restarts:
                    at = unpack(pack(at))
        return fired

    assert run(restarts, again) == run(set(), set())


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 2, *[st.sampled_from([NEVER, 0, 2**40])] * 2), max_size=20))
def test_a_position_reads_back_as_it_was(cells: list[tuple[int, int, int, int]]) -> None:
    table = np.array(cells, np.int64).reshape(-1, 4)
    before, stand = (Stand(table[:, n].astype(np.int8), table[:, n + 2]) for n in (0, 1))
    at = Position(7, 9, np.arange(len(cells)) * 3, before, stand)

    found = unpack(pack(at))

    assert (found.since, found.bar, found.rows.tolist()) == (7, 9, at.rows.tolist())
    for one, other in ((found.before, before), (found.stand, stand)):
        assert one.state.tolist() == other.state.tolist()
        assert one.fired.tolist() == other.fired.tolist()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x99" + b"\xc4\x01\x00" * 9,
        b"nonsense",
        pack(Position(1, 1, np.arange(3), unseen(3), unseen(3)))[:-2],
    ],
)
def test_a_damaged_position_is_refused(body: bytes) -> None:
    with pytest.raises(StoreError, match="begins anew"):
        unpack(body)


def test_up_to_a_later_bar_at_which_nothing_changed_the_stand_is_the_one_before() -> None:
    spent, armed = Stand(np.array([2], np.int8), np.array([5])), Stand(np.array([1], np.int8), np.array([5]))
    at = Position(0, 5, np.zeros(1, np.int64), armed, spent)

    assert at_bar(at, 5).before is armed
    assert at_bar(at, 6).before is spent


def test_rows_follow_the_names_when_the_symbols_have_another_order() -> None:
    stand = Stand(np.array([0, 1, 2], np.int8), np.array([NEVER, 4, 5]))
    at = Position(0, 5, np.array([0, 1, 2]), stand, stand)

    found = rebased(at, ("A", "B", "C"), ("C", "D", "B"))
    here = carried(np.array([0, 1, 2]), found.rows, found.stand)

    assert here.state.tolist() == [2, 0, 1]
    assert here.fired.tolist() == [5, NEVER, 4]
