"""Liveness: who is fresh, who is stale and why, told second by second."""

from itertools import pairwise

import pytest
from tests.unit.feed.frames import a_ring
from tests.unit.feed.telling import FRAMES, NAMES, START
from tests.unit.feed.watching import FRESH, HOUR, LONG_AGO, TICK, Watch
from tests.unit.panel.model import SCALE

from klinehub.domain.stale import Reason
from klinehub.feed.decisions import Fetch, Renew, Reroute, Resubscribe
from klinehub.feed.liveness import (
    AHEAD,
    LAGS,
    NEXT_STEP,
    OVERDUE,
    PRICES_EVERY,
    SEAT_AGAIN,
    SEAT_UNPROVEN,
    TELLS_WITHIN,
    UNJUDGED,
    UNPROVEN,
)
from klinehub.feed.use import Use
from klinehub.panel.ring import Ring


def test_nothing_is_fresh_before_it_was_heard_or_proved() -> None:
    watch = Watch()
    watch.check()
    assert watch.reasons() == [Reason.STARTING] * 3

    watch.now += 100
    watch.hear("B")
    watch.check()
    assert watch.reasons() == [Reason.STARTING, Reason.FRESH, Reason.STARTING]
    assert (watch.since("A"), watch.since("C")) == (START, START)


def test_before_the_first_look_who_was_never_heard_is_called_starting() -> None:
    watch = Watch(up=False)
    watch.hear("B")
    watch.liveness.begin()
    assert watch.reasons() == [Reason.STARTING, Reason.FRESH, Reason.STARTING]

    watch.check()
    watch.now += 100
    watch.liveness.begin()
    assert watch.reasons() == [Reason.STARTING, Reason.FRESH, Reason.STARTING]
    assert watch.since("A") == START


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


@pytest.mark.parametrize("pace", [1, 60])
def test_a_stream_that_owes_a_trade_is_stale_subscribed_anew_and_loaded_by_a_probe(pace: int) -> None:
    watch = Watch(pace=pace)
    watch.begin()
    heard = watch.now
    watch.go(1_000 * pace, talking=("B", "C"), step=TICK * pace)
    watch.trade("A")
    watch.go(TELLS_WITHIN * pace, talking=("B", "C"), step=TICK * pace)
    watch.prices()
    watch.check()
    assert watch.reason("A") is Reason.FRESH
    assert watch.fetches == []

    watch.now += 1
    watch.prices()
    watch.check()
    assert watch.reason("A") is Reason.SILENT
    assert watch.since("A") == heard
    assert watch.steps == [(watch.now, Resubscribe(0, ("A",)))]
    assert watch.fetches == [(watch.now, Fetch("A", "1m", None, 2, Use.PROBE))]


def test_a_stream_that_has_told_up_to_its_last_trade_owes_nothing() -> None:
    watch = Watch()
    watch.begin()
    watch.now += 100
    watch.trade("A")
    watch.now += 100
    watch.hear("B", "C")
    watch.prices()
    watch.now += TELLS_WITHIN
    watch.prices()
    watch.hear("A", late=TELLS_WITHIN + 100)
    watch.check()

    assert watch.reasons() == FRESH
    assert watch.steps == []


def test_a_trade_that_was_told_does_not_make_the_next_one_look_older() -> None:
    watch = Watch()
    watch.begin()
    watch.now += 100
    watch.trade("A")
    first = watch.now
    watch.now += 100
    watch.prices()
    watch.hear(*NAMES, late=watch.now - first)
    watch.now += TELLS_WITHIN - 100
    watch.trade("A")
    watch.now += 200
    watch.prices()
    watch.check()

    assert watch.reasons() == FRESH
    assert (watch.steps, watch.fetches) == ([], [])


def test_a_history_that_rest_has_loaded_makes_fresh_but_not_a_stream_that_owes() -> None:
    watch = Watch()
    watch.liveness.loaded(0, watch.ring.rows["B"], watch.now, proven=True)
    watch.now += 100
    watch.trade("A")
    watch.now += 2 * TELLS_WITHIN
    watch.prices()
    for name in ("A", "C"):
        watch.liveness.loaded(0, watch.ring.rows[name], watch.now, proven=True)
    watch.check()

    assert watch.reasons() == [Reason.STARTING, Reason.FRESH, Reason.FRESH]


