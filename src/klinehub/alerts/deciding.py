"""Deciding: the rules of a live hub, held against each bar that closes, and written down before it counts.

1. Rules of one timeframe are judged together, in the order in which bars close. A bar that was left out, and
   those that closed while nothing ran, are decided one after the other, so that no edge is lost.
2. What a bar decides is written in one transaction. Only then does it count: where the disk refuses, the
   same bar is decided again until it is written. Nothing is sent that is not written.
3. A bar that is decided again, since a symbol came late, is decided from where the rules stood before it.
4. Rules change while bars close: new ones are made ready in a thread, and take over between two bars.
"""

import asyncio
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Final, TypeVar

from klinehub.alerts.edges import Position, at_bar, pack, rebased, unpack
from klinehub.alerts.group import Group, Step
from klinehub.alerts.judging import Fire, Judge
from klinehub.alerts.log import Log
from klinehub.alerts.outbox import Decision, Edges, Fired, Logged, Outbox, Standing
from klinehub.alerts.rule import Rule
from klinehub.alerts.telling import Market, Reach, Telling
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DefinitionError, StoreError
from klinehub.panel.view import PanelView
from klinehub.scan.alerts import Alert
from klinehub.scan.scanner import Hit, Universe
from klinehub.scan.schedule import Due

T = TypeVar("T")
# Bars that closed while nothing ran, or while the disk refused, and are decided all the same.
MOST_LATE: Final = 96
# Real seconds until a disk that refuses is asked again, and between two looks at open bars.
RETRY: Final = 5.0
FORMING: Final = 1.0
# Ms of market time within which a bar that has just ended may still be incomplete.
SETTLING: Final = 10_000
# Alerts of screens that wait for a disk that refuses; of more the oldest are dropped, and counted.
MOST_WAITING: Final = 10_000


