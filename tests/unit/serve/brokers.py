"""A broker, and the exchange that it asks, on virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from tests.unit.feed.desks import Exchange, Handler

from klinehub.domain.clock import Clock
from klinehub.feed.budget import MINUTE, WeightGate
from klinehub.feed.forwarded import Reply
from klinehub.feed.rest import RestClient
from klinehub.feed.use import Use
from klinehub.feed.venue import USDM, Venue
from klinehub.serve.broker import Broker, Upstream
from klinehub.sim.loop import SimLoop, SimNetwork

START: Final = 29_000_000 * MINUTE
NOW: Final = START + 10_000
DEPTH: Final = "/fapi/v1/depth"
INTEREST: Final = "/fapi/v1/openInterest"
ORDER: Final = "/fapi/v1/order"
LATE: Final = 0.5
BTC: Final = "symbol=BTCUSDT"


async def slow(request: web.Request) -> web.StreamResponse:
    """Answer after half a second with what was asked."""
    await asyncio.sleep(LATE)
    return web.json_response({"asked": request.path_qs})


@dataclass
class Rig:
    """A broker and all that it stands on; `ask` is one client's GET."""

    exchange: Exchange
    clock: Clock
    gate: WeightGate
    rest: RestClient
    broker: Broker

    async def ask(self, client: str, path: str = INTEREST, query: str = BTC, **more: Any) -> Reply:
        return await self.broker.forward(client, more.pop("method", "GET"), path, query, **more)

    async def spend(self, weight: int, use: Use) -> None:
        """Spend weight as a request does that is answered at once."""
        await self.gate.take(weight, use)
        self.gate.landed(weight, use)

    @property
    def asked(self) -> list[str]:
        """Give what reached the exchange, as it came."""
        return [request.raw_path for request in self.exchange.requests]


@asynccontextmanager
async def rig(
    loop: SimLoop,
    *replies: web.StreamResponse | Handler | dict[str, Any],
    limit: int = 2400,
    share: float | None = 0.8,
    venue: Venue = USDM,
    seconds: float = 10.0,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """Let an exchange answer what a test wants, and a broker ask it."""
    exchange = Exchange(*(replies or ({"text": "{}"},)))
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", exchange.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 8080).start()
    clock = Clock(NOW, 1.0, loop.time)
    gate = WeightGate(clock, limit=limit, share=share)
    rest = RestClient("http://127.0.0.1:8080", SimNetwork(), gate, clock, timeout=seconds, venue=venue)
    try:
        yield Rig(exchange, clock, gate, rest, Broker(lambda: [Upstream(rest, gate)], **settings))
    finally:
        await rest.close()
        await runner.cleanup()


def told(reply: Reply) -> tuple[int, int]:
    """Give status and error code of a reply in the exchange's dialect."""
    body = json.loads(reply.body)

    assert set(body) == {"code", "msg"}
    return reply.status, body["code"]
