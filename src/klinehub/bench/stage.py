"""The stage of a benchmark: an unmodified hub on an unmodified exchange, in one process, on virtual time.

Waiting takes no real time there, so that minutes of waiting for the network or for the weight limit are
measured in virtual seconds. What the machine computes takes no virtual time and is measured as CPU.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final, TypeVar

import aiohttp
import msgspec

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import MINUTE
from klinehub.hub import Hub
from klinehub.settings import HubSettings
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.loop import USUAL_DELAY, SimLoop, SimNetwork, run
from klinehub.sim.synthetic import synthetic
from klinehub.sim.wire import Delay, steady

T = TypeVar("T")
# A Thursday noon: every timeframe up to an hour opens here.
NOON: Final = 1_795_089_600_000
SYMBOLS: Final = 550
# Half of it on the way there, half on the way back.
REQUEST_SECONDS: Final = 0.1
REQUEST_DELAY: Final = steady(REQUEST_SECONDS / 2)


class CountingNetwork(SimNetwork):
    """The network of virtual time that also counts the answers by their HTTP status."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()

    def session(self, url: str, *, timeout: float) -> aiohttp.ClientSession:
        """Give a new HTTP session whose answers are counted; the caller closes it."""
        session = super().session(url, timeout=timeout)
        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(self._count)
        trace.freeze()
        session.trace_configs.append(trace)
        return session

    async def _count(self, _: aiohttp.ClientSession, __: object, end: aiohttp.TraceRequestEndParams) -> None:
        self.statuses[end.response.status] += 1


@dataclass(slots=True)
class Stage:
    """A hub that has started, and what its start took: virtual seconds, CPU seconds of hub and exchange."""

    hub: Hub
    seconds: float
    cpu_seconds: float
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def warm_seconds(self) -> float:
        """Virtual seconds of the warm-up's requests alone."""
        return self.hub.summary.seconds if self.hub.summary is not None else 0.0


@asynccontextmanager
async def staged(
    loop: SimLoop, settings: HubSettings, *, symbols: int, seed: int, start: int, limits: bool
) -> AsyncIterator[Stage]:
    """Start an exchange with *symbols* at market time *start* and a hub on it."""
    clock = Clock(start, 1.0, loop.time)
    exchange = Exchange(synthetic(symbols, seed, start=start), clock, limits=limits)
    served = await serve(exchange, port=0, ws_port=0)
    there = {"rest_url": served.rest_url, "stream_url": f"{served.ws_url}/market/stream"}
    network = CountingNetwork()
    hub = Hub(
        msgspec.structs.replace(settings, **there, tradifi=True),
        clock=clock,
        network=network,
        jitter=lambda: 0.5,
    )
    begun, cpu = loop.time(), time.process_time()
    async with hub:
        yield Stage(hub, loop.time() - begun, time.process_time() - cpu, network.statuses)
    await served.close()


def with_hub(
    work: Callable[[Stage], Awaitable[T]],
    settings: HubSettings,
    *,
    symbols: int,
    seed: int,
    start: int = NOON + 7 * MINUTE + 30_000,
    limits: bool = False,
    delay: Delay = USUAL_DELAY,
) -> T:
    """Run *work* on a staged hub and give its result; without *limits* both sides lift the weight limit."""
    if not limits:
        settings = msgspec.structs.replace(settings, share=None)

    async def main(loop: SimLoop) -> T:
        async with staged(loop, settings, symbols=symbols, seed=seed, start=start, limits=limits) as stage:
            return await work(stage)

    return run(main, seed=seed, delay=delay)


def cpu_seconds(work: Callable[[], object], *, rounds: int) -> list[float]:
    """Measure the CPU seconds of each of *rounds* calls, after one that is not counted."""
    work()
    taken = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return taken


def middle(values: list[float]) -> float:
    """Give the median."""
    return median(values)
