"""Forward returns: what was to be had after a bar had closed, from the next bar's open on.

1. A score is known when its bar has closed; the first price that can be had is the next bar's open.
2. After h bars it is left at an open again: open[t + 1 + h] / open[t + 1] - 1.
3. Who is delisted before is left at the last close that there was: to leave those out would flatter.
4. Unknown (NaN) is what lies beyond the range, a return over a hole, one from or to a price that is not
   above 0, and one of a thousandfold and more: no market does that, a wrong price or a renaming does.

Arrays are [bars, symbols]: what is done with returns is done bar by bar.
"""

from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.timeframe import DAY
from klinehub.evidence.replay import plane
from klinehub.factors.section import Flags
from klinehub.panel.history import History
from klinehub.panel.memory import F64, I64

_MOST: Final = 1_000.0


class Prices(NamedTuple):
    """Opens and closes [bars, symbols] of a range; *ended* is the last bar of each symbol that is delisted.

    It is the number of bars for those that are not: what trades at the end of the range may trade on.
    """

    opens: F64
    closes: F64
    ended: I64


def prices_of(opens: F64, closes: F64, *, grace: int) -> Prices:
    """Give the prices of a range; who has no bar in its last *grace* ones is delisted after the last it has.

    Recordings end at another bar for each symbol: one that lacks a few at the end trades on.
    """
    there = np.isfinite(closes)
    bars = closes.shape[0]
    last = bars - 1 - np.argmax(there[::-1], axis=0)
    gone = there.any(axis=0) & (last < bars - max(1, grace))
    return Prices(opens, closes, np.where(gone, last, bars))


def prices_in(panel: History, first: int, bars: int) -> Prices:
    """Give the prices of *bars* bars of a panel from absolute index *first* on, with a day of grace."""
    opens, closes = (plane(panel, name, first, bars) for name in ("open", "close"))
    return prices_of(opens, closes, grace=max(1, DAY // panel.timeframe.milliseconds))


def forward_returns(prices: Prices, horizon: int) -> F64:
    """Give the return over *horizon* bars from the next bar's open on: float64 [bars, symbols]."""
    bars, symbols = prices.opens.shape
    out = np.full((bars, symbols), np.nan)
    reach = bars - 1 - horizon
    if reach > 0:
        out[:reach] = _return(prices.opens[1 : reach + 1], prices.opens[1 + horizon :])
    for row in np.flatnonzero(prices.ended < bars):
        last = int(prices.ended[row])
        # Entered at an open that there was, and to be left behind the last bar; the range goes that far.
        first, end = max(0, last - horizon), min(last, reach)
        entry = prices.opens[first + 1 : end + 1, row]
        out[first:end, row] = _return(entry, np.full(entry.size, prices.closes[last, row]))
    return out


def next_returns(prices: Prices) -> F64:
    """Give what holding through bar t + 1 brought, from its open to the next one: see `forward_returns`."""
    return forward_returns(prices, 1)


def delisted_within(prices: Prices, horizon: int, held: Flags) -> int:
    """Count the returns of *held* [bars, symbols] that end with a delisting."""
    bars = np.arange(prices.opens.shape[0])[:, None]
    within = (bars < prices.ended) & (bars + 1 + horizon > prices.ended) & (bars + 1 + horizon < bars.size)
    return int(np.count_nonzero(within & held))


def _return(entry: F64, leave: F64) -> F64:
    """Give returns, unknown from or to a price that is none."""
    with np.errstate(all="ignore"):
        found = leave / entry - 1.0
    found[~((entry > 0.0) & (leave > 0.0) & (found < _MOST))] = np.nan
    return found
