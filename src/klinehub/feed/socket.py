"""Sockets: what one WebSocket of streams says, hears and hands on, until it ends."""

import asyncio
import re
from collections.abc import Callable
from typing import Final

import numpy as np
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport

from klinehub.feed.binance import parse_answer
from klinehub.feed.dialogue import PATIENCE, Dialogue
from klinehub.feed.network import printable
from klinehub.panel.memory import I64, U8

# The exchange takes 10 messages a second on a socket; half of that leaves room for pongs.
MESSAGE_PAUSE: Final = 0.2
BUFFER_BYTES: Final = 1 << 20
BUFFER_FRAMES: Final = 4096
# The stream of a combined frame, or symbol and timeframe of a raw one; both stand near its beginning.
STREAM: Final = re.compile(rb'"stream":"([^"]+@[^"]+)"|"s":"([^"]+)","i":"([^"]+)"')
HEAD: Final = 256
# An answer to a control message begins with none of these.
EVENT_BEGINS: Final = (b'{"stream"', b'{"e":')
# The exchange closes with this code what asks for too much, or for what it does not take.
POLICY: Final = 1008
TOO_FAST: Final = "Too many requests"


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


class Line(WSListener):
    """One socket of streams to *url*, from its handshake to its end.

    It says what *dialogue* wants said, at the exchange's pace, copies text frames into *intake* and
    flushes that once a read is over. *on_change* is called when it is `up`, all having been said, when
    names are refused, and when it is `over`. What a callback raises ends it and is kept in `fault`, for
    nothing awaits it.
    """

    def __init__(self, url: str, dialogue: Dialogue, intake: Intake, on_change: Callable[[], None]) -> None:
        self.url = url
        self.dialogue = dialogue
        self.fault: Exception | None = None
        self.reason = ""
        self.over = False
        self.turned_away = False
        self.up_at: float | None = None
        # The names heard while it listens, else None.
        self.heard: set[bytes] | None = None
        self._intake = intake
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self.opened = self._loop.time()
        self._transport: WSTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._resting = self._attentive = False

    @property
    def connected(self) -> bool:
        """Whether the handshake was told of; one may end before that."""
        return self._transport is not None

    @property
    def up(self) -> bool:
        """Whether all names were asked for, and it is not over."""
        return self.up_at is not None and not self.over

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Be open; a handshake that nobody waits for any more is ended."""
        if self.over:
            transport.disconnect(graceful=False)
        self._transport = transport
        self.opened = self._loop.time()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame; a close is answered at once, for nothing follows it and pings would wait."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect(graceful=False)
        # What was too large comes all the same while picows is about to close for it.
        if frame.msg_type != WSMsgType.TEXT or self.over or frame.payload_size > BUFFER_BYTES:
            return
        payload = frame.get_payload_as_memoryview()
        try:
            if self._attentive:
                self._attend(payload)
            if self._intake.add(payload):
                self._loop.call_soon(self._guarded, self._intake.flush)
        except Exception as fault:  # noqa: BLE001 - raised by `Seat.run`
            self._fail(fault)

    def tell(self) -> None:
        """Say what is to be said; call it whenever the dialogue may have something new."""
        if self._transport is not None and not self.over:
            self._guarded(self._tell)

    def listen(self, *, on: bool) -> None:
        """Note the names of streams as they are heard, or no longer; it costs about 2 us a frame."""
        self.heard = set() if on else None
        self._attentive = True

    def drop(self, reason: str) -> None:
        """End it from this side."""
        if self._transport is not None and not self.over:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect(graceful=False)
        self._end(reason)

    async def watch(self) -> None:
        """Wait until the socket is gone."""
        if self._transport is None:
            return
        try:
            await self._transport.wait_disconnected()
        except (OSError, WSError) as exc:
            self._end(printable(str(exc.args[-1] if exc.args else exc)))
        else:
            self._end(self._farewell(self._transport))

    def _tell(self) -> None:
        if self._resting:
            return
        now = self._loop.time()
        message = self.dialogue.next(now)
        if message is not None and self._transport is not None:
            self._transport.send(WSMsgType.TEXT, message.encode())
            self._attentive = self._resting = True
            self._wake(MESSAGE_PAUSE)
        elif not self.dialogue.settled:
            self._wake(PATIENCE)
        if self.up_at is None and self.dialogue.said:
            self.up_at = now
            self._on_change()

    def _wake(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._woken)

    def _woken(self) -> None:
        self._resting = False
        self.tell()

    def _attend(self, payload: memoryview) -> None:
        """Look for an answer, or for the name of a stream."""
        head = bytes(payload[:HEAD])
        if not head.startswith(EVENT_BEGINS):
            answer = parse_answer(bytes(payload))
            if answer is not None:
                self.dialogue.answered(answer, self._loop.time())
                self._attentive = self.heard is not None or self.dialogue.unanswered
                self.tell()
                if answer.error is not None:
                    self._on_change()
        elif self.heard is not None and (found := STREAM.search(head)):
            name, symbol, timeframe = found.groups()
            self.heard.add(name or symbol.lower() + b"@kline_" + timeframe)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as fault:  # noqa: BLE001 - raised by `Seat.run`
            self._fail(fault)

    def _fail(self, fault: Exception) -> None:
        self.fault = self.fault or fault
        self.drop(str(fault))

    def _farewell(self, transport: WSTransport) -> str:
        """Say how it ended, and learn from it when the exchange has turned it away."""
        shaken = transport.close_handshake
        if shaken is None:
            return "the connection broke"
        if shaken.recv is None:
            return printable((shaken.sent.reason if shaken.sent else "") or "it was closed from this side")
        code, reason = shaken.recv.code.value, printable(shaken.recv.reason or "")
        if code == POLICY and reason != TOO_FAST and not self.over:
            self.turned_away = self.dialogue.turned_away(self._loop.time())
        return f"the exchange closed it with {code}{f' ({reason})' if reason else ''}"

    def _end(self, reason: str) -> None:
        if self.over:
            return
        self.over, self.reason = True, reason
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._guarded(self._on_change)
