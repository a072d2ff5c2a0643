"""Judging: all rules of one timeframe, held against a closed bar at once.

1. The rules share one engine: each different factor is computed once, whoever reads it, and the conditions
   above them are computed for all cells together.
2. A rule's whole condition is its screen's, with the least size and the side of its score. A symbol without
   the bar, and one that is not in the universe, is not known.
3. What is told of a symbol that fires is read from the values of the same bar.

Nothing here knows a clock, a disk or what was told before; see `edges.py` for that.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from klinehub.alerts.conditions import Cells, Conditions
from klinehub.alerts.edges import Seen, Terms
from klinehub.alerts.rule import Rule
from klinehub.factors.engine import Engine
from klinehub.factors.expr import Expr, const, field
from klinehub.factors.points import Part, points, score, total
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import PanelView
from klinehub.scan.copies import Ground
from klinehub.scan.scanner import Hit, Universe
from klinehub.scan.score import side
from klinehub.scan.screen import PRICE, Screen

_PRICE: Final = "price"


class Fire(NamedTuple):
    """A rule that fires for a symbol, and what is told of it."""

    rule: Rule
    hit: Hit


def asked_of(rule: Rule) -> tuple[Expr, ...]:
    """Give what a rule can not do without; the score that is only told beside may well be warming."""
    clear = () if rule.clear is None else (rule.clear,)
    return (condition_of(rule.screen), *rule.screen.columns.values(), *clear)


def condition_of(screen: Screen) -> Expr:
    """Give the whole condition of a screen as one: its own, and what it asks of the score."""
    found = const(1) if screen.where is None else screen.where
    if screen.min_score:
        found &= score(screen.score).abs() >= screen.min_score
    if screen.side:
        sided = score(screen.score) if screen.side == "long" else -score(screen.score)
        found &= (sided > 0.0) & (sided >= screen.side_from)
    return found


class Judge:
    """Holds *rules* of one timeframe against some *ground*, bar by bar.

    Raises DefinitionError for what can not be computed.
    """

    def __init__(self, rules: Sequence[Rule], ground: Ground) -> None:
        self.rules = tuple(rules)
        self.timeframe = self.rules[0].timeframe
        self.frame = ground.panels[self.timeframe].timeframe
        clears = [rule.clear for rule in self.rules if rule.clear is not None]
        self._clearing = np.array([rule.clear is not None for rule in self.rules])
        self._cooldown = np.array([rule.cooldown for rule in self.rules], np.int64)
        self._forming = np.array([rule.forming for rule in self.rules])
        self._everywhere = np.array([not rule.screen.symbols for rule in self.rules])
        self._conditions = Conditions([*(condition_of(rule.screen) for rule in self.rules), *clears])
        self._name_told()
        exprs = {**self._conditions.leaves, **{name: expr for expr, name in self._names.items()}}
        exprs[_PRICE] = field(PRICE)
        self.engine = Engine(
            exprs, ground.panels, self.timeframe, benchmark=ground.benchmark, listed=ground.listed
        )
        self.symbols: tuple[str, ...] = ()
        # Of each cell: the number of the rule, and the symbol's row. A rule's cells are from bound to bound.
        self.cells = Cells(np.empty(0, np.int64), np.empty(0, np.int64))
        self.bounds: I64 = np.zeros(len(self.rules) + 1, np.int64)
        self.terms = Terms(np.empty(0, bool), np.empty(0, np.int64))
        self._inside: tuple[int | None, Flags] = (None, np.empty(0, bool))
        self._values: Mapping[str, F64] = {}

    def _name_told(self) -> None:
        """Name what is told of symbols that fire: it is computed with the rest."""
        told = dict.fromkeys(expr for rule in self.rules for expr in _told(rule.screen))
        self._names = {expr: f"told {n}" for n, expr in enumerate(told)}
        # Worked out once: to compare two scores takes longer than to tell of ten symbols.
        scores = dict.fromkeys(rule.screen.score for rule in self.rules)
        self._scores = {parts: n for n, parts in enumerate(scores)}
        self._score_of = [self._scores[rule.screen.score] for rule in self.rules]
        self._columns = [
            {name: self._names[expr] for name, expr in rule.screen.columns.items()} for rule in self.rules
        ]

    def __repr__(self) -> str:
        """Show the timeframe, and how much there is to judge."""
        return f"<Judge {self.timeframe}, {len(self.rules)} rules, {self.cells.row.size} cells>"

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """How many closed bars are read, by the names of the timeframes that are read."""
        return self.engine.plan.rows

    @cached_property
    def beside(self) -> frozenset[str]:
        """The fields beside the klines that are read."""
        return frozenset(name for step in self.engine.plan.steps for name in step.term.reads)

    @property
    def has_forming(self) -> bool:
        """Whether a rule looks at bars that are still open."""
        return bool(self._forming.any())

    def compile(self) -> None:
        """Compile what judging runs, or load it from the cache; for a thread of its own."""
        self.engine.compile()

    def go_on(self, panels: Mapping[str, PanelView]) -> None:
        """Read these panels from now on, of which those so far were copies."""
        self.engine.part(panels)

    def seen(self, bar: int, universe: Universe | None = None) -> Seen:
        """Say of each cell whether its condition and its `clear` hold at absolute index *bar*."""
        return self._seen(self.engine, bar, universe)

    def ahead(self, views: Mapping[str, PanelView], bar: int, universe: Universe | None = None) -> Seen:
        """Say the same at a bar that is still open, as *views* show it, of the rules that ask for it."""
        self.engine.at(bar - 1)
        found = self._seen(self.engine.ahead(views), bar, universe)
        found.holds[~self._forming[self.cells.condition]] = np.nan
        return found

    def _seen(self, engine: Engine, bar: int, universe: Universe | None) -> Seen:
        values = {name: column[:, 0] for name, column in engine.at(bar).items()}
        if engine.symbols != self.symbols:
            self._lay_out(engine.symbols)
        found = self._conditions.holds(values)
        holds, clear = found[: self.cells.row.size], np.full(self.cells.row.size, np.nan)
        clear[self.terms.clears] = found[self.cells.row.size :]
        missing, outside = np.isnan(values[_PRICE]), ~self._in(universe)
        # Symbols that a rule names are looked at whatever the universe is.
        everywhere = self._everywhere[self.cells.condition]
        holds[missing[self.cells.row] | (everywhere & outside[self.cells.row])] = np.nan
        self._values = values
        return Seen(holds, clear)

    def _in(self, universe: Universe | None) -> Flags:
        """Say of each row whether it is in the universe."""
        time, flags = self._inside
        if universe is None:
            return np.ones(len(self.symbols), bool)
        if time != universe.time or flags.size != len(self.symbols):
            self._inside = universe.time, np.isin(self.symbols, list(universe.symbols))
        return self._inside[1]

    def _lay_out(self, symbols: tuple[str, ...]) -> None:
        """Say which cells there are, now that these are the symbols."""
        self.symbols = symbols
        place = {symbol: row for row, symbol in enumerate(symbols)}
        everyone = np.arange(len(symbols))
        rows = [
            np.array([place[name] for name in rule.screen.symbols if name in place], np.int64)
            if rule.screen.symbols
            else everyone
            for rule in self.rules
        ]
        counts = np.array([one.size for one in rows])
        self.bounds = np.concatenate(([0], np.cumsum(counts)))
        rule = np.repeat(np.arange(len(self.rules)), counts)
        row = np.concatenate(rows)
        self.cells = Cells(rule, row)
        self.terms = Terms(self._clearing[rule], self._cooldown[rule])
        clearing = np.cumsum(self._clearing)[rule] - 1 + len(self.rules)
        chosen = self.terms.clears
        self._conditions.lay_out(
            Cells(np.concatenate((rule, clearing[chosen])), np.concatenate((row, row[chosen])))
        )

    def fires(self, cells: I64) -> list[Fire]:
        """Give what is told of cells that fire at the bar that was seen last, each rule's strongest first."""
        numbers = self.cells.condition[cells].tolist()
        wanted = {self._score_of[number] for number in numbers}
        scored = {n: self._scored(parts) for parts, n in self._scores.items() if n in wanted}
        found: list[tuple[int, Fire]] = []
        for cell, number in zip(cells.tolist(), numbers, strict=True):
            hit = self._hit(number, int(self.cells.row[cell]), *scored[self._score_of[number]])
            found.append((number, Fire(self.rules[number], hit)))
        found.sort(key=lambda one: (one[0], -abs(one[1].hit.score or 0.0), one[1].hit.symbol))
        return [fire for _, fire in found]

    def _scored(self, parts: tuple[Part, ...]) -> tuple[F64, F64]:
        """Give the points of each part for all symbols, and their sums."""
        if not parts:
            return np.empty((0, len(self.symbols), 1)), np.full(len(self.symbols), np.nan)
        found = points(parts, [self._values[self._names[part.expr]][:, None] for part in parts])
        return found, total(found)[:, 0]

    def _hit(self, number: int, row: int, found: F64, scores: F64) -> Hit:
        """Write down what is told of a symbol; a score that is not known is none."""
        screen = self.rules[number].screen
        known = not np.isnan(scores[row])
        named = zip((part.name for part in screen.score), found[:, row, 0].tolist(), strict=True)
        columns = {name: float(self._values[at][row]) for name, at in self._columns[number].items()}
        return Hit(
            symbol=self.symbols[row],
            score=float(scores[row]) if known else None,
            side=side(scores[row], side_from=screen.side_from) if known else "flat",
            price=float(self._values[_PRICE][row]),
            contributions=dict(named) if known else {},
            columns={name: None if np.isnan(value) else value for name, value in columns.items()},
        )


def _told(screen: Screen) -> Iterable[Expr]:
    """Give what is told of a symbol beside its price: the parts of the score, and the columns."""
    yield from (part.expr for part in screen.score)
    yield from screen.columns.values()
