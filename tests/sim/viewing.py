"""Pages of a served hub's board on virtual time: what each was told, by kind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from aiohttp import WSMsgType
from tests.sim.served import Lent
from tests.sim.worlds import port_of

from klinehub.serve.board.live import LIVE
from klinehub.sim.wire import Link

Told = dict[str, Any]


@dataclass
class Looker:
    """One page that is connected: everything that it was told, in order, and how it ended."""

    socket: aiohttp.ClientWebSocketResponse
    link: Link
    got: list[Told] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    code: int | None = None
    ended: bool = False
    asked: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Read until the connection ends."""
        while (message := await self.socket.receive()).type is WSMsgType.TEXT:
            self.texts.append(message.data)
            self.got.append(msgspec.json.decode(message.data))
            self.news.set()
        self.code = message.data if message.type is WSMsgType.CLOSE else None
        self.ended = True
        self.news.set()

    def of(self, kind: str) -> list[Told]:
        """Give the messages of one kind."""
        return [one for one in self.got if one["type"] == kind]

    def last(self, kind: str) -> Told:
        """Give the newest message of one kind."""
        return self.of(kind)[-1]

    async def send(self, **message: Any) -> None:
        """Send a message."""
        await self.socket.send_str(msgspec.json.encode(message).decode())

    async def view(self, *columns: str, timeframe: str = "15m", **more: Any) -> Told:
        """Look at something; gives what is wrong with it."""
        self.asked += 1
        await self.send(type="view", id=self.asked, timeframe=timeframe, columns=columns, **more)
        answer = await self.next("view", id=self.asked)
        errors: Told = answer["errors"]
        return errors

    async def table(self, *columns: str, **more: Any) -> Told:
        """Look at something that nothing is wrong with; gives its first table."""
        assert await self.view(*columns, **more) == {}
        return await self.next("table", view=self.asked)

    async def next(self, kind: str, **values: Any) -> Told:
        """Wait for a message of one kind with these values, among those that came already too."""
        return await self.until(kind, lambda one: all(one[name] == value for name, value in values.items()))

    async def until(self, kind: str, fits: Callable[[Told], bool]) -> Told:
        """Wait for a message of one kind that fits, among those that came already too."""
        async with asyncio.timeout(1_000.0):
            while not (found := [one for one in self.of(kind) if fits(one)]):
                assert not self.ended, f"ended with {self.code} before {kind}"
                self.news.clear()
                await self.news.wait()
        return found[-1]


@asynccontextmanager
async def looking(lent: Lent, path: str = LIVE, **more: Any) -> AsyncIterator[Looker]:
    """Connect a page for as long as the block runs."""
    async with lent.session.ws_connect(lent.url + path, **more) as socket:
        port = port_of(lent.url)
        looker = Looker(socket, [link for link in lent.world.loop.links if link.server[1] == port][-1])
        reading = asyncio.create_task(looker.read())
        try:
            yield looker
        finally:
            looker.link.reset()
            reading.cancel()
            await asyncio.wait([reading])
