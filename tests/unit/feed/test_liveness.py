"""Liveness: who is fresh, who is stale and why, and what is done about it, told second by second."""

from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from typing import Final

import pytest
from tests.unit.feed.frames import a_ring
from tests.unit.feed.telling import FRAMES, NAMES, START
from tests.unit.panel.model import SCALE

from klinehub.domain.stale import Reason
from klinehub.feed.decisions import Decisions, Fetch, Renew, Reroute, Resubscribe, Step
from klinehub.feed.liveness import (
    AHEAD,
    MOST_PROBES,
    NEXT_STEP,
    OVERDUE,
    PRICES_EVERY,
    PROBE_AGAIN,
    SEAT_STEP,
    SEAT_UNPROVEN,
    TELLS_WITHIN,
    UNPROVEN,
    Liveness,
)
from klinehub.feed.roster import Roster
from klinehub.feed.use import Use
from klinehub.panel.ring import Ring

TICK: Final = 500
HOUR: Final = 3_600_000
LONG_AGO: Final = START - HOUR


class Watch:
    """Streams of some symbols on seats, and when each symbol last traded."""

    def __init__(
        self,
        seats: Sequence[Sequence[str]] = (NAMES,),
        *,
        pace: float = 1.0,
        up: bool = True,
        ring: Ring | None = None,
    ) -> None:
        self.names = [name for seat in seats for name in seat]
        self.ring = a_ring(self.names, SCALE, FRAMES[:1]) if ring is None else ring
        self.roster = Roster(self.ring)
        self.roster.follow(self.names)
        self.liveness = Liveness(self.ring, self.roster, pace=pace)
        self.seat_of = {name: number for number, seat in enumerate(seats) for name in seat}
        self.now = START
        self.steps: list[tuple[int, Step]] = []
        self.fetches: list[tuple[int, Fetch]] = []
        self.asked: list[int] = []
        self.traded = dict.fromkeys(self.names, LONG_AGO)
        for number, seat in enumerate(seats):
            for timeframe in self.ring.streamed:
                self.liveness.assign(number, seat, timeframe.name)
            if up:
                self.liveness.on_seat(number, self.now, up=True)

    def hear(self, *names: str, late: int = 0) -> None:
        """Let streams tell a kline, some of them late by so much."""
        for name in names:
            row = self.ring.rows[name]
            for timeframe in self.ring.streamed:
                heard = self.ring.memory.heard[self.ring.number[timeframe.name]]
                heard[row] = max(heard[row], self.now - late)
            self.liveness.heard(self.seat_of[name], self.now - late, self.now)

    def check(self, gaps: Iterable[str] = ()) -> Decisions:
        """Look around now."""
        decisions = Decisions()
        self.liveness.check(self.now, [self.ring.rows[name] for name in gaps], decisions)
        self.steps += [(self.now, step) for step in decisions.steps]
        self.fetches += [(self.now, fetch) for fetch in decisions.fetches]
        if decisions.prices:
            self.asked.append(self.now)
        return decisions

    def prices(self, *, ago: int = 0, without: Iterable[str] = ()) -> None:
        """Answer when each symbol last traded, as it was some ms ago."""
        asked = self.now - ago
        traded = {name: time for name, time in self.traded.items() if name not in set(without)}
        self.liveness.on_prices(traded, asked)

    def trade(self, *names: str) -> None:
        """Let symbols trade now."""
        self.traded.update(dict.fromkeys(names, self.now))

    def load(self, *names: str) -> None:
        """Let REST bring all that was traded until now."""
        for name in names:
            for timeframe in self.ring.streamed:
                self.liveness.loaded(self.ring.number[timeframe.name], self.ring.rows[name], self.now)

    def go(self, ms: int, *, talking: Iterable[str] = (), priced: bool = False, step: int = TICK) -> None:
        """Let time go by, look at each tick, let some talk and, if *priced*, answer what is asked."""
        for _ in range(ms // step):
            self.now += step
            self.hear(*talking)
            if self.check().prices and priced:
                self.prices()

    def begin(self) -> None:
        """Hear everybody, so that all are fresh."""
        self.now += 1
        self.trade(*self.names)
        self.hear(*self.names)
        self.check()

    def reason(self, name: str) -> Reason:
        """Give what is written of a symbol."""
        return Reason(int(self.ring.memory.stale[self.ring.rows[name], 0]))

    def since(self, name: str) -> int:
        """Give since when a symbol is stale."""
        return int(self.ring.memory.stale[self.ring.rows[name], 1])

    def reasons(self) -> list[Reason]:
        """Give what is written of all symbols."""
        return [self.reason(name) for name in self.names]


FRESH: Final = [Reason.FRESH] * 3


def test_nothing_is_fresh_before_it_was_heard_or_proved() -> None:
    watch = Watch()
    watch.check()
    assert watch.reasons() == [Reason.STARTING] * 3

    watch.now += 100
    watch.hear("B")
    watch.check()
    assert watch.reasons() == [Reason.STARTING, Reason.FRESH, Reason.STARTING]
    assert (watch.since("A"), watch.since("C")) == (START, START)


def test_who_talks_is_fresh_for_ever_and_nothing_is_asked() -> None:
    watch = Watch()
    watch.begin()
    watch.go(10 * 60_000, talking=NAMES)

    assert watch.reasons() == FRESH
    assert (watch.steps, watch.fetches, watch.asked) == ([], [], [])


def test_a_stream_of_which_nothing_is_known_is_stale_at_the_latest_six_seconds_after_its_last_word() -> None:
    watch = Watch()
    watch.begin()
    last = watch.now
    watch.go(UNPROVEN, talking=("B", "C"), step=100)
    assert watch.reason("A") is Reason.FRESH

    watch.now += 1
    watch.check()
    assert watch.reasons() == [Reason.SILENT, Reason.FRESH, Reason.FRESH]
    assert watch.since("A") == last


def test_prices_are_asked_for_when_a_stream_is_overdue_and_again_while_it_is() -> None:
    watch = Watch()
    watch.begin()
    last = watch.now
    watch.go(4 * PRICES_EVERY, talking=("B", "C"), step=100)

    assert watch.asked[0] == last + OVERDUE + 100
    assert {b - a for a, b in pairwise(watch.asked)} == {PRICES_EVERY}


def test_a_quiet_symbol_whose_last_trade_was_told_stays_fresh_by_prices_alone() -> None:
    watch = Watch()
    watch.begin()
    stale = set()
    for _ in range(600):
        watch.go(TICK, talking=("B",), priced=True)
        watch.trade("B")
        stale.update(watch.reasons())

    assert stale == {Reason.FRESH}
    assert (watch.steps, watch.fetches) == ([], [])
    assert len(watch.asked) <= 300_000 / PRICES_EVERY + 1


@pytest.mark.parametrize("phase", [1, 250, 501, 750, 990])
@pytest.mark.parametrize("delay", [100, 400])
def test_a_seat_of_quiet_symbols_stays_fresh_though_the_proof_is_cut_to_whole_seconds(
    delay: int, phase: int
) -> None:
    """The exchange's own `Date`, in whole seconds, bounds when an answer was asked for."""
    watch = Watch()
    watch.now += 10_000 + phase
    watch.trade(*NAMES)
    watch.hear(*NAMES)
    asked = stale = 0
    for number in range(3_000):
        watch.now += 100
        if asked and watch.now - asked >= delay:
            watch.prices(ago=watch.now - asked // 1000 * 1000)
            asked = 0
        if number % 5 == 0:
            asked = watch.now if watch.check().prices else asked
            stale += watch.reasons() != FRESH

    assert (stale, watch.steps) == (0, [])


def test_a_stream_that_owes_a_trade_is_stale_and_subscribed_anew() -> None:
    watch = Watch()
    watch.begin()
    heard = watch.now
    watch.go(1_000, talking=("B", "C"))
    watch.trade("A")
    watch.go(TELLS_WITHIN, talking=("B", "C"))
    watch.prices()
    watch.check()
    assert watch.reason("A") is Reason.FRESH

    watch.now += 1
    watch.prices()
    watch.check()
    assert watch.reason("A") is Reason.SILENT
    assert watch.since("A") == heard
    assert watch.steps == [(watch.now, Resubscribe(0, ("A",)))]


def test_a_stream_that_tells_what_it_owed_is_fresh_again() -> None:
    watch = Watch()
    watch.begin()
    watch.now += 100
    watch.trade("A")
    watch.now += 2 * TELLS_WITHIN
    watch.prices()
    watch.check()
    assert watch.reason("A") is Reason.SILENT

    watch.now += 100
    watch.hear("A")
    watch.check()
    assert watch.reason("A") is Reason.FRESH
    watch.go(NEXT_STEP[0] * 2, talking=NAMES)
    assert len(watch.steps) == 1


def test_a_stream_that_is_heard_late_stays_stale_while_it_owes() -> None:
    watch = Watch()
    watch.begin()
    stale = []
    for _ in range(60):
        watch.now += TICK
        watch.hear("B", "C")
        watch.hear("A", late=10_000)
        watch.traded["A"] = watch.now - TELLS_WITHIN - TICK
        watch.prices(ago=100)
        watch.check()
        stale.append(watch.reason("A"))

    assert set(stale[10:]) == {Reason.SILENT}
    assert watch.since("A") == START + 1


def test_a_dead_stream_of_a_symbol_that_trades_all_the_time_is_subscribed_anew_too() -> None:
    """Its last trade is always too young to be owed; the one before is not."""
    watch = Watch()
    watch.begin()
    for _ in range(20):
        watch.trade(*NAMES)
        watch.go(TICK, talking=("B", "C"), priced=True)

    assert watch.reason("A") is Reason.SILENT
    assert watch.steps[0][1] == Resubscribe(0, ("A",))
    assert watch.steps[0][0] - (START + 1) <= OVERDUE + PRICES_EVERY + 2 * TICK


@pytest.mark.parametrize("ago", [0, 1_000])
def test_nobody_is_stale_while_a_socket_is_replaced_by_one_that_was_proven(ago: int) -> None:
    watch = Watch()
    watch.now += 10_000
    watch.begin()
    reasons = []
    for second in range(120):
        for _ in range(2):
            watch.now += TICK
            watch.hear("C")
            if watch.check().prices:
                watch.prices(ago=ago)
            reasons += watch.reasons()
        if second % 15 == 0:
            watch.liveness.on_seat(0, watch.now, up=True)

    assert set(reasons) == {Reason.FRESH}
    assert watch.steps == []


def test_a_stream_that_owed_on_the_socket_before_owes_no_more_on_the_next() -> None:
    watch = Watch()
    watch.begin()
    watch.now += 100
    watch.trade("A")
    watch.now += 3_000
    watch.hear("B", "C")
    watch.prices()
    watch.check()
    assert len(watch.steps) == 1

    watch.now += 100
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.load("A")
    watch.go(2 * TELLS_WITHIN + PRICES_EVERY, talking=("B", "C"), priced=True)
    assert watch.reasons() == FRESH
    assert len(watch.steps) == 1


def test_a_trade_that_is_older_than_the_subscription_is_not_owed() -> None:
    watch = Watch(up=False)
    watch.trade(*NAMES)
    watch.now += 10_000
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.go(UNPROVEN, priced=True)

    assert not [step for _, step in watch.steps if isinstance(step, Resubscribe)]
    assert watch.reasons() == [Reason.STARTING] * 3
    assert {fetch for _, fetch in watch.fetches} == {Fetch(name, "1m", None, 2, Use.PROBE) for name in NAMES}


def test_who_was_quiet_from_the_start_is_proved_by_what_rest_loaded_and_prices() -> None:
    watch = Watch()
    watch.load(*NAMES)
    watch.now += 2 * TELLS_WITHIN - 1
    watch.prices()
    watch.check()
    assert watch.reasons() == [Reason.STARTING] * 3

    watch.now += 1
    watch.prices()
    watch.check()
    assert watch.reasons() == FRESH
    watch.go(60_000, priced=True)
    assert watch.reasons() == FRESH
    assert (watch.steps, watch.fetches) == ([], [])


def test_a_trade_made_while_nothing_was_subscribed_is_loaded_by_a_probe_and_then_proved() -> None:
    watch = Watch()
    watch.begin()
    watch.liveness.on_seat(0, watch.now, up=False)
    watch.now += 4_000
    watch.trade("A")
    watch.now += 1_000
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.now += 2 * TELLS_WITHIN
    watch.hear("B", "C")
    watch.prices()
    watch.check()
    assert watch.reasons() == [Reason.LOST, Reason.FRESH, Reason.FRESH]
    assert watch.fetches == [(watch.now, Fetch("A", "1m", None, 2, Use.PROBE))]

    watch.load("A")
    watch.now += 100
    watch.prices()
    watch.check()
    assert watch.reasons() == FRESH
    watch.go(60_000, talking=("B", "C"), priced=True)
    assert len(watch.fetches) == 1


def test_a_probe_without_an_answer_is_made_again_after_a_while() -> None:
    watch = Watch(up=False)
    watch.trade("A")
    watch.now += 10_000
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.load("B", "C")
    watch.go(3 * PROBE_AGAIN, priced=True)

    times = [time for time, _ in watch.fetches]
    assert {fetch.symbol for _, fetch in watch.fetches} == {"A"}
    assert {b - a for a, b in pairwise(times)} == {PROBE_AGAIN + TICK}


def test_no_more_than_some_streams_are_probed_at_a_look() -> None:
    names = [f"S{n}" for n in range(2 * MOST_PROBES + 1)]
    watch = Watch([names], up=False)
    watch.trade(*names)
    watch.now += 10_000
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.prices()

    each = []
    for _ in range(4):
        watch.now += TICK
        each.append([fetch.symbol for fetch in watch.check().fetches])
    assert [len(some) for some in each] == [MOST_PROBES, MOST_PROBES, 1, 0]
    assert sorted(chain.from_iterable(each)) == sorted(names)


def test_a_symbol_that_prices_do_not_list_is_not_proved_by_them() -> None:
    watch = Watch()
    watch.begin()
    for _ in range(20):
        watch.now += TICK
        watch.hear("B", "C")
        watch.check()
        watch.prices(without=["A"])

    assert watch.reason("A") is Reason.SILENT
    assert (watch.steps, watch.fetches) == ([], [])


def test_a_lost_socket_is_told_at_once_for_its_own_symbols() -> None:
    watch = Watch([("A", "B"), ("C",)])
    watch.begin()
    watch.now += 10
    watch.liveness.on_seat(0, watch.now, up=False)
    watch.check()

    assert watch.reasons() == [Reason.LOST, Reason.LOST, Reason.FRESH]
    assert watch.since("A") == watch.now - 10
    watch.now += 20_000
    watch.hear("C")
    watch.check()
    assert watch.steps == []
    assert watch.reason("A") is Reason.LOST


def test_after_a_reconnect_a_symbol_is_fresh_when_it_is_heard_or_proved() -> None:
    watch = Watch()
    watch.begin()
    watch.now += 10
    watch.liveness.on_seat(0, watch.now, up=False)
    watch.now += 1_000
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.hear("B")
    watch.check()
    assert watch.reasons() == [Reason.LOST, Reason.FRESH, Reason.LOST]

    watch.now += 2 * TELLS_WITHIN
    watch.hear("B")
    watch.prices()
    watch.check()
    assert watch.reasons() == FRESH


def test_a_socket_that_goes_silent_is_told_within_five_seconds_and_replaced() -> None:
    watch = Watch()
    watch.begin()
    watch.go(10_000, talking=NAMES)
    last = watch.now
    while watch.reason("A") is Reason.FRESH:
        watch.go(TICK)
    assert watch.now - last <= 5_000
    assert watch.now - last == SEAT_UNPROVEN + TICK
    assert watch.reasons() == [Reason.FEED_SILENT] * 3
    assert watch.since("A") == last

    watch.go(SEAT_STEP)
    assert watch.steps[0] == (last + SEAT_UNPROVEN + TICK, Renew(0, "it is silent", overlap=False))
    assert {type(step) for _, step in watch.steps[1:]} <= {Renew}


def test_a_new_socket_that_is_silent_too_takes_another_route() -> None:
    watch = Watch()
    watch.begin()
    watch.go(10_000, talking=NAMES)
    watch.go(SEAT_UNPROVEN + TICK)
    (renewed,) = watch.steps
    assert isinstance(renewed[1], Renew)
    watch.now += 100
    watch.liveness.on_seat(0, watch.now, up=False)
    watch.now += 400
    watch.liveness.on_seat(0, watch.now, up=True)
    since = watch.now
    watch.go(20_000)

    assert [type(step) for _, step in watch.steps[1:]] == [Reroute] * (len(watch.steps) - 1)
    assert watch.steps[1][0] - since <= SEAT_STEP / 2 + TICK
    assert {b - a for (a, _), (b, _) in pairwise(watch.steps[1:])} == {SEAT_STEP // 2}


def test_a_silent_socket_is_no_matter_of_those_on_another() -> None:
    watch = Watch([("A",), ("B", "C")])
    watch.begin()
    watch.go(20_000, talking=("B", "C"))

    assert watch.reasons() == [Reason.FEED_SILENT, Reason.FRESH, Reason.FRESH]
    assert {step.seat for _, step in watch.steps} == {0}


def test_a_silent_socket_of_symbols_proved_quiet_is_left_alone() -> None:
    watch = Watch([("A",), ("B", "C")])
    watch.begin()
    for _ in range(240):
        watch.go(TICK, talking=("B", "C"))
        watch.prices()

    assert watch.reasons() == FRESH
    assert watch.steps == []


def owing(watch: Watch, ms: int) -> None:
    """Let A trade and say nothing, while the others talk, for so long."""
    for _ in range(ms // TICK):
        watch.now += TICK
        watch.traded["A"] = watch.now - TELLS_WITHIN - 1
        watch.hear("B", "C")
        watch.prices()
        watch.check()


def test_one_silent_stream_is_subscribed_anew_then_its_seat_gets_a_new_socket_then_again() -> None:
    watch = Watch()
    watch.begin()
    owing(watch, 150_000)

    kinds = [step for _, step in watch.steps]
    again = Resubscribe(0, ("A",))
    assert kinds[:4] == [again, Renew(0, "A is silent", overlap=True), again, again]
    times = [time for time, _ in watch.steps]
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses[:3] == list(NEXT_STEP)
    assert set(pauses[3:]) <= {NEXT_STEP[-1]}
    assert watch.reasons() == [Reason.SILENT, Reason.FRESH, Reason.FRESH]


def test_the_steps_begin_anew_once_a_stream_was_well() -> None:
    watch = Watch()
    watch.begin()
    owing(watch, NEXT_STEP[0])
    watch.go(2_000, talking=NAMES)
    assert watch.reasons() == FRESH
    watch.steps.clear()
    owing(watch, 4_000)

    assert [step for _, step in watch.steps] == [Resubscribe(0, ("A",))]


def test_streams_of_one_seat_share_a_step_and_a_new_socket() -> None:
    watch = Watch([("A", "B", "C"), ("D", "E")])
    watch.begin()
    for _ in range((NEXT_STEP[0] + 4 * TICK) // TICK):
        watch.now += TICK
        for name in ("A", "B", "D"):
            watch.traded[name] = watch.now - TELLS_WITHIN - 1
        watch.hear("C", "E")
        watch.prices()
        watch.check()

    first = [step for time, step in watch.steps if time == watch.steps[0][0]]
    assert first == [Resubscribe(0, ("A", "B")), Resubscribe(1, ("D",))]
    later = [step for time, step in watch.steps if time != watch.steps[0][0]]
    assert [step for step in later if isinstance(step, Renew)] == [
        Renew(0, "A is silent", overlap=True),
        Renew(1, "D is silent", overlap=True),
    ]


def test_nothing_is_subscribed_on_a_socket_that_is_down() -> None:
    watch = Watch()
    watch.begin()
    watch.now += 100
    watch.trade("A")
    watch.now += 5_000
    watch.prices()
    watch.liveness.on_seat(0, watch.now, up=False)
    watch.go(60_000)

    assert watch.steps == []


def test_after_a_jump_of_the_clock_everything_is_stale_until_it_is_heard_or_proved() -> None:
    watch = Watch()
    watch.begin()
    watch.go(10_000, talking=NAMES)
    watch.liveness.mark_all(Reason.CLOCK, watch.now)
    watch.check()
    assert watch.reasons() == [Reason.CLOCK] * 3
    assert watch.asked == [watch.now]

    watch.go(TICK, talking=("B",))
    assert watch.reasons() == [Reason.CLOCK, Reason.FRESH, Reason.CLOCK]
    watch.prices()
    watch.check()
    assert watch.reasons() == FRESH


@pytest.mark.parametrize("back", [5_000, HOUR])
def test_after_a_clock_that_was_set_back_no_time_of_the_future_counts(back: int) -> None:
    watch = Watch()
    watch.begin()
    watch.go(10_000, talking=NAMES)
    watch.now -= back
    watch.traded = dict.fromkeys(NAMES, watch.now)
    watch.liveness.mark_all(Reason.CLOCK, watch.now)
    watch.check()
    assert watch.reasons() == [Reason.CLOCK] * 3
    watch.go(TICK, talking=NAMES)
    assert watch.reasons() == FRESH

    last = watch.now
    watch.go(UNPROVEN + TICK, talking=("B", "C"))
    assert watch.reason("A") is Reason.SILENT
    assert watch.since("A") == last


def test_a_kline_from_the_future_makes_nobody_fresh_for_much_longer() -> None:
    watch = Watch()
    watch.begin()
    watch.liveness.heard(0, watch.now + HOUR, watch.now)
    last = watch.now
    assert watch.liveness.ahead == AHEAD
    watch.go(SEAT_UNPROVEN + AHEAD + TICK)

    assert watch.reasons() == [Reason.FEED_SILENT] * 3
    assert watch.since("A") == last


def test_what_was_told_ahead_of_our_clock_is_not_taken_for_told_after_a_loss() -> None:
    watch = Watch()
    watch.begin()
    watch.hear(*NAMES, late=-AHEAD)
    watch.liveness.on_seat(0, watch.now, up=False)
    watch.check()
    assert watch.reasons() == [Reason.LOST] * 3

    watch.now += AHEAD
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.check()
    assert watch.reasons() == [Reason.LOST] * 3
    watch.now += 1
    watch.hear("A")
    watch.check()
    assert watch.reasons() == [Reason.FRESH, Reason.LOST, Reason.LOST]


def rare(watch: Watch, ms: int, *, every: int, healed_by: type[Step] | None = None) -> list[Reason]:
    """Let A trade now and then on a stream that is dead until such a step; REST answers what is asked."""
    reasons = []
    for number in range(ms // TICK):
        watch.now += TICK
        watch.hear("B", "C")
        if number % (every // TICK) == 0:
            watch.trade("A")
            if healed_by and any(isinstance(step, healed_by) for _, step in watch.steps):
                watch.hear("A")
        decisions = watch.check()
        if decisions.fetches:
            watch.load("A")
        if decisions.prices:
            watch.prices()
        reasons.append(watch.reason("A"))
    return reasons


def test_a_rare_symbol_whose_stream_was_subscribed_anew_is_proved_without_its_next_trade() -> None:
    watch = Watch()
    watch.begin()
    reasons = rare(watch, 30_000, every=60_000)

    assert Reason.SILENT in reasons[:20]
    assert set(reasons[30:]) == {Reason.FRESH}
    assert [step for _, step in watch.steps] == [Resubscribe(0, ("A",))]


@pytest.mark.parametrize("every", [20_000, 45_000])
def test_a_dead_stream_of_a_rare_symbol_gets_further_steps_though_rest_proves_it_in_between(
    every: int,
) -> None:
    watch = Watch()
    watch.begin()
    rare(watch, 5 * 60_000, every=every)

    assert [type(step) for _, step in watch.steps[:2]] == [Resubscribe, Renew]


def test_a_rare_symbol_that_a_new_socket_has_healed_begins_anew_the_next_time() -> None:
    watch = Watch()
    watch.begin()
    rare(watch, 3 * 60_000, every=20_000, healed_by=Renew)
    watch.steps.clear()
    rare(watch, 30_000, every=20_000)

    assert [type(step) for _, step in watch.steps[:1]] == [Resubscribe]


def test_a_missing_bar_makes_stale_and_a_worse_reason_is_shown_instead() -> None:
    watch = Watch()
    watch.begin()
    watch.check(gaps=("A",))
    assert watch.reasons() == [Reason.GAP, Reason.FRESH, Reason.FRESH]
    first = watch.since("A")

    watch.now += 100
    watch.liveness.on_seat(0, watch.now, up=False)
    watch.check(gaps=("A",))
    assert watch.reasons() == [Reason.LOST] * 3
    assert watch.since("A") == first
    watch.now += 100
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.hear(*NAMES)
    watch.check(gaps=("A",))
    assert (watch.reason("A"), watch.since("A")) == (Reason.GAP, first)
    watch.check()
    assert watch.reasons() == FRESH


def test_since_is_kept_while_a_symbol_is_stale_and_new_the_next_time() -> None:
    watch = Watch()
    watch.begin()
    last = watch.now
    watch.go(60_000, talking=("B", "C"))
    assert watch.since("A") == last

    watch.go(1_000, talking=NAMES)
    again = watch.now
    watch.go(60_000, talking=("B", "C"))
    assert (watch.reason("A"), watch.since("A")) == (Reason.SILENT, again)


def test_a_symbol_that_does_not_trade_says_so_and_is_judged_anew_when_it_does() -> None:
    watch = Watch()
    watch.begin()
    watch.roster.freeze("C", "SETTLING", watch.now)
    watch.check()
    assert watch.reasons() == [Reason.FRESH, Reason.FRESH, Reason.NOT_TRADING]
    watch.roster.leave("C")
    watch.go(20_000, talking=("A", "B"))
    assert watch.reasons() == [Reason.FRESH, Reason.FRESH, Reason.NOT_TRADING]
    assert watch.steps == []

    watch.roster.follow(["C"])
    watch.check()
    assert watch.reason("C") is Reason.SILENT
    watch.go(TICK, talking=NAMES)
    assert watch.reasons() == FRESH


def test_a_symbol_that_comes_later_is_starting_until_it_is_heard() -> None:
    ring = a_ring(NAMES, SCALE, FRAMES[:1])
    watch = Watch([NAMES[:2]], ring=ring)
    watch.begin()
    watch.roster.follow(["C"])
    watch.liveness.assign(0, ["C"], "1m")
    watch.names, watch.seat_of["C"], watch.traded["C"] = list(NAMES), 0, LONG_AGO
    watch.check()
    assert watch.reasons() == [Reason.FRESH, Reason.FRESH, Reason.STARTING]

    watch.load("C")
    watch.go(2 * TELLS_WITHIN + PRICES_EVERY, talking=("A", "B"), priced=True)
    assert watch.reasons() == FRESH


def test_with_every_timeframe_streamed_each_stream_has_to_be_fresh() -> None:
    ring = Ring(FRAMES[:2], rows=3, bars=16, native=FRAMES[:2])
    for name in NAMES:
        ring.add(name, SCALE)
    watch = Watch(ring=ring)
    watch.begin()
    assert watch.reasons() == FRESH
    for _ in range((UNPROVEN + TICK) // TICK):
        watch.now += TICK
        watch.hear("B", "C")
        ring.memory.heard[0, 0] = watch.now
        watch.check()

    assert watch.reasons() == [Reason.SILENT, Reason.FRESH, Reason.FRESH]
    assert watch.since("A") == START + 1


@pytest.mark.parametrize("pace", [1.0, 60.0])
def test_all_times_grow_with_the_pace_of_the_market(pace: float) -> None:
    watch = Watch(pace=pace)
    watch.begin()
    step = int(100 * pace)
    last = watch.now
    watch.go(int(UNPROVEN * pace), talking=("B", "C"), step=step)
    assert watch.reasons() == FRESH
    assert watch.asked[0] == last + int(OVERDUE * pace) + step
    watch.go(step, talking=("B", "C"), step=step)
    assert watch.reason("A") is Reason.SILENT

    watch.go(step, talking=NAMES, step=step)
    assert watch.reasons() == FRESH
    watch.go(int(SEAT_UNPROVEN * pace), step=step)
    assert watch.reasons() == FRESH
    watch.go(step, step=step)
    assert watch.reasons() == [Reason.FEED_SILENT] * 3


def test_a_pace_below_one_is_that_of_real_time() -> None:
    watch = Watch(pace=0.01)
    watch.begin()
    watch.go(UNPROVEN, talking=("B", "C"))

    assert watch.reasons() == FRESH
