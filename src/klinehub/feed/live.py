"""The live shell: carries out what the core decides - streams, repairs, timers - and decides nothing."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from klinehub.domain.clock import Clock
from klinehub.errors import DataError, FeedError
from klinehub.feed import binance
from klinehub.feed.asking import ask_klines, sync
from klinehub.feed.base import Network
from klinehub.feed.budget import WeightGate
from klinehub.feed.core import Core, Decisions, Fetch
from klinehub.feed.rest import RestClient
from klinehub.feed.socket import Intake, StreamSocket
from klinehub.panel.memory import I64, U8

# Repairs wait here; what does not fit is found again by the next timer.
MOST_REPAIRS: Final = 2_048
REPAIR_WORKERS: Final = 8
TIMER: Final = 1_000  # market ms between two looks at what is missing
SHORTEST_TIMER: Final = 0.05  # real seconds, when market time runs fast
SYNC_EVERY: Final = 1_800.0  # real seconds between two readings of the exchange's time
UP_WITHIN: Final = 15.0

# Starts a task that lives as long as its hub.
Spawn = Callable[[Coroutine[object, object, None]], object]


class Live:
    """One exchange's REST and streams, feeding one core.

    *sink* gets every `Decisions` that is not empty, in the order they were taken.
    """

    def __init__(
        self,
        core: Core,
        rest: RestClient,
        gate: WeightGate,
        network: Network,
        clock: Clock,
        *,
        sink: Callable[[Decisions], None],
        jitter: Callable[[], float],
    ) -> None:
        self.core = core
        self.sockets: list[StreamSocket] = []
        self.reconnects = 0
        self.repaired = 0
        self.last_loss = ""
        self._rest = rest
        self._gate = gate
        self._network = network
        self._clock = clock
        self._sink = sink
        self._jitter = jitter
        self._repairs: asyncio.Queue[Fetch] = asyncio.Queue(MOST_REPAIRS)
        self._all_up = asyncio.Event()

    def start(self, spawn: Spawn, url: str, symbols: Sequence[str], *, per_socket: int) -> None:
        """Open the streams of *symbols*, at most *per_socket* names on one socket."""
        names = [binance.stream_name(s, tf.name) for tf in self.core.streamed for s in symbols]
        for at in range(0, len(names), per_socket):
            messages = binance.subscribe_messages(names[at : at + per_socket])
            socket = StreamSocket(
                self._network,
                url,
                messages,
                Intake(self._on_frames),
                on_up=self._socket_up,
                on_down=self._socket_down,
                jitter=self._jitter,
            )
            self.sockets.append(socket)
            spawn(socket.run())

    def keep(self, spawn: Spawn) -> None:
        """Begin the timer, the repairs and the readings of the exchange's time."""
        spawn(self._tick())
        spawn(self._sync_often())
        for _ in range(REPAIR_WORKERS):
            spawn(self._repair())

    async def up(self) -> bool:
        """Wait until all streams are subscribed; False when they are not within a few seconds."""
        try:
            async with asyncio.timeout(UP_WITHIN):
                await self._all_up.wait()
        except TimeoutError:
            return False
        return True

    async def fetch(self, item: Fetch) -> None:
        """Ask for one range of klines and hand the answer to the core."""
        exact, asked = await ask_klines(self._rest, item)
        self._emit(self.core.on_rest(item, exact, asked))

    def _on_frames(self, buf: U8, ends: I64, frames: int) -> None:
        self._emit(self.core.on_batch(buf, ends, frames, self._gate.now()))

    def _emit(self, decisions: Decisions) -> None:
        for item in decisions.fetches:
            if self._repairs.full():
                self.core.on_failed(item, self._gate.now())
            else:
                self._repairs.put_nowait(item)
        if decisions.closed or decisions.revised or decisions.conflicts or decisions.events:
            self._sink(decisions)

    @property
    def sockets_up(self) -> int:
        """How many sockets are subscribed now."""
        return sum(socket.up for socket in self.sockets)

    def _socket_up(self) -> None:
        if self.sockets_up == len(self.sockets):
            self._all_up.set()

    def _socket_down(self, reason: str) -> None:
        self.last_loss = reason
        self.reconnects += 1
        self._all_up.clear()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(max(SHORTEST_TIMER, TIMER / 1000 / self._clock.rate))
            self._emit(self.core.on_timer(self._gate.now()))

    async def _sync_often(self) -> None:
        while True:
            await asyncio.sleep(SYNC_EVERY)
            try:
                await sync(self._rest, self._gate)
            except FeedError as exc:
                self.last_loss = str(exc)

    async def _repair(self) -> None:
        """Carry out repairs one by one; one that fails is found missing again by a later timer."""
        while True:
            item = await self._repairs.get()
            try:
                await self.fetch(item)
                self.repaired += 1
            except (FeedError, DataError) as exc:
                self.last_loss = str(exc)
                self.core.on_failed(item, self._gate.now())
