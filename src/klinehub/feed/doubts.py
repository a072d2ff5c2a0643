"""Doubts: closed bars of which the exchange tells otherwise, asked for again before they are corrected.

A first difference may be a body from a cache or a replica that lags behind. Only a second answer that says
the same, asked for later and well after the bar's close, corrects what is kept.
"""

from typing import Final, NamedTuple

from klinehub.feed.decisions import Fetch
from klinehub.feed.repair import SURE
from klinehub.feed.use import Use
from klinehub.panel.ring import Ring

# The time between two answers that confirm each other.
CONFIRMED_AFTER: Final = 10_000
# Doubts beyond this are dropped and counted; the audit finds them again.
MOST_DOUBTS: Final = 4_096
AGAIN: Final = 20_000

Words = tuple[int, ...]
Key = tuple[int, int, int]


class Doubt(NamedTuple):
    """What an answer asked for at *asked* says of a bar (None: the stream said it), and when to ask again."""

    words: Words | None
    asked: int
    due: int


class Doubts:
    """The open doubts by timeframe number, row and open time."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._open: dict[Key, Doubt] = {}
        self._flying: set[Key] = set()
        self.raised = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._open)

    def differs(self, key: Key, words: Words | None, asked: int) -> bool:
        """Note that a bar was told otherwise at exchange time *asked*; whether that is confirmed now."""
        known = self._open.get(key)
        surely = self._ring.timeframes[key[0]].close_time(self._index(key)) + SURE
        if known is None:
            self.raised += 1
            if len(self._open) >= MOST_DOUBTS:
                self.dropped += 1
                return False
        elif words is None:
            return False
        elif known.words == words and asked >= max(known.asked + CONFIRMED_AFTER, surely):
            del self._open[key]
            return True
        elif known.words == words:
            self._open[key] = known._replace(due=max(known.asked + CONFIRMED_AFTER, surely))
            return False
        self._open[key] = Doubt(words, asked, max(asked + CONFIRMED_AFTER, surely))
        return False

    def agrees(self, key: Key, asked: int) -> None:
        """Note that an answer tells a bar as it is kept."""
        if self._open and key in self._open and asked >= self._open[key].asked:
            del self._open[key]

    def fetches(self, now: int) -> list[Fetch]:
        """Give the requests for the doubted bars whose time has come."""
        due = [key for key, one in self._open.items() if one.due <= now and key not in self._flying]
        self._flying.update(due)
        return [
            Fetch(self._ring.symbols[row], self._ring.timeframes[t].name, time, 1, Use.REPAIR)
            for t, row, time in due
        ]

    def landed(self, key: Key, now: int) -> bool:
        """Whether an answer was to a doubt's request; one that settled nothing is asked for again later."""
        if key not in self._flying:
            return False
        self._flying.discard(key)
        if key in self._open and self._open[key].due <= now:
            self._open[key] = self._open[key]._replace(due=now + AGAIN)
        return True

    def forget(self) -> None:
        """Ask again at once: times noted before a jump of the clock mean nothing."""
        self._open = {key: one._replace(due=0) for key, one in self._open.items()}

    def _index(self, key: Key) -> int:
        return self._ring.timeframes[key[0]].index(key[2])
