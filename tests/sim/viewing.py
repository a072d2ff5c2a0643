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

from klinehub.serve.board.live import LIVE


@dataclass
class Looker:
    """One page that is connected: everything that it was told, in order."""

    socket: aiohttp.ClientWebSocketResponse
    got: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    code: int | None = None
    _asked: int = 0

    async def read(self) -> None:
        """Read until the connection ends."""
        while True:
            message = await self.socket.receive()
            if message.type is not WSMsgType.TEXT:
                self.code = message.data if message.type is WSMsgType.CLOSE else None
                return
            self.texts.append(message.data)
            self.got.append(msgspec.json.decode(message.data))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Give the messages of one kind."""
        return [one for one in self.got if one["type"] == kind]

    def last(self, kind: str) -> dict[str, Any]:
        """Give the newest message of one kind."""
        return self.of(kind)[-1]

    async def view(self, *columns: str, timeframe: str = "15m", **more: Any) -> dict[str, Any]:
        """Look at something; gives the answer, with the first table where there is one."""
        self._asked += 1
        await self.send(type="view", id=self._asked, timeframe=timeframe, columns=columns, **more)
        answer = await self.next("view", lambda one: one["id"] == self._asked)
        return {"answer": answer}

    async def table(self, *columns: str, **more: Any) -> dict[str, Any]:
        """Look at something; gives its first table."""
        await self.view(*columns, **more)
        return await self.next("table", lambda one: one["view"] == self._asked)

    async def send(self, **message: Any) -> None:
        """Send a message."""
        await self.socket.send_str(msgspec.json.encode(message).decode())

    async def next(
        self, kind: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True, *, within: float = 30.0
    ) -> dict[str, Any]:
        """Wait for a message of one kind that fits, among those that came already too."""
        async with asyncio.timeout(within):
            while not (found := [one for one in self.of(kind) if fits(one)]):
                await asyncio.sleep(0.01)
        return found[-1]


@asynccontextmanager
async def looking(lent: Lent, path: str = LIVE, **more: Any) -> AsyncIterator[Looker]:
    """Connect a page for as long as the block runs."""
    async with lent.session.ws_connect(lent.url + path, **more) as socket:
        looker = Looker(socket)
        reading = asyncio.create_task(looker.read())
        try:
            yield looker
        finally:
            reading.cancel()
            await asyncio.wait([reading])
