"""Intake: what other hubs tell, merged into a ring as if its own streams had told it; it never waits.

1. A bar is merged symbol by symbol: who has it keeps it, so that a bar told twice, by a second hub or again
   after a loss, closes once.
2. It is announced as by the core: once, when all who should have closed it have, or when all hubs that
   follow the others have given them up, or the grace is over. What comes later is a revision.
3. A closed bar changes only with a fix. One that is told otherwise without it is counted as a conflict.
4. A symbol is as fresh as the hub that follows it says; where no hub says anything it is stale.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from klinehub.domain.kline import ROW, ROW_WORDS, Exact, Scale
from klinehub.domain.stale import Reason
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DataError, StoreError
from klinehub.feed.closing import Closing
from klinehub.feed.core import Core
from klinehub.feed.decisions import Correction, Decisions
from klinehub.panel.carry import merge_bar, show_bar
from klinehub.panel.memory import I64
from klinehub.panel.merge import CLOSED_NOW, CONFLICT, QUIET
from klinehub.relay.cutting import Flags
from klinehub.relay.messages import Bars, Fix, Pulse
from klinehub.store.slices import ABSENT, Lines, decode

# Market ms (of real time) after which a hub that has told nothing is silent, and is forgotten.
SILENT: Final = 3_000
FORGOTTEN: Final = 60_000
_UNTOLD: Final = 1 << 30


@dataclass(slots=True)
class _Peer:
    """What a hub said last: when, how much it has yet to tell, and by row why it is stale and since when."""

    at: int
    pending: int
    reasons: I64
    since: I64


class Intake:
    """Merges what other hubs tell into the ring of *core*; *own* marks the rows that this hub follows itself.

    Bars are announced by *closing*. *pace* is how much faster than real time market time runs. *on_covered*
    is told the timeframe's number and the bar of which others have told all that is kept of own symbols.
    """

    def __init__(
        self,
        core: Core,
        closing: Closing,
        own: Callable[[], Flags],
        *,
        pace: float = 1.0,
        on_covered: Callable[[int, int], None] = lambda _t, _bar: None,
    ) -> None:
        self.bars = 0
        self.set_aside = 0
        self.last_fault = ""
        self._core = core
        self.closing = closing
        self._ring = core.ring
        self._own = own
        self._pace = max(1.0, pace)
        self._on_covered = on_covered
        self._peers: dict[str, _Peer] = {}
        self._closed = np.empty(len(core.ring.timeframes), np.int64)

    def on_bars(self, told: Bars, now: int) -> Decisions:
        """Merge a bar of many symbols; what this hub does not keep is left out.

        Raises DataError for a message that says nothing.
        """
        decisions = Decisions()
        t = self._ring.number.get(told.timeframe)
        if t is None:
            return decisions
        frame = self._ring.timeframes[t]
        rows, lines, scales = self._read(frame, told)
        closed = np.empty((rows.size, len(self._ring.timeframes)), np.int64)
        flags = np.empty(rows.size, np.int64)
        factors = self._factors(rows, scales)
        there = np.where(lines.states == ABSENT, -1, rows)
        merge_bar(self._ring.memory, t, there, lines.words, factors, flags, closed)
        self.bars += 1
        self._core.repair.absent.update(
            (t, row, told.bar) for row in rows[lines.states == ABSENT].tolist() if row >= 0
        )
        self._settle(rows, closed, decisions)
        self._cover(t, told.bar, rows[(rows >= 0) & (flags & ~CLOSED_NOW == QUIET)])
        conflicts = rows[flags & CONFLICT != 0].tolist()
        self._fix(t, told.fixes, decisions)
        fixed = {self._ring.rows.get(fix.symbol) for fix in told.fixes}
        self._core.counts.conflicts += sum(row not in fixed for row in conflicts)
        missing = [self._ring.rows[name] for name in told.missing if name in self._ring.rows]
        self.closing.excuse(t, told.bar, missing)
        self.closing.announce(now, decisions, patience_ends=False)
        return decisions

    def on_pulse(self, told: Pulse, now: int) -> None:
        """Take over what is open, what was heard and what is stale; raises DataError as `on_bars` does."""
        t = self._ring.number.get(told.timeframe)
        heard = np.frombuffer(told.heard, "<i8")
        rows = self._rows(told.follows)
        if heard.size != rows.size:
            raise DataError(f"The pulse of hub {told.hub} does not say of each symbol when it was heard.")
        mine = self._foreign(rows)
        self._note(told, rows[mine], now)
        memory = self._ring.memory
        memory.heard[:, rows[mine]] = np.maximum(memory.heard[:, rows[mine]], heard[mine])
        # A bar that opens before the one before it has come would look like a gap.
        if t is not None and self.closing.is_announced(t, told.bar - 1):
            self._show(t, told)

    def on_timer(self, now: int) -> Decisions:
        """Announce bars whose grace is over, and say of which symbols no hub tells any more."""
        decisions = Decisions()
        self.closing.announce(now, decisions, patience_ends=True)
        for name, peer in list(self._peers.items()):
            if now - peer.at > FORGOTTEN * self._pace:
                del self._peers[name]
        self._judge(now)
        return decisions

    def aside(self, why: str) -> None:
        """Count a message that could not be used."""
        self.set_aside += 1
        self.last_fault = why

    @property
    def peers(self) -> Mapping[str, int]:
        """When each hub was heard last, exchange time in ms."""
        return {name: peer.at for name, peer in self._peers.items()}

    @property
    def is_whole(self) -> bool:
        """Whether hubs are heard, and none of them has more to tell of the past."""
        return bool(self._peers) and not any(peer.pending for peer in self._peers.values())

    def _rows(self, symbols: Sequence[str]) -> I64:
        rows = self._ring.rows
        return np.array([rows.get(symbol, -1) for symbol in symbols], np.int64)

    def _foreign(self, rows: I64) -> Flags:
        """Mark those of *rows* that this hub keeps and does not follow itself."""
        foreign: Flags = (rows >= 0) & ~self._own()[rows]
        return foreign

    def _read(self, frame: Timeframe, told: Bars | Pulse) -> tuple[I64, Lines, I64]:
        """Give the rows of a message's lines, the lines, and their decimals [n, 3]."""
        scales = np.frombuffer(told.scales, np.uint8).astype(np.int64)
        if scales.size != 3 * len(told.symbols):
            raise DataError(f"A message of hub {told.hub} does not say the decimals of each symbol.")
        scales = scales.reshape(-1, 3)
        decimals = np.ascontiguousarray(scales[:, 0])
        opened = frame.open_time(told.bar)
        try:
            lines = decode(frame.milliseconds, told.bar, opened, told.slice, decimals)
        except StoreError as exc:
            raise DataError(f"A message of hub {told.hub} holds no bars: {exc}") from exc
        return self._rows(told.symbols)[lines.numbers], lines, scales[lines.numbers]

    def _factors(self, rows: I64, scales: I64) -> I64:
        """Give what volumes are multiplied with to have their row's decimals, which grow where needed.

        A row that cannot carry them is left out: it becomes -1.
        """
        have = self._ring.memory.decimals[rows]
        for i in np.flatnonzero((rows >= 0) & (scales > have).any(axis=1)).tolist():
            try:
                self._ring.rescale(int(rows[i]), Scale(*scales[i].tolist()))
            except DataError as exc:
                self.aside(str(exc))
                rows[i] = -1
        more = self._ring.memory.decimals[rows, 1:] - scales[:, 1:]
        return np.ascontiguousarray(10 ** np.maximum(more, 0))

    def _settle(self, rows: I64, closed: I64, into: Decisions) -> None:
        """Count what closed, and list what was announced without it."""
        self._core.counts.closes += int((closed >= 0).sum())
        for i, t in self.closing.late_of(closed).tolist():
            self.closing.revise(t, int(rows[i]), int(closed[i, t]), into)

    def _cover(self, t: int, bar: int, rows: I64) -> None:
        """Say so where another hub has told as much of a bar as this one has of its own symbols."""
        mine = self._own()
        mine[rows] = False
        left = np.flatnonzero(mine)
        if not self._ring.closed(t, left, bar).any():
            self._on_covered(t, bar)

    def _fix(self, t: int, fixes: Sequence[Fix], into: Decisions) -> None:
        """Correct the bars of which a fix tells otherwise than they are kept."""
        for fix in fixes:
            row = self._ring.rows.get(fix.symbol)
            if row is None:
                continue
            exact = Exact(np.array(fix.row, np.int64).view(ROW), Scale(*fix.scale))
            if len(fix.row) != ROW_WORDS:
                raise DataError(f"A fix of {fix.symbol} is no bar.")
            index = self._ring.timeframes[t].index(fix.row[0])
            if not self._ring.is_closed(t, row, index) or self._same(t, row, index, exact):
                continue
            for number, time, old, new in self._ring.correct(t, row, exact):
                name = self._ring.timeframes[number].name
                self._core.counts.corrections += 1
                into.corrected.append(Correction(fix.symbol, name, time, old, new, fix.cause, fix.time))

    def _same(self, t: int, row: int, index: int, exact: Exact) -> bool:
        kept = self._ring.memory.cells[t, row, index % self._ring.bars]
        return tuple(kept.tolist()) == self._ring.words(row, exact)

    def _show(self, t: int, told: Pulse) -> None:
        """Merge the bars that are open."""
        rows, lines, scales = self._read(self._ring.timeframes[t], told)
        rows = np.where(self._foreign(rows), rows, -1)
        factors = self._factors(rows, scales)
        show_bar(self._ring.memory, t, rows, lines.words, factors, told.time, self._closed)

    def _note(self, told: Pulse, rows: I64, now: int) -> None:
        """Keep what a hub says of its symbols."""
        reasons = np.full(self._ring.capacity, _UNTOLD)
        since = np.zeros(self._ring.capacity, np.int64)
        reasons[rows] = Reason.FRESH
        for symbol, (reason, began) in told.stale.items():
            row = self._ring.rows.get(symbol, -1)
            if row >= 0 and reasons[row] != _UNTOLD:
                reasons[row], since[row] = reason if reason in _KNOWN else Reason.RELAY, began
        self._peers[told.hub] = _Peer(now, told.pending, reasons, since)
        self._judge(now)

    def _judge(self, now: int) -> None:
        """Write of each symbol that others follow what the best of the hubs that tell of it says."""
        followed = np.zeros(self._ring.capacity, bool)
        followed[: len(self._ring.symbols)] = True
        rows = np.flatnonzero(followed & ~self._own())
        best, since = np.full(rows.size, _UNTOLD), np.full(rows.size, now)
        for peer in self._peers.values():
            if now - peer.at <= SILENT * self._pace:
                better = peer.reasons[rows] < best
                best[better], since[better] = peer.reasons[rows][better], peer.since[rows][better]
        best[best == _UNTOLD] = Reason.RELAY
        stale = self._ring.memory.stale
        stays = (stale[rows, 0] > Reason.FRESH) & (best > Reason.FRESH) & (stale[rows, 1] > 0)
        stale[rows, 1] = np.where(stays, np.minimum(stale[rows, 1], since), since)
        stale[rows, 0] = best


_KNOWN: Final = frozenset(Reason)
