"""A group: the rules of one timeframe, where their cells stand, and the last bar that was decided.

Deciding a bar gives a step; the group stands as before until it takes the step, so that what could not be
written down has not happened.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from klinehub.alerts.conditions import Cells
from klinehub.alerts.edges import ARMED, UNSEEN, Position, Seen, Stand, carried, decide, pack, told, unseen
from klinehub.alerts.judging import Fire, Judge
from klinehub.alerts.outbox import Edges
from klinehub.panel.memory import I64
from klinehub.panel.view import PanelView
from klinehub.scan.scanner import Universe


class Step(NamedTuple):
    """What a bar makes of a group: where it stood before the bar and stands after it, and who fires."""

    bar: int
    before: Stand
    stand: Stand
    fires: tuple[Fire, ...]


class Group:
    """The rules of a *judge*, that were decided up to *bar*; those without a position begin at *newest*.

    *listed* says since when (ms) symbols trade: one that is newer than a rule is armed from its first bar on.
    """

    def __init__(
        self,
        judge: Judge,
        bar: int,
        positions: Mapping[str, Position],
        *,
        newest: int,
        listed: Mapping[str, int],
    ) -> None:
        self.judge = judge
        self.bar = bar
        self._listed = listed
        self._cells = judge.cells
        kept = [positions.get(rule.name) for rule in judge.rules]
        self._since: I64 = np.array([newest if one is None else one.since for one in kept], np.int64)
        self._before = self._gathered([None if one is None else (one.rows, one.before) for one in kept])
        self._stand = self._gathered([None if one is None else (one.rows, one.stand) for one in kept])

    def __repr__(self) -> str:
        """Show the judge, and how far it has come."""
        return f"<Group {self.judge!r}, decided to {self.bar}>"

    def _gathered(self, kept: Sequence[tuple[I64, Stand] | None]) -> Stand:
        """Lay out what is known of each rule, for the cells that there are now."""
        found = unseen(self._cells.row.size)
        for n, one in enumerate(kept):
            here = self._of(n)
            if one is not None:
                mine = carried(self._cells.row[here], *one)
                found.state[here], found.fired[here] = mine
        return self._with_newcomers(found)

    def _of(self, number: int) -> slice:
        """Give the cells of a rule."""
        return slice(int(self.judge.bounds[number]), int(self.judge.bounds[number + 1]))

    def _with_newcomers(self, stand: Stand) -> Stand:
        """Arm the cells of symbols that trade only since their rule is judged: nothing is hidden before."""
        frame, symbols = self.judge.frame, self.judge.symbols
        listed = np.array([self._listed.get(name, 0) for name in symbols], np.int64)
        begun = np.array([frame.open_time(int(bar)) for bar in self._since], np.int64)
        new = listed[self._cells.row] >= begun[self._cells.condition]
        return stand._replace(
            state=np.where((stand.state == UNSEEN) & new, ARMED, stand.state).astype(np.int8)
        )

    def decided(self, bar: int, universe: Universe | None) -> Step:
        """Decide a bar, the next one or the last one again."""
        seen = self._seen(self.judge.seen(bar, universe), bar)
        before = self._before if bar == self.bar else self._stand
        stand, fires = decide(before, seen, self.judge.terms, bar)
        return Step(bar, before, stand, tuple(self.judge.fires(np.flatnonzero(fires))))

    def ahead(self, views: Mapping[str, PanelView], bar: int, universe: Universe | None) -> Step:
        """Look at the bar after the last one while it is open: who fires has done so before it closes."""
        seen = self._seen(self.judge.ahead(views, bar, universe), bar)
        _, fires = decide(self._stand, seen, self.judge.terms, bar)
        found = tuple(self.judge.fires(np.flatnonzero(fires)))
        return Step(self.bar, self._before, told(self._stand, fires, bar), found)

    def _seen(self, seen: Seen, bar: int) -> Seen:
        """Leave out the rules that begin later, and follow the judge where new symbols have come."""
        if self.judge.cells is not self._cells:
            old, self._cells = self._cells, self.judge.cells
            self._before, self._stand = (self._moved(old, one) for one in (self._before, self._stand))
        seen.holds[(self._since > bar)[self._cells.condition]] = np.nan
        return seen

    def _moved(self, old: Cells, stand: Stand) -> Stand:
        """Lay out what is known of *old* cells for those that there are now."""
        bounds = np.searchsorted(old.condition, np.arange(len(self.judge.rules) + 1))
        parts = [slice(int(begin), int(end)) for begin, end in pairwise(bounds)]
        return self._gathered([(old.row[one], Stand(stand.state[one], stand.fired[one])) for one in parts])

    def take(self, step: Step) -> None:
        """Stand as a step says."""
        self.bar, self._before, self._stand = step.bar, step.before, step.stand

    def begin(self, universe: Universe | None) -> None:
        """Take the first look of the rules that begin at the last bar; the others stay as they are."""
        seen = self._seen(self.judge.seen(self.bar, universe), self.bar)
        looked, _ = decide(self._stand, seen, self.judge.terms, self.bar)
        first = (self._stand.state == UNSEEN) & (self._since == self.bar)[self._cells.condition]
        state = np.where(first, looked.state, self._stand.state).astype(np.int8)
        self._stand = self._stand._replace(state=state)

    def edges(self, step: Step) -> tuple[Edges, ...]:
        """Give what is to be written of the rules that a step changes."""
        stand = step.stand
        changed = (stand.state != self._stand.state) | (stand.fired != self._stand.fired)
        numbers = np.unique(self._cells.condition[changed]).tolist()
        return tuple(self._written(number, step) for number in numbers)

    def all_edges(self) -> tuple[Edges, ...]:
        """Give what is to be written of every rule."""
        step = Step(self.bar, self._before, self._stand, ())
        return tuple(self._written(number, step) for number in range(len(self.judge.rules)))

    def _written(self, number: int, step: Step) -> Edges:
        rule = self.judge.rules[number]
        return Edges(rule.name, rule.hash, pack(self._position(number, step)))

    def _position(self, number: int, step: Step) -> Position:
        here = self._of(number)
        before, stand = (Stand(one.state[here], one.fired[here]) for one in (step.before, step.stand))
        return Position(int(self._since[number]), step.bar, self._cells.row[here], before, stand)

    def positions(self, hashes: Mapping[str, str]) -> dict[str, Position]:
        """Give where each rule stands that looks for the same as the one of its name in *hashes*."""
        step = Step(self.bar, self._before, self._stand, ())
        return {
            rule.name: self._position(number, step)
            for number, rule in enumerate(self.judge.rules)
            if hashes.get(rule.name) == rule.hash
        }

    def sample(self, rule: str) -> Fire | None:
        """Give what would be told now of the first symbol that a rule looks at, None for no symbol."""
        number = [one.name for one in self.judge.rules].index(rule)
        here = self._of(number)
        found = self.judge.fires(np.arange(here.start, min(here.stop, here.start + 1)))
        return found[0] if found else None

    def armed(self) -> dict[str, int]:
        """Count the symbols of each rule that may fire, by the rule's name."""
        counts = np.bincount(
            self._cells.condition[self._stand.state == ARMED], minlength=len(self.judge.rules)
        )
        return {rule.name: int(count) for rule, count in zip(self.judge.rules, counts, strict=True)}
