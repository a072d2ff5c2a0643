"""The soak: one seed's world with all its faults, the unmodified hub in it, and an oracle at every second.

1. The scene is drawn from the seed, the exchange and the hub are started, the faults are played.
2. Every second of exchange time the oracle looks at what the hub serves and claims (invariants I1 to I8, and
   S1 to S5 where it has a store).
3. After the last fault it is quiet; within two minutes every bar has to be the truth (O).

Equal seeds give equal traces, to the byte.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from klinehub.domain.clock import Clock
from klinehub.errors import KlinehubError
from klinehub.feed.decisions import BarClosed
from klinehub.hub import Hub
from klinehub.sim.closes import Announced
from klinehub.sim.consumers import Consumers, Lend
from klinehub.sim.disk import overlooked
from klinehub.sim.faults import UNFELT, Fault, consumer_schedule, disk_schedule, schedule
from klinehub.sim.kept import Kept
from klinehub.sim.loop import SimLoop, run
from klinehub.sim.oracle import Divergence, Truth, Watch, is_fresh, settled
from klinehub.sim.scene import draw
from klinehub.sim.stage import Stage
from klinehub.sim.trouble import Trouble

# Exchange ms: when the faults begin, and how long it may take after them until every bar is true.
WARM: Final = 60_000
QUIET: Final = 120_000
# A fault's effects may be seen for this long after it was healed; who was refused asks again after 5 minutes.
RECOVERY: Final = 15_000
REFUSALS: Final = frozenset({"firewall", "geo_block"})
REST: Final = 300_000
# Something that the market did may be missing from a symbol called fresh for this long.
MOST_UNTOLD: Final = 10_000
LISTED_WITHIN: Final = 60_000
# A run ends at this many divergences.
PATIENCE: Final = 20
_MOST_TASKS: Final = 250
_MOST_LINKS: Final = 80
_POLL: Final = 5.0
# How often a series is read, and bounds are looked at, in seconds.
_READ_EVERY: Final = 5
_BOUNDS_EVERY: Final = 10


def planned(seed: int) -> list[Fault]:
    """Give the faults of a seed's own schedule."""
    scene = draw(seed)
    begin, end = scene.start + WARM, scene.end
    faults = schedule(np.random.default_rng([seed, 12]), begin, end)
    if not faults:
        return faults
    if scene.store:
        faults += disk_schedule(np.random.default_rng([seed, 15]), begin, end)
    if scene.consumers:
        faults += consumer_schedule(np.random.default_rng([seed, 17]), begin, end)
    return sorted(faults, key=lambda one: one.at)


class Outcome(msgspec.Struct, frozen=True):
    """What one seed's run gave; times in seconds, a symbol-second is one symbol through one second.

    `calm` counts the symbol-seconds without a fault in force or just healed, `calm_fresh` those of them in
    which the symbol was fresh. `untold` and `feed_untold` are the longest times that a symbol, and that
    everything, was silent without being told stale; `healed` is how long the quiet lasted until all was true.
    `kept` slices were acknowledged to be on disk, `restored` bars were there for hubs that started. Clients
    of the hub's streams were told `told` closes, and `cut` of them were too slow.
    """

    seed: int
    seconds: float
    faults: dict[str, int]
    divergences: tuple[Divergence, ...]
    symbol_seconds: int
    stale_seconds: int
    calm: int
    calm_fresh: int
    untold: float
    feed_untold: float
    healed: float
    hash: str
    kept: int = 0
    restored: int = 0
    told: int = 0
    cut: int = 0


class _Trace:
    """Everything that happens in a run, hashed with its time, and told line by line to who wants it."""

    def __init__(self, loop: SimLoop, tell: Callable[[str], None] | None) -> None:
        self._loop = loop
        self._tell = tell
        self.hash = hashlib.sha256()

    def __call__(self, what: str) -> None:
        line = f"{self._loop.time():10.3f}  {what}"
        self.hash.update(line.encode())
        if self._tell is not None:
            self._tell(line)


class _Over(Exception):
    """Enough was found."""