class Deciding:
    """Decides what is told of a *market*, and writes it into *log*.

    *reach* gives the targets of an alert that is addressed to some of them, *on_kept* is told what was
    written. Alerts of bars that ended more than *oldest* ms ago are written down, and not sent. `fault` says
    why nothing can be written, `dropped` counts alerts of screens that were given up for that. `failures`
    says of rules why they are not judged any more.
    """

    def __init__(
        self,
        market: Market,
        log: Log,
        *,
        reach: Reach,
        on_kept: Callable[[list[Logged]], None],
        oldest: int,
    ) -> None:
        self.fault = ""
        self.dropped = 0
        self.failures: dict[str, str] = {}
        self._market, self._log = market, log
        self._telling, self._on_kept = Telling(market, reach, oldest), on_kept
        self._groups: dict[str, Group] = {}
        # The symbols by whose rows edges are written.
        self._names: tuple[str, ...] = ()
        self._waiting: deque[Fired] = deque()
        self._noted = asyncio.Event()
        # Held while a bar is decided and written, and while rules are made ready.
        self._turn, self._changing = asyncio.Lock(), asyncio.Lock()

    def armed(self) -> dict[str, int]:
        """Count the symbols of each rule that may fire."""
        return {name: count for group in self._groups.values() for name, count in group.armed().items()}

    def sample(self, rule: Rule) -> Alert:
        """Give an alert as a rule would give it now, of the first symbol that it looks at; for a test."""
        group, panel = self._groups.get(rule.timeframe), self._market.ground.panels[rule.timeframe]
        bar = panel.closed_bar if group is None else group.bar
        fire = group.sample(rule.name) if group is not None and rule in group.judge.rules else None
        if fire is None:
            symbol = next(iter((*rule.screen.symbols, *panel.symbols)))
            fire = Fire(rule, Hit(symbol=symbol, score=None, side="flat", price=0.0, contributions={}))
        return next(self._telling.of([fire], panel.timeframe, bar)).alert

    # -- the start

    async def begin(self, rules: Sequence[Rule]) -> None:
        """Go on where the rules stood at the last stop, and decide the bars that have closed since.

        Raises StoreError where that can not be read or written.
        """
        standing = await self._log.do(lambda outbox: outbox.standing())
        known = await self._regained(standing, rules)
        for frame, some in _by_frame(rules).items():
            try:
                await self._catch_up(frame, some, known, standing.bars.get(frame))
            except DefinitionError as exc:
                self._give_up(some, exc)

    async def _regained(self, standing: Standing, rules: Sequence[Rule]) -> dict[str, Position]:
        """Give where the rules stood, by the rows that the symbols have now, of those that did not change."""
        names = _symbols(self._market.ground.panels)
        hashes = {rule.name: rule.hash for rule in rules if rule.enabled}
        found, gone = dict[str, Position](), list[str]()
        for one in standing.edges:
            try:
                if hashes.get(one.rule) == one.hash:
                    found[one.rule] = rebased(unpack(one.body), standing.symbols, names)
                else:
                    gone.append(one.rule)
            except StoreError as exc:
                warnings.warn(f"{one.rule}: {exc}", stacklevel=2)
                gone.append(one.rule)
        edges = tuple(Edges(rule, hashes[rule], pack(at)) for rule, at in found.items())
        await self._write(Decision(self._market.now(), (), {}, edges, names, tuple(gone)))
        self._names = names
        return found

    async def _catch_up(
        self, frame: str, rules: Sequence[Rule], known: Mapping[str, Position], last: int | None
    ) -> None:
        """Make the group of a timeframe and decide what has closed since *last*, or the newest bar alone."""
        newest, panel = self._newest(frame), self._market.ground.panels[frame]
        mine = {rule.name: known[rule.name] for rule in rules if rule.name in known}
        if last is None or not mine or last > panel.closed_bar:
            # Nothing to go on from, or from another time than that of this market.
            mine, last = {}, newest - 1
        newest = max(newest, last)
        last = max(last, newest - MOST_LATE)
        mine = {name: at_bar(at, last) for name, at in mine.items()}
        judge = await self._made(rules, frame, newest, newest - last)
        universe, listed = self._market.universe(), dict(self._market.ground.listed)

        group, steps = await asyncio.to_thread(_caught_up, judge, mine, last, newest, universe, listed)
        judge.go_on(self._market.ground.panels)
        told = (self._telling.of(step.fires, judge.frame, step.bar) for step in steps)
        fired = tuple(one for some in told for one in some)
        await self._count(Decision(self._market.now(), fired, {frame: newest}, group.all_edges()))
        self._groups[frame] = group

    def _newest(self, frame: str) -> int:
        """Give the newest bar of a timeframe that nothing more is to come of."""
        panel, now = self._market.ground.panels[frame], self._market.now()
        return min(panel.closed_bar, panel.timeframe.index(now - SETTLING) - 1)

    async def _made(self, rules: Sequence[Rule], frame: str, bar: int, more: int) -> Judge:
        """Make a judge of rules on copies of the bars up to *bar*, and of so many *more* before."""
        ground = self._market.ground
        named = Judge(rules, ground)
        rows = {name: count + more * _share(frame, name) for name, count in named.rows.items()}
        views, _ = await ground.copies(named, rows, bar)
        return Judge(rules, ground._replace(panels=views))

    # -- bars that close

    async def run(self) -> None:
        """Decide what closes, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for work in (self._follow(), self._look_ahead(), self._drain()):
                group.create_task(work)

    async def _follow(self) -> None:
        async with aclosing(self._market.due(tuple(self._market.ground.panels))) as dues:
            async for due, _ in dues:
                while True:
                    if await self._decided(due):
                        break
                    await asyncio.sleep(RETRY)

    async def _decided(self, due: Due) -> bool:
        """Decide a bar, and first those that were left out before it; False where the disk refuses."""
        async with self._turn:
            group = self._groups.get(due.timeframe)
            if group is None or due.bar < group.bar:
                return True
            try:
                for bar in range(max(group.bar + 1, due.bar - MOST_LATE + 1), due.bar):
                    await self._decide(group, bar)
                    await asyncio.sleep(0)
                await self._decide(group, due.bar, due.revision)
            except StoreError:
                return False
            except DefinitionError as exc:
                self._give_up(self._groups.pop(due.timeframe).judge.rules, exc)
        return True

    async def _decide(self, group: Group, bar: int, revision: int = 0) -> None:
        """Decide one bar, and write it down."""
        step = group.decided(bar, self._market.universe())
        fired = self._telling.of(step.fires, group.judge.frame, bar, revision)
        bars = {group.judge.timeframe: bar}
        await self._take(group, step, Decision(self._market.now(), tuple(fired), bars))

    async def _take(self, group: Group, step: Step, decision: Decision) -> None:
        """Write down what a step decides; only then it counts."""
        names = group.judge.symbols
        whole = decision._replace(edges=group.edges(step), symbols=None if names == self._names else names)
        await self._count(whole)
        self._names = names
        group.take(step)

    async def _look_ahead(self) -> None:
        """Look at bars that are open, for the rules that ask for it."""
        while True:
            await asyncio.sleep(FORMING)
            for group in [one for one in self._groups.values() if one.judge.has_forming]:
                with suppress(StoreError):  # told in `fault`; the next look decides it again
                    await self._look(group)

    async def _look(self, group: Group) -> None:
        """Look at the bar that is open now, once the one before it was decided."""
        async with self._turn:
            market, now = self._market, self._market.now()
            bar = group.judge.frame.index(now)
            if self._groups.get(group.judge.timeframe) is not group or bar != group.bar + 1:
                return
            views = {
                name: market.ahead(name, panel.timeframe.index(now))
                for name, panel in market.ground.panels.items()
            }
            step = group.ahead(views, bar, market.universe())
            if step.fires:
                fired = self._telling.of(step.fires, group.judge.frame, bar, views=views)
                await self._take(group, step, Decision(now, tuple(fired)))

    # -- screens that are followed

    def note(self, alerts: Sequence[Alert], to: Sequence[str]) -> None:
        """Have alerts that screens of the user's own have made written down; those that are known are not."""
        for alert in alerts:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(self._telling.addressed(alert, to))
        self._noted.set()

    async def _drain(self) -> None:
        """Write what screens have made; what the disk refuses goes on waiting."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            while self._waiting:
                some = tuple(self._waiting)
                try:
                    await self._count(Decision(self._market.now(), some))
                except StoreError:
                    await asyncio.sleep(RETRY)
                    continue
                # Where too many came meanwhile the oldest are gone already.
                for one in some:
                    if self._waiting and self._waiting[0] is one:
                        self._waiting.popleft()

    # -- rules that change

    async def change(self, rules: Sequence[Rule]) -> None:
        """Judge these rules from now on; whoever looks for the same as before goes on from where he stands.

        Raises StoreError where that can not be written, and DefinitionError where one of them can not be
        computed: the rules are as before then.
        """
        async with self._changing:
            wanted = _by_frame(rules)
            ready = {}
            for frame, some in wanted.items():
                group = self._groups.get(frame)
                if group is None or group.judge.rules != some:
                    ready[frame] = await self._ready(frame, some, group)
            async with self._turn:
                await self._swap(ready, wanted)

    async def _ready(self, frame: str, rules: Sequence[Rule], group: Group | None) -> tuple[Judge, int]:
        """Make a judge that knows a bar already; the others go on meanwhile."""
        bar = self._newest(frame) if group is None else group.bar
        judge = await self._made(rules, frame, bar, 0)
        universe = self._market.universe()

        def work() -> None:
            judge.compile()
            judge.seen(bar, universe)

        await asyncio.to_thread(work)
        judge.go_on(self._market.ground.panels)
        return judge, bar

    async def _swap(
        self, ready: Mapping[str, tuple[Judge, int]], wanted: Mapping[str, tuple[Rule, ...]]
    ) -> None:
        """Let judges that are ready take over, each at the bar that was decided last."""
        hashes = {rule.name: rule.hash for some in wanted.values() for rule in some}
        groups = {frame: group for frame, group in self._groups.items() if frame in wanted}
        universe, listed = self._market.universe(), self._market.ground.listed
        for frame, (judge, bar) in ready.items():
            old = groups.get(frame)
            kept = {} if old is None else old.positions(hashes)
            last = bar if old is None else old.bar
            groups[frame] = Group(judge, last, kept, newest=last, listed=listed)
            groups[frame].begin(universe)
        edges = tuple(one for frame in ready for one in groups[frame].all_edges())
        gone = {rule.name for group in self._groups.values() for rule in group.judge.rules} - hashes.keys()
        names = _symbols(self._market.ground.panels)
        bars = {frame: groups[frame].bar for frame in ready}
        await self._count(Decision(self._market.now(), (), bars, edges, names, tuple(gone)))
        self._names, self._groups = names, groups
        self.failures = {name: why for name, why in self.failures.items() if name not in hashes}

    def _give_up(self, rules: Sequence[Rule], why: DefinitionError) -> None:
        self.failures.update({rule.name: str(why) for rule in rules})

    # -- the log

    async def _count(self, decision: Decision) -> None:
        """Write a decision, and tell what is new of it."""
        new = await self._write(decision)
        if new:
            self._on_kept(new)

    async def _write(self, decision: Decision) -> list[Logged]:
        try:
            new = await self._log.do(lambda outbox: _written(outbox, decision))
        except StoreError as exc:
            self.fault = str(exc)
            raise
        self.fault = ""
        return new


def _caught_up(
    judge: Judge,
    mine: Mapping[str, Position],
    last: int,
    newest: int,
    universe: Universe | None,
    listed: Mapping[str, int],
) -> tuple[Group, list[Step]]:
    """Make a group that was decided up to *last*, and decide the bars up to *newest*; for a thread."""
    judge.compile()
    judge.seen(min(last + 1, newest), universe)
    group, steps = Group(judge, last, mine, newest=newest, listed=listed), []
    for bar in range(last + 1, newest + 1):
        steps.append(group.decided(bar, universe))
        group.take(steps[-1])
    if last == newest:
        group.begin(universe)
    return group, steps


def _written(outbox: Outbox, decision: Decision) -> list[Logged]:
    """Write a decision, and read back what is new of it."""
    kept = outbox.decided(decision)
    return outbox.entries(kept[0].id - 1, len(kept)) if kept else []


def _by_frame(rules: Sequence[Rule]) -> dict[str, tuple[Rule, ...]]:
    """Sort the rules that are switched on by the timeframes that they are judged on."""
    found: dict[str, tuple[Rule, ...]] = {}
    for rule in rules:
        if rule.enabled:
            found[rule.timeframe] = (*found.get(rule.timeframe, ()), rule)
    return found


def _symbols(panels: Mapping[str, PanelView]) -> tuple[str, ...]:
    """Give the symbols of a hub, whose rows are the same on all timeframes."""
    return next(iter(panels.values())).symbols


def _share(frame: str, other: str) -> int:
    """Give how many bars of *other* may lie in one of *frame*, at least one."""
    return max(1, -(-timeframe(frame).milliseconds // timeframe(other).milliseconds))
