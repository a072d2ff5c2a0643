"""A market whose truth is changed while it runs: holes, quiet minutes, corrections, comings and goings.

Every change is made to minutes; coarser bars that hold a changed minute are summed up anew. So WebSocket,
REST and whoever asks for the truth are told the same story at any time.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
import numpy as np

from klinehub.domain.listing import NO_DELIVERY, Listing
from klinehub.domain.timeframe import MINUTE
from klinehub.errors import DefinitionError
from klinehub.sim.market import MINUTE_FRAME, Change, Market
from klinehub.sim.truth import (
    CLOSE,
    HIGH,
    I64,
    LOW,
    OPEN,
    OPEN_TIME,
    QUOTE,
    TRADES,
    VOLUME,
    WORDS,
    rolled,
)

# Later than any run.
_NEVER: Final = NO_DELIVERY
_LAST: Final = 2**62
# A symbol that is quiet is traded again within this many ms.
_LONGEST_FLAT: Final = 120 * MINUTE


class Life(NamedTuple):
    """When a symbol is announced, begins, is said to end and ends (ms UTC), and its price from then on."""

    announced: int
    onboard: int
    warned: int = _NEVER
    end: int = _NEVER
    price: int = 0


class Amended(Market):
    """The market *inner* with what was changed of it; *hidden* symbols are not listed until `enlist` says so.

    Changes of minutes that are over are seen by whoever asks from then on.
    """

    def __init__(self, inner: Market, hidden: Iterable[str] = ()) -> None:
        self.grain = inner.grain
        self.unavailable = inner.unavailable
        self.default_timeframes = inner.default_timeframes
        self.spot = inner.spot
        super().__init__(inner.instruments)
        self._inner = inner
        self._lives = {self.index[symbol]: Life(_NEVER, _NEVER) for symbol in hidden}
        self._changed: list[dict[int, I64 | None]] = [{} for _ in self.instruments]
        self._times: list[list[int]] = [[] for _ in self.instruments]
        self._moments: list[tuple[int, int]] = []

    @property
    def hidden(self) -> list[str]:
        """The symbols that nobody has heard of yet, in order."""
        return [self.instruments[i].symbol for i, life in self._lives.items() if life.announced == _NEVER]

    def ends(self, symbol: str) -> bool:
        """Say whether a symbol has been given an end."""
        life = self._lives.get(self.index[symbol])
        return life is not None and life.end != _NEVER

    def hole(self, start: int, end: int) -> None:
        """Leave out all minutes that open in [start, end) ms, of every symbol."""
        for i in range(len(self.instruments)):
            for minute in range(*_minutes(start, end), MINUTE):
                self._change(i, minute, None)

    def quiet(self, symbol: str, start: int, end: int) -> None:
        """Let nobody trade a symbol in the minutes that open in [start, end) ms.

        Minutes after that keep the price until somebody trades: a flat bar carries the last one.
        """
        i = self.index[symbol]
        before = self._price(i, start)
        later = self.minutes(i, end, end + _LONGEST_FLAT)
        flat = later[np.cumsum(later[:, TRADES]) == 0, OPEN_TIME]
        for minute in (*range(*_minutes(start, end), MINUTE), *flat.tolist()):
            self._change(i, minute, _flat(minute, before))

    def correct(self, symbol: str, minute: int, *, price_only: bool) -> bool:
        """Change the minute that opened at *minute* ms to another that could have been.

        With *price_only*, where it has more than one price, only its close differs. Gives False where there
        is no such bar.
        """
        i = self.index[symbol]
        bars = self.minutes(i, minute, minute + MINUTE)
        if not len(bars):
            return False
        self._change(i, minute, _other(bars[0], price_only=price_only))
        return True

    def enlist(self, symbol: str, announced: int, onboard: int) -> None:
        """List a hidden symbol from *announced* on; it trades from *onboard* on (whole minutes, ms)."""
        i = self.index[symbol]
        self._lives[i] = Life(announced, onboard)
        one = self.instruments[i]._replace(onboard=onboard)
        self.instruments = (*self.instruments[:i], one, *self.instruments[i + 1 :])
        for time in (announced, onboard):
            insort(self._moments, (time, i))

    def delist(self, symbol: str, warned: int, end: int) -> None:
        """End a symbol's trading at *end*, told from *warned* on (whole minutes, ms); it goes on flat."""
        i = self.index[symbol]
        life = self._lives.get(i, Life(0, self.instruments[i].onboard))
        self._lives[i] = life._replace(warned=warned, end=end, price=self._price(i, end))
        for time in (warned, end):
            insort(self._moments, (time, i))

    def listings(self, now: int) -> tuple[Listing, ...]:
        """Give everything the exchange lists at *now* (ms UTC), trading or not."""
        told = (self._told(listing, now) for listing in self._inner.listings(now))
        return tuple(listing for listing in told if listing is not None)

    def changes(self, after: int, until: int) -> list[Change]:
        """Give the listings and delistings in the time (after, until], oldest first."""
        low, high = (bisect_right(self._moments, (time, _LAST)) for time in (after, until))
        given = [one for one in self._inner.changes(after, until) if self._is_own(one.listing.symbol)]
        for time, i in self._moments[low:high]:
            symbol = self.instruments[i].symbol
            given += [Change(time, one) for one in self.listings(time) if one.symbol == symbol]
        return sorted(given, key=lambda one: one.time)

    def coarse(self, i: int, first: int, last: int) -> I64:
        """Give the bars of `grain` of instrument *i* with absolute indices first to last that exist."""
        life, grain = self._lives.get(i), self.grain
        if life is None and not self._times[i]:
            return self._inner.coarse(i, first, last)
        if life is not None:
            first = max(first, grain.index(life.onboard))
        start, end = grain.open_time(first), grain.open_time(last + 1)
        if last < first or grain == MINUTE_FRAME:
            return self.minutes(i, start, end) if last >= first else np.empty((0, WORDS), np.int64)
        anew = {grain.index(time) for time in self._between(i, start, end)}
        if life is not None:
            anew |= {grain.index(life.onboard), *range(grain.index(life.end), last + 1)}
        anew &= set(range(first, last + 1))
        bars = self._inner.coarse(i, first, last)
        kept = bars[[grain.index(int(time)) not in anew for time in bars[:, OPEN_TIME]]]
        made = (self.minutes(i, grain.open_time(n), grain.open_time(n + 1)) for n in sorted(anew))
        out = np.concatenate((kept, *(rolled(minutes, grain) for minutes in made)))
        ordered: I64 = out[np.argsort(out[:, OPEN_TIME], kind="stable")]
        return ordered

    def minutes(self, i: int, start: int, end: int) -> I64:
        """Give the whole 1m bars that open in [start, end) ms, those that exist."""
        life = self._lives.get(i)
        if life is None:
            bars = self._inner.minutes(i, start, end)
        else:
            start, alive = max(start, life.onboard), min(end, life.end)
            bars = self._inner.minutes(i, start, alive) if start < alive else np.empty((0, WORDS), np.int64)
            later = [_flat(m, life.price) for m in range(*_minutes(max(start, life.end), end), MINUTE)]
            bars = np.concatenate((bars, *(one.reshape(1, WORDS) for one in later)))
        times = self._between(i, start, end)
        return self._with_changes(i, bars, times) if times else bars

    def _with_changes(self, i: int, bars: I64, times: list[int]) -> I64:
        """Put the changed minutes in the place of those they were made of."""
        bars, keep = bars.copy(), np.ones(len(bars), bool)
        places = np.searchsorted(bars[:, OPEN_TIME], times)
        for time, place in zip(times, places.tolist(), strict=True):
            if place == len(bars) or bars[place, OPEN_TIME] != time:
                continue
            changed = self._changed[i][time]
            if changed is None:
                keep[place] = False
            else:
                bars[place] = changed
        return bars[keep]

    def _between(self, i: int, start: int, end: int) -> list[int]:
        """Give the changed minutes that open in [start, end)."""
        times = self._times[i]
        return times[bisect_left(times, start) : bisect_left(times, end)] if times else times

    def _change(self, i: int, minute: int, bar: I64 | None) -> None:
        if minute not in self._changed[i]:
            insort(self._times[i], minute)
        self._changed[i][minute] = bar

    def _price(self, i: int, time: int) -> int:
        """Give the last price (ticks) before *time*, looking back for an hour at most."""
        bars = self.minutes(i, time - MINUTE, time)
        if not len(bars):
            bars = self.minutes(i, time - 60 * MINUTE, time)
        if not len(bars):
            bars = self._inner.minutes(i, time - MINUTE, time)
        return int(bars[-1, CLOSE])

    def _is_own(self, symbol: str) -> bool:
        """Say whether a symbol's life is still that of the inner market."""
        return symbol not in self.index or self.index[symbol] not in self._lives

    def _told(self, listing: Listing, now: int) -> Listing | None:
        """Give a listing as its changed life has it."""
        if self._is_own(listing.symbol):
            return listing
        life = self._lives[self.index[listing.symbol]]
        if now < life.announced:
            return None
        status = "PENDING_TRADING" if now < life.onboard else "TRADING" if now < life.end else "SETTLING"
        delivery = life.end if now >= life.warned else NO_DELIVERY
        return msgspec.structs.replace(
            listing, status=status, onboard_time=life.onboard, delivery_time=delivery
        )


def _minutes(start: int, end: int) -> tuple[int, int]:
    """Give the bounds of the minutes that open in [start, end)."""
    return -(-start // MINUTE) * MINUTE, end


def _flat(minute: int, price: int) -> I64:
    """Give a minute in which nobody trades."""
    if price < 1:
        raise DefinitionError(
            f"A price of {price} ticks is none: a symbol goes flat only after it has traded."
        )
    bar = np.zeros(WORDS, np.int64)
    bar[OPEN_TIME], bar[OPEN : CLOSE + 1] = minute, price
    return bar


def _other(bar: I64, *, price_only: bool) -> I64:
    """Give another bar that could have been: with one more trade, or only with another close."""
    other = bar.copy()
    if price_only and bar[HIGH] > bar[LOW]:
        other[CLOSE] = bar[LOW] if bar[CLOSE] > bar[LOW] else bar[HIGH]
        return other
    steps = 1 + int(bar[VOLUME]) // 100
    other[TRADES] += 1
    other[VOLUME] += steps
    other[QUOTE] += steps * bar[CLOSE]
    return other
