"""A site on virtual time whose only part says who asked, and raw connections to it.

Each answer that is read here is held to what every answer has to say to browsers, and to what none may.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, cast

from aiohttp import web
from tests.sim.worlds import World, play

from klinehub.dialect.board import Board
from klinehub.dialect.source import Source
from klinehub.dialect.stream import SPOT_RULES, Streams
from klinehub.domain.clock import Clock
from klinehub.serve.guard import Caller
from klinehub.serve.limits import FOR_BROWSERS
from klinehub.serve.parts import lent
from klinehub.serve.site import Part, Site
from klinehub.settings import ServeSettings
from klinehub.sim.loop import SimLoop, run
from klinehub.sim.wire import between

TOKEN: Final = "q7Rf-2sXw_81LmNcVb03TzKd"
OTHER: Final = "ZZ9k-Plq_77aWeRtYuIoPaSd"
LOCAL: Final[dict[str, Any]] = {"port": 0, "ws_port": 0}


class Said(NamedTuple):
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Place(NamedTuple):
    """An open site, and ways to talk to it."""

    site: Site
    port: int

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection for as long as the block runs."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def raw(self, request: bytes) -> Said:
        """Send bytes and read one answer; its status is 0 where the connection was cut instead."""
        async with self.connect() as (reader, writer):
            writer.write(request)
            return await answer(reader, bare=request.startswith(b"HEAD"))

    async def ask(self, path: str = "/x", method: str = "GET", body: bytes = b"", /, **headers: str) -> Said:
        """Ask as a program would; the names of headers have `_` for `-`."""
        return await self.raw(request(path, method, body, Host=f"127.0.0.1:{self.port}", **headers))

    async def knock(self, path: str = "/ws", /, **headers: str) -> Said:
        """Ask for a WebSocket."""
        return await self.ask(path, **WEBSOCKET, **headers)


WEBSOCKET: Final = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def request(path: str, method: str = "GET", body: bytes = b"", /, **headers: str) -> bytes:
    """Write a request."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    if body and not {"Content-Length", "Transfer-Encoding"} & told.keys():
        told["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


async def answer(reader: asyncio.StreamReader, *, bare: bool = False) -> Said:
    """Read an answer, a *bare* one has no body, and hold it to what browsers have to be told."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return Said(0, {}, b"")
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    length = 0 if bare else int(headers.get("content-length", 0))
    said = Said(int(first.split()[1]), headers, await reader.readexactly(length))
    assert [headers.get(name.lower()) for name in FOR_BROWSERS] == list(FOR_BROWSERS.values()), said
    assert not any(name.startswith("access-control-") or name == "set-cookie" for name in headers), said
    return said


async def who(_: web.BaseRequest, caller: Caller) -> web.StreamResponse:
    """Say who asked for what."""
    return web.json_response({"name": caller.name, "path": caller.path})


def streams(loop: SimLoop | asyncio.AbstractEventLoop) -> Part:
    """Make a part that serves WebSockets on which nothing comes."""
    clock = Clock(0, 1.0, loop.time)
    served = Streams(Board(cast("Source", None)), clock, SPOT_RULES)

    async def connect(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        return await served.connect(request, caller.path)

    return connect


def at_door(
    test: Callable[[Place], Awaitable[None]], settings: ServeSettings | None = None, **parts: Part
) -> None:
    """Run *test* on virtual time at a site with these settings; further parts by the word they begin with."""

    async def main(loop: SimLoop) -> None:
        async with Site(settings or ServeSettings(**LOCAL)) as site:
            more = {f"/{name}": part for name, part in parts.items()}
            site.open({"/": who, "/ws": streams(loop), **more})
            await test(Place(site, int(site.rest_url.rsplit(":", 1)[1])))

    run(main, delay=between(0.001, 0.002))


def with_hub(
    test: Callable[[Place, World], Awaitable[None]], settings: ServeSettings | None = None, **hub: Any
) -> None:
    """Run *test* at a site that lends a live hub."""

    async def act(world: World) -> None:
        served = settings or ServeSettings(**LOCAL)
        async with Site(served) as site, lent(world.hub, served, site):
            await test(Place(site, int(site.rest_url.rsplit(":", 1)[1])), world)

    play(act, **hub)


def secret(**more: Any) -> ServeSettings:
    """Give settings with a secret."""
    return ServeSettings(**LOCAL, token=TOKEN, **more)
