"""Timing: the gate's time follows the exchange's, and no answer proves more than when it was asked."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, cast

import pytest

from klinehub.domain.clock import Clock
from klinehub.errors import Unreachable
from klinehub.feed.budget import WeightGate
from klinehub.feed.exchange_time import AGAIN, EVERY, LATE, SOON, TOLERANCE
from klinehub.feed.rest import Answer, RestClient
from klinehub.feed.timing import EVENTS, MOST_MARGIN, Timing
from klinehub.feed.use import Use
from klinehub.feed.venue import USDM
from klinehub.sim.loop import SimLoop, run

AHEAD: Final = 7_000
EPOCH: Final = 1_700_000_040_000


class World:
    """Our clock, the exchange's that is *ahead* of it, and a way between them."""

    venue = USDM

    def __init__(self, *, ahead: int = AHEAD, trip: int = 40) -> None:
        self.passed = 0
        self.set_by = 0
        self.ahead = ahead
        self.trip = trip
        self.failing = False
        self.doubts: list[bool] = []
        self.questions: list[tuple[int, Use]] = []
        self.clock = Clock(EPOCH, 1.0, lambda: (self.passed + self.set_by) / 1000)
        self.gate = WeightGate(self.clock)
        self.timing = Timing(cast("RestClient", self), self.gate, self.clock, on_doubt=self.doubts.append)

    @property
    def exchange(self) -> int:
        """The exchange's time now."""
        return EPOCH + self.passed + self.ahead

    async def ask(self, path: str, params: Mapping[str, Any], *, weight: int, use: Use) -> Answer:
        asked = self.gate.now()
        self.questions.append((weight, use))
        if self.failing:
            raise Unreachable("no answer")
        self.passed += self.trip // 2
        body = json.dumps({"serverTime": self.exchange}).encode()
        self.passed += self.trip // 2
        await asyncio.sleep(0)
        return Answer(body, asked)

    def answer(self, *, dated: bool = True) -> Answer:
        """Give an answer to what is asked now."""
        return Answer(b"", self.gate.now(), self.exchange // 1000 * 1000 if dated else None)


async def test_a_reading_sets_the_time_of_the_gate_as_well_as_the_round_trip_allows() -> None:
    world = World()
    assert world.timing.due
    assert world.timing.margin == MOST_MARGIN
    await world.timing.read()

    assert world.questions == [(1, Use.CONTROL)]
    assert abs(world.gate.offset - AHEAD) <= 1
    assert abs(world.gate.now() - world.exchange) <= world.timing.margin <= 22
    assert not world.timing.due
    assert (world.timing.fits, world.doubts) == (True, [])


async def test_the_margin_holds_however_unevenly_the_trip_was_split() -> None:
    world = World(trip=3_000)
    await world.timing.read()
    assert abs(world.gate.now() - world.exchange) <= world.timing.margin <= 1_502

    world.trip = 20
    world.passed += AGAIN
    assert world.timing.due
    await world.timing.read()
    assert abs(world.gate.now() - world.exchange) <= world.timing.margin <= 12


async def test_the_time_is_read_again_now_and_then() -> None:
    world = World()
    await world.timing.read()
    world.passed += EVERY - 41
    assert not world.timing.due
    world.passed += 41
    assert world.timing.due


async def test_one_reading_at_a_time() -> None:
    world = World()
    reading = asyncio.ensure_future(world.timing.read())
    await asyncio.sleep(0)
    assert len(world.questions) == 1
    assert not world.timing.due
    await reading


async def test_a_failed_reading_is_tried_again_after_a_while() -> None:
    world = World()
    await world.timing.read()
    world.passed += EVERY
    world.failing = True
    assert world.timing.due
    with pytest.raises(Unreachable):
        await world.timing.read()

    assert not world.timing.due
    world.passed += AGAIN
    assert world.timing.due
    assert world.timing.fits


def test_a_wait_for_the_budget_is_no_part_of_the_round_trip() -> None:
    async def read(loop: SimLoop) -> tuple[int, int, float]:
        clock = Clock(EPOCH, 1.0, loop.time)
        gate = WeightGate(clock, limit=100, share=1.0)

        class Exchange:
            venue = USDM

            async def ask(self, path: str, params: Mapping[str, Any], *, weight: int, use: Use) -> Answer:
                asked = await gate.take(weight, use)
                await asyncio.sleep(0.02)
                body = json.dumps({"serverTime": clock.now() + AHEAD}).encode()
                await asyncio.sleep(0.02)
                gate.landed(weight, use, asked)
                return Answer(body, asked)

        for use, weight in ((Use.WARM_UP, 60), (Use.REPAIR, 30), (Use.CONTROL, 10)):
            gate.landed(weight, use, await gate.take(weight, use))
        timing = Timing(cast("RestClient", Exchange()), gate, clock, on_doubt=lambda _: None)
        await timing.read()
        return gate.offset, timing.margin, loop.time()

    offset, margin, waited = run(read)

    assert waited > 10
    assert abs(offset - AHEAD) <= 1
    assert margin < 30


async def test_the_proof_of_an_answer_is_never_later_than_it_was_asked() -> None:
    world = World()
    await world.timing.read()
    for passed in (0, 1_234, EVERY):
        world.passed += passed
        plain, dated = world.timing.proof(world.answer(dated=False)), world.timing.proof(world.answer())
        assert world.exchange - 2 * world.timing.margin <= plain <= world.exchange
        assert dated == min(plain, world.exchange // 1000 * 1000)


async def test_a_clock_that_ran_ahead_unnoticed_proves_nothing_beyond_the_date() -> None:
    world = World()
    await world.timing.read()
    world.set_by = 4_000

    assert world.timing.proof(world.answer(dated=False)) > world.exchange
    assert not world.timing.due
    assert world.timing.proof(world.answer()) == world.exchange // 1000 * 1000
    world.passed += SOON
    assert world.timing.due


async def test_before_the_first_reading_nothing_is_proven() -> None:
    world = World()

    assert world.timing.proof(world.answer()) < 0


async def test_a_pause_is_doubted_at_once_and_over_with_the_next_reading() -> None:
    world = World()
    await world.timing.read()
    world.passed += 60_000
    now = world.clock.now()
    world.timing.on_tick(now, now - LATE)
    assert world.doubts == []
    world.timing.on_tick(now, now - LATE - 1)
    assert (world.timing.fits, world.doubts, world.timing.jumps) == (False, [False], 1)
    assert world.timing.due

    await world.timing.read()
    assert (world.timing.fits, world.doubts) == (True, [False, True])
    assert abs(world.gate.now() - world.exchange) <= world.timing.margin < 100


async def test_a_clock_that_was_set_forward_is_doubted_until_a_second_reading_confirms_it() -> None:
    world = World()
    await world.timing.read()
    world.set_by = 90_000
    now = world.clock.now()
    world.timing.on_tick(now, now - 90_000)
    assert abs(world.gate.now() - world.exchange) <= world.timing.margin
    await world.timing.read()
    assert not world.timing.fits
    assert abs(world.gate.now() - world.exchange) <= world.timing.margin

    world.passed += SOON
    assert world.timing.due
    await world.timing.read()
    assert (world.timing.fits, world.doubts[-1]) == (True, True)
    assert abs(world.gate.offset - (AHEAD - 90_000)) <= 1


async def test_a_clock_that_was_set_back_is_found_by_the_timer_and_confirmed() -> None:
    world = World()
    await world.timing.read()
    world.set_by = -90_000
    now = world.clock.now()
    world.timing.on_tick(now, now + 90_000)
    assert world.timing.due
    for _ in range(2):
        assert abs(world.gate.now() - world.exchange) <= world.timing.margin
        world.passed += SOON
        assert world.timing.due
        await world.timing.read()

    assert (world.timing.fits, world.doubts[-1]) == (True, True)
    assert abs(world.gate.now() - world.exchange) <= world.timing.margin < 100


async def test_a_jump_without_a_trace_takes_two_readings_that_agree() -> None:
    world = World()
    await world.timing.read()
    world.ahead += 60_000
    world.passed += EVERY
    await world.timing.read()
    assert world.doubts == []
    assert abs(world.gate.now() - world.exchange) <= world.timing.margin

    world.passed += SOON
    assert world.timing.due
    await world.timing.read()
    assert (world.doubts, world.timing.jumps) == ([False, True], 1)
    assert abs(world.gate.now() - world.exchange) <= world.timing.margin < 100


async def test_a_failed_reading_leaves_the_doubt() -> None:
    world = World()
    await world.timing.read()
    now = world.clock.now()
    world.timing.on_tick(now, now - 10_000)
    world.failing = True
    with pytest.raises(Unreachable):
        await world.timing.read()
    assert (world.timing.fits, world.doubts) == (False, [False])

    world.failing = False
    world.passed += SOON
    assert world.timing.due
    await world.timing.read()
    assert world.doubts == [False, True]


async def test_a_reading_that_contradicts_what_is_known_leaves_the_doubt() -> None:
    world = World()
    await world.timing.read()
    now = world.clock.now()
    world.timing.on_tick(now, now - 10_000)
    world.ahead += 60_000
    await world.timing.read()
    assert (world.timing.fits, world.doubts) == (False, [False])

    world.passed += SOON
    assert world.timing.due
    await world.timing.read()
    assert world.timing.fits


async def test_a_clock_set_back_during_a_reading_is_doubted_until_the_next_one() -> None:
    world = World()
    await world.timing.read()
    world.trip = -60_000
    await world.timing.read()
    assert (world.timing.fits, world.doubts) == (False, [False])

    world.trip = 40
    world.passed += SOON
    await world.timing.read()
    assert (world.timing.fits, world.doubts) == (True, [False, True])


async def test_an_event_from_the_future_asks_for_a_reading() -> None:
    world = World()
    await world.timing.read()
    world.passed += SOON
    world.timing.on_event(world.exchange + TOLERANCE)
    assert not world.timing.due
    world.timing.on_event(world.exchange + 2 * TOLERANCE)
    assert world.timing.due
    assert world.doubts == []


async def test_a_market_that_runs_fast_has_later_timers() -> None:
    clock = Clock(EPOCH, 60.0, lambda: 0.0)
    said: list[bool] = []
    timing = Timing(cast("RestClient", None), WeightGate(clock), clock, on_doubt=said.append)
    timing.on_tick(EPOCH + 60 * LATE, EPOCH)
    assert said == []
    timing.on_tick(EPOCH + 60 * LATE + 1, EPOCH)
    assert said == [False]


async def set_back(*, banned: bool = True) -> World:
    """Give a world whose clock was set back by 90 s after its time was read, and no event told of it yet."""
    world = World()
    await world.timing.read()
    world.set_by = -90_000
    if banned:
        world.gate.banned(world.exchange + 600_000)
    return world


def tell(world: World, *lates: int) -> None:
    """Let events come that the exchange has dated so many ms ago."""
    for late in lates:
        world.timing.on_event(world.exchange - late)


LATES: Final = (300, 40, 900, 0, 500, 120, 700, 60)


async def test_during_a_ban_a_row_of_events_ahead_of_us_moves_our_time_forward_by_the_least_of_them() -> None:
    world = await set_back()
    before = world.gate.offset
    assert len(LATES) == EVENTS
    tell(world, *LATES[:-1])
    assert world.gate.offset == before

    tell(world, LATES[-1])
    assert world.exchange - world.gate.now() == max(LATES)


async def test_while_the_time_may_be_asked_for_no_event_moves_it() -> None:
    world = await set_back(banned=False)
    before = world.gate.offset
    tell(world, *LATES, *LATES)

    assert world.gate.offset == before
    assert world.timing.due


async def test_an_event_that_is_not_ahead_of_us_ends_the_row() -> None:
    world = await set_back()
    before = world.gate.offset
    tell(world, *LATES[:-1], 90_000, *LATES[1:])
    assert world.gate.offset == before

    tell(world, 1_000)
    assert world.exchange - world.gate.now() == 1_000


async def test_a_clock_that_is_set_back_again_takes_another_whole_row() -> None:
    world = await set_back()
    tell(world, *LATES)
    world.set_by -= 60_000
    before = world.gate.offset
    tell(world, *LATES[:-1])
    assert world.gate.offset == before

    tell(world, LATES[-1])
    assert world.exchange - world.gate.now() == max(LATES)


@pytest.mark.parametrize(("rate", "believed"), [(0.01, 1_000), (1.0, 1_000), (60.0, 60_000)])
def test_events_a_second_of_real_time_ahead_of_us_move_nothing(rate: float, believed: int) -> None:
    clock = Clock(EPOCH, rate, lambda: 0.0)
    gate = WeightGate(clock)
    timing = Timing(cast("RestClient", None), gate, clock, on_doubt=lambda _: None)
    gate.offset = 5_000
    gate.banned(EPOCH + 600_000)
    for _ in range(2 * EVENTS):
        timing.on_event(EPOCH + 5_000 + believed)
    assert gate.offset == 5_000

    for _ in range(EVENTS):
        timing.on_event(EPOCH + 5_000 + believed + 1)
    assert gate.offset == 5_000 + believed + 1
