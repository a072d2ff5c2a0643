"""The hub of `store` in a process of its own: it comes up with what its store has, and tells how it went."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec

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


def told(**words: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """Print a line at once."""
    sys.stdout.write(msgspec.json.encode(words).decode() + "\n")
    sys.stdout.flush()


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
        told(served=bars, symbols=len(hub.symbols), restored=hub.get_stats()["restored_bars"])
        begun = time.monotonic()
        while hub.get_stats()["stale_symbols"] or hub.core.missing(hub.now()):
            if time.monotonic() - begun > LONGEST:
                break
            await asyncio.sleep(LOOK_EVERY)
        stats = hub.get_stats()
        told(stale=stats["stale_symbols"], weight=hub.gate.spent, requests=hub.gate.calls)


def main() -> None:
    """Read the task from stdin and do it."""
    import uvloop  # noqa: PLC0415 - the loop that the command line uses, absent on some systems

    task = msgspec.json.decode(sys.stdin.readline(), type=Task)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(live(task))


if __name__ == "__main__":
    main()
