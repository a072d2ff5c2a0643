"""Fits: weights of a score's parts as history would have had them, and what they were worth on later bars.

1. Ridge regression of the returns' ranks on the parts' ranks, bar by bar: outliers weigh no more than others.
2. Walk forward: the range is parted; the weights of each part are fitted on all bars before it. Between them
   lie the bars whose returns reach into the part (purged), and as many again (embargo).
3. How strongly weights are drawn to zero is chosen on the fitted bars alone, in the same way.
4. What is told out of sample is the rank IC of all parts, each with weights that had not seen it; beside it
   that of the weights in use. In sample is what the same weights had on the bars that they were fitted on.
5. The weights proposed are fitted on all bars: nothing is left that could judge them but the time to come.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from klinehub.errors import DataError
from klinehub.evidence.gram import Gram
from klinehub.evidence.intervals import Interval, newey_west
from klinehub.evidence.result import Span, number, span
from klinehub.factors.points import FULL
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64

FOLDS: Final = 5
# Shares of the mean product of a part with itself, from hardly to nearly all the way to zero.
STRENGTHS: Final = (0.01, 0.1, 1.0, 10.0)
_INNER: Final = 3
FEWEST: Final = 500


class Fold(NamedTuple):
    """The bars that weights are fitted on, and those that they are judged on."""

    fitted: Flags
    judged: Flags


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """What a fit proposes: weights whose sizes sum to 100, and the rank ICs behind them.

    `strength` is how strongly they are drawn to zero. `in_use` are the present weights, `kept` says how many
    of the folds agree with each proposed sign.
    """

    weights: Mapping[str, float]
    in_use: Mapping[str, float]
    kept: Mapping[str, float]
    strength: float
    horizon: int
    folds: int
    in_sample: float | None
    out_of_sample: float | None
    out_of_sample_interval: Span | None
    in_use_out_of_sample: float | None
    in_use_interval: Span | None
    gain: float | None
    gain_interval: Span | None
    verdict: str


def folds(bars: int, count: int, horizon: int) -> list[Fold]:
    """Part bars in *count* + 1 stretches; each but the first is judged by what lies before it."""
    edges = np.linspace(0, bars, count + 2).astype(int)
    at = np.arange(bars)
    gap = 2 * (horizon + 1)
    return [Fold(at < edges[n] - gap, (at >= edges[n]) & (at < edges[n + 1])) for n in range(1, count + 1)]


def ridge(gram: Gram, bars: Flags, strength: float) -> F64:
    """Give the weights on some bars, sizes summing to 1; zeros where nothing can be fitted."""
    factors, returns = gram.part(bars)
    mean = float(np.trace(factors)) / factors.shape[0]
    if mean <= 0.0:
        return np.zeros(returns.size)
    weights = np.linalg.solve(factors + strength * mean * np.eye(returns.size), returns)
    size = float(np.abs(weights).sum())
    return weights / size if size > 0.0 else weights


def chosen(gram: Gram, bars: Flags, horizon: int) -> float:
    """Choose how strongly weights are drawn to zero, by walking forward within some bars."""
    inside = np.flatnonzero(bars)
    part = Gram(gram.factors[inside], gram.returns[inside], gram.own[inside])
    tried = []
    for strength in STRENGTHS:
        seen = [
            part.ic(ridge(part, fold.fitted, strength))[fold.judged]
            for fold in folds(inside.size, _INNER, horizon)
        ]
        known = np.concatenate(seen)
        known = known[np.isfinite(known)]
        tried.append(float(known.mean()) if known.size else -1.0)
    return STRENGTHS[int(np.argmax(tried))]


def fit(gram: Gram, names: Sequence[str], in_use: F64, horizon: int, *, count: int = FOLDS) -> Fitted:
    """Fit weights of the parts *names*, and judge them on bars that they had not seen.

    *in_use* are the present weights of ranks, which the same bars judge. Raises DataError for too few bars.
    """
    bars = gram.own.size
    known = int(np.count_nonzero(gram.own))
    if known < max(FEWEST, 20 * horizon):
        raise DataError(
            f"{known} bars with all parts are too few to fit weights for {horizon} bars ahead: "
            f"take {max(FEWEST, 20 * horizon)} or more, or a shorter --headline."
        )
    own, theirs = np.full(bars, np.nan), np.full(bars, np.nan)
    found: list[F64] = []
    inside: list[F64] = []
    for fold in folds(bars, count, horizon):
        weights = ridge(gram, fold.fitted, chosen(gram, fold.fitted, horizon))
        ics = gram.ic(weights)
        own[fold.judged], theirs[fold.judged] = ics[fold.judged], gram.ic(in_use)[fold.judged]
        inside.append(ics[fold.fitted])
        found.append(weights)
    everywhere = np.ones(bars, bool)
    strength = chosen(gram, everywhere, horizon)
    final = ridge(gram, everywhere, strength)
    out, used, gain = (newey_west(values, horizon) for values in (own, theirs, own - theirs))
    agreed = np.mean([np.sign(weights) == np.sign(final) for weights in found], axis=0)
    return Fitted(
        weights={name: round(FULL * float(value), 2) for name, value in zip(names, final, strict=True)},
        in_use={
            name: round(FULL * float(value), 2) for name, value in zip(names, _scaled(in_use), strict=True)
        },
        kept={name: float(value) for name, value in zip(names, agreed, strict=True)},
        strength=strength,
        horizon=horizon,
        folds=count,
        in_sample=number(newey_west(np.concatenate(inside), horizon).mean),
        out_of_sample=number(out.mean),
        out_of_sample_interval=span(out),
        in_use_out_of_sample=number(used.mean),
        in_use_interval=span(used),
        gain=number(gain.mean),
        gain_interval=span(gain),
        verdict=_verdict(out, gain),
    )


def _scaled(weights: F64) -> F64:
    size = float(np.abs(weights).sum())
    return weights / size if size > 0.0 else weights


def _verdict(out: Interval, gain: Interval) -> str:
    """Say what a fit comes to, in words."""
    if not (np.isfinite(out.low) and np.isfinite(gain.low)):
        return "Too little data to judge the weights on bars that they had not seen."
    told = f"rank IC {out.mean:+.4f} [{out.low:+.4f}, {out.high:+.4f}] on bars that the weights had not seen"
    if not out.low > 0.0:
        return f"Not distinguishable from noise: {told}. Keep the weights that are in use."
    if not gain.low > 0.0:
        return (
            f"No better than the weights in use, as far as can be told: {told}, a gain of {gain.mean:+.4f}."
        )
    return f"Better than the weights in use by {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]: {told}."
