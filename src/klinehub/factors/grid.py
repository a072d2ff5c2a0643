"""Grids: the values of factors and fields on one timeframe, brought up to date bar by bar.

1. A grid reads its panel's bars once and runs every factor's loop over them; what the loops keep between two
   calls lets the next bar cost one step a symbol.
2. A bar that comes late, a correction and deeper history change bars that were run over already: the panel
   counts such changes by row, and these rows are run again from where their blocks begin.
3. A row is run over nothing that the panel does not hold, so what is shown is a function of the closed bars.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from klinehub.errors import DefinitionError
from klinehub.factors.define import Factor
from klinehub.factors.expr import Expr
from klinehub.factors.loops import BLOCK, anchor, in_lanes, loop_of, slots
from klinehub.factors.plan import lookback
from klinehub.factors.stepping import Bars, Stepped, aligned, padded, parted, run, stepped, take_over
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import BESIDE, PLANES, WIDE, PanelView

# From here on a grid is rather laid out anew than brought up to date.
FAR: Final = 1_000
_NEVER: Final = -1


class _Runs(NamedTuple):
    """What a factor's runs keep: state [slots, size, symbols], age [slots, symbols], bars needed before.

    Symbols lie next to each other: one more bar touches few lines of memory (measured: half the time). Many
    bars of one symbol are run over in *scratch* [size, 1], which stays in the cache.
    """

    state: F64
    age: I64
    need: int
    scratch: F64


class Grid:
    """The last values of some leaves (factors and fields) on one panel; *bars* says how many of each.

    *benchmark* is the symbol whose close factors may read, *listed* since when (ms) each symbol trades.
    """

    def __init__(
        self,
        panel: PanelView,
        bars: Mapping[Expr, int],
        *,
        benchmark: str | None = None,
        listed: Mapping[str, int] | None = None,
    ) -> None:
        self.panel = panel
        self.symbols: tuple[str, ...] = ()
        self.upto = _NEVER
        self._leaves = tuple(bars)
        self._deep = max(bars.values())
        self._beside = beside_of(panel, self._leaves)
        self._benchmark = benchmark
        self._listed = {} if listed is None else listed
        windows = [lookback(leaf) for leaf in bars if leaf.op == "factor" and _factor(leaf).kind == "window"]
        self._behind = max(windows, default=0)
        self._lookback = max((lookback(leaf) for leaf in bars), default=0)
        self._runs: dict[Expr, _Runs] = {}
        # Shape: leaves, bars, symbols in whole chunks. Never written again once values were given.
        self._values = np.empty((0, 0, 0))
        self._place = {leaf: number for number, leaf in enumerate(self._leaves)}
        self._in_lanes = [leaf for leaf in bars if leaf.op == "factor" and in_lanes(_factor(leaf))]
        self._alone = {leaf: place for leaf, place in self._place.items() if leaf not in self._in_lanes}
        self._reads_times = any("open_time" in _factor(leaf).fields for leaf in self._in_lanes)
        self._in_lanes_at = np.array([self._place[leaf] for leaf in self._in_lanes], np.int64)
        self._stepped = stepped((), 0)
        self._missing: I64 = np.empty(0, np.int64)
        self._known: I64 = np.empty(0, np.int64)
        self._changes: I64 = np.empty(0, np.int64)

    def advance(self, bar: int) -> None:
        """Bring all values up to absolute index *bar*; for an earlier bar everything is run over anew.

        Raises DefinitionError when a factor raises.
        """
        try:
            self._advance(bar)
        except BaseException:
            # Some factors were run over the bar and others were not.
            self.upto = _NEVER
            raise

    def _advance(self, bar: int) -> None:
        symbols = self.panel.symbols
        changes = self.panel.changes[: len(symbols)].copy()
        new = bar - self.upto
        if symbols != self.symbols or self.upto == _NEVER or not 0 <= new <= min(FAR, self._deep + BLOCK):
            self._lay_out(symbols, bar)
        else:
            changed = np.flatnonzero(changes != self._changes)
            returned = self._returned() if self._missing.size else self._missing
            if new:
                self._run(self.panel.cube(bar, new + self._behind, beside=self._beside), bar, new)
            if changed.size or returned.size:
                rows = np.union1d(changed, returned)
                self._run_again(np.arange(len(symbols)) if self._row_of_benchmark() in rows else rows, bar)
        self._changes = changes
        self.upto = bar

    def ahead(self, panel: PanelView) -> "Grid":
        """Give a copy that goes on from here on another view of the panel; this grid stays as it is."""
        other = copy(self)
        other.part(panel)
        return other

    def part(self, panel: PanelView) -> None:
        """Share nothing from now on that is written, and read *panel*."""
        self.panel = panel
        self._known, self._stepped = self._known.copy(), parted(self._stepped)
        self._runs = {
            leaf: one._replace(state=one.state.copy(), age=one.age.copy()) for leaf, one in self._runs.items()
        }

    def values(self, last: int, bars: int) -> list[F64]:
        """Give each leaf's values [symbols, bars] that end at index *last*, which is not after `upto`."""
        end = self._deep - (self.upto - last)
        kept = self._values[:, max(0, end - bars) : max(0, end), : len(self.symbols)]
        if kept.shape[1] < bars:
            unknown = np.full((len(self._leaves), bars - kept.shape[1], len(self.symbols)), np.nan)
            kept = np.concatenate((unknown, kept), axis=1)
        return list(kept.transpose(0, 2, 1))

    def _needed(self) -> int:
        """Give how many bars a run over everything takes: those of the values, and what they look back on."""
        return min(self._deep + self._lookback, max(self.panel.bars, 1))

    def _lay_out(self, symbols: tuple[str, ...], bar: int) -> None:
        """Run over everything that is held and needed."""
        self.symbols = symbols
        self._known = self.panel.complete_from[: len(symbols)].copy()
        self._values = np.empty((0, 0, 0))
        self._runs = {leaf: _runs(leaf, len(symbols)) for leaf in self._alone if leaf.op == "factor"}
        self._stepped = stepped(self._in_lanes, len(symbols))
        length = self._needed()
        self._run(self.panel.cube(bar, length, beside=self._beside), bar, length)

    def _run(self, cube: F64, bar: int, new: int) -> None:
        """Run every leaf over the *new* last bars of a cube that ends at *bar*."""
        row = self._row_of_benchmark()
        closes = np.full(cube.shape[2], np.nan) if row is None else cube[_CLOSE, row].copy()
        here = _Here(self.panel, cube, bar, closes, self._known)
        before, kept = self._values, max(0, self._deep - new)
        self._values = self._table(self._deep, len(self.symbols))
        if kept:
            self._values[:, :kept] = before[:, self._deep - kept :] if before.size else np.nan
        self._fill(here, new, self._values, self._stepped, self._runs, self.symbols)
        self._missing = np.flatnonzero(np.isnan(cube[_CLOSE, :, -1]))

    def _fill(
        self,
        here: "_Here",
        new: int,
        values: F64,
        together: Stepped,
        alone: Mapping[Expr, _Runs],
        symbols: Sequence[str],
    ) -> None:
        """Run every leaf over the *new* last bars, into the last ones of its *values* [bars, symbols]."""
        count = min(new, values.shape[1])
        for leaf, place in self._alone.items():
            out = values[place, values.shape[1] - count :, : len(symbols)].T
            if leaf.op == "field":
                out[:] = here.field(leaf, symbols, self._listed, count)
            else:
                here.factor(leaf, alone[leaf], new, out)
        if self._in_lanes:
            times = here.times if self._reads_times else here.closes
            bars = Bars(here.cube, times, here.closes)
            run(together, bars, here.bar, new, here.known, values, self._in_lanes_at)

    def _table(self, bars: int, symbols: int) -> F64:
        """Make room for all values, in one piece: many small ones took twice as long to get."""
        return aligned((len(self._leaves), bars, padded(symbols)))

    def _returned(self) -> I64:
        """List the rows whose bar was missing at the last one run over, and is there now."""
        there = self.panel.cube(self.upto, 1, self._missing)[_CLOSE, :, 0]
        return self._missing[~np.isnan(there)]

    def _run_again(self, rows: I64, bar: int) -> None:
        """Run some rows over all that is held of them, from the start."""
        length = self._needed()
        cube = self.panel.cube(bar, length, rows, beside=self._beside)
        self._known[rows] = self.panel.complete_from[rows]
        here = _Here(self.panel, cube, bar, self._closes(bar, length), self._known[rows])
        names = tuple(self.symbols[row] for row in rows)
        count = min(length, self._deep)
        runs = {leaf: _runs(leaf, rows.size) for leaf in self._alone if leaf.op == "factor"}
        together = stepped(self._in_lanes, rows.size)
        values = self._table(count, rows.size)
        self._fill(here, length, values, together, runs, names)
        for leaf, one in runs.items():
            self._runs[leaf].state[:, :, rows], self._runs[leaf].age[:, rows] = one.state, one.age
        take_over(self._stepped, rows, together)
        self._values = self._values.copy()
        self._values[:, self._deep - count :, rows] = values[:, :, : rows.size]

    def _row_of_benchmark(self) -> int | None:
        return self.symbols.index(self._benchmark) if self._benchmark in self.symbols else None

    def _closes(self, bar: int, length: int) -> F64:
        """Give the benchmark's closes, unknown where there is none."""
        row = self._row_of_benchmark()
        if row is None:
            return np.full(length, np.nan)
        closes: F64 = self.panel.cube(bar, length, np.array([row], np.int64))[_CLOSE, 0]
        return closes


