"""Clients of a hub's streams: plain ones that read for the whole run, and what goes wrong with them.

P2  each close reaches each client that is connected, once, in order and equal to the truth; one that is too
    slow for that is cut with a code that says so, and no more waits for it than is allowed
P3  a crowd that comes at once is let in, and does all that no harm
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlsplit

import msgspec

from klinehub.domain.timeframe import MINUTE, TIMEFRAMES, Timeframe, timeframe
from klinehub.sim.faults import Fault
from klinehub.sim.loop import SimLoop
from klinehub.sim.mishap import Cure, Deed, one_of
from klinehub.sim.oracle import SETTLED, Divergence, Truth, Words
from klinehub.sim.wire import Link, Wire

if TYPE_CHECKING:
    from klinehub.hub import Hub

# Clients of a run, and how many more come at once at most.
NUMBER: Final = 2
_MOST_MORE: Final = 12
_AGAIN: Final = 1.0
_LOOK: Final = 0.1
# Beside the bytes that may wait for a client: updates of everything, an answer, a ping.
_BURST: Final = 32 << 10
MOST_WAITING: Final = 17 << 10
TOO_SLOW: Final = 4008
# A timeframe that no hub of a scene keeps, but for some; it is made of minutes.
_BUILT: Final = TIMEFRAMES["3m"]
_PING, _CLOSE, _TEXT, _PONG = 0x89, 0x88, 0x81, 0x8A
_CLOSED: Final = b'"x":true'


class Lent(Protocol):
    """A hub's streams, served somewhere."""

    @property
    def ws_url(self) -> str:
        """Where they are served."""

    def stats(self) -> Mapping[str, int]:
        """Count clients that were cut (`clients_cut`), and the bytes that wait for one (`deepest_queue`)."""


class Lend(Protocol):
    """Serves the streams of a hub."""

    def __call__(
        self, hub: "Hub", *, most_waiting: Callable[[int], int]
    ) -> AbstractAsyncContextManager[Lent]:
        """Serve them while the block runs; who has more waiting than its names allow is cut."""


