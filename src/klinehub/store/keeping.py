"""Keeping: the ring's closed bars into a store, off the event loop, and back at the next start.

1. The ring counts its writes slot by slot. What was written since the last commit is copied on the loop and
   committed beside it; only then does it count as kept.
2. A close is kept at once, with all that closed at the same instant in one commit. The rest (history, late
   bars, corrections) follows within seconds.
3. A disk that fails stops nothing: the hub goes on from memory, says so, and what changed meanwhile is
   written when the disk is back. A commit is all or nothing, so that no bar is kept in part.
"""

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.kline import ROW_WORDS
from klinehub.errors import DataError, StoreError
from klinehub.panel.carry import put_bar, take_bar
from klinehub.panel.memory import I64
from klinehub.panel.ring import Ring
from klinehub.store.base import First
from klinehub.store.hot import HotStore, Slice
from klinehub.store.slices import ABSENT, Lines

# Slices of one commit: copying them holds the loop up for some milliseconds.
MOST_SLICES: Final = 64
# Real seconds between two looks at what came other than by a close, and after a commit that failed.
EVERY: Final = 5.0
# Real seconds after which a commit that goes on counts as one that fails.
PATIENCE: Final = 10.0
# Equals no count of writes and no bar.
_NEVER: Final = -2
# Records of corrections that wait for a commit; of more the oldest are dropped.
MOST_RECORDS: Final = 1_024

Absent = AbstractSet[tuple[int, int, int]]


class Restored(NamedTuple):
    """What a start found on disk: bars, and those that the exchange confirmed not to have."""

    bars: int
    absent: frozenset[tuple[int, int, int]]


