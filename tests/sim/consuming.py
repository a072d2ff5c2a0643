"""Clients of a served hub and of the exchange behind it, on one virtual-time loop."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp import WSMsgType
from tests.sim.worlds import HOUR, World, play, port_of

from klinehub.serve.markets import Markets
from klinehub.serve.site import Site
from klinehub.serve.stream_parts import STREAMS, in_streams, streamed
from klinehub.serve.streams import HubStreams
from klinehub.settings import ServeSettings
from klinehub.sim.loop import SimNetwork
from klinehub.sim.wire import Link

_UNTOLD: Final = re.compile(r'"E":\d+|"f":-?\d+,"L":-?\d+')
CLOSED: Final = '"x":true'


@dataclass
class Reader:
    """One client: what it was told with the exchange time of each frame, and how it ended."""

    socket: aiohttp.ClientWebSocketResponse
    link: Link
    world: World
    got: list[tuple[int, str]] = field(default_factory=list)
    code: int | None = None
    task: "asyncio.Task[None] | None" = None

    async def read(self) -> None:
        """Read until the connection ends."""
        while True:
            message = await self.socket.receive()
            if message.type is WSMsgType.PING:
                await self.socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                self.got.append((self.world.clock.now(), message.data))
            else:
                self.code = message.data if message.type is WSMsgType.CLOSE else None
                return

    @property
    def frames(self) -> list[str]:
        """What it was told, without event times and trade ids."""
        return [plain(text) for _, text in self.got]

    @property
    def closes(self) -> dict[str, list[str]]:
        """The closes that it was told on each stream, the same way and in order."""
        found: dict[str, list[str]] = {}
        for _, text in self.got:
            if CLOSED in text:
                found.setdefault(name_of(json.loads(text)), []).append(plain(text))
        return found

    def assert_in_order(self) -> None:
        """Hold each stream to what clients rely on: bars in order, each closed once, nothing after that."""
        last: dict[str, tuple[int, bool, int]] = {}
        for _, text in self.got:
            event = json.loads(text)
            name, bar = name_of(event), event.get("data", event)["k"]
            opened, closed, trades = last.get(name, (0, True, 0))
            assert bar["t"] > opened or (bar["t"] == opened and not closed and bar["n"] >= trades), text
            last[name] = (bar["t"], bar["x"], bar["n"])


def name_of(event: dict[str, Any]) -> str:
    """Give the stream that an event is of."""
    event = event.get("data", event)
    if event["e"] == "continuous_kline":
        return f"{event['ps']}_{event['ct']}@continuousKline_{event['k']['i']}"
    return f"{event['s']}@kline_{event['k']['i']}"


def plain(frame: str) -> str:
    """Take event time and trade ids out of a frame."""
    return _UNTOLD.sub("", frame)


@dataclass
class Room:
    """A served hub, the exchange that it follows, and clients of both."""

    world: World
    site: Site
    session: aiohttp.ClientSession
    streams: HubStreams
    readers: list[Reader] = field(default_factory=list)

    async def connect(self, path: str, *, url: str = "") -> Reader:
        """Open a connection to the hub, or to *url*, and read everything as it comes."""
        base = url or self.site.ws_url
        socket = await self.session.ws_connect(base + path, autoping=False)
        links = [link for link in self.world.loop.links if link.server[1] == port_of(base)]
        reader = Reader(socket, links[-1], self.world)
        self.readers.append(reader)
        reader.task = asyncio.create_task(reader.read())
        return reader

    async def both(self, path: str) -> tuple[Reader, Reader]:
        """Open a connection to the exchange and one to the hub."""
        return await self.connect(path, url=self.world.served.ws_url), await self.connect(path)

    async def until_one_is_cut(self) -> None:
        """Wait until a client was too slow."""
        while not self.streams.stats()["clients_cut"]:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.1)

    async def until(self, second: float) -> None:
        """Wait until so many seconds after the start's minute, market time."""
        await asyncio.sleep(max(0.0, (HOUR + second * 1000 - self.world.clock.now()) / 1000))


def in_room(test: Callable[[Room], Awaitable[None]], **settings: Any) -> None:
    """Run *test* on a served hub in a world of its own."""

    async def act(world: World) -> None:
        serve = ServeSettings(port=0, ws_port=0)
        async with AsyncExitStack() as stack:
            site = await stack.enter_async_context(Site(serve))
            session = await stack.enter_async_context(SimNetwork().session(site.rest_url, timeout=30.0))
            ours = HubStreams(world.hub)
            site.open(
                {**in_streams(Markets(world.hub), ours), **dict.fromkeys(STREAMS, streamed(lambda: ours))}
            )
            room = Room(world, site, session, ours)
            try:
                await test(room)
            finally:
                for reader in room.readers:
                    reader.link.reset()
                await asyncio.sleep(0.1)

    play(act, **settings)


def streams(symbols: Iterable[str], *frames: str) -> str:
    """Give the names of kline streams, as a URL has them."""
    return "/".join(f"{symbol.lower()}@kline_{frame}" for symbol in symbols for frame in frames)
