"""Cross-section: how a symbol moves with the benchmark, and where it stands among all symbols."""

from math import sqrt
from typing import Final

from klinehub.factors.define import Bar, State, factor
from klinehub.factors.expr import Expr
from klinehub.factors.lanes import choose
from klinehub.factors.steps import ROUNDING, comoments, kept, length, ratio, returns, totals
from klinehub.factors.stock.momentum import roc
from klinehub.factors.stock.trend import ema_distance

FAMILY: Final = "cross"
SIMPLE: Final = "least squares on simple returns"


@factor(
    state=lambda n: 2 + kept(n, 2),
    warmup=length,
    family=FAMILY,
    formula="sum(d) / sqrt(sum(d * d)), d = return - the benchmark's return, n returns",
    unit="like a t statistic",
    span="-sqrt(n) to sqrt(n); 0 for the benchmark itself",
    source="excess return in units of its own noise",
)
def relative_strength(state: State, close: Bar, benchmark: Bar, n: int = 48) -> float:
    """Relative strength to the benchmark.

    0.0 where both moved alike, but for rounding.
    """
    excess = returns(state, 0, close) - returns(state, 1, benchmark)
    whole, square = totals(state, 2, excess, excess * excess, n)
    energy = sqrt(square)
    return choose(energy <= ROUNDING, 0.0, ratio(whole, energy, 0.0))


@factor(
    state=lambda n: 2 + kept(n, 5),
    warmup=lambda n: length(n, 2),
    family=FAMILY,
    formula="covariance of the returns with the benchmark's / variance of the benchmark's, n returns",
    unit="benchmark returns",
    span="unbounded, mostly -1 to 3; 1 for the benchmark itself",
    source=f"{SIMPLE}, as TA-Lib's BETA of (benchmark, close)",
)
def beta(state: State, close: Bar, benchmark: Bar, n: int = 96) -> float:
    """Beta to the benchmark.

    0.0 where the benchmark did not move.
    """
    _, _, xx, xy, _ = comoments(state, 2, returns(state, 0, benchmark), returns(state, 1, close), n)
    return ratio(xy, xx, 0.0)


@factor(
    state=lambda n: 2 + kept(n, 5),
    warmup=lambda n: length(n, 2),
    family=FAMILY,
    formula="correlation of the returns with the benchmark's, n returns",
    unit="correlation",
    span="-1 to 1; 1 for the benchmark itself",
    source=f"{SIMPLE}, as TA-Lib's CORREL of them",
)
def correlation(state: State, close: Bar, benchmark: Bar, n: int = 96) -> float:
    """Correlation with the benchmark.

    0.0 where one of the two did not move.
    """
    _, _, xx, xy, yy = comoments(state, 2, returns(state, 0, benchmark), returns(state, 1, close), n)
    return max(-1.0, min(1.0, ratio(xy, sqrt(xx) * sqrt(yy), 0.0)))


@factor(
    state=lambda n: 2 + kept(n, 5),
    warmup=lambda n: length(n, 3),
    family=FAMILY,
    formula="sqrt(n) * (mean return - beta * the benchmark's mean return) / deviation of the residuals, "
    "n returns",
    unit="like a t statistic",
    span="unbounded, mostly -3 to 3; 0 for the benchmark itself",
    source="Blitz, Huij and Martens, Residual Momentum (2011), with the benchmark as the only factor",
)
def residual_momentum(state: State, close: Bar, benchmark: Bar, n: int = 96) -> float:
    """Momentum that the benchmark does not explain.

    0.0 where it explains every return, but for rounding.
    """
    mx, my, xx, xy, yy = comoments(state, 2, returns(state, 0, benchmark), returns(state, 1, close), n)
    slope = ratio(xy, xx, 0.0)
    residual = yy - slope * xy
    noise = sqrt(max(residual, 0.0))
    return choose(residual <= ROUNDING * yy, 0.0, ratio(n * (my - slope * mx), noise, 0.0))


@factor(
    family=FAMILY,
    formula="rank of roc(n) among all symbols",
    unit="rank",
    span="0 the weakest to 1 the strongest",
    source="cross-sectional momentum",
)
def relative_strength_rank(n: int = 96) -> Expr:
    """Rank of the rate of change.

    NaN while the symbol's own is not known.
    """
    return roc(n).rank()


@factor(
    family=FAMILY,
    formula="share of the symbols whose close is above EMA(n)",
    unit="share of the symbols",
    span="0 to 1, the same for all symbols of a bar",
    source="market breadth",
)
def breadth(n: int = 50) -> Expr:
    """Share of symbols above their average.

    Symbols whose average is not known yet do not count; NaN where none is.
    """
    return (ema_distance(n) > 0.0).mean()
