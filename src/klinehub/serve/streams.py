"""The streams of a hub: its bars told over WebSocket in the exchange's dialect, from the one upstream.

1. Closes are told as soon as the hub has proved them; those of the same moment go out together.
2. Four times a second (spot: every two seconds) the forming bars that changed are told.
3. Each event is rendered once; a client's frames are copied out of it and written in one go, a slice of the
   clients at a time, so that what comes in from the exchange never waits for those that read.
4. While nobody is connected nothing runs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Final

from aiohttp import web

from klinehub.dialect.board import Board
from klinehub.dialect.manner import COINS, FUTURES, SPOT
from klinehub.dialect.stream import SPOT_RULES, Connection, Rules, Streams
from klinehub.dialect.telling import Telling, warm_up
from klinehub.feed.venue import COINM
from klinehub.feed.venue import SPOT as SPOT_VENUE
from klinehub.hub import Hub
from klinehub.serve.consumer import Consumer, most_waiting
from klinehub.serve.source import HubSource
from klinehub.serve.ticker_streams import TickerStreams

# Closes that follow one another within this many seconds are told together.
TOGETHER: Final = 0.01
# Clients that are written to before others have their turn: about a millisecond (20 us each).
SLICE: Final = 48
# Every route tells everything. Answers alone can make a client that never reads wait for more than this.
HUB_RULES: Final = Rules(legacy_silent=False, backlog=2 << 20)
HUB_SPOT_RULES: Final = replace(SPOT_RULES, backlog=2 << 20)
MANNERS: Final = {
    SPOT_VENUE.name: (SPOT, HUB_SPOT_RULES),
    COINM.name: (COINS, HUB_RULES),
}
# Looks for bars that the exchange does not have come once in so many pulses.
HOLES_EVERY: Final = 4
GOING_AWAY: Final = 1001
BROKEN: Final = 1011


class HubStreams(Streams):
    """The WebSocket side of a hub; *ended* says that the hub is no more, so that its clients have to go.

    *most_waiting* says how many bytes may wait for a client that follows so many names.
    `conflated` counts updates left out for clients that did not keep up, `resyncs` the clients that were cut
    because closes would have been.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        most_waiting: Callable[[int], int] = most_waiting,
        ended: Callable[[], bool] = lambda: False,
    ) -> None:
        manner, rules = MANNERS.get(hub.settings.exchange, (FUTURES, HUB_RULES))
        source = HubSource(hub)
        # The ring keeps no trade ids, and REST, which mends and builds bars, has none to tell.
        board = Board(source, manner, ids=False)
        super().__init__(board, source.clock, rules)
        self.hub = hub
        self.most_waiting = most_waiting
        self._listings = hub.listings
        self.telling = Telling(board, hub.ring)
        self.conflated = 0
        self.resyncs = 0
        tickers = hub.live.tickers
        self._tickers = None if tickers is None else TickerStreams(board, tickers)
        self._ended = ended
        self._bell = asyncio.Event()
        self._guests = 0
        self._life: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._door = asyncio.Lock()
        self._is_warm = False
        # Whether somebody has not been told the newest updates.
        self._left_out = False

    def stats(self) -> dict[str, int]:
        """Count clients, what they follow, and what was left out for them."""
        return {
            "stream_clients": len(self.connections),
            "streams_followed": int((self.board.counts > 0).sum()) + len(self.board.topics),
            "silent_streams": self.telling.silent,
            "updates_conflated": self.conflated,
            "clients_cut": self.resyncs + self.cut_for_backlog,
            "deepest_queue": max(map(_waiting, self.connections), default=0),
        }

    async def connect(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Serve one client at *path* until it ends."""
        await self._enter()
        self._guests += 1
        if self._life is None or self._life.done():
            self._life = asyncio.create_task(self._live(), name="streams")
            self._life.add_done_callback(self._over)
        try:
            return await super().connect(request, path)
        finally:
            self._guests -= 1
            if not self._guests:
                self._life.cancel()

    def connection(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        route: str | None,
        *,
        combined: bool,
    ) -> Consumer:
        """Make the connection of a client that was let in."""
        return Consumer(self, socket, transport, route, combined=combined)

    async def close(self, code: int, reason: str) -> None:
        """End every connection."""
        await asyncio.gather(*(one.close(code, reason) for one in list(self.connections)))

    async def _enter(self) -> None:
        """Let clients in one after the other, so that a thousand at once hold nothing up."""
        async with self._door:
            if not self._is_warm:
                board = Board(self.board.source, self.board.manner, ids=False)
                loop, symbol = asyncio.get_running_loop(), self.hub.ring.symbols[0]
                await loop.run_in_executor(None, warm_up, board, self.hub.ring, symbol)
                self._is_warm = True
            await asyncio.sleep(0)

    async def _live(self) -> None:
        """Tell what there is to tell until nobody is connected."""
        bells = self.hub.live.bells
        bells.append(self._bell.set)
        try:
            with nullcontext() if self._tickers is None else self._tickers.heard():
                await self._tell()
        finally:
            bells.remove(self._bell.set)
        await self.close(GOING_AWAY, "The market is no more followed")

    async def _tell(self) -> None:
        """Tell closes when they come, and everything else at each pulse."""
        loop = asyncio.get_running_loop()
        pulse, pulses, heard = loop.time(), 0, (0, 0)
        while not self._ended():
            await self._rung(pulse - loop.time())
            await self._tell_closes()
            if loop.time() < pulse:
                continue
            counts = self.hub.core.counts
            if self._left_out or (counts.updates, counts.closes) != heard:
                heard = (counts.updates, counts.closes)
                await self._tell_updates()
            pulses += 1
            if pulses % HOLES_EVERY == 0:
                self.telling.pass_over(self.hub.core.repair.absent)
            self._relist()
            if self._tickers is not None:
                self._tickers.tell(self.clock.now())
            pulse = max(pulse + self.board.manner.kline_every, loop.time())

    def _relist(self) -> None:
        """Let streams begin that have become real with a new listing."""
        if self.hub.listings is not self._listings:
            self._listings = self.hub.listings
            self.board.relist()

    async def _rung(self, seconds: float) -> None:
        """Wait for closes, for so many seconds at most, and then for those that come with them."""
        try:
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        except TimeoutError:
            return
        await asyncio.sleep(TOGETHER)
        self._bell.clear()

    async def _tell_closes(self) -> None:
        """Tell every close that is due."""
        while True:
            events = self.telling.closes(self.clock.now())
            if not events.lines.size:
                return
            async for consumer in self._consumers():
                data = self.board.frames_for(consumer, events)
                if data:
                    consumer.tell_closes(data)

    async def _tell_updates(self) -> None:
        """Tell the forming bars that changed, each client those that it has not been told."""
        now = self.clock.now()
        events = self.telling.updates(now)
        this, before = self.telling.round, self.conflated
        async for consumer in self._consumers():
            if consumer.behind:
                self.conflated += 1
                continue
            missed = consumer.seen < this - 1
            news = self.telling.missed(consumer.wanted, consumer.seen, now) if missed else events
            consumer.seen = this
            data = self.board.frames_for(consumer, news) if news.lines.size else b""
            if data:
                consumer.send(data)
        self._left_out = self.conflated > before

    async def _consumers(self) -> AsyncIterator[Consumer]:
        """Go through the clients that follow something, and let others have their turn now and then."""
        for number, follower in enumerate(self.board.following, 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            if isinstance(follower, Consumer) and follower in self.connections:
                yield follower

    def _over(self, life: "asyncio.Task[None]") -> None:
        """Tell of a bug that ended the telling, and end those who would wait for ever."""
        error = None if life.cancelled() else life.exception()
        if error is None:
            return
        loop = life.get_loop()
        loop.call_exception_handler({"message": "The streams stopped", "exception": error, "task": life})
        self._closing = loop.create_task(self.close(BROKEN, "Internal error"))


def _waiting(connection: Connection) -> int:
    return connection.waiting if isinstance(connection, Consumer) else 0
