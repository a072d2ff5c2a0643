"""The score: weighted factors added up to one signed number, -100 (short) to 100 (long), exactly.

1. The weights of the factors that can be had are scaled so that their sizes sum to 100.
2. Points = weight * squashed value, cut towards zero to a multiple of 1/64.
3. Score = the sum of the points.

Multiples of 1/64 up to 100 and their sums are exact in binary, so the points add up to the score in any
order, to the last bit. The sizes of the points are at most those of the weights, which sum to 100 but for
rounding far below 1/64; a sum of multiples of 1/64 cannot lie between 100 and 100 + 1/64, so no score
leaves -100 to 100 and nothing has to be clamped.
"""

import math
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Final

import numpy as np

from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.library import BY_NAME, STOCK
from klinehub.panel.memory import F64

GRID: Final = 64.0
FULL: Final = 100
# A score nearer to zero than this takes no side.
SIDE_FROM: Final = 20.0

DEFAULT_WEIGHTS: Final[dict[str, float]] = {item.name: item.weight for item in STOCK}


def check_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Copy *weights* in the library's order without the zeros; a negative one turns its factor round.

    Raises UnknownName for a factor that does not exist, DefinitionError for a weight that is no number
    and when nothing is left.
    """
    for name, weight in weights.items():
        if name not in BY_NAME:
            raise UnknownName("factor", name, BY_NAME)
        if not math.isfinite(weight):
            raise DefinitionError(
                f"The weight of {name} is {weight}: give a finite number, 0 to leave it out."
            )
    kept = {name: float(weights[name]) for name in BY_NAME if weights.get(name)}
    if not kept:
        raise DefinitionError("Every factor has weight 0, so nothing can be scored: weigh at least one.")
    return kept


def share_weights(weights: Mapping[str, float], available: Collection[str]) -> dict[str, float]:
    """Scale the weights of the *available* factors so that their sizes sum to 100; empty if none is."""
    # Fractions, so that weights that sum to 100 stay as they were typed and huge ones do not overflow.
    left = {name: Fraction(weight) for name, weight in weights.items() if name in available}
    total = sum(abs(weight) for weight in left.values())
    return {name: float(FULL * weight / total) for name, weight in left.items()}


def points(weight: float, squashed: F64) -> F64:
    """Give one factor's part of the score: multiples of 1/64, never larger than its weight; NaN stays."""
    # Adding 0.0 turns -0.0 into 0.0.
    return np.asarray(np.trunc(weight * squashed * GRID) / GRID + 0.0, dtype=np.float64)


def side(score: float, *, side_from: float = SIDE_FROM) -> str:
    """Name the side of a score: long or short from *side_from* on, flat nearer to zero."""
    if abs(score) < side_from or score == 0.0:
        return "flat"
    return "long" if score > 0.0 else "short"
