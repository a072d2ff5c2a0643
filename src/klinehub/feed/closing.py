"""Closing: each bar is announced once, when all who should have closed it have, or the grace is over."""

from collections.abc import Collection

import numpy as np

from klinehub.feed.decisions import BarClosed, Decisions, Revision
from klinehub.feed.roster import Roster
from klinehub.panel.memory import I64
from klinehub.panel.ring import Ring


class Closing:
    """Keeps which bar of each timeframe is due; `late` counts closes after their announcement."""

    def __init__(self, ring: Ring, roster: Roster, grace: int) -> None:
        self._ring = ring
        self._roster = roster
        self._grace = grace
        self._since = np.zeros(len(ring.timeframes), np.int64)
        self._due = np.zeros(len(ring.timeframes), np.int64)
        self._excused: dict[tuple[int, int], set[int]] = {}
        self.live = False
        self.late = 0

    def begin(self, now: int) -> None:
        """Announce from now on, first the bars that are forming at *now*."""
        for t, timeframe in enumerate(self._ring.timeframes):
            self._since[t] = self._due[t] = timeframe.index(now)
        self.live = True

    def announce(self, now: int, into: Decisions, *, patience_ends: bool) -> None:
        """Announce each due bar that is complete, in order of time, the larger first.

        With *patience_ends* also those that are not, once their grace is over.
        """
        if not self.live:
            return
        while True:
            ends = [tf.close_time(int(bar)) for tf, bar in zip(self._ring.timeframes, self._due, strict=True)]
            end = min(ends)
            if end >= now:
                return
            t = max(number for number, one in enumerate(ends) if one == end)
            timeframe, bar = self._ring.timeframes[t], int(self._due[t])
            lacking = self._lacking(t, bar)
            is_over = patience_ends and now >= end + self._grace
            if not (is_over or self._excused.get((t, bar), set()).issuperset(lacking.tolist())):
                return
            self._excused.pop((t, bar), None)
            names = tuple(self._ring.symbols[row] for row in lacking)
            into.closed.append(BarClosed(timeframe.name, bar, timeframe.open_time(bar), not names, names))
            self._due[t] += 1

    def is_announced(self, t: int, bar: int) -> bool:
        """Whether a bar is not waited for any more."""
        return bool(bar < self._due[t])

    def excuse(self, t: int, bar: int, rows: Collection[int]) -> None:
        """Say that the bar of these rows need not be waited for: who asks for it has given up."""
        if rows and not self.is_announced(t, bar):
            self._excused.setdefault((t, bar), set()).update(rows)

    def late_of(self, closed: I64) -> I64:
        """Give where *closed*, open times (ms) [n, timeframes], has bars announced before: [m, 2]."""
        if not self.live:
            return np.empty((0, 2), np.int64)
        frames = self._ring.timeframes
        since, due = (
            np.array([frame.open_time(int(bar)) for frame, bar in zip(frames, bars, strict=True)])
            for bars in (self._since, self._due)
        )
        found: I64 = np.argwhere((closed >= since) & (closed < due))
        return found

    def revise(self, t: int, row: int, time: int, into: Decisions) -> None:
        """List a close of a bar that was announced already."""
        timeframe = self._ring.timeframes[t]
        bar = timeframe.index(time)
        if self.live and self._since[t] <= bar < self._due[t]:
            self.late += 1
            into.revised.append(Revision(timeframe.name, bar, self._ring.symbols[row]))

    def _lacking(self, t: int, bar: int) -> I64:
        """Give the rows that have not closed *bar*, symbols listed after it left out."""
        rows = self._roster.expecting(self._ring.timeframes[t], bar)
        is_listed = self._ring.memory.first[t, rows] <= bar
        lacking: I64 = rows[is_listed & ~self._ring.closed(t, rows, bar)]
        return lacking
