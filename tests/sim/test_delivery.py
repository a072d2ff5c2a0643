"""Delivery on virtual time: seeded schedules of outages, lost answers, refusals, full disks and kills.

Whatever happens, nothing is lost without a reason, nothing is sent again once its success was written, storms
are one message, and nobody is told anything in quiet hours.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from tests.unit.alerts.telling import alert

from klinehub.alerts.courier import Courier, Timing
from klinehub.alerts.delivery import Couriers
from klinehub.alerts.log import Log
from klinehub.alerts.outbox import MEMORY, Decision, Fired, Kept, Logged, Message, Outbox, Outcome
from klinehub.alerts.posting import Answer, Ended, Patience
from klinehub.alerts.quiet import Quiet
from klinehub.errors import StoreError
from klinehub.scan.alerts import Alert
from klinehub.sim.loop import SimLoop, run

pytestmark = pytest.mark.timeout(180)
T = TypeVar("T")
# 2023-11-14 20:00:00 UTC
NOW: Final = 1_699_992_000_000
HOUR: Final = 3_600_000
NIGHT: Final = Quiet(22 * 60, 24 * 60 - 1, ZoneInfo("UTC"))
HOURS: Final = 3
SEEDS: Final = range(200)
REASONS: Final = r"status 401|too old: it could not be sent in time( \((status (401|503)|no answer)\))?"


@dataclass
class Receipt:
    """A message that arrived, whether its sender was told so, and when the attempt began."""

    message: Message
    time: int
    begun: int
    process: int
    acknowledged: bool


@dataclass
class Weather:
    """What goes wrong and when: chances of an attempt, and times in which the disk refuses."""

    dice: np.random.Generator
    slow: float = 0.0
    down: float = 0.0
    lost: float = 0.0
    refused: float = 0.0
    outages: list[tuple[int, int]] = field(default_factory=list)
    full: list[tuple[int, int]] = field(default_factory=list)

    def is_out(self, time: int) -> bool:
        return any(start <= time < end for start, end in self.outages)


class World:
    """An outbox that outlives its processes, what arrived, and what was written."""

    def __init__(self, loop: SimLoop, weather: Weather) -> None:
        self.loop, self.weather = loop, weather
        self.outbox = Outbox(MEMORY, now=NOW)
        self.receipts: list[Receipt] = []
        self.written: dict[str, int] = {}
        self.decided: dict[int, list[Kept]] = {}
        self.process = 0
        self.kills: list[int] = []
        self.is_dead = False
        self.wake: Callable[[], None] = lambda: None

    def now(self) -> int:
        return NOW + round(self.loop.time() * 1000)

    def decide(self, alerts: Sequence[Alert], to: Sequence[str]) -> None:
        kept = self.outbox.decided(Decision(self.now(), tuple(Fired(one, tuple(to)) for one in alerts)))
        self.decided[len(self.decided)] = kept
        self.wake()


class Disk(Log):
    """The log of one process: refuses while the disk is full, and never comes back from a kill."""

    def __init__(self, world: World) -> None:
        self._world, self._process = world, world.process

    async def do(self, work: Callable[[Outbox], T]) -> T:
        world, dice = self._world, self._world.weather.dice
        await asyncio.sleep(float(dice.uniform(0, 0.01)))
        await self._alive()
        if any(start <= world.now() < end for start, end in world.weather.full):
            raise StoreError("the disk is full. Make room.")
        done = work(world.outbox)
        await asyncio.sleep(float(dice.uniform(0, 0.01)))
        await self._alive()
        return done

    async def _alive(self) -> None:
        if self._world.is_dead or self._process != self._world.process:
            await asyncio.Event().wait()


class Phone:
    """A target that does what the weather says."""

    kind, where, failure, lang = "messenger", "Phone", "", "en"
    most = waiting = 1_000

    def __init__(self, name: str, world: World, digest: int) -> None:
        self.name, self.digest = name, digest
        self.patience = Patience(first=2.0, longest=60.0, tries=None, refusals=3)
        self._world, self._process = world, world.process

    async def begin(self) -> None:
        await self._pass()

    def wants(self, alert: Alert) -> bool:
        return True

    async def test(self, kept: Kept) -> Answer:
        raise NotImplementedError

    async def send(self, message: Message, *, quiet: bool) -> Answer:
        world, weather = self._world, self._world.weather
        begun, fate = world.now(), float(weather.dice.random())
        await self._pass()
        if weather.is_out(begun) or fate < weather.down:
            return Answer(Ended.LATER, "status 503")
        if fate < weather.down + weather.refused:
            return Answer(Ended.REFUSED, "status 401")
        receipt = Receipt(message, world.now(), begun, self._process, acknowledged=False)
        world.receipts.append(receipt)
        await self._pass()
        if fate < weather.down + weather.refused + weather.lost:
            return Answer(Ended.LATER, "no answer")
        receipt.acknowledged = True
        return Answer(Ended.TAKEN)

    async def _pass(self) -> None:
        await asyncio.sleep(float(self._world.weather.dice.exponential(self._world.weather.slow + 0.1)))
        if self._world.is_dead or self._process != self._world.process:
            await asyncio.Event().wait()


TARGETS: Final[dict[str, tuple[int, Quiet | None]]] = {"phone": (5, NIGHT), "desk": (3, None)}


async def lived(world: World, seconds: float, *, killed: bool) -> None:
    """Run a process for so long; then stop it, or kill it so that nothing of it happens any more."""
    world.process += 1
    world.is_dead = False
    log, timing = Disk(world), Timing(world.now, 1.0, lambda: float(world.weather.dice.random()))
    couriers = Couriers(
        [
            Courier(Phone(name, world, digest), log, timing, quiet=quiet, oldest=HOUR)
            for name, (digest, quiet) in TARGETS.items()
        ],
        log,
        world.now,
    )
    work = asyncio.create_task(couriers.run())
    world.wake = couriers.wake
    await asyncio.sleep(seconds)
    if killed:
        world.is_dead = True
        world.kills.append(world.now())
    work.cancel()
    await asyncio.wait([work])
    assert work.cancelled()


async def market(world: World) -> None:
    """Decide alerts for some hours, some of them as storms."""
    dice, number = world.weather.dice, 0
    while world.now() < NOW + HOURS * HOUR:
        size = int(dice.choice([1, 1, 2, 4, 6, 30]))
        names = [f"S{number + n}USDT" for n in range(size)]
        number += size
        world.decide([alert(name, bar=world.now()) for name in names], list(TARGETS))
        await asyncio.sleep(float(dice.exponential(240)))


def weather_of(seed: int) -> Weather:
    dice = np.random.default_rng(seed)
    chances = dice.uniform(0, [3.0, 0.4, 0.3, 0.2]) * (dice.random(4) < 0.6)

    def spans(count: int, longest: float) -> list[tuple[int, int]]:
        starts = NOW + dice.integers(0, HOURS * HOUR, count)
        return [(int(start), int(start + dice.uniform(0, longest) * 60_000)) for start in starts]

    slow, down, lost, refused = chances.tolist()
    outages, full = spans(int(dice.integers(0, 3)), 100), spans(2, 5)
    return Weather(dice, slow, down, lost, refused, outages, full)


def lived_through(seed: int) -> World:
    """Live through a seeded schedule, and then through hours of fair weather."""

    async def main(loop: SimLoop) -> World:
        world = World(loop, weather_of(seed))
        settled = world.outbox.settled

        def seen(message: Message, outcome: Outcome, now: int) -> None:
            settled(message, outcome, now)
            if outcome.state == "sent":
                assert message.id not in world.written
                world.written[message.id] = world.now()

        world.outbox.settled = seen  # type: ignore[method-assign]
        deciding = asyncio.create_task(market(world))
        dice = world.weather.dice
        while not deciding.done():
            await lived(world, float(dice.exponential(1_500)), killed=bool(dice.random() < 0.7))
            await asyncio.sleep(float(dice.exponential(60)))
        world.weather = Weather(np.random.default_rng(seed))
        await lived(world, 3 * 3_600, killed=False)
        return world

    return run(main, seed=seed)


def entries(world: World) -> list[Logged]:
    return world.outbox.entries(limit=100_000)


def check_nothing_is_lost(world: World) -> None:
    arrived = {(one.message.target, kept.id) for one in world.receipts for kept in one.message.alerts}
    for logged in entries(world):
        for delivery in logged.deliveries:
            where = (delivery.target, logged.kept.id)
            if delivery.state == "sent":
                assert where in arrived
            else:
                assert delivery.state == "given_up"
                assert re.fullmatch(REASONS, delivery.detail)


def check_nothing_is_sent_twice(world: World) -> None:
    messages = defaultdict(set)
    by_message = defaultdict(list)
    for one in world.receipts:
        by_message[one.message.id].append(one)
        for kept in one.message.alerts:
            messages[one.message.target, kept.id].add(one.message.id)
    assert all(len(ids) == 1 for ids in messages.values())
    for name, receipts in by_message.items():
        assert all(one.begun <= world.written.get(name, one.begun) for one in receipts)
        for one, other in pairwise(receipts):
            killed = any(one.begun <= kill <= other.begun for kill in world.kills)
            # A stop waits a moment for an answer, and no longer.
            stopped = one.process != other.process
            assert not one.acknowledged or killed or stopped
            assert {kept.id for kept in one.message.alerts} == {kept.id for kept in other.message.alerts}


def check_storms_are_one_message(world: World) -> None:
    found = {
        (one.message.target, kept.id): one.message for one in world.receipts for kept in one.message.alerts
    }
    for name, (digest, quiet) in TARGETS.items():
        for storm in world.decided.values():
            told = {found[name, kept.id].id for kept in storm if (name, kept.id) in found}
            if len(storm) > digest:
                assert len(told) <= 1
        for one in world.receipts:
            count = len(one.message.alerts)
            if one.message.target == name and 1 < count <= digest:
                assert quiet is not None
                assert all(kept.time < quiet.ended(one.message.time) for kept in one.message.alerts)


def check_quiet_hours_are_quiet(world: World) -> None:
    for one in world.receipts:
        quiet = TARGETS[one.message.target][1]
        assert quiet is None or quiet.until(one.begun) is None


CHECKS: Final = (
    check_nothing_is_lost,
    check_nothing_is_sent_twice,
    check_storms_are_one_message,
    check_quiet_hours_are_quiet,
)


@pytest.mark.parametrize("tens", range(0, len(SEEDS), 10))
def test_whatever_goes_wrong_each_alert_arrives_once_or_is_given_up_for_a_reason(tens: int) -> None:
    for seed in SEEDS[tens : tens + 10]:
        world = lived_through(seed)
        for check in CHECKS:
            check(world)


def test_the_schedules_bring_about_what_they_are_to_be_held_against() -> None:
    worlds = [lived_through(seed) for seed in range(10)]
    receipts = [one for world in worlds for one in world.receipts]
    states = {
        (one.state, one.detail.partition(":")[0])
        for world in worlds
        for logged in entries(world)
        for one in logged.deliveries
    }

    assert {("sent", ""), ("given_up", "too old"), ("given_up", "status 401")} <= states
    assert sum(len(world.kills) for world in worlds) > 20
    ids = [(one.process, one.message.id) for one in receipts]
    assert len(ids) > len({name for _, name in ids}) > 0
    assert any(len(one.message.alerts) > 30 for one in receipts)
    assert any(NIGHT.until(kept.time) for one in receipts for kept in one.message.alerts)
