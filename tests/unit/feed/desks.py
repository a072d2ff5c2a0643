"""A REST client, its gate and an exchange that answers what a test wants, on virtual time."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from klinehub.domain.clock import Clock
from klinehub.errors import FeedError
from klinehub.feed.budget import MINUTE, WeightGate
from klinehub.feed.rest import RestClient
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.wire import steady

START = 29_000_000 * MINUTE
NOW = START + 10_000
DATE = formatdate(NOW / 1000, usegmt=True)
BASE = "http://127.0.0.1:8080"
KLINES = "/fapi/v1/klines"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Exchange:
    """Answers with what the test wants, one reply after the other, the last one for ever."""

    def __init__(self, *replies: web.StreamResponse | Handler | dict[str, Any]) -> None:
        self.replies = list(replies)
        self.requests: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, dict):
            # Without one the server would tell the machine's own time.
            return web.Response(**reply | {"headers": {"Date": DATE, **reply.get("headers", {})}})
        return reply if isinstance(reply, web.StreamResponse) else await reply(request)


class Desk:
    """A client, its gate and the exchange that it asks."""

    def __init__(self, loop: SimLoop, exchange: Exchange) -> None:
        clock = Clock(NOW, 1.0, loop.time)
        self.exchange = exchange
        self.gate = WeightGate(clock, limit=100, share=0.8)
        self.rest = RestClient(BASE, SimNetwork(), self.gate, clock)

    async def get(self, **params: str | int) -> bytes:
        return await self.rest.get(KLINES, params, weight=2)


@asynccontextmanager
async def desk(loop: SimLoop, *replies: web.StreamResponse | Handler | dict[str, Any]) -> AsyncIterator[Desk]:
    exchange = Exchange(*replies)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", exchange.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 8080).start()
    made = Desk(loop, exchange)
    try:
        yield made
    finally:
        await made.rest.close()
        await runner.cleanup()


def refused(kind: type[FeedError], match: str, **reply: Any) -> tuple[FeedError, Desk]:
    """Answer one request with *reply*, expect an error of *kind* and give it."""

    async def main(loop: SimLoop) -> tuple[FeedError, Desk]:
        async with desk(loop, reply) as made:
            with pytest.raises(kind, match=match) as caught:
                await made.get(symbol="BTCUSDT")
            return caught.value, made

    error, made = run(main, delay=steady(0.01))
    assert type(error) is kind
    return error, made


def exchange_error(code: int, text: str) -> str:
    return json.dumps({"code": code, "msg": text})
