"""The drop-in on virtual time: a hub's answers, held against the exchange's own at the same moment."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import aiohttp
import pytest
from tests.sim.worlds import HOUR, World, play

from klinehub.serve.parts import parts_of
from klinehub.serve.site import Site
from klinehub.settings import ServeSettings
from klinehub.sim.loop import SimNetwork

pytestmark = pytest.mark.timeout(180)
KLINES: Final = "/fapi/v1/klines"


class Counter(NamedTuple):
    """A served hub and the exchange that it follows, to be asked the same."""

    world: World
    session: aiohttp.ClientSession
    hub_url: str

    async def ask(self, url: str, path: str, **params: Any) -> tuple[int, bytes]:
        """Ask one of the two; gives status and body."""
        async with self.session.get(url + path, params=params) as answer:
            return answer.status, await answer.read()

    async def both(self, path: str, **params: Any) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
        """Ask the exchange and the hub at one moment; gives status and body of each.

        It lies a tenth of a second after a pulse: then both know the same of the open bar.
        """
        await asyncio.sleep((350 - self.world.clock.now() % 250) / 1000)
        exchange = self.ask(self.world.served.rest_url, path, **params)
        first, second = await asyncio.gather(exchange, self.ask(self.hub_url, path, **params))
        return first, second

    async def until(self, second: float) -> None:
        """Wait until so many seconds after the start's minute, market time."""
        await asyncio.sleep(max(0.0, (HOUR + second * 1000 - self.world.clock.now()) / 1000))


def at_counter(
    test: Callable[[Counter], Awaitable[None]], *, serve: ServeSettings | None = None, **settings: Any
) -> None:
    """Run *test* on a served hub in a world of its own."""

    async def act(world: World) -> None:
        settings = serve or ServeSettings(port=0, ws_port=0)
        async with Site(settings) as site, SimNetwork().session(site.rest_url, timeout=30.0) as session:
            site.open(parts_of(world.hub, settings))
            await test(Counter(world, session, site.rest_url))

    play(act, **settings)


def test_klines_are_byte_for_byte_those_of_the_exchange() -> None:
    async def test(counter: Counter) -> None:
        await counter.until(90)
        for frame in ("1m", "5m", "15m", "1h"):
            for symbol in counter.world.hub.symbols:
                for more in (
                    {},
                    {"limit": 1},
                    {"limit": 20},
                    {"startTime": HOUR - 600_000, "limit": 5},
                    {"endTime": HOUR},
                ):
                    wanted = {"symbol": symbol, "interval": frame, "limit": 10, **more}
                    exchange, hub = await counter.both(KLINES, **wanted)
                    assert hub == exchange, wanted

    at_counter(test)