def test_a_warm_up_proves_its_moment_but_nobody_quiet_who_traded_right_before_it() -> None:
    """A replica that lags may have answered it, without that trade."""
    watch = Watch()
    watch.trade("A")
    watch.now += 1_000
    for name in NAMES:
        watch.liveness.loaded(0, watch.ring.rows[name], watch.now, proven=True)
    watch.go(UNPROVEN, talking=("B", "C"), priced=True)
    assert watch.reasons() == FRESH

    watch.go(TICK, talking=("B", "C"), priced=True)
    assert watch.reasons() == [Reason.SILENT, Reason.FRESH, Reason.FRESH]
    watch.go(LAGS - UNPROVEN + PRICES_EVERY, talking=("B", "C"), priced=True)
    assert watch.fetches == [(watch.fetches[0][0], Fetch("A", "1m", None, 2, Use.PROBE))]
    watch.load("A")
    watch.go(PRICES_EVERY + TICK, talking=("B", "C"), priced=True)
    assert watch.reasons() == FRESH
    assert watch.steps == []


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


def test_a_silent_socket_that_owes_nothing_keeps_its_route() -> None:
    watch = Watch()
    watch.begin()
    watch.go(10_000, talking=NAMES)
    watch.go(SEAT_UNPROVEN + 2 * TICK)
    watch.prices()
    watch.go(SEAT_AGAIN)

    assert [type(step) for _, step in watch.steps] == [Renew, Renew]


def test_a_silent_socket_of_which_nobody_knows_what_it_owes_changes_its_route_slowly() -> None:
    """REST is closed: the socket may be on a route that connects and stays silent."""
    watch = Watch()
    watch.begin()
    watch.go(10_000, talking=NAMES)
    watch.go(SEAT_UNPROVEN + SEAT_AGAIN + 2 * TICK)

    assert [type(step) for _, step in watch.steps] == [Renew, Reroute]


def test_steps_go_on_when_the_clock_was_set_back_and_nobody_can_say_so() -> None:
    watch = Watch()
    watch.begin()
    watch.go(10_000, talking=NAMES)
    watch.go(SEAT_UNPROVEN + 2 * TICK)
    watch.now -= HOUR
    watch.go(SEAT_UNPROVEN + SEAT_AGAIN + 4 * TICK)

    assert len(watch.steps) >= 2


def test_a_silent_socket_is_replaced_as_the_first_step_after_its_clock_was_set_back_too() -> None:
    watch = Watch()
    watch.begin()
    watch.go(10_000, talking=NAMES)
    watch.go(SEAT_UNPROVEN + TICK)
    watch.now -= HOUR
    watch.liveness.mark_all(Reason.CLOCK, watch.now)
    watch.go(SEAT_UNPROVEN + TICK)

    renew = Renew(0, "it is silent", overlap=True)
    assert [step for _, step in watch.steps] == [renew, renew]


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
    assert watch.liveness.ahead == int(AHEAD * pace)
    assert min(b - a for a, b in pairwise(watch.asked)) == int(PRICES_EVERY * pace)


def test_a_pace_below_one_is_that_of_real_time() -> None:
    watch = Watch(pace=0.01)
    watch.begin()
    watch.go(UNPROVEN, talking=("B", "C"))

    assert watch.reasons() == FRESH


def test_what_was_judged_long_ago_is_not_believed() -> None:
    watch = Watch(pace=10.0)
    assert watch.liveness.unjudged(watch.now) == 0
    watch.begin()
    watch.check()
    last = watch.now

    assert watch.liveness.unjudged(last + 10 * UNJUDGED) == 0
    assert watch.liveness.unjudged(last + 10 * UNJUDGED + 1) == last
    assert watch.liveness.unjudged(last - HOUR) == 0
