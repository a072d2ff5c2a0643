"""The universe as it was: every coming and going with its time, and who was in at any time since.

1. Changes are recorded in order of time; one that tells nothing new is refused, since then one is lost.
2. Each symbol's changes are kept in order, so that whether it was in at a time is one search.
3. Only so many changes are kept. Older ones are forgotten, but for the entry of each symbol that was still
   in; `since` moves on to the time of the youngest forgotten one, and nothing is told of a time before.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from operator import attrgetter
from typing import Final

import msgspec

from klinehub.errors import DataError, DefinitionError

# Some six years: over a recorded year of 521 symbols the default rules made 1.7 changes an hour.
MOST_CHANGES: Final = 100_000
_time = attrgetter("time")


class Change(msgspec.Struct, frozen=True):
    """A symbol that came into the universe or left it: exchange time in ms, and why."""

    time: int
    symbol: str
    entered: bool
    why: str


class History:
    """Who was in the universe at any time since `since`, from the recorded changes.

    At most *most* changes are kept, beside the entries of symbols that were in before them; `forgotten`
    counts the others. *changes* and *since* bring back what `records` and `since` gave.
    """

    def __init__(
        self, changes: Iterable[Change] = (), *, since: int | None = None, most: int = MOST_CHANGES
    ) -> None:
        if most < 1:
            raise DefinitionError(f"A history of {most} changes holds nothing: keep 1 or more.")
        self.since = since
        self.forgotten = 0
        self._most = most
        self._entries: dict[str, Change] = {}
        self._recent: deque[Change] = deque()
        self._by_symbol: dict[str, list[Change]] = {}
        for change in changes:
            self.record(change)

    def __repr__(self) -> str:
        """Show how much is known, for example `<History 812 changes since 1791241200000, 0 forgotten>`."""
        return f"<History {len(self._recent)} changes since {self.since}, {self.forgotten} forgotten>"

    @property
    def records(self) -> tuple[Change, ...]:
        """Every change that is kept, oldest first."""
        return (*self._entries.values(), *self._recent)

    def record(self, change: Change) -> None:
        """Keep a change; raises DataError for one that is older than the last or that tells nothing new."""
        newest = self._recent[-1].time if self._recent else None
        if newest is not None and change.time < newest:
            raise DataError(
                f"{change.symbol} changed at {change.time}, before the last change at {newest}: "
                "record changes in order of time."
            )
        if change.entered == self._is_in(change.symbol):
            raise DataError(
                f"{change.symbol} is {'in' if change.entered else 'out of'} the universe already at "
                f"{change.time}: a change before it was not recorded."
            )
        if self.since is None:
            self.since = change.time
        self._recent.append(change)
        self._by_symbol.setdefault(change.symbol, []).append(change)
        if change.time < self.since:
            self._forget()
        elif len(self._recent) > self._most:
            self.forgotten += 1
            self._forget()

    def at(self, time: int) -> tuple[str, ...]:
        """Give the symbols that were in at an exchange time in ms, by name.

        Raises DataError for a time before `since`: what was in then is not known.
        """
        if self.since is None:
            raise DataError("No universe was recorded yet: run a hub first, or choose the symbols by name.")
        if time < self.since:
            raise DataError(
                f"The universe is known since {self.since}, not at {time}: start later, "
                "or choose the symbols by name."
            )
        return tuple(sorted(name for name in {*self._entries, *self._by_symbol} if self._is_in(name, time)))

    def _is_in(self, symbol: str, time: int | None = None) -> bool:
        """Whether a symbol was in at a time, by default after all that is recorded."""
        own = self._by_symbol.get(symbol, [])
        place = len(own) if time is None else bisect_right(own, time, key=_time)
        return own[place - 1].entered if place else symbol in self._entries

    def _forget(self) -> None:
        """Fold the oldest change into what was in at `since`."""
        oldest = self._recent.popleft()
        own = self._by_symbol[oldest.symbol]
        del own[0]
        if not own:
            del self._by_symbol[oldest.symbol]
        if oldest.entered:
            self._entries[oldest.symbol] = oldest
        else:
            del self._entries[oldest.symbol]
        self.since = oldest.time if self.since is None else max(self.since, oldest.time)
