"""The hub as the exchange's dialect reads a market: what it keeps, and nothing that is made up.

1. A bar is given when it is proved closed, and the open one as it stands.
2. At a bar's end the exchange shows the next one before anything was traded in it: flat at the last close,
   all volumes 0. Clients drop the last row as the open one, so it is given here too, once the bar before is
   proved.
3. Whether all that is asked for is kept, and proved, is said first (`standing`).
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final

import numpy as np

from klinehub.dialect.rest import Wanted
from klinehub.domain.clock import Clock
from klinehub.domain.kline import CLOSED, ROW, ROW_WORDS, Exact, Scale
from klinehub.domain.listing import Listing
from klinehub.domain.stale import Reason
from klinehub.domain.texts import DayTexts, MarkTexts, MiniTexts, Traded
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DataError
from klinehub.feed.ticker_table import TickerTable
from klinehub.hub import Hub
from klinehub.panel.memory import CLOSE, HIGH, I64, LOW, OPEN, OPEN_TIME

_UNTOLD: Final = TickerTable(dict)
_NOTHING: Final = Exact(np.empty(0, ROW), Scale(0, 0, 0))


class Standing(Enum):
    """How the bars that were asked for stand in memory."""

    KEPT = "kept"  # all are there, and proved
    ENDING = "ending"  # one of them is not proved yet
    STALE = "stale"  # what is there is not proved fresh
    OLDER = "older"  # some lie before what is there
    ELSEWHERE = "elsewhere"  # the series is not followed


class ExchangeClock(Clock):
    """The exchange's time as a hub knows it."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub.now(), hub.clock.rate, hub.clock.monotonic)
        self._hub = hub

    def now(self) -> int:
        """Give the exchange time in ms UTC."""
        return self._hub.now()


