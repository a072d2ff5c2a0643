"""A market beside a simulated futures market: each of its instruments is drawn from one of the futures'.

They come and go with the futures, and each minute needs no more of these than its own hour.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

import numpy as np

from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import MINUTE
from klinehub.sim.market import MINUTE_FRAME, Change, Instrument, Market
from klinehub.sim.truth import I64, OPEN_TIME, WORDS

HOUR_MINUTES: Final = 60
_ALWAYS: Final = 4_102_444_800_000


class Drawn(Protocol):
    """An instrument, and the number of the futures instrument that it is drawn from."""

    @property
    def future(self) -> int:
        """The number of the futures instrument."""

    @property
    def instrument(self) -> Instrument:
        """What is drawn."""


D = TypeVar("D", bound=Drawn)


class DrawnMarket(Market, Generic[D]):
    """The instruments *drawn* from those of *futures*; a minute needs so many of these `ahead`."""

    grain = MINUTE_FRAME
    ahead = 0

    def __init__(self, futures: Market, drawn: Sequence[D]) -> None:
        self.futures = futures
        self.drawn = tuple(drawn)
        self.default_timeframes = futures.default_timeframes
        self._beside: dict[str, list[D]] = defaultdict(list)
        for one in drawn:
            self._beside[futures.instruments[one.future].symbol].append(one)
        super().__init__([one.instrument for one in drawn])

    @abstractmethod
    def listed(self, one: D, future: Listing) -> Listing | None:
        """Give an instrument's listing while its futures' is so; None while it has none."""

    @abstractmethod
    def draw(self, i: int, futures: I64, end: int, out: I64) -> None:
        """Write a minute of instrument *i* for each of the first *futures*; nobody trades from *end* (ms)."""

    def listings(self, now: int) -> tuple[Listing, ...]:
        """Give what is listed at *now* (ms UTC)."""
        futures = {one.symbol: one for one in self.futures.listings(now)}
        found = ((one, futures.get(self.futures.instruments[one.future].symbol)) for one in self.drawn)
        own = (self.listed(one, future) for one, future in found if future is not None)
        return tuple(one for one in own if one is not None)

    def changes(self, after: int, until: int) -> list[Change]:
        """Give the listings and delistings in the time (after, until], oldest first."""
        found = (
            (change.time, self.listed(one, change.listing))
            for change in self.futures.changes(after, until)
            for one in self._beside.get(change.listing.symbol, ())
        )
        return [Change(time, listing) for time, listing in found if listing is not None]

    def coarse(self, i: int, first: int, last: int) -> I64:
        """Give the minutes with absolute indices first to last of instrument *i*, from its listing on."""
        one = self.instruments[i]
        first = max(first, one.onboard // MINUTE)
        if last < first:
            return np.empty((0, WORDS), np.int64)
        begin, end = first // HOUR_MINUTES * HOUR_MINUTES, last + 1 + self.ahead
        futures = self.futures.minutes(self.drawn[i].future, begin * MINUTE, end * MINUTE)
        times = futures[:, OPEN_TIME]
        out = np.empty((int(np.searchsorted(times, last * MINUTE, side="right")), WORDS), np.int64)
        self.draw(i, futures, 2**62 if one.end is None else one.end, out)
        return out[np.searchsorted(times, first * MINUTE) :]


def ever(futures: Market) -> list[tuple[int, Listing]]:
    """Give all instruments of a futures market by their numbers, with how they are listed at last."""
    listed = {one.symbol: one for one in futures.listings(_ALWAYS)}
    return [(i, listed[one.symbol]) for i, one in enumerate(futures.instruments) if one.symbol in listed]
