"""The breaker: a host that fails is left in peace, and one probe at a time finds out about it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.feed.breaker import BLOCK, FAILURES, NUDGE, OVERLOAD, REST, Breaker

NOW = 1_740_000_010_000


def broken(now: int = NOW) -> Breaker:
    """Give a breaker that has just opened."""
    made = Breaker()
    for _ in range(FAILURES):
        made.failed(now, now, "did not answer")
    return made


def test_so_many_failures_in_a_row_open_it_and_say_until_when() -> None:
    breaker = Breaker()
    for at in range(FAILURES):
        assert breaker.closed(NOW + at) == ""
        breaker.failed(NOW + at, NOW + at, "did not answer")

    assert breaker.closed(NOW + 10) == "resting until 2025-02-19 21:21:10 UTC (last failure: did not answer)"


def test_an_answer_in_between_begins_the_row_anew() -> None:
    breaker = Breaker()
    for at in range(4 * FAILURES):
        breaker.failed(NOW + at, NOW + at)
        if at % (FAILURES - 1) == 0:
            breaker.answered()

    assert breaker.closed(NOW + 100) == ""


def test_requests_that_break_together_are_one_failure() -> None:
    breaker = Breaker()
    for _ in range(64):
        breaker.failed(NOW, NOW + 500)

    assert breaker.closed(NOW + 500) == ""

    for again in range(1, FAILURES):
        for _ in range(64):
            breaker.failed(NOW + again * 1_000, NOW + again * 1_000 + 500)
    assert breaker.closed(NOW + 6_000)


def test_after_the_rest_one_probe_leaves_and_the_others_do_not() -> None:
    breaker = broken()
    assert breaker.closed(NOW + REST - 1)
    assert breaker.closed(NOW + REST) == ""

    breaker.leave(NOW + REST)

    assert "a probe is on its way" in breaker.closed(NOW + REST + 1)


def test_a_probe_that_is_answered_closes_it_and_one_that_fails_does_not() -> None:
    breaker = broken()
    breaker.leave(NOW + REST)
    breaker.failed(NOW + REST, NOW + REST + 100)
    assert breaker.closed(NOW + 2 * REST)
    assert breaker.closed(NOW + 2 * REST + 100) == ""

    breaker.leave(NOW + 2 * REST + 100)
    breaker.answered()

    assert breaker.closed(NOW + 2 * REST + 200) == ""
    breaker.failed(NOW + 3 * REST, NOW + 3 * REST)
    assert breaker.closed(NOW + 3 * REST) == ""


def test_a_probe_that_nobody_reports_on_is_replaced() -> None:
    breaker = broken()
    breaker.leave(NOW + REST)
    breaker.released()
    assert breaker.closed(NOW + REST + 1) == ""

    breaker.leave(NOW + REST + 1)

    assert breaker.closed(NOW + REST + 2)
    assert breaker.closed(NOW + 2 * REST + 1) == ""


@pytest.mark.parametrize("status", [403, 451])
def test_a_block_opens_it_at_once_for_long_and_no_nudge_helps(status: int) -> None:
    breaker = Breaker()
    breaker.blocked(status, NOW)
    breaker.nudge(NOW + 1)

    assert breaker.closed(NOW + BLOCK - 1).startswith(f"blocked ({status}) until 2025-02-19 21:25:10")
    assert breaker.closed(NOW + BLOCK) == ""
    breaker.leave(NOW + BLOCK)
    assert breaker.closed(NOW + BLOCK) == f"blocked ({status}), a probe is on its way"
    breaker.blocked(status, NOW + BLOCK)
    assert breaker.closed(NOW + 2 * BLOCK - 1)


def test_an_overloaded_exchange_is_left_alone_for_a_moment() -> None:
    breaker = Breaker()
    breaker.overloaded(NOW, "code -1008")

    assert breaker.closed(NOW + OVERLOAD - 1)
    assert breaker.closed(NOW + OVERLOAD) == ""
    breaker.leave(NOW + OVERLOAD)
    breaker.overloaded(NOW + OVERLOAD)
    assert breaker.closed(NOW + 2 * OVERLOAD - 1)


def test_overload_and_failures_shorten_no_longer_rest() -> None:
    breaker = Breaker()
    breaker.blocked(451, NOW)
    breaker.overloaded(NOW)
    breaker.failed(NOW, NOW)

    assert breaker.closed(NOW + BLOCK - 1).startswith("blocked (451)")


def test_a_nudge_lets_a_probe_out_at_once_but_not_one_after_the_other() -> None:
    breaker = broken()
    breaker.nudge(NOW + 1_000)
    assert breaker.closed(NOW + 1_000) == ""
    breaker.leave(NOW + 1_000)
    breaker.nudge(NOW + 1_001)
    assert breaker.closed(NOW + 1_001)
    breaker.failed(NOW + 1_000, NOW + 1_100)

    breaker.nudge(NOW + 1_200)

    assert breaker.closed(NOW + 1_000 + NUDGE - 1)
    assert breaker.closed(NOW + 1_000 + NUDGE) == ""


def test_a_nudge_of_a_closed_circuit_is_nothing() -> None:
    breaker = Breaker()
    breaker.nudge(NOW)

    assert breaker.until == 0


def test_a_clock_that_is_set_back_makes_no_rest_longer() -> None:
    assert broken().closed(NOW - 10 * REST) == ""
    late = Breaker()
    late.adopt(403, NOW + 1_000 * BLOCK, NOW)
    assert late.until == NOW + BLOCK


def test_a_block_that_is_over_is_not_adopted() -> None:
    breaker = Breaker()
    breaker.adopt(403, NOW - 1, NOW)

    assert breaker.closed(NOW) == ""


@given(st.lists(st.tuples(st.sampled_from("fanro"), st.integers(0, 20_000)), max_size=200))
def test_it_never_stays_shut_for_ever_and_lets_one_probe_out_per_rest(acts: list[tuple[str, int]]) -> None:
    breaker, now = Breaker(), NOW
    left: list[int] = []
    for act, pause in acts:
        now += pause
        resting = breaker.until != 0
        if not breaker.closed(now):
            breaker.leave(now)
            if resting:
                left.append(now)
        if act == "f":
            breaker.failed(now, now)
        elif act == "a":
            breaker.answered()
            left.clear()
        elif act == "n":
            breaker.nudge(now)
        elif act == "r":
            breaker.released()
            left.clear()
        else:
            breaker.overloaded(now)
    assert all(later - sooner >= NUDGE for sooner, later in pairwise(left))
    assert breaker.closed(now + REST) == ""
