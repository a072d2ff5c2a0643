"""The schedule: which bar is to be scanned next, when bars close faster than they can be scanned.

1. A close makes its bar due. Where the one before is still waiting, the newer one takes its place and the
   older one is counted as skipped: nothing piles up.
2. A revision of the bar that was scanned last makes it due again; many of them make it due once.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from klinehub.feed.decisions import BarClosed, Revision


class Due(NamedTuple):
    """A bar to scan, the symbols that had not closed it, and how often it was revised since."""

    timeframe: str
    bar: int
    missing: tuple[str, ...]
    revision: int


class Schedule:
    """What waits to be scanned of some timeframes; `skipped` counts the bars that never were."""

    def __init__(self, timeframes: Collection[str]) -> None:
        self.skipped = 0
        self._wanted = frozenset(timeframes)
        # By timeframe, in the order in which they became due.
        self._due: dict[str, Due] = {}
        self._last: dict[str, Due] = {}

    def note(self, closed: Iterable[BarClosed], revised: Iterable[Revision]) -> None:
        """Take in what the feed has decided."""
        for event in closed:
            if event.timeframe in self._wanted:
                waiting = self._due.pop(event.timeframe, None)
                self.skipped += waiting is not None and waiting.revision == 0
                self._due[event.timeframe] = Due(event.timeframe, event.bar, event.missing, 0)
        for revision in revised:
            last = self._last.get(revision.timeframe)
            if last is not None and last.bar == revision.bar and revision.timeframe not in self._due:
                missing = tuple(name for name in last.missing if name != revision.symbol)
                again = last._replace(missing=missing, revision=last.revision + 1)
                self._due[revision.timeframe] = again
            elif last is not None:
                self._here(revision)

    def next(self) -> Due | None:
        """Give what is to be scanned now, None when nothing waits."""
        if not self._due:
            return None
        due = self._due.pop(next(iter(self._due)))
        self._last[due.timeframe] = due
        return due

    def _here(self, revision: Revision) -> None:
        """Take a symbol out of those that a waiting bar lacks."""
        waiting = self._due.get(revision.timeframe)
        if waiting is not None and waiting.bar == revision.bar and revision.symbol in waiting.missing:
            missing = tuple(name for name in waiting.missing if name != revision.symbol)
            self._due[revision.timeframe] = waiting._replace(missing=missing)
