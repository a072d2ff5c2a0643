"""`board`: what a page of the whole market costs the hub that serves it.

1. A hub of 550 symbols lives on virtual time, its site and its pages with it in one process. CPU is measured,
   so that neither the network nor waiting counts; a page only reads what comes.
2. First table: from the moment that a page connects to a hub that has shown others before, to the last byte
   of the first table with 20 columns and the score.
3. Close: the longest time for which the board held up the hub's loop around a close of every symbol, and what
   the parts of that take.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple
from unittest.mock import patch

import aiohttp
import msgspec
import numpy as np

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.settled import deepened
from klinehub.bench.stage import SYMBOLS, Stage, with_hub
from klinehub.domain.timeframe import MINUTE
from klinehub.hub import Hub
from klinehub.panel.view import PLANES
from klinehub.serve.board.cells import spark, table
from klinehub.serve.board.health import health
from klinehub.serve.board.hello import symbols as rows_told
from klinehub.serve.board.live import LIVE, LiveBoard
from klinehub.serve.board.messages import USUAL_SPARK, ViewAsked
from klinehub.serve.board.prices import Days, Prices
from klinehub.serve.board.questions import OPENED, read
from klinehub.serve.parts import lent
from klinehub.serve.signals import Signals
from klinehub.serve.site import Site
from klinehub.settings import HubSettings, ServeSettings
from klinehub.sim.loop import SimNetwork

COLUMNS: Final = (
    *("rsi", "rsi_1h", "trend", "trend_1h", "adx", "donchian", "atr_percent", "momentum", "macd", "volume_z"),
    *("taker_delta", "relative_strength", "bollinger_b", "stochastic_k", "roc", "keltner_squeeze"),
    *("trade_size", "range_compression", "zscore(volume_surge)", "rank(rsi)"),
)
WHERE: Final = "rsi < 60 and volume_surge > 0.1"
FRAME: Final = "15m"
# A frame that closes each minute, with as much to compute.
CLOSING: Final = "1m"
# What the board's tasks are called; the exchange and the rest of the hub run on the same loop.
TASKS: Final = frozenset({"board", "board client", "view"})
_CLOSE: Final = PLANES.index("close")
_TURNOVER: Final = PLANES.index("quote_volume")


def measure(
    seed: int, *, symbols: int = SYMBOLS, bars: int = 499, looks: int = 20, closes: int = 10, rounds: int = 30
) -> Measurement:
    """Give the ms of CPU to a page's first table, and what updates and closes cost."""

    async def work(stage: Stage) -> dict[str, Any]:
        hub = stage.hub
        await deepened(hub)
        async with _served(hub) as served:
            parts, sizes = await _parts(served.signals, rounds)
            first = await _first(served, looks)
            async with served.page() as page:
                await page.table(CLOSING)
                blocks = await _blocks(hub, closes)
        return {
            "first_table_ms": _spread(first),
            "block_ms": _spread(blocks),
            "parts_ms": {name: rounded(float(np.median(taken)) * 1e3) for name, taken in parts.items()},
            "bytes": sizes,
            "symbols": len(hub.symbols),
            "columns": len(COLUMNS),
            "closes": closes,
            "time": "CPU",
        }

    settings = HubSettings(bars=bars, shallow=min(bars, HubSettings().shallow), tickers=True)
    detail = with_hub(work, settings, symbols=symbols, seed=seed)
    return Measurement(detail["first_table_ms"]["p50"], "ms", detail)


