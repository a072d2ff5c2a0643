"""Seats: a group of streams that stays subscribed over one socket after the other."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import picows

from klinehub.errors import Blocked, FeedError
from klinehub.feed.base import Network
from klinehub.feed.dialogue import Dialogue, Wishes
from klinehub.feed.doorman import Doorman
from klinehub.feed.network import explain
from klinehub.feed.socket import Intake, Line
from klinehub.panel.memory import I64, U8

BACKOFF: Final = (0.5, 8.0)
# A connection lost sooner than this after it came up was none; the backoff goes on to grow.
LASTING: Final = 5.0
# Seconds to open a connection: a lost packet must not cost ten of them, a slow proxy may need them.
PATIENCE: Final = (4.0, 4.0, 10.0)
FAILURES_PER_ROUTE: Final = 3
# After bad names have cost this many sockets in a row, losing one counts as a failure again.
MOST_PARTINGS: Final = 30
# How long a route is left alone that refuses this address, and one that is asked too often.
REFUSED: Final = 300.0
TOO_OFTEN: Final = 60.0
TOO_OFTEN_CODES: Final = (418, 429)
# The exchange cuts every socket after 24 hours. Seats change theirs in slots of their own before that.
ROTATE_AFTER: Final = 23 * 3600.0
SLOT: Final = 120.0
SLOTS: Final = 25
POSTPONED: Final = 30.0
# A hand-over takes this many seconds at least and at most; one that failed is tried again later.
PROOF: Final = 3.0
HAND_OVER: Final = 60.0
NEXT_HAND_OVER: Final = 600.0
LOOK: Final = 0.25
# An exchange that answers no message is listened to after this many seconds all the same.
UNANSWERED: Final = 2.0
NEVER: Final = float("inf")
# A timer may be early by as much as the loop's clock is coarse.
MOMENT: Final = 0.001


class Seat:
    """Keeps *names* subscribed on one of *routes* (full WebSocket URLs) and decides nothing about klines.

    *on_batch* gets the seat's number, bytes, the end of each frame in them, and the number of frames;
    during a hand-over both sockets deliver. *on_change* gets the number whenever the seat is up, has
    lost or replaced its socket, could not open one, gave a hand-over up or had names refused: its
    attributes say what. It is never called from within one of the seat's own methods but `run`.
    *jitter* gives numbers in [0, 1). *doorman* is shared by all seats of a hub. Times are the loop's.
    """

    def __init__(
        self,
        number: int,
        network: Network,
        routes: Sequence[str],
        names: Iterable[str],
        *,
        on_batch: Callable[[int, U8, I64, int], None],
        on_change: Callable[[int], None],
        jitter: Callable[[], float],
        doorman: Doorman,
    ) -> None:
        self.number = number
        self.routes = tuple(routes)
        self.reconnects = 0
        self.rotations = 0
        self.given_up = 0
        self.last_loss = ""
        self._network = network
        self._wishes = Wishes(names)
        self._intake = Intake(lambda buf, ends, frames: on_batch(number, buf, ends, frames))
        self._on_change = on_change
        self._jitter = jitter
        self._doorman = doorman
        self._at = 0
        self._closed_until: dict[int, float] = {}
        self._failures = self._failures_here = self._partings = 0
        self._line: Line | None = None
        self._lines: list[Line] = []
        self._watching: dict[asyncio.Task[None], Line] = {}
        self._fault: BaseException | None = None
        self._news = asyncio.Event()
        self._overlap = ""
        self._dropped = False
        self._rotate_at = self._next_overlap = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The streams wanted now."""
        return tuple(self._wishes.names)

    @property
    def refused(self) -> tuple[str, ...]:
        """The names that the exchange does not take; each is asked for again after a while."""
        return self._wishes.refused

    @property
    def route(self) -> str:
        """The URL in use, or tried next."""
        return self.routes[self._at]

    @property
    def up(self) -> bool:
        """Whether a socket is open on which all names were asked for that are not refused."""
        return any(line.up for line in self._lines)

    @property
    def since(self) -> float:
        """When the current socket was opened (seconds of the loop); infinite without one."""
        return NEVER if self._line is None or self._line.over else self._line.opened

    def add(self, names: Iterable[str]) -> None:
        """Follow these too."""
        self._wishes.add(names)
        self._tell()

    def remove(self, names: Iterable[str]) -> None:
        """Leave these."""
        self._wishes.remove(names)
        self._tell()

    def resubscribe(self, names: Iterable[str]) -> None:
        """Leave these and ask for them anew, on the same socket."""
        wanted = [name for name in names if name in self._wishes.names]
        for line in self._lines:
            line.dialogue.repeat(wanted)
        self._tell()

    def renew(self, reason: str, *, overlap: bool) -> None:
        """Change the socket: with *overlap* once the next one is proven, without at once.

        A seat that has no socket is about to open one anyway.
        """
        if self._line is None or self._line.over:
            return
        if overlap:
            self._overlap = self._overlap or reason
            self._news.set()
        else:
            self._dropped = True
            asyncio.get_running_loop().call_soon(self._line.drop, reason)

    def reroute(self, reason: str) -> None:
        """Change to the next route at once, and stay there."""
        self._go_round()
        self._failures = 0
        self.renew(reason, overlap=False)
        self._news.set()

    async def run(self) -> None:
        """Stay subscribed for ever; a bug in the sink ends it and is raised here."""
        try:
            while True:
                self._news.clear()
                self._overlap, self._dropped = "", False
                pause, alone = await self._stretch()
                if pause > 0:
                    await self._doorman.rest(self._news, pause, alone=alone)
        finally:
            await self._leave()

    async def _stretch(self) -> tuple[float, bool]:
        """Live on one socket and its successors; gives the pause after its end and whether to rest alone."""
        at = self._at
        try:
            line = await self._open()
        except FeedError as exc:
            return self._failed(exc, at)
        self._take(line)
        while not line.over:
            due = min(self._rotate_at, self._next_overlap if self._overlap else NEVER)
            if self._now() + MOMENT >= due:
                line = await self._hand_over(line)
            else:
                await self._until(due)
            self._raise_fault()
        return self._lost(line)

    async def _open(self) -> Line:
        """Open a socket and let it begin to talk; raises FeedError."""
        line = Line(self.route, Dialogue(self._wishes), self._intake, lambda: self._changed(line))
        try:
            async with self._doorman.door(), asyncio.timeout(PATIENCE[self._failures % len(PATIENCE)]):
                await self._network.open_socket(line.url, lambda: line)
        except TimeoutError as exc:
            line.drop("it took too long")
            raise explain(exc, line.url, self._network.via(line.url)) from exc
        except BaseException:
            line.drop("it is not wanted any more")
            raise
        if not line.connected:
            # Lost right after its handshake: picows gives a transport all the same, and tells nobody.
            raise explain(ConnectionResetError(), line.url, self._network.via(line.url))
        self._lines.append(line)
        watching = asyncio.get_running_loop().create_task(line.watch())
        self._watching[watching] = line
        watching.add_done_callback(self._ended)
        line.tell()
        return line

    def _take(self, line: Line) -> None:
        """Make a socket the current one, and plan its end: each seat has a slot of its own."""
        self._line = line
        slot = SLOT * (self.number % SLOTS + 0.5 * self._jitter())
        self._rotate_at = line.opened + ROTATE_AFTER - slot
        self._next_overlap = line.opened
        if line.url != self.route:
            self._dropped = True
            line.drop("another route was asked for")

    async def _until(self, time: float) -> None:
        """Wait for news until *time*; what was refused long ago is asked for again on the way."""
        try:
            async with asyncio.timeout_at(min(time, self._wishes.due or NEVER)):
                await self._news.wait()
        except TimeoutError:
            self._wishes.recall(self._now() + MOMENT)
            self._tell()
        self._news.clear()

    async def _hand_over(self, old: Line) -> Line:
        """Put a proven socket in the place of *old*; gives the one that is current then."""
        if not self._overlap and not self._doorman.may_rotate(self.number):
            self._rotate_at = self._now() + POSTPONED
            return old
        new = None
        try:
            async with asyncio.timeout(HAND_OVER):
                new = await self._successor(old)
        except TimeoutError:
            self.last_loss = f"Socket {self.number}: its successor delivered less. It is tried again later."
        finally:
            self._doorman.rotated(self.number)
        self._overlap = ""
        if new is not None:
            self._replace(old, new)
        elif not old.over:
            old.listen(on=False)
            self.given_up += 1
            self._rotate_at = self._now() + NEXT_HAND_OVER
            self._on_change(self.number)
        return new or old

    async def _successor(self, old: Line) -> Line | None:
        """Open sockets until one is proven, or *old* is lost and one is open; None when it is no use."""
        attempt = 0
        while not old.over:
            attempt += 1
            try:
                new = await self._open()
            except FeedError as exc:
                self.last_loss = str(exc)
                if closed_for(exc):
                    return None
            else:
                if await self._proven(old, new):
                    return new
            await asyncio.sleep(self._backoff(attempt))
        return None

    async def _proven(self, old: Line, new: Line) -> bool:
        """Wait until *new* delivers at least what *old* delivers, or has to do without that proof.

        An answer to SUBSCRIBE proves nothing: both are listened to from the last answer on, until each
        name heard on *old* was heard on *new* too.
        """
        began = NEVER
        try:
            while not new.over:
                now = self._now()
                if old.over:
                    return True
                if began == NEVER and new.up_at is not None:
                    if new.dialogue.settled or now >= new.up_at + UNANSWERED:
                        began = now
                        old.listen(on=True)
                        new.listen(on=True)
                elif now >= began + PROOF and self._covers(old, new):
                    new.listen(on=False)
                    return True
                await asyncio.sleep(LOOK)
        except asyncio.CancelledError:
            self._part(new)
            raise
        self._part(new)
        return False

    def _covers(self, old: Line, new: Line) -> bool:
        """Say whether *new* was heard at all, and each wanted name of *old* on it too."""
        if not new.heard:
            return False
        lacking = (old.heard or set()) - new.heard
        return lacking.isdisjoint(name.encode() for name in self._wishes.names.keys() - set(self.refused))

    def _replace(self, old: Line, new: Line) -> None:
        """Put *new* in the place of *old*, which may be lost already."""
        self.rotations += not old.over
        self._take(new)
        self._next_overlap = self._now() + HAND_OVER
        self._part(old)
        self._on_change(self.number)

    def _part(self, line: Line) -> None:
        """Leave a socket that is not counted on any more."""
        self._lines.remove(line)
        line.drop("it is not needed any more")

    def _lost(self, line: Line) -> tuple[float, bool]:
        """Learn from the end of the current socket; gives the pause and whether to rest alone."""
        self._line = None
        self._part(line)
        if line.fault is not None:
            raise line.fault
        if self._dropped:
            return 0.0, False
        if line.up_at is not None and self._now() - line.up_at >= LASTING:
            self._failures = self._failures_here = self._partings = 0
        elif line.turned_away and self._partings < MOST_PARTINGS:
            self._partings += 1
        else:
            self._count_failure()
        return self._backoff(self._failures), False

    def _failed(self, exc: FeedError, at: int) -> tuple[float, bool]:
        """Learn from a connection to route *at* that could not be opened; gives the same."""
        now, closed = self._now(), closed_for(exc)
        self.last_loss = str(exc)
        if closed:
            self._closed_until[at] = now + closed
            self._failures_here = FAILURES_PER_ROUTE
        if at == self._at:
            self._count_failure()
        self._on_change(self.number)
        shut = self._closed_until.get(self._at, 0.0) - now
        return max(shut, self._backoff(self._failures)), shut > 0

    def _count_failure(self) -> None:
        self._failures += 1
        self._failures_here += 1
        if self._failures_here >= FAILURES_PER_ROUTE:
            self._go_round()

    def _go_round(self) -> None:
        """Turn to the next route that is not closed to us, or to the one that opens first."""
        count, now = len(self.routes), self._now()
        others = [(self._at + step) % count for step in range(1, count + 1)]
        self._at = min(others, key=lambda at: max(self._closed_until.get(at, 0.0), now))
        self._failures_here = 0

    def _backoff(self, failures: int) -> float:
        """Give the seconds to wait after that many failures in a row."""
        longest = min(BACKOFF[0] * 2.0 ** min(max(failures - 1, 0), 10), BACKOFF[1])
        return longest * (0.5 + 0.5 * self._jitter())

    def _changed(self, line: Line) -> None:
        """Take note that a socket is up or over, or that names were refused on it."""
        if line not in self._lines:
            return
        if line.up:
            self._doorman.came_up()
        elif line.over and line is self._line:
            self.reconnects += 1
            self.last_loss = f"Socket {self.number} was lost: {line.reason}. It is opened again."
        self._news.set()
        self._on_change(self.number)

    def _ended(self, watching: "asyncio.Task[None]") -> None:
        """Let go of a socket that is gone; a fault found after its end is raised too."""
        line = self._watching.pop(watching)
        fault = None if watching.cancelled() else watching.exception()
        self._fault = self._fault or line.fault or fault
        if self._fault is not None:
            self._news.set()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _tell(self) -> None:
        for line in self._lines:
            asyncio.get_running_loop().call_soon(line.tell)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _leave(self) -> None:
        """Close what is open."""
        lines, self._lines, self._line = self._lines, [], None
        for line in lines:
            line.drop("the seat is left")
        if self._watching:
            await asyncio.wait(list(self._watching))


def closed_for(error: FeedError) -> float:
    """Give the seconds for which a route is to be left alone after a refused handshake; 0 for none."""
    if isinstance(error, Blocked):
        return REFUSED
    cause = error.__cause__
    response = cause.response if isinstance(cause, picows.WSHandshakeError) else None
    return TOO_OFTEN if response is not None and int(response.status) in TOO_OFTEN_CODES else 0.0
