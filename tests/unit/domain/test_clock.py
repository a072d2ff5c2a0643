"""Market time: an epoch and a rate on a given source of seconds."""

import pytest

from klinehub.domain.clock import Clock


class Seconds:
    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self) -> float:
        return self.value


def test_it_begins_at_its_epoch_whatever_the_source_says() -> None:
    assert Clock(1_700_000_000_000, 1.0, Seconds(123.456)).now() == 1_700_000_000_000


@pytest.mark.parametrize(("rate", "passed"), [(1.0, 2_500), (60.0, 150_000), (0.5, 1_250)])
def test_it_runs_at_its_rate(rate: float, passed: int) -> None:
    seconds = Seconds(10.0)
    clock = Clock(5_000, rate, seconds)
    seconds.value += 2.5

    assert clock.now() == 5_000 + passed


def test_it_says_how_long_to_wait_in_real_seconds() -> None:
    seconds = Seconds(0.0)
    clock = Clock(0, 60.0, seconds)

    assert clock.seconds_until(60_000) == pytest.approx(1.0)
    seconds.value = 3.0
    assert clock.seconds_until(60_000) == 0.0


def test_waiting_as_long_as_it_says_reaches_the_time() -> None:
    seconds = Seconds(1e6)
    clock = Clock(1_700_000_000_000, 1.0, seconds)
    seconds.value += clock.seconds_until(1_700_000_060_000)

    assert abs(clock.now() - 1_700_000_060_000) <= 1


def test_a_shifted_clock_goes_on_from_now() -> None:
    seconds = Seconds(0.0)
    clock = Clock(1_000, 2.0, seconds)
    seconds.value = 1.0
    ahead = clock.shifted(500)
    seconds.value = 2.0

    assert (clock.now(), ahead.now()) == (5_000, 5_500)
