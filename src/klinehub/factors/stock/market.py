"""Market data: what is told beside the klines: funding, the basis of mark to index, open interest.

All of them are windows: what is told begins when a hub does, and a window's value does not depend on that.
"""

from math import sqrt
from typing import Final

from klinehub.factors.define import Window, factor
from klinehub.factors.expr import Expr, field
from klinehub.factors.steps import ROUNDING, length

FAMILY: Final = "market"
TOLD: Final = "the exchange's mark prices"
PERCENT: Final = 100.0
# Fundings of 8 hours in a year of 365 days.
A_YEAR: Final = 3.0 * 365.0


@factor(
    window=1,
    family=FAMILY,
    formula="funding_rate * 100, the rate of the next funding per 8 hours",
    unit="% per 8 hours",
    span="-2 to 2 on most symbols, mostly 0.005 to 0.01; above 0 longs pay shorts",
    source=TOLD,
)
def funding(funding_rate: Window) -> float:
    """Funding rate.

    NaN where none was told in the bar, and for a contract without funding.
    """
    rate: float = funding_rate[-1]
    return rate * PERCENT


@factor(
    window=1,
    family=FAMILY,
    formula="funding_rate * 3 * 365 * 100, not compounded",
    unit="% a year",
    span="mostly -50 to 50; 10.95 is the usual 0.01 % per 8 hours",
    source=TOLD,
)
def funding_annual(funding_rate: Window) -> float:
    """Funding rate of a year.

    NaN where none was told in the bar, and for a contract without funding.
    """
    rate: float = funding_rate[-1]
    return rate * A_YEAR * PERCENT


@factor(
    window=lambda n: length(n, 2),
    family=FAMILY,
    formula="(funding_rate - mean) / deviation, of n bars with this one",
    unit="standard deviations",
    span="-sqrt(n - 1) to sqrt(n - 1)",
    source="z-score, population deviation",
)
def funding_z(funding_rate: Window, n: int = 96) -> float:
    """Funding rate against its own past.

    0.0 where it never changed; NaN where it was not told in one of the bars.
    """
    mean = 0.0
    for value in funding_rate:
        mean += value
    mean /= n
    square = 0.0
    for value in funding_rate:
        square += (value - mean) * (value - mean)
    spread = sqrt(square / n)
    return 0.0 if spread <= ROUNDING * abs(mean) else (funding_rate[-1] - mean) / spread


@factor(
    family=FAMILY,
    formula="rank of funding among all symbols",
    unit="rank",
    span="0 the lowest to 1 the highest",
    source=TOLD,
)
def funding_rank() -> Expr:
    """Rank of the funding rate.

    NaN while the symbol's own is not known.
    """
    return funding().rank()


@factor(
    window=1,
    family=FAMILY,
    formula="(mark_price / index_price - 1) * 100",
    unit="% of the index",
    span="mostly -0.2 to 0.2; above 0 the perpetual costs more than its index",
    source=TOLD,
)
def basis(mark_price: Window, index_price: Window) -> float:
    """Basis of mark to index.

    NaN where one of the two was not told in the bar.
    """
    ratio: float = mark_price[-1] / index_price[-1]
    return (ratio - 1.0) * PERCENT


@factor(
    window=lambda n: length(n) + 1,
    family=FAMILY,
    formula="(open_interest / open_interest n bars before - 1) * 100",
    unit="%",
    span="-100 and above, mostly -10 to 10",
    source="the exchange's open interest",
)
def open_interest_change(open_interest: Window, n: int = 4) -> float:
    """Change of the open interest.

    NaN where it was not told in one of the bars, as on bars shorter than it is asked for.
    """
    ratio: float = open_interest[-1] / open_interest[-1 - n]
    return (ratio - 1.0) * PERCENT


@factor(
    window=length,
    family=FAMILY,
    formula="sum of quote_volume, over n bars",
    unit="quote asset",
    span="0 and above",
    source="the exchange's klines",
)
def turnover(quote_volume: Window, n: int = 96) -> float:  # noqa: ARG001 - the window's length
    """Turnover of n bars.

    0.0 where nothing was traded.
    """
    traded = 0.0
    for value in quote_volume:
        traded += value
    return traded


@factor(
    family=FAMILY,
    formula="open_interest * mark_price / turnover(n)",
    unit="turnovers of n bars",
    span="0 and above, mostly 0.1 to 2 for a day",
    source="open interest against volume",
)
def open_interest_turnover(n: int = 96) -> Expr:
    """Open interest against the turnover.

    NaN where one of the two was not told in the bar, and where nothing was traded.
    """
    return field("open_interest") * field("mark_price") / turnover(n)