class HubSource:
    """A hub's market as the dialect reads it."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.clock: Clock = ExchangeClock(hub)

    def listings(self) -> Sequence[Listing]:
        """Give everything listed now, in the order of exchangeInfo."""
        return tuple(self.hub.listings.values())

    def listing(self, symbol: str) -> Listing | None:
        """Give one listing by its symbol in capitals, None where there is none."""
        return self.hub.listings.get(symbol)

    def follows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Whether the bars of this series come in live."""
        ring = self.hub.ring
        kept = symbol in ring.rows and timeframe.name in ring.number
        return kept and symbol not in self.hub.core.roster.frozen

    def standing(self, wanted: Wanted) -> Standing:
        """Say how what is wanted stands in memory now."""
        symbol, frame, _, last, _ = wanted
        if not self.follows(symbol, frame):
            return Standing.ELSEWHERE
        t, row = self._place(symbol, frame)
        ended, oldest = frame.index(self.hub.now()) - 1, self._oldest(t, row)
        start, end = self._stretch(wanted, ended)
        if self._unproved(t, row, max(start, oldest), end):
            return Standing.ENDING
        stale = self.hub.stale(symbol) if last >= ended else None
        if stale is not None:
            # A symbol that nothing was told of yet is soon proved, as a bar that has just ended is.
            return Standing.ENDING if stale.reason == Reason.STARTING.text else Standing.STALE
        return Standing.KEPT if start >= oldest or self._begins(t, row, oldest) else Standing.OLDER

    def klines(self, symbol: str, timeframe: Timeframe, first: int | None, last: int, limit: int) -> Exact:
        """Give up to *limit* bars with absolute indices in [first, last] that memory has, the open one too.

        With *first* the oldest of them, without it the newest.
        """
        ring = self.hub.ring
        if symbol not in ring.rows or timeframe.name not in ring.number:
            return _NOTHING
        t, row = self._place(symbol, timeframe)
        now = timeframe.index(self.hub.now())
        start, end = self._stretch(Wanted(symbol, timeframe, first, last, limit), now - 1)
        panel = self.hub.panel(timeframe.name)
        closed = panel.exact(symbol, start=start, end=end)
        if closed.rows.size <= end - start and self._lacks(t, row):
            closed = panel.exact(symbol, start=0 if first is None else first, end=min(last, now - 1))
        words = closed.rows.view(np.int64).reshape(-1, ROW_WORDS)
        if last >= now and (first is None or len(words) < limit) and (first is None or first <= now):
            words = np.concatenate((words, self._open(t, row, timeframe, now)))
        words = words[:limit] if first is not None else words[-limit:]
        return Exact(np.ascontiguousarray(words).view(ROW).reshape(-1), closed.scale)

    @property
    def told(self) -> TickerTable:
        """What was told of tickers and marks; an empty table where these are not kept."""
        tickers = self.hub.live.tickers
        return _UNTOLD if tickers is None else tickers.table

    def ticker(self, symbol: str) -> DayTexts | None:
        """Give the last 24 hours of a symbol."""
        return self.told.day(symbol)

    def tickers(self) -> Sequence[DayTexts]:
        """Give the last 24 hours of all that trade."""
        return self.told.days()

    def mini(self, symbol: str) -> MiniTexts | None:
        """Give the last 24 hours of a symbol in short."""
        return self.told.mini(symbol)

    def last_trade(self, symbol: str) -> Traded | None:
        """Give the last price of a symbol, with the time at which it was told."""
        return self.told.last_trade(symbol)

    def last_trades(self) -> Sequence[Traded]:
        """Give the last prices of all that trade."""
        return self.told.last_trades()

    def mark(self, symbol: str) -> MarkTexts | None:
        """Give mark price and funding of a symbol."""
        return self.told.mark(symbol)

    def marks(self) -> Sequence[MarkTexts]:
        """Give mark prices and funding of all that trade."""
        return self.told.marks()

    def funding_hours(self, symbol: str) -> int | None:  # noqa: ARG002 - not kept
        """Give the hours between two fundings of a symbol."""
        return None

    def open_interest(self, symbol: str) -> str:
        """Refuse: what is not kept is asked of the exchange."""
        raise DataError(f"The open interest of {symbol} is not kept.")

    def _place(self, symbol: str, frame: Timeframe) -> tuple[int, int]:
        return self.hub.ring.number[frame.name], self.hub.ring.rows[symbol]

    def _stretch(self, wanted: Wanted, ended: int) -> tuple[int, int]:
        """Give the first and last closed bar that an answer is made of where none lacks."""
        _, _, first, last, limit = wanted
        if first is not None:
            return first, min(last, ended, first + limit - 1)
        return min(last, ended + 1) - limit + 1, min(last, ended)

    def _oldest(self, t: int, row: int) -> int:
        """Give the oldest closed bar of a series in memory, the one behind its newest for none."""
        memory, bars = self.hub.ring.memory, self.hub.ring.bars
        newest = int(memory.newest[t, row])
        begin = max(newest - bars + 1, 0)
        # The slots in the order of time: those behind the newest one hold the oldest bars.
        closed = memory.state[t, row] >= CLOSED
        for part in (closed[begin % bars :], closed[: newest % bars + 1]):
            at = int(part.argmax()) if part.size else 0
            if part.size and part[at]:
                return begin + at
            begin += part.size
        return newest + 1

    def _begins(self, t: int, row: int, oldest: int) -> bool:
        """Whether a series has no bar before this one."""
        first = int(self.hub.ring.memory.first[t, row])
        return first >= 0 and oldest <= first

    def _lacks(self, t: int, row: int) -> bool:
        """Whether the exchange itself has no bar in some place of a series."""
        return any(one[0] == t and one[1] == row for one in self.hub.core.repair.absent)

    def _unproved(self, t: int, row: int, first: int, last: int) -> bool:
        """Whether a bar in [first, last] is not proved; one that the exchange does not have is not meant."""
        ring = self.hub.ring
        if last < first:
            return False
        if last > ring.memory.newest[t, row]:
            return True
        indexes = np.arange(first, last + 1)
        missing = indexes[ring.memory.state[t, row, indexes % ring.bars] < CLOSED]
        absent = self.hub.core.repair.absent
        return any((t, row, int(bar)) not in absent for bar in missing)

    def _open(self, t: int, row: int, frame: Timeframe, now: int) -> I64:
        """Give the bar that is open *now* as one row of words; none while the one before is not proved."""
        memory, bars = self.hub.ring.memory, self.hub.ring.bars
        newest = int(memory.newest[t, row])
        if newest == now and memory.state[t, row, now % bars]:
            words: I64 = memory.cells[t, row, now % bars].reshape(1, ROW_WORDS)
            return words
        if newest != now - 1 or memory.state[t, row, newest % bars] < CLOSED:
            return np.empty((0, ROW_WORDS), np.int64)
        flat = np.zeros((1, ROW_WORDS), np.int64)
        flat[0, OPEN_TIME] = frame.open_time(now)
        flat[0, [OPEN, HIGH, LOW, CLOSE]] = memory.cells[t, row, newest % bars, CLOSE]
        return flat
