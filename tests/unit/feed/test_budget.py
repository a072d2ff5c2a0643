"""The gate of all REST calls: what passes in which exchange minute."""

import asyncio

import pytest

from klinehub.domain.clock import Clock
from klinehub.errors import Banned, DefinitionError
from klinehub.feed.budget import BAN_MARGIN, GUARD, MINUTE, Budget, WeightGate
from klinehub.sim.loop import SimLoop, run

START = 29_000_000 * MINUTE


def gate_on(
    loop: SimLoop, *, at: int = START + 1_000, limit: int = 100, share: float | None = 0.8
) -> WeightGate:
    return WeightGate(Clock(at, 1.0, loop.time), limit=limit, share=share)


async def passages(gate: WeightGate, weights: list[int]) -> list[int]:
    """Take each weight in turn, as many callers at once, and give the moments they passed."""

    async def one(weight: int) -> int:
        asked = await gate.take(weight)
        gate.landed(weight)
        return asked

    return await asyncio.gather(*(one(weight) for weight in weights))


def test_weight_up_to_the_share_passes_at_once() -> None:
    budget = Budget(100, 0.8)
    now = START + 1_000
    budget.opening(40, now)
    budget.spend(40)

    assert budget.opening(40, now) == now
    assert budget.opening(41, now) == START + MINUTE + GUARD


def test_nothing_leaves_in_the_first_moment_of_a_minute() -> None:
    assert Budget(100, 0.8).opening(1, START + 3) == START + GUARD


def test_a_new_minute_forgets_what_has_landed_and_carries_what_is_on_its_way() -> None:
    budget = Budget(100, 1.0)
    budget.opening(90, START + 59_000)
    budget.spend(60)
    budget.spend(30)
    budget.landed(60)

    budget.roll(START + MINUTE)

    assert budget.used == 30


def test_the_exchange_count_is_followed_up_but_not_down() -> None:
    budget = Budget(100, 1.0)
    now = START + 1_000
    budget.roll(now)
    budget.spend(10)
    budget.seen(70, now, now)
    budget.seen(20, now, now)

    assert budget.used == 70


def test_a_count_that_may_be_of_the_last_minute_is_left_out() -> None:
    budget = Budget(100, 1.0)
    budget.roll(START + MINUTE - 10)
    budget.seen(95, START + MINUTE - 10, START + MINUTE + 200)

    assert budget.used == 0


def test_a_clock_set_back_keeps_the_count() -> None:
    budget = Budget(100, 1.0)
    budget.roll(START + 60 * MINUTE)
    budget.spend(5)
    budget.roll(START)
    budget.landed(5)

    assert budget.used == 5
    assert budget.opening(95, START + 1_000) == START + 1_000
    assert budget.opening(96, START + 1_000) == START + MINUTE + GUARD


@pytest.mark.parametrize(("limit", "share"), [(0, 0.8), (100, 0.0), (100, 1.5)])
def test_a_budget_that_is_none_is_refused(limit: int, share: float) -> None:
    with pytest.raises(DefinitionError, match="is no budget"):
        Budget(limit, share)


def test_callers_pass_in_order_minute_by_minute() -> None:
    async def main(loop: SimLoop) -> tuple[list[int], WeightGate]:
        gate = gate_on(loop)
        return await passages(gate, [50, 30, 50, 20, 40]), gate

    asked, gate = run(main)

    first, second = START + MINUTE + GUARD, START + 2 * MINUTE + GUARD
    assert asked == [START + 1_000, START + 1_000, first, first, second]
    assert (gate.calls, gate.spent, gate.used) == (5, 190, 40)


def test_minutes_are_those_of_the_exchange() -> None:
    async def main(loop: SimLoop) -> tuple[list[int], float]:
        gate = gate_on(loop, at=START + 1_000)
        gate.offset = 58_000
        return await passages(gate, [80, 80]), loop.time()

    asked, seconds = run(main)

    assert asked == [START + 59_000, START + MINUTE + GUARD]
    assert seconds == pytest.approx(1.05)


