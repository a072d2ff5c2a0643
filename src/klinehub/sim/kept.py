"""A hub's store on a simulated disk, and the oracle of what was acknowledged to be in it.

S1  while commits fail the hub says so, and no longer than they fail; in the end all that it holds is on disk
S2  what was acknowledged is there when the store is opened again, what was under way whole or not at all,
    and the hub has it before it asks REST for anything
S4  a second hub is refused and harms nothing
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from klinehub.errors import StoreError
from klinehub.sim.disk import Disk
from klinehub.sim.oracle import Divergence, plainly
from klinehub.store.base import Change
from klinehub.store.hot import HotStore
from klinehub.store.sealing import Stores
from klinehub.store.slices import ABSENT
from klinehub.store.sqlite import SqliteTables

if TYPE_CHECKING:
    from klinehub.hub import Hub

PATH: Final = Path("/data/hot.sqlite3")
ORIGIN: Final = "rest.exchange.test"
# Exchange ms within which a commit is tried again, and all that changed is on disk, once the disk is well.
SOON: Final = 20_000
KEPT_WITHIN: Final = 40_000
# A bar that ended this long ago was over by every clock when the hub was restored.
_OVER: Final = 60_000
_LAST: Final = 2**62
# Commits that failed one after the other, of which any may have reached the disk.
_MOST_TRIES: Final = 64

Slices = dict[int, bytes]


class _Told(SqliteTables):
    """Tables that tell of each commit before it is tried and after it was acknowledged."""

    def __init__(self, kept: "Kept") -> None:
        self._book = kept
        disk = kept.disk
        super().__init__(PATH, origin=ORIGIN, vfs=disk.vfs, replace=disk.replace)

    def commit(self, change: Change) -> None:
        """Write a change."""
        self._book.tried(change)
        try:
            super().commit(change)
        except StoreError:
            self._book.failing = True
            raise
        self._book.acknowledge()


class Kept:
    """The store of one run; `disk` may be changed for what is left of it while no hub has it open.

    `troubled` says whether the disk fails now, `well_since` (exchange ms) since when it does not. After
    `damaged` was set, the next opening may find less than was acknowledged.
    """

    def __init__(self) -> None:
        self.disk = Disk()
        self.found: list[Divergence] = []
        self.acknowledged = self.restored = 0
        self.failing = self.damaged = self.troubled = False
        self.well_since = 0
        self._rotten = False
        self._there: Slices = {}
        self._tries: list[Slices] = []
        self._said_durable = 0
        self._pending_since = 0

    def open(self) -> Stores:
        """Open the store as a hub does, and hold what is in it against what has to be."""
        # What waited to be written went with the hub before.
        self._pending_since = 0
        tables = _Told(self)
        try:
            self._compare(dict(tables.scan(0, _LAST)))
        except StoreError:
            if not self.troubled:
                raise
        self.failing = False
        return Stores(HotStore(tables))

    def _compare(self, found: Slices) -> None:
        """Note what was acknowledged and is not there, and what is there in part."""
        if not self.damaged and found not in (self._there, *self._tries):
            lost = [key for key, body in self._there.items() if found.get(key) != body]
            more = [key for key in found if key not in self._there]
            detail = f"{len(lost)} acknowledged slices are not there as they were, {len(more)} are new"
            self._note("S2", detail, 0)
        # A flipped key of SQLite's own tree hides rows behind it: they lack, and are asked for at each start.
        self._rotten = self._rotten or self.damaged
        self._there, self._tries, self.damaged = found, [], False

    def _note(self, kind: str, detail: str, now: int) -> None:
        self.found.append(Divergence(kind, "", "", 0, detail, now))

    def tried(self, change: Change) -> None:
        """Note a commit that is under way: it may come to be there."""
        after = {**self._there, **dict(change.slices)}
        gone = [*change.gone, *((key, key) for key, _, _ in change.damaged)]
        kept = {key: body for key, body in after.items() if not any(low <= key <= high for low, high in gone)}
        self._tries = [*self._tries[-_MOST_TRIES:], kept]

    def acknowledge(self) -> None:
        """Note that the commit under way was acknowledged: it has to be there from now on."""
        done = self._tries[-1]
        self.acknowledged += sum(self._there.get(key) != body for key, body in done.items())
        self._there, self._tries, self.failing = done, [], False

    def blank(self) -> None:
        """Forget everything: the disk was changed for an empty one."""
        self._there, self._tries = {}, []

    def came_up(self, hub: "Hub") -> None:
        """Look, before REST is asked for history, that the hub has what was acknowledged."""
        keeping = hub.shelf.keeping
        if keeping is None or self.troubled:
            return
        self.restored += keeping.restored.bars
        ring, store, now = hub.ring, keeping.store, hub.now()
        lacking: list[str] = []
        for t, frame in enumerate(ring.timeframes):
            last = frame.index(now) - 1
            for bar, lines in store.slices(frame, last - hub.settings.bars, last):
                if frame.close_time(bar) > now - _OVER:
                    continue
                for number, state in zip(lines.numbers.tolist(), lines.states.tolist(), strict=True):
                    entry = store.entries[number]
                    row = None if entry is None else ring.rows.get(entry.symbol)
                    if state > ABSENT and row is not None and not ring.is_closed(t, row, bar):
                        lacking.append(f"{frame.name} {bar} of {ring.symbols[row]}")
        if lacking:
            self._note("S2", f"{len(lacking)} bars were not restored, the first is {lacking[0]}", now)

    def look(self, hub: "Hub", now: int) -> list[Divergence]:
        """Give what is wrong with what the hub says of its store."""
        keeping = hub.shelf.keeping
        if keeping is not None and not self.troubled:
            well = now - self.well_since
            if not keeping.durable and well > SOON:
                self._note(
                    "S1", f"not durable {well / 1000:.0f} s after the disk was well: {keeping.fault}", now
                )
            pending = bool(keeping.stats()["store_pending"])
            self._pending_since = (self._pending_since or now) if pending else 0
            if pending and well > KEPT_WITHIN and now - self._pending_since > KEPT_WITHIN:
                self._note("S1", f"not on disk for {KEPT_WITHIN / 1000:.0f} s, though the disk is well", now)
        if keeping is not None:
            # Twice, since the hub learns of it a moment after the disk has told.
            self._said_durable = self._said_durable + 1 if self.failing and keeping.durable else 0
            if self._said_durable > 1:
                self._note("S1", "durable, though the last commit failed", now)
        found, self.found = self.found, []
        return found

    def complete(self, hub: "Hub", now: int) -> list[Divergence]:
        """Give the series of which the hub holds bars that are not on disk, or are others there."""
        keeping = hub.shelf.keeping
        if keeping is None or self.troubled or self._rotten or now - self.well_since < KEPT_WITHIN:
            return []
        found = []
        for frame in hub.timeframes:
            end = frame.index(now - KEPT_WITHIN)
            kept = keeping.store.read(frame, None, 0, 2**42)
            for symbol in hub.symbols:
                held = plainly(hub.panel(frame.name).exact(symbol, start=end - hub.settings.bars, end=end))
                disk = plainly(kept[symbol]) if symbol in kept else {}
                wrong = [time for time, words in held.items() if disk.get(time) != words]
                if wrong:
                    detail = f"{len(wrong)} bars are not on disk as they are held"
                    found.append(Divergence("S1", symbol, frame.name, wrong[0], detail, now))
        return found
