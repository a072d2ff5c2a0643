"""The exchange's time: the truth is never outside of what the estimate allows, and a jump never goes by."""

from itertools import pairwise
from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.feed.exchange_time import (
    AGAIN,
    EVERY,
    LATE,
    SOON,
    TOLERANCE,
    UNKNOWN,
    UNSURE,
    ExchangeTime,
    Verdict,
)

FINE, SUSPECT, PAUSED, JUMPED = Verdict
START: Final = 1_791_241_200_000
# The offset of a world is kept in 5,000ths of a ms: the most that clocks drift in a ms.
FINENESS: Final = 5_000
HOUR: Final = 3_600_000


class World:
    """Two clocks that drift apart; ours shows *now*, the exchange's that plus the true offset."""

    def __init__(self, offset: int = 0, now: int = START) -> None:
        self.now = now
        self.fine = offset * FINENESS
        self.slope = 0

    @property
    def offset(self) -> float:
        return self.fine / FINENESS

    def wait(self, ms: int) -> None:
        self.now += ms
        self.fine += ms * self.slope

    def told(self) -> int:
        """What the exchange's clock shows: whole ms."""
        return self.now + self.fine // FINENESS

    def read(self, time: ExchangeTime, there: int = 20, back: int = 20, *, wrong: int = 0) -> Verdict:
        """Read the exchange's time with a trip of these ms there and back."""
        asked = self.now
        self.wait(there)
        told = self.told() + wrong
        self.wait(back)
        return time.on_answer(asked, self.now, told)

    def date(self, time: ExchangeTime, there: int = 20, back: int = 20, *, wrong: int = 0) -> Verdict:
        """Get any answer, with the time at which it was written, cut to a second."""
        asked = self.now
        self.wait(there)
        date = (self.told() + wrong) // 1_000 * 1_000
        self.wait(back)
        return time.on_date(asked, self.now, date)

    def known_by(self, time: ExchangeTime) -> bool:
        """Whether the truth is within what the estimate allows."""
        near = abs(self.offset - time.offset) <= time.uncertainty(self.now)
        return near and time.earliest(self.now) <= self.told()


class Step(NamedTuple):
    """A while, then a reading, with the drift meanwhile in 5,000ths."""

    wait: int
    there: int
    back: int
    slope: int


trips = st.one_of(st.integers(0, 50), st.integers(0, 3_000), st.integers(0, 60_000))
steps = st.builds(Step, st.integers(0, 3 * HOUR), trips, trips, st.integers(-1, 1))
signs = st.sampled_from([-1, 1])
offsets = st.one_of(st.integers(-100, 100), st.integers(-2 * HOUR, 2 * HOUR), st.just(START))


@given(offsets, st.lists(steps, min_size=1, max_size=12))
def test_without_a_jump_the_truth_is_always_within_what_is_allowed(offset: int, path: list[Step]) -> None:
    world, time = World(offset), ExchangeTime()
    assert world.known_by(time)
    for step in path:
        world.slope = step.slope
        world.wait(step.wait)
        assert world.known_by(time)
        assert world.date(time, step.there, step.back) is FINE
        assert time.on_event(world.now, world.told()) is FINE
        assert world.read(time, step.back, step.there) is FINE
        assert world.known_by(time)


@given(offsets, st.lists(steps, min_size=2, max_size=8))
def test_a_reading_never_makes_the_estimate_worse(offset: int, path: list[Step]) -> None:
    world, time = World(offset), ExchangeTime()
    for step in path:
        world.slope = step.slope
        world.wait(step.wait)
        before = time.uncertainty(world.now + step.there + step.back)
        world.read(time, step.there, step.back)
        after = time.uncertainty(world.now)
        trip = step.there + step.back
        assert after <= before + 1
        assert after <= trip / 2 + trip / FINENESS + 3