def test_a_corrected_offset_moves_those_who_wait() -> None:
    async def main(loop: SimLoop) -> tuple[int, float]:
        gate = gate_on(loop, at=START + 1_000)
        await gate.take(80)
        gate.landed(80)
        waiting = asyncio.create_task(gate.take(80))
        await asyncio.sleep(1)
        gate.offset = 50_000
        return await waiting, loop.time()

    asked, seconds = run(main)

    assert asked == START + MINUTE + GUARD
    assert seconds == pytest.approx(9.05)


def test_a_fast_clock_waits_less() -> None:
    async def main(loop: SimLoop) -> float:
        gate = WeightGate(Clock(START + 30_000, 60.0, loop.time), limit=100, share=0.8)
        await gate.take(80)
        gate.landed(80)
        await gate.take(80)
        return loop.time()

    assert run(main) == pytest.approx(0.5, abs=0.01)


def test_a_lifted_gate_counts_and_never_waits() -> None:
    async def main(loop: SimLoop) -> tuple[float, WeightGate]:
        gate = gate_on(loop, at=START, share=None)
        await passages(gate, [500] * 10)
        return loop.time(), gate

    seconds, gate = run(main)

    assert seconds == 0.0
    assert gate.lifted
    assert (gate.calls, gate.spent) == (10, 5_000)


def test_other_programs_on_the_address_use_up_the_minute() -> None:
    async def main(loop: SimLoop) -> int:
        gate = gate_on(loop)
        asked = await gate.take(2)
        gate.landed(2)
        gate.seen(79, asked)
        return await gate.take(2)

    assert run(main) == START + MINUTE + GUARD


def test_a_ban_fails_those_who_wait_and_those_who_come() -> None:
    until = START + 10 * MINUTE

    async def main(loop: SimLoop) -> tuple[list[object], int, int]:
        gate = gate_on(loop)
        await gate.take(80)
        gate.landed(80)
        waiting = [asyncio.create_task(gate.take(80)) for _ in range(3)]
        await asyncio.sleep(0)
        gate.banned(until)
        failures: list[object] = list(await asyncio.gather(*waiting, return_exceptions=True))
        with pytest.raises(Banned, match="2025-02-19 21:30:01 UTC") as refused:
            await gate.take(1)
        await asyncio.sleep(10 * 60)
        return failures, refused.value.until, await gate.take(1)

    failures, told, asked = run(main)

    assert [type(failure) for failure in failures] == [Banned] * 3
    assert told == until + BAN_MARGIN
    assert asked >= until


def test_a_ban_never_gets_shorter_and_counts_no_call() -> None:
    async def main(loop: SimLoop) -> WeightGate:
        gate = gate_on(loop)
        gate.banned(START + 10 * MINUTE)
        gate.banned(START + 5 * MINUTE)
        with pytest.raises(Banned):
            await gate.take(1)
        return gate

    gate = run(main)

    assert gate.banned_until == START + 10 * MINUTE + BAN_MARGIN
    assert gate.calls == 0


def test_a_cancelled_caller_leaves_its_place_to_the_next() -> None:
    async def main(loop: SimLoop) -> tuple[int, int]:
        gate = gate_on(loop)
        await gate.take(60)
        gate.landed(60)
        large = asyncio.create_task(gate.take(40))
        small = asyncio.create_task(gate.take(20))
        await asyncio.sleep(1)
        large.cancel()
        asked = await small
        return asked, gate.calls

    assert run(main) == (START + 2_000, 2)


def test_a_caller_cancelled_after_its_turn_came_gives_it_back() -> None:
    async def main(loop: SimLoop) -> tuple[int, int, int]:
        gate = gate_on(loop)
        await gate.take(80)
        gate.landed(80)
        waiting = asyncio.create_task(gate.take(80))
        await asyncio.sleep(0)
        gate.offset = MINUTE
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return gate.calls, gate.spent, gate.used

    assert run(main) == (1, 80, 0)


def test_a_request_no_minute_has_room_for_is_refused() -> None:
    async def main(loop: SimLoop) -> None:
        await gate_on(loop, limit=20).take(40)

    with pytest.raises(DefinitionError, match="never fits into a budget of 16"):
        run(main)
