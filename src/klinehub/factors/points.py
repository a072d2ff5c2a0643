"""Points: weighted factors added up to one signed number, -100 (short) to 100 (long), exactly.

1. Each part's value is mapped to -1 to 1: r / sqrt(1 + r * r) with r = (value - centre) / scale.
2. The weights of the parts that can be had are scaled so that their sizes sum to 100.
3. Points = weight * mapped value, cut towards zero to a multiple of 1/64; the score is their sum.

Multiples of 1/64 up to 100 and their sums are exact in binary, so the points add up to the score in any
order, to the last bit. The sizes of the points are at most those of the weights, which sum to 100 but for
rounding far below 1/64; a sum of multiples of 1/64 cannot lie between 100 and 100 + 1/64, so no score
leaves -100 to 100 and nothing has to be clamped.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from klinehub.errors import DefinitionError
from klinehub.factors.expr import Expr, terms
from klinehub.factors.kernels import kernel
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64

GRID: Final = 64.0
FULL: Final = 100
_REMEMBERED: Final = 256


class Part(NamedTuple):
    """One part of a score: its weight, and the value that counts 0.71 of it, counted from *centre*."""

    name: str
    expr: Expr
    weight: float
    scale: float
    centre: float = 0.0

    @property
    def compares(self) -> bool:
        """Whether it reads the benchmark, whose holes concern every symbol."""
        return any("benchmark" in term.reads for term in terms(self.expr))


def score(parts: Sequence[Part]) -> Expr:
    """Give the sum of the parts' points as an expression; raises DefinitionError for weights like NaN."""
    names = [part.name for part in parts]
    for part in parts:
        if names.count(part.name) > 1:
            raise DefinitionError(f"Two parts of a score are called {part.name}: name each of its own.")
        numbers = (part.weight, part.scale, part.centre)
        if not all(math.isfinite(number) for number in numbers) or part.scale <= 0.0:
            raise DefinitionError(
                f"{part.name}: weight {part.weight:g}, scale {part.scale:g}, centre {part.centre:g} give no "
                "points: give finite numbers, and a scale above 0."
            )
    if not any(part.weight for part in parts):
        raise DefinitionError("A score of nothing is no score: weigh at least one factor.")
    return Expr("score", tuple(part.expr for part in parts), (tuple(parts),))


def share_weights(weights: Mapping[str, float], available: Collection[str]) -> dict[str, float]:
    """Scale the weights of the *available* parts so that their sizes sum to 100; empty if none is."""
    # Fractions, so that weights that sum to 100 stay as they were typed and huge ones do not overflow.
    left = {name: Fraction(weight) for name, weight in weights.items() if name in available}
    total = sum(abs(weight) for weight in left.values())
    return {name: float(FULL * weight / total) for name, weight in left.items()}


def available(parts: Sequence[Part], values: Sequence[F64]) -> list[tuple[str, ...]]:
    """Name for each bar the parts that count: one that compares with a benchmark of no value does not."""
    gone: dict[str, Flags] = {}
    for name, value in zip(_comparing(tuple(parts)), values, strict=True):
        if name and np.isnan(value).all(axis=0).any():
            gone[name] = np.all(np.isnan(value), axis=0)
    bars = values[0].shape[1]
    if not gone:
        return [tuple(part.name for part in parts)] * bars
    return [
        tuple(p.name for p in parts if p.name not in gone or not gone[p.name][bar]) for bar in range(bars)
    ]


@lru_cache(_REMEMBERED)
def _comparing(parts: tuple[Part, ...]) -> tuple[str, ...]:
    """Name the parts that read the benchmark, in their places; the others are empty."""
    return tuple(part.name if part.compares else "" for part in parts)


@lru_cache(_REMEMBERED)
def _shared(parts: tuple[Part, ...], counted: tuple[str, ...]) -> dict[str, float]:
    """Share the weights among the parts that count; fractions cost more than all points of a bar."""
    return share_weights({part.name: part.weight for part in parts}, counted)


def points(parts: Sequence[Part], values: Sequence[F64]) -> F64:
    """Give each part's points: float64 [parts, symbols, bars], 0 of one that does not count.

    NaN stays, and where no part counts all are NaN.
    """
    names, given = available(parts, values), tuple(parts)
    shared = {some: _shared(given, some) for some in set(names)}
    table = np.array([[shared[some].get(part.name, 0.0) for some in names] for part in parts])
    scales = np.array([(part.scale, part.centre) for part in parts])
    symbols, bars = values[0].shape
    out = np.empty((len(parts), bars, symbols))
    _cut(np.stack([value.T for value in values]), table, scales, out)
    if not all(shared.values()):
        out[:, [not shared[some] for some in names]] = np.nan
    return out.transpose(0, 2, 1)


def total(given: F64) -> F64:
    """Add points [parts, symbols, bars] up to scores [symbols, bars]; exact in any order."""
    summed: F64 = np.add.reduce(given, axis=0)
    return summed


@kernel
def _cut(values: F64, weights: F64, scales: F64, out: F64) -> None:
    """Map, weigh and cut the values of all parts [parts, bars, symbols]."""
    for n in range(values.shape[0]):
        scale, centre = scales[n]
        for t in range(values.shape[1]):
            weight = weights[n, t]
            for s in range(values.shape[2]):
                value = values[n, t, s]
                # Bounded, because the square of a huge r is infinite and would give 0.
                r = min(max((value - centre) / scale, -1e6), 1e6)
                # Adding 0.0 turns -0.0 into 0.0.
                given = np.trunc(weight * (r / np.sqrt(1.0 + r * r)) * GRID) / GRID + 0.0
                out[n, t, s] = (given if not np.isnan(value) else np.nan) if weight != 0.0 else 0.0
