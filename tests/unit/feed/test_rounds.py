"""Rounds: every series is audited once a round, within its weight, in an order that the dice decide."""

from collections.abc import Callable, Iterator
from itertools import cycle, pairwise
from typing import Final

import numpy as np
import pytest
from tests.unit.feed.frames import a_ring
from tests.unit.feed.telling import FRAMES, MINUTE, NAMES, START
from tests.unit.panel.model import SCALE

from klinehub.feed.binance import klines_weight
from klinehub.feed.decisions import Fetch
from klinehub.feed.roster import Roster
from klinehub.feed.rounds import MOST_BARS, Rounds
from klinehub.feed.use import Use

SERIES: Final = {(name, tf.name) for name in NAMES for tf in FRAMES}


def rounds(
    *, weight: float = 6.0, wanted: int = 400, dice: Callable[[], float] = lambda: 0.5, empty: bool = False
) -> Rounds:
    ring = a_ring(NAMES, SCALE, FRAMES)
    roster = Roster(ring)
    roster.follow(() if empty else NAMES)
    return Rounds(ring, roster, wanted, weight=weight, dice=dice)


def played(one: Rounds, ms: int, *, start: int = START, step: int = 500) -> Iterator[tuple[int, Fetch]]:
    """Let time go by and answer each request before the next look."""
    for now in range(start, start + ms, step):
        fetch = one.due(now)
        if fetch is not None:
            yield now, fetch
            one.landed()


def test_without_a_weight_or_a_symbol_nothing_is_asked_for() -> None:
    assert list(played(rounds(weight=0.0), 10 * MINUTE)) == []
    assert list(played(rounds(empty=True), 10 * MINUTE)) == []


def test_every_series_is_asked_for_once_a_round() -> None:
    found = [fetch for _, fetch in played(rounds(dice=np.random.default_rng(1).random), 30 * MINUTE)]
    keys = [(fetch.symbol, fetch.timeframe) for fetch in found]

    assert len(keys) > 5 * len(SERIES)
    for at in range(0, len(keys) // 9 * 9, 9):
        assert set(keys[at : at + 9]) == SERIES
    assert keys[:9] != keys[9:18]


@pytest.mark.parametrize("weight", [2.0, 6.0, 48.0])
def test_the_weight_of_a_minute_is_kept_on_the_average(weight: float) -> None:
    found = list(played(rounds(weight=weight, dice=np.random.default_rng(2).random), 60 * MINUTE, step=100))

    assert len(found) * 2 == pytest.approx(60 * weight, rel=0.1)
    times = [now for now, _ in found]
    assert min(b - a for a, b in pairwise(times)) >= MINUTE * 2 / weight / 2


def test_a_small_history_is_asked_for_with_a_lighter_request_and_more_often() -> None:
    found = list(played(rounds(wanted=90), 60 * MINUTE, step=100))

    assert len(found) == pytest.approx(60 * 6, rel=0.05)
    assert {fetch.limit for _, fetch in found} == {90}


def test_a_request_ends_with_the_newest_closed_bar_and_is_a_light_one() -> None:
    for wanted, limit in ((400, 400), (5_000, MOST_BARS)):
        fetch = rounds(wanted=wanted).due(START + 30_000)
        assert fetch is not None
        tf = next(tf for tf in FRAMES if tf.name == fetch.timeframe)
        assert (fetch.use, fetch.limit) == (Use.AUDIT, limit)
        assert fetch.start == START - limit * tf.milliseconds
        assert klines_weight(fetch.limit) == 2


def test_the_dice_decide_the_order() -> None:
    def order(seed: int) -> list[tuple[str, str]]:
        found = played(rounds(dice=np.random.default_rng(seed).random), 5 * MINUTE)
        return [(fetch.symbol, fetch.timeframe) for _, fetch in found]

    assert order(7) == order(7)
    assert order(7) != order(8)


def test_the_pause_lies_between_a_half_and_one_and_a_half_of_the_usual() -> None:
    faces = cycle([0.0, 0.999])
    times = [now for now, _ in played(rounds(dice=lambda: next(faces)), 20 * MINUTE, step=100)]

    pauses = {b - a for a, b in pairwise(times)}
    assert min(pauses) >= 10_000
    assert max(pauses) <= 30_100


def test_at_a_weight_of_six_a_minute_a_request_of_two_is_due_every_twenty_seconds() -> None:
    one = rounds(weight=6.0)
    assert one.due(START) is not None
    one.landed()

    assert one.due(START + 19_999) is None
    assert one.due(START + 20_000) is not None


def test_no_more_than_two_requests_are_under_way() -> None:
    one = rounds()
    found = [one.due(now) for now in range(START, START + 10 * MINUTE, 500)]

    assert sum(fetch is not None for fetch in found) == 2
    one.landed()
    assert one.due(START + 10 * MINUTE) is not None
    assert one.due(START + 20 * MINUTE) is None


def test_after_a_clock_that_was_set_back_it_goes_on_at_once() -> None:
    one = rounds()
    list(played(one, MINUTE))
    back = START - 100 * MINUTE
    assert one.due(back) is None

    one.forget()
    assert one.due(back) is not None
    one.landed()
    assert len(list(played(one, 10 * MINUTE, start=back + 1))) == 29