_CLOSE: Final = PLANES.index("close")


class _Here:
    """Some bars of a panel, and the loops run over them."""

    def __init__(self, panel: PanelView, cube: F64, bar: int, closes: F64, known: I64) -> None:
        self.cube = cube
        self.bar = bar
        self.frame = panel.timeframe
        self.closes = closes
        self.known = known

    @cached_property
    def times(self) -> F64:
        """Give when each bar opened."""
        first = self.bar - self.cube.shape[2] + 1
        return np.array([float(self.frame.open_time(n)) for n in range(first, self.bar + 1)])

    def factor(self, leaf: Expr, runs: _Runs, new: int, out: F64) -> None:
        """Run a factor over the *new* last bars, or as many as the values wanted in *out* depend on."""
        one, first = _factor(leaf), self.bar - self.cube.shape[2] + 1
        begin = self.bar - out.shape[1] + 1
        since = begin - runs.need if one.kind == "window" else anchor(begin, runs.need)
        if one.kind == "step":
            since = max(since, self.bar - new + 1)
        loop = loop_of(one)
        try:
            loop(
                *(
                    np.ascontiguousarray(self.cube),
                    self.times,
                    self.closes,
                    first,
                    max(first, since),
                    self.known,
                ),
                *(runs.state, runs.age, runs.need, runs.scratch, out),
                *leaf.params[1:],
            )
        except Exception as exc:
            raise DefinitionError(f"{leaf!r} raised {type(exc).__name__}: {exc}.") from exc

    def field(self, leaf: Expr, symbols: Sequence[str], listed: Mapping[str, int], new: int) -> F64:
        """Give a field's values at the *new* last bars."""
        name = str(leaf.params[0])
        shape = (self.cube.shape[1], new)
        if name in WIDE:
            plane: F64 = self.cube[WIDE.index(name), :, -new:]
            return plane
        if name == "age":
            since = np.array([float(listed.get(symbol, np.nan)) for symbol in symbols])
            ends = [float(self.frame.close_time(n) + 1) for n in range(self.bar - new + 1, self.bar + 1)]
            ages: F64 = np.array(ends)[None, :] - since[:, None]
            return ages
        row = self.times if name == "open_time" else self.closes
        return np.broadcast_to(row[-new:], shape)


