"""Expressions: what is computed of a market, written with factors, numbers and operators.

1. An expression is a tree of frozen nodes: an operation, its arguments and its parameters. Equal trees are
   equal values, so that the plan computes a term once however often it is written.
2. Operators make larger trees: `+ - * /`, comparisons, `&` `|` `~`, and the methods below. Nothing is
   computed before a screen asks for it.
3. `==` compares trees; `.eq()` compares numbers. `and`, `or` and `not` would ask a tree for its truth, which
   it does not have, and are refused with a hint.

A value that is not known (NaN) makes what is computed from it unknown, comparisons too; only `false & x` is
false and `true | x` is true whatever x is. Where a condition decides, unknown does not pass.
"""

import math
from collections.abc import Hashable
from typing import Any, Final, NoReturn

from klinehub.domain.timeframe import timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.panel.view import WIDE

MOST_DEPTH: Final = 200
MOST_NODES: Final = 10_000
MOST_LAG: Final = 1_000
# The fields that factors read by name: those of a bar and beside it, its open time (ms), and the benchmark's
# close.
READABLE: Final = (*WIDE, "open_time", "benchmark")
# Expressions also know how long a symbol has been listed at a bar's close, in ms.
FIELDS: Final = (*READABLE, "age")
# How operations are written: those between their arguments, and those before.
INFIX: Final = {op: op for op in ("+", "-", "*", "/", "<", "<=", ">", ">=")} | {
    "eq": "==",
    "ne": "!=",
    "&": "and",
    "|": "or",
}
PREFIX: Final = {"neg": "-", "not": "not "}
# What has no size of its own.
COMPARISONS: Final = frozenset({"<", "<=", ">", ">=", "eq", "ne"})


