"""A hub on a simulated exchange over real sockets, served as a user serves it."""

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from klinehub import compiled
from klinehub.domain.clock import Clock
from klinehub.feed.network import RealNetwork
from klinehub.hub import Hub
from klinehub.serve.parts import lent as lend
from klinehub.serve.site import Site
from klinehub.settings import HubSettings, ServeSettings
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.market import Market


@dataclass(frozen=True)
class Lent:
    """The exchange, the hub that follows it, and where the hub is served."""

    exchange: Served
    hub: Hub
    rest_url: str
    ws_url: str


@asynccontextmanager
async def lent(market: Market, start: int, rate: float, **settings: Any) -> AsyncIterator[Lent]:
    """Open *market* at *start* (ms), *rate* times as fast as real time, and serve a hub of it."""
    # A cold cache would be compiled inside of the hub: minutes of this exchange's time.
    await compiled.ensure()
    clock = Clock(start, rate, time.monotonic)
    served = await serve(Exchange(market, clock), port=0, ws_port=0)
    there: dict[str, Any] = {"rest_url": served.rest_url, "stream_url": f"{served.ws_url}/market/stream"}
    if market.spot:
        there = {
            "rest_url": served.rest_url,
            "stream_url": f"{served.ws_url}/stream",
            "exchange": "binance-spot",
        }
    wanted = HubSettings(**there, **{"bars": 100, "share": None} | settings)
    lending = ServeSettings(port=0, ws_port=0)
    hub = Hub(wanted, clock=clock, network=RealNetwork(), jitter=random.Random(1).random)
    try:
        async with Site(lending) as site, hub, lend(hub, lending, site):
            yield Lent(served, hub, site.rest_url, site.ws_url)
    finally:
        await served.close()
