"""A simulated market: what is listed, and every bar of it at any time, from one base truth.

1. A market knows its coarse truth: the bars of its `grain` (an hour when synthetic, what was recorded in a
   replay), which it can give for any stretch of time.
2. Minutes are split from the coarse bars, quarter seconds from the minutes, larger bars rolled up from
   either; all of it exactly, so every timeframe tells the same story.
3. A forming bar is the sum of the whole bars behind it, the whole minutes, and the part of the minute
   that is over. Nothing depends on what was asked before.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from klinehub.domain.kline import Exact, Scale
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import MINUTE, Timeframe, timeframe
from klinehub.sim.split import split_all, unfold
from klinehub.sim.truth import CLOSE, I64, OPEN, OPEN_TIME, TRADES, WORDS, add, copy, exact, roll_up

# A minute's inside is drawn in this many parts of a quarter second.
SLOTS: Final = 240
HOUR: Final = 60 * MINUTE
MINUTE_FRAME: Final = timeframe("1m")


class Instrument(NamedTuple):
    """One symbol of a market: its steps, its life (ms UTC) and the seed of its inner paths.

    *money* is the quote mantissa of a tick times a step where quote volumes are printed with other decimals
    than those of both together, as on spot.
    """

    symbol: str
    scale: Scale
    tick: int
    step: int
    onboard: int
    end: int | None
    seed: int
    money: int | None = None

    @property
    def units(self) -> I64:
        """Mantissa per tick, per step, 10**price decimals, and quote mantissa per tick times step."""
        money = self.tick * self.step if self.money is None else self.money
        return np.array([self.tick, self.step, 10**self.scale.price, money], np.int64)


class Change(NamedTuple):
    """A listing whose status changes at *time* (ms UTC)."""

    time: int
    listing: Listing


class Market(ABC):
    """The truth behind a simulated exchange.

    `unavailable` names the fields (of dtype ROW) that the truth does not hold; `default_timeframes`
    are those that suit it; `instruments` are all symbols that ever have bars, in order. `spot` says that it
    is no market of contracts, `coins` that its contracts are margined in coins.
    """

    grain: Timeframe
    default_timeframes: tuple[str, ...] = ("1m", "5m", "15m", "1h")
    unavailable: frozenset[str] = frozenset()
    spot: bool = False
    coins: bool = False

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self.instruments = tuple(instruments)
        self.index = {one.symbol: i for i, one in enumerate(self.instruments)}

    @abstractmethod
    def listings(self, now: int) -> tuple[Listing, ...]:
        """Give everything the exchange lists at *now* (ms UTC), trading or not."""

    @abstractmethod
    def changes(self, after: int, until: int) -> list[Change]:
        """Give the listings and delistings in the time (after, until], oldest first."""

    @abstractmethod
    def coarse(self, i: int, first: int, last: int) -> I64:
        """Give the bars of `grain` of instrument *i* with absolute indices first to last that exist."""

    def minutes(self, i: int, start: int, end: int) -> I64:
        """Give the whole 1m bars that open in [start, end) ms, those that exist."""
        if self.grain == MINUTE_FRAME:
            return self.coarse(i, -(-start // MINUTE), -(-end // MINUTE) - 1)
        first, last = self.grain.index(start), self.grain.index(end - 1)
        bars = self.coarse(i, first - 1, last)
        before = bars[0, CLOSE] if len(bars) else 0
        if len(bars) and bars[0, OPEN_TIME] < self.grain.open_time(first):
            bars = bars[1:]
        elif len(bars):
            before = bars[0, OPEN]
        each = self.grain.milliseconds // MINUTE
        out = np.empty((len(bars) * each, WORDS), np.int64)
        split_all(bars, before, self.instruments[i].seed, MINUTE, out)
        times = out[:, OPEN_TIME]
        return out[np.searchsorted(times, start) : np.searchsorted(times, end)]

    def slots(self, i: int, minute: int) -> I64 | None:
        """Give the forming 1m bar at the end of each quarter second of a minute; None where it has no bar."""
        bars = self.minutes(i, minute - MINUTE, minute + MINUTE)
        if not len(bars) or bars[-1, OPEN_TIME] != minute:
            return None
        before = bars[0, CLOSE] if len(bars) > 1 else bars[-1, OPEN]
        out = np.empty((SLOTS, WORDS), np.int64)
        unfold(bars[-1], before, self.instruments[i].seed, out)
        return out

    def last_trade(self, i: int, now: int) -> tuple[int, int] | None:
        """Give price (ticks) and time (ms UTC) of an instrument's last trade in the 24 hours up to *now*.

        Times are those of the quarter seconds that trades are drawn in.
        """
        minute, end = now - now % MINUTE, now
        while minute > now - 1440 * MINUTE:
            found = self._last_of(i, minute, end)
            if found is not None:
                return found
            earlier = self.minutes(i, max(minute - HOUR, now - 1440 * MINUTE), minute)
            traded = earlier[earlier[:, TRADES] > 0]
            minute = int(traded[-1, OPEN_TIME]) if len(traded) else minute - HOUR
            end = minute + MINUTE
        return None

    def _last_of(self, i: int, minute: int, end: int) -> tuple[int, int] | None:
        """Give price and time of the last trade between a minute's open and *end*."""
        slots = self.slots(i, minute)
        if slots is None:
            return None
        told = slots[: (end - minute) * SLOTS // MINUTE]
        rises = np.flatnonzero(np.diff(told[:, TRADES], prepend=0) > 0)
        if not rises.size:
            return None
        return int(told[rises[-1], CLOSE]), minute + (int(rises[-1]) + 1) * MINUTE // SLOTS - 1

    def recent(self, i: int, start: int, now: int) -> I64:
        """Give the 1m bars from *start* up to *now*, the last one forming."""
        minute = now - now % MINUTE
        bars = self.minutes(i, start, minute + MINUTE)
        if not len(bars) or bars[-1, OPEN_TIME] != minute:
            return bars
        bars = bars.copy()
        follows = len(bars) > 1 and bars[-2, OPEN_TIME] == minute - MINUTE
        before = bars[-2, CLOSE] if follows else self._before(i, minute, bars[-1])
        bars[-1] = part_of_minute(bars[-1], before, self.instruments[i].seed, now - minute)
        return bars

    def _before(self, i: int, minute: int, bar: I64) -> int:
        """Give the last price (ticks) before a minute, its own open when there is none."""
        earlier = self.minutes(i, minute - MINUTE, minute)
        return int(earlier[-1, CLOSE] if len(earlier) else bar[OPEN])

    def bars(self, i: int, frame: Timeframe, first: int, last: int, now: int) -> I64:
        """Give the bars of *frame* with absolute indices first to last as they are at *now*.

        The last one is forming when *now* lies inside of it; bars that do not exist are left out.
        """
        last = min(last, frame.index(now))
        if last < first:
            return np.empty((0, WORDS), np.int64)
        start, end = frame.open_time(first), min(frame.open_time(last + 1), now + 1)
        parts = (
            self._fine(i, start, end, now)
            if not self._coarse_fits(frame)
            else self._mixed(i, start, end, now)
        )
        out = np.empty_like(parts)
        return out[: roll_up(parts, frame.milliseconds, frame.offset, out)]

    def _coarse_fits(self, frame: Timeframe) -> bool:
        return frame == self.grain or frame.holds(self.grain)

    def _fine(self, i: int, start: int, end: int, now: int) -> I64:
        """Give 1m bars, the last one forming if it holds *now*."""
        return self.recent(i, start, now) if end > now else self.minutes(i, start, end)

    def _mixed(self, i: int, start: int, end: int, now: int) -> I64:
        """Give the bars of `grain` that are over, then minutes up to *now*."""
        if end <= now:
            return self.coarse(i, self.grain.index(start), self.grain.index(end) - 1)
        whole = self.grain.index(now)
        old = self.coarse(i, self.grain.index(start), whole - 1)
        return np.concatenate((old, self.recent(i, self.grain.open_time(whole), now)))

    def klines(self, i: int, frame: Timeframe, first: int, last: int, now: int) -> Exact:
        """Give `bars()` in the exact form."""
        one = self.instruments[i]
        return exact(self.bars(i, frame, first, last, now), one.units, one.scale)

    def stretch(self, i: int, frame: Timeframe, first: int | None, last: int, limit: int, now: int) -> Exact:
        """Give up to *limit* bars up to index *last*: the oldest from *first* on, or the newest.

        Where bars are missing, it looks further until it has enough.
        """
        oldest = self.first_index(i, frame)
        last = min(last, frame.index(now))
        start = max(oldest, first if first is not None else last - limit + 1)
        found: list[I64] = []
        missing = limit
        while missing > 0 and oldest <= start <= last:
            end = min(last, start + missing - 1)
            found.append(self.bars(i, frame, start, end, now))
            missing -= len(found[-1])
            if first is None:
                start, last = max(oldest, start - missing), start - 1
            else:
                start = end + 1
        one = self.instruments[i]
        ordered = found if first is not None else found[::-1]
        return exact(np.concatenate((np.empty((0, WORDS), np.int64), *ordered)), one.units, one.scale)

    def first_index(self, i: int, frame: Timeframe) -> int:
        """Give the absolute index of an instrument's first bar."""
        return frame.index(self.instruments[i].onboard)

    def day(self, i: int, now: int) -> I64 | None:
        """Give the sum of the 24 hours up to *now*, to the minute; None where nothing was listed."""
        minute = now - now % MINUTE
        start = minute - 1439 * MINUTE
        if self.grain.milliseconds > HOUR:
            total = sum_of(self.recent(i, start, now))
        else:
            edge = self.grain.open_time(self.grain.index(start + self.grain.milliseconds - 1))
            total = sum_of(np.concatenate((self.minutes(i, start, edge), self._mixed(i, edge, now + 1, now))))
        return total if total[OPEN_TIME] >= 0 else None


@njit(cache=True, nogil=True)
def sum_of(bars: I64) -> I64:
    """Add bars up; an open time of -1 says that there were none."""
    total = np.full(WORDS, -1, np.int64)
    for i in range(bars.shape[0]):
        if i == 0:
            copy(total, bars[0])
        else:
            add(total, bars[i])
    return total


def part_of_minute(bar: I64, before: int, seed: int, elapsed: int) -> I64:
    """Give a 1m bar as it is *elapsed* ms after its open."""
    slot = elapsed * SLOTS // MINUTE - 1
    out = np.empty((SLOTS, WORDS), np.int64)
    if slot < 0:
        out[0] = 0
        out[0, OPEN_TIME] = bar[OPEN_TIME]
        out[0, OPEN : CLOSE + 1] = before
        slot = 0
    else:
        unfold(bar, before, seed, out)
    forming: I64 = out[slot]
    return forming