def test_a_slow_and_uneven_trip_leaves_a_good_estimate_as_it_was() -> None:
    world, time = World(5_000), ExchangeTime()
    world.read(time, 10, 10)
    good = time.offset

    assert world.read(time, 50, 8_000) is FINE
    assert abs(time.offset - good) <= 2
    assert time.uncertainty(world.now) <= 14
    assert world.known_by(time)


def test_before_the_first_reading_nothing_is_proven_and_a_reading_is_due() -> None:
    time = ExchangeTime()

    assert time.offset == 0
    assert time.uncertainty(START) == UNKNOWN
    assert time.earliest(START) < 0
    assert time.due(START)
    assert time.on_date(START, START, START + HOUR) is FINE
    assert time.on_event(START, START + HOUR) is FINE


def test_the_offset_is_the_middle_and_half_the_trip_is_its_uncertainty() -> None:
    time = ExchangeTime()

    assert time.on_answer(START, START + 100, START + 1_050) is FINE
    assert time.offset == 1_000
    assert time.uncertainty(START + 100) == 52
    assert time.earliest(START + 100) == START + 1_100 - 52


@given(offsets, st.integers(0, 24 * HOUR))
def test_it_grows_less_sure_with_age_by_what_clocks_drift(offset: int, age: int) -> None:
    world, time = World(offset), ExchangeTime()
    world.read(time)

    grown = time.uncertainty(world.now + age) - time.uncertainty(world.now)
    assert abs(grown - age / FINENESS) <= 1


@given(offsets, st.lists(steps, max_size=4), st.integers(1, 2 * HOUR), signs, trips, trips, trips, trips)
def test_a_jump_is_noticed_with_the_first_reading_and_sure_with_the_second(
    offset: int, path: list[Step], by: int, sign: int, there: int, back: int, there2: int, back2: int
) -> None:
    world, time = World(offset), ExchangeTime()
    world.read(time)
    for step in path:
        world.slope = step.slope
        world.wait(step.wait)
        world.read(time, step.there, step.back)
    world.slope = 0
    # A jump is certain when it is longer than all that is unsure.
    unsure = 2 * time.uncertainty(world.now + 60_000) + there + back + there2 + back2 + 60
    world.fine += sign * (unsure + by) * FINENESS
    before = time.offset

    assert world.read(time, there, back) is SUSPECT
    assert time.offset == before
    assert world.known_by(time)
    assert not time.due(world.now)
    assert time.due(world.now + SOON)
    world.wait(SOON)
    assert world.read(time, there2, back2) is JUMPED
    assert world.known_by(time)
    assert time.uncertainty(world.now) <= min(there + back, there2 + back2) + 40
    assert world.read(time) is FINE


@given(offsets, st.integers(2_000, 2 * HOUR), signs, st.integers(0, 400), st.integers(0, 400))
def test_one_answer_that_lies_changes_nothing(offset: int, by: int, sign: int, there: int, back: int) -> None:
    world, time = World(offset), ExchangeTime()
    world.read(time)
    before = time.offset

    assert world.read(time, there, back, wrong=sign * by) is SUSPECT
    assert world.known_by(time)
    world.wait(SOON)
    assert world.read(time) is FINE
    assert world.known_by(time)
    assert abs(time.offset - before) <= 1
    assert time.uncertainty(world.now) <= 25


@pytest.mark.parametrize(("told", "verdict"), [(-3, SUSPECT), (-2, FINE), (2, FINE), (3, SUSPECT)])
def test_two_readings_agree_if_one_offset_may_be_meant_by_both(told: int, verdict: Verdict) -> None:
    time = exactly()

    assert time.on_answer(START, START, START + told) is verdict
    assert time.settled is (verdict is FINE)


def test_two_different_lies_are_no_jump() -> None:
    world, time = World(), ExchangeTime()
    world.read(time)

    assert [world.read(time, wrong=wrong) for wrong in (HOUR, -HOUR, 2 * HOUR)] == [SUSPECT] * 3
    assert world.known_by(time)
    assert world.read(time) is FINE
    assert time.uncertainty(world.now) <= 25


