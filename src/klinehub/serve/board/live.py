"""The board's live connection: a page says what it looks at, and is told what is new of it.

1. Rows, health and staleness are told to everybody; tables and prices by what a page looks at.
2. A pulse looks four times a second at what has changed, while somebody is connected.
3. Of what a page asks for only the newest is worked on, one at a time for each page.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import WSMsgType, web

from klinehub.dialect.stream import MOST_MESSAGE, SUBPROTOCOL
from klinehub.domain.listing import Listing
from klinehub.domain.stale import Stale
from klinehub.errors import DefinitionError, KlinehubError
from klinehub.serve.board.clients import Client
from klinehub.serve.board.health import health, stale_rows
from klinehub.serve.board.hello import About, evidence, hello, symbols
from klinehub.serve.board.messages import USUAL_SPARK, Failed, SparkAsked, ViewAsked, Viewed, decode
from klinehub.serve.board.prices import Days, Prices
from klinehub.serve.board.questions import read
from klinehub.serve.board.views import View, Views
from klinehub.serve.guard import Caller
from klinehub.serve.routes import NotAnswered, refused
from klinehub.serve.signals import Signals

LIVE: Final = "/board/live"
MOST_CLIENTS: Final = 32
# Real seconds between two looks at prices, and of how many looks one is at the hub's health too.
PULSE: Final = 0.25
HEALTH_EVERY: Final = 4
# Real seconds between two signs of life that a client is asked for.
HEARTBEAT: Final = 30.0
GOING_AWAY: Final = 1001
REFUSED: Final = 1008
BROKEN: Final = 1011
# What fits into a close frame.
_LONGEST_REASON: Final = 120
_UPGRADE_REQUIRED: Final = 426


class LiveBoard:
    """Serves the live connections of the board of a hub whose *signals* are passed on."""

    def __init__(self, signals: Signals, about: About | None = None) -> None:
        self.cut = 0
        self._closing: asyncio.Task[None] | None = None
        self._signals = signals
        self.hub = signals.hub
        self._about = about or About()
        self.views = Views(self.hub, self._over, self._tell_symbols)
        self._days = Days(self.hub)
        self._prices: dict[str, Prices] = {}
        self._clients: dict[Client, None] = {}
        self._life: asyncio.Task[None] | None = None
        self._listings: Mapping[str, Listing] = {}
        self._rows = 0
        self._symbols = b""
        self._stale: Mapping[int, Stale] = {}
        self._alerted = 0
        self._known = 0
        self._evidence = b""

    @property
    def clients(self) -> int:
        """How many pages are connected."""
        return len(self._clients)

    async def answer(self, request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        """Serve one page until it leaves."""
        try:
            if caller.path != LIVE:
                raise NotAnswered(404, "UnknownName", f"There is nothing at {caller.path!r}.")
            return await self.connect(request)
        except KlinehubError as exc:
            return refused(exc)

    async def connect(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one page until it leaves; raises NotAnswered for one that is not let in."""
        served = web.WebSocketResponse(
            heartbeat=HEARTBEAT, compress=False, max_msg_size=MOST_MESSAGE, protocols=(SUBPROTOCOL,)
        )
        if not served.can_prepare(request):
            raise NotAnswered(_UPGRADE_REQUIRED, "NoWebSocket", f"{LIVE} is a WebSocket: connect with one.")
        if len(self._clients) >= MOST_CLIENTS:
            raise NotAnswered(503, "Busy", f"{MOST_CLIENTS} pages look at the board already: close one.")
        await served.prepare(request)
        if request.transport is None:
            return served
        client = Client(served, request.transport, USUAL_SPARK, self._count_cut)
        self._enter(client)
        visit = Visit(self, client, served)
        try:
            await visit.run()
        finally:
            visit.end()
            self._leave(client)
        return served

    async def close(self) -> None:
        """End every connection."""
        await self._close(GOING_AWAY, "The hub ends")

    def prices(self, timeframe: str) -> Prices:
        """Give the prices with their changes in the bars of a timeframe."""
        if timeframe not in self._prices:
            self._prices[timeframe] = Prices(self.hub, timeframe, self._days)
            self._prices[timeframe].look()
        return self._prices[timeframe]

    def _count_cut(self) -> None:
        self.cut += 1

    def _enter(self, client: Client) -> None:
        """Begin to tell a client."""
        self._clients[client] = None
        if self._life is None:
            self._life = asyncio.create_task(self._live(), name="board")
            self._life.add_done_callback(self._over)
            self._tell_symbols()
            self._look_around()
        client.tell("hello", hello(self._signals, self._about))
        client.tell("symbols", self._symbols)
        client.tell("stale", stale_rows(self._rows, self._stale))
        client.tell("health", health(self._signals, self._stale))
        if self._evidence:
            client.tell("evidence", self._evidence)
        client.follow(self.prices(self.hub.scanning.default.timeframe))

    def _leave(self, client: Client) -> None:
        self._clients.pop(client, None)
        if not self._clients and self._life is not None:
            self._life.cancel()
            self._life = None
            self._prices.clear()

    async def _live(self) -> None:
        """Look at what has changed until nobody is connected."""
        alerts = self._signals.alerts
        self._alerted = alerts[-1].id if alerts else 0
        pulses = 0
        with self._days.heard():
            while True:
                await asyncio.sleep(PULSE)
                pulses += 1
                self._tell_symbols()
                self._tell_prices()
                self._tell_alerts()
                if pulses % HEALTH_EVERY == 0:
                    self._look_around()
                    told = msgspec.json.encode(health(self._signals, self._stale))
                    for client in self._clients:
                        client.tell("health", told)

    def _tell_prices(self) -> None:
        followed = {client.prices for client in self._clients}
        self._prices = {name: one for name, one in self._prices.items() if one in followed}
        changed = {one for one in self._prices.values() if one.look()}
        for client in self._clients:
            if client.prices in changed:
                client.wake()

    def _tell_alerts(self) -> None:
        """Tell the alerts that have come since the last look."""
        alerts = self._signals.alerts
        if not alerts or alerts[-1].id == self._alerted:
            return
        for event in [one for one in alerts if one.id > self._alerted]:
            message = b'{"type":"alert","alert":' + event.data + b"}"
            for client in self._clients:
                client.tell_alert(message)
        self._alerted = alerts[-1].id

    def _look_around(self) -> None:
        """Tell what has changed of the staleness of rows, and of what is known of scores."""
        hub = self.hub
        if hub.scanning.calibrated != self._known:
            self._known = hub.scanning.calibrated
            self._evidence = msgspec.json.encode(evidence(hub))
            for client in self._clients:
                client.tell("evidence", self._evidence)
        stale = hub.stale_rows()
        if stale != self._stale:
            self._stale = stale
            told = msgspec.json.encode(stale_rows(self._rows, stale))
            for client in self._clients:
                client.tell("stale", told)

    def _tell_symbols(self) -> None:
        """Tell the rows when they have changed, before anything is told of new ones."""
        hub = self.hub
        if hub.listings is self._listings and len(hub.ring.symbols) == self._rows:
            return
        self._listings, self._rows = hub.listings, len(hub.ring.symbols)
        told = msgspec.json.encode(symbols(hub))
        # A listing is read again and again, and seldom says anything new.
        if told == self._symbols:
            return
        self._symbols = told
        for client in self._clients:
            client.tell("symbols", told)

    async def _close(self, code: int, reason: str) -> None:
        await asyncio.gather(*(client.close(code, reason) for client in list(self._clients)))

    def _over(self, task: "asyncio.Task[None]") -> None:
        """Tell of a bug that ended something, and end those who would wait for ever."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        self._life = None if task is self._life else self._life
        loop = task.get_loop()
        loop.call_exception_handler({"message": "The board stopped", "exception": error, "task": task})
        self._closing = loop.create_task(self._close(BROKEN, "Internal error"))


class Visit:
    """One page's stay: what it asks for, and the view that it looks at."""

    def __init__(self, live: LiveBoard, client: Client, served: web.WebSocketResponse) -> None:
        self._live = live
        self._client = client
        self._served = served
        self._asked: ViewAsked | None = None
        self._asks = asyncio.Event()
        self._view: View | None = None

    async def run(self) -> None:
        """Hear and tell until either side ends it."""
        works = [
            asyncio.create_task(work, name="board client")
            for work in (self._hear(), self._client.send(), self._look())
        ]
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in works:
                task.cancel()
            await asyncio.wait(works)

    def end(self) -> None:
        """Look at nothing any more."""
        if self._view is not None:
            self._view.leave(self._client)
            self._view = None

    async def _hear(self) -> None:
        while True:
            message = await self._served.receive()
            if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                return
            try:
                asked = decode(message.data)
            except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as exc:
                await self._client.close(REFUSED, str(exc)[:_LONGEST_REASON])
                return
            if isinstance(asked, SparkAsked):
                self._client.bars = asked.bars
                if self._view is not None:
                    self._view.draw(self._client)
            else:
                self._asked = asked
                self._asks.set()

    async def _look(self) -> None:
        """Work on what was asked for last, one after the other."""
        while True:
            await self._asks.wait()
            self._asks.clear()
            if self._asked is not None:
                await self._show(self._asked)

    async def _show(self, asked: ViewAsked) -> None:
        live, client = self._live, self._client
        question, errors = await read(live.hub, asked)
        client.tell("view", Viewed(asked.id, errors))
        before, self._view = self._view, None
        client.drop("table", "spark", "failed")
        if question is not None:
            client.follow(live.prices(asked.timeframe))
            try:
                self._view = live.views.open(question, client, asked.id)
            except DefinitionError as exc:
                client.tell("failed", Failed(asked.id, str(exc)))
        if before is not None and before is not self._view:
            before.leave(client)
        if self._view is not None:
            await asyncio.shield(self._view.first)
