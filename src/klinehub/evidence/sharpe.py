"""Sharpe ratios, and what is left of the best one when many were tried.

1. A portfolio's bars are summed to days: returns of neighbouring bars go together, those of days hardly.
2. The probabilistic Sharpe ratio (Bailey and Lopez de Prado, 2012) is the probability that the true one is
   above another, given the days, their skew and their tails.
3. The deflated one (2014) sets it against what the best of so many trials is to be expected to have when
   none is worth anything; the trials' own spread says how far apart they lie.
"""

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from klinehub.domain.timeframe import DAY
from klinehub.panel.memory import F64, I64

DAYS_A_YEAR: Final = 365
FEWEST_DAYS: Final = 20
_EULER: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


def daily(values: F64, times: I64) -> F64:
    """Sum values by the UTC day of their *times* (ms); days are in order."""
    _, day = np.unique(times // DAY, return_inverse=True)
    summed: F64 = np.bincount(day, weights=np.nan_to_num(values)).astype(np.float64)
    return summed


def sharpe(days: F64) -> float:
    """Give mean over deviation of days, not annualised; NaN for too few or where nothing varies."""
    if days.size < FEWEST_DAYS:
        return math.nan
    deviation = float(days.std(ddof=1))
    return float(days.mean()) / deviation if deviation > 0.0 else math.nan


def annual(ratio: float) -> float:
    """Give a daily Sharpe ratio as an annual one: markets that never close have 365 days."""
    return ratio * math.sqrt(DAYS_A_YEAR)


def error(days: F64) -> float:
    """Give the standard error of a daily Sharpe ratio, with the skew and the tails of its days."""
    ratio = sharpe(days)
    apart = (days - days.mean()) / days.std()
    skew, tails = float((apart**3).mean()), float((apart**4).mean())
    spread = max(1.0 - skew * ratio + (tails - 1.0) / 4.0 * ratio * ratio, 0.0)
    return math.sqrt(spread / (days.size - 1))


def probabilistic(days: F64, than: float = 0.0) -> float:
    """Give the probability that the true daily Sharpe ratio is above *than*, NaN where it can not be said."""
    ratio = sharpe(days)
    if not math.isfinite(ratio):
        return math.nan
    spread = error(days)
    return _NORMAL.cdf((ratio - than) / spread) if spread > 0.0 else math.nan


def expected_best(trials: int, spread: float) -> float:
    """Give the daily Sharpe ratio that the best of *trials* worthless ones is to be expected to have.

    *spread* is the deviation of the trials' ratios.
    """
    if trials < 2:
        return 0.0
    high = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    higher = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return spread * ((1.0 - _EULER) * high + _EULER * higher)


def deflated(days: F64, ratios: F64) -> float:
    """Give the probability that a portfolio is better than the best of worthless trials.

    *ratios* are the daily Sharpe ratios of all trials, this one among them. Where they do not tell how far
    worthless ones lie apart, the days' own error does.
    """
    known = ratios[np.isfinite(ratios)]
    if not math.isfinite(sharpe(days)):
        return math.nan
    own = 1.0 / math.sqrt(days.size)
    spread = max(float(known.std(ddof=1)), own) if known.size > 1 else own
    return probabilistic(days, expected_best(ratios.size, spread))