def test_an_answer_too_slow_to_tell_leaves_both_possible() -> None:
    """The jump is shorter than the second trip, which therefore excludes neither."""
    world, time = World(), ExchangeTime()
    world.read(time)
    world.fine += 800 * FINENESS
    assert world.read(time) is SUSPECT

    assert world.read(time, 3_000, 3_000) is FINE
    assert world.known_by(time)
    assert time.earliest(world.now) <= world.now
    assert time.uncertainty(world.now) >= 400
    assert world.read(time) is FINE
    assert world.known_by(time)
    assert time.uncertainty(world.now) <= 25


@given(by=st.integers(2_000, 2 * HOUR), sign=signs, back=st.integers(0, 5_000), before=st.booleans())
def test_a_jump_of_our_clock_during_the_trip_is_noticed_with_the_next_reading(
    *, by: int, sign: int, back: int, before: bool
) -> None:
    jump = sign * (by + 2 * back)
    world, time = World(), ExchangeTime()
    world.read(time)
    asked = world.now
    world.wait(20)
    told = [world.told()]
    world.now, world.fine = world.now + jump, world.fine - jump * FINENESS
    told.append(world.told())
    world.wait(back)

    first = time.on_answer(asked, world.now, told[not before])
    if world.now < asked:
        assert first is JUMPED
        assert time.uncertainty(world.now) == UNKNOWN
        assert time.due(world.now + SOON)
        assert world.read(time) is FINE
    else:
        assert world.read(time) is SUSPECT
        assert world.read(time) is JUMPED
    assert world.known_by(time)
    assert time.uncertainty(world.now) <= 25


def test_a_date_within_what_is_allowed_says_nothing_and_one_outside_asks_for_a_reading() -> None:
    world, time = World(), ExchangeTime()
    world.read(time)
    world.wait(60_000)
    assert world.date(time) is FINE
    assert not time.due(world.now)
    before = time.uncertainty(world.now), time.offset

    for wrong in (-HOUR, 10_000, -5_000, TOLERANCE * 3):
        assert world.date(time, wrong=wrong) is SUSPECT
    assert (time.uncertainty(world.now), time.offset) == before
    assert time.due(world.now)


def exactly() -> ExchangeTime:
    """Give a time that is sure of an offset of 0 but for the ms that clocks cut off."""
    time = ExchangeTime()
    assert time.on_answer(START, START, START) is FINE
    assert time.uncertainty(START) == 1
    return time


@pytest.mark.parametrize(
    ("date", "verdict"), [(-2_002, SUSPECT), (-2_001, FINE), (0, FINE), (1_002, FINE), (1_003, SUSPECT)]
)
def test_a_date_may_be_wrong_by_its_second_and_a_tolerance(date: int, verdict: Verdict) -> None:
    assert exactly().on_date(START, START, START + date) is verdict


@pytest.mark.parametrize(("ahead", "verdict"), [(1_002, FINE), (1_003, SUSPECT)])
def test_an_event_may_be_ahead_by_a_tolerance(ahead: int, verdict: Verdict) -> None:
    assert exactly().on_event(START, START + ahead) is verdict


@pytest.mark.parametrize("late", [LATE + 1, -LATE - 1])
def test_after_a_pause_it_is_less_sure_by_as_much_until_the_next_reading(late: int) -> None:
    time = exactly()
    time.on_tick(START + late, START)

    assert time.uncertainty(START) == 1 + LATE + 1
    time.on_tick(START + 2 * late, START + late)
    assert time.uncertainty(START) == 1 + 2 * (LATE + 1)
    assert time.on_answer(START, START, START) is FINE
    assert time.uncertainty(START) == 1


