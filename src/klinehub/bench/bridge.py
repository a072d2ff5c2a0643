"""`bridge`: how long after a bar's end all symbols of an exchange behind ccxt are closed, and its warm-up."""

import asyncio
from typing import Any, Final

import msgspec

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import Process
from klinehub.bridge.bridge import Bridge
from klinehub.bridge.library import exchange_of
from klinehub.compiled import ensure
from klinehub.hub import Hub
from klinehub.settings import HubSettings

NAME: Final = "binanceusdm"


def measure(seed: int, *, symbols: int = 100, closes: int = 3, rate: float = 1.0) -> Measurement:
    """Give the worst of the market seconds from a minute's end to its complete close."""
    with Process("klinehub.bench.neighbour", str(symbols), str(seed), str(rate)) as exchange:
        where = msgspec.json.decode(exchange.line(), type=Neighbour)
        detail = asyncio.run(_followed(where, symbols, closes, rate))
    return Measurement(max(detail["close_seconds"]), "s", detail)


async def _followed(where: Neighbour, symbols: int, closes: int, rate: float) -> dict[str, Any]:
    """Follow the exchange as one that only ccxt knows."""
    await ensure()
    clock = where.clock(rate)
    wanted = HubSettings(
        exchange=f"ccxt:{NAME}", timeframes=("1m", "15m"), most_symbols=symbols, share=None, audit=0
    )
    ccxt = exchange_of(NAME, rest_url=where.rest_url, stream_url=where.stream_url)
    bridge, took = Bridge(ccxt, wanted, clock), list[float]()
    await bridge.open(())
    try:
        async with asyncio.TaskGroup() as group:
            live = group.create_task(bridge.run())
            async with Hub(bridge.settings, clock=clock, network=bridge, jitter=lambda: 0.5) as hub:
                complete = 0
                async for event in hub.closes():
                    if event.timeframe != "1m":
                        continue
                    ended = hub.panel("1m").timeframe.close_time(event.bar) + 1
                    took.append(rounded((hub.now() - ended) / 1000))
                    complete += event.complete
                    if len(took) == closes:
                        break
            live.cancel()
    finally:
        await bridge.close()
    summary = hub.summary
    return {
        "close_seconds": took,
        "complete": complete,
        "symbols": len(hub.symbols),
        "least": rounded(2.05 + len(hub.symbols) * bridge.upstream.spacing * rate),
        "warmup_seconds": rounded(summary.seconds if summary else 0.0),
        "warmup_requests": summary.requests if summary else 0,
        "rate_limit_ms": bridge.upstream.exchange.rateLimit,
        "updates": hub.core.counts.updates,
    }
