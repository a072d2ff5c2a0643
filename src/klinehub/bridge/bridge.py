"""The bridge: an exchange that ccxt knows, as a network on which a hub finds it.

1. A hub asks and subscribes as ever; the bridge answers at ports of this machine that the system chooses,
   and is the network that leads there whatever address is asked for.
2. What it answers came from ccxt, under ccxt's throttle; it proves nothing itself, the hub does.
3. It is opened before the hub asks anything, and ends with it.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from picows import WSListener, WSTransport

from klinehub.bridge.answers import BridgeRest
from klinehub.bridge.listing import KINDS
from klinehub.bridge.live import RULES, BridgeStreams, Live
from klinehub.bridge.source import CcxtSource
from klinehub.bridge.upstream import Upstream
from klinehub.dialect.board import Board
from klinehub.dialect.params import Rejected
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import FeedError
from klinehub.feed.network import CONNECTIONS, RealNetwork, http_session
from klinehub.feed.venue import CCXT, venue_of
from klinehub.settings import HubSettings

HOST: Final = "127.0.0.1"
# Real seconds between two readings of the exchange's time.
TIME_EVERY: Final = 300.0
# More requests of a hub than these are never under way at once: a warm-up's batch, and its workers.
_WORKERS: Final = 40


class Bridge:
    """A ccxt *exchange* for a hub with these *settings*: a network, to be opened before it is used."""

    def __init__(self, exchange: Any, settings: HubSettings, clock: Clock) -> None:  # noqa: ANN401 - ccxt is untyped
        kind = settings.exchange.removeprefix(CCXT).partition(":")[2]
        self.upstream = Upstream(exchange, clock)
        self.source = CcxtSource(self.upstream, kind if kind in KINDS else "", settings.quote)
        self.live: Live
        self._settings = settings
        self._runners: list[web.AppRunner] = []
        self._rest_port = self._stream_port = 0
        self._loopback = RealNetwork()

    @property
    def settings(self) -> HubSettings:
        """The settings that the hub is to have: the address, weight and patience that suit the bridge."""
        venue, wanted = venue_of(self._settings.exchange), self._settings
        weight = self.upstream.weight if wanted.weight_limit == venue.weight_limit else wanted.weight_limit
        # Who waits for the throttle behind all others is not dead.
        queue = (wanted.batch + _WORKERS) * self.upstream.spacing
        return msgspec.structs.replace(
            wanted,
            rest_url=venue.rest_url,
            stream_url=venue.stream_url,
            weight_limit=max(100, weight),
            timeout=min(600.0, wanted.timeout + 3.0 * queue),
        )

    @property
    def lacks(self) -> frozenset[str]:
        """The fields of klines that are not told."""
        return venue_of(self._settings.exchange).lacks

    def says(self, symbols: int) -> list[str]:
        """Say what can not be proved here, and how long a close of so many symbols takes."""
        upstream, live = self.upstream, self.live
        takes = 2.0 + symbols * upstream.spacing
        told = [
            f"ccxt tells no closes: REST proves those of {symbols} symbols {takes:.1f} s after them or later",
            f"not told: {', '.join(sorted(self.lacks))}",
        ]
        if not live.watches:
            told.append("ccxt watches no klines here: open bars are asked for in turn")
        if not upstream.clock.told:
            told.append("the exchange tells no time: this machine's clock says what has ended")
        return told

    async def open(self, frames: Iterable[Timeframe]) -> None:
        """Read markets and time, and begin to answer.

        Raises the errors of a feed where the exchange does not answer, DefinitionError for a timeframe that
        it does not have.
        """
        try:
            self.upstream.check(frames)
            await self._first(self.source.open)
            await self._first(self.upstream.read_time)
            board = Board(self.source, ids=False)
            streams = BridgeStreams(board, self.source.clock, RULES)
            self.live = Live(self.source, board, streams)
            self._rest_port = await self._listen(BridgeRest(self.source, self.live).application())
            self._stream_port = await self._listen(streams.application())
        except BaseException:
            await self.close()
            raise

    async def run(self) -> None:
        """Tell what is live until cancelled; a bug in that is raised here."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.live.run())
            group.create_task(self._read_time())

    async def close(self) -> None:
        """Answer no more, and leave nothing open."""
        for runner in self._runners:
            await runner.cleanup()
        await self.upstream.exchange.close()

    async def _first(self, work: Callable[[], Awaitable[None]]) -> None:
        """Ask for the first time: what goes wrong is told as a hub tells it."""
        try:
            await work()
        except Rejected as refused:
            error, upstream = refused.__cause__, self.upstream
            if not isinstance(error, Exception):
                raise FeedError(str(refused)) from refused
            until = upstream.clock.now() + 1000 * int(getattr(refused, "wait", 0))
            raise upstream.trouble.failure(error, upstream.name, until) from error

    async def _listen(self, app: web.Application) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        return int(runner.addresses[0][1])

    async def _read_time(self) -> None:
        while True:
            await asyncio.sleep(TIME_EVERY)
            try:
                await self.upstream.read_time()
            except Rejected:
                # It is counted; what was read before holds until it is read again.
                continue

    def session(self, url: str, *, timeout: float) -> aiohttp.ClientSession:  # noqa: ARG002 - there is one address
        """Give a new HTTP session that leads to the bridge; the caller closes it."""
        return http_session(aiohttp.TCPConnector(limit=CONNECTIONS, resolver=_Here(self._rest_port)), timeout)

    async def open_socket(self, url: str, listener_factory: Callable[[], WSListener]) -> WSTransport:
        """Open a WebSocket to the bridge."""
        parts = urlsplit(url)
        here = f"ws://{HOST}:{self._stream_port}{parts.path}{'?' if parts.query else ''}{parts.query}"
        return await self._loopback.open_socket(here, listener_factory)

    def via(self, url: str) -> str | None:  # noqa: ARG002 - ccxt knows its proxy
        """Name no proxy: the bridge is reached directly."""
        return None


class _Here(AbstractResolver):
    """Every name is that of the bridge."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:  # noqa: ARG002
        """Give the bridge's address."""
        return [
            ResolveResult(hostname=host, host=HOST, port=self._port, family=socket.AF_INET, proto=0, flags=0),
        ]

    async def close(self) -> None:
        """Nothing is held."""
