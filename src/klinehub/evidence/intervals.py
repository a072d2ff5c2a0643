"""Intervals: how far a mean may be from what is true, where neighbouring bars say much the same.

1. Returns over h bars overlap with those of the h - 1 bars before, and markets have long moods: bars are
   no independent draws. The variance of the mean is Newey and West's (1987), with Bartlett's weights.
2. As many lags as there are overlapping bars leave a third of that variance out, so three times as many are
   taken, and at least Newey and West's automatic number (1994), 4 (n / 100) ^ (2 / 9).
3. With that many lags the normal distribution is too narrow. The critical value is that of Kiefer and
   Vogelsang (2005) for Bartlett's weights with a share b of the bars as lags.
4. The interval of a median comes from a bootstrap over blocks of whole days, since all hits of a day go
   with the market together.
"""

from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from klinehub.panel.memory import F64, I64

LEVEL: Final = 0.95
# Fewer bars than this give no interval.
FEWEST: Final = 30
# Kiefer and Vogelsang's polynomial of the critical value at 97.5 %, for Bartlett's weights.
_CRITICAL: Final = (1.9600, 2.9694, 0.4160, -0.5324)
_OVERLAPS: Final = 3
_MOST_SHARE: Final = 0.5


class Interval(NamedTuple):
    """A mean with where it lies with a probability of 95 %, NaN where nothing can be said; *n* numbers."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def says(self) -> bool:
        """Whether zero is outside: what was measured is more than chance makes."""
        return self.low > 0.0 or self.high < 0.0


def newey_west(values: F64, overlap: int = 1, *, level: float = LEVEL) -> Interval:
    """Give the mean of a series and its interval; NaN are left out. *overlap* is the horizon in bars."""
    known = values[np.isfinite(values)]
    if known.size == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(known.mean())
    if known.size < FEWEST:
        return Interval(mean, np.nan, np.nan, known.size)
    lags = lags_of(known.size, overlap)
    half = critical(lags / known.size, level) * float(np.sqrt(long_run(known - mean, lags) / known.size))
    return Interval(mean, mean - half, mean + half, known.size)


def lags_of(count: int, overlap: int) -> int:
    """Give how many lags of a series of so many bars are weighed."""
    automatic = int(4.0 * (count / 100.0) ** (2.0 / 9.0))
    return max(1, min(max(automatic, _OVERLAPS * (overlap - 1)), int(_MOST_SHARE * count)))


def long_run(apart: F64, lags: int) -> float:
    """Give the long-run variance of distances to a mean, by Bartlett's weights on *lags* lags."""
    variance = float(apart @ apart)
    for lag in range(1, lags + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float(apart[lag:] @ apart[:-lag])
    return max(variance, 0.0) / apart.size


def critical(share: float, level: float = LEVEL) -> float:
    """Give how many standard errors an interval reaches, with a *share* of the bars as lags."""
    usual = sum(term * share**power for power, term in enumerate(_CRITICAL))
    # The polynomial is known at 95 %; other levels are widened as the normal distribution's are.
    normal = NormalDist()
    return usual * normal.inv_cdf(0.5 + level / 2.0) / normal.inv_cdf(0.5 + LEVEL / 2.0)


def median_interval(
    values: F64, blocks: I64, rng: np.random.Generator, *, draws: int = 500, bins: int = 1_000
) -> Interval:
    """Give the median of values and its interval, drawing whole *blocks* (a number for each value) anew.

    Values are sorted into *bins* of equal count first, so that a draw is a sum of histograms: the interval's
    ends are values at the edges of these bins.
    """
    if values.size == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    ordered = np.sort(values)
    middle = float(np.median(ordered))
    block = blocks - blocks.min()
    sizes = np.bincount(block)
    if np.count_nonzero(sizes) < FEWEST:
        return Interval(middle, np.nan, np.nan, values.size)
    count = min(bins, values.size)
    edges = np.interp(np.linspace(0, values.size - 1, count + 1), np.arange(values.size), ordered)
    at = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, count - 1)
    counts = np.bincount(block * count + at, minlength=sizes.size * count)
    tables = counts.reshape(sizes.size, count)[sizes > 0].astype(np.float64)
    names = len(tables)
    drawn = rng.multinomial(names, np.full(names, 1.0 / names), size=draws).astype(np.float64)
    summed = np.cumsum(drawn @ tables, axis=1)
    place = np.argmax(summed >= summed[:, -1:] / 2.0, axis=1)
    medians = (edges[place] + edges[place + 1]) / 2.0
    low, high = np.quantile(medians, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0])
    return Interval(middle, float(low), float(high), values.size)