class Expr:
    """One value per symbol and bar, not computed yet; combine it with operators and the methods below."""

    __slots__ = ("_hash", "args", "depth", "nodes", "op", "params")
    # A number, a name, or a factor and its options, as the operation has it.
    params: tuple[Any, ...]
    depth: int
    nodes: int

    def __init__(self, op: str, args: tuple["Expr", ...] = (), params: tuple[Hashable, ...] = ()) -> None:
        self.op, self.args, self.params = op, args, params
        self.depth = 1 + max((arg.depth for arg in args), default=0)
        self.nodes = 1 + sum(arg.nodes for arg in args)
        if self.depth > MOST_DEPTH or self.nodes > MOST_NODES:
            raise DefinitionError(
                f"The expression is too large ({self.nodes} terms, {self.depth} inside each other; at most "
                f"{MOST_NODES:,} and {MOST_DEPTH}): split it into columns."
            )
        self._hash = hash((op, args, params))

    def __reduce__(self) -> tuple[Any, ...]:
        # The hash is another one in each process.
        return Expr, (self.op, self.args, self.params)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Expr) or self._hash != other._hash:
            return False
        return (self.op, self.params, self.args) == (other.op, other.params, other.args)

    def __hash__(self) -> int:
        return self._hash

    def __bool__(self) -> NoReturn:
        raise DefinitionError(
            "An expression is neither true nor false by itself: write `&`, `|` and `~` for and, or and not, "
            "with brackets around comparisons, and `(low < x) & (x < high)` for a chain."
        )

    def __repr__(self) -> str:
        return written(self)

    def __add__(self, other: object) -> "Expr":
        return _element("+", self, other)

    def __radd__(self, other: object) -> "Expr":
        return _element("+", other, self)

    def __sub__(self, other: object) -> "Expr":
        return _element("-", self, other)

    def __rsub__(self, other: object) -> "Expr":
        return _element("-", other, self)

    def __mul__(self, other: object) -> "Expr":
        return _element("*", self, other)

    def __rmul__(self, other: object) -> "Expr":
        return _element("*", other, self)

    def __truediv__(self, other: object) -> "Expr":
        return _element("/", self, other)

    def __rtruediv__(self, other: object) -> "Expr":
        return _element("/", other, self)

    def __neg__(self) -> "Expr":
        return const(-self.params[0]) if self.op == "const" else _element("neg", self)

    def __lt__(self, other: object) -> "Expr":
        return _ordered("<", self, other)

    def __le__(self, other: object) -> "Expr":
        return _ordered("<=", self, other)

    def __gt__(self, other: object) -> "Expr":
        return _ordered(">", self, other)

    def __ge__(self, other: object) -> "Expr":
        return _ordered(">=", self, other)

    def __and__(self, other: object) -> "Expr":
        return _element("&", self, other)

    def __rand__(self, other: object) -> "Expr":
        return _element("&", other, self)

    def __or__(self, other: object) -> "Expr":
        return _element("|", self, other)

    def __ror__(self, other: object) -> "Expr":
        return _element("|", other, self)

    def __invert__(self) -> "Expr":
        return _element("not", self)

    @property
    def reads(self) -> tuple[str, ...]:
        """The fields that this term reads itself, not through its arguments."""
        if self.op == "factor":
            return tuple(self.params[0].fields)
        return self.params if self.op == "field" else ()

    def eq(self, other: object) -> "Expr":
        """Say where two values are equal numbers."""
        return _element("eq", self, other)

    def ne(self, other: object) -> "Expr":
        """Say where two values are different numbers."""
        return _element("ne", self, other)

    def abs(self) -> "Expr":
        """Give the value without its sign."""
        return _element("abs", self)

    def sqrt(self) -> "Expr":
        """Give the square root; NaN of a negative value."""
        return _element("sqrt", self)

    def known(self) -> "Expr":
        """Say where the value is known; never unknown itself."""
        return _element("known", self)

    def clip(self, low: float, high: float) -> "Expr":
        """Keep the value within *low* and *high*."""
        for bound in (low, high):
            if type(bound) not in {int, float}:
                raise DefinitionError(f"clip({low!r}, {high!r}): give two numbers.")
        if not low <= high:
            raise DefinitionError(f"clip({low}, {high}) keeps nothing: give the smaller bound first.")
        return _element("min", _element("max", self, low), high)

    def where(self, condition: object, other: object = math.nan) -> "Expr":
        """Give the value where *condition* holds, elsewhere *other* (by default unknown)."""
        return _element("where", decisive(const(condition)), self, other)

    def lag(self, bars: int = 1) -> "Expr":
        """Give the value of so many bars before, on the timeframe that it is computed on."""
        if type(bars) is not int or not 0 <= bars <= MOST_LAG:
            raise DefinitionError(f"lag({bars!r}): give a whole number of bars from 0 to {MOST_LAG:,}.")
        return Expr("lag", (self,), (bars,)) if bars else self

    def on(self, name: str) -> "Expr":
        """Compute the value on another timeframe, of its last bar that has closed by then."""
        if not isinstance(name, str):
            raise DefinitionError(f"on({name!r}): give the name of a timeframe, for example '4h'.")
        return Expr("on", (self,), (timeframe(name).name,))

    def rank(self, where: object = None) -> "Expr":
        """Give the place among all symbols, 0 the lowest to 1 the highest; equal values share their place.

        With *where*, among those for which it holds; the others are unknown. Alone, a symbol is at 0.5.
        """
        return _section("rank", self, where)

    def zscore(self, where: object = None) -> "Expr":
        """Give the distance to the mean of all symbols in standard deviations; 0 where all are equal."""
        return _section("zscore", self, where)

    def mean(self, where: object = None) -> "Expr":
        """Give every symbol the mean of all symbols; of a condition, the share for which it holds."""
        return _section("mean", self, where)

    def winsorize(self, share: float = 0.05, where: object = None) -> "Expr":
        """Pull the *share* of symbols with the lowest and with the highest values in to the next ones."""
        if type(share) is not float or not 0.0 < share < 0.5:
            raise DefinitionError(f"winsorize({share!r}): give a share between 0 and 0.5.")
        return _section("winsorize", self, where, float(share))


