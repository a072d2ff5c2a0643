"""The hubs of `markets`: two markets followed and lent by one process, which then tells what it took."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec

from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import obey
from klinehub.bench.settled import LOOK, deepened
from klinehub.bench.tenant import MEGA, peak_bytes
from klinehub.compiled import ensure
from klinehub.domain.clock import Clock
from klinehub.domain.resident import resident_bytes
from klinehub.errors import FeedError
from klinehub.feed.network import RealNetwork
from klinehub.feed.venue import SPOT
from klinehub.hub import Hub
from klinehub.serve.markets import Further, Markets
from klinehub.serve.parts import lent
from klinehub.serve.site import Site
from klinehub.settings import HubSettings, ServeSettings

LONGEST: Final = 240.0


class Task(msgspec.Struct, frozen=True):
    """Which exchange to follow, how many bars to keep, and for how many seconds to be watched."""

    exchange: Neighbour
    bars: int
    seconds: float


async def live(task: Task) -> dict[str, Any]:
    """Follow both markets as `klinehub run --also` does, watch them for a while and give the figures."""
    await ensure()
    where, clock = task.exchange, Clock(int(time.time() * 1000), 1.0, time.monotonic)
    first = HubSettings(
        rest_url=where.rest_url, stream_url=where.stream_url, bars=task.bars, share=None, tickers=True
    )
    spot = first.of_market(SPOT.name, rest_url=where.spot_rest_url, stream_url=where.spot_stream_url)

    def opened(settings: HubSettings) -> Hub:
        return Hub(settings, clock=clock, network=RealNetwork(), jitter=lambda: 0.5)

    async with AsyncExitStack() as stack:
        serving = ServeSettings(port=0, ws_port=0)
        site = await stack.enter_async_context(Site(serving))
        hub = await stack.enter_async_context(opened(first))
        markets = Markets(hub, [Further(SPOT.name, lambda: opened(spot))])
        await stack.enter_async_context(markets.following())
        await stack.enter_async_context(lent(hub, serving, site, markets=markets))
        await _settled(markets)
        return await _watched(markets, task.seconds)


async def _settled(markets: Markets) -> None:
    """Wait until both are live with their whole history; raises FeedError where that takes too long."""
    try:
        async with asyncio.timeout(LONGEST):
            # Nobody is told when a further one is live.
            while len(markets.there) <= len(markets.further):  # noqa: ASYNC110
                await asyncio.sleep(LOOK)
            for hub in markets.there:
                await deepened(hub)
    except TimeoutError:
        raise FeedError(f"Not live within {LONGEST:.0f} s: {markets.stats()}") from None


async def _watched(markets: Markets, seconds: float) -> dict[str, Any]:
    """Measure the CPU of this process, and count what came in meanwhile."""
    there = markets.there
    before = [(hub.core.counts.updates, hub.core.counts.closes) for hub in there]
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    each: dict[str, dict[str, Any]] = {}
    for hub, (updates, closes) in zip(there, before, strict=True):
        told = hub.get_stats()
        each[hub.settings.exchange] = {
            "symbols": len(hub.symbols),
            "updates_per_second": round((hub.core.counts.updates - updates) / took, 1),
            "closes": hub.core.counts.closes - closes,
            **{name: told[name] for name in ("stale_symbols", "missing_bars", "rest_weight")},
            "panel_mb": round(hub.ring.bytes / MEGA, 1),
        }
    return {
        "cpu_percent": round(cpu / took * 100, 2),
        "symbols": sum(one["symbols"] for one in each.values()),
        "updates_per_second": round(sum(one["updates_per_second"] for one in each.values()), 1),
        "resident_mb": round(resident_bytes() / MEGA, 1),
        "peak_mb": round(peak_bytes() / MEGA, 1),
        "watched_seconds": round(took, 1),
        "markets": each,
    }


if __name__ == "__main__":
    obey(live, Task)
