"""Schedules of faults: what a thousand seeds hold, and that a seed is a schedule."""

from collections import Counter

import numpy as np
import pytest

from klinehub.domain.timeframe import MINUTE
from klinehub.sim.faults import (
    ALL_KINDS,
    FEWEST,
    KINDS,
    MOST,
    NEAR_CLOSE,
    REGISTERED,
    Fault,
    schedule,
)
from klinehub.sim.skew import Skewed

START = 1_791_241_217_000
END = START + 30 * MINUTE


def drawn(seed: int, start: int = START, end: int = END) -> list[Fault]:
    return schedule(np.random.default_rng(seed), start, end)


@pytest.fixture(scope="module")
def thousand() -> list[list[Fault]]:
    return [drawn(seed) for seed in range(1000)]


def near_close(fault: Fault) -> bool:
    return (fault.at + NEAR_CLOSE) % MINUTE <= 2 * NEAR_CLOSE


def test_equal_seeds_give_equal_schedules() -> None:
    assert [drawn(seed) for seed in range(50)] == [drawn(seed) for seed in range(50)]
    assert drawn(2) != drawn(3)


def test_a_tenth_of_the_seeds_is_calm_and_a_fifth_aims_at_closes(thousand: list[list[Fault]]) -> None:
    aimed = [faults for faults in thousand if faults and all(map(near_close, faults))]

    assert 70 <= sum(not faults for faults in thousand) <= 130
    assert 150 <= len(aimed) <= 260


def test_faults_are_in_order_in_time_and_of_a_known_kind(thousand: list[list[Fault]]) -> None:
    for faults in thousand:
        assert [one.at for one in faults] == sorted(one.at for one in faults)
        for one in faults:
            kind = KINDS[one.kind]
            assert START <= one.at < END
            assert kind.shortest <= one.seconds <= kind.longest
            assert one.at + one.seconds * 1000 <= END + kind.shortest * 1000
            assert 0 <= one.pick < 1
            assert 0 <= one.size < 1


def test_numbers_are_within_bounds_and_spread(thousand: list[list[Fault]]) -> None:
    numbers = [len(faults) for faults in thousand if faults]

    assert min(numbers) == FEWEST
    assert max(numbers) == MOST
    assert sum(number < 11 for number in numbers) > 350
    assert sum(number > 11 for number in numbers) > 350


def test_half_of_the_kinds_are_off_and_every_kind_is_fired_often(thousand: list[list[Fault]]) -> None:
    most = max(len({one.kind for one in faults}) for faults in thousand)
    fired = Counter(one.kind for faults in thousand for one in faults)

    assert most <= (len(KINDS) + 1) // 2
    assert set(fired) == set(KINDS)
    assert min(fired.values()) >= 150


def test_rates_differ_from_seed_to_seed(thousand: list[list[Fault]]) -> None:
    top = [Counter(one.kind for one in faults).most_common(1)[0] for faults in thousand if len(faults) >= 20]

    assert max(count for _, count in top) >= 8
    assert len({kind for kind, _ in top}) > 25


def test_a_short_time_has_fewer_faults() -> None:
    assert max(len(drawn(seed, START, START + 3 * MINUTE)) for seed in range(200)) <= MOST // 10 + 1
    assert drawn(5, START, START + 500)


def test_every_row_of_the_catalogue_is_played_or_registered() -> None:
    played = {kind.row for kind in ALL_KINDS.values()}
    catalogue = {
        f"{letter}{n}" for letter, last in (("N", 14), ("R", 8), ("S", 5)) for n in range(1, last + 1)
    }
    catalogue |= {"C1", "M1", "M2", "M3", "M5", "M6", "M7", "P1", "P2", "P3", "P5", "P6"}

    assert played | set(REGISTERED) == catalogue
    assert not played & set(REGISTERED)
    assert all(kind.what and kind.shortest <= kind.longest for kind in ALL_KINDS.values())


def test_a_skewed_clock_jumps_and_drifts() -> None:
    time = [100.0]
    clock = Skewed(lambda: time[0])
    time[0] += 10
    assert clock() == 110
    clock.jump(-60)
    assert clock() == 50
    clock.drift(500)
    time[0] += 1000
    assert clock() == pytest.approx(1050.5)
    clock.drift(0)
    time[0] += 1000
    assert clock() == pytest.approx(2050.5)
