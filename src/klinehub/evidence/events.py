"""Event studies: what prices did around hits, beyond what the market did meanwhile.

1. An event is a bar at which a symbol is a hit on a side and was none at the bar before.
2. The return of each bar around it is taken less the mean of all members at that bar.
3. Returns are summed from the open after the hit, backwards to what lay before it; their mean over events is
   taken at each offset, of those whose price is known there.
"""

from typing import Final, NamedTuple

import numpy as np

from klinehub.factors.section import Flags
from klinehub.panel.memory import F64, I64

BEFORE: Final = 24
AFTER: Final = 48


class Path(NamedTuple):
    """How many events there were, the offsets in bars, and the mean summed return at each."""

    events: int
    offsets: tuple[int, ...]
    means: F64


def beyond(returns: F64, members: Flags) -> F64:
    """Give returns [bars, symbols] less the mean of the bar's members."""
    known = members & np.isfinite(returns)
    counts = np.maximum(np.count_nonzero(known, axis=1), 1)
    means = np.where(known, returns, 0.0).sum(axis=1) / counts
    found: F64 = returns - means[:, None]
    return found


def new_hits(hits: Flags) -> Flags:
    """Give the hits that were none at the bar before; those of the first bar have no before."""
    new = np.zeros_like(hits)
    new[1:] = hits[1:] & ~hits[:-1]
    return new


def path(hits: Flags, apart: F64, *, before: int = BEFORE, after: int = AFTER) -> Path:
    """Give the mean path around new *hits* [bars, symbols] of one side, from what is *apart* of the market.

    apart[t] is what was to be had from the open after bar t to the next one.
    """
    bars, rows = np.nonzero(new_hits(hits))
    forwards = _summed(apart, bars, rows, range(after))
    backwards = _summed(apart, bars, rows, range(-1, -before - 1, -1))
    means = np.concatenate((-backwards[::-1], [0.0 if bars.size else np.nan], forwards))
    return Path(bars.size, tuple(range(-before, after + 1)), means)


def _summed(apart: F64, bars: I64, rows: I64, offsets: range) -> F64:
    """Give the mean over events of the sums up to each offset, of those that are known up to there."""
    sums, means = np.zeros(bars.size), np.full(len(offsets), np.nan)
    for place, offset in enumerate(offsets):
        at = bars + offset
        inside = (at >= 0) & (at < apart.shape[0])
        sums += np.where(inside, apart[np.clip(at, 0, apart.shape[0] - 1), rows], np.nan)
        known = sums[np.isfinite(sums)]
        if known.size:
            means[place] = known.mean()
    return means
