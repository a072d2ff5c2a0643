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
from klinehub.factors.loops import compiled
from klinehub.factors.plan import Plan, Step, parts_of, planned
from klinehub.factors.points import points, total
from klinehub.factors.section import SECTIONS, section
from klinehub.factors.stepping import compile_kernels
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import PanelView

_LEAVES: Final = frozenset({"factor", "field"})
_NOTHING: Final = np.empty((0, 0))


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
            for name, leaves in self._leaves_by_frame().items()
        }
        self._last: dict[str, int] = {}
        # Ahead of a close: the open bar of each timeframe, which is the newest that there is.
        self._open: dict[str, int] = {}
        self._is_in_order: dict[str, bool] = {}
        number = {step: n for n, step in enumerate(self.plan.steps)}
        self._numbers = {name: number[root] for name, root in self._roots.items()}
        self._parts = [[number[part] for part in parts_of(step)] for step in self.plan.steps]
        self._wanted = [self.plan.bars[step] for step in self.plan.steps]
        # The values of each step, by its number in the plan.
        self._done: list[F64] = []
        self._batches = _batches(self.plan)
        batched = {n for batch in self._batches for n in batch}
        # By timeframe and bars: the numbers of leaves, and their places in the grid.
        self._leaves: dict[tuple[str, int], dict[int, int]] = {}
        for name, leaves in self._leaves_by_frame().items():
            for place, (leaf, wanted) in enumerate(leaves.items()):
                self._leaves.setdefault((name, wanted), {})[number[Step(leaf, name)]] = place
        given = {n for leaves in self._leaves.values() for n in leaves}
        self._rest = [n for n in range(len(number)) if n not in batched and n not in given]

    def at(self, bar: int) -> dict[str, F64]:
        """Give each expression's last values [symbols, bars] up to absolute index *bar*, to be read only."""
        self._name(self._panel.symbols)
        main = self._frames[self.timeframe]
        for name, frame in self._frames.items():
            last = bar if name == self.timeframe else usable(frame, main, bar)
            self._last[name] = min(last, self._open.get(name, last))
        for name, grid in self._grids.items():
            grid.advance(self._last[name])
            self._is_in_order[name] = grid.symbols == self.symbols
        self._done = [_NOTHING] * len(self.plan.steps)
        for (name, bars), leaves in self._leaves.items():
            values = self._grids[name].values(self._last[name], bars)
            for n, place in leaves.items():
                self._done[n] = self._in_order(name, values[place])
        for batch in self._batches:
            self._together(batch)
        for n in self._rest:
            self._done[n] = self._compute(n)
        return {name: self._given(n) for name, n in self._numbers.items()}

    def _given(self, number: int) -> F64:
        """Give a term's values to the caller, who shares them with the next call."""
        values = _last_of(self._done[number], self._bars)
        values.setflags(write=False)
        return values

    def ahead(self, panels: Mapping[str, PanelView]) -> "Engine":
        """Give a copy that goes on from here on other views of the panels; this engine stays as it is."""
        other = copy(self)
        other.part(panels, {name: panel.closed_bar for name, panel in panels.items()})
        return other

    def part(self, panels: Mapping[str, PanelView], opened: Mapping[str, int] | None = None) -> None:
        """Share nothing from now on that is written, and read *panels*, of each at most the *opened* bar."""
        self._open = dict(opened or {})
        self._panel = panels[self.timeframe]
        self._grids = {name: grid.ahead(panels[name]) for name, grid in self._grids.items()}
        self._last, self._is_in_order, self._done = {}, {}, []

    def compile(self) -> None:
        """Compile everything that the plan needs, or load it from the cache; for a thread of its own."""
        for step in self.plan.steps:
            if step.term.op == "factor":
                compiled(step.term.params[0])
        compile_kernels()
        one = np.zeros((1, 1))
        for op in SECTIONS:
            section(op, one, None, np.zeros(1, np.int64), 0.1)

    def _leaves_by_frame(self) -> dict[str, dict[Expr, int]]:
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

    def _compute(self, number: int) -> F64:
        """Compute one term [symbols, bars] from those it is made of."""
        term = self.plan.steps[number].term
        compute = _COMPUTED.get(term.op)
        if compute is not None:
            return compute(self, number)
        args = self._args(number)
        if term.op not in SECTIONS:
            return element(term.op, args)
        share = term.params[0] if term.params else 0.0
        return section(term.op, args[0], args[1] if len(args) > 1 else None, self.order, share)

    def _together(self, batch: list[int]) -> None:
        """Compute one operation of many terms at once: bars do not see each other in it."""
        term, bars = self.plan.steps[batch[0]].term, self._wanted[batch[0]]
        values = np.concatenate([self._args(number)[0].T for number in batch]).T
        out = section(term.op, values, None, self.order, term.params[0] if term.params else 0.0)
        for n, number in enumerate(batch):
            self._done[number] = out[:, n * bars : (n + 1) * bars]

    def _args(self, number: int) -> list[F64]:
        """Give the values of what a term is made of, as many bars as it has itself."""
        bars = self._wanted[number]
        return [_last_of(self._done[part], bars) for part in self._parts[number]]

    def _constant(self, number: int) -> F64:
        params = self.plan.steps[number].term.params
        return np.full((len(self.symbols), self._wanted[number]), params[0] if params else np.nan)

    def _score(self, number: int) -> F64:
        return total(points(self.plan.steps[number].term.params[0], self._args(number)))

    def _lag(self, number: int) -> F64:
        longer = self._done[self._parts[number][0]]
        end = longer.shape[1] - self.plan.steps[number].term.params[0]
        return longer[:, end - self._wanted[number] : end]

    def _in_order(self, name: str, values: F64) -> F64:
        """Give a timeframe's values in the order of the engine's symbols."""
        if self._is_in_order[name]:
            return values
        symbols = self._grids[name].symbols
        row = {symbol: n for n, symbol in enumerate(symbols)}
        out = np.full((len(self.symbols), values.shape[1]), np.nan)
        for n, symbol in enumerate(self.symbols):
            if symbol in row:
                out[n] = values[row[symbol]]
        return out

    def _other(self, number: int) -> F64:
        """Take the values of another timeframe that were usable at each bar."""
        step, bars = self.plan.steps[number], self._wanted[number]
        other = step.term.params[0]
        values = self._done[self._parts[number][0]]
        here, there = self._frames[step.timeframe], self._frames[other]
        first = self._last[step.timeframe] - bars + 1
        places = np.array([min(usable(there, here, first + n), self._last[other]) for n in range(bars)])
        return values[:, places - self._last[other] + values.shape[1] - 1]


def _last_of(values: F64, bars: int) -> F64:
    """Give the last bars of some values."""
    return values if values.shape[1] == bars else values[:, -bars:]


def _batches(plan: Plan) -> list[list[int]]:
    """Group the operations over all symbols that differ in nothing but the leaf they are done on."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, step in enumerate(plan.steps):
        term = step.term
        if term.op in SECTIONS and len(term.args) == 1 and term.args[0].op in _LEAVES:
            groups.setdefault((term.op, term.params, step.timeframe, plan.bars[step]), []).append(number)
    return list(groups.values())


_COMPUTED: Final[dict[str, Callable[[Engine, int], F64]]] = {
    "const": Engine._constant,  # noqa: SLF001 - the engine's own table
    "unknown": Engine._constant,  # noqa: SLF001
    "score": Engine._score,  # noqa: SLF001
    "lag": Engine._lag,  # noqa: SLF001
    "on": Engine._other,  # noqa: SLF001
}
