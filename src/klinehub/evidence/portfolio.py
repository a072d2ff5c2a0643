"""A simple long-short portfolio of a score's quantiles: what is left of an edge after costs.

1. At each close half of the capital goes long the highest quantile, half short the lowest, equally weighted;
   a position is held for as many bars as asked, so that of each day's holdings one part is exchanged a bar.
2. What is decided at a close is traded at the next bar's open. A position of which no price is known brings
   nothing until there is one; who is delisted is left at the last close.
3. Each traded amount costs a fee and slippage. What prices moved the weights by in between is traded back.
4. Funding is paid on what is held when it is due, where rates were recorded; else none, and that is said.
5. Capital is the same at each bar: gains are not added to it, so that early bars weigh no more than late
   ones.
"""

from typing import Final, NamedTuple

import numpy as np

from klinehub.evidence.cross import I8
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64

# Of the capital, on each side.
SIDE: Final = 0.5
# A trade may be this share of what the bar turned over, and nine in ten traded amounts are to be that small.
SHARE: Final = 0.01
_NINE_IN_TEN: Final = 0.1


class Costs(NamedTuple):
    """What trading costs, as shares of the amount traded: 0.0005 is five basis points."""

    fee: float = 0.0005
    slippage: float = 0.0002

    @property
    def each(self) -> float:
        """What each traded amount costs."""
        return self.fee + self.slippage


class Booked(NamedTuple):
    """A portfolio by bar, as shares of its capital: what prices brought, and what trading and funding cost.

    `traded` is how much was traded, `unpriced` counts positions that had no price for a bar.
    """

    gross: F64
    costs: F64
    funding: F64
    traded: F64
    unpriced: int

    @property
    def net(self) -> F64:
        """What was left."""
        return self.gross - self.costs - self.funding


def weights_of(quantile: I8, bins: int, hold: int) -> F64:
    """Give what is held after each bar's close [bars, symbols], as shares of the capital."""
    bars = quantile.shape[0]
    target = _even(quantile == bins) - _even(quantile == 1)
    summed = np.cumsum(target, axis=0)
    held = summed.copy()
    held[hold:] -= summed[:-hold]
    # The first holdings are built up one part a bar.
    return held / hold if bars > hold else held / max(1, min(hold, bars))


def _even(inside: Flags) -> F64:
    """Part one side's capital among those inside; where nobody is, nothing is held."""
    counts = np.count_nonzero(inside, axis=1)
    each = np.divide(SIDE, counts, out=np.zeros(counts.size), where=counts > 0)
    held: F64 = inside * each[:, None]
    return held


def booked(weights: F64, returns: F64, costs: Costs, funding: F64 | None = None) -> Booked:
    """Book a portfolio: *weights* held through the bar after each [bars, symbols], and its *returns*.

    *funding* are the rates due in that bar, paid by longs where positive.
    """
    known = np.isfinite(returns)
    moved = np.where(known, returns, 0.0)
    gross = (weights * moved).sum(axis=1)
    before = np.zeros_like(weights)
    before[1:] = weights[:-1] * (1.0 + moved[:-1])
    traded = np.abs(weights - before).sum(axis=1)
    paid = np.zeros(gross.size) if funding is None else (weights * np.nan_to_num(funding)).sum(axis=1)
    unpriced = int(np.count_nonzero((weights != 0.0) & ~known))
    return Booked(gross, traded * costs.each, paid, traded, unpriced)


def drawdown(net: F64) -> F64:
    """Give how far the summed gains lie below their highest at each bar, 0 or less."""
    summed = np.cumsum(net)
    found: F64 = summed - np.maximum(np.maximum.accumulate(summed), 0.0)
    return found


def capacity(weights: F64, turnover: F64) -> float:
    """Give the capital, in the quote asset, at which nine in ten trades are at most a hundredth of a bar.

    *turnover* [bars, symbols] is that of the bar in which it is traded; NaN where nothing can be said.
    """
    amounts = np.abs(np.diff(weights, axis=0))
    bar = turnover[1:]
    counts = (amounts > 0.0) & np.isfinite(bar)
    if not counts.any():
        return float("nan")
    return float(np.quantile(SHARE * bar[counts] / amounts[counts], _NINE_IN_TEN))
