"""Conditions: many of them at once, each for the symbols that its rule looks at.

1. What is computed over bars or over all symbols (factors, fields, lags, ranks) is a leaf: the engine
   computes each different one once, for everybody.
2. What lies above the leaves is computed symbol by symbol. Conditions that differ only in their numbers and
   their leaves have one shape, and all cells (a rule and a symbol) of a shape are computed together: ten
   thousand rules of one symbol each take as many steps as there are shapes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from klinehub.factors.elements import ELEMENTS, element
from klinehub.factors.expr import Expr
from klinehub.panel.memory import F64, I64

_LEAF: Final = "leaf"
_NUMBER: Final = "number"
# An operation with its arguments, or a place that a leaf or a number is put into.
Shape = tuple[str, tuple["Shape", ...]]


class Cells(NamedTuple):
    """Which symbols are looked at: the number of the condition and the row of the symbol, of each cell."""

    condition: I64
    row: I64


class _Place(NamedTuple):
    """What each cell of a shape puts into a place: where in the table its leaf lies, or else a number."""

    at: I64 | None
    numbers: F64


class _Group(NamedTuple):
    """The cells of one shape, and what they put into its places."""

    shape: Shape
    cells: I64
    places: tuple[_Place, ...]


class Conditions:
    """Conditions over leaves; `leaves` are those that the engine has to compute, by their names."""

    def __init__(self, exprs: Sequence[Expr]) -> None:
        numbers: dict[Expr, int] = {}
        parts: dict[Expr, tuple[Shape, tuple[int | float, ...]]] = {}
        for expr in exprs:
            if expr not in parts:
                places: list[int | float] = []
                shape = _shape(expr, numbers, places)
                parts[expr] = shape, tuple(places)
        self.leaves: Mapping[str, Expr] = {f"leaf {n}": leaf for leaf, n in numbers.items()}
        self._parts = [parts[expr] for expr in exprs]
        self._groups: list[_Group] = []
        self._count = 0

    def lay_out(self, cells: Cells) -> None:
        """Say which cells are to be computed from now on."""
        self._count = cells.row.size
        by_shape: dict[Shape, list[int]] = {}
        for number, (shape, _) in enumerate(self._parts):
            by_shape.setdefault(shape, []).append(number)
        self._groups = [self._group(shape, numbers, cells) for shape, numbers in by_shape.items()]

    def _group(self, shape: Shape, numbers: list[int], cells: Cells) -> _Group:
        """Gather what the cells of some conditions, all of one shape, put into its places."""
        of_group = np.full(len(self._parts), -1)
        of_group[numbers] = np.arange(len(numbers))
        mine = np.flatnonzero(of_group[cells.condition] >= 0)
        which, rows = of_group[cells.condition[mine]], cells.row[mine]
        places = []
        for place, kind in enumerate(_kinds(shape)):
            values = np.array([self._parts[number][1][place] for number in numbers])[which]
            # The table is [symbols, leaves].
            at = rows * len(self.leaves) + values.astype(np.int64) if kind == _LEAF else None
            places.append(_Place(at, values))
        return _Group(shape, mine, tuple(places))

    def holds(self, values: Mapping[str, F64]) -> F64:
        """Say for each cell whether its condition holds, 1, 0 or unknown, from the leaves' [symbols]."""
        out = np.full(self._count, np.nan)
        if not self._count:
            return out
        columns = [values[name] for name in self.leaves]
        table = np.stack(columns, axis=1).ravel() if columns else np.empty(0)
        with np.errstate(all="ignore"):
            for shape, cells, places in self._groups:
                if cells.size:
                    given = (table.take(one.at) if one.at is not None else one.numbers for one in places)
                    out[cells] = _computed(shape, given)
        return out


def _shape(expr: Expr, numbers: dict[Expr, int], places: list[int | float]) -> Shape:
    """Split an expression into its shape and what is put into the places of it."""
    if expr.op == "const":
        places.append(float(expr.params[0]))
        return _NUMBER, ()
    if expr.op in ELEMENTS:
        return expr.op, tuple(_shape(arg, numbers, places) for arg in expr.args)
    places.append(numbers.setdefault(expr, len(numbers)))
    return _LEAF, ()


def _kinds(shape: Shape) -> list[str]:
    """List what the places of a shape take, in order."""
    op, inner = shape
    return [op] if op in {_LEAF, _NUMBER} else [kind for one in inner for kind in _kinds(one)]


def _computed(shape: Shape, given: Iterator[F64]) -> F64:
    """Compute a shape for all its cells, of what is put into its places one after the other."""
    op, inner = shape
    return next(given) if op in {_LEAF, _NUMBER} else element(op, [_computed(one, given) for one in inner])
