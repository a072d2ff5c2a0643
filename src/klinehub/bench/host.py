"""The hub of `serve` and `page`: a real one in a process of its own, served, which tells its CPU time."""

import asyncio
import sys
import time
from typing import Final

import msgspec

from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import obey, say
from klinehub.bench.settled import deepened
from klinehub.compiled import ensure
from klinehub.feed.network import RealNetwork
from klinehub.hub import Hub
from klinehub.serve.parts import lent
from klinehub.serve.site import Site
from klinehub.settings import HubSettings, ServeSettings

# No caller of a benchmark is turned away for asking much.
UNLIMITED: Final = 10_000_000


class Task(msgspec.Struct, frozen=True):
    """What hub to be, on which exchange, and how fast its time runs."""

    exchange: Neighbour
    rate: float = 1.0
    bars: int = HubSettings().bars
    tickers: bool = False

    @property
    def settings(self) -> HubSettings:
        """The settings of the hub."""
        return self.exchange.settings(bars=self.bars, tickers=self.tickers)


class Hosted(msgspec.Struct, frozen=True):
    """Where the hub answers, and what it follows."""

    rest_url: str
    ws_url: str
    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]


async def live(task: Task) -> None:
    """Serve a hub; each line on stdin is answered with the CPU seconds of this process, its end ends all."""
    await ensure()
    serving = ServeSettings(port=0, ws_port=0, client_weight=UNLIMITED)
    clock = task.exchange.clock(task.rate)
    async with (
        Site(serving) as site,
        Hub(task.settings, clock=clock, network=RealNetwork(), jitter=lambda: 0.5) as hub,
        lent(hub, serving, site),
    ):
        await deepened(hub)
        frames = tuple(frame.name for frame in hub.timeframes)
        say(Hosted(site.rest_url, site.ws_url, hub.symbols, frames))
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            say(time.process_time())


if __name__ == "__main__":
    obey(live, Task)
