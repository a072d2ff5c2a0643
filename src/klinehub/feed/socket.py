"""Sockets: one WebSocket that stays connected and subscribed, and hands on what it reads."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from klinehub.errors import FeedError
from klinehub.feed.base import Network
from klinehub.panel.memory import I64, U8

# The exchange takes 10 messages a second on a socket; half of that leaves room for pongs.
MESSAGE_PAUSE: Final = 0.2
BACKOFF: Final = (0.5, 20.0)
# The exchange cuts every socket after 24 hours.
LIFETIME: Final = 23 * 3600 + 50 * 60
BUFFER_BYTES: Final = 1 << 20
BUFFER_FRAMES: Final = 4096


class Intake:
    """Collects the frames of one read and hands them on together, at the latest when it is full.

    *sink* is called with the bytes, the end of each frame in them, and the number of frames.
    """

    def __init__(self, sink: Callable[[U8, I64, int], None]) -> None:
        self._sink = sink
        self._buf = np.empty(BUFFER_BYTES, np.uint8)
        self._view = self._buf.data
        self._ends = np.zeros(BUFFER_FRAMES, np.int64)
        self._frames = 0
        self._size = 0

    def add(self, payload: memoryview) -> bool:
        """Copy one frame in; True when it is the first one, so that a flush must be arranged."""
        end = self._size + len(payload)
        if end > BUFFER_BYTES or self._frames == BUFFER_FRAMES:
            self.flush()
            end = len(payload)
        first = self._frames == 0
        self._view[self._size : end] = payload
        self._ends[self._frames] = end
        self._frames += 1
        self._size = end
        return first

    def flush(self) -> None:
        """Hand on what was collected."""
        frames, self._frames, self._size = self._frames, 0, 0
        if frames:
            self._sink(self._buf, self._ends, frames)


class _Listener(WSListener):
    """Copies text frames into the intake; the loop flushes it once the read is over.

    What the sink raises ends the connection and is kept in `fault`, for nothing awaits a callback.
    """

    def __init__(self, intake: Intake, loop: asyncio.AbstractEventLoop) -> None:
        self.fault: Exception | None = None
        self._intake = intake
        self._loop = loop
        self._transport: WSTransport | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.TEXT or self.fault is not None:
            return
        self._transport = transport
        try:
            first = self._intake.add(frame.get_payload_as_memoryview())
        except Exception as fault:  # noqa: BLE001 - raised by `StreamSocket.run`
            self._end(fault)
            return
        if first:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        try:
            self._intake.flush()
        except Exception as fault:  # noqa: BLE001 - raised by `StreamSocket.run`
            self._end(fault)

    def _end(self, fault: Exception) -> None:
        self.fault = fault
        if self._transport is not None:
            self._transport.disconnect(graceful=False)


class StreamSocket:
    """Keeps one connection to *url* subscribed through *messages* until it is cancelled.

    *on_up* is called after the last message was sent, *on_down* with the reason when it is lost or
    cannot be opened; `up` says which came last.
    *jitter* gives numbers in [0, 1) that spread reconnects.
    """

    def __init__(
        self,
        network: Network,
        url: str,
        messages: Sequence[str],
        intake: Intake,
        *,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        jitter: Callable[[], float],
    ) -> None:
        self._network = network
        self._url = url
        self._messages = messages
        self._intake = intake
        self._on_up = on_up
        self._on_down = on_down
        self._jitter = jitter
        self.up = False

    async def run(self) -> None:
        """Connect, subscribe and reconnect for ever; a bug in the sink ends it and is raised here."""
        wait = BACKOFF[0]
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._once()
            except FeedError as exc:
                self._lost(str(exc))
            if asyncio.get_running_loop().time() - started > BACKOFF[1]:
                wait = BACKOFF[0]
            await asyncio.sleep(wait * (0.5 + 0.5 * self._jitter()))
            wait = min(2 * wait, BACKOFF[1])

    async def _once(self) -> None:
        """Live through one connection; returns when it was lost or has reached its age."""
        listener = _Listener(self._intake, asyncio.get_running_loop())
        transport = await self._network.open_socket(self._url, lambda: listener)
        reason = "it reached its 24 hours"
        try:
            async with asyncio.timeout(LIFETIME):
                for message in self._messages:
                    transport.send(WSMsgType.TEXT, message.encode())
                    await asyncio.sleep(MESSAGE_PAUSE)
                self.up = True
                self._on_up()
                await transport.wait_disconnected()
                reason = "the other side closed it"
        except TimeoutError:
            pass
        except OSError as exc:
            reason = str(exc)
        finally:
            transport.disconnect(graceful=False)
        if listener.fault is not None:
            raise listener.fault
        self._lost(f"The stream was lost: {reason}. It is opened again.")

    def _lost(self, reason: str) -> None:
        self.up = False
        self._on_down(reason)
