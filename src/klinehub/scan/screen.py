"""Screens: what is looked for in a market, written down once: conditions, columns, order and score."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import msgspec
import numpy as np

from klinehub.domain.timeframe import timeframe as known_timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.define import Factor
from klinehub.factors.expr import Expr, decisive, field, terms
from klinehub.factors.loops import fingerprint
from klinehub.factors.points import Part, score
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64
from klinehub.panel.view import BESIDE
from klinehub.scan.score import SIDE_FROM

Side = Literal["long", "short"]
# Columns of a screen, and what the engine computes for it, by reserved names.
PRICE: Final = "close"
_MOST_COLUMNS: Final = 200


class Screen(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What to look for at each close of *timeframe*; None stands for the hub's own.

    A symbol is a hit where *where* holds and, with a score, where its size is at least *min_score* and its
    side is *side*. Hits come in the order of *order_by*, smallest first, or of their score, largest size
    first; *top* of them are kept. Who follows a screen is told of a hit again only after *cooldown* bars.
    *symbols* are the only ones looked at, all without any. *score* are weighted parts; without them there is
    no score, no side and no contributions; *unavailable* names those that were wanted and can not be had.
    """

    name: str
    timeframe: str | None = None
    where: Expr | None = None
    columns: Mapping[str, Expr] = {}
    order_by: Expr | None = None
    top: int | None = None
    score: tuple[Part, ...] = ()
    unavailable: tuple[str, ...] = ()
    min_score: float = 0.0
    side: Side | None = None
    side_from: float = SIDE_FROM
    cooldown: int = 0
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what can not be looked for, before any market is there."""
        if self.timeframe is not None:
            known_timeframe(self.timeframe)
        for what, count, least in (("top", self.top, 1), ("cooldown", self.cooldown, 0)):
            if count is not None and (type(count) is not int or count < least):
                raise DefinitionError(f"{self.name}: {what} is {count!r}; give a whole number from {least}.")
        for what, size in (("min_score", self.min_score), ("side_from", self.side_from)):
            if type(size) not in {int, float} or not size >= 0.0:
                raise DefinitionError(f"{self.name}: {what} is {size!r}; give a number from 0.")
        if self.side is not None and self.side not in get_args(Side):
            raise UnknownName("side", self.side, get_args(Side))
        if not self.score and (self.min_score or self.side):
            raise DefinitionError(f"{self.name} has no score to have a size or a side; give it `score`.")
        self._check_exprs()

    def _check_exprs(self) -> None:
        """Refuse what is no expression, and a condition that neither holds nor does not."""
        if len(self.columns) > _MOST_COLUMNS:
            raise DefinitionError(f"{self.name} has {len(self.columns)} columns; at most {_MOST_COLUMNS}.")
        shown = {**self.columns, "where": self.where, "order_by": self.order_by}
        shown |= {part.name: part.expr for part in self.score}
        for name, expr in shown.items():
            if expr is not None and not isinstance(expr, Expr):
                raise DefinitionError(f"{self.name}: {name} is {expr!r}; give an expression of factors.")
        if self.score:
            score(self.score)
        if self.where is not None:
            decisive(self.where)

    def passing(self, where: F64 | None, scores: F64, known: Flags) -> Flags:
        """Say which of those whose values are *known* are hits, by its condition's values and its scores."""
        passes = known & (where == 1.0) if where is not None else known.copy()
        if self.score:
            passes &= np.abs(scores) >= self.min_score
        if self.side:
            is_on_side = scores > 0.0 if self.side == "long" else scores < 0.0
            passes &= is_on_side & (np.abs(scores) >= self.side_from)
        return passes

    @property
    def exprs(self) -> dict[str, Expr]:
        """Everything that is computed for the screen, by name."""
        found = {"close": field(PRICE)} | {f"column {name}": expr for name, expr in self.columns.items()}
        found |= {f"part {part.name}": part.expr for part in self.score}
        if self.where is not None:
            found["where"] = self.where
        if self.order_by is not None:
            found["order"] = self.order_by
        return found

    @property
    def beside(self) -> frozenset[str]:
        """The fields beside the klines that it reads, which a hub keeps only where it is asked to."""
        read = {name for expr in self.exprs.values() for term in terms(expr) for name in term.reads}
        return frozenset(read & BESIDE.keys())

    @property
    def uncut(self) -> "Screen":
        """The same without what only shows its hits, or cuts them down: all that it finds, by score."""
        order = None if self.score else self.order_by
        return Screen(
            name=self.name, timeframe=self.timeframe, where=self.where, order_by=order, score=self.score
        )

    @property
    def hash(self) -> str:
        """Twelve digits that change with the screen's text and with the code of its factors."""
        digest = hashlib.sha256()
        for name, expr in self.exprs.items():
            digest.update(repr(name).encode())
            places: dict[Expr, int] = {}
            for term in terms(expr):
                places[term] = len(places)
                digest.update(repr((term.op, [places[arg] for arg in term.args])).encode() + _told(term))
        rest: tuple[Any, ...] = (self.timeframe, self.top, self.min_score, self.side, self.side_from)
        rest = (*rest, self.symbols)
        weights = [(part.name, part.weight, part.scale, part.centre) for part in self.score]
        digest.update(repr((rest, weights)).encode())
        return digest.hexdigest()[:12]


def _told(term: Expr) -> bytes:
    """Tell a term's parameters apart; of a factor also how many bars it sees and what it is made of."""
    if term.op != "factor":
        return repr(term.params).encode()
    factor: Factor = term.params[0]
    options = term.params[1:]
    kept = factor.size(options) if factor.kind == "step" else 0
    return repr((factor.name, options, factor.lookback(options), kept)).encode() + fingerprint(
        factor.function
    )
