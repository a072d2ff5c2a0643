"""ccxt reads what comes in a burst to its end, as the bridge has it set up."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from klinehub.bridge.library import exchange_of

BURST = 6_000


async def burst(request: web.Request) -> web.WebSocketResponse:
    """Send many messages at once to whoever has asked for something."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.receive()
    for number in range(BURST):
        await socket.send_str(f'{{"number":{number},"filling":"{"x" * 300}"}}')
    await socket.receive()
    return socket


@pytest.mark.timeout(90)
async def test_a_burst_of_thousands_is_read_to_its_end() -> None:
    app = web.Application()
    app.router.add_get("/ws", burst)
    exchange, seen, over = exchange_of("binanceusdm"), list[int](), asyncio.Event()

    def take(_: object, message: dict[str, Any]) -> None:
        seen.append(message["number"])
        if len(seen) == BURST:
            over.set()

    exchange.handle_message = take
    async with TestServer(app) as server:
        url = f"ws://{server.host}:{server.port}/ws"
        watching = exchange.watch(url, "never", {"id": 1}, "never")
        try:
            async with asyncio.timeout(60):
                await over.wait()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await exchange.close()

    assert seen == list(range(BURST))
