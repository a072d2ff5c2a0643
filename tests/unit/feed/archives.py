"""A simulated archive and a reader of it, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from klinehub.domain.clock import Clock
from klinehub.feed.archive import Archive
from klinehub.feed.archive_names import ArchiveFile, file_of
from klinehub.feed.network import RealNetwork
from klinehub.sim.archive import ArchiveServer
from klinehub.sim.market import Market
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import synthetic

NOW = 1_790_000_000_000  # 2026-09-21 13:33:20
FUTURES = synthetic(12, 5, start=NOW)
SPOT = SpotMarket(FUTURES)


class Scene(NamedTuple):
    """The server, what it serves, and a reader."""

    server: ArchiveServer
    archive: Archive
    market: Market


@asynccontextmanager
async def archived(*, within: float = 10.0, pauses: tuple[float, ...] = (0.0, 0.0)) -> AsyncIterator[Scene]:
    """Serve the archives of a futures and a spot market whose clock stands at NOW."""
    server = ArchiveServer([FUTURES, SPOT], Clock(NOW, 1.0, lambda: 0.0))
    await server.start("127.0.0.1", 0)
    archive = Archive(RealNetwork(), server.url, server.url, timeout=within, pauses=pauses)
    try:
        yield Scene(server, archive, FUTURES)
    finally:
        await archive.close()
        await server.close()


def kline_file(name: str, *, span: str = "daily", root: str = "data/futures/um") -> ArchiveFile:
    """Name a file of bars as the archive does."""
    symbol, what = name.split("-")[:2]
    found = file_of(f"{root}/{span}/klines/{symbol}/{what}/{name}.zip")
    assert found is not None
    return found
