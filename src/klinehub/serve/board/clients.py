"""Clients: everybody who looks at the board, each at a pace of its own.

1. What a client has not taken yet waits by kind, the newest of each alone; alerts wait in their order.
2. The next message is chosen when the last ones have left: whoever is slow is told less, never something old.
3. A client that takes nothing at all for a while is cut.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
from aiohttp import web

from klinehub.dialect.wire import frame
from klinehub.serve.board.prices import Prices

# Bytes that may wait for a client before it is told more, and how the system's own buffer is bounded.
BEHIND: Final = 32 << 10
SEND_BUFFER: Final = 256 << 10
# Real seconds in which something has to be taken, between two looks at that, and for the last word.
PATIENCE: Final = 30.0
LOOK: Final = 0.05
LAST_WORD: Final = 1.0
MOST_ALERTS: Final = 64
# A code of the range that is left to programs.
TOO_SLOW: Final = 4008
# Which kind goes first: rows before what is told of them.
ORDER: Final = ("hello", "symbols", "view", "failed", "table", "spark", "stale", "health", "evidence")


class Client:
    """One page that looks; `prices` is what it is told of prices, `bars` how many are drawn small."""

    def __init__(
        self,
        served: web.WebSocketResponse,
        transport: asyncio.Transport,
        bars: int,
        on_cut: Callable[[], None],
    ) -> None:
        self.bars = bars
        self.prices: Prices | None = None
        self._seen = 0
        self._served = served
        self._transport = transport
        self._on_cut = on_cut
        self._waiting: dict[str, bytes] = {}
        self._alerts: deque[bytes] = deque(maxlen=MOST_ALERTS)
        self._wake = asyncio.Event()
        line = transport.get_extra_info("socket")
        if line is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    @property
    def waiting(self) -> int:
        """How many bytes wait for it that the system does not take yet."""
        return self._transport.get_write_buffer_size()

    def tell(self, kind: str, message: bytes | msgspec.Struct) -> None:
        """Have a message told in place of an older one of its kind."""
        self._waiting[kind] = message if isinstance(message, bytes) else msgspec.json.encode(message)
        self._wake.set()

    def tell_alert(self, message: bytes) -> None:
        """Have an alert told; of more than it takes the oldest are left to the log."""
        self._alerts.append(message)
        self._wake.set()

    def follow(self, prices: Prices | None) -> None:
        """Be told these prices from now on, at first all of them."""
        if prices is not self.prices:
            self.prices, self._seen = prices, 0
        self._wake.set()

    def wake(self) -> None:
        """Look whether there is something to tell."""
        self._wake.set()

    def drop(self, *kinds: str) -> None:
        """Leave out what waits of some kinds."""
        for kind in kinds:
            self._waiting.pop(kind, None)

    async def send(self) -> None:
        """Send what there is as it is taken; ends when the client was cut."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._has_something():
                if not await self._has_room():
                    self._on_cut()
                    await self.close(TOO_SLOW, "resync: too slow, connect again")
                    return
                message = self._next()
                if message and not self._transport.is_closing():
                    self._transport.write(frame(message))

    async def close(self, code: int, reason: str) -> None:
        """End the connection with a close frame, or without one where nothing is taken for a second."""
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(LAST_WORD):
                await self._served.close(code=code, message=reason.encode())
        if self._transport.get_write_buffer_size():
            self._transport.abort()

    def _has_something(self) -> bool:
        is_behind = self.prices is not None and self._seen < self.prices.round
        return bool(self._waiting or self._alerts or is_behind)

    async def _has_room(self) -> bool:
        """Wait until what was sent has left; False for a client that takes nothing."""
        loop = asyncio.get_running_loop()
        least, since = self.waiting, loop.time()
        while self.waiting > BEHIND and not self._transport.is_closing():
            await asyncio.sleep(LOOK)
            if self.waiting < least:
                least, since = self.waiting, loop.time()
            if loop.time() - since >= PATIENCE:
                return False
        return True

    def _next(self) -> bytes:
        """Take the next message, prices last; nothing where there is none any more."""
        for kind in ORDER:
            if kind in self._waiting:
                return self._waiting.pop(kind)
        if self._alerts:
            return self._alerts.popleft()
        if self.prices is None or self._seen >= self.prices.round:
            return b""
        seen, self._seen = self._seen, self.prices.round
        return self.prices.since(seen)
