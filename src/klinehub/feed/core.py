"""The core: decides what each message means and what to do next; it never waits, reads or sends.

1. `on_batch` merges what a read brought; `on_rest` what an answer brought.
2. Both tell the closes they proved. `on_timer` finds the bars that should be there and are not, and
   asks for the fewest ranges that bring them: larger bars are rebuilt from the streamed timeframe.
3. A bar is announced once, when every live symbol has closed it or the grace is over: larger
   timeframes first when several end at one instant. What comes later is a revision.
4. A closed bar changes only when REST has told it otherwise twice, and then with a record.
5. Every decision is a value in `Decisions`; the caller carries it out.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from klinehub.domain.kline import Exact
from klinehub.domain.stale import Reason
from klinehub.errors import DataError
from klinehub.feed.closing import Closing
from klinehub.feed.decisions import Correction, Decisions, Fetch
from klinehub.feed.directory import directory
from klinehub.feed.doubts import Doubts
from klinehub.feed.listing_changes import Changes
from klinehub.feed.liveness import Liveness
from klinehub.feed.repair import Repair
from klinehub.feed.roster import Roster
from klinehub.feed.rounds import Rounds
from klinehub.feed.slow import merge_slowly, read_event
from klinehub.feed.use import Use
from klinehub.feed.venue import USDM, Venue
from klinehub.feed.wire import BAD, REPORT_WORDS, UNUSUAL, WIDER, ingest
from klinehub.panel.ledger import Gap
from klinehub.panel.memory import I64, OPEN_TIME, PARENT, TRADES, U8, VOLUME
from klinehub.panel.merge import CLOSED_NOW, CONFLICT, PROOF, proven
from klinehub.panel.ring import Ring

# A close that the stream did not bring within this time is asked for by REST.
GRACE: Final = 3_000
# A little more than what proves a close, so that the first answer does.
PROOF_MARGIN: Final = 50
CONTRACT_INFO: Final = "contractInfo"
SHUTDOWN: Final = "serverShutdown"


@dataclass(slots=True)
class Counts:
    """What the core has seen since the start."""

    updates: int = 0
    closes: int = 0
    conflicts: int = 0
    corrections: int = 0
    set_aside: int = 0
    audited: int = 0
    different: int = 0


class Core:
    """Keeps one ring true to what the exchange says; all times are exchange time in ms.

    *pace* is how much faster than real time market time runs. The audit spends *audit_weight* a minute, in
    an order that *dice* (numbers in [0, 1)) decides; 0 is no audit. `margin` is how wrong *now* may be.
    """

    def __init__(
        self,
        ring: Ring,
        *,
        wanted: int,
        grace: int = GRACE,
        pace: float = 1.0,
        audit_weight: float = 0.0,
        dice: Callable[[], float] = lambda: 0.5,
        venue: Venue = USDM,
    ) -> None:
        self.ring = ring
        self.streamed = ring.streamed
        self.grace = max(grace, int(venue.grace * max(1.0, pace / 10)))
        # Where only REST proves closes there is nothing to wait for before it is asked.
        self._asks_after = PROOF + PROOF_MARGIN if venue.grace else max(PROOF + PROOF_MARGIN, grace * 2 // 3)
        self.margin = 0
        self.counts = Counts()
        self.last_fault = ""
        self.roster = Roster(ring)
        self.closing = Closing(ring, self.roster, self.grace)
        self.repair = Repair(ring, self.roster, wanted, venue)
        self.doubts = Doubts(ring)
        self.liveness = Liveness(ring, self.roster, venue.patience, pace=pace)
        self._rounds = Rounds(ring, self.roster, wanted, weight=audit_weight, dice=dice, venue=venue)
        self._restored: set[tuple[int, int]] = set()
        self._listened = frozenset(tf.name for tf in ring.streamed)
        self._clock_fits = True
        self._by_klines = venue.patience.by_klines
        self._counts_trades = "trades" not in venue.lacks
        self._reports = np.zeros((64, REPORT_WORDS), np.int64)
        self._told = np.zeros(1, np.int64)
        self._where = directory((), ring.timeframes, ring.streamed)

    def watch(self, symbols: Iterable[str]) -> None:
        """Follow these symbols too: they are waited for at a close, repaired and watched; each has a row."""
        self.roster.follow(symbols)
        self.repair.forget()
        self.liveness.begin()
        self._where = directory(self.ring.symbols, self.ring.timeframes, self.streamed)

    def on_restored(self, absent: Collection[tuple[int, int, int]]) -> None:
        """Say that the ring was filled from a store; *absent* are bars that the exchange does not have.

        The first answer up to the newest bar then says of a symbol what a warm-up would.
        """
        self.repair.absent.update(absent)
        self._restored.update((t, row) for t in range(len(self.ring.timeframes)) for row in self.roster.rows)

    def deepened(self, wanted: int) -> None:
        """Say that more history was asked for: from now on so many bars are missed where they lack."""
        self.repair.deepen(wanted)

    def go_live(self, now: int) -> None:
        """Begin to announce closes, with the bars that are forming at *now*."""
        self.closing.begin(now)

    def on_batch(self, seat: int, buf: U8, ends: I64, frames: int, now: int) -> Decisions:
        """Merge *frames* frames of a seat that lie end to end in *buf*; frame i ends at `ends[i]`."""
        latest = now + self.liveness.ahead
        room = frames * (len(self.ring.timeframes) + 1)
        if self._reports.shape[0] < room:
            self._reports = np.zeros((room, REPORT_WORDS), np.int64)
        count = int(
            ingest(self.ring.memory, self._where, buf, ends, frames, latest, self._reports, self._told)
        )
        self.counts.updates += frames
        self.liveness.heard(seat, int(self._told[0]), now)
        decisions = Decisions()
        if count == 0:
            return decisions
        lines = self._reports[:count]
        for flags, frame, row, t, time in lines[lines[:, 0] & (UNUSUAL | WIDER | BAD) != 0].tolist():
            start = int(ends[frame - 1]) if frame else 0
            self._read_slowly(seat, bytes(buf[start : ends[frame]]), now, decisions, (flags, row, t, time))
        self._take(lines, decisions, now)
        self.closing.announce(now, decisions, patience_ends=False)
        return decisions

    @property
    def told(self) -> int:
        """The newest event time of the last batch, 0 when it held no kline."""
        return int(self._told[0])

    def on_rest(self, fetch: Fetch, exact: Exact, asked: int, now: int) -> Decisions:
        """Merge the answer to *fetch*, which was asked at exchange time *asked* or later.

        Raises DataError, and counts the request as failed, when its rows can not be bars of the series.
        """
        t, row = self.ring.number[fetch.timeframe], self.ring.rows[fetch.symbol]
        decisions = Decisions()
        try:
            if fetch.use is Use.AUDIT:
                self._on_audit(t, row, exact, asked, decisions, now)
            else:
                self._load(t, row, fetch, exact, asked, decisions, now)
        except DataError:
            self.on_failed(fetch, now)
            raise
        self.closing.announce(now, decisions, patience_ends=False)
        return decisions

    def on_failed(self, fetch: Fetch, now: int, *, soon: bool = False) -> None:
        """Say that *fetch* brought nothing; it is asked for again later, *soon* if it was not even sent."""
        t, row = self.ring.number[fetch.timeframe], self.ring.rows[fetch.symbol]
        if fetch.use is Use.AUDIT:
            self._rounds.landed()
        elif fetch.use is Use.REPAIR and not self._doubted(t, row, fetch, now):
            self.repair.failed(t, row, now, soon=soon)

    def on_prices(self, traded: Mapping[str, int], asked: int) -> None:
        """Take over when each symbol last traded (exchange time in ms), as REST knew it at *asked*."""
        self.liveness.on_prices(traded, asked)

    def on_seat(self, seat: int, now: int, *, up: bool, route: str = "") -> None:
        """Say that a seat's socket is subscribed on a *route*, or lost."""
        self.liveness.on_seat(seat, now, up=up, route=route)
        if up:
            self.repair.forget()

    def on_open(self) -> None:
        """Say that REST answers again: what failed is asked for at once."""
        self.repair.forget()

    def on_clock(self, now: int, *, fits: bool) -> None:
        """Say that *now* can not be trusted until it is read anew, or that it was.

        Until then everything is stale, and nothing is announced or asked for because time went by.
        """
        if not fits or not self._clock_fits:
            self.liveness.mark_all(Reason.CLOCK, now)
        if fits and not self._clock_fits:
            for part in (self.repair, self.doubts, self._rounds):
                part.forget()
        self._clock_fits = fits

    def on_listing(self, changes: Changes, now: int) -> tuple[str, ...]:
        """Take over a new listing; gives the symbols to subscribe and load, new ones as far as they fit."""
        for symbol, status in changes.frozen:
            self.roster.freeze(symbol, status, now)
        returned = tuple(symbol for symbol in changes.thawed if not self.roster.follows(symbol))
        self.roster.follow(changes.thawed)
        self.repair.forget()
        return returned + changes.added[: self.ring.capacity - len(self.ring.symbols)]

    def on_timer(self, now: int) -> Decisions:
        """Judge what is fresh, announce bars whose grace is over, and ask for what is missing."""
        decisions = Decisions()
        if not self.closing.live:
            return decisions
        settled = now - self.margin - self._asks_after
        missing = self.repair.missing(settled)
        overdue = {gap.row for gap in missing if self._ended(gap) < now - self.grace}
        if not self._clock_fits:
            # Nobody can say what has ended, so that nobody can say what is missing.
            self.liveness.hold(Reason.CLOCK, now)
        self.liveness.check(now, overdue, decisions)
        if not self._clock_fits:
            return decisions
        decisions.fetches += self.repair.plan(now, missing, lambda gap: self._build(gap, decisions))
        decisions.fetches += self.doubts.fetches(now)
        # What is missing goes before what may differ.
        audit = None if decisions.fetches else self._rounds.due(now)
        if audit is not None:
            decisions.fetches.append(audit)
        self.closing.announce(now, decisions, patience_ends=True)
        for symbol in self.roster.leaving(now - 2 * self.grace):
            if self.ring.rows[symbol] not in overdue:
                self.roster.leave(symbol)
                decisions.left.append(symbol)
        return decisions

    def _ended(self, gap: Gap) -> int:
        """Give the end of a gap's first bar."""
        return self.ring.timeframes[gap.timeframe].close_time(gap.start)

    def missing(self, now: int) -> list[Gap]:
        """List all bars of followed symbols that should be closed at *now* and are not."""
        return self.repair.missing(now - self.grace)

    def _read_slowly(
        self, seat: int, frame: bytes, now: int, into: Decisions, line: tuple[int, int, int, int]
    ) -> None:
        """Read an unusual frame; a bad one is counted and set aside, and ends nothing else."""
        if line[0] & BAD:
            self._set_aside("A kline contradicts itself (high below low, or not on its grid).")
            return
        try:
            event = read_event(frame)
            if event is not None and event.k is not None:
                self.liveness.heard(seat, event.E, now)
                self._take(
                    merge_slowly(self.ring, event, now + self.liveness.ahead, self._listened), into, now
                )
            elif event is not None and event.e == CONTRACT_INFO:
                into.relist = True
            elif event is not None and event.e == SHUTDOWN:
                into.leaving.append(seat)
        except DataError as exc:
            self._set_aside(str(exc))

    def _set_aside(self, why: str) -> None:
        self.counts.set_aside += 1
        self.last_fault = why

    def _take(self, lines: I64, into: Decisions, now: int) -> None:
        """Count closes, list revisions, and doubt what the stream tells otherwise than it is kept."""
        closes = lines[lines[:, 0] & CLOSED_NOW != 0]
        self.counts.closes += len(closes)
        if self.closing.live:
            for _, _, row, t, time in closes.tolist():
                self.closing.revise(t, row, time, into)
        for _, _, row, t, time in lines[lines[:, 0] & CONFLICT != 0].tolist():
            self.counts.conflicts += 1
            self.doubts.differs((t, row, time), None, now)

    def _load(
        self, t: int, row: int, fetch: Fetch, exact: Exact, asked: int, into: Decisions, now: int
    ) -> None:
        """Merge an answer and settle what it closed."""
        doubted = fetch.use is Use.REPAIR and self._doubted(t, row, fetch, now)
        old = fetch.use is Use.DEEPEN
        before = self._unclosed(t, row, exact) if self.closing.live and not old else []
        opened = self._untold(t, row, exact) if self._by_klines else None
        conflict = self.ring.load(t, row, exact, asked) & CONFLICT
        different = self.ring.differing(t, row, exact, asked) if conflict else []
        self._compare(t, row, exact, asked, different, into, now)
        if fetch.use is Use.WARM_UP or old:
            self._set_first(t, row, fetch, exact, asked)
            self._note_holes(t, row, exact, asked)
        if fetch.use is Use.REPAIR and not doubted:
            self.repair.landed(t, row, fetch, exact, asked)
        newest = self._tells_newest(t, fetch, asked)
        if newest:
            self.liveness.loaded(t, row, asked, proven=fetch.use is Use.WARM_UP or (t, row) in self._restored)
            self._restored.discard((t, row))
        if self._by_klines and fetch.use is not Use.WARM_UP and not old:
            self.liveness.on_klines(t, row, opened, asked, newest=newest)
        self._settle_range(t, row, before, into)

    def _tells_newest(self, t: int, fetch: Fetch, asked: int) -> bool:
        """Say whether an answer goes up to the bar that was open when it was asked for."""
        timeframe = self.ring.timeframes[t]
        return fetch.start is None or timeframe.index(fetch.start) + fetch.limit > timeframe.index(asked)

    def _untold(self, t: int, row: int, exact: Exact) -> int | None:
        """Give the open time of the newest bar of which an answer has more trades than is known here.

        Where no trades are told it is more volume.
        """
        memory, bars = self.ring.memory, self.ring.bars
        name, word, ours, theirs = "trades", TRADES, 1, 1
        if not self._counts_trades:
            name, word = "volume", VOLUME
            ours, theirs = 10 ** self.ring.scale(row).base, 10**exact.scale.base
        for one in exact.rows[::-1]:
            opened, known = int(one["open_time"]), 0
            index = self.ring.timeframes[t].index(opened)
            if memory.cells[t, row, index % bars, OPEN_TIME] == opened and memory.state[t, row, index % bars]:
                known = int(memory.cells[t, row, index % bars, word])
            if int(one[name]) * ours > known * theirs:
                return opened
        return None

    def _doubted(self, t: int, row: int, fetch: Fetch, now: int) -> bool:
        return fetch.start is not None and self.doubts.landed((t, row, fetch.start), now)

    def _on_audit(self, t: int, row: int, exact: Exact, asked: int, into: Decisions, now: int) -> None:
        """Compare an answer with what is kept, and take in what is missing; a difference is doubted first."""
        self._rounds.landed()
        before = self._unclosed(t, row, exact)
        self.ring.load(t, row, exact, asked)
        self._settle_range(t, row, before, into)
        checked, different = self.ring.verify(t, row, proven(self.ring.timeframes[t], exact, asked))
        self.counts.audited += checked
        self.counts.different += len(different)
        self._compare(t, row, exact, asked, different, into, now)

    def _compare(
        self, t: int, row: int, exact: Exact, asked: int, different: list[int], into: Decisions, now: int
    ) -> None:
        """Doubt the closed bars that an answer tells otherwise, and correct those that it confirms."""
        if not different and not len(self.doubts):
            return
        for n, time in enumerate(exact.rows["open_time"].tolist()):
            one = Exact(exact.rows[n : n + 1], exact.scale)
            if time not in different:
                self.doubts.agrees((t, row, time), asked)
            elif self.doubts.differs((t, row, time), self.ring.words(row, one), asked):
                self._correct(t, row, one, into, now)

    def _correct(self, t: int, row: int, exact: Exact, into: Decisions, now: int) -> None:
        """Change a closed bar and those built from it, each with a record."""
        cause = "REST told it so twice"
        for number, time, old, new in self.ring.correct(t, row, exact):
            symbol, name = self.ring.symbols[row], self.ring.timeframes[number].name
            self.counts.corrections += 1
            into.corrected.append(Correction(symbol, name, time, old, new, cause, now))
            cause = f"built anew from a corrected {self.ring.timeframes[t].name} bar"

    def _build(self, gap: Gap, into: Decisions) -> bool:
        """Close the bars of a gap whose parts have all come meanwhile; whether that left none."""
        t, row, first, last = gap
        timeframe, parent = self.ring.timeframes[t], int(self.ring.memory.grid[t, PARENT])
        part = self.ring.timeframes[parent]
        for bar in range(first, last + 1):
            time = part.open_time(part.index(timeframe.open_time(bar + 1)) - 1)
            self._count(self.ring.settle(parent, row, time), row, into)
        return all(self.ring.is_closed(t, row, bar) for bar in range(first, last + 1))

    def _count(self, closed: Iterable[tuple[int, int]], row: int, into: Decisions) -> None:
        """Count closes that no frame brought (timeframe number, open time) and list the late ones."""
        for t, time in closed:
            self.counts.closes += 1
            self.closing.revise(t, row, time, into)

    def _unclosed(self, t: int, row: int, exact: Exact) -> list[int]:
        """List the open times in an answer that are not closed here yet."""
        timeframe, oldest = self.ring.timeframes[t], int(self.ring.memory.newest[t, row]) - self.ring.bars
        indexes = [(int(time), timeframe.index(int(time))) for time in exact.rows["open_time"]]
        return [time for time, index in indexes if index > oldest and not self.ring.is_closed(t, row, index)]

    def _settle_range(self, t: int, row: int, times: list[int], into: Decisions) -> None:
        """After a repair, close the larger bars that have become whole and list the late closes."""
        for time in times:
            if self.ring.is_closed(t, row, self.ring.timeframes[t].index(time)):
                self._count([(t, time), *self.ring.settle(t, row, time)], row, into)

    def _note_holes(self, t: int, row: int, exact: Exact, asked: int) -> None:
        """Note the bars that the history passes over: nobody has to ask for them again."""
        if exact.rows.size:
            timeframe, times = self.ring.timeframes[t], exact.rows["open_time"]
            first, last = (timeframe.index(int(times[end])) for end in (0, -1))
            if last - first >= exact.rows.size:
                self.repair.lacks(t, row, range(first, last), exact, asked)

    def _set_first(self, t: int, row: int, fetch: Fetch, exact: Exact, asked: int) -> None:
        """Remember a symbol's first bar: an answer is shorter, or begins later, than asked for."""
        opened = int(exact.rows["open_time"][0]) if exact.rows.size else asked
        late = opened > fetch.start if fetch.start is not None else exact.rows.size < fetch.limit
        if late:
            self.ring.memory.first[t, row] = self.ring.timeframes[t].index(opened)
