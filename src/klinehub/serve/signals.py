"""Signals: what a hub finds, passed on to whoever listens, and what is alerted of it.

1. Each close, and each scan of a screen that is followed, becomes one event, encoded once for everybody.
2. A listener has a bounded queue. One that has no room left is ended, and told to read anew: nobody waits
   for it, and nothing is left out unsaid.
3. The user's own screens are followed always, others as long as somebody listens for them. What they find
   is written into the log of alerts.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, NamedTuple

import msgspec

from klinehub.alerts.outbox import Logged
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.feed.decisions import BarClosed
from klinehub.hub import Hub
from klinehub.scan.presets import PRESETS, preset
from klinehub.scan.running import Scan
from klinehub.scan.scanner import DEFAULT
from klinehub.scan.screen import Screen
from klinehub.serve.alerting import Alerting
from klinehub.serve.answers import Close, Failure
from klinehub.serve.histogram import Histogram
from klinehub.serve.local import NamedScan

MOST_PENDING: Final = 256
MOST_LISTENERS: Final = 64
# The newest alerts, for who looks now and then instead of listening.
MOST_ALERTS: Final = 1_000
# Announcements of base bars whose lag is kept one by one.
MOST_LAGS: Final = 2_048
# Seconds of market time from a bar's end to its announcement.
LATENCY: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 30.0, 60.0)


class Event(NamedTuple):
    """Something that happened: a number that grows, what it is, of which screen, and its JSON."""

    id: int
    kind: str
    screen: str
    data: bytes


class Listener:
    """Somebody who listens: for closes and alerts or not, and for the scans of some screens."""

    def __init__(self, screens: Collection[str], *, closes: bool, alerts: bool = False) -> None:
        self.screens = frozenset(screens)
        self.kinds = {kind for kind, wanted in (("close", closes), ("alert", alerts)) if wanted}
        self.queue: asyncio.Queue[Event | None] = asyncio.Queue(MOST_PENDING)
        # Too slow: what it was not told yet is gone, and it has to read anew.
        self.cut = False

    def wants(self, event: Event) -> bool:
        """Whether it listens for this."""
        return event.screen in self.screens if event.screen else event.kind in self.kinds

    def put(self, event: Event | None) -> bool:
        """Add an event; False where there is no room, and the listener is ended."""
        if not self.queue.full():
            self.queue.put_nowait(event)
            return True
        self.cut = event is not None
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)
        return False


class Signals:
    """Passes on what *hub* finds by *screens*, the user's own; live while its `following` block runs.

    *alerting* are the settings of its alerts, as keywords of `Alerting`.
    """

    def __init__(self, hub: Hub, exchange: str, screens: Sequence[Screen] = (), **alerting: Any) -> None:  # noqa: ANN401 - see `Alerting`
        self.hub = hub
        self.exchange = exchange
        self.own: Mapping[str, Screen] = {screen.name: screen for screen in screens}
        self.alerting = Alerting(hub, self.own, **alerting)
        self.latency = {frame.name: Histogram(LATENCY) for frame in hub.timeframes}
        self.lags: deque[float] = deque(maxlen=MOST_LAGS)
        self.failures: dict[str, str] = {}
        self.alerts: deque[Event] = deque(maxlen=MOST_ALERTS)
        self.cut = 0
        self._listeners: list[Listener] = []
        self._latest: dict[str, Event] = {}
        self._events = 0
        self._group: asyncio.TaskGroup | None = None
        self._wanted: Counter[str] = Counter()
        self._followed: dict[str, asyncio.Task[None]] = {}

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    @property
    def pending(self) -> int:
        """How many events the slowest listener has not taken yet."""
        return max((one.queue.qsize() for one in self._listeners), default=0)

    def screen(self, name: str, frame: str | None = None) -> Screen:
        """Give a screen by its name: one of the user's own, a preset, or the default score.

        Raises UnknownName with the nearest one.
        """
        if name == DEFAULT:
            return self.hub.scanning.base(frame)
        if name in PRESETS and name not in self.own:
            return preset(name, frame)
        if name not in self.own:
            raise UnknownName("screen", name, (*self.own, *PRESETS, DEFAULT))
        own = self.own[name]
        return own if frame is None else msgspec.structs.replace(own, timeframe=frame)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Pass on what happens while the block runs; a bug inside ends the block with its exception."""
        try:
            async with (
                self.alerting.running(self._tell_alerts) as alerting,
                asyncio.TaskGroup() as self._group,
            ):
                works = [self._follow_closes(), *alerting]
                works += [self._follow(tuple(self.own.values()))] if self.own else []
                tasks = [self._group.create_task(work) for work in works]
                try:
                    yield
                finally:
                    for task in (*tasks, *self._followed.values()):
                        task.cancel()
        except BaseExceptionGroup as several:
            if len(several.exceptions) == 1:
                raise several.exceptions[0] from None
            raise
        finally:
            self._group = None
            for listener in self._listeners:
                listener.put(None)

    @asynccontextmanager
    async def listening(
        self, screens: Iterable[str], *, closes: bool, alerts: bool = False
    ) -> AsyncIterator[Listener]:
        """Listen while the block runs; begins with the latest scan of each screen that is followed already.

        Raises UnknownName for a screen that does not exist, and DefinitionError where nothing is passed on.
        """
        if self._group is None:
            raise DefinitionError("This hub passes no events on: ask it again when it is live.")
        wanted = {name: self.screen(name) for name in screens}
        listener = Listener(wanted, closes=closes, alerts=alerts)
        self._listeners.append(listener)
        try:
            for name, screen in wanted.items():
                self._want(name, screen, listener, self._group)
            yield listener
        finally:
            if listener in self._listeners:
                self._listeners.remove(listener)
            for name in wanted:
                self._leave(name)

    def _want(self, name: str, screen: Screen, listener: Listener, group: asyncio.TaskGroup) -> None:
        if name in self._latest:
            listener.put(self._latest[name])
        self._wanted[name] += 1
        if name not in self.own and name not in self._followed:
            self._followed[name] = group.create_task(self._follow((screen,)))

    def _leave(self, name: str) -> None:
        self._wanted[name] -= 1
        if not self._wanted[name]:
            del self._wanted[name]
            if name in self._followed:
                self._followed.pop(name).cancel()
                self._latest.pop(name, None)

    async def _follow_closes(self) -> None:
        """Pass each close on."""
        async with aclosing(self.hub.closes()) as closes:
            async for closed in closes:
                end = timeframe(closed.timeframe).close_time(closed.bar) + 1
                lag = max(0, self.hub.now() - end) / 1000
                self.latency[closed.timeframe].observe(lag)
                if closed.timeframe == self.hub.timeframes[0].name:
                    self.lags.append(lag)
                self._tell("close", "", _close(closed))

    async def _follow(self, screens: tuple[Screen, ...]) -> None:
        """Pass each scan of these screens on, first those of the newest closed bars."""
        good = [screen for screen in screens if await self._first(screen)]
        if not good:
            return
        try:
            async with aclosing(self.hub.scans(*good)) as scans:
                async for scan in scans:
                    self._pass_on(scan)
        except DefinitionError as exc:
            self._fail({screen.name: str(exc) for screen in good})

    async def _first(self, screen: Screen) -> bool:
        """Pass on what a screen finds at the newest closed bars; False where it can not be had."""
        try:
            self._pass_on(await self.hub.scanning.beside(screen))
        except DefinitionError as exc:
            self._fail({screen.name: str(exc)})
            return False
        return True

    def _pass_on(self, scan: Scan) -> None:
        name = scan.result.screen
        self._fail({gone: why for gone, why in scan.failed.items() if gone not in self.failures})
        self._latest[name] = self._tell(
            "scan", name, NamedScan(**msgspec.structs.asdict(scan), exchange=self.exchange)
        )
        if name in self.own:
            self.alerting.note(scan)

    def _tell_alerts(self, new: list[Logged]) -> None:
        """Pass on what was written into the log."""
        self.alerts.extend(self._tell("alert", "", self.alerting.row(one)) for one in new)

    def _fail(self, failures: Mapping[str, str]) -> None:
        """Say of screens that they are given up."""
        self.failures.update(failures)
        for name, why in failures.items():
            self._tell("failed", name, Failure("DefinitionError", why))

    def _tell(self, kind: str, screen: str, value: object) -> Event:
        self._events += 1
        event = Event(self._events, kind, screen, msgspec.json.encode(value))
        for listener in [one for one in self._listeners if one.wants(event)]:
            if not listener.put(event):
                self.cut += 1
                self._listeners.remove(listener)
        return event


def _close(closed: BarClosed) -> Close:
    return Close(closed.timeframe, closed.bar, closed.open_time, closed.complete, closed.missing)
