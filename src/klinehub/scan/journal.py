"""The journal: hits as they came, and what the price did after them, kept as each horizon comes due."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from klinehub.errors import DefinitionError
from klinehub.scan.scanner import ScanResult

MOST: Final = 100_000
HORIZONS: Final = (1, 4, 16, 96)


class Entry(msgspec.Struct, frozen=True):
    """A hit, and by horizon (bars of its timeframe) the return of its price since, None where no bar came."""

    screen: str
    hash: str
    timeframe: str
    bar: int
    symbol: str
    side: str
    score: float | None
    price: float
    returns: Mapping[int, float | None] = {}


def latest(entries: Iterable[Entry]) -> list[Entry]:
    """Give each hit once, as it was written last, in the order in which they came."""
    found = {(one.screen, one.hash, one.timeframe, one.bar, one.symbol): one for one in entries}
    return list(found.values())


class Journal:
    """Keeps the last *most* hits; each is asked for its price again after every one of *horizons* bars."""

    def __init__(self, horizons: Sequence[int] = HORIZONS, *, most: int = MOST) -> None:
        if not horizons or any(type(one) is not int or one < 1 for one in horizons) or most < 1:
            raise DefinitionError(f"Horizons of {list(horizons)!r} bars are none: give whole numbers from 1.")
        self.horizons = tuple(sorted(set(horizons)))
        self._open: deque[Entry] = deque()
        self._done: deque[Entry] = deque(maxlen=most)
        self._most = most
        # The bars written down, newest last: a revision of one adds nothing to the journal.
        self._seen: dict[tuple[str, str], int] = {}

    @classmethod
    def of(cls, entries: Sequence[Entry], horizons: Sequence[int] = HORIZONS) -> "Journal":
        """Go on with a journal that was kept before: what is not due yet is asked for again."""
        found = cls(horizons)
        for entry in entries:
            done = set(found.horizons) <= set(entry.returns)
            (found._done if done else found._open).append(entry)
            key = (entry.screen, entry.timeframe)
            found._seen[key] = max(found._seen.get(key, -1), entry.bar)
        return found

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, oldest first; those of which every horizon has come due before the others."""
        return (*self._done, *self._open)

    def note(self, result: ScanResult) -> int:
        """Write the hits of a scan down, once for each bar; gives how many there were."""
        key = (result.screen, result.timeframe)
        if self._seen.get(key, -1) >= result.bar:
            return 0
        self._seen[key] = result.bar
        for hit in result.results:
            self._open.append(
                Entry(
                    *(result.screen, result.hash, result.timeframe, result.bar),
                    *(hit.symbol, hit.side, hit.score, hit.price),
                )
            )
        while len(self._open) > self._most:
            self._done.append(self._open.popleft())
        return len(result.results)

    def close(self, timeframe: str, bar: int, price: Callable[[str, int], float | None]) -> list[Entry]:
        """Fill in what has come due when *bar* of a timeframe closed; gives the entries that it changed.

        *price* gives a symbol's close at a bar, None where it has none.
        """
        changed, kept = list[Entry](), deque[Entry]()
        for entry in self._open:
            now = self._due(entry, timeframe, bar, price)
            if now is not entry:
                changed.append(now)
            (self._done if len(now.returns) == len(self.horizons) else kept).append(now)
        self._open = kept
        return changed

    def _due(
        self, entry: Entry, timeframe: str, bar: int, price: Callable[[str, int], float | None]
    ) -> Entry:
        """Fill in an entry's horizons up to a bar."""
        if entry.timeframe != timeframe:
            return entry
        due = [one for one in self.horizons if one not in entry.returns and entry.bar + one <= bar]
        if not due:
            return entry
        found: dict[int, float | None] = {**entry.returns}
        for horizon in due:
            later = price(entry.symbol, entry.bar + horizon)
            found[horizon] = None if later is None else later / entry.price - 1.0
        return msgspec.structs.replace(entry, returns=found)