def test_refuted_evidence_is_not_heard_for_exactly_as_long_as_a_reading_is_not_due() -> None:
    time = exactly()
    assert time.on_event(START, START + HOUR) is SUSPECT
    assert time.on_answer(START, START, START) is FINE

    heard = [time.on_event(START + ms, START + HOUR) for ms in (0, AGAIN - 1, AGAIN)]
    assert heard == [FINE, FINE, SUSPECT]


@pytest.mark.parametrize(("ahead", "verdict"), [(0, FINE), (-HOUR, FINE), (900, FINE), (1_100, SUSPECT)])
def test_only_an_event_from_the_future_is_suspect(ahead: int, verdict: Verdict) -> None:
    world, time = World(700), ExchangeTime()
    world.read(time)

    assert time.on_event(world.now, world.told() + ahead) is verdict
    assert time.due(world.now + SOON) is (verdict is SUSPECT)


def test_a_machine_that_slept_is_noticed_by_the_first_event() -> None:
    """Our clock stood still meanwhile, and so did its timers."""
    world, time = World(), ExchangeTime()
    world.read(time)
    world.fine += HOUR * FINENESS

    assert time.on_tick(world.now + 10, world.now) is FINE
    assert time.on_event(world.now + 10, world.told()) is SUSPECT
    assert [world.read(time), world.read(time), world.read(time)] == [SUSPECT, JUMPED, FINE]
    assert world.known_by(time)


@pytest.mark.parametrize("late", [5_000, -5_000])
@pytest.mark.parametrize(("off", "verdict"), [(0, FINE), (1, SUSPECT)])
def test_after_a_pause_evidence_may_be_off_by_as_much(late: int, off: int, verdict: Verdict) -> None:
    """Our clock may have been set by that, either way."""
    one, other = exactly(), exactly()
    for time, told in ((one, -2_001 - 5_000 - off), (other, 1_002 + 5_000 + off)):
        time.on_tick(START + late, START)
        assert time.on_date(START, START, START + told) is verdict
    assert other.on_event(START, START + 1_002 + 5_000 + off) is verdict


def test_evidence_that_a_reading_has_refuted_is_not_heard_for_a_while() -> None:
    """A proxy with a wrong clock writes wrong dates into every answer."""
    world, time = World(), ExchangeTime()
    world.read(time)
    readings = 0
    for _ in range(600):
        world.wait(200)
        world.date(time, wrong=HOUR)
        if time.due(world.now):
            readings += 1
            assert world.read(time) is FINE

    assert 13 <= readings <= 16
    assert world.known_by(time)


def test_a_jump_is_heard_again_although_evidence_was_refuted_before_it() -> None:
    world, time = World(), ExchangeTime()
    world.read(time)
    world.date(time, wrong=HOUR)
    assert world.read(time) is FINE
    world.fine += HOUR * FINENESS

    assert world.read(time) is SUSPECT
    assert world.read(time) is JUMPED
    world.fine += HOUR * FINENESS
    assert world.date(time) is SUSPECT


def test_a_clock_set_back_does_not_silence_anything() -> None:
    world, time = World(), ExchangeTime()
    world.read(time)
    world.date(time, wrong=HOUR)
    world.read(time)
    world.now, world.fine = world.now - HOUR, world.fine + HOUR * FINENESS

    assert time.due(world.now)
    assert time.on_event(world.now, world.told()) is SUSPECT


@pytest.mark.parametrize("late", [LATE + 1, 60_000, 10 * HOUR])
def test_a_pause_is_told_and_the_time_read_at_once(late: int) -> None:
    world, time = World(300), ExchangeTime()
    world.read(time)
    world.wait(late)

    assert time.on_tick(world.now, world.now - late) is PAUSED
    assert time.due(world.now)
    assert world.known_by(time)
    assert world.read(time) is FINE
    assert world.known_by(time)
    assert time.uncertainty(world.now) <= 25
    assert not time.due(world.now + SOON)


