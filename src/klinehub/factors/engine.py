"""The engine: the values of expressions at closed bars, live and on history by the same steps.

1. The plan lists every different term once, with the timeframe it is computed on and its bars.
2. Factors and fields come from a grid per timeframe, which keeps what a next bar needs.
3. The other terms are computed on these, symbol by symbol (elements) or over all symbols (sections).
4. A larger timeframe counts with its last bar that had closed by the close of the bar that asks: at 12:15 the
   hour to 12:00. The same rule gives a smaller one.

A value is a function of the panels' closed bars: no clock, no I/O, and nothing that depends on when the
engine was made.
"""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Final

import numpy as np

from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DefinitionError
from klinehub.factors.elements import element
from klinehub.factors.expr import Expr
from klinehub.factors.grid import Grid
from klinehub.factors.loops import loop_of
from klinehub.factors.plan import Plan, Step, planned
from klinehub.factors.points import points, total
from klinehub.factors.section import SECTIONS, section
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import PanelView

_LEAVES: Final = frozenset({"factor", "field"})
# What may be a view of a grid's values.
_VIEWS: Final = _LEAVES | {"lag", "on"}


def usable(frame: Timeframe, main: Timeframe, bar: int) -> int:
    """Give the newest bar of *frame* that has closed when bar *bar* of *main* closes."""
    return frame.index(main.close_time(bar) + 1) - 1


