"""Repair: what is missing, the cheapest ranges that bring it, and when it is asked for again."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import pytest
from tests.unit.feed.frames import a_ring
from tests.unit.feed.telling import FRAMES, MINUTE, NAMES, START, at, repair, rows
from tests.unit.panel.model import SCALE

from klinehub.domain.kline import CLOSED, EMPTY, Exact
from klinehub.feed import repair as module
from klinehub.feed.binance import klines_weight
from klinehub.feed.decisions import Fetch
from klinehub.feed.repair import AGAIN, RETRY, SURE, Repair
from klinehub.feed.roster import Roster
from klinehub.panel.ledger import Gap
from klinehub.panel.merge import PROOF
from klinehub.panel.ring import Ring

BARS: Final = 1_024
WANTED: Final = 1_000
# Well after the last bar that the tests look at.
NOW: Final = START + 10 * MINUTE
FIRST: Final = START // MINUTE
NOTHING: Final = Exact(rows("A", "1m", 0, 0).rows[:0], SCALE)


class Bench:
    """A ring whose bars are all closed up to START, and a repair that watches it."""

    def __init__(self, names: Iterable[str] = NAMES) -> None:
        self.names = list(names)
        self.ring: Ring = a_ring(self.names, SCALE, FRAMES, bars=BARS)
        for t, tf in enumerate(FRAMES):
            self.ring.memory.newest[t, : len(self.names)] = tf.index(START) - 1
            self.ring.memory.state[t] = CLOSED
        self.roster = Roster(self.ring)
        self.roster.follow(self.names)
        self.repair = Repair(self.ring, self.roster, WANTED)
        self.built: list[Gap] = []
        self.can_build = False

    def lose(self, symbol: str, *minutes: int, t: int = 0) -> None:
        """Lose bars of a timeframe, counted from START."""
        index = FRAMES[t].index(START)
        for minute in minutes:
            self.ring.memory.state[t, self.ring.rows[symbol], (index + minute) % BARS] = EMPTY

    def find(self, symbol: str, *minutes: int, t: int = 0) -> None:
        """Close bars that were lost."""
        index = FRAMES[t].index(START)
        for minute in minutes:
            self.ring.memory.state[t, self.ring.rows[symbol], (index + minute) % BARS] = CLOSED

    def plan(self, now: int = NOW) -> list[Fetch]:
        """Ask for what is missing of the bars up to START."""
        return self.repair.plan(now, self.repair.missing(START), self.build)

    def build(self, gap: Gap) -> bool:
        self.built.append(gap)
        return self.can_build

    def land(self, fetch: Fetch, asked: int, found: Exact = NOTHING) -> None:
        """Answer a request."""
        t, row = self.ring.number[fetch.timeframe], self.ring.rows[fetch.symbol]
        self.repair.landed(t, row, fetch, found, asked)


def missing(bench: Bench) -> list[tuple[int, int]]:
    """Give the runs of missing minutes of A, counted from START."""
    return [(gap.start - FIRST, gap.end - FIRST) for gap in bench.repair.missing(START)]


def test_nothing_is_asked_for_while_all_is_there() -> None:
    bench = Bench()
    assert bench.repair.missing(START) == []
    assert bench.plan() == []


def test_runs_of_missing_bars_are_listed_by_timeframe_and_row() -> None:
    bench = Bench()
    bench.lose("B", -5, -4, -1)
    bench.lose("A", -9)
    bench.lose("C", -2, t=2)

    fifteen = FRAMES[2].index(START)
    assert bench.repair.missing(START) == [
        Gap(0, 0, FIRST - 9, FIRST - 9),
        Gap(0, 1, FIRST - 5, FIRST - 4),
        Gap(0, 1, FIRST - 1, FIRST - 1),
        Gap(2, 2, fifteen - 2, fifteen - 2),
    ]
    assert [gap.end - FIRST for gap in bench.repair.missing(START - 1) if gap.row == 1] == [-4]


def test_bars_that_the_exchange_does_not_have_are_cut_out_of_a_gap() -> None:
    bench = Bench(["A"])
    bench.lose("A", *range(-10, 0))
    for minute in (-10, -7, -6, -3, -1):
        bench.repair.absent.add((0, 0, FIRST + minute))

    assert missing(bench) == [(-9, -8), (-5, -4), (-2, -2)]
    for minute in range(-10, 0):
        bench.repair.absent.add((0, 0, FIRST + minute))
    assert missing(bench) == []


def test_absent_bars_of_another_series_cut_nothing() -> None:
    bench = Bench(["A", "B"])
    bench.lose("A", -3, -2, -1)
    bench.repair.absent |= {(1, 0, FIRST - 2), (0, 1, FIRST - 2), (0, 0, FIRST - 9)}

    assert missing(bench) == [(-3, -1)]


def test_gaps_close_to_each_other_are_one_request_and_distant_ones_the_cheapest() -> None:
    bench = Bench(["A"])
    bench.lose("A", -900, -850, -2, -1)

    asked = bench.plan()
    assert asked == [repair("A", "1m", at(-900), 51), repair("A", "1m", at(-2), 2)]
    assert sum(klines_weight(fetch.limit) for fetch in asked) == 2


def test_a_long_outage_is_asked_for_by_the_ranges_that_weigh_least() -> None:
    bench = Bench(["A"])
    bench.lose("A", *range(-WANTED, 0))

    asked = bench.plan()
    covered = [(fetch.start or 0) + MINUTE * n for fetch in asked for n in range(fetch.limit)]
    assert sorted(covered) == [at(n) for n in range(-WANTED, 0)]
    assert sum(klines_weight(fetch.limit) for fetch in asked) == 5


def test_the_cheapest_are_asked_for_first_then_the_most_important() -> None:
    bench = Bench()
    bench.lose("A", *range(-300, 0))
    bench.lose("B", *range(-150, 0))
    bench.lose("C", -1)

    assert [(fetch.symbol, klines_weight(fetch.limit)) for fetch in bench.plan()] == [
        ("C", 1),
        ("A", 2),
        ("B", 2),
    ]


def test_larger_bars_wait_while_the_streamed_ones_have_holes() -> None:
    bench = Bench()
    bench.lose("A", -1)
    bench.lose("A", -1, t=1)
    bench.lose("B", -1, t=1)

    assert bench.plan() == [
        repair("A", "1m", at(-1), 1),
        repair("B", "5m", at(-5), 1),
    ]
    assert bench.built == [Gap(1, 1, FRAMES[1].index(START) - 1, FRAMES[1].index(START) - 1)]


def test_larger_bars_that_can_be_built_are_not_asked_for() -> None:
    bench = Bench()
    bench.can_build = True
    bench.lose("B", -1, t=1)
    bench.lose("C", -3, t=2)

    assert bench.plan() == []
    assert len(bench.built) == 2


def test_a_series_under_way_is_not_asked_for_again_however_long_it_takes() -> None:
    bench = Bench()
    bench.lose("A", -1)
    assert len(bench.plan()) == 1
    bench.lose("B", -1)

    assert [fetch.symbol for fetch in bench.plan(NOW + 1)] == ["B"]
    assert bench.plan(NOW + 1_000 * RETRY) == []


def test_a_series_asked_for_by_two_requests_waits_for_both() -> None:
    bench = Bench(["A"])
    bench.lose("A", -900, -1)
    first, second = bench.plan()
    found = rows("A", "1m", -1, -1)
    found.rows["open_time"] = first.start
    bench.find("A", -900)
    bench.land(first, NOW, found)
    assert bench.plan(NOW + RETRY) == []

    bench.repair.failed(0, 0, NOW + 10)
    assert bench.plan(NOW + 10 + RETRY - 1) == []
    assert bench.plan(NOW + 10 + RETRY) == [second]


def test_an_answer_without_what_was_missing_is_asked_for_again_soon() -> None:
    """A replica that lags behind tells the bar, but not its last trades."""
    bench = Bench(["A"])
    bench.lose("A", -1)
    (fetch,) = bench.plan()
    bench.land(fetch, NOW, rows("A", "1m", -1, -1))

    assert bench.plan(NOW + AGAIN - 1) == []
    assert bench.plan(NOW + AGAIN) == [fetch]


@pytest.mark.parametrize("late", [SURE - 1, SURE])
def test_a_bar_that_two_answers_lack_is_absent_once_it_is_old_enough(late: int) -> None:
    bench = Bench(["A"])
    bench.lose("A", -3, -2, -1)
    (fetch,) = bench.plan()
    first = at(-1) - 1 + late
    bench.land(fetch, first - RETRY)
    assert bench.repair.absent == set()
    (again,) = bench.plan(first)
    assert again == fetch
    bench.land(again, first)
    assert bench.repair.absent == {(0, 0, FIRST - 3)}

    assert bench.plan(first + RETRY - 1) == []
    (again,) = bench.plan(first + RETRY)
    assert (again.start, again.limit) == (at(-2), 3)
    bench.land(again, first + RETRY)
    assert bench.repair.absent == {(0, 0, FIRST - 3)} | ({(0, 0, FIRST - 2)} if late == SURE else set())


def test_two_answers_that_lack_a_bar_have_to_be_some_time_apart() -> None:
    """Both may come from the same replica that lags behind."""
    bench = Bench(["A"])
    bench.lose("A", -1)
    (fetch,) = bench.plan()
    for late, absent in ((0, 0), (RETRY // 2 - 1, 0), (RETRY // 2, 1)):
        bench.land(fetch, NOW + late)
        assert len(bench.repair.absent) == absent


def test_a_bar_that_was_lacked_and_then_told_has_to_be_lacked_twice_again() -> None:
    bench = Bench(["A"])
    bench.lose("A", -1)
    (fetch,) = bench.plan()
    bench.land(fetch, NOW)
    bench.land(fetch, NOW + RETRY, rows("A", "1m", -1, -1))
    bench.land(fetch, NOW + 2 * RETRY)

    assert bench.repair.absent == set()


def test_the_newest_bars_ask_for_no_absence() -> None:
    """An answer to a request without a start says nothing of any bar that it lacks."""
    bench = Bench(["A"])
    bench.lose("A", -1)
    (fetch,) = bench.plan()
    bench.land(fetch._replace(start=None), NOW + SURE)

    assert bench.repair.absent == set()
    assert bench.plan(NOW + SURE + AGAIN) == [fetch]


def test_after_a_jump_of_the_clock_what_is_missing_is_asked_for_at_once() -> None:
    bench = Bench(["A"])
    bench.lose("A", -1)
    (fetch,) = bench.plan()
    bench.repair.failed(0, 0, NOW)
    back = NOW - 5 * MINUTE
    assert bench.plan(back) == []

    bench.repair.forget()
    assert bench.plan(back) == [fetch]
    bench.repair.forget()
    assert bench.plan(back) == []


def test_confirmed_gaps_that_are_older_than_the_ring_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ABSENT", 10)
    bench = Bench(["A"])
    old = {(0, 0, FIRST - BARS - 100 - n) for n in range(10)}
    bench.repair.absent |= old
    bench.lose("A", -1)
    (fetch,) = bench.plan()
    bench.land(fetch, NOW)
    assert bench.repair.absent == set()
    bench.land(fetch, NOW + RETRY)
    assert bench.repair.absent == {(0, 0, FIRST - 1)}


def test_gaps_of_each_timeframe_are_thinned_out_by_its_own_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ABSENT", 3)
    bench = Bench()
    quarters = FRAMES[2].index(START)
    young, old = (
        {(2, 0, quarters - 9), (0, 2, FIRST - 9)},
        {(0, 2, FIRST - BARS - 9), (2, 0, quarters - BARS - 9)},
    )
    bench.repair.absent |= young | old
    bench.land(repair("A", "1m", at(-1), 1), NOW)

    assert bench.repair.absent == young


def test_a_bar_lacked_once_before_others_are_thinned_out_is_absent_when_it_is_lacked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_ABSENT", 1)
    bench = Bench()
    quarter = repair("B", "15m", at(-15), 1)
    bench.land(quarter, NOW + SURE)
    bench.land(repair("B", "1m", at(-1), 1), NOW + SURE)
    bench.land(quarter, NOW + SURE + RETRY)

    assert bench.repair.absent == {(2, 1, FRAMES[2].index(START) - 1)}


def test_a_request_that_was_not_even_sent_is_made_again_soon() -> None:
    bench = Bench(["A"])
    bench.lose("A", -1)
    (fetch,) = bench.plan()
    bench.repair.failed(0, 0, NOW, soon=True)

    assert bench.plan(NOW + AGAIN - 1) == []
    assert bench.plan(NOW + AGAIN) == [fetch]


def test_a_market_that_lacks_nothing_is_not_looked_through_again_before_its_next_bar() -> None:
    bench = Bench(["A"])
    assert bench.repair.missing(START + 100) == []
    bench.lose("A", -1)
    assert bench.repair.missing(START + MINUTE - 1) == []
    assert missing(bench) == []

    bench.repair.forget()
    assert missing(bench) == [(-1, -1)]
    assert missing(bench) == [(-1, -1)]


def test_a_lost_bar_that_was_found_is_asked_for_no_more() -> None:
    bench = Bench(["A"])
    bench.lose("A", -2, -1)
    (fetch,) = bench.plan()
    bench.find("A", -2, -1)
    bench.land(fetch, NOW, rows("A", "1m", -2, -1))

    assert bench.plan(NOW + RETRY) == []


def test_what_ended_too_recently_is_no_gap_yet() -> None:
    bench = Bench(["A"])
    bench.ring.memory.newest[0, 0] = FIRST - 1

    assert bench.repair.missing(at(1) - 1) == []
    assert bench.repair.missing(at(1)) == [Gap(0, 0, FIRST, FIRST)]
    assert PROOF < MINUTE


def test_each_symbol_is_missed_only_up_to_its_own_end() -> None:
    bench = Bench(["A", "B"])
    bench.roster.freeze("A", "SETTLING", at(-2) + 30_000)
    for name in ("A", "B"):
        bench.lose(name, -3, -2, -1)

    assert [(gap.row, gap.start - FIRST, gap.end - FIRST) for gap in bench.repair.missing(START)] == [
        (0, -3, -3),
        (1, -3, -1),
    ]
    assert np.array_equal(bench.roster.rows, [0, 1])