class Page:
    """A page that is connected, and reads what comes."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._shown = asyncio.Event()

    async def read(self) -> None:
        """Read until the connection ends."""
        async for message in self._socket:
            if message.data.startswith('{"type":"table"'):
                self._shown.set()

    async def table(self, frame: str) -> None:
        """Look at a timeframe until its first table is there."""
        asked = ViewAsked(id=1, timeframe=frame, columns=COLUMNS, where=WHERE)
        await self._socket.send_str(msgspec.json.encode(asked).decode())
        await self._shown.wait()


class Served(NamedTuple):
    """A hub that is served, and a way in."""

    signals: Signals
    session: aiohttp.ClientSession
    url: str

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """Connect a page while the block runs."""
        async with self.session.ws_connect(self.url + LIVE, max_msg_size=0) as socket:
            page = Page(socket)
            reading = asyncio.create_task(page.read())
            try:
                yield page
            finally:
                reading.cancel()
                await asyncio.wait([reading])


@asynccontextmanager
async def _served(hub: Hub) -> AsyncIterator[Served]:
    serving = ServeSettings(port=0, ws_port=0)
    signals = Signals(hub, hub.settings.exchange)
    async with (
        Site(serving) as site,
        SimNetwork().session(site.rest_url, timeout=30.0) as session,
        signals.following(),
        lent(hub, serving, site, signals, LiveBoard(signals)),
    ):
        yield Served(signals, session, site.rest_url)


async def _first(served: Served, looks: int) -> list[float]:
    """Connect pages one after the other; gives the CPU seconds to the first table of each."""
    taken = []
    for _ in range(looks + 1):
        begun = time.process_time()
        async with served.page() as page:
            await page.table(FRAME)
            taken.append(time.process_time() - begun)
        # The view of a page that has left ends, and the next one begins anew.
        await asyncio.sleep(1)
    return taken[1:]


async def _blocks(hub: Hub, closes: int) -> list[float]:
    """Give the longest time that the board held up the loop around each of some closes, CPU seconds."""
    taken = []
    for _ in range(closes):
        await asyncio.sleep((MINUTE - hub.now() % MINUTE) / 1000 - 0.5)
        with _timed_steps() as steps:
            await asyncio.sleep(1.5)
        taken.append(max(steps))
    return taken


@contextmanager
def _timed_steps() -> Iterator[list[float]]:
    """Gather the CPU seconds of every step of the board's tasks while the block runs."""
    taken: list[float] = []
    run = asyncio.Handle._run  # noqa: SLF001 - where a loop calls what is due

    def timed(handle: asyncio.Handle) -> None:
        # A step is a method of its task.
        task = getattr(getattr(handle, "_callback", None), "__self__", None)
        begun = time.process_time()
        run(handle)
        if isinstance(task, asyncio.Task) and task.get_name() in TASKS:
            taken.append(time.process_time() - begun)

    with patch.object(asyncio.Handle, "_run", timed):
        yield taken


async def _parts(signals: Signals, rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Measure what is done for a page piece by piece; gives CPU seconds of each, and bytes of messages."""
    hub = signals.hub
    question = (await read(hub, ViewAsked(id=1, timeframe=FRAME, columns=COLUMNS, where=WHERE))).question
    if question is None:
        return {}, {}
    panel = hub.panel(FRAME)
    sheet = await hub.scanning.sheets.at(question.screen, panel.closed_bar)
    prices = Prices(hub, FRAME, Days(hub))
    prices.look()

    def drawn() -> bytes:
        cube = panel.cube(sheet.bar, USUAL_SPARK)
        return spark(cube[_CLOSE], cube[_TURNOVER])

    messages: dict[str, Callable[[], bytes]] = {
        "spark": drawn,
        "prices": lambda: prices.since(-1),
        "health": lambda: msgspec.json.encode(health(signals, hub.stale_rows())),
        "symbols": lambda: msgspec.json.encode(rows_told(hub)),
    }
    taken = {name: _taken(work, rounds) for name, work in messages.items()}
    taken["look"] = _taken(prices.look, rounds)
    taken["table"] = []
    written = b""
    for _ in range(rounds):
        begun = time.process_time()
        written = await table(sheet, sheet.columns[OPENED], question.columns, (0, 0))
        taken["table"].append(time.process_time() - begun)
    sizes = {"table": len(written), **{name: len(work()) for name, work in messages.items()}}
    return taken, sizes


def _taken(work: Callable[[], object], rounds: int) -> list[float]:
    found = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return found


def _spread(seconds: list[float]) -> dict[str, float]:
    """Give the median and the 99th percentile in ms."""
    return {f"p{share}": rounded(float(np.percentile(seconds, share)) * 1e3) for share in (50, 99)}
