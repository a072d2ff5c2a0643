"""The exchange's time: how far its clock is ahead of ours, how sure that is, and when either has jumped.

1. The exchange tells its time at some moment between question and answer, so the offset lies in an
   interval as wide as the round trip: for certain, however unevenly the trip was split.
2. Intervals are intersected, each widened with its age by what clocks drift. A slow answer therefore
   never makes a good estimate worse.
3. Two intervals that exclude each other prove that a clock was set, or that one answer lied (a stale copy,
   another server). The first cannot tell which, however short its trip was: until the next one decides,
   the bounds hold both. Two that agree against the old one are a jump.
4. `Date` headers, event times and timers that come late cost nothing. They are too coarse to measure
   with, and good enough to see that it is time to ask.

All times are ms; "ours" is the raw clock without any offset. Bars are proven closed by `earliest` only.
"""

import math
from enum import Enum
from typing import Final, NamedTuple, Self

# Two quartz clocks part by less than this share of the time, even while one of them is being slewed.
DRIFT: Final = 200e-6
# A clock shows whole ms and cuts the rest off.
CUT: Final = 1
# A `Date` header shows whole seconds.
SECOND: Final = 1_000
# Evidence that costs nothing has to contradict the estimate by this much.
TOLERANCE: Final = 1_000
# A timer later than this was held up by more than load: the process or the machine stood still.
LATE: Final = 2_000
# Above this the time is read again soon.
UNSURE: Final = 500
# How long to wait until the time is read again: normally, while unsure, and in haste.
EVERY: Final = 1_800_000
AGAIN: Final = 10_000
SOON: Final = 1_000
# The uncertainty while nothing is known; it proves no bar closed.
UNKNOWN: Final = 2**62


class Verdict(Enum):
    """What a piece of evidence means for the caller.

    FINE: go on. SUSPECT: read the exchange's time again. PAUSED and JUMPED: that, and take everything for
    stale until it is synchronised anew.
    """

    FINE = "fine"
    SUSPECT = "suspect"
    PAUSED = "paused"
    JUMPED = "jumped"


class _Bounds(NamedTuple):
    """The offset lay between *low* and *high* when our clock showed *at*."""

    low: float
    high: float
    at: int

    def aged(self, now: int) -> Self:
        """Give the bounds as they are at *now*."""
        drift = DRIFT * max(0, now - self.at)
        return self._replace(low=self.low - drift, high=self.high + drift, at=max(now, self.at))

    def wider(self, by: int) -> Self:
        """Give bounds that lie *by* further out on both sides."""
        return self._replace(low=self.low - by, high=self.high + by)

    def both(self, other: Self | None) -> Self | None:
        """Give what lies within both; None when they exclude each other."""
        if other is None:
            return None
        low, high = max(self.low, other.low), min(self.high, other.high)
        return self._replace(low=low, high=high) if low <= high else None

    def either(self, other: Self | None) -> Self:
        """Give the bounds that hold both."""
        if other is None:
            return self
        return self._replace(low=min(self.low, other.low), high=max(self.high, other.high))


