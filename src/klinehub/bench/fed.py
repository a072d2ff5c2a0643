"""One who is fed in `cluster`: a panel in a process of its own that notes when each minute closed in it."""

import asyncio
import sys
import time

import msgspec
import numpy as np

from klinehub.bench.process import obey, say
from klinehub.bench.tape import FRAMES, Tape
from klinehub.errors import RelayError
from klinehub.feed.closing import Closing
from klinehub.feed.core import Core
from klinehub.relay.feeding import Feeding
from klinehub.relay.intake import Intake
from klinehub.relay.link import connected
from klinehub.relay.messages import Bars, Listed, Pulse
from klinehub.relay.subjects import Subjects


class Task(msgspec.Struct, frozen=True):
    """Where to listen, and for which tape; without a *panel* what comes is only read."""

    url: str
    subjects: Subjects
    symbols: int
    seed: int
    bars: int
    now: int
    panel: bool = True


class Panel:
    """What is told, merged as a hub does; `closed` is when (monotonic seconds) each minute did."""

    def __init__(self, task: Task) -> None:
        ring = Tape(task.symbols, task.seed).ring(task.bars)
        core = Core(ring, wanted=task.bars)
        core.watch(ring.symbols)
        closing = Closing(ring, core.roster, 3_600_000)
        closing.begin(task.now)
        self.closed: dict[int, float] = {}
        self._intake = Intake(core, closing, lambda: np.zeros(ring.capacity, bool))

    def on_bars(self, told: Bars) -> None:
        """Merge a bar."""
        for event in self._intake.on_bars(told, told.time).closed:
            if event.timeframe == FRAMES[0].name:
                self.closed[event.bar] = time.monotonic()


class Reader:
    """One that only counts."""

    def __init__(self) -> None:
        self.closed: dict[int, float] = {}

    def on_bars(self, told: Bars) -> None:
        """Note a bar."""
        if told.timeframe == FRAMES[0].name:
            self.closed.setdefault(told.bar, time.monotonic())


async def live(task: Task) -> dict[int, float]:
    """Listen until stdin says so, then give what has closed when."""
    panel = Panel(task) if task.panel else Reader()
    feeding = Feeding(
        f"fed-{id(task)}",
        bars=task.bars,
        on_bars=panel.on_bars,
        on_pulse=_nothing,
        on_listing=_nothing,
        aside=_complain,
        on_wait=lambda _: None,
    )
    feeding.ready.set()
    loop = asyncio.get_running_loop()
    async with connected(task.url, task.subjects, "fed") as link:
        reading = asyncio.create_task(feeding.run(link))
        await feeding.caught_up.wait()
        say("ready")
        await loop.run_in_executor(None, sys.stdin.readline)
        reading.cancel()
        await asyncio.wait([reading])
    return panel.closed


def _nothing(_: Pulse | Listed) -> None:
    """Leave it."""


def _complain(why: str) -> None:
    raise RelayError(why)


if __name__ == "__main__":
    obey(live, Task)
