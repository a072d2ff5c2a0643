"""Series: what a report draws of a study's figures by bar: rolling means, gains by day, month and symbol."""

from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.timeframe import DAY
from klinehub.evidence.intervals import FEWEST, newey_west
from klinehub.evidence.portfolio import Booked, drawdown
from klinehub.evidence.sharpe import daily
from klinehub.evidence.study import Study
from klinehub.panel.memory import F64, I64

# Points of a line: a picture has no more pixels.
POINTS: Final = 400
_WINDOWS: Final = 120
_WINDOW_DAYS: Final = 30
_PARTS: Final = 4
# A shorter range is laid out by weeks.
_FEW_DAYS: Final = 100
_STRONG: Final = 0.95
_WEEKDAYS: Final[tuple[str, ...]] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHDAYS: Final = tuple(map(str, range(1, 32)))


class Rolling(NamedTuple):
    """Means over the last *window* bars with the ends of their intervals, at *times* (ms UTC)."""

    window: int
    times: I64
    means: F64
    lows: F64
    highs: F64


class Equity(NamedTuple):
    """Summed gains as shares of the capital before and after costs, and how far *net* lies below its high."""

    times: I64
    gross: F64
    net: F64
    drawdown: F64


class Calendar(NamedTuple):
    """Days with their gains: the row and the column of each, and what the rows and the columns are called.

    `most` is the gain or loss that is as strong as is shown: nineteen in twenty days have less.
    """

    rows: I64
    columns: I64
    gains: F64
    names: tuple[str, ...]
    heads: tuple[str, ...]
    most: float


def rolling_ic(study: Study) -> Rolling | None:
    """Give the headline's mean rank IC of a month, or a quarter of a shorter range; None for too few bars."""
    evidence = study.evidence
    ics, times = study.crosses[evidence.headline].rank_ic, study.times
    length = (evidence.range[1] - evidence.range[0]) // max(1, ics.size)
    # Before the first there is nothing to be the mean of.
    first = int(np.argmax(np.isfinite(ics)))
    ics, times = ics[first:], times[first:]
    window = max(FEWEST, min(_WINDOW_DAYS * DAY // length, ics.size // _PARTS))
    if ics.size < 2 * window:
        return None
    at = np.unique(np.linspace(window, ics.size, _WINDOWS).astype(int))
    found = [newey_west(ics[end - window : end], evidence.headline) for end in at]
    means, lows, highs = (np.array([one[part] for one in found]) for part in range(3))
    return Rolling(window, times[at - 1], means, lows, highs) if np.isfinite(means).any() else None


def equity(times: I64, booked: Booked) -> Equity:
    """Sum gains up; of a long range each point is the end of a stretch, with the deepest drawdown in it."""
    parts = min(POINTS, times.size)
    starts = np.unique(np.linspace(0, times.size, parts, endpoint=False).astype(int))
    ends = np.append(starts[1:], times.size) - 1
    gross, net = np.cumsum(booked.gross)[ends], np.cumsum(booked.net)[ends]
    return Equity(times[ends], gross, net, np.minimum.reduceat(drawdown(booked.net), starts))


def by_symbol(study: Study) -> list[tuple[str, float]]:
    """Give what each symbol that was held brought before costs, as a share of the capital, the most first."""
    held = (study.weights != 0.0).any(axis=0)
    gains = (study.weights * np.nan_to_num(study.returns)).sum(axis=0)
    found = [(study.symbols[row], float(gains[row])) for row in np.flatnonzero(held)]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def by_day(times: I64, net: F64) -> tuple[I64, F64]:
    """Give the UTC days (ms at which they begin), and the sum of each."""
    return np.unique(times // DAY) * DAY, daily(net, times)


def by_month(days: I64, gains: F64) -> list[tuple[str, float, int, int]]:
    """Give months (2025-01), the sum of each, how many of its days gained, and how many it has."""
    names = days.astype("datetime64[ms]").astype("datetime64[M]").astype(str)
    return [
        (str(name), float(gains[at].sum()), int((gains[at] > 0.0).sum()), int(at.sum()))
        for name in np.unique(names)
        for at in [names == name]
    ]


def calendar(days: I64, gains: F64) -> Calendar | None:
    """Lay days (ms) out by month and day, a short range by week and weekday; None where none brought any."""
    sizes = np.abs(gains[gains != 0.0])
    if not sizes.size:
        return None
    most = float(np.quantile(sizes, _STRONG))
    at = days.astype("datetime64[ms]").astype("datetime64[D]")
    if at[-1] - at[0] < _FEW_DAYS:
        # The first day of all was a Thursday; weeks begin on Mondays.
        columns = (at.astype(np.int64) + 3) % len(_WEEKDAYS)
        begins, heads = at - columns, _WEEKDAYS
    else:
        begins, heads = at.astype("datetime64[M]"), _MONTHDAYS
        columns = (at - begins.astype("datetime64[D]")).astype(np.int64)
    names, rows = np.unique(begins, return_inverse=True)
    return Calendar(rows, columns, gains, tuple(map(str, names)), heads, most)