class Soak:
    """One run; `play` it once."""

    def __init__(
        self,
        loop: SimLoop,
        seed: int,
        faults: Sequence[Fault],
        folder: Path,
        *,
        tell: Callable[[str], None] | None,
        lend: Lend | None = None,
    ) -> None:
        self.scene = draw(seed)
        self.faults = faults
        self.found: list[Divergence] = []
        self.seconds = self.stale = self.calm = self.calm_fresh = 0
        self.untold = self.feed_untold = 0
        self.healed = 0.0
        self._loop = loop
        loop.delay = self.scene.delay
        self._trace = _Trace(loop, tell)
        self._kept = Kept() if self.scene.store else None
        market = self.scene.market()
        self._truth = Truth(market)
        self._consumers = None if lend is None else self._clients(loop, lend)
        self.stage = Stage(
            loop,
            self.scene,
            folder,
            market,
            corrected=any(fault.kind == "correction" for fault in faults),
            kept=self._kept,
            on_up=self._up,
            on_close=self._closed,
            on_news=self._trace,
            attend=None if self._consumers is None else self._consumers.attend,
        )
        self.trouble: Trouble
        self._watch: Watch | None = None
        self._announced: Announced | None = None
        self._up_since = 0
        self._claims: dict[str, str] = {}
        self._late: dict[str, int] = {}
        self._looks = 0
        self._resting = 0

    def _clients(self, loop: SimLoop, lend: Lend) -> Consumers | None:
        """Make the clients of the hub's streams, where the scene has some."""
        if not self.scene.consumers:
            return None
        return Consumers(
            loop,
            self._truth,
            lend,
            [role.symbol for role in self.scene.roles],
            now=Clock(self.scene.start, 1.0, loop.time).now,
            note=self._note,
            trace=self._trace,
        )

    async def play(self, patience: int) -> Outcome:
        """Play the whole run and give what came of it."""
        self._trace(str(self.scene))
        await self.stage.open()
        self.trouble = Trouble(
            self._loop,
            self.stage.served,
            np.random.default_rng([self.scene.seed, 13]),
            clock=self.stage.skewed,
            restart=self.stage.restart,
            kept=self._kept,
            consumers=self._consumers,
            on=self._happened,
        )
        try:
            watching = asyncio.create_task(self._watching(patience), name="oracle")
            acting = asyncio.create_task(self._acting(), name="faults")
            await asyncio.wait([watching, acting], return_when=asyncio.FIRST_COMPLETED)
            for task in (watching, acting):
                task.cancel()
            for result in await asyncio.gather(watching, acting, return_exceptions=True):
                if isinstance(result, Exception) and not isinstance(result, _Over):
                    raise result
        finally:
            await self.stage.close()
        self._background()
        return self._outcome()

    async def _acting(self) -> None:
        """Play the faults, let the rest of the time pass, then wait for everything to be well."""
        clock, scene = self.stage.clock, self.scene
        for fault in self.faults:
            self._trace(f"planned: {fault}")
        await self.trouble.play(self.faults)
        await asyncio.sleep(clock.seconds_until(scene.end))
        await self._quiet()

    async def _quiet(self) -> None:
        """Wait until all bars are true, for two minutes at the longest in which REST may be asked."""
        clock = self.stage.clock
        begin = max(clock.now(), self._resting)
        while True:
            wrong = self._settled(clock.now())
            self.healed = max(0, clock.now() - begin) / 1000
            if not wrong or clock.now() - begin >= QUIET:
                break
            await asyncio.sleep(_POLL)
        self._note(wrong)
        self._trace(f"quiet for {self.healed:g} s: {len(wrong)} divergences")

    def _happened(self, fault: Fault, begun: bool) -> None:  # noqa: FBT001 - as trouble calls it
        """Trace a fault; a hub that was refused may leave REST alone for a while after it."""
        self._trace(f"{'begun' if begun else 'healed'}: {fault}")
        if not begun and fault.kind in REFUSALS:
            self._resting = self.stage.clock.now() + REST

    def _settled(self, now: int) -> list[Divergence]:
        hub = self.stage.hub
        if hub is None or self._announced is None:
            return [Divergence("O", "", "", 0, "the hub is not up", now)]
        symbols = self._truth.trading(now, since=LISTED_WITHIN)
        found = settled(hub, self._truth, symbols, now) + self._announced.untold(self._up_since, now)
        found += self._kept.complete(hub, now) if self._kept is not None else []
        return found + (self._consumers.untold(symbols, now) if self._consumers is not None else [])

    def _up(self, hub: Hub) -> None:
        """Begin to watch a hub that has come up."""
        self._watch = Watch(hub, self._truth)
        self._announced = Announced(hub, self._truth)
        self._up_since = self.stage.clock.now()

    def _closed(self, event: BarClosed) -> None:
        self._trace(f"closed {event.timeframe} {event.bar} {'all' if event.complete else event.missing}")
        if self._announced is not None:
            self._note(self._announced.take(event, self.stage.clock.now()))

    def _note(self, wrong: Sequence[Divergence]) -> None:
        for one in wrong:
            self._trace(f"DIVERGENCE {one}")
        self.found += wrong

    async def _watching(self, patience: int) -> None:
        """Look at the hub a millisecond before each second of exchange time is over."""
        clock = self.stage.clock
        while True:
            await asyncio.sleep(clock.seconds_until((clock.now() + 1) // 1000 * 1000 + 999))
            self._looks += 1
            self._look(clock.now())
            if len(self.found) >= patience or self.stage.crash is not None:
                raise _Over

    def _look(self, now: int) -> None:
        """Hold everything against the truth that can be seen at one instant."""
        self._note(self.stage.spending.found)
        self.stage.spending.found.clear()
        hub, watch = self.stage.hub, self._watch
        symbols = self._truth.trading(now, since=LISTED_WITHIN)
        if hub is not None and watch is not None:
            self._note(watch.look(now))
            self._freshness(hub, watch, symbols, now)
            if self._looks % _READ_EVERY == 0 and symbols:
                turn = self._looks // _READ_EVERY
                frame = hub.timeframes[turn % len(hub.timeframes)]
                symbol = symbols[turn // len(hub.timeframes) % len(symbols)]
                if symbol in hub.ring.rows:
                    self._note(watch.read(symbol, frame, self.scene.bars, now, self.trouble.woken))
            self._note(self._ended(hub, now))
            if self._consumers is not None:
                self._consumers.look()
        if self._kept is not None:
            self._store(self._kept, hub, now)
        self._count(hub, symbols, now)
        if self._looks % _BOUNDS_EVERY == 0:
            self._bounds(now)

    def _store(self, kept: Kept, hub: Hub | None, now: int) -> None:
        """Hold what the hub says of its store against its disk; while it can not be opened it is not calm."""
        if hub is not None:
            self._note(kept.look(hub, now))
        elif kept.troubled:
            self._resting = max(self._resting, now)

    def _freshness(self, hub: Hub, watch: Watch, symbols: list[str], now: int) -> None:
        """Hold claims to be fresh against what lacks, seen twice: a hub that was blocked has to run first.

        A hub whose clock slept with the machine can know of it since it woke.
        """
        awake = now - self.trouble.woken
        lacks = {name: min(awake, watch.lacking(name, now)) for name in symbols if name in hub.ring.rows}
        silent = [lack for lack in lacks.values() if lack]
        for name, lack in lacks.items():
            if not lack or not is_fresh(hub, name):
                self._late.pop(name, None)
                continue
            before = self._late.get(name)
            self._late[name] = lack
            if before is None:
                continue
            self.untold = max(self.untold, min(before, lack))
            if before > MOST_UNTOLD and lack > MOST_UNTOLD:
                detail = f"fresh, though it lacks what happened {lack / 1000:.1f} s ago"
                self._note([Divergence("I4", name, "", 0, detail, now)])
                self._late.pop(name)
        if len(silent) > 1 and len(silent) == len(lacks) and any(name in self._late for name in lacks):
            self.feed_untold = max(self.feed_untold, min(silent))

    def _ended(self, hub: Hub, now: int) -> list[Divergence]:
        """Give symbols that ended a while ago and are called fresh, while nothing is wrong outside."""
        if self._disturbed(now):
            return []
        return [
            Divergence("I4", name, "", 0, "fresh, though it does not trade any more", now)
            for name in self._truth.ended(now, since=LISTED_WITHIN)
            if is_fresh(hub, name)
        ]

    def _disturbed(self, now: int) -> bool:
        felt = any(fault.kind not in UNFELT for fault in self.trouble.active)
        return felt or now < max(self.trouble.last_healed, self._resting) + RECOVERY

    def _count(self, hub: Hub | None, symbols: list[str], now: int) -> None:
        """Count fresh and stale symbol-seconds, and those in which nothing was wrong outside."""
        disturbed = self._disturbed(now)
        for name in symbols:
            fresh = hub is not None and is_fresh(hub, name)
            self.seconds += 1
            self.stale += not fresh
            if not disturbed:
                self.calm += 1
                self.calm_fresh += fresh
            self._claim(hub, name, fresh=fresh)

    def _claim(self, hub: Hub | None, name: str, *, fresh: bool) -> None:
        """Trace a symbol's change between fresh and stale."""
        if hub is None:
            claim = "without a hub"
        elif fresh or name not in hub.ring.rows:
            claim = "fresh" if fresh else "unknown"
        else:
            stale = hub.stale(name)
            claim = f"stale: {stale.reason if stale else ''}"
        if self._claims.get(name) != claim:
            self._claims[name] = claim
            self._trace(f"{name} {claim}")

    def _bounds(self, now: int) -> None:
        """Look that tasks and connections stay few."""
        tasks, links = len(asyncio.all_tasks()), len(self._loop.links)
        for number, most, what in ((tasks, _MOST_TASKS, "tasks"), (links, _MOST_LINKS, "connections")):
            if number > most:
                self._note([Divergence("I8", "", "", 0, f"{number} {what}", now)])

    def _background(self) -> None:
        """Make findings of what failed where nobody awaits it."""
        crash = [] if self.stage.crash is None else [self.stage.crash]
        now = self.stage.clock.now()
        self._note([Divergence("crash", "", "", 0, repr(one), now) for one in (*crash, *self._loop.failures)])
        self._loop.failures.clear()

    def _outcome(self) -> Outcome:
        trace = self._trace.hash
        if self._watch is not None:
            trace.update(self._watch.hub.ring.memory.cells.tobytes())
        trace.update(repr(sorted(self.stage.spending.weights.items())).encode())
        return Outcome(
            seed=self.scene.seed,
            seconds=(self.stage.clock.now() - self.scene.start) / 1000,
            faults=dict(self.trouble.fired),
            divergences=tuple(self.found),
            symbol_seconds=self.seconds,
            stale_seconds=self.stale,
            calm=self.calm,
            calm_fresh=self.calm_fresh,
            untold=self.untold / 1000,
            feed_untold=self.feed_untold / 1000,
            healed=self.healed,
            hash=trace.hexdigest(),
            kept=self._kept.acknowledged if self._kept is not None else 0,
            restored=self._kept.restored if self._kept is not None else 0,
            told=self._consumers.closes if self._consumers is not None else 0,
            cut=self._consumers.cut if self._consumers is not None else 0,
        )


async def one(
    loop: SimLoop,
    seed: int,
    faults: Sequence[Fault] | None = None,
    *,
    tell: Callable[[str], None] | None = None,
    patience: int = PATIENCE,
    lend: Lend | None = None,
) -> Outcome:
    """Run one seed; *faults* instead of its own, *tell* gets every line of the trace as it happens.

    Where a scene has clients of the hub's streams, *lend* serves them; without it there are none.
    """
    with tempfile.TemporaryDirectory() as folder, overlooked():
        chosen = planned(seed) if faults is None else faults
        return await Soak(loop, seed, chosen, Path(folder), tell=tell, lend=lend).play(patience)


def soak(
    seed: int,
    faults: Sequence[Fault] | None = None,
    *,
    tell: Callable[[str], None] | None = None,
    patience: int = PATIENCE,
    lend: Lend | None = None,
) -> Outcome:
    """Run one seed on a loop of its own; a run that cannot go on at all is a divergence too."""
    try:
        return run(lambda loop: one(loop, seed, faults, tell=tell, patience=patience, lend=lend), seed=seed)
    except KlinehubError as stuck:
        found = (Divergence("crash", "", "", 0, repr(stuck), 0),)
        return Outcome(seed, 0.0, {}, found, 0, 0, 0, 0, 0.0, 0.0, 0.0, "")
