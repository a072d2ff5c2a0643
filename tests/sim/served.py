"""A hub of a simulated world, served with its signals, to be asked over HTTP on virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec
from tests.sim.worlds import HOUR, World, play

from klinehub.scan.screen import Screen
from klinehub.serve.board.live import LiveBoard
from klinehub.serve.parts import lent
from klinehub.serve.signals import Signals
from klinehub.serve.site import Site
from klinehub.settings import ServeSettings
from klinehub.sim.loop import SimNetwork

ANYWHERE: Final = ServeSettings(port=0, ws_port=0)


class Answer(NamedTuple):
    """What was answered."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Lent(NamedTuple):
    """A served hub, its signals, and somebody who asks."""

    world: World
    signals: Signals
    session: aiohttp.ClientSession
    url: str
    live: LiveBoard

    async def ask(self, path: str, method: str = "GET", **params: Any) -> Answer:
        """Ask for something."""
        async with self.session.request(method, self.url + path, params=params) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def change(self, path: str, body: Any, **headers: str) -> Answer:
        """Change something, as the board does."""
        shown = {"X-Klinehub": "1"} | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.post(self.url + path, json=body, headers=shown) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def until(self, second: float) -> None:
        """Wait until so many seconds after the start's minute, market time."""
        await asyncio.sleep(max(0.0, (HOUR + second * 1000 - self.world.clock.now()) / 1000))


def lend(
    test: Callable[[Lent], Awaitable[None]],
    *,
    screens: Sequence[Screen] = (),
    alerting: Callable[[World], Mapping[str, Any]] = lambda _: {},
    serve: ServeSettings = ANYWHERE,
    **settings: Any,
) -> None:
    """Run *test* on a served hub in a world of its own, whose alerts are set by keywords of `Alerting`."""

    async def act(world: World) -> None:
        signals = Signals(world.hub, "binance-usdm", screens, **alerting(world))
        live = LiveBoard(signals)
        async with (
            Site(serve) as site,
            SimNetwork().session(site.rest_url, timeout=30.0) as session,
            signals.following(),
            lent(world.hub, serve, site, signals, live),
        ):
            await test(Lent(world, signals, session, site.rest_url, live))

    play(act, **settings)


class Counter(Lent):
    """A served hub, and the exchange that it follows to be asked the same."""

    async def get(
        self, url: str, path: str, params: Mapping[str, Any] | Sequence[tuple[str, str]]
    ) -> tuple[int, bytes]:
        """Ask one of the two; gives status and body."""
        async with self.session.get(url + path, params=params) as answer:
            return answer.status, await answer.read()

    async def both(self, path: str, params: Mapping[str, Any]) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
        """Ask the exchange and the hub at one moment; gives status and body of each."""
        await self.after_a_beat(250)
        exchange = self.get(self.world.served.rest_url, path, params)
        first, second = await asyncio.gather(exchange, self.get(self.url, path, params))
        return first, second

    async def after_a_beat(self, every: int) -> None:
        """Wait until some 100 ms after one of the beats of so many ms: then both know the same."""
        phase = self.world.clock.now() % every
        if not 60 < phase < 160:
            await asyncio.sleep((every + 100 - phase) / 1000)


def at_counter(test: Callable[[Counter], Awaitable[None]], **settings: Any) -> None:
    """Run *test* on a served hub in a world of its own, with its exchange beside it."""
    lend(lambda one: test(Counter(*one)), **settings)
