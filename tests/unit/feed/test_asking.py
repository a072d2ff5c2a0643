"""The exchange's time, read through a gate that may make it wait."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from klinehub.domain.clock import Clock
from klinehub.feed.asking import sync
from klinehub.feed.budget import WeightGate
from klinehub.feed.rest import Answer
from klinehub.sim.loop import SimLoop, run

AHEAD = 7_000


class Exchange:
    """Answers with its own time, *AHEAD* of ours, 40 ms after the gate let the question through."""

    def __init__(self, gate: WeightGate, clock: Clock, loop: SimLoop) -> None:
        self.gate, self.clock, self.loop = gate, clock, loop

    async def ask(self, path: str, params: Mapping[str, Any], *, weight: int) -> Answer:
        asked = await self.gate.take(weight)
        await asyncio.sleep(0.02)
        body = json.dumps({"serverTime": self.clock.now() + AHEAD}).encode()
        await asyncio.sleep(0.02)
        self.gate.landed(weight)
        return Answer(body, asked)


def test_a_wait_for_the_budget_is_no_part_of_the_round_trip() -> None:
    async def read(loop: SimLoop) -> tuple[int, float]:
        clock = Clock(1_700_000_040_000, 1.0, loop.time)
        gate = WeightGate(clock, limit=100, share=1.0)
        exchange: Any = Exchange(gate, clock, loop)
        gate.landed(await _spend(gate, 100))
        await sync(exchange, gate)
        return gate.offset, loop.time()

    offset, waited = run(read)

    assert waited > 10
    assert abs(offset - AHEAD) <= 1


async def _spend(gate: WeightGate, weight: int) -> int:
    await gate.take(weight)
    return weight
