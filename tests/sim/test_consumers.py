"""Clients of a hub's streams in the soak: their faults harm nobody, and who tells wrongly is found out."""

from collections.abc import Callable
from typing import Any

import pytest

from klinehub.domain.timeframe import MINUTE
from klinehub.serve.consumer import Consumer
from klinehub.serve.stream_parts import streams_alone
from klinehub.sim.faults import CONSUMER_KINDS, UNFELT, Fault
from klinehub.sim.scene import draw
from klinehub.sim.soak import planned, soak

pytestmark = pytest.mark.timeout(120)
SCENES = [seed for seed in range(200) if draw(seed).consumers]
SEED = SCENES[1]
START = draw(SEED).start


def test_every_eighth_scene_has_clients_and_their_faults_are_told_apart() -> None:
    assert len(SCENES) in range(15, 36)
    drawn = [{fault.kind for fault in planned(seed)} & set(CONSUMER_KINDS) for seed in range(200)]
    assert {seed for seed, kinds in enumerate(drawn) if kinds} <= set(SCENES)
    assert set.union(*drawn) == set(CONSUMER_KINDS)
    assert set(CONSUMER_KINDS) < UNFELT


def test_clients_that_stall_and_return_harm_nobody_and_one_too_slow_hears_why() -> None:
    faults = [
        Fault("consumers_return", START + 70_000, 5.0, 0.0, 0.9),
        Fault("consumer_stalls", START + 2 * MINUTE, 100.0, 0.0, 0.0),
        Fault("consumer_stalls", START + 2 * MINUTE + 500, 30.0, 0.9, 0.9),
        Fault("consumer_too_slow", START + 5 * MINUTE, 700.0, 0.6, 0.0),
    ]

    outcome = soak(SEED, faults, lend=streams_alone)

    assert outcome.divergences == ()
    assert outcome.faults == {"consumers_return": 1, "consumer_stalls": 2, "consumer_too_slow": 1}
    assert outcome.cut == 1
    assert outcome.told > 200
    assert outcome.calm == outcome.symbol_seconds
    assert outcome.calm_fresh > 0.999 * outcome.calm


def test_without_somebody_who_serves_there_are_no_clients() -> None:
    outcome = soak(SEED, [Fault("consumer_stalls", START + 2 * MINUTE, 100.0, 0.0, 0.0)], patience=1)

    assert (outcome.faults, outcome.told) == ({}, 0)


def swapped(data: bytes) -> bytes:
    """Take open for close and close for open."""
    return data.replace(b'"o":', b'"_":').replace(b'"c":', b'"o":').replace(b'"_":', b'"c":')


def every_fifth(what: Callable[[Consumer, bytes], None]) -> Callable[[Consumer, bytes], None]:
    count = [0]

    def told(consumer: Consumer, data: bytes) -> None:
        count[0] += 1
        if count[0] % 5:
            Consumer.send(consumer, data)
        else:
            what(consumer, data)

    return told


@pytest.mark.parametrize(
    ("planted", "detail"),
    [
        (every_fifth(lambda *_: None), "bars that were not"),
        (every_fifth(lambda one, data: Consumer.send(one, data + data)), "told again"),
        (every_fifth(lambda one, data: Consumer.send(one, swapped(data))), "otherwise"),
    ],
    ids=["left out", "twice", "wrong"],
)
def test_a_hub_that_tells_closes_wrongly_is_found_out(
    monkeypatch: pytest.MonkeyPatch, planted: Any, detail: str
) -> None:
    monkeypatch.setattr(Consumer, "tell_closes", planted)

    outcome = soak(SEED, [], patience=3, lend=streams_alone)

    assert {one.kind for one in outcome.divergences} == {"P2"}
    assert any(detail in one.detail for one in outcome.divergences)
