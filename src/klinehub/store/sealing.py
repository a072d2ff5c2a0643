"""Sealing: days that are over move from the hot store into history, and leave it when they are old.

1. A day (UTC) is sealed once all of its bars have ended some time ago: history has it then, on disk.
2. What is corrected later opens its day again, and it is written to history as a correction.
3. The hot store keeps what a start needs, and everything that is not sealed yet. Nothing is deleted that
   history does not hold, unless its owner wants no history.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Final, NamedTuple

from klinehub.domain.moment import utc
from klinehub.domain.timeframe import DAY, TIMEFRAMES, Timeframe
from klinehub.errors import DataError, StoreError
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore

# Late bars and corrections come within minutes.
SETTLED: Final = 3_600_000
# Real seconds between two looks for days that are over, between two days, and after one that failed.
EVERY: Final = 600.0
PAUSE: Final = 5.0
AGAIN: Final = 60.0
MONTHS: Final = TIMEFRAMES["1M"]


class Stores(NamedTuple):
    """What a hub keeps its market in; with `expires` old days are deleted without being in history."""

    hot: HotStore
    history: HistoryStore | None = None
    expires: bool = False


class Sealing:
    """Moves days of *stores*; *keep* says for how many ms bars of a timeframe stay in the hot store.

    `fault` says why a day could not be moved; it stays where it is. *hand* is whose threads do the work.
    """

    def __init__(
        self, stores: Stores, keep: Callable[[Timeframe], int], hand: Executor | None = None
    ) -> None:
        self.sealed = 0
        self._fault = self._refusal = ""
        self._hand = hand
        self._hot, self._history, self._expires = stores
        self._keep = keep
        self._refused: set[tuple[Timeframe, int]] = set()
        self._compact: set[tuple[Timeframe, str]] = set()

    @property
    def fault(self) -> str:
        """Why a day could not be moved, lately or for good; empty where all could."""
        return self._fault or self._refusal

    def step(self, now: int) -> bool:
        """Move one day that is over at exchange time *now*, or delete what is old; False for neither."""
        for frame in self._hot.timeframes:
            if self._history is not None:
                for day in self._over(frame, now):
                    if not self._hot.is_sealed(frame, day) and (frame, day) not in self._refused:
                        self._seal(self._history, frame, day)
                        return True
                if self._compacted(self._history, frame, now):
                    return True
            if self._deleted(frame, now):
                return True
        return False

    def _over(self, frame: Timeframe, now: int) -> Iterator[int]:
        """Give the days (ms UTC) of which something is kept and whose last bar has ended."""
        kept = self._hot.range(frame)
        if kept.slices:
            ended = frame.open_time(frame.index(now - SETTLED))
            yield from (day for day in range(kept.first // DAY * DAY, ended, DAY) if day + DAY <= ended)

    def _seal(self, history: HistoryStore, frame: Timeframe, day: int) -> None:
        """Write a day to history; one that was there before is written as a correction of it."""
        bars = self._hot.read(frame, None, day, day + DAY)
        try:
            history.write(frame, bars, replace=self._hot.was_sealed(frame, day))
        except DataError as exc:
            # Somebody else has written it otherwise. It stays here until people have looked.
            self._refused.add((frame, day))
            self._refusal = str(exc)
            return
        self._hot.seal(frame, day)
        self.sealed += 1

    def _compacted(self, history: HistoryStore, frame: Timeframe, now: int) -> bool:
        """Make few segments of the many of a month that is over; whether there was one."""
        this = MONTHS.open_time(MONTHS.index(now - SETTLED - DAY))
        for month in history.months(frame):
            if (frame, month) not in self._compact and month < f"{utc(this):.7}":
                self._compact.add((frame, month))
                return bool(history.compact(frame, month))
        return False

    def _deleted(self, frame: Timeframe, now: int) -> bool:
        """Delete what is older than it has to be, as far as history holds it; whether there was something."""
        kept = self._hot.range(frame)
        oldest = (now - self._keep(frame)) // DAY * DAY
        if not kept.slices or kept.first >= oldest or not (self._history or self._expires):
            return False
        if self._history is not None:
            days = range(kept.first // DAY * DAY, oldest, DAY)
            oldest = next((day for day in days if not self._hot.is_sealed(frame, day)), oldest)
        if kept.first >= oldest:
            return False
        self._hot.drop(frame, frame.index(oldest - 1) + 1)
        return True

    async def run(self, now: Callable[[], int]) -> None:
        """Move what is over, a day at a time, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                more = await loop.run_in_executor(self._hand, self.step, now())
                self._fault = ""
            except StoreError as exc:
                self._fault, more = str(exc), False
            await asyncio.sleep(AGAIN if self._fault else PAUSE if more else EVERY)

    def stats(self) -> dict[str, int | str]:
        """Say how many days were moved, and why one was not."""
        return {"sealed_days": self.sealed, "history_fault": self.fault}
