"""Calibration: what came after the hits of a screen, by how large their scores were.

1. Every closed bar of the range is held against the screen without what only cuts its hits down.
2. Hits are parted by the quantiles of their scores: ten parts, of the lowest and the highest of which the
   outermost hundredth is a part of its own. With fewer hits there are fewer parts.
3. Of each part, for each horizon: the median forward return from the next bar's open on, with an interval
   from draws of whole days, and the share of returns that went the score's way.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.timeframe import DAY, Timeframe
from klinehub.evidence.forward import Prices, forward_returns, prices_in
from klinehub.evidence.intervals import median_interval
from klinehub.evidence.members import Members
from klinehub.evidence.pools import ALONE, Pool, Progress
from klinehub.evidence.replay import Replayed, replay
from klinehub.evidence.result import number, span
from klinehub.evidence.tape import Tape
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64, I64
from klinehub.scan.likeness import FEWEST_HITS, Bucket, Calibration, Outcome
from klinehub.scan.screen import Screen

PARTS: Final = 10
# What each of the two ends has as a part of its own.
END: Final = 0.01
# Figures are told to so many significant digits: more than they hold.
_DIGITS: Final = 5


class Source(NamedTuple):
    """Who calibrates: the version of klinehub, and when (ms UTC)."""

    code: str
    made: int


class _Hits(NamedTuple):
    """The hits of a range, one after the other: their bars, symbols' rows, values and days."""

    bars: I64
    rows: I64
    values: F64
    days: I64


def calibration(
    screen: Screen,
    tape: Tape,
    start: int,
    end: int,
    *,
    horizons: Sequence[int],
    members: Members,
    source: Source,
    rng: np.random.Generator,
    pool: Pool = ALONE,
    progress: Progress = lambda _: None,
) -> Calibration:
    """Say what came after a screen's hits in [start, end) ms UTC of a tape; raises what `replay` does."""
    whole = screen.uncut
    replayed = replay(whole, tape, start, end, pool=pool, progress=progress)
    panel, first, bars = tape.panels[replayed.timeframe], replayed.first, replayed.bars
    frame = panel.timeframe
    inside = members.of(panel, first, bars)
    return Calibration(
        screen=screen.name,
        hash=whole.hash,
        timeframe=frame.name,
        start=frame.open_time(first),
        end=frame.close_time(first + bars - 1) + 1,
        bars=bars,
        symbols=int(np.count_nonzero((inside & replayed.judged).any(axis=0))),
        data=tape.fingerprint(),
        code=source.code,
        universe=members.how,
        made=source.made,
        buckets=tuple(buckets(replayed, frame, prices_in(panel, first, bars), inside, horizons, rng)),
    )


def buckets(
    replayed: Replayed,
    frame: Timeframe,
    prices: Prices,
    members: Flags,
    horizons: Sequence[int],
    rng: np.random.Generator,
) -> Iterator[Bucket]:
    """Part the hits of *members* by their scores, lowest first, and say of each part what came after."""
    hits = _hits(replayed, frame, members)
    if not hits.values.size:
        return
    scored = bool(replayed.screen.score)
    edges = edges_of(hits.values) if scored else np.empty(0)
    returns = [forward_returns(prices, bars)[hits.bars, hits.rows] for bars in horizons]
    # What went the score's way has this sign.
    ways = np.sign(hits.values) if scored else np.ones(hits.values.size)
    part = np.searchsorted(edges, hits.values, side="right")
    ends = [None, *edges.tolist(), None]
    for place, (low, high) in enumerate(pairwise(ends)):
        at = part == place
        days = hits.days[at]
        outcomes = [
            _outcome(bars, after[at], days, ways[at], rng)
            for bars, after in zip(horizons, returns, strict=True)
        ]
        yield Bucket(low, high, int(days.size), int(np.unique(days).size), tuple(outcomes))


def edges_of(values: F64) -> F64:
    """Give the inner edges of the parts of some scores; each part has enough of them, where that can be."""
    parts = int(np.clip(values.size // FEWEST_HITS, 1, PARTS))
    shares = np.linspace(0.0, 1.0, parts + 1)[1:-1]
    if values.size * END >= FEWEST_HITS:
        shares = np.concatenate(([END], shares, [1.0 - END]))
    edges = np.unique(np.quantile(values, shares, method="lower")) if shares.size else np.empty(0)
    # Edges are scores that there were, so that no part is empty; below the lowest there is nothing.
    found: F64 = edges[edges > values.min()]
    return found


def _hits(replayed: Replayed, frame: Timeframe, members: Flags) -> _Hits:
    bars, rows = np.nonzero(replayed.hits & members)
    opened = np.array([frame.open_time(replayed.first + bar) for bar in range(replayed.bars)], np.int64)
    return _Hits(bars, rows, replayed.values[bars, rows], (opened // DAY)[bars])


def _outcome(bars: int, returns: F64, days: I64, ways: F64, rng: np.random.Generator) -> Outcome:
    """Say what came after some hits over so many bars."""
    known = np.isfinite(returns)
    after = returns[known]
    middle = median_interval(after, days[known], rng)
    ends = span(middle)
    rate = float(np.mean(after * ways[known] > 0.0)) if after.size else np.nan
    return Outcome(
        bars,
        middle.n,
        _told(number(middle.mean)),
        None if ends is None else (_short(ends[0]), _short(ends[1])),
        _told(number(rate)),
    )


def _told(value: float | None) -> float | None:
    return None if value is None else _short(value)


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