class ExchangeTime:
    """Estimates the exchange's clock from evidence; *factor* stretches what depends on our own speed.

    A market that runs faster than real time needs a *factor* above 1: a round trip and a late timer then
    take more of the market's ms.
    """

    def __init__(self, *, factor: float = 1.0) -> None:
        self._late = int(LATE * factor)
        self._tolerance = int(TOLERANCE * factor)
        self._unsure = int(UNSURE * factor)
        self._again = int(AGAIN * factor)
        self._soon = int(SOON * factor)
        self._offset = 0
        self._kept: _Bounds | None = None
        self._doubt: _Bounds | None = None
        # How far our clock may have been set without anyone noticing, from timers that came late.
        self._slack = 0
        self._haste = True
        self._hinted = False
        self._failed = False
        self._tried: int | None = None
        self._refuted: int | None = None

    @property
    def offset(self) -> int:
        """How far the exchange's clock is ahead of ours, in ms: the middle of what is possible."""
        return self._offset

    @property
    def settled(self) -> bool:
        """Whether no evidence waits for the next reading to decide."""
        return not self._haste

    def uncertainty(self, at: int) -> int:
        """Give by how many ms the offset may be wrong when our clock shows *at*; it grows with age."""
        bounds = self._bounds(at)
        if bounds is None:
            return UNKNOWN
        return math.ceil(max(bounds.high - self._offset, self._offset - bounds.low))

    def earliest(self, now: int) -> int:
        """Give the earliest exchange time that it can be when our clock shows *now*."""
        return now + self._offset - self.uncertainty(now)

    def due(self, now: int) -> bool:
        """Say whether the exchange's time should be read at *now*."""
        if self._tried is None:
            return True
        wait = EVERY
        if self._failed or self.uncertainty(now) > self._unsure:
            wait = self._again
        if self._haste:
            wait = self._soon
        return not 0 <= now - self._tried < wait

    def on_answer(self, asked: int, answered: int, told: int) -> Verdict:
        """Take a reading: the exchange told *told* between *asked* and *answered* of our raw clock."""
        self._tried, self._failed = answered, False
        if answered < asked:
            # Our clock was set back meanwhile: nothing that is known still holds.
            self._kept, self._doubt, self._slack = None, None, 0
            self._haste, self._refuted = True, None
            return Verdict.JUMPED
        fresh = _Bounds(told - answered - CUT, told - asked + CUT, asked).aged(answered)
        kept, doubt = self._now(answered)
        if kept is None:
            return self._settle(fresh, Verdict.FINE)
        agrees, doubted = fresh.both(kept), fresh.both(doubt)
        if agrees is None and doubted is None:
            self._doubt, self._haste = fresh, True
            return Verdict.SUSPECT
        if agrees is None and doubted is not None:
            return self._settle(doubted, Verdict.JUMPED)
        # Where the answer was too slow to decide, it still holds whichever is right. What was known before
        # a pause holds only as far as a jump in it could reach.
        known = kept if doubted is None else kept.either(doubt)
        return self._settle(fresh.both(known.wider(self._slack)) or fresh, Verdict.FINE)

    def on_failed(self, now: int) -> None:
        """Say that a reading failed at *now*; it is due again after a moment."""
        self._tried, self._failed = now, True

    def on_date(self, asked: int, answered: int, date: int) -> Verdict:
        """Take the `Date` header (ms) of any answer: the exchange's time cut to whole seconds."""
        bounds = self._bounds(answered)
        low, high = date - answered - CUT - self._tolerance, date + SECOND - asked + self._tolerance
        if bounds is None or (low <= bounds.high and bounds.low <= high):
            return Verdict.FINE
        return self._hint(answered)

    def on_event(self, now: int, event_time: int) -> Verdict:
        """Take an event's time: it is suspect when it lies ahead of what the exchange's clock can show."""
        bounds = self._bounds(now)
        if bounds is None or event_time - now <= bounds.high + CUT + self._tolerance:
            return Verdict.FINE
        return self._hint(now)

    def on_tick(self, now: int, expected: int) -> Verdict:
        """Take a timer that fired at *now* instead of *expected*: late is a pause, early a clock set back.

        A clock that was set forward looks just like a pause, so until the next reading the offset is
        less sure by as much.
        """
        if abs(now - expected) <= self._late:
            return Verdict.FINE
        by = abs(now - expected)
        self._slack += by
        self._doubt = self._doubt and self._doubt.wider(by)
        self._haste = True
        return Verdict.PAUSED if now > expected else Verdict.JUMPED

    def _now(self, at: int) -> tuple[_Bounds | None, _Bounds | None]:
        """Give the bounds that are kept and those of an answer that excludes them, as they are at *at*."""
        return self._kept and self._kept.aged(at), self._doubt and self._doubt.aged(at)

    def _bounds(self, at: int) -> _Bounds | None:
        """Give all that the offset can be at *at*, whichever of two answers that differ is right."""
        kept, doubt = self._now(at)
        return kept and kept.either(doubt).wider(self._slack)

    def _settle(self, bounds: _Bounds, verdict: Verdict) -> Verdict:
        """Go on from these bounds, and note when a reading has refuted the evidence that asked for it."""
        self._refuted = bounds.at if self._hinted and verdict is Verdict.FINE else None
        self._kept, self._doubt, self._slack = bounds, None, 0
        self._offset = math.floor((bounds.low + bounds.high) / 2)
        self._haste = self._hinted = False
        return verdict

    def _hint(self, now: int) -> Verdict:
        """Ask for a reading, unless one has just refuted such evidence."""
        if self._refuted is not None and 0 <= now - self._refuted < self._again:
            return Verdict.FINE
        self._haste = self._hinted = True
        return Verdict.SUSPECT
