"""Taking turns, and what a client may spend."""

from collections.abc import Callable

import pytest

from klinehub.domain.timeframe import MINUTE
from klinehub.serve import quotas as quotas_module
from klinehub.serve.fair_queue import FairQueue, Ticket
from klinehub.serve.quotas import OTHERS, Quota, Window
from klinehub.sim.loop import SimLoop, run

START = 29_000_000 * MINUTE


def with_queue(test: Callable[[FairQueue, Callable[[], Ticket]], object], width: int = 1) -> object:
    async def main(loop: SimLoop) -> object:
        return test(FairQueue(width, most=6, most_each=4), loop.create_future)

    return run(main)


def test_clients_take_turns_and_each_keeps_its_order() -> None:
    def check(queue: FairQueue, ticket: Callable[[], Ticket]) -> list[str]:
        first = ticket()
        queue.join("x", first)
        tickets = {f"{client}{n}": ticket() for client in "aab" for n in range(2)}
        for name, one in tickets.items():
            queue.join(name[0], one)
        called = []
        for _ in tickets:
            queue.leave()
            called += [name for name, one in tickets.items() if one.done() and name not in called]
        return called

    assert with_queue(check) == ["a0", "b0", "a1", "b1"]


def test_a_ticket_in_two_lines_is_called_once() -> None:
    def check(queue: FairQueue, ticket: Callable[[], Ticket]) -> tuple[bool, int]:
        queue.join("x", ticket())
        both = ticket()
        queue.join("a", both)
        queue.join("b", both)
        waiting = queue.waiting
        queue.leave()
        queue.leave()
        return both.done() and queue.waiting == 0, waiting

    assert with_queue(check) == (True, 2)


def test_the_queue_and_each_line_are_bounded() -> None:
    def check(queue: FairQueue, ticket: Callable[[], Ticket]) -> list[bool]:
        queue.join("x", ticket())
        for _ in range(4):
            queue.join("a", ticket())
        first = [queue.has_room("a"), queue.has_room("b")]
        for client in "bc":
            queue.join(client, ticket())
        return [*first, queue.has_room("b"), queue.has_room("new")]

    assert with_queue(check) == [False, True, False, False]


def test_a_ticket_that_is_dropped_gives_its_turn_or_its_place_to_the_next() -> None:
    def check(queue: FairQueue, ticket: Callable[[], Ticket]) -> list[bool]:
        called, waits, last = ticket(), ticket(), ticket()
        for one in (called, waits, last):
            queue.join("a", one)
        queue.drop(waits)
        queue.drop(called)
        return [waits.cancelled(), last.done() and not last.cancelled()]

    assert with_queue(check) == [True, True]


def test_a_cancelled_ticket_takes_no_turn() -> None:
    def check(queue: FairQueue, ticket: Callable[[], Ticket]) -> bool:
        queue.join("a", ticket())
        gone, last = ticket(), ticket()
        queue.join("a", gone)
        queue.join("a", last)
        gone.cancel()
        queue.leave()
        return last.done()

    assert with_queue(check) is True


def test_a_queue_is_empty_when_everybody_is_gone() -> None:
    def check(queue: FairQueue, ticket: Callable[[], Ticket]) -> tuple[int, int]:
        tickets = [ticket() for _ in range(5)]
        for n, one in enumerate(tickets):
            queue.join(f"client {n}", one)
        before = queue.waiting
        for one in tickets:
            queue.drop(one)
        return before, queue.waiting

    assert with_queue(check, width=2) == (3, 0)


def test_a_quota_counts_by_client_and_minute() -> None:
    quota = Quota(100)
    quota.spend("a", 90, START)

    assert [quota.fits("a", 10, START), quota.fits("a", 11, START), quota.fits("b", 11, START)] == [
        True,
        False,
        True,
    ]
    assert quota.fits("a", 100, START + MINUTE)


def test_the_first_request_of_a_minute_fits_whatever_its_weight() -> None:
    quota = Quota(10)

    assert quota.fits("a", 200, START)
    quota.spend("a", 200, START)
    assert not quota.fits("a", 1, START)


def test_what_never_left_is_given_back_in_its_own_minute_only() -> None:
    quota = Quota(100)
    quota.spend("a", 60, START)
    quota.refund("a", 60, START)
    quota.spend("a", 80, START + MINUTE)
    quota.refund("a", 60, START)

    assert not quota.fits("a", 21, START + MINUTE)
    assert quota.totals == {"a": 80}


def test_more_clients_than_are_remembered_share_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas_module, "MOST_CLIENTS", 3)
    quota = Quota(100)
    for client in "abc":
        quota.spend(client, 1, START)
    for client in "defg":
        quota.spend(client, 25, START)

    assert not quota.fits("h", 1, START)
    assert quota.totals == {"a": 1, "b": 1, "c": 1, OTHERS: 100}

    quota.spend("h", 7, START + MINUTE)

    assert quota.totals == {"b": 1, "c": 1, OTHERS: 100, "h": 7}


def test_a_window_moves_with_time() -> None:
    window = Window(2, 1_000)
    window.count(START)
    window.count(START + 400)

    assert [window.wait(START + after) for after in (400, 999, 1_000)] == [600, 1, 0]

    window.count(START + 1_000)

    assert window.wait(START + 1_000) == 400
    assert window.wait(START - MINUTE) == 1_000
