"""Views: tables that are computed once for everybody who looks at the same.

1. A view is told apart by what it computes. It begins with its first client and ends with its last one.
2. A few begin at a time, in threads; of more than can be kept up the last are refused.
3. Each new sheet is written once, and each client's own id is put before it.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Final, NamedTuple

from klinehub.errors import DefinitionError, KlinehubError
from klinehub.hub import Hub
from klinehub.panel.view import PLANES
from klinehub.scan.scanner import Sheet
from klinehub.serve.board.cells import spark, table
from klinehub.serve.board.clients import Client
from klinehub.serve.board.messages import Failed
from klinehub.serve.board.questions import OPENED, Question

MOST_VIEWS: Final = 16
AT_A_TIME: Final = 2
# Real seconds between two tables of a bar that is open.
FORMING_EVERY: Final = 1.0
_CLOSE: Final = PLANES.index("close")
_TURNOVER: Final = PLANES.index("quote_volume")


class Key(NamedTuple):
    """What tells views apart."""

    screen: str
    columns: tuple[str, ...]
    bar: int | None
    forming: bool


class View:
    """One table for all who look at it; `first` is done when it was shown, or given up."""

    def __init__(self, views: "Views", key: Key, question: Question) -> None:
        self.clients: dict[Client, int] = {}
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._views = views
        self._key = key
        self._question = question
        self._panel = views.hub.panel(question.screen.timeframe or "")
        self._table = b""
        self._closed: int | None = None
        self._sparks: dict[int, bytes] = {}
        self.task = asyncio.create_task(self._run(), name="view")
        self.task.add_done_callback(views.over)

    def join(self, client: Client, number: int) -> None:
        """Show it to a client, as its view of this number."""
        self.clients[client] = number
        if self._table:
            self._show(client)
            self.draw(client)

    def leave(self, client: Client) -> None:
        """Show it to a client no more; without any it ends, once what was begun in a thread is over."""
        self.clients.pop(client, None)
        if not self.clients and self.first.done():
            self._views.forget(self._key, self)
            self.task.cancel()

    def draw(self, client: Client) -> None:
        """Tell a client its small lines."""
        if self._closed is None or not client.bars:
            return
        if client.bars not in self._sparks:
            cube = self._panel.cube(self._closed, min(client.bars, self._panel.bars))
            self._sparks[client.bars] = spark(cube[_CLOSE], cube[_TURNOVER])
        head = b'{"type":"spark","view":%d,' % self.clients[client]
        client.tell("spark", head + self._sparks[client.bars])

    async def _run(self) -> None:
        try:
            await (self._follow() if self._question.bar is None else self._look_back(self._question.bar))
        except KlinehubError as exc:
            for client, number in self.clients.items():
                client.tell("failed", Failed(number, str(exc)))
        finally:
            self._views.forget(self._key, self)
            if not self.first.done():
                self.first.set_result(None)

    async def _follow(self) -> None:
        """Compute and show the sheets until nobody looks any more."""
        made, question = self._views.hub.scanning.sheets, self._question
        every = FORMING_EVERY if question.forming else None
        async with aclosing(made.live(question.screen, every)) as sheets:
            async with self._views.turn:
                sheet = await anext(sheets, None)
            while sheet is not None:
                await self._tell(sheet)
                if not self.clients:
                    # Whoever comes while this ends begins another.
                    self._views.forget(self._key, self)
                    return
                sheet = await anext(sheets, None)

    async def _look_back(self, bar: int) -> None:
        """Compute and show one past bar, and keep it as long as somebody looks."""
        async with self._views.turn:
            sheet = await self._views.hub.scanning.sheets.at(self._question.screen, bar)
        if sheet.missing.all():
            raise DefinitionError("Nothing is kept of that moment: choose a later one.")
        await self._tell(sheet)
        if self.clients:
            await asyncio.Event().wait()

    async def _tell(self, sheet: Sheet) -> None:
        frame = self._panel.timeframe
        times = frame.open_time(sheet.bar), frame.close_time(sheet.bar)
        self._table = await table(sheet, sheet.columns[OPENED], self._question.columns, times)
        if not sheet.forming:
            self._closed, self._sparks = sheet.bar, {}
        self._views.tell_symbols()
        for client in list(self.clients):
            self._show(client)
        await asyncio.sleep(0)
        for client in [] if sheet.forming else list(self.clients):
            self.draw(client)
        if not self.first.done():
            self.first.set_result(None)

    def _show(self, client: Client) -> None:
        client.tell("table", b'{"type":"table","view":%d,' % self.clients[client] + self._table)


class Views:
    """The views of a hub's board, shared between its clients; *over* is told of each that has ended.

    *tell_symbols* is called before a table is told, which may have new rows.
    """

    def __init__(
        self, hub: Hub, over: Callable[[asyncio.Task[None]], None], tell_symbols: Callable[[], None]
    ) -> None:
        self.hub = hub
        self.tell_symbols = tell_symbols
        self.turn = asyncio.Semaphore(AT_A_TIME)
        self.over = over
        self._views: dict[Key, View] = {}

    def __len__(self) -> int:
        return len(self._views)

    def open(self, question: Question, client: Client, number: int) -> View:
        """Show a client what it asks for; raises DefinitionError where too much is looked at already."""
        key = Key(question.screen.hash, question.columns, question.bar, question.forming)
        view = self._views.get(key)
        if view is None:
            if len(self._views) >= MOST_VIEWS:
                raise DefinitionError(
                    f"{MOST_VIEWS} different tables are looked at already: look at one of them, or close a "
                    "page."
                )
            view = self._views[key] = View(self, key, question)
        view.join(client, number)
        return view

    def forget(self, key: Key, view: View) -> None:
        """Let go of a view that has ended."""
        if self._views.get(key) is view:
            del self._views[key]
