"""The core: decides what each message means and what to do next; it never waits, reads or sends.

1. `on_batch` merges what a read brought; `on_rest` what an answer brought.
2. Both tell the closes they proved. `on_timer` finds the bars that should be there and are not, and
   asks for the fewest ranges that bring them: larger bars are rebuilt from the streamed timeframe.
3. A bar is announced once, when every live symbol has closed it or the grace is over: larger
   timeframes first when several end at one instant. What comes later is a revision.
4. Every decision is a value in `Decisions`; the caller carries it out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.kline import CLOSED, Exact
from klinehub.errors import DataError
from klinehub.feed.binance import MOST_ROWS
from klinehub.feed.directory import directory
from klinehub.feed.slow import WireEvent, merge_slowly, read_event
from klinehub.feed.wire import BAD, REPORT_WORDS, UNUSUAL, WIDER, ingest
from klinehub.panel.ledger import Gap, gaps
from klinehub.panel.memory import I64, PARENT, U8
from klinehub.panel.merge import CLOSED_NOW, CONFLICT, PROOF
from klinehub.panel.ring import Ring

# A close that the stream did not bring within this time is asked for by REST.
GRACE: Final = 3_000
# A range whose request failed is not asked for again before this time, one under way not at all.
RETRY: Final = 20_000
UNDER_WAY: Final = 2**62
# An answer that lacks a bar shows that there is none when it was asked for this long after the close.
SURE: Final = 60_000
# More confirmed absences than this are thinned out.
MOST_ABSENT: Final = 1 << 16


class BarClosed(NamedTuple):
    """A bar of a timeframe is final: for all live symbols, or for all but the *missing* ones."""

    timeframe: str
    bar: int
    open_time: int
    complete: bool
    missing: tuple[str, ...]


class Revision(NamedTuple):
    """A bar that was announced without this symbol has closed after all."""

    timeframe: str
    bar: int
    symbol: str


class Conflict(NamedTuple):
    """A second answer for a closed bar that differs from the one kept; the kept one stands."""

    timeframe: str
    open_time: int
    symbol: str


class Fetch(NamedTuple):
    """A range of bars to ask for by REST: *limit* bars from *start* (ms), the newest when it is None."""

    symbol: str
    timeframe: str
    start: int | None
    limit: int


@dataclass(slots=True)
class Decisions:
    """What the shell has to do after one call, in order."""

    closed: list[BarClosed] = field(default_factory=list)
    revised: list[Revision] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    fetches: list[Fetch] = field(default_factory=list)
    events: list[WireEvent] = field(default_factory=list)


@dataclass(slots=True)
class Counts:
    """What the core has seen since the start."""

    updates: int = 0
    closes: int = 0
    late: int = 0
    conflicts: int = 0
    set_aside: int = 0


class Core:
    """Keeps one ring true to what the exchange says; all times are exchange time in ms."""

    def __init__(self, ring: Ring, *, wanted: int, grace: int = GRACE) -> None:
        self.ring = ring
        self.streamed = ring.streamed
        self.wanted = wanted
        self.grace = grace
        self.counts = Counts()
        self.live = False
        self.last_fault = ""
        self._listened = frozenset(tf.name for tf in ring.streamed)
        self._active = np.zeros(ring.capacity, bool)
        self._since = np.zeros(len(ring.timeframes), np.int64)
        self._due = np.zeros(len(ring.timeframes), np.int64)
        self._asked: dict[tuple[int, int], int] = {}
        self._absent: set[tuple[int, int, int]] = set()
        self._reports = np.zeros((64, REPORT_WORDS), np.int64)
        self._where = directory((), ring.timeframes, ring.streamed)

    def watch(self, symbols: Iterable[str]) -> None:
        """Set which symbols are live: these are waited for at a close and repaired; each has a row."""
        self._active[:] = False
        for symbol in symbols:
            self._active[self.ring.rows[symbol]] = True
        self._where = directory(self.ring.symbols, self.ring.timeframes, self.streamed)

    @property
    def active(self) -> I64:
        """The rows of the live symbols."""
        return np.flatnonzero(self._active)

    def go_live(self, now: int) -> None:
        """Begin to announce closes, with the bars that are forming at *now*."""
        for t, timeframe in enumerate(self.ring.timeframes):
            self._since[t] = self._due[t] = timeframe.index(now)
        self.live = True

    def on_batch(self, buf: U8, ends: I64, frames: int, now: int) -> Decisions:
        """Merge *frames* frames that lie end to end in *buf*; frame i ends at `ends[i]`."""
        room = frames * (len(self.ring.timeframes) + 1)
        if self._reports.shape[0] < room:
            self._reports = np.zeros((room, REPORT_WORDS), np.int64)
        count = int(ingest(self.ring.memory, self._where, buf, ends, frames, now, self._reports))
        self.counts.updates += frames
        decisions = Decisions()
        if count == 0:
            return decisions
        lines = self._reports[:count]
        for flags, frame, row, t, time in lines[lines[:, 0] & (UNUSUAL | WIDER | BAD) != 0].tolist():
            start = int(ends[frame - 1]) if frame else 0
            self._read_slowly(bytes(buf[start : ends[frame]]), now, decisions, (flags, row, t, time))
        self._take(lines, decisions)
        self._announce(now, decisions)
        return decisions

    def on_rest(self, fetch: Fetch, exact: Exact, asked: int) -> Decisions:
        """Merge the answer to *fetch*, which was asked at exchange time *asked*."""
        t, row = self.ring.number[fetch.timeframe], self.ring.rows[fetch.symbol]
        decisions = Decisions()
        before = self._unclosed(t, row, exact, fetch) if self.live else []
        flags = self.ring.load(t, row, exact, asked)
        if fetch.start is None and exact.rows.size < fetch.limit and exact.rows.size:
            self._set_first(t, row, self.ring.timeframes[t].index(int(exact.rows["open_time"][0])))
        if flags & CONFLICT:
            for time in self.ring.differing(t, row, exact, asked):
                self._conflict(t, row, time, decisions)
        self._asked.pop((t, row), None)
        self._settle_range(t, row, before, decisions)
        if fetch.start is not None:
            self._note_absent(t, row, fetch, exact, asked)
        self._announce(asked, decisions)
        return decisions

    def on_failed(self, fetch: Fetch, now: int) -> None:
        """Say that *fetch* brought nothing, or was not sent; its range is not asked for again for a while."""
        self._asked[self.ring.number[fetch.timeframe], self.ring.rows[fetch.symbol]] = now + RETRY

    def on_timer(self, now: int) -> Decisions:
        """Announce bars whose grace is over and ask for what is missing."""
        decisions = Decisions()
        if self.live:
            self._repair(now, decisions)
        self._announce(now, decisions)
        return decisions

    def missing(self, now: int) -> list[Gap]:
        """List all bars of live symbols that should be closed at *now* and are not."""
        found: list[Gap] = []
        for t, timeframe in enumerate(self.ring.timeframes):
            upto = timeframe.index(now - self.grace) - 1
            found += gaps(self.ring.memory, t, self.active, wanted=self.wanted, upto=upto)
        return [gap for gap in map(self._without_absent, found) if gap.start <= gap.end]

    def _read_slowly(self, frame: bytes, now: int, into: Decisions, line: tuple[int, int, int, int]) -> None:
        """Read an unusual frame; a bad one is counted and set aside, and ends nothing else."""
        if line[0] & BAD:
            self._set_aside("A kline contradicts itself (high below low, or not on its grid).")
            return
        try:
            event = read_event(frame)
            if event is not None and event.k is not None:
                self._take(merge_slowly(self.ring, event, now, self._listened), into)
            elif event is not None:
                into.events.append(event)
        except DataError as exc:
            self._set_aside(str(exc))

    def _set_aside(self, why: str) -> None:
        self.counts.set_aside += 1
        self.last_fault = why

    def _take(self, lines: I64, into: Decisions) -> None:
        """Count closes, list revisions and conflicts."""
        closes = lines[lines[:, 0] & CLOSED_NOW != 0]
        self.counts.closes += len(closes)
        if self.live:
            for _, _, row, t, time in closes.tolist():
                self._revise(t, row, time, into)
        for _, _, row, t, time in lines[lines[:, 0] & CONFLICT != 0].tolist():
            self._conflict(t, row, time, into)

    def _conflict(self, t: int, row: int, time: int, into: Decisions) -> None:
        self.counts.conflicts += 1
        into.conflicts.append(Conflict(self.ring.timeframes[t].name, time, self.ring.symbols[row]))

    def _revise(self, t: int, row: int, time: int, into: Decisions) -> None:
        """List a close of a bar that was announced already."""
        timeframe = self.ring.timeframes[t]
        bar = timeframe.index(time)
        if self._since[t] <= bar < self._due[t]:
            self.counts.late += 1
            into.revised.append(Revision(timeframe.name, bar, self.ring.symbols[row]))

    def _announce(self, now: int, into: Decisions) -> None:
        """Announce each due bar that is complete or past its grace, in order of time, the larger first."""
        if not self.live:
            return
        while True:
            ends = [tf.close_time(int(bar)) for tf, bar in zip(self.ring.timeframes, self._due, strict=True)]
            end = min(ends)
            t = max(number for number, one in enumerate(ends) if one == end)
            timeframe, bar = self.ring.timeframes[t], int(self._due[t])
            if end >= now:
                return
            lacking = self._lacking(t, bar)
            if lacking.size and now < end + self.grace:
                return
            names = tuple(self.ring.symbols[row] for row in lacking)
            into.closed.append(BarClosed(timeframe.name, bar, timeframe.open_time(bar), not names, names))
            self._due[t] += 1

    def _lacking(self, t: int, bar: int) -> I64:
        """Give the live rows that have not closed *bar*, symbols listed after it left out."""
        rows, memory = self.active, self.ring.memory
        closed = memory.state[t, rows, bar % self.ring.bars] >= CLOSED
        newest = memory.newest[t, rows]
        held = (newest >= bar) & (newest - self.ring.bars < bar) & closed
        lacking: I64 = rows[~held & (memory.first[t, rows] <= bar)]
        return lacking

    def _repair(self, now: int, into: Decisions) -> None:
        """Build what can be built and plan the fewest fetches for the rest, streamed timeframes first.

        A third of the grace is left for the answer: the stream may say nothing of a trade-less bar.
        """
        found = self.missing(now + self.grace - max(PROOF, self.grace * 2 // 3))
        holes = {gap.row for gap in found if self.ring.timeframes[gap.timeframe] in self.streamed}
        spans: dict[tuple[int, int], tuple[int, int]] = {}
        for gap in found:
            t, row, first, last = gap
            streamed = self.ring.timeframes[t] in self.streamed
            if self._asked.get((t, row), 0) > now or (
                not streamed and (row in holes or self._build(gap, into))
            ):
                continue
            start, end = spans.get((t, row), (first, last))
            spans[t, row] = (min(start, first), max(end, last))
        for (t, row), (start, end) in spans.items():
            self._asked[t, row] = UNDER_WAY
            timeframe = self.ring.timeframes[t]
            limit = min(end - start + 1, MOST_ROWS)
            fetch = Fetch(self.ring.symbols[row], timeframe.name, timeframe.open_time(start), limit)
            into.fetches.append(fetch)

    def _build(self, gap: Gap, into: Decisions) -> bool:
        """Close the bars of a gap whose parts have all come meanwhile; whether that left none."""
        t, row, first, last = gap
        memory, timeframe = self.ring.memory, self.ring.timeframes[t]
        parent = int(memory.grid[t, PARENT])
        part = self.ring.timeframes[parent]
        for bar in range(first, last + 1):
            time = part.open_time(part.index(timeframe.open_time(bar + 1)) - 1)
            self._count(self.ring.settle(parent, row, time), row, into)
        return all(memory.state[t, row, bar % self.ring.bars] >= CLOSED for bar in range(first, last + 1))

    def _count(self, closed: Iterable[tuple[int, int]], row: int, into: Decisions) -> None:
        """Count closes that no frame brought (timeframe number, open time) and list the late ones."""
        for t, time in closed:
            self.counts.closes += 1
            self._revise(t, row, time, into)

    def _unclosed(self, t: int, row: int, exact: Exact, fetch: Fetch) -> list[int]:
        """List the open times in an answer that are not closed here yet."""
        if fetch.start is None:
            return []
        memory, timeframe, bars = self.ring.memory, self.ring.timeframes[t], self.ring.bars
        newest = int(memory.newest[t, row])
        indexes = [(int(time), timeframe.index(int(time))) for time in exact.rows["open_time"]]
        return [
            time
            for time, index in indexes
            if index > newest or (index > newest - bars and memory.state[t, row, index % bars] < CLOSED)
        ]

    def _settle_range(self, t: int, row: int, times: list[int], into: Decisions) -> None:
        """After a repair, close the larger bars that have become whole and list the late closes."""
        memory, timeframe = self.ring.memory, self.ring.timeframes[t]
        for time in times:
            if memory.state[t, row, timeframe.index(time) % self.ring.bars] < CLOSED:
                continue
            self._count([(t, time), *self.ring.settle(t, row, time)], row, into)

    def _set_first(self, t: int, row: int, index: int) -> None:
        """Remember a symbol's first bar, known from an answer shorter than asked for."""
        self.ring.memory.first[t, row] = index

    def _note_absent(self, t: int, row: int, fetch: Fetch, exact: Exact, asked: int) -> None:
        """Remember bars that the exchange was asked for and does not have; a young one may yet come."""
        timeframe = self.ring.timeframes[t]
        start = timeframe.index(fetch.start or 0)
        have = {timeframe.index(int(time)) for time in exact.rows["open_time"]}
        for index in range(start, start + fetch.limit):
            if index in have:
                continue
            if timeframe.close_time(index) + SURE <= asked:
                self._absent.add((t, row, index))
            else:
                self._asked[t, row] = asked + RETRY
        if len(self._absent) > MOST_ABSENT:
            oldest = self._due - self.ring.bars
            self._absent = {key for key in self._absent if key[2] > oldest[key[0]]}

    def _without_absent(self, gap: Gap) -> Gap:
        """Take the bars that the exchange does not have from both ends of a gap; nothing may be left."""
        t, row, start, end = gap
        while start <= end and (t, row, start) in self._absent:
            start += 1
        while start <= end and (t, row, end) in self._absent:
            end -= 1
        return Gap(t, row, start, end)
