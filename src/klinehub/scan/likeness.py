"""Likeness: what came after scores like this one, as history has it, and whether that is enough to go by.

1. A calibration parts the scores of a screen's hits over a range of history into buckets, and says of each
   what came after its hits. A score belongs to one bucket; the outermost ones have no end.
2. What only cuts a screen's hits down (how many, how large a score, which side, which symbols) makes no other
   screen of it. One that was never judged is known by its score, where that was judged alone.
3. What is too thin to go by, or is not there, is said in words.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from klinehub.scan.scanner import ScanResult
from klinehub.scan.screen import Screen

# Fewer hits, or hits of fewer days, are too few to conclude anything from.
FEWEST_HITS: Final = 100
FEWEST_DAYS: Final = 30
# Screens whose kin is kept, for the next scan of them.
_KEPT: Final = 256
NEVER: Final = "no screen was calibrated on history: `klinehub evidence calibrate` does it"


class Outcome(msgspec.Struct, frozen=True):
    """What came after *n* hits over so many *bars*: the median forward return, as a share (0.01 is 1 %).

    `interval` is where the true median lies with 95 %, None where nothing can be said. `hit_rate` is the
    share of returns that went the score's way: up after one above 0, down after one below.
    """

    bars: int
    n: int
    median: float | None
    interval: tuple[float, float] | None
    hit_rate: float | None


class Bucket(msgspec.Struct, frozen=True):
    """Hits with scores from *low* up to *high*, None where that end is open: how many, on how many days."""

    low: float | None
    high: float | None
    n: int
    days: int
    outcomes: tuple[Outcome, ...]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What came after the hits of a screen on a range of history, [start, end) ms UTC.

    `hash` tells the screen without what only cuts its hits down, `code` klinehub, `data` the bars, `universe`
    who was in it; `made` is when (ms UTC). Buckets are lowest first; a screen without a score has one.
    """

    screen: str
    hash: str
    timeframe: str
    start: int
    end: int
    bars: int
    symbols: int
    data: str
    code: str
    universe: str
    made: int
    buckets: tuple[Bucket, ...]


class Likeness(msgspec.Struct, frozen=True):
    """What a hit carries: what came after *n* scores like this of *screen*, on *days* days from start to end.

    `low` and `high` say which scores are like this, None where open. `thin` says in words why that is not
    enough to go by, and is empty where it is.
    """

    screen: str
    n: int
    days: int
    low: float | None
    high: float | None
    start: int
    end: int
    outcomes: tuple[Outcome, ...]
    thin: str = ""


class Found(NamedTuple):
    """The likeness of each hit by its symbol, or in words why there is none."""

    hits: Mapping[str, Likeness]
    lacking: str = ""


@lru_cache(_KEPT)
def kin_of(screen: Screen) -> tuple[str, ...]:
    """Give the hashes by which calibrations of a screen are known, the nearest first; takes 0.7 ms once."""
    own = screen.uncut.hash
    if not screen.score or screen.where is None:
        return (own,)
    return (own, msgspec.structs.replace(screen.uncut, where=None).hash)


class Calibrations(msgspec.Struct, frozen=True):
    """Calibrations of several screens, as a file has them."""

    screens: tuple[Calibration, ...] = ()

    def of(self, screen: Screen, timeframe: str) -> Calibration | None:
        """Give the calibration of a screen or, where it has none, that of its score."""
        known = {one.hash: one for one in self.screens if one.timeframe == timeframe}
        return next((known[one] for one in kin_of(screen) if one in known), None) if known else None

    def lacking(self, screen: str, timeframe: str) -> str:
        """Say why a screen of this name has no calibration here."""
        if not self.screens:
            return NEVER
        named = [one for one in self.screens if one.screen == screen]
        if any(one.timeframe == timeframe for one in named):
            return f"{screen} was calibrated as another version of it: calibrate it again"
        if named:
            frames = ", ".join(one.timeframe for one in named)
            return f"{screen} was calibrated on {frames} bars, not on {timeframe} ones"
        return f"{screen} was never calibrated: `klinehub evidence calibrate {screen}` does it"

    def merged(self, new: Iterable[Calibration]) -> "Calibrations":
        """Give these with *new* ones in the place of those of the same names and timeframes."""
        found = {(one.screen, one.timeframe): one for one in (*self.screens, *new)}
        return Calibrations(tuple(found[key] for key in sorted(found)))