def const(value: object) -> Expr:
    """Give a number as an expression."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, bool | int | float):
        try:
            # Adding 0.0 turns -0.0 into 0.0, which is equal and would be taken for it.
            number = float(value) + 0.0
        except OverflowError as exc:
            raise DefinitionError(f"{str(value)[:40]}… is larger than any number here.") from exc
        # A NaN differs from itself, and would never be found again.
        return Expr("unknown") if math.isnan(number) else Expr("const", (), (number,))
    raise DefinitionError(f"{value!r} can not be computed with: use factors, fields and numbers.")


def field(name: str) -> Expr:
    """Give a field of the panel (`close`, `volume`, ...); raises UnknownName with the nearest one."""
    if name not in FIELDS:
        raise UnknownName("field", name, FIELDS)
    return Expr("field", (), (name,))


def terms(expr: Expr) -> list[Expr]:
    """List every different term of an expression, each after the terms that it is made of."""
    found: dict[Expr, None] = {}

    def visit(term: Expr) -> None:
        if term not in found:
            for arg in term.args:
                visit(arg)
            found[term] = None

    visit(expr)
    return list(found)


def short(expr: Expr) -> str:
    """Write the beginning of an expression."""
    text = repr(expr)
    return text if len(text) <= 60 else f"{text[:59]}…"


def decisive(expr: Expr) -> Expr:
    """Give an expression back that holds or does not; raises DefinitionError for a number."""
    left = [expr]
    while left:
        term = left.pop()
        if term.op in {"&", "|", "not", "lag", "on"}:
            left += reversed(term.args)
        elif not (term.op in COMPARISONS or term.op == "known" or term in {const(1), const(0)}):
            shown = short(term)
            raise DefinitionError(
                f"`{shown}` is a number, not a condition: write when it passes, as `{shown} > 0`."
            )
    return expr


def written(expr: Expr) -> str:
    """Write an expression in the language of the filter box; `parse` reads it back."""
    texts: dict[Expr, str] = {}
    for term in terms(expr):
        texts[term] = _text(term, [texts[arg] for arg in term.args])
        if len(texts[term]) > MOST_NODES:
            return texts[term][: MOST_NODES - 1] + "…"
    return texts[expr]


def _text(term: Expr, args: list[str]) -> str:
    """Write one term around the texts of its arguments."""
    if term.op in INFIX:
        return f"({args[0]} {INFIX[term.op]} {args[1]})"
    if term.op in PREFIX:
        return f"({PREFIX[term.op]}{args[0]})"
    if term.op == "factor":
        return _call(term)
    shown = [_number(param) if isinstance(param, int | float) else str(param) for param in term.params]
    if term.op in {"const", "field"}:
        return shown[0]
    return f"{term.op}({', '.join([*args, *shown])})" if args else term.op


def _call(term: Expr) -> str:
    """Write a factor with its options."""
    name, options = term.params[0].name, ", ".join(_number(value) for value in term.params[1:])
    return f"{name}({options})" if options else str(name)


def _number(value: float) -> str:
    """Write a number with as few digits as tell it from every other."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _ordered(op: str, left: Expr, right: object) -> Expr:
    """Make a comparison of two sizes."""
    other = const(right)
    if left.op in COMPARISONS or other.op in COMPARISONS:
        raise DefinitionError(
            f"({left!r}) {op} ({other!r}): a comparison is true or false and has no size. Write "
            "`(20 < rsi) & (rsi < 80)` for a chain."
        )
    return _element(op, left, other)


def _element(op: str, *args: object) -> Expr:
    """Make a term that is computed symbol by symbol."""
    return Expr(op, tuple(const(arg) for arg in args))


def _section(op: str, value: Expr, where: object, *params: float) -> Expr:
    """Make a term that is computed over all symbols of a bar, or over those for which *where* holds."""
    return Expr(op, (value,) if where is None else (value, decisive(const(where))), params)
