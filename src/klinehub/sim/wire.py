"""Connections in memory: bytes that arrive in order, late by a seeded delay, or not at all."""

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np

Address = tuple[str, int]
# Draws the seconds that one write takes to the other end.
Delay = Callable[[np.random.Generator], float]

# What the buffers of two kernels and the line between them hold before a writer notices.
WINDOW: Final = 256 << 10
HIGH_WATER: Final = 64 << 10
PIECE: Final = 64 << 10
# Virtual time counts whole nanoseconds, so that a moment reached is the moment asked for.
DIGITS: Final = 9


def steady(seconds: float) -> Delay:
    """Make every write take *seconds*."""
    return lambda _: seconds


def between(low: float, high: float) -> Delay:
    """Make a write take *low* to *high* seconds, evenly spread."""
    return lambda rng: low + (high - low) * rng.random()


def heavy(median: float, sigma: float = 1.0) -> Delay:
    """Make a write take *median* seconds, now and then many times that (log-normal)."""
    return lambda rng: float(median * np.exp(sigma * rng.standard_normal()))


class WireSocket:
    """What an in-memory transport shows where code asks for its socket."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, name: Address, peer: Address | None = None) -> None:
        self._name = name
        self._peer = peer

    def fileno(self) -> int:
        """Give no descriptor: picows then writes through the transport, not past it."""
        return -1

    def getsockname(self) -> Address:
        """Give the address of this end."""
        return self._name

    def getpeername(self) -> Address:
        """Give the address of the other end."""
        if self._peer is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return self._peer

    def setsockopt(self, *_: object) -> None:
        """Take any option; none matters in memory."""

    def getsockopt(self, *_: object) -> int:
        """Give 0 for any option."""
        return 0


class Pipe:
    """One direction of a link: what is sent arrives in order, each piece after *delay*."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: np.random.Generator, delay: Delay) -> None:
        self.delay = delay
        # Cut what arrives into pieces of at most this many bytes; 0 means the usual size.
        self.chunk = 0
        self.waiting = 0
        self.source: Wire | None = None
        self.target: Wire | None = None
        self._loop = loop
        self._rng = rng
        self._items: deque[tuple[float, memoryview | Callable[[], None]]] = deque()
        self._latest = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stalled = False

    def post(self, item: bytes | Callable[[], None]) -> None:
        """Send bytes, or something that happens when everything before it has arrived."""
        due = round(max(self._latest, self._loop.time() + self.delay(self._rng)), DIGITS)
        self._latest = due
        if callable(item):
            self._items.append((due, item))
        else:
            self.waiting += len(item)
            self._items.append((due, memoryview(item)))
        if self._timer is None:
            self._arm()

    def stall(self) -> None:
        """Let nothing arrive from now on; neither end notices."""
        self._stalled = True

    def resume(self) -> None:
        """Let what was held arrive now, and the rest as before."""
        self._stalled = False
        self._arm()

    def wake(self) -> None:
        """Go on because the target reads again."""
        self._arm()

    def clear(self) -> None:
        """Lose everything that has not arrived."""
        self._items.clear()
        self.waiting = 0
        self._arm()

    def _arm(self) -> None:
        """Wake up when the first piece is due, unless it is held up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._items and not self._held():
            self._timer = self._loop.call_at(self._items[0][0], self._arrive)

    def _held(self) -> bool:
        return self._stalled or (self.target is not None and not self.target.is_reading())

    def _arrive(self) -> None:
        """Hand over everything that is due."""
        self._timer = None
        while self._items and not self._held() and self._items[0][0] <= self._loop.time():
            due, item = self._items.popleft()
            if callable(item):
                item()
                continue
            piece, rest = item[: self.chunk or PIECE], item[self.chunk or PIECE :]
            if rest:
                self._items.appendleft((due, rest))
            self.waiting -= len(piece)
            if self.target is not None:
                self.target.feed(bytes(piece))
        if self.source is not None:
            self.source.drained()
        self._arm()


class Wire(asyncio.Transport):
    """One end of a link, as asyncio protocols know transports."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, out: Pipe, back: Pipe, name: Address, peer: Address
    ) -> None:
        shown = WireSocket(name, peer)
        super().__init__({"socket": shown, "sockname": name, "peername": peer})
        self._loop = loop
        self._out = out
        self._back = back
        self._protocol: asyncio.BaseProtocol | None = None
        self._opened: asyncio.Future[None] | None = None
        self._reading = True
        self._closing = False
        self._lost = False
        self._writing_paused = False
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        out.source = self
        back.target = self

    def request(self, accept: Callable[[], None], opened: "asyncio.Future[None]") -> None:
        """Ask the other end to *accept*; *opened* is done when its answer has arrived."""
        self._opened = opened
        self._out.post(accept)

    def answer(self, arrived: Callable[[], None]) -> None:
        """Answer a request for a connection."""
        self._out.post(arrived)

    def admit(self) -> None:
        """Learn that the other end has accepted."""
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)

    def connect(self, protocol: asyncio.BaseProtocol) -> None:
        """Give this end its protocol."""
        self._protocol = protocol
        protocol.connection_made(self)

    @property
    def gone(self) -> bool:
        """Whether the protocol was told that the connection is over."""
        return self._lost

    def feed(self, data: bytes) -> None:
        """Hand bytes that arrived to the protocol, in the way it takes them."""
        protocol = self._protocol
        if self._lost or self._closing or protocol is None:
            return
        if not isinstance(protocol, asyncio.BufferedProtocol):
            cast("asyncio.Protocol", protocol).data_received(data)
            return
        view = memoryview(data)
        while view and not self._lost:
            room = memoryview(cast("Any", protocol.get_buffer(len(view))))
            size = min(len(room), len(view))
            room[:size] = view[:size]
            protocol.buffer_updated(size)
            view = view[size:]

    def eof(self) -> None:
        """Tell the protocol that the other end sends nothing more."""
        if self._lost or self._closing:
            return
        if self._protocol is None:
            self.lose(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
        elif not cast("asyncio.Protocol", self._protocol).eof_received():
            self.close()

    def lose(self, error: Exception | None) -> None:
        """Tell the protocol, once and soon, that the connection is over."""
        if self._lost:
            return
        self._lost = self._closing = True
        self._back.wake()
        if self._protocol is not None:
            self._loop.call_soon(self._protocol.connection_lost, error)
        elif self._opened is not None and not self._opened.done():
            self._opened.set_exception(error or ConnectionAbortedError(errno.ECONNABORTED, "closed"))

    def drained(self) -> None:
        """Notice that bytes have arrived: let the protocol write again, or finish closing."""
        size = self.get_write_buffer_size()
        if self._writing_paused and size <= self._low and self._protocol is not None:
            self._writing_paused = False
            if not self._lost:
                self._protocol.resume_writing()
        if self._closing and size == 0:
            self.lose(None)

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        """Send *data*; it is copied at once."""
        if self._closing or not data:
            return
        self._out.post(bytes(data))
        if not self._writing_paused and self.get_write_buffer_size() > self._high:
            self._writing_paused = True
            if self._protocol is not None:
                self._protocol.pause_writing()

    def write_eof(self) -> None:
        """Send an end of stream and keep reading."""
        peer = self._out.target
        if peer is not None:
            self._out.post(peer.eof)

    def can_write_eof(self) -> bool:
        """Say that an end of stream can be sent."""
        return True

    def close(self) -> None:
        """Send what is written, then an end of stream."""
        if not self._closing:
            self._closing = True
            self._back.wake()
            self.write_eof()
            if self.get_write_buffer_size() == 0:
                self.lose(None)

    def abort(self) -> None:
        """Be gone at once; what is on its way still arrives."""
        if not self._closing:
            self.write_eof()
        self.lose(None)

    def is_closing(self) -> bool:
        """Say whether this end is closed or about to be."""
        return self._closing

    def is_reading(self) -> bool:
        """Say whether this end takes what arrives."""
        return self._reading or self._closing

    def pause_reading(self) -> None:
        """Leave what arrives in the pipe, where the other end will feel it."""
        self._reading = False

    def resume_reading(self) -> None:
        """Take what has waited."""
        self._reading = True
        self._back.wake()

    def get_write_buffer_size(self) -> int:
        """Give the bytes that the line has no room for."""
        return max(0, self._out.waiting - WINDOW)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Give the marks at which the protocol may write again and must pause."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the marks at which the protocol must pause and may write again."""
        self._high = (HIGH_WATER if low is None else 4 * low) if high is None else high
        self._low = self._high // 4 if low is None else low

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand this end to another protocol."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Give the protocol of this end."""
        return cast("asyncio.BaseProtocol", self._protocol)


class Link:
    """A connection as the network sees it: where faults are injected."""

    def __init__(self, number: int, up: Pipe, down: Pipe, client: Address, server: Address) -> None:
        self.number = number
        self.up = up
        self.down = down
        self.client = client
        self.server = server

    def stall(self) -> None:
        """Hold everything in both directions; neither end notices (a half-open connection)."""
        self.up.stall()
        self.down.stall()

    def resume(self) -> None:
        """End a stall: what was held arrives, in order."""
        self.up.resume()
        self.down.resume()

    def reset(self) -> None:
        """Break the connection: what is on its way is lost and both ends see a reset."""
        for pipe in (self.up, self.down):
            pipe.clear()
            if pipe.target is not None:
                pipe.target.lose(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def cut(self) -> None:
        """End the connection where it is: what is on its way is lost and both ends see an end of stream."""
        for pipe in (self.up, self.down):
            pipe.clear()
        for pipe in (self.up, self.down):
            if pipe.target is not None:
                pipe.target.eof()

    @property
    def over(self) -> bool:
        """Whether both ends know that the connection is over."""
        ends = (self.up.target, self.down.target)
        return all(end is not None and end.gone for end in ends)