class Keeping:
    """Keeps what a ring holds in a store; *absent* gives the bars that the exchange does not have.

    *on_kept* is told of each slice (timeframe, bar) once it is on disk. `durable` is False from a commit that
    failed to the next that does not, and `fault` says why. `commits` have taken `seconds` real ones.
    """

    def __init__(
        self,
        ring: Ring,
        store: HotStore,
        *,
        absent: Callable[[], Absent] = frozenset,
        on_kept: Callable[[Iterable[tuple[str, int]]], None] = lambda _: None,
    ) -> None:
        self.store = store
        self.durable = True
        self.fault = ""
        self.commits = 0
        self.seconds = 0.0
        self.restored = Restored(0, frozenset())
        self._ring = ring
        self._absent = absent
        self._on_kept = on_kept
        self._saved = ring.memory.writes.copy()
        self._firsts = ring.memory.first.copy()
        self._known_absent: Absent = frozenset()
        self._absent_rows: dict[tuple[int, int], list[int]] = {}
        self._records: deque[str] = deque(maxlen=MOST_RECORDS)
        self._decimals = np.empty((0, 3), np.int64)
        self._numbers = np.empty(0, np.int64)
        self._due = asyncio.Event()
        self._busy = threading.Lock()
        self._salvages = store.salvages

    def restore(self, now: int) -> Restored:
        """Put the bars that had ended by exchange time *now* into the ring, in the rows that it has."""
        ring, store = self._ring, self.store
        rows = np.array(
            [-1 if one is None else ring.rows.get(one.symbol, -1) for one in store.entries], np.int64
        )
        self._widen(rows)
        factors = self._factors(rows)
        count, absent = 0, []
        for t, timeframe in enumerate(ring.timeframes):
            last = timeframe.index(now) - 1
            for bar, lines in store.slices(timeframe, max(0, last - ring.bars + 1), last):
                mine = rows[lines.numbers]
                factor = factors[lines.numbers]
                count += int(put_bar(ring.memory, t, bar, mine, lines.states, lines.words, factor))
                absent += [(t, row, bar) for row in mine[(lines.states == ABSENT) & (mine >= 0)].tolist()]
            for symbol, row in ring.rows.items():
                ring.memory.first[t, row] = store.firsts.get((timeframe.milliseconds, symbol), -1)
        self._firsts = ring.memory.first.copy()
        self.restored = Restored(count, frozenset(absent))
        return self.restored

    def _widen(self, rows: I64) -> None:
        """Let each row carry the most decimals that its symbol was ever printed with."""
        for entry, row in zip(self.store.entries, rows.tolist(), strict=True):
            if entry is not None and row >= 0:
                with suppress(DataError):  # its bars are left out then, and fetched again
                    self._ring.rescale(row, entry.scale)

    def _factors(self, rows: I64) -> I64:
        """Give by number what base and quote volumes are multiplied with to have their row's decimals."""
        factors = np.ones((rows.size, 2), np.int64)
        for number, (entry, row) in enumerate(zip(self.store.entries, rows.tolist(), strict=True)):
            if entry is not None and row >= 0:
                have = self._ring.scale(row)
                more = (have.base - entry.scale.base, have.quote - entry.scale.quote)
                if min(more) < 0:
                    rows[number] = -1
                else:
                    factors[number] = [10**digits for digits in more]
        return factors

    def note(self, records: Iterable[str] = ()) -> None:
        """Say that bars have closed, or were corrected with these records: they are kept at once."""
        self._records.extend(records)
        self._due.set()

    async def keep(self) -> None:
        """Keep what comes, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await self._due.wait()
            self._due.clear()
            await self.flush()
            if not self.durable:
                await asyncio.sleep(EVERY)

    async def flush(self) -> None:
        """Keep all that is not kept yet; on disk when this returns, unless `durable` is False then."""
        while True:
            self._look_after_salvage()
            seen = self._ring.memory.writes.copy()
            slots, slices = self._taken()
            firsts, records = self._new_firsts(), list(self._records)
            if not (slices or firsts or records or slots):
                return
            loop = asyncio.get_running_loop()
            began = loop.time()
            try:
                await self._committed(slices, firsts, records)
            except StoreError as exc:
                self.durable, self.fault = False, str(exc)
                return
            self.seconds += loop.time() - began
            for t, slot in slots:
                self._saved[t, slot] = seen[t, slot]
            self._settle(slices, firsts, records)

    def _look_after_salvage(self) -> None:
        """Keep everything anew once a damaged store was replaced by what could be saved of it."""
        if self.store.salvages != self._salvages:
            self._salvages = self.store.salvages
            self._saved[:] = _NEVER
            self._firsts[:] = _NEVER
            self.store.renew()

    async def _committed(self, slices: list[Slice], firsts: list[First], records: list[str]) -> None:
        """Commit beside the loop; a disk that does not answer is told before it does."""
        work = asyncio.get_running_loop().run_in_executor(None, self._commit, slices, firsts, records)
        try:
            async with asyncio.timeout(PATIENCE):
                await asyncio.shield(work)
        except TimeoutError:
            self.durable, self.fault = False, f"{self.store.where} has not answered for {PATIENCE:.0f} s."
            await work

    def _commit(self, slices: list[Slice], firsts: list[First], records: list[str]) -> None:
        # A commit whose task was cancelled goes on in its thread.
        with self._busy:
            self.store.commit(slices, firsts=firsts, records=records)
            self.store.tables.tidy()

    def _settle(self, slices: list[Slice], firsts: list[First], records: list[str]) -> None:
        """Count what was committed as kept."""
        self.durable, self.fault = True, ""
        self.commits += 1
        for one in firsts:
            t = next(n for n, tf in enumerate(self._ring.timeframes) if tf.milliseconds == one.timeframe)
            self._firsts[t, self._ring.rows[one.symbol]] = one.bar
        for _ in records:
            self._records.popleft()
        self._on_kept([(one.timeframe.name, one.bar) for one in slices])

    def _taken(self) -> tuple[list[tuple[int, int]], list[Slice]]:
        """Copy the newest slots that are not kept as they are: which (timeframe number, slot), and what."""
        self._note_absent()
        due = []
        for t, slot in np.argwhere(self._ring.memory.writes != self._saved).tolist():
            bar = self._bar_in(t, slot)
            due.append((self._ring.timeframes[t].close_time(bar), t, slot, bar))
        due.sort(reverse=True)
        numbers = self._rows_numbered()
        taken = [self._slice(t, bar, numbers) for _, t, _, bar in due[:MOST_SLICES]]
        slots = [(t, slot) for _, t, slot, _ in due[:MOST_SLICES]]
        return slots, [one for one in taken if one.lines.numbers.size]

    def _bar_in(self, t: int, slot: int) -> int:
        """Give the absolute index of the newest bar that lies in a slot."""
        newest = int(self._ring.memory.newest[t, : len(self._ring.symbols)].max(initial=0))
        return newest - (newest - slot) % self._ring.bars

    def _slice(self, t: int, bar: int, numbers: I64) -> Slice:
        """Copy what the ring has of a bar."""
        count = numbers.size
        rows, states, words = (
            np.empty(count, np.int64),
            np.empty(count, np.int64),
            np.empty((count, ROW_WORDS), np.int64),
        )
        found = int(take_bar(self._ring.memory, t, bar, count, rows, states, words))
        rows, states, words = rows[:found], states[:found], words[:found]
        held = frozenset(rows.tolist())
        none = [row for row in self._absent_rows.get((t, bar), ()) if row not in held]
        if none:
            rows = np.concatenate((rows, none))
            states = np.concatenate((states, np.full(len(none), ABSENT)))
            words = np.concatenate((words, np.zeros((len(none), ROW_WORDS), np.int64)))
        order = np.argsort(numbers[rows])
        return Slice(self._ring.timeframes[t], bar, Lines(numbers[rows][order], states[order], words[order]))

    def _rows_numbered(self) -> I64:
        """Give each row's number in the store's index, anew where its decimals have grown."""
        ring = self._ring
        decimals = ring.memory.decimals[: len(ring.symbols)].copy()
        if not np.array_equal(decimals, self._decimals):
            self._decimals = decimals
            each = enumerate(ring.symbols)
            self._numbers = np.array([self.store.number(name, ring.scale(row)) for row, name in each])
        return self._numbers

    def _note_absent(self) -> None:
        """Mark the slots of bars newly known not to be."""
        absent = self._absent()
        if len(absent) == len(self._known_absent):
            return
        by_bar: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        for t, row, bar in absent:
            by_bar[t, bar].append(row)
        for t, _, bar in absent - self._known_absent - self.restored.absent:
            if self._bar_in(t, bar % self._ring.bars) == bar:
                self._saved[t, bar % self._ring.bars] = -1
        self._absent_rows, self._known_absent = by_bar, frozenset(absent)

    def _new_firsts(self) -> list[First]:
        """List the first bars that were learned since the last commit."""
        first, ring = self._ring.memory.first, self._ring
        changed = np.argwhere(first != self._firsts).tolist()
        return [
            First(ring.timeframes[t].milliseconds, ring.symbols[row], int(first[t, row]))
            for t, row in changed
            if row < len(ring.symbols) and first[t, row] >= 0
        ]

    def stats(self) -> dict[str, int | str]:
        """Say whether all is on disk, and why not."""
        pending = int((self._ring.memory.writes != self._saved).sum())
        return {
            "durable": self.durable,
            "store": self.store.where,
            "store_fault": self.fault,
            "store_commits": self.commits,
            "store_pending": pending,
            "restored_bars": self.restored.bars,
            "damaged_slices": len(self.store.set_aside),
        }

    async def close(self) -> None:
        """Keep what is left and give the store back."""
        await self.flush()
        self.store.tables.close()
