"""Telling: what a hub's ring holds, told to other hubs and kept for those that come later.

1. A close is told at once. History, late bars and corrections follow within a second or so, oldest first.
2. The ring counts its writes slot by slot; what was written since it was told is told again, whole. So
   nothing waits in a queue while there is no server: the ring itself is what is told when it is back.
3. What the stream keeps already, told by this hub before or by another one that follows the same symbols, is
   known by its checksum and not told twice.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

import numpy as np

from klinehub.domain.clock import Clock
from klinehub.domain.stale import Reason
from klinehub.feed.core import Core
from klinehub.feed.decisions import BarClosed, Correction, Decisions
from klinehub.relay.cutting import Cut, Cutter, Flags
from klinehub.relay.link import Link
from klinehub.relay.messages import Bars, Fix, Listed, Pulse, encode

# Real seconds between two pulses, and between two looks at what came other than by a close.
EVERY: Final = 1.0
# Slots told between two looks for a close: some milliseconds.
MOST_SLOTS: Final = 8
MOST_CLOSES: Final = 256
MOST_FIXES: Final = 1_024
MOST_LAGS: Final = 1_024
# Scans and alerts that wait for a server; of more the oldest are dropped.
MOST_FOUND: Final = 256
_NEVER: Final = -2


class _Close(NamedTuple):
    """A close to tell, and when (monotonic seconds) the hub announced it."""

    event: BarClosed
    at: float


class _Sent(NamedTuple):
    """A bar that is on its way: of which nobody has said yet that it is kept."""

    t: int
    bar: int
    identity: str
    fixes: tuple[Fix, ...]


class Teller:
    """Tells what the ring of *core* holds of the rows marked by *own*, as hub *name*.

    *listed* gives what is listed and followed, of which the stream keeps at least *bars* bars. `lags` are the
    newest real seconds from a close's announcement to its message, `kept_lags` to the word that it is kept.
    """

    def __init__(
        self,
        name: str,
        core: Core,
        clock: Clock,
        *,
        now: Callable[[], int],
        own: Callable[[], Flags],
        listed: Callable[[], Listed],
        bars: int,
    ) -> None:
        self.told = 0
        self.lags: deque[float] = deque(maxlen=MOST_LAGS)
        self.kept_lags: deque[float] = deque(maxlen=MOST_LAGS)
        self._name = name
        self._core = core
        self._ring = core.ring
        self._clock = clock
        self._now = now
        self._own = own
        self._listed = listed
        self._bars = bars
        self._cutter = Cutter(core.ring, lambda: core.repair.absent)
        self._saved = np.full_like(core.ring.memory.writes, _NEVER)
        self._closes: deque[_Close] = deque(maxlen=MOST_CLOSES)
        self._fixes: defaultdict[tuple[int, int], list[Fix]] = defaultdict(list)
        self._found: deque[tuple[str, bytes]] = deque(maxlen=MOST_FOUND)
        self._known: set[str] = set()
        self._sent: list[_Sent] = []
        self._kept = 0
        self._listing: Listed | None = None
        self._due = asyncio.Event()

    def note(self, decisions: Decisions) -> None:
        """Say what has closed or was corrected."""
        at = self._clock.monotonic()
        self._closes.extend(_Close(event, at) for event in decisions.closed)
        for one in decisions.corrected:
            self._fix(one)
        if decisions.news:
            self._due.set()

    def found(self, subject: str, data: bytes) -> None:
        """Say what a screen found, or what was alerted."""
        self._found.append((subject, data))
        self._due.set()

    @property
    def pending(self) -> int:
        """How many bars are not told as they are."""
        return len(self._slots(self._saved.size))

    def covered(self, t: int, bar: int) -> None:
        """Say that another hub has told all that this one has of a bar."""
        slot = bar % self._ring.bars
        self._saved[t, slot] = self._ring.memory.writes[t, slot]

    async def run(self, link: Link) -> None:
        """Tell over this link all that is not kept yet, and then what comes; ends with the link."""
        await link.prepare(2 * self._bars)
        last = await link.last()
        if last < self._kept:
            self._saved[:] = _NEVER  # the stream was made anew
        if last < self._kept or not self._kept:
            self._known = await _ids(link)
        self._kept, self._listing = last, None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pulses(link))
            while True:
                self._due.clear()
                await self._tell_closes(link)
                await self._tell_rest(link)
                if not (self._closes or self._found or self._slots(1)):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(EVERY):
                            await self._due.wait()

    async def _tell_closes(self, link: Link) -> None:
        """Tell what has closed before anything else, and wait until it is kept."""
        if not self._closes:
            return
        # The smallest first: whoever has it can close the larger ones out of it.
        closes = sorted(self._closes, key=lambda one: self._ring.number[one.event.timeframe])
        self._closes.clear()
        bars = [(self._ring.number[one.event.timeframe], one.event.bar) for one in closes]
        async with self._in_flight():
            sent = [await self._tell_bar(link, *bar, one) for bar, one in zip(bars, closes, strict=True)]
            self.lags.extend(self._clock.monotonic() - one.at for one in closes)
            await self._acknowledged(link, sent)
        self.kept_lags.extend(self._clock.monotonic() - one.at for one in closes)

    async def _tell_rest(self, link: Link) -> None:
        """Tell what is listed, what was found, and some of what was written since it was told."""
        found, slots = list(self._found), self._slots(MOST_SLOTS)
        async with self._in_flight():
            listing, sent = self._listed(), []
            if listing != self._listing:
                sent.append(await link.keep(link.subjects.listing, encode(listing)))
            sent += [await link.keep(subject, data) for subject, data in found]
            await self._acknowledged(link, [*sent, *[await self._tell_bar(link, *slot) for slot in slots]])
        self._listing = listing
        for _ in found:
            self._found.popleft()

    @asynccontextmanager
    async def _in_flight(self) -> AsyncIterator[None]:
        """Have bars told again by the next link where nobody knows whether they were kept."""
        self._sent.clear()
        try:
            yield
        except BaseException:
            for t, bar, identity, fixes in self._sent:
                self._saved[t, bar % self._ring.bars] = _NEVER
                self._known.discard(identity)
                self._fixes[t, bar][:0] = fixes
            raise

    async def _acknowledged(self, link: Link, sent: "Iterable[asyncio.Future[Any] | None]") -> None:
        self._kept = max(self._kept, await link.acknowledged([one for one in sent if one is not None]))

    async def _tell_bar(
        self, link: Link, t: int, bar: int, close: _Close | None = None
    ) -> "asyncio.Future[Any] | None":
        """Tell one bar, unless the stream has it as it is; None then."""
        frame, slot = self._ring.timeframes[t], bar % self._ring.bars
        seen = int(self._ring.memory.writes[t, slot])
        own = self._own()
        cut = self._cutter.closed(t, bar, own)
        fixes = tuple(self._fixes.pop((t, bar), ()))
        self._saved[t, slot] = seen
        identity = f"{frame.name}:{bar}:{cut.sum:08x}"
        missing = () if close is None else self._mine(close.event.missing, own)
        if identity in self._known or not (cut.symbols or missing):
            return None
        self._sent.append(_Sent(t, bar, identity, fixes))
        head = (self._name, frame.name, bar, frame.open_time(bar), self._now())
        subject = link.subjects.bars(frame.name, late=close is None)
        sent = await link.keep(subject, encode(Bars(*head, *cut, missing, fixes)), identity)
        self.told += 1
        self._remember(identity)
        return sent

    def _mine(self, symbols: Iterable[str], own: Flags) -> tuple[str, ...]:
        return tuple(symbol for symbol in symbols if own[self._ring.rows[symbol]])

    def _slots(self, most: int) -> list[tuple[int, int]]:
        """List some of the bars that were written since they were told, oldest first."""
        memory, bars = self._ring.memory, self._ring.bars
        found = []
        for t, slot in np.argwhere(memory.writes != self._saved).tolist():
            newest = int(memory.newest[t, : len(self._ring.symbols)].max(initial=0))
            bar = newest - (newest - slot) % bars
            if bar >= 0 and self._core.closing.is_announced(t, bar):
                found.append((self._ring.timeframes[t].open_time(bar), t, bar))
        return [(t, bar) for _, t, bar in sorted(found)[:most]]

    def _remember(self, identity: str) -> None:
        if len(self._known) > 8 * self._saved.size:
            # The next link reads them anew; until then the server finds what is told twice.
            self._known.clear()
        self._known.add(identity)

    def _fix(self, one: Correction) -> None:
        if len(self._fixes) < MOST_FIXES:
            t = self._ring.number[one.timeframe]
            row = tuple(one.new.rows.view(np.int64).reshape(-1).tolist())
            fix = Fix(one.symbol, row, (*one.new.scale,), one.cause, one.time)
            self._fixes[t, self._ring.timeframes[t].index(one.open_time)].append(fix)

    async def _pulses(self, link: Link) -> None:
        while True:
            await link.say(link.subjects.pulse(self._name), encode(self._pulse()))
            await asyncio.sleep(EVERY)

    def _pulse(self) -> Pulse:
        """Say what is open now and what is fresh."""
        ring, now, own = self._ring, self._now(), self._own()
        frame = ring.timeframes[0]
        bar = frame.index(now)
        cut: Cut = self._cutter.open(0, bar, own)
        mine = np.flatnonzero(own[: len(ring.symbols)])
        names = tuple(ring.symbols[row] for row in mine.tolist())
        judged = self._core.liveness.unjudged(now)
        words = ring.memory.stale[mine]
        stale = {
            name: (Reason.CLOCK if judged else reason, judged or since)
            for name, (reason, since) in zip(names, words.tolist(), strict=True)
            if reason or judged
        }
        heard = ring.memory.heard[0, mine].astype("<i8").tobytes()
        head = (self._name, frame.name, bar, now, self._clock.rate)
        return Pulse(*head, names, heard, *cut, self.pending, stale)


async def _ids(link: Link) -> set[str]:
    """Read the ids of all bars that the stream keeps."""
    found: set[str] = set()
    async with aclosing(link.read(link.subjects.klines, bodies=False)) as reading:
        async for kept in reading:
            if kept is None:
                break
            if kept.id:
                found.add(kept.id)
    return found
