"""Prices: what has changed of the newest prices, told at most four times a second.

1. A look reads the price, the open of the bar that is open, and the ticker of every row, and numbers the rows
   that differ from the look before.
2. A client that took the last telling gets the same bytes as everybody; one that was left out gets, when it
   takes something again, all rows that have changed since.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
import numpy as np

from klinehub.domain.kline import EMPTY
from klinehub.domain.texts import DayTexts, MiniTexts
from klinehub.hub import Hub
from klinehub.panel.memory import CLOSE, F64, I64, OPEN
from klinehub.serve.board.cells import percent, rounded, written

# Of each row: price, change since the bar's open, change and turnover of 24 hours.
FIGURES: Final = ("price", "change", "day", "turnover")


class Days:
    """The last 24 hours of each row by its ticker, as far as the hub keeps these: percent and turnover."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._values: F64 = np.full((2, 0), np.nan)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen while the block runs."""
        tickers = self._hub.live.tickers
        self._values = np.full((2, 0), np.nan)
        if tickers is None:
            yield
            return
        self._hear([*tickers.table.minis(), *tickers.table.days()])
        tickers.on_tickers.append(self._hear)
        try:
            yield
        finally:
            tickers.on_tickers.remove(self._hear)

    @property
    def values(self) -> F64:
        """Percent and turnover [2, rows]; without tickers the turnover is that of the start."""
        self._widen()
        return self._values

    def _widen(self) -> None:
        """Make room for the rows that have come."""
        symbols = self._hub.ring.symbols
        known = self._values.shape[1]
        if known < len(symbols):
            come = np.full((2, len(symbols) - known), np.nan)
            come[1] = [self._hub.turnover.get(symbol, np.nan) for symbol in symbols[known:]]
            self._values = np.concatenate((self._values, come), axis=1)

    def _hear(self, rows: Sequence[MiniTexts]) -> None:
        self._widen()
        places, values = self._hub.ring.rows, self._values
        for told in rows:
            row = places.get(told.symbol)
            if row is None:
                continue
            if isinstance(told, DayTexts):
                values[0, row] = float(told.percent)
            else:
                opened = float(told.open)
                values[0, row] = (float(told.last) / opened - 1.0) * 100.0 if opened > 0.0 else np.nan
            values[1, row] = float(told.quote_volume)


class Prices:
    """What changes between two looks at the prices, with the change in the bars of one timeframe."""

    def __init__(self, hub: Hub, timeframe: str, days: Days) -> None:
        self.round = 0
        self._hub = hub
        self._days = days
        self._t = hub.ring.number[timeframe]
        self._frame = hub.ring.timeframes[self._t]
        self._values: F64 = np.full((len(FIGURES), 0), np.nan)
        # The look at which each row has changed last.
        self._changed: I64 = np.empty(0, np.int64)
        self._time = 0
        self._newest = b""

    def look(self) -> bool:
        """Read all prices; gives whether any has changed."""
        hub = self._hub
        values = np.stack((*_priced(hub, self._t, self._frame.index(hub.now())), *self._days.values))
        known = self._values.shape[1]
        if known < values.shape[1]:
            room = ((0, 0), (0, values.shape[1] - known))
            self._values = np.pad(self._values, room, constant_values=np.nan)
            self._changed = np.pad(self._changed, room[1])
        # Held against each other by their bits, in which what is not known equals itself.
        rows = np.flatnonzero((values.view(np.int64) != self._values.view(np.int64)).any(axis=0))
        if not rows.size:
            return False
        self.round += 1
        self._values, self._time, self._newest = values, hub.now(), b""
        self._changed[rows] = self.round
        return True

    def since(self, seen: int) -> bytes:
        """Give what has changed since a round that somebody has seen: a `prices` message."""
        if seen < self.round - 1:
            return self._written(seen)
        if not self._newest:
            self._newest = self._written(seen)
        return self._newest

    def _written(self, seen: int) -> bytes:
        rows = np.flatnonzero(self._changed > seen)
        price, *others = self._values[:, rows]
        facts = {"layout": self._values.shape[1], "time": self._time, "rows": rows.tolist()}
        lists = [written(price), *(written(rounded(one)) for one in others)]
        named = [b'"%b":%b' % (name.encode(), one) for name, one in zip(FIGURES, lists, strict=True)]
        return b'{"type":"prices",' + msgspec.json.encode(facts)[1:-1] + b"," + b",".join(named) + b"}"


def _priced(hub: Hub, t: int, index: int) -> tuple[F64, F64]:
    """Give every row's newest price, and its change since the open of bar *index* of timeframe *t*."""
    memory, count = hub.ring.memory, len(hub.ring.symbols)
    rows = np.arange(count)
    slots = memory.newest[0, :count] % hub.ring.bars
    price = np.where(memory.state[0, rows, slots] > EMPTY, memory.floats[0, rows, slots, CLOSE], np.nan)
    opened = memory.floats[t, rows, index % hub.ring.bars, OPEN]
    return price, percent(price, np.where(memory.newest[t, :count] == index, opened, np.nan))