class _Line(asyncio.Protocol):
    """A WebSocket connection without a library: `code` is what it was closed with."""

    def __init__(self, request: bytes, on_text: Callable[[bytes], None]) -> None:
        self.code: int | None = None
        self.is_open = False
        self.transport: Wire
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._on_text = on_text
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the streams."""
        assert isinstance(transport, Wire)  # noqa: S101 - there is no other kind on virtual time
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, _: Exception | None) -> None:
        """Note that it is over."""
        self.is_open = False
        if not self.over.done():
            self.over.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take the answer to the handshake, then frames."""
        data, at = self._rest + data, 0
        if not self.is_open:
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = data
                return
            if b" 101 " not in head:
                self.transport.abort()
                return
            self.is_open, data = True, rest
        while len(data) - at >= 4:
            size, head_size = data[at + 1], 2
            if size == 126:
                size, head_size = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            if len(data) - at < head_size + size:
                break
            self._frame(data[at], data[at + head_size : at + head_size + size])
            at += head_size + size
        self._rest = data[at:]

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == _TEXT:
            self._on_text(payload)
        elif kind == _PING:
            # Masked with zeros, which is allowed.
            self.transport.write(bytes((_PONG, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
        elif kind == _CLOSE:
            self.code = int.from_bytes(payload[:2], "big")
            self.transport.close()


class _Hearing:
    """What one connection was told, held against the truth."""

    def __init__(self, consumers: "Consumers", hub: "Hub", since: int) -> None:
        self.hub = hub
        self.since = since
        self.closes = 0
        self._of = consumers
        self._last: dict[tuple[str, str], int] = {}

    def text(self, payload: bytes) -> None:
        """Judge a frame; updates of what forms may be left out, and are left alone."""
        if _CLOSED in payload:
            self.closes += 1
            self._of.note(self._judge(msgspec.json.decode(payload)["k"]))

    def _judge(self, bar: dict[str, Any]) -> list[Divergence]:
        """Give what is wrong with a close."""
        symbol, frame, now = bar["s"], timeframe(bar["i"]), self._of.now()
        index, before = frame.index(bar["t"]), self._last.get((bar["s"], bar["i"]))
        self._last[symbol, frame.name] = max(index, before or 0)
        wrong = []
        if before is not None and index <= before:
            wrong.append("told again, or out of order")
        elif before is not None:
            left_out = [one for one in range(before + 1, index) if self._expected(symbol, frame, one, now)]
            wrong += [f"told after {len(left_out)} bars that were not"] if left_out else []
        if _words(bar) not in self._of.truth.ever(symbol, frame, index, now):
            wrong.append("told otherwise than it ever was")
        return [Divergence("P2", symbol, frame.name, bar["t"], detail, now) for detail in wrong]

    def _expected(self, symbol: str, frame: Timeframe, index: int, now: int) -> bool:
        """Whether a bar has to be told: the exchange has it, or all that it is built of."""
        truth = self._of.truth
        if frame.name in self.hub.ring.number:
            return bool(truth.bars(symbol, frame, index, index, now))
        first, end = (frame.open_time(index + n) // MINUTE for n in range(2))
        return len(truth.bars(symbol, TIMEFRAMES["1m"], first, end - 1, now)) == end - first

    def untold(self, symbol: str, frame: Timeframe, now: int) -> bool:
        """Whether the newest bar that is long over has not been told."""
        bar = frame.index(now - SETTLED) - 1
        since = max(self.since, self._of.known.get(symbol, now)) + SETTLED
        if frame.close_time(bar) <= since or self._last.get((symbol, frame.name), -1) >= bar:
            return False
        return self._expected(symbol, frame, bar, now)


def _words(bar: dict[str, Any]) -> Words:
    """Give a bar as the truth has it."""
    prices = (float(bar[name]) for name in "ohlc")
    base, quote, taker_base, taker_quote = (int(Decimal(bar[name]).scaleb(18)) for name in "vqVQ")
    return (bar["t"], *prices, base, quote, bar["n"], taker_base, taker_quote)


class Consumers:
    """The clients of one run, whatever hubs it has; *note* gets what is wrong, *trace* what happens.

    `closes` counts what they were told, `cut` how often one was too slow.
    """

    def __init__(
        self,
        loop: SimLoop,
        truth: Truth,
        lend: Lend,
        names: Sequence[str],
        *,
        now: Callable[[], int],
        note: Callable[[Sequence[Divergence]], None],
        trace: Callable[[str], None],
    ) -> None:
        self.truth = truth
        self.now = now
        self.note = note
        self.cut = 0
        self.closes = 0
        # Since when a hub has been seen to know a symbol.
        self.known: dict[str, int] = {}
        self._loop = loop
        self._lend = lend
        self._names = names
        self._trace = trace
        self._hub: Hub | None = None
        self._lent: Lent | None = None
        self._lines: dict[int, tuple[_Line, _Hearing]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stalled: set[int] = set()
        self._numbers = itertools.count(NUMBER)

    @property
    def deeds(self) -> dict[str, Deed]:
        """What can go wrong with them, by the kind of fault."""
        return {
            "consumer_stalls": self.stall,
            "consumer_too_slow": self.dawdle,
            "consumers_return": self.stampede,
        }

    async def attend(self, hub: "Hub") -> None:
        """Serve a hub to the clients until cancelled."""
        async with self._lend(hub, most_waiting=lambda _: MOST_WAITING) as lent:
            self._hub, self._lent = hub, lent
            self.known.clear()
            for number in range(NUMBER):
                self._spawn(self._live(number))
            try:
                await self._loop.create_future()
            finally:
                self._hub = self._lent = None
                for task in self._tasks:
                    task.cancel()

    def look(self) -> None:
        """Hold what waits for the clients against what may; come by every second."""
        for symbol in () if self._hub is None else self._hub.ring.rows:
            self.known.setdefault(symbol, self.now())
        waiting = 0 if self._lent is None else self._lent.stats()["deepest_queue"]
        if waiting > MOST_WAITING + _BURST:
            self.note([Divergence("P2", "", "", 0, f"{waiting} bytes wait for a client", self.now())])

    def untold(self, symbols: Sequence[str], now: int) -> list[Divergence]:
        """Give the newest closes that a client who reads has not been told."""
        hub = self._hub
        if hub is None or len(self._lines) < NUMBER:
            return [Divergence("P2", "", "", 0, "not every client is connected", now)]
        return [
            Divergence("P2", symbol, frame.name, 0, "never told to a client", now)
            for _, hearing in self._lines.values()
            for symbol in symbols
            for frame in self._frames(hub)
            if hearing.untold(symbol, frame, now)
        ]

    def stall(self, fault: Fault) -> Cure | None:
        """Let one client stop reading, or its connection carry nothing, and go on in the end."""
        number = self._choose(fault)
        if number is None:
            return None
        line = self._lines[number][0]
        link = self._link(line)
        halt, go_on = (line.transport.pause_reading, line.transport.resume_reading)
        if fault.size >= 0.5 and link is not None:
            halt, go_on = link.stall, link.resume
        self._stalled.add(number)
        halt()

        def resume() -> None:
            self._stalled.discard(number)
            go_on()

        return resume

    def dawdle(self, fault: Fault) -> Cure | None:
        """Let one client read nothing until the hub cuts it, and then hear why."""
        resume, lent = self.stall(fault._replace(size=0.0)), self._lent
        if resume is None or lent is None:
            return None
        before = lent.stats()["clients_cut"]

        async def watch() -> None:
            while self._lent is lent and lent.stats()["clients_cut"] == before:  # noqa: ASYNC110 - as clients do
                await asyncio.sleep(_LOOK)
            resume()

        watching = self._spawn(watch())

        def cure() -> None:
            watching.cancel()
            resume()

        return cure

    def stampede(self, fault: Fault) -> Cure | None:
        """Let all clients lose their connections and come back at once, with more of them."""
        if self._lent is None or self._hub is None or not self._lines:
            return None
        for line, _ in list(self._lines.values()):
            link = self._link(line)
            if link is not None:
                link.reset()
        size = 1 + int(fault.size * _MOST_MORE)
        more = [self._spawn(self._live(next(self._numbers))) for _ in range(size)]

        def leave() -> None:
            for task in more:
                task.cancel()

        return leave

    def _choose(self, fault: Fault) -> int | None:
        """Choose a client that is connected and reads."""
        able = [
            n
            for n, (line, _) in self._lines.items()
            if n < NUMBER and n not in self._stalled and line.is_open
        ]
        return one_of(able, fault.pick) if able else None

    def _spawn(self, work: Any) -> "asyncio.Task[None]":  # noqa: ANN401 - a coroutine
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _link(self, line: _Line) -> Link | None:
        name = line.transport.get_extra_info("sockname")
        return next((link for link in self._loop.links if link.client == name), None)

    async def _live(self, number: int) -> None:
        """Be one client until cancelled: connect, read, and connect again."""
        while self._lent is not None and self._hub is not None:
            hearing = _Hearing(self, self._hub, self.now())
            line = await self._connect(self._lent.ws_url, hearing)
            if line is not None:
                await self._read(number, line, hearing)
            await asyncio.sleep(_AGAIN)

    async def _read(self, number: int, line: _Line, hearing: _Hearing) -> None:
        self._lines[number] = (line, hearing)
        try:
            await line.over
        finally:
            del self._lines[number]
            self.closes += hearing.closes
            line.transport.abort()
        self._trace(f"client {number} was told {hearing.closes} closes and ended with {line.code}")
        self.cut += line.code == TOO_SLOW
        if line.code not in {None, TOO_SLOW}:
            self.note([Divergence("P2", "", "", 0, f"a client was cut with {line.code}", self.now())])

    async def _connect(self, url: str, hearing: _Hearing) -> _Line | None:
        """Open a connection that follows everything; None where nobody listens."""
        parts, frames = urlsplit(url), self._frames(hearing.hub)
        names = "/".join(f"{name.lower()}@kline_{frame.name}" for name in self._names for frame in frames)
        request = (
            f"GET /market/ws/{quote(names, safe='/@')} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        ).encode()
        try:
            _, line = await self._loop.create_connection(
                lambda: _Line(request, hearing.text), str(parts.hostname), parts.port
            )
        except OSError:
            return None
        assert isinstance(line, _Line)  # noqa: S101 - as it was made
        return line

    def _frames(self, hub: "Hub") -> list[Timeframe]:
        return [*hub.timeframes, *([] if _BUILT in hub.timeframes else [_BUILT])]
