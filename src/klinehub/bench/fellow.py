"""A hub of `cluster`: one of those that share a market out, in a process of its own, to be killed."""

import asyncio
import sys

import msgspec

from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import obey, say
from klinehub.compiled import ensure
from klinehub.feed.network import RealNetwork
from klinehub.relay.clustered import ClusteredHub
from klinehub.settings import HubSettings


class Task(msgspec.Struct, frozen=True):
    """What hub to be: its name, its exchange, how fast that runs, and where others are."""

    name: str
    exchange: Neighbour
    rate: float
    url: str
    bars: int

    @property
    def settings(self) -> HubSettings:
        """The settings of the hub."""
        return self.exchange.settings(bars=self.bars, cluster=self.url, hub_name=self.name)


class Standing(msgspec.Struct, frozen=True):
    """How many symbols are followed, are this hub's own, and are stale."""

    symbols: int
    own: int
    stale: int


async def live(task: Task) -> None:
    """Be the hub; each line on stdin is answered with how it stands, "reset" cuts its streams first."""
    await ensure()
    clock = task.exchange.clock(task.rate)
    async with ClusteredHub(task.settings, clock=clock, network=RealNetwork(), jitter=lambda: 0.5) as hub:
        loop = asyncio.get_running_loop()
        _say(hub)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if line.strip() == "reset":
                for seat in hub.live.seats:
                    seat.renew("the benchmark cuts it", overlap=False)
            _say(hub)


def _say(hub: ClusteredHub) -> None:
    stats = hub.relay_stats()
    standing = Standing(len(hub.symbols), int(stats["relay_own"]), len(hub.all_stale(hub.symbols)))
    say(standing)


if __name__ == "__main__":
    obey(live, Task)
