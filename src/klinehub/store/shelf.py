"""The shelf: all that a hub does with its stores - keep, restore, seal, and read what memory has not."""

from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import DAY, Timeframe
from klinehub.panel.panel import Panel
from klinehub.panel.ring import Ring
from klinehub.store.keeping import Absent, Keeping, Restored
from klinehub.store.levels import Ask, Levels
from klinehub.store.resting import both
from klinehub.store.sealing import Sealing, Stores
from klinehub.store.sources import Sources

# Readers and writers of history at a time.
HANDS: Final = 2


class Shelf:
    """A hub's stores, if it has any: bars of the last *days* lie in the hot one, and what a start needs.

    *panel* gives the memory of a timeframe, *absent* the bars that the exchange does not have, and *ask*
    asks it for a range.
    """

    def __init__(
        self,
        ring: Ring,
        stores: Stores | None,
        clock: Clock,
        *,
        days: int,
        panel: Callable[[str], Panel],
        absent: Callable[[], Absent],
        ask: Ask,
    ) -> None:
        # Threads of their own: a history that does not answer keeps nobody else from working.
        self._hand = ThreadPoolExecutor(HANDS, "history")
        self.keeping = None if stores is None else Keeping(ring, stores.hot, absent=absent)
        self.sealing = None if stores is None else Sealing(stores, self._keeps, self._hand)
        history = None if stores is None else stores.history
        kept = [] if history is None else [history]
        sources = Sources([]) if stores is None else both(kept, stores.hot)
        monotonic = clock.monotonic
        self.levels = Levels(panel, sources, history, ask, monotonic=monotonic, hand=self._hand)
        self._ring = ring
        self._days = days

    def _keeps(self, frame: Timeframe) -> int:
        """Give for how many ms bars stay in the hot store: at least twice what a start needs."""
        return max(self._days * DAY, 2 * self._ring.bars * frame.milliseconds)

    def restore(self, now: int) -> Restored:
        """Fill the ring with the bars that had ended by exchange time *now*."""
        return Restored(0, frozenset()) if self.keeping is None else self.keeping.restore(now)

    def work(self, now: Callable[[], int]) -> list[Coroutine[object, object, None]]:
        """Give what goes on as long as the hub lives."""
        if self.keeping is None or self.sealing is None:
            return []
        return [self.keeping.keep(), self.sealing.run(now)]

    def note(self, records: Iterable[str]) -> None:
        """Say that bars have closed, or were corrected with these records."""
        if self.keeping is not None:
            self.keeping.note(records)

    def stats(self) -> dict[str, int | float | str]:
        """Say what is on disk, and what each level gave."""
        if self.keeping is None or self.sealing is None:
            return {"durable": False, **self.levels.stats()}
        told = {**self.keeping.stats(), **self.sealing.stats(), **self.levels.stats()}
        return {**told, "history_fault": self.sealing.fault or self.levels.fault}

    async def close(self) -> None:
        """Keep what is left and give the stores back."""
        self._hand.shutdown(wait=False, cancel_futures=True)
        if self.keeping is not None:
            await self.keeping.close()
