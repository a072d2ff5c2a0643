"""The hub of `store` in a process of its own: it comes up with what its store has, and tells how it went."""

import asyncio
import time
from pathlib import Path
from typing import Final

import msgspec

from klinehub.bench.process import obey, say
from klinehub.compiled import ensure
from klinehub.domain.clock import Clock
from klinehub.feed.network import RealNetwork
from klinehub.hub import Hub
from klinehub.settings import HubSettings
from klinehub.store.hot import HotStore
from klinehub.store.sealing import Stores
from klinehub.store.sqlite import SqliteTables

LONGEST: Final = 120.0
LOOK_EVERY: Final = 0.02


class Task(msgspec.Struct, frozen=True):
    """Where the exchange and the store are, how many bars to keep, and how far (ms) time has gone there.

    `share` of the weight limit is spent, None lifts it.
    """

    rest_url: str
    stream_url: str
    folder: str
    bars: int
    ahead: int = 0
    share: float | None = None


async def live(task: Task) -> None:
    """Start, read, and wait until everything is fresh and kept."""
    settings = HubSettings(
        rest_url=task.rest_url, stream_url=task.stream_url, bars=task.bars, share=task.share
    )
    clock = Clock(int(time.time() * 1000) + task.ahead, 1.0, time.monotonic)

    def stores() -> Stores:
        return Stores(HotStore(SqliteTables(Path(task.folder) / "hot.sqlite3", origin="bench")))

    await ensure()
    async with Hub(
        settings, clock=clock, network=RealNetwork(), jitter=lambda: 0.5, open_store=stores
    ) as hub:
        frame = hub.timeframes[0].name
        bars = len(hub.klines(hub.symbols[0], frame, task.bars))
        say({"served": bars, "symbols": len(hub.symbols), "restored": hub.get_stats()["restored_bars"]})
        begun = time.monotonic()
        while hub.get_stats()["stale_symbols"] or hub.core.missing(hub.now()):
            if time.monotonic() - begun > LONGEST:
                break
            await asyncio.sleep(LOOK_EVERY)
        stats = hub.get_stats()
        say({"stale": stats["stale_symbols"], "weight": hub.gate.spent, "requests": hub.gate.calls})


if __name__ == "__main__":
    obey(live, Task)