class Engine:
    """Computes named expressions on one timeframe, from panels by the names of theirs.

    *bars* values of each are given, the newest last. *benchmark* is the symbol that factors compare with,
    *listed* since when (ms) symbols trade.
    """

    def __init__(
        self,
        exprs: Mapping[str, Expr],
        panels: Mapping[str, PanelView],
        timeframe: str,
        *,
        bars: int = 1,
        benchmark: str | None = None,
        listed: Mapping[str, int] | None = None,
    ) -> None:
        if bars < 1:
            raise DefinitionError(f"{bars} bars are none: ask for 1 or more.")
        self.plan: Plan = planned(exprs.values(), timeframe, panels, bars=bars)
        self.timeframe = timeframe
        self.symbols: tuple[str, ...] = ()
        # The rows in the order of their names, in which sections run.
        self.order: I64 = np.empty(0, np.int64)
        self._bars = bars
        self._roots = {name: Step(expr, timeframe) for name, expr in exprs.items()}
        self._frames = {name: panel.timeframe for name, panel in panels.items()}
        self._panel = panels[timeframe]
        self._grids = {
            name: Grid(panels[name], leaves, benchmark=benchmark, listed=listed)
            for name, leaves in self._leaves().items()
        }
        self._last: dict[str, int] = {}
        self._done: dict[Step, F64] = {}
        self._batches = _batches(self.plan)

    def at(self, bar: int) -> dict[str, F64]:
        """Give each expression's last values [symbols, bars] up to absolute index *bar*, as copies."""
        self._name(self._panel.symbols)
        main = self._frames[self.timeframe]
        for name, frame in self._frames.items():
            self._last[name] = bar if name == self.timeframe else usable(frame, main, bar)
        for name, grid in self._grids.items():
            grid.advance(self._last[name])
        self._done.clear()
        for step in self.plan.steps:
            if step.term.op in _LEAVES:
                self._done[step] = self._leaf(step)
        for batch in self._batches:
            self._together(batch)
        for step in self.plan.steps:
            if step not in self._done:
                self._done[step] = self._compute(step)
        return {name: self._given(root) for name, root in self._roots.items()}

    def _given(self, root: Step) -> F64:
        """Give a term's values to the caller; those that the next bar will overwrite as a copy."""
        values = self._done[root][:, -self._bars :]
        return values.copy() if root.term.op in _VIEWS else values

    def ahead(self, panels: Mapping[str, PanelView]) -> "Engine":
        """Give a copy that goes on from here on other views of the panels; this engine stays as it is."""
        other = copy(self)
        other.part(panels)
        return other

    def part(self, panels: Mapping[str, PanelView]) -> None:
        """Share nothing from now on that is written, and read *panels*."""
        self._panel = panels[self.timeframe]
        self._grids = {name: grid.ahead(panels[name]) for name, grid in self._grids.items()}
        self._last, self._done = {}, {}

    def compile(self) -> None:
        """Compile everything that the plan needs, or load it from the cache; for a thread of its own."""
        for step in self.plan.steps:
            if step.term.op == "factor":
                loop_of(step.term.params[0])
        one = np.zeros((1, 1))
        for op in SECTIONS:
            section(op, one, None, np.zeros(1, np.int64), 0.1)

    def _leaves(self) -> dict[str, dict[Expr, int]]:
        """Give the factors and fields of each timeframe, with how many bars of them are wanted."""
        found: dict[str, dict[Expr, int]] = {}
        for step in self.plan.steps:
            if step.term.op in _LEAVES:
                found.setdefault(step.timeframe, {})[step.term] = self.plan.bars[step]
        return found

    def _name(self, symbols: tuple[str, ...]) -> None:
        """Take the symbols' order by name."""
        if symbols != self.symbols:
            self.symbols = symbols
            self.order = np.array(sorted(range(len(symbols)), key=symbols.__getitem__), np.int64)

    def _compute(self, step: Step) -> F64:
        """Compute one term [symbols, bars] from those it is made of."""
        compute = _COMPUTED.get(step.term.op)
        if compute is not None:
            return compute(self, step)
        args = self._args(step)
        if step.term.op not in SECTIONS:
            return element(step.term.op, args)
        share = step.term.params[0] if step.term.params else 0.0
        return section(step.term.op, args[0], args[1] if len(args) > 1 else None, self.order, share)

    def _together(self, batch: list[Step]) -> None:
        """Compute one operation of many terms at once: bars do not see each other in it."""
        term, bars = batch[0].term, self.plan.bars[batch[0]]
        values = np.concatenate([self._args(step)[0] for step in batch], axis=1)
        out = section(term.op, values, None, self.order, term.params[0] if term.params else 0.0)
        for n, step in enumerate(batch):
            self._done[step] = out[:, n * bars : (n + 1) * bars]

    def _args(self, step: Step) -> list[F64]:
        """Give the values of what a term is made of, as many bars as it has itself."""
        bars = self.plan.bars[step]
        return [self._done[Step(arg, step.timeframe)][:, -bars:] for arg in step.term.args]

    def _constant(self, step: Step) -> F64:
        value = step.term.params[0] if step.term.params else np.nan
        return np.full((len(self.symbols), self.plan.bars[step]), value)

    def _score(self, step: Step) -> F64:
        return total(points(step.term.params[0], self._args(step)))

    def _lag(self, step: Step) -> F64:
        longer = self._done[Step(step.term.args[0], step.timeframe)]
        end = longer.shape[1] - step.term.params[0]
        return longer[:, end - self.plan.bars[step] : end]

    def _leaf(self, step: Step) -> F64:
        """Give a leaf's values in the order of the engine's symbols."""
        grid, bars = self._grids[step.timeframe], self.plan.bars[step]
        values = grid.values(step.term, self._last[step.timeframe], bars)
        if grid.symbols == self.symbols:
            return values
        row = {symbol: number for number, symbol in enumerate(grid.symbols)}
        out = np.full((len(self.symbols), bars), np.nan)
        for number, symbol in enumerate(self.symbols):
            if symbol in row:
                out[number] = values[row[symbol]]
        return out

    def _other(self, step: Step) -> F64:
        """Take the values of another timeframe that were usable at each bar."""
        other = step.term.params[0]
        values, bars = self._done[Step(step.term.args[0], other)], self.plan.bars[step]
        here, there = self._frames[step.timeframe], self._frames[other]
        first = self._last[step.timeframe] - bars + 1
        places = np.array([usable(there, here, first + n) for n in range(bars)])
        return values[:, places - self._last[other] + values.shape[1] - 1]


def _batches(plan: Plan) -> list[list[Step]]:
    """Group the operations over all symbols that differ in nothing but the leaf they are done on."""
    groups: dict[tuple[object, ...], list[Step]] = {}
    for step in plan.steps:
        term = step.term
        if term.op in SECTIONS and len(term.args) == 1 and term.args[0].op in _LEAVES:
            groups.setdefault((term.op, term.params, step.timeframe, plan.bars[step]), []).append(step)
    return list(groups.values())


_COMPUTED: Final[dict[str, Callable[[Engine, Step], F64]]] = {
    "const": Engine._constant,  # noqa: SLF001 - the engine's own table
    "unknown": Engine._constant,  # noqa: SLF001
    "score": Engine._score,  # noqa: SLF001
    "lag": Engine._lag,  # noqa: SLF001
    "on": Engine._other,  # noqa: SLF001
}
