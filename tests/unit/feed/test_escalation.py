"""Streams and sockets that are silent or lost: who is stale then, and which steps are taken."""

from itertools import chain, pairwise

import pytest
from tests.unit.feed.telling import NAMES, START
from tests.unit.feed.watching import FRESH, TICK, Watch

from klinehub.domain.stale import Reason
from klinehub.feed.decisions import Fetch, Renew, Reroute, Resubscribe, Step
from klinehub.feed.liveness import (
    AHEAD,
    LAGS,
    MOST_PROBES,
    NEXT_STEP,
    OVERDUE,
    PRICES_EVERY,
    PROBE_AGAIN,
    SEAT_STEP,
    SEAT_UNPROVEN,
    TELLS_WITHIN,
    UNPROVEN,
)
from klinehub.feed.use import Use


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
    watch.go(LAGS, talking=("B", "C"), priced=True)
    watch.load("A")
    watch.go(2 * PRICES_EVERY, talking=("B", "C"), priced=True)
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


def test_a_trade_made_while_nothing_was_subscribed_is_loaded_by_a_probe_and_then_proved() -> None:
    watch = Watch()
    watch.begin()
    watch.liveness.on_seat(0, watch.now, up=False)
    watch.now += 4_000
    watch.trade("A")
    traded = watch.now
    watch.now += 1_000
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.now += 2 * TELLS_WITHIN
    watch.hear("B", "C")
    watch.prices()
    watch.check()
    probe = Fetch("A", "1m", None, 2, Use.PROBE)
    assert watch.reasons() == [Reason.LOST, Reason.FRESH, Reason.FRESH]
    assert watch.fetches == [(watch.now, probe)]

    watch.load("A")
    watch.go(traded + LAGS - watch.now, talking=("B", "C"), priced=True)
    assert watch.fetches[1:] == []
    watch.go(2 * PRICES_EVERY, talking=("B", "C"), priced=True)
    assert watch.reasons() == [Reason.LOST, Reason.FRESH, Reason.FRESH]
    assert [fetch for _, fetch in watch.fetches[1:]] == [probe]

    watch.load("A")
    watch.go(2 * PRICES_EVERY, talking=("B", "C"), priced=True)
    assert watch.reasons() == FRESH
    watch.go(60_000, talking=("B", "C"), priced=True)
    assert len(watch.fetches) == 2


@pytest.mark.parametrize("pace", [1, 60])
def test_a_probe_without_an_answer_is_made_again_after_a_while(pace: int) -> None:
    watch = Watch(up=False, pace=pace)
    watch.trade("A")
    watch.now += 10_000 * pace
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.load("B", "C")
    watch.go(3 * PROBE_AGAIN * pace, priced=True, step=TICK * pace)

    times = [time for time, _ in watch.fetches]
    assert {fetch.symbol for _, fetch in watch.fetches} == {"A"}
    assert {b - a for a, b in pairwise(times)} == {(PROBE_AGAIN + TICK) * pace}


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
    assert watch.steps[0] == (last + SEAT_UNPROVEN + TICK, Renew(0, "it is silent", overlap=True))
    assert watch.steps[1:] == []


def test_a_socket_that_never_told_anything_is_replaced_three_and_a_half_seconds_after_it_came_up() -> None:
    watch = Watch()
    watch.now += 3_500
    assert watch.check().steps == []

    watch.now += 1
    assert watch.check().steps == [Renew(0, "it is silent", overlap=True)]


@pytest.mark.parametrize("pace", [1, 60])
def test_a_socket_that_tells_something_every_three_seconds_is_not_silent(pace: int) -> None:
    watch = Watch(pace=pace)
    watch.begin()
    for _ in range(2):
        watch.go(3_000 * pace, step=TICK * pace)
        assert watch.reasons() == FRESH
        watch.hear("B", "C")
    watch.go(TICK * pace, step=TICK * pace)

    assert watch.reasons() == [Reason.SILENT, Reason.FRESH, Reason.FRESH]
    assert watch.steps == []


@pytest.mark.parametrize("pace", [1, 60])
def test_where_all_streams_are_silent_a_proof_lasts_three_and_a_half_seconds(pace: int) -> None:
    watch = Watch(pace=pace)
    watch.begin()
    watch.now += 5_000 * pace
    watch.prices()
    watch.now += 3_500 * pace
    watch.check()
    assert watch.reasons() == FRESH

    watch.now += 1
    watch.check()
    assert watch.reasons() == [Reason.FEED_SILENT] * 3


