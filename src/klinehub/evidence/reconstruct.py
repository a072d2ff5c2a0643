"""Reconstruction: the universe that the rules would have chosen at each hour of the past, from bars alone.

1. At the end of each UTC hour the rules of a live hub are asked, with a ticker made of the last 24 hours and
   the turnover of the hours before. What they remember of the hour before is what they chose then.
2. A symbol is listed from its first bar on, and until its last; one that was there from the beginning of the
   recording is of unknown age.
3. What differs from a record made live: when a hub was down, what its tickers told between the hours, and
   symbols that nobody recorded.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from klinehub.domain.listing import Listing
from klinehub.domain.ticker import Ticker
from klinehub.domain.universe_rules import Rules
from klinehub.errors import KlinehubError
from klinehub.panel.history import History
from klinehub.panel.memory import F64
from klinehub.panel.view import PLANES
from klinehub.scan.pools import Market, refresh
from klinehub.scan.universe_history import Change

HOW: Final = "as the rules of the universe would have chosen it, reconstructed from hourly bars"
_DAY_HOURS: Final = 24
_QUOTE: Final = "USDT"
_PERCENT: Final = 100.0


def changes_by_rules(
    rules: Rules,
    hours: History,
    first: int,
    last: int,
    listed: Mapping[str, int],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Change]:
    """Give every coming and going by *rules* from hour *first* to *last*, from a panel of 1h bars.

    *listed* says since when (ms) symbols trade, where that is known; *progress* is told of each hour.
    """
    past, found, before = _Past(hours, listed), list[Change](), None
    for hour in range(first, last + 1):
        merged = before
        try:
            merged, changes = refresh(rules, past.market(hour, rules.hours_read), past.time(hour), before)
            found.extend(changes)
        except KlinehubError:
            # Nobody fits, or nothing traded yet: the universe stays as it was, as a hub's does.
            pass
        before = merged
        progress(1)
    return found


class _Past:
    """What a hub would have known at the end of an hour."""

    def __init__(self, hours: History, listed: Mapping[str, int]) -> None:
        self._hours = hours
        self._listed = listed
        self._opens, self._closes, self._turnover = (
            hours.planes[PLANES.index(name)] for name in ("open", "close", "quote_volume")
        )
        there = np.isfinite(self._closes)
        self._firsts = np.argmax(there, axis=1)
        self._lasts = np.where(there.any(axis=1), there.shape[1] - 1 - np.argmax(there[:, ::-1], axis=1), -1)

    def time(self, hour: int) -> int:
        """The exchange's time (ms) when an hour has ended."""
        return self._hours.timeframe.open_time(hour + 1)

    def market(self, hour: int, read: int) -> Market:
        """Give listings, tickers and turnover as they were when an hour had ended."""
        at = hour - self._hours.first
        rows = np.flatnonzero((self._firsts <= at) & (self._lasts >= at)).tolist()
        day = slice(max(0, at - _DAY_HOURS + 1), at + 1)
        amounts = np.nansum(self._turnover[:, day], axis=1).tolist()
        moved = self._moved(at, day)
        names, now = self._hours.symbols, self.time(hour)
        before = self._turnover[:, max(0, at + 1 - read) : at + 1]
        return Market(
            {names[row]: self._listing(names[row]) for row in rows},
            {names[row]: Ticker(names[row], amounts[row], moved[row], now) for row in rows},
            {names[row]: before[row] for row in rows},
            _QUOTE,
        )

    def _moved(self, at: int, day: slice) -> list[float]:
        """Give each symbol's change in percent over the day, or since its first bar within it."""
        begin = np.clip(self._firsts, day.start, at)
        start = self._opens[np.arange(begin.size), begin]
        with np.errstate(all="ignore"):
            change: F64 = (self._closes[:, at] / start - 1.0) * _PERCENT
        return [float(one) for one in change]

    def _listing(self, symbol: str) -> Listing:
        base = symbol.removesuffix(_QUOTE)
        quote = _QUOTE if symbol.endswith(_QUOTE) else ""
        return Listing(
            *(symbol, symbol, "PERPETUAL", "TRADING", base, quote, self._listed.get(symbol, 0), 0, 0)
        )
