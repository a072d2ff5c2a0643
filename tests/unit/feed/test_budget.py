"""The gate of all REST calls: what passes in which exchange minute."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.domain.clock import Clock
from klinehub.errors import Banned, DefinitionError, FeedError, Unreachable
from klinehub.feed import budget as budget_module
from klinehub.feed.account import BAN
from klinehub.feed.budget import BAN_MARGIN, GUARD, MINUTE, Budget, WeightGate
from klinehub.feed.use import Use
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


async def grants(gate: WeightGate, wants: list[tuple[Use, int]]) -> list[tuple[int, Use]]:
    """Let each use take its weight, as many callers at once, and give when who passed, in order."""
    passed: list[tuple[int, Use]] = []

    async def one(use: Use, weight: int) -> None:
        passed.append((await gate.take(weight, use), use))
        gate.landed(weight, use)

    await asyncio.gather(*(one(use, weight) for use, weight in wants))
    return passed


def test_a_use_whose_share_is_spent_waits_and_blocks_no_other() -> None:
    async def main(loop: SimLoop) -> list[tuple[int, Use]]:
        gate = gate_on(loop, limit=1000)
        wants = [(Use.AUDIT, 10)] * 3 + [(Use.PROBE, 50)] * 3 + [(Use.WARM_UP, 100)]
        return await grants(gate, wants)

    passed = run(main)

    now, later = START + 1_000, START + MINUTE + GUARD
    assert sorted(passed) == sorted(
        [(now, Use.AUDIT)] * 2
        + [(now, Use.PROBE)] * 2
        + [(now, Use.WARM_UP)]
        + [(later, Use.PROBE), (later, Use.AUDIT)]
    )


def test_those_who_wait_are_served_by_urgency_and_in_order_within_a_use() -> None:
    async def main(loop: SimLoop) -> list[tuple[int, Use]]:
        gate = gate_on(loop, limit=1000)
        gate.landed(await taken(gate, 800))
        wants = [(use, 1) for use in reversed(Use) for _ in range(2)]
        return await grants(gate, wants)

    assert [use for _, use in run(main)] == [use for use in Use for _ in range(2)]


def test_an_urgent_request_that_waits_for_the_minute_is_not_overtaken() -> None:
    async def main(loop: SimLoop) -> list[tuple[int, Use]]:
        gate = gate_on(loop, limit=100)
        gate.landed(await taken(gate, 50))
        return await grants(gate, [(Use.CONTROL, 40), (Use.WARM_UP, 5)])

    assert run(main) == [(START + MINUTE + GUARD, Use.CONTROL), (START + MINUTE + GUARD, Use.WARM_UP)]


def test_what_is_heavier_than_its_share_passes_once_a_minute() -> None:
    async def main(loop: SimLoop) -> list[tuple[int, Use]]:
        return await grants(gate_on(loop, limit=100), [(Use.AUDIT, 5)] * 3)

    assert [time for time, _ in run(main)] == [
        START + 1_000,
        START + MINUTE + GUARD,
        START + 2 * MINUTE + GUARD,
    ]


def test_the_share_of_the_audit_can_be_set() -> None:
    async def main(loop: SimLoop) -> list[tuple[int, Use]]:
        gate = WeightGate(Clock(START + 1_000, 1.0, loop.time), limit=100, audit=0.1)
        return await grants(gate, [(Use.AUDIT, 5)] * 3)

    assert [time for time, _ in run(main)] == [START + 1_000] * 2 + [START + MINUTE + GUARD]


def test_the_share_of_what_is_forwarded_can_be_set() -> None:
    async def main(loop: SimLoop) -> list[tuple[int, Use]]:
        gate = WeightGate(Clock(START + 1_000, 1.0, loop.time), limit=100, forwarded=0.1)
        return await grants(gate, [(Use.FORWARDED, 5)] * 3)

    assert [time for time, _ in run(main)] == [START + 1_000] * 2 + [START + MINUTE + GUARD]


def test_what_the_share_leaves_is_for_orders_and_nobody_else() -> None:
    async def main(loop: SimLoop) -> list[tuple[int, Use]]:
        gate = gate_on(loop, limit=100)
        gate.landed(await taken(gate, 80))
        return await grants(gate, [(Use.CONTROL, 1), *[(Use.ORDERS, 10)] * 3, (Use.WARM_UP, 1)])

    now, later = START + 1_000, START + MINUTE + GUARD

    assert run(main) == [
        (now, Use.ORDERS),
        (now, Use.ORDERS),
        (later, Use.ORDERS),
        (later, Use.CONTROL),
        (later, Use.WARM_UP),
    ]


def test_an_order_may_weigh_what_no_other_request_may() -> None:
    budget = Budget(100, 0.8)
    budget.check(100, Use.ORDERS)

    with pytest.raises(DefinitionError, match="budget of 80 a minute"):
        budget.check(81, Use.CONTROL)
    with pytest.raises(DefinitionError, match="budget of 100 a minute"):
        budget.check(101, Use.ORDERS)


def test_how_long_a_request_would_wait_is_known_before() -> None:
    async def main(loop: SimLoop) -> list[float]:
        gate = gate_on(loop, limit=100)
        gate.offset = 29_000
        before = gate.wait(20, Use.FORWARDED)
        await gate.take(20, Use.FORWARDED)
        gate.landed(20, Use.FORWARDED)
        return [before, gate.wait(1, Use.FORWARDED), gate.wait(1, Use.ORDERS), gate.share(Use.FORWARDED)]

    assert run(main) == pytest.approx([0.0, 30.05, 0.0, 20])


def test_a_lifted_gate_knows_no_shares() -> None:
    async def main(loop: SimLoop) -> list[tuple[int, Use]]:
        return await grants(gate_on(loop, share=None), [(use, 500) for use in Use] * 3)

    assert {time for time, _ in run(main)} == {START + 1_000}


def test_more_than_can_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_module, "MOST_WAITING", 50)

    async def main(loop: SimLoop) -> int:
        gate = gate_on(loop)
        await taken(gate, 80)
        waiting = [asyncio.create_task(gate.take(1)) for _ in range(50)]
        await asyncio.sleep(0)
        with pytest.raises(FeedError, match="50 REST requests wait"):
            await gate.take(1)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return gate.waiting

    assert run(main) == 0


def test_a_breaker_that_opens_fails_those_who_wait_and_lets_one_probe_out() -> None:
    async def main(loop: SimLoop) -> tuple[list[str], list[object], int]:
        gate = gate_on(loop)
        await taken(gate, 80)
        waiting = [asyncio.create_task(gate.take(1)) for _ in range(3)]
        await asyncio.sleep(0)
        for _ in range(5):
            gate.failed(gate.now(), "it did not answer")
        failures: list[object] = list(await asyncio.gather(*waiting, return_exceptions=True))
        gate.landed(80)
        told = [gate.closed(gate.now())]
        await asyncio.sleep(60)
        probes: list[object] = list(
            await asyncio.gather(*(gate.take(1) for _ in range(8)), return_exceptions=True)
        )
        told.append(gate.closed(gate.now()))
        gate.answered()
        gate.landed(1)
        return [*told, gate.closed(gate.now())], failures, sum(isinstance(one, int) for one in probes)

    told, failures, probes = run(main)

    assert [type(failure) for failure in failures] == [Unreachable] * 3
    assert "resting until" in str(failures[0])
    assert "it did not answer" in str(failures[0])
    assert probes == 1
    assert told[0].startswith("resting until ")
    assert "a probe is on its way" in told[1]
    assert told[2] == ""


def test_a_probe_that_was_given_up_leaves_it_to_the_next() -> None:
    async def main(loop: SimLoop) -> int:
        gate = gate_on(loop)
        gate.failed(gate.now(), overloaded=True)
        await asyncio.sleep(5)
        gate.landed(await taken(gate, 1))
        return await gate.take(1)

    assert run(main) == START + 6_000


def test_a_nudge_ends_a_rest_but_no_block_and_no_ban() -> None:
    async def main(loop: SimLoop) -> list[str]:
        gate = gate_on(loop)
        told: list[str] = []
        gate.failed(gate.now(), overloaded=True)
        gate.nudge()
        told.append(gate.closed(gate.now()))
        gate.blocked(451)
        gate.nudge()
        told.append(gate.closed(gate.now()).split(" until")[0])
        gate.banned(START + 10 * MINUTE)
        gate.nudge()
        return [*told, gate.closed(gate.now()).split(" until")[0]]

    assert run(main) == ["", "blocked (451)", "banned"]


def test_a_ban_of_years_is_believed_for_days() -> None:
    async def main(loop: SimLoop) -> int:
        gate = gate_on(loop)
        gate.banned(START + 365 * 24 * 60 * MINUTE)
        return gate.banned_until

    assert run(main) == START + 1_000 + BAN


async def taken(gate: WeightGate, weight: int) -> int:
    await gate.take(weight)
    return weight


# What happens next, most often that a use takes weight; the number is a weight, or the seconds to pass.
KINDS = st.sampled_from(["take"] * 6 + ["wait"] * 3 + ["land", "hear", "back"])
ACTS = st.tuples(KINDS, st.sampled_from([Use.WARM_UP, *Use]), st.integers(1, 40))


@given(st.lists(ACTS, max_size=50))
def test_no_minute_ever_gets_more_than_the_cap_nor_a_use_more_than_its_share(
    acts: list[tuple[str, Use, int]],
) -> None:
    budget, now = Budget(100, 0.8), START
    flying: list[tuple[Use, int]] = []
    known = {START // MINUTE: 0}
    taken_by: dict[tuple[int, Use], list[int]] = {}
    for act, use, number in acts:
        minute = now // MINUTE
        if act == "take" and budget.opening(number, now, use) == now:
            assert now % MINUTE >= GUARD
            budget.spend(number, use)
            flying.append((use, number))
            known[minute] += number
            taken_by.setdefault((minute, use), []).append(number)
            assert known[minute] <= (100 if use is Use.ORDERS else 80)
        elif act == "land" and flying:
            done, weight = flying.pop(0)
            budget.landed(weight, done)
        elif act == "hear":
            budget.seen(3 * number, now, now)
            known[minute] = max(known[minute], 3 * number)
        elif act in {"wait", "back"}:
            now += 1_060 * (number if act == "wait" else -number)
            # Whatever is on its way may land in a minute that begins.
            carried = sum(weight for _, weight in flying) if act == "wait" else 0
            known.setdefault(now // MINUTE, carried)
            budget.roll(now)
    for (_, use), weights in taken_by.items():
        assert len(weights) == 1 or sum(weights) <= budget.shares[use]
