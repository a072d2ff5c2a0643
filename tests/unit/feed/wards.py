"""Servers that a doctor is put in front of: an exchange that is well, or ill in a way of choice."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

from aiohttp import web

from klinehub.domain.clock import Clock
from klinehub.feed.diagnosis import Check, Diagnosis, Finding, diagnose
from klinehub.feed.doctor import Examination, Ward, examine
from klinehub.sim.loop import SimLoop, SimNetwork, run

MINUTE = 60_000
NOW = 29_000_000 * MINUTE + 10_000
ROW = [NOW // MINUTE * MINUTE, *"12345", NOW, "6", 7, "8", "9", "0"]
RESTRICTED = '{\n  "code": 0,\n  "msg": "Service unavailable from a restricted location"\n}'
Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]


class World:
    """An exchange that answers rightly unless told otherwise, and what it was asked.

    *rest* replaces every REST answer, *routes* are the WebSocket paths that carry klines, *upgrade*
    replaces the answer to every WebSocket.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        rest: dict[str, Any] | Serve | None = None,
        upgrade: dict[str, Any] | None = None,
        routes: tuple[str, ...] = ("/market/stream",),
        listed: str = "BTCUSDT",
    ) -> None:
        self.clock = clock
        self.rest = rest
        self.upgrade = upgrade
        self.routes = routes
        self.listed = listed
        self.asked: list[str] = []
        self.subscribed: list[tuple[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade") == "websocket":
            return self.wrong(self.upgrade) if self.upgrade else await self.stream(request)
        self.asked.append(request.path)
        if callable(self.rest):
            return await self.rest(request)
        return self.right(request) if self.rest is None else self.wrong(self.rest)

    def wrong(self, reply: dict[str, Any]) -> web.Response:
        headers = {"Date": formatdate(self.clock.now() / 1000, usegmt=True)} | reply.get("headers", {})
        return web.Response(**reply | {"headers": headers})

    def right(self, request: web.Request) -> web.Response:
        bodies: dict[str, Any] = {
            "ping": {},
            "time": {"serverTime": self.clock.now()},
            "klines": [ROW, ROW],
            "exchangeInfo": {"symbols": [LISTED | {"symbol": self.listed}]},
        }
        if request.query.get("symbol", self.listed) != self.listed:
            return web.json_response({"code": -1121, "msg": "Invalid symbol."}, status=400)
        return web.json_response(bodies[request.path.rpartition("/")[2]])

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        order = await ws.receive_json()
        self.subscribed.append((request.path, order["params"][0]))
        await ws.send_json({"result": None, "id": order["id"]})
        if request.path in self.routes and order["params"][0].startswith(self.listed.lower()):
            await asyncio.sleep(0.25)
            await ws.send_json({"stream": order["params"][0], "data": {"e": "kline", "k": {}}})
        await ws.receive()
        return ws


LISTED = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "contractType": "PERPETUAL",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
}


@asynccontextmanager
async def serving(world: World, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", world.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    try:
        yield port or int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


class Seen:
    """What an examination found, and what it cost."""

    def __init__(self, examination: Examination, world: World, seconds: float) -> None:
        self.findings = examination.findings
        self.banned_until = examination.banned_until
        self.world = world
        self.seconds = seconds
        self.diagnosis: Diagnosis = diagnose(examination.findings)

    def of(self, check: Check) -> Finding:
        return next(one for one in self.findings if one.check == check)


def seen(
    *, skew: int = 0, path: str = "/market/stream", banned_until: int = 0, dark: bool = False, **settings: Any
) -> Seen:
    """Examine an exchange in virtual time; our clock is *skew* ms ahead of the exchange's."""

    async def main(loop: SimLoop) -> Seen:
        world = World(Clock(NOW, 1.0, loop.time), **settings)
        async with serving(world, 8080) as port:
            if dark:
                loop.dark.add(("127.0.0.1", port))
            ward = Ward(SimNetwork(), world.clock.shifted(skew))
            urls = (f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}{path}")
            examination = await examine(ward, *urls, banned_until=banned_until)
            return Seen(examination, world, loop.time())

    return run(main)