@given(jump=st.integers(LATE + 1, 10 * HOUR), forward=st.booleans(), there=trips, back=trips)
def test_a_clock_that_was_set_looks_like_a_pause_and_proves_nothing_too_early(
    *, jump: int, forward: bool, there: int, back: int
) -> None:
    world, time = World(), ExchangeTime()
    world.read(time)
    expected = world.now
    jump = jump if forward else -jump
    world.now, world.fine = world.now + jump, world.fine - jump * FINENESS

    assert time.on_tick(world.now, expected) is (PAUSED if forward else JUMPED)
    assert world.known_by(time)
    world.read(time, there, back)
    assert world.known_by(time)
    world.read(time)
    assert world.known_by(time)
    world.read(time)
    assert time.uncertainty(world.now) <= 25


def test_timers_a_little_late_or_early_mean_nothing() -> None:
    world, time = World(), ExchangeTime()
    world.read(time)

    assert [time.on_tick(START + late, START) for late in (-LATE, -1, 0, 500, LATE)] == [FINE] * 5
    assert not time.due(world.now)


def test_it_is_read_twice_an_hour_and_more_often_while_it_is_unsure() -> None:
    world, time = World(), ExchangeTime()
    world.read(time)
    assert not time.due(world.now + HOUR // 2 - 1)
    assert time.due(world.now + HOUR // 2)

    slow = ExchangeTime()
    world.read(slow, 0, 2 * UNSURE + 10)
    assert not slow.due(world.now + AGAIN - 1)
    assert slow.due(world.now + AGAIN)
    world.read(slow)
    assert not slow.due(world.now + EVERY - 1)


def test_a_reading_that_failed_is_tried_again_soon_but_not_at_once() -> None:
    time = ExchangeTime()
    time.on_failed(START)
    assert not time.due(START + SOON - 1)
    assert time.due(START + SOON)

    world = World()
    world.read(time)
    time.on_failed(world.now + 100)
    assert not time.due(world.now + 100 + AGAIN - 1)
    assert time.due(world.now + 100 + AGAIN)
    world.wait(AGAIN)
    world.read(time)
    assert not time.due(world.now + AGAIN)


def test_a_faster_market_stretches_what_depends_on_our_own_speed() -> None:
    time = ExchangeTime(factor=6)
    time.on_answer(START, START + 6 * 2 * UNSURE - 10, START)
    now = START + 6 * 2 * UNSURE - 10

    assert time.on_tick(now, now - 6 * LATE) is FINE
    assert time.on_tick(now, now - 6 * LATE - 1) is PAUSED
    time.on_answer(now, now, now)
    assert not time.due(now + 6 * AGAIN)
    assert time.on_event(now, now + 6 * TOLERANCE) is FINE
    assert time.on_event(now, now + 6 * TOLERANCE + 5) is SUSPECT
    assert not time.due(now + 6 * SOON - 1)
    assert time.due(now + 6 * SOON)
    time.on_answer(now, now, now)
    time.on_failed(now)
    assert not time.due(now + 6 * AGAIN - 1)
    assert time.due(now + 6 * AGAIN)


def test_a_faster_market_is_content_with_a_wider_reading() -> None:
    """As much real time passes on the way, which is more of the market's."""
    time = ExchangeTime(factor=6)
    time.on_answer(START, START + 6 * 2 * UNSURE - 100, START)

    assert not time.due(START + 6 * 2 * UNSURE - 100 + 6 * AGAIN)


def test_the_more_readings_the_surer() -> None:
    """Trips that are uneven to either side cut the interval from both."""
    world, time = World(), ExchangeTime()
    sure = []
    for there, back in ((500, 20), (20, 500), (200, 10), (10, 200)):
        world.read(time, there, back)
        sure.append(time.uncertainty(world.now))

    assert all(later <= earlier for earlier, later in pairwise(sure))
    assert sure[-1] <= 13
