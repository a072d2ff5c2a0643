"""The functions of the language: how each is written and what it makes of its arguments."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from klinehub.errors import DefinitionError
from klinehub.factors.expr import FIELDS, MOST_DEPTH, Expr, short


class Function(NamedTuple):
    """A function as it is written, how many arguments it takes, and what makes a term of them."""

    usage: str
    least: int
    most: int
    make: Callable[..., Expr]


def made(name: str, args: list[Expr]) -> Expr:
    """Apply a function to its arguments; raises DefinitionError where they are too few, many or wrong."""
    function = FUNCTIONS[name]
    if function.least <= len(args) <= function.most:
        return function.make(*args)
    raise DefinitionError(f"{name}() can not take {len(args)} arguments: write `{function.usage}`.")


def _extreme(op: str, first: Expr, *others: Expr) -> Expr:
    for other in others:
        first = Expr(op, (first, other))
    return first


def _where(condition: Expr, value: Expr, other: float | Expr = math.nan) -> Expr:
    return value.where(condition, other)


def _clip(value: Expr, low: Expr, high: Expr) -> Expr:
    instead = "for bounds that change write `min(max(x, low), high)`"
    return value.clip(_literal("clip", low, instead), _literal("clip", high, instead))


def _lag(value: Expr, bars: Expr | None = None) -> Expr:
    count: Any = 1 if bars is None else _literal("lag", bars, "write `lag(x, 3)` for three bars before")
    return value.lag(int(count) if count == count // 1 else count)


def _winsorize(value: Expr, where: Expr | None = None, share: Expr | None = None) -> Expr:
    if share is None and where is not None and where.op == "const":
        where, share = None, where
    if share is None:
        return value.winsorize(where=where)
    return value.winsorize(_literal("winsorize", share, "write the share last, as `winsorize(x, 5%)`"), where)


def _literal(name: str, value: Expr, instead: str) -> float:
    """Give the number that an argument has to be."""
    number: Any = value.params[0] if value.op == "const" else None
    if number is None:
        raise DefinitionError(f"{name}() needs a number, not `{short(value)}`: {instead}.")
    return float(number)


# What makes `on` is Expr.on: its second argument is a name, read where the text is.
FUNCTIONS: Final = {
    "abs": Function("abs(x)", 1, 1, Expr.abs),
    "sqrt": Function("sqrt(x)", 1, 1, Expr.sqrt),
    "known": Function("known(x)", 1, 1, Expr.known),
    "min": Function("min(x, y, …)", 2, MOST_DEPTH, partial(_extreme, "min")),
    "max": Function("max(x, y, …)", 2, MOST_DEPTH, partial(_extreme, "max")),
    "where": Function("where(condition, x[, other])", 2, 3, _where),
    "clip": Function("clip(x, low, high)", 3, 3, _clip),
    "lag": Function("lag(x[, bars])", 1, 2, _lag),
    "on": Function("on(x, 4h)", 2, 2, Expr.on),
    "rank": Function("rank(x[, where])", 1, 2, Expr.rank),
    "zscore": Function("zscore(x[, where])", 1, 2, Expr.zscore),
    "mean": Function("mean(x[, where])", 1, 2, Expr.mean),
    "winsorize": Function("winsorize(x[, where][, share])", 1, 3, _winsorize),
}
CONSTANTS: Final = {"true": 1.0, "false": 0.0, "unknown": math.nan, "inf": math.inf}
# What a factor can not be called: these names have a meaning already.
RESERVED: Final = frozenset({"and", "or", "not", *CONSTANTS, *FUNCTIONS, *FIELDS})
