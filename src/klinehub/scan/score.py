"""The default score: which factors it is made of, what each weighs, and which side a score takes."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from klinehub.domain.timeframe import in_order
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.expr import Expr, terms
from klinehub.factors.points import Part
from klinehub.factors.stock import stock_factor

# Counted up when a part, its scale or its weight changes, so that results can be told apart.
VERSION: Final = 2
# A score nearer to zero than this takes no side.
SIDE_FROM: Final = 20.0
# What each part is made of, what it weighs, its scale and its centre.
_PARTS: Final = {
    "trend": ("trend", 14.0, 1.5, 0.0),
    "trend_larger": ("trend", 12.0, 1.5, 0.0),
    "trend_smaller": ("trend", 8.0, 1.5, 0.0),
    "macd": ("macd", 8.0, 0.3, 0.0),
    "rsi": ("rsi", 8.0, 15.0, 50.0),
    "adx": ("adx_direction", 8.0, 15.0, 0.0),
    "momentum": ("momentum", 10.0, 0.8, 0.0),
    "donchian": ("donchian", 10.0, 1.0, 0.0),
    "volume_z": ("volume_z", 6.0, 2.0, 0.0),
    "taker_delta": ("taker_delta", 6.0, 0.1, 0.0),
    "relative_strength": ("relative_strength", 6.0, 1.5, 0.0),
    "volatility": ("volatility", 4.0, 0.4, 0.0),
}
# Parts that read the next larger or smaller timeframe than the scan's own.
_STEPS: Final = {"trend_larger": 1, "trend_smaller": -1}
PARTS: Final = tuple(_PARTS)
DEFAULT_WEIGHTS: Final[dict[str, float]] = {name: weight for name, (_, weight, _, _) in _PARTS.items()}


def check_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Copy *weights* in the parts' order without the zeros; a negative one turns its part round.

    Raises UnknownName for a part that does not exist, DefinitionError for a weight that is no number
    and when nothing is left.
    """
    for name, weight in weights.items():
        if name not in _PARTS:
            raise UnknownName("factor", name, _PARTS)
        if not math.isfinite(weight):
            raise DefinitionError(
                f"The weight of {name} is {weight}: give a finite number, 0 to leave it out."
            )
    kept = {name: float(weights[name]) for name in _PARTS if weights.get(name)}
    if not kept:
        raise DefinitionError("Every factor has weight 0, so nothing can be scored: weigh at least one.")
    return kept


def default_parts(
    weights: Mapping[str, float],
    frames: Collection[str],
    main: str,
    *,
    benchmark: bool,
    unavailable: Collection[str] = (),
) -> tuple[Part, ...]:
    """Give the parts of the score that can be had on timeframe *main* of *frames*.

    Without a *benchmark* nothing can be compared with it; *unavailable* names what is not real here. Raises
    DefinitionError when nothing is left.
    """
    ordered = [frame.name for frame in in_order(tuple(frames))]
    parts = []
    for name, weight in weights.items():
        factor, _, scale, centre = _PARTS[name]
        place = ordered.index(main) + _STEPS.get(name, 0)
        if name in unavailable or not 0 <= place < len(ordered):
            continue
        expr = stock_factor(factor)()
        part = Part(name, expr if ordered[place] == main else expr.on(ordered[place]), weight, scale, centre)
        if benchmark or not part.compares:
            parts.append(part)
    if not parts:
        raise DefinitionError(
            f"None of the weighted factors ({', '.join(weights)}) can be had from this data: weigh others, "
            "or add timeframes."
        )
    return tuple(parts)


def reading(fields: Collection[str]) -> frozenset[str]:
    """Name the parts that read any of *fields*: those to leave out where a field is not real."""
    return frozenset(
        name for name, (factor, *_) in _PARTS.items() if _read(stock_factor(factor)()) & {*fields}
    )


def _read(expr: Expr) -> set[str]:
    """Name the fields that an expression reads."""
    return {name for term in terms(expr) for name in term.reads}


def side(score: float, *, side_from: float = SIDE_FROM) -> str:
    """Name the side of a score: long or short from *side_from* on, flat nearer to zero."""
    if abs(score) < side_from or score == 0.0:
        return "flat"
    return "long" if score > 0.0 else "short"


def weights_of(parts: Sequence[Part]) -> dict[str, float]:
    """Give what each part weighs."""
    return {part.name: part.weight for part in parts}
