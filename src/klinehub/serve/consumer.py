"""A consumer: one client of the hub's streams, whose pace is its own affair.

1. Updates of forming bars are left out while it does not keep up; what it missed it is told when it does, the
   newest of each stream alone.
2. Closes are always queued for it. When more waits than is allowed it is cut with a code that says so, and
   has to ask REST for what it missed.
3. A client that cannot even be told that within a second is cut off without a word.
"""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiohttp import web

from klinehub.dialect.stream import Connection

if TYPE_CHECKING:
    from klinehub.serve.streams import HubStreams

# Bytes that may wait for a client before updates are left out.
BEHIND: Final = 16 << 10
# The system's own buffer for what is sent; left to itself it holds minutes of updates nobody wants any more.
SEND_BUFFER: Final = 64 << 10
# A code of the range that is left to programs.
TOO_SLOW: Final = 4008
REASON: Final = "resync: too slow, ask REST for what is missing"
LAST_WORD: Final = 1.0


def most_waiting(names: int) -> int:
    """Give how many bytes may wait for a client that follows so many streams: some, and two bursts of all."""
    return (128 << 10) + (1 << 10) * names


class Consumer(Connection):
    """One client of a hub's streams; `seen` is the last round of updates that it was told of."""

    def __init__(
        self,
        streams: "HubStreams",
        served: web.WebSocketResponse,
        transport: asyncio.Transport,
        route: str | None,
        *,
        combined: bool,
    ) -> None:
        super().__init__(streams, served, transport, route, combined=combined)
        self.seen = streams.telling.round
        self._of = streams
        self._cutting: asyncio.Task[None] | None = None
        line = transport.get_extra_info("socket")
        if line is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)

    def _subscribe(self, names: Sequence[str]) -> None:
        """Follow names from this moment on: what closes before the next look is told, too."""
        self._of.telling.begin(self._of.clock.now())
        super()._subscribe(names)
        self._of.telling.begin(self._of.clock.now())

    @property
    def waiting(self) -> int:
        """How many bytes wait for it that the system does not take yet."""
        return self._transport.get_write_buffer_size()

    @property
    def behind(self) -> bool:
        """Whether so much waits for it that updates are left out."""
        return self._cutting is not None or self.waiting > BEHIND

    def deliver(self, data: bytes) -> None:
        """Send frames of which the next ones tell the same and more, unless it does not keep up."""
        if self.behind:
            self._of.conflated += 1
        else:
            self.send(data)

    def tell_closes(self, data: bytes) -> None:
        """Send frames that must not be left out; a client that has too many waiting is cut."""
        if self._cutting is not None:
            return
        if self.waiting + len(data) > self._of.most_waiting(len(self.names)):
            self._of.resyncs += 1
            self._cutting = asyncio.get_running_loop().create_task(self.close(TOO_SLOW, REASON))
        else:
            self.send(data)

    async def close(self, code: int, reason: str) -> None:
        """End the connection with a close frame, or without one where nothing is taken for a second."""
        # A transport with something left to send is not closed by being told to.
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(LAST_WORD):
                await super().close(code, reason)
                await asyncio.sleep(LAST_WORD)
        self.abort()
