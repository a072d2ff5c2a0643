"""A simulated exchange on virtual time, for tests that would take minutes or hours of real time."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import aiohttp

from klinehub.domain.clock import Clock
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.synthetic import synthetic

T = TypeVar("T")
# 2026-11-21 09:15:12.345 UTC
START = 1_795_252_512_345


class Scene(NamedTuple):
    """What a test gets: a client session, the running exchange and its clock."""

    session: aiohttp.ClientSession
    served: Served
    clock: Clock

    async def get(self, path: str, **params: str | int) -> tuple[int, Any, dict[str, str]]:
        """Ask REST; gives status, body and headers."""
        async with self.session.get(self.served.rest_url + path, params=params) as answer:
            return answer.status, await answer.json(), {k.lower(): v for k, v in answer.headers.items()}

    async def connect(self, path: str) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket."""
        return await self.session.ws_connect(self.served.ws_url + path, autoping=False)


def on_exchange(test: Callable[[Scene], Awaitable[T]], *, symbols: int = 3, **settings: Any) -> T:
    """Run *test* against an exchange on virtual time and give what it returns."""

    async def main(loop: SimLoop) -> T:
        start = settings.pop("start", START)
        clock = Clock(start, settings.pop("speed", 1.0), loop.time)
        market = settings.pop("market", None) or synthetic(symbols, 1, start=start)
        served = await serve(Exchange(market, clock, **settings), port=8080, ws_port=8081)
        try:
            async with SimNetwork().session(served.rest_url, timeout=30.0) as session:
                return await test(Scene(session, served, clock))
        finally:
            await served.close()

    return run(main)