@pytest.mark.parametrize("pace", [1, 60])
@pytest.mark.parametrize(("trading", "kind", "pause"), [(True, Reroute, 10_000), (False, Renew, 60_000)])
def test_a_silent_socket_takes_another_route_after_ten_seconds_or_another_socket_after_a_minute(
    *, trading: bool, kind: type[Step], pause: int, pace: int
) -> None:
    """It depends on whether it owes trades, or may just be quiet."""
    watch = Watch(pace=pace)
    watch.begin()
    for _ in range((SEAT_UNPROVEN + pause) // TICK + 2):
        watch.now += TICK * pace
        if trading:
            watch.traded = dict.fromkeys(NAMES, watch.now - TELLS_WITHIN * pace - 1)
        watch.prices(without=() if trading else NAMES)
        watch.check()
    moves = [(time, step) for time, step in watch.steps if isinstance(step, Renew | Reroute)]

    assert [type(step) for _, step in moves] == [Renew, kind]
    assert [b - a for (a, _), (b, _) in pairwise(moves)] == [pause * pace]


def test_a_new_socket_that_is_silent_too_takes_another_route() -> None:
    watch = Watch()
    watch.begin()
    watch.go(10_000, talking=NAMES)
    for _ in range(30):
        watch.trade(*NAMES)
        watch.go(1_000, priced=True)
    moments = [moment for moment, _ in watch.steps if moment]
    moves = [(moment, step) for moment, step in watch.steps if isinstance(step, Renew | Reroute)]

    assert moments == sorted(moments)
    assert [type(step) for _, step in moves] == [Renew, Reroute, Reroute]
    assert all(SEAT_STEP <= b - a < SEAT_STEP + 2_000 for (a, _), (b, _) in pairwise(moves))


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


def owing(watch: Watch, ms: int, *names: str, pace: int = 1) -> None:
    """Let A, or these, trade and say nothing, while the others talk, for so long in real time."""
    silent = names or ("A",)
    for _ in range(ms // TICK):
        watch.now += TICK * pace
        watch.traded.update(dict.fromkeys(silent, watch.now - TELLS_WITHIN * pace - 1))
        watch.hear(*(name for name in NAMES if name not in silent))
        watch.prices()
        watch.check()


@pytest.mark.parametrize("pace", [1, 60])
def test_one_silent_stream_is_subscribed_anew_then_its_seat_gets_a_new_socket_then_again(pace: int) -> None:
    watch = Watch(pace=pace)
    watch.begin()
    owing(watch, 150_000, pace=pace)

    kinds = [step for _, step in watch.steps]
    again = Resubscribe(0, ("A",))
    assert kinds[:4] == [again, Renew(0, "A is silent", overlap=True), again, again]
    times = [time for time, _ in watch.steps]
    pauses = [(b - a) // pace for a, b in pairwise(times)]
    assert pauses[:3] == list(NEXT_STEP)
    assert set(pauses[3:]) <= {NEXT_STEP[-1]}
    assert watch.reasons() == [Reason.SILENT, Reason.FRESH, Reason.FRESH]


@pytest.mark.parametrize("pace", [1, 60])
@pytest.mark.parametrize(
    ("later", "step"), [(9_500, Resubscribe(0, ("B",))), (10_000, Renew(0, "B is silent", overlap=True))]
)
def test_a_seat_gets_no_new_socket_within_ten_seconds_of_the_last_one(
    later: int, step: Step, pace: int
) -> None:
    watch = Watch(pace=pace)
    watch.begin()
    owing(watch, later, "A", pace=pace)
    owing(watch, 10_000, "A", "B", pace=pace)

    assert [step for _, step in watch.steps] == [
        Resubscribe(0, ("A",)),
        Renew(0, "A is silent", overlap=True),
        Resubscribe(0, ("B",)),
        step,
    ]


def test_a_stream_subscribed_anew_is_not_proved_quiet_before_it_had_the_time_to_tell() -> None:
    watch = Watch()
    watch.begin()
    owing(watch, 2_000)
    assert watch.steps == [(watch.now, Resubscribe(0, ("A",)))]
    # As if REST had known for a minute that nobody traded since.
    watch.traded["A"] -= LAGS
    watch.load("A")
    watch.now += 2 * TELLS_WITHIN - 1
    watch.hear("B", "C")
    watch.prices()
    watch.check()
    assert watch.reason("A") is Reason.SILENT

    watch.now += 1
    watch.prices()
    watch.check()
    assert watch.reasons() == FRESH


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
    reasons = rare(watch, 119_000, every=120_000)

    assert Reason.SILENT in reasons[:20]
    assert set(reasons[(LAGS + 10_000) // TICK :]) == {Reason.FRESH}
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
