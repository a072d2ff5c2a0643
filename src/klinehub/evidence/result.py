"""Results: what a study found, as it is told: figures with their intervals, and where they are from.

None stands for what can not be said; no figure is NaN. Intervals are of 95 %. Times are ms UTC, returns
shares (0.01 is one percent).
"""

import math
from collections.abc import Mapping

import msgspec

from klinehub.evidence.intervals import Interval

Span = tuple[float, float]


class Horizon(msgspec.Struct, frozen=True, kw_only=True):
    """What came after scores over so many *bars*.

    `ic` is the mean over bars of the correlation of scores and returns, `rank_ic` that of their ranks; `n`
    counts the pairs, over `counted` bars. `quantiles` are mean returns beyond the bar's mean, lowest scores
    first, `spread` is half of the highest less half of the lowest. `hit_rate` is the share of `hits` whose
    return was on their score's side. `turnover` is the share of an outer quantile's symbols that were not in
    it a horizon before. `delisted` returns ended with a delisting.
    """

    bars: int
    ic: float | None
    ic_interval: Span | None
    rank_ic: float | None
    rank_ic_interval: Span | None
    quantiles: tuple[float | None, ...]
    spread: float | None
    spread_interval: Span | None
    hit_rate: float | None
    hit_rate_interval: Span | None
    hits: int
    turnover: float | None
    n: int
    counted: int
    delisted: int


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The same measured on a part of the bars or of the symbols, at the headline's horizon."""

    name: str
    counted: int
    rank_ic: float | None
    rank_ic_interval: Span | None
    spread: float | None


class Portfolio(msgspec.Struct, frozen=True, kw_only=True):
    """A long-short portfolio of the outer quantiles, held for `hold` bars; see `portfolio`.

    `gross`, `costs`, `funding` and `net` are shares of the capital a year; `funding` is None without rates.
    `turnover` is how often the capital is traded a day, `drawdown` the deepest, `capacity` in the quote
    asset; `unpriced` positions had no price for a bar.
    """

    hold: int
    fee: float
    slippage: float
    gross: float | None
    costs: float | None
    funding: float | None
    net: float | None
    sharpe: float | None
    sharpe_interval: Span | None
    drawdown: float
    turnover: float | None
    capacity: float | None
    unpriced: int
    days: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What prices did around a side's new hits: mean returns beyond the market's, summed up from the hit on.

    `path` is by `offsets` in bars, 0 is the open after the hit.
    """

    side: str
    hits: int
    offsets: tuple[int, ...]
    path: tuple[float | None, ...]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a screen was worth on a range of history.

    `hash` and `version` tell the screen, `code` klinehub, `data` the bars; the same ones give the same bytes,
    but for `seconds` and what the log of trials knows. `headline` is the horizon that the verdict is of.
    `folds` are stretches of the range one after the other.
    """

    screen: str
    hash: str
    version: int
    code: str
    data: str
    source: str
    timeframe: str
    universe: str
    bars: int
    symbols: int
    range: tuple[int, int]
    headline: int
    horizons: Mapping[str, Horizon]
    folds: tuple[Group, ...]
    regimes: tuple[Group, ...]
    tiers: tuple[Group, ...]
    hours: tuple[Group, ...]
    events: tuple[Event, ...]
    portfolio: Portfolio
    trials: int
    deflated_sharpe: float | None
    verdict: str
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def number(value: float) -> float | None:
    """Give a number that can be told, None for one that says nothing."""
    return float(value) if math.isfinite(value) else None


def span(interval: Interval) -> Span | None:
    """Give an interval's ends, None where there are none."""
    ends = (interval.low, interval.high)
    return ends if all(map(math.isfinite, ends)) else None
