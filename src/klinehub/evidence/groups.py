"""Groups: parts of the bars and of the symbols on which a score may be worth more or less.

Each is made of what was known at the bar: the benchmark's past, the hour, and turnover up to then.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from klinehub.domain.timeframe import DAY
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64, I64

_HOUR: Final = 3_600_000
_HOURS: Final = 24
# Days over which the benchmark's trend and the usual size of its moves are taken.
_WEEK: Final = 7
TIERS: Final = ("large", "middle", "small")


def regimes(closes: F64, length: int) -> Iterator[tuple[str, Flags]]:
    """Part bars by the benchmark's *closes*: over or under a week ago, and wilder than its month or calmer.

    *length* is a bar's in ms. Bars before there is a past to compare with are in no part.
    """
    day = max(1, DAY // length)
    with np.errstate(all="ignore"):
        moves = np.diff(np.log(closes), prepend=np.nan)
    rising = _compared(closes, _lagged(closes, _WEEK * day))
    wild = _rolling(moves, day)
    usual = _rolling(moves, 4 * _WEEK * day)
    wilder = _compared(wild, usual)
    for name, flag in (("rising", 1.0), ("falling", 0.0)):
        for other, size in (("wild", 1.0), ("calm", 0.0)):
            yield f"{name}, {other}", (rising == flag) & (wilder == size)


def hours(times: I64) -> Iterator[tuple[str, Flags]]:
    """Part bars by the UTC hour in which they close, from their closes in ms."""
    at = (times // _HOUR) % _HOURS
    for hour in sorted(set(at.tolist())):
        yield f"{hour:02d}:00", at == hour


def tiers(turnover: F64, members: Flags, length: int) -> Iterator[tuple[str, Flags]]:
    """Part the members of each bar in three by their turnover of the last day: [bars, symbols]."""
    day = max(1, DAY // length)
    summed = np.cumsum(np.nan_to_num(turnover), axis=0)
    last = summed.copy()
    last[day:] -= summed[:-day]
    amounts = np.where(members, last, np.nan)
    counts = np.count_nonzero(members, axis=1)[:, None]
    places = np.argsort(np.argsort(-np.nan_to_num(amounts, nan=-1.0), axis=1, kind="stable"), axis=1)
    for tier, name in enumerate(TIERS):
        within = (places >= counts * tier / len(TIERS)) & (places < counts * (tier + 1) / len(TIERS))
        yield name, members & within


def _lagged(values: F64, bars: int) -> F64:
    out = np.full(values.size, np.nan)
    out[bars:] = values[:-bars] if bars < values.size else values[:0]
    return out


def _rolling(moves: F64, bars: int) -> F64:
    """Give the root mean square of the last *bars* moves, NaN before there are as many."""
    squares = np.cumsum(np.nan_to_num(moves) ** 2)
    before = np.concatenate((np.zeros(bars), squares[:-bars])) if bars < moves.size else np.zeros(moves.size)
    out: F64 = np.sqrt((squares - before) / bars)
    out[:bars] = np.nan
    return out


def _compared(a: F64, b: F64) -> F64:
    """Say where *a* is above *b*, NaN where one is unknown."""
    return np.where(np.isnan(a) | np.isnan(b), np.nan, a > b)