def beside_of(panel: PanelView, leaves: Sequence[Expr]) -> tuple[str, ...]:
    """List the fields beside the klines that leaves read.

    Raises DefinitionError for one that is not kept, and for fields of klines that the exchange does not tell.
    """
    for leaf in leaves:
        for name in leaf.reads:
            who = "" if leaf.op == "field" else f", which {leaf!r} reads,"
            if name in panel.lacks:
                raise DefinitionError(
                    f"{name}{who} is not available here: the exchange does not tell it. Leave it out."
                )
            if name in BESIDE and name not in panel.beside:
                raise DefinitionError(
                    f"{name}{who} is not kept: switch `{BESIDE[name]}` on, or give it to the History."
                )
    return tuple(name for name in BESIDE if any(name in leaf.reads for leaf in leaves))


def _factor(leaf: Expr) -> Factor:
    factor: Factor = leaf.params[0]
    return factor


def _runs(leaf: Expr, symbols: int) -> _Runs:
    """Give runs of which nothing is known yet."""
    factor, options = _factor(leaf), leaf.params[1:]
    need = factor.lookback(options)
    if factor.kind == "window":
        return _Runs(np.zeros((1, 1, symbols)), np.full((1, symbols), -1), need, np.empty((1, 1)))
    count = slots(need)
    size = factor.size(options)
    state, age = np.zeros((count, size, symbols)), np.full((count, symbols), -1)
    return _Runs(state, age, need, np.empty((size, 1)))