def like(calibration: Calibration, score: float | None) -> Bucket | None:
    """Give the bucket that a score belongs to; hits of a screen without a score have none, and one bucket."""
    place = _place(_edges(calibration), score)
    return calibration.buckets[place] if calibration.buckets and place is not None else None


def _edges(calibration: Calibration) -> list[float]:
    """Give where one bucket ends and the next begins."""
    return [bucket.high for bucket in calibration.buckets[:-1] if bucket.high is not None]


def _place(edges: list[float], score: float | None) -> int | None:
    """Give the place of a score's bucket; None for a score that is not known, where there are several."""
    if not edges:
        return 0
    return None if score is None or math.isnan(score) else bisect_right(edges, score)


def likeness_of(calibration: Calibration, bucket: Bucket) -> Likeness:
    """Say of a bucket what its hits carry."""
    one = calibration
    return Likeness(
        *(one.screen, bucket.n, bucket.days, bucket.low, bucket.high, one.start, one.end, bucket.outcomes),
        thin=thinness(bucket.n, bucket.days),
    )


def likeness(calibrations: Calibrations, screen: Screen, score: float | None) -> Likeness | None:
    """Say what came after scores like this of a screen; None where nothing is known of it."""
    one = calibrations.of(screen, screen.timeframe or "")
    bucket = None if one is None else like(one, score)
    return None if one is None or bucket is None else likeness_of(one, bucket)


def likenesses(calibrations: Calibrations, screen: Screen, result: ScanResult) -> Found:
    """Say of each hit of a screen's result what came after scores like its own."""
    one = calibrations.of(screen, result.timeframe)
    if one is None:
        return Found({}, calibrations.lacking(result.screen, result.timeframe))
    if not one.buckets:
        return Found({}, f"{one.screen} had no hits in the time it was calibrated on")
    edges, carried = _edges(one), [likeness_of(one, bucket) for bucket in one.buckets]
    places = ((hit.symbol, _place(edges, hit.score)) for hit in result.results)
    return Found({symbol: carried[place] for symbol, place in places if place is not None})


def thinness(hits: int, days: int) -> str:
    """Say why so many hits on so many days are not enough to go by; empty where they are."""
    if hits >= FEWEST_HITS and days >= FEWEST_DAYS:
        return ""
    return f"thin: {hits:,} hit{'s' * (hits != 1)} on {days} day{'s' * (days != 1)}"


def middle(outcomes: Sequence[Outcome]) -> Outcome:
    """Give the horizon that is told where there is room for one."""
    return outcomes[len(outcomes) // 2]


def line(found: Likeness) -> str:
    """Write in a line what came after scores like this."""
    one = middle(found.outcomes)
    if one.median is None:
        return f"nothing is known of what came after ({found.thin or 'no returns'})"
    rate = "" if one.hit_rate is None else f", {one.hit_rate:.0%} went its way"
    days = "..".join(day(time) for time in (found.start, found.end - 1))
    thin = f" ({found.thin})" if found.thin else ""
    return f"{percent(one.median)} median over {one.bars} bars{ends(one)}{rate}, n {one.n:,}, {days}{thin}"


def percent(share: float) -> str:
    """Write a return."""
    # What is rounded to nothing has no sign of its own.
    return f"{round(share, 4) + 0.0:+.2%}"


def ends(one: Outcome) -> str:
    """Write between which ends a median lies, after a space; empty where nothing can be said."""
    if one.interval is None:
        return ""
    low, high = (100.0 * end for end in one.interval)
    return f" [{low:+.2f}, {high:+.2f}]"


def day(time: int) -> str:
    """Write the day (UTC) of a time in ms."""
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d")
