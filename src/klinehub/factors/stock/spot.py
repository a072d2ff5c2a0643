"""Spot: what a contract costs beside its spot pair, and where of the two the trading is.

All of them are windows, as those of market data are: spot may begin later than the futures, and have holes.
"""

from typing import Final

from klinehub.factors.define import Window, factor
from klinehub.factors.steps import length, ratio

FAMILY: Final = "spot"
SPOT: Final = "the exchange's spot klines"
PERCENT: Final = 100.0


@factor(
    window=1,
    family=FAMILY,
    formula="(close / spot_close - 1) * 100",
    unit="% of the spot price",
    span="mostly -0.3 to 0.3; above 0 the contract costs more than spot",
    source=SPOT,
)
def spot_basis(close: Window, spot_close: Window) -> float:
    """Basis of the contract to spot.

    NaN without a spot pair, and where the pair's bar is not closed.
    """
    paid: float = close[-1] / spot_close[-1]
    return (paid - 1.0) * PERCENT


@factor(
    window=length,
    family=FAMILY,
    formula="sum of spot_quote_volume / sum of (spot_quote_volume + quote_volume), over n bars",
    unit="share",
    span="0 to 1, mostly 0.05 to 0.4",
    source=SPOT,
)
def spot_volume_share(quote_volume: Window, spot_quote_volume: Window, n: int = 96) -> float:
    """Share of spot in the turnover.

    0.0 where nothing was traded; NaN where the pair lacks one of the bars.
    """
    spot = both = 0.0
    for i in range(n):
        spot += spot_quote_volume[i]
        both += spot_quote_volume[i] + quote_volume[i]
    return ratio(spot, both, 0.0)


@factor(
    window=lambda n: length(n) + 1,
    family=FAMILY,
    formula="(s - f) / (s + f), of the surges s of spot_quote_volume and f of quote_volume, each against its "
    "mean of the n bars before",
    unit="share",
    span="-1 to 1; above 0 spot surges more than the contract",
    source="relative volume of both markets",
)
def spot_led_volume(quote_volume: Window, spot_quote_volume: Window, n: int = 96) -> float:
    """Volume led by spot.

    A surge is 1 where nothing was traded before. 0.0 where neither trades; NaN where the pair lacks one of
    the bars.
    """
    spot = future = 0.0
    for i in range(n):
        spot += spot_quote_volume[i]
        future += quote_volume[i]
    ours = ratio(quote_volume[-1], future / n, 1.0)
    theirs = ratio(spot_quote_volume[-1], spot / n, 1.0)
    return ratio(theirs - ours, theirs + ours, 0.0)
