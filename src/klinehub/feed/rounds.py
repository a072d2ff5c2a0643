"""Rounds: the audit that never ends - every series is asked for again in a random order, then all anew."""

from collections.abc import Callable
from typing import Final

from klinehub.feed.decisions import Fetch
from klinehub.feed.roster import Roster
from klinehub.feed.use import Use
from klinehub.feed.venue import USDM, Venue
from klinehub.panel.ring import Ring

MINUTE: Final = 60_000
# One light request: 499 rows cost a weight of 2.
MOST_BARS: Final = 499
# Requests of the audit under way at a time.
MOST_FLYING: Final = 2


class Rounds:
    """Chooses what the audit asks for, at most *weight* a minute; *dice* gives numbers in [0, 1)."""

    def __init__(
        self,
        ring: Ring,
        roster: Roster,
        wanted: int,
        *,
        weight: float,
        dice: Callable[[], float],
        venue: Venue = USDM,
    ) -> None:
        self._ring = ring
        self._roster = roster
        self._bars = min(wanted, MOST_BARS)
        self._pause = MINUTE * venue.klines_weight(self._bars) / weight if weight else 0.0
        self._dice = dice
        self._left: list[tuple[int, int]] = []
        self._next = 0.0
        self._flying = 0

    def due(self, now: int) -> Fetch | None:
        """Give the next request if its time has come."""
        if not self._pause or now < self._next or self._flying >= MOST_FLYING or not self._roster.rows.size:
            return None
        # After a jump of the clock back, the next one is not further away than usual.
        self._next = now + self._pause * (0.5 + self._dice())
        if not self._left:
            self._left = [
                (t, int(row)) for t in range(len(self._ring.timeframes)) for row in self._roster.rows
            ]
            self._left.sort(key=lambda _: self._dice())
        t, row = self._left.pop()
        timeframe = self._ring.timeframes[t]
        self._flying += 1
        start = timeframe.open_time(timeframe.index(now) - self._bars)
        return Fetch(self._ring.symbols[row], timeframe.name, start, self._bars, Use.AUDIT)

    def landed(self) -> None:
        """Say that a request of the audit was answered or failed."""
        self._flying -= 1

    def forget(self) -> None:
        """Go on at once: a time noted before a jump of the clock means nothing."""
        self._next = 0.0
