"""The pulse of a simulated exchange: kline updates four times a second, closes at every minute, tickers.

1. Each kline stream (line) keeps the sum of the whole minutes of its open bar.
2. A pulse adds the part of the minute that is over and publishes the lines on which something traded.
3. At a minute's end the minute is added; lines whose bar ends there publish it as closed.

Everything of a pulse happens in a few kernels over all lines; an idle exchange computes nothing.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numba import njit

from klinehub.dialect.board import Board
from klinehub.dialect.frames import kline_events
from klinehub.domain.timeframe import MINUTE, Timeframe
from klinehub.panel.memory import bar_index, bar_open
from klinehub.sim.market import SLOTS, Market
from klinehub.sim.truth import I64, OPEN_TIME, TRADES, WORDS, add, clear, copy, to_rows

# Columns of a line's state: its instrument, its bars' length and offset, the trades last told.
SYMBOL, LENGTH, OFFSET, TOLD = range(4)


@njit(cache=True, nogil=True)
def _pulse(state: I64, counts: I64, parts: I64, now: I64, out: I64, lines: I64) -> int:
    """Collect the followed lines on which something traded since the last time; gives how many."""
    found = 0
    for n in range(state.shape[0]):
        bar = now[state[n, SYMBOL]]
        if counts[n] == 0 or bar[OPEN_TIME] < 0 or parts[n, OPEN_TIME] < 0:
            continue
        trades = parts[n, TRADES] + bar[TRADES]
        if trades == state[n, TOLD] or trades == 0:
            continue
        state[n, TOLD] = trades
        _sum(state[n], parts[n], bar, out[found])
        lines[found] = n
        found += 1
    return found


@njit(cache=True, nogil=True)
def _sum(spec: I64, part: I64, bar: I64, out: I64) -> None:
    """Write the open bar of a line: its whole minutes (open time 0: none yet) and the newest one."""
    if part[OPEN_TIME] == 0:
        copy(out, bar)
        out[OPEN_TIME] = bar_open(
            bar_index(bar[OPEN_TIME], spec[LENGTH], spec[OFFSET]), spec[LENGTH], spec[OFFSET]
        )
    else:
        copy(out, part)
        add(out, bar)


@njit(cache=True, nogil=True)
def _close(
    state: I64, counts: I64, parts: I64, minute: I64, end: int, flat: int, out: I64, lines: I64
) -> int:
    """Add a whole minute to all lines and collect the bars that end with it, at *end* (ms)."""
    found = 0
    for n in range(state.shape[0]):
        bar = minute[state[n, SYMBOL]]
        if parts[n, OPEN_TIME] < 0:
            continue
        length, offset = state[n, LENGTH], state[n, OFFSET]
        if bar[OPEN_TIME] >= 0:
            _sum(state[n], parts[n], bar, out[found])
            copy(parts[n], out[found])
        if bar_open(bar_index(end, length, offset), length, offset) != end:
            continue
        if parts[n, OPEN_TIME] > 0 and counts[n] > 0 and (flat == 1 or parts[n, TRADES] > 0):
            copy(out[found], parts[n])
            lines[found] = n
            found += 1
        clear(parts[n])
        state[n, TOLD] = 0
    return found


@njit(cache=True, nogil=True)
def _rows(bars: I64, lines: I64, state: I64, units: I64, out: I64, prices: npt.NDArray[np.float64]) -> None:
    """Write bars of lines as exact rows, each in its symbol's units."""
    for j in range(lines.size):
        one = units[state[lines[j], SYMBOL]]
        to_rows(bars[j : j + 1], one, out[j : j + 1], prices[j : j + 1])


class Pacer:
    """Publishes a market's klines to a board as its clock goes; `flat_closes` also for trade-less bars.

    A `tap`, where there is one, gets what would be told and tells of it what it likes.
    """

    def __init__(self, market: Market, board: Board, *, flat_closes: bool = True) -> None:
        self.market = market
        self.board = board
        self.flat_closes = flat_closes
        self.tap: Callable[[I64, I64, int, bool], None] | None = None
        size = len(market.instruments)
        self._units = np.array([one.units for one in market.instruments], np.int64).reshape(-1, 4)
        self._state = np.zeros((0, 4), np.int64)
        self._parts = np.zeros((0, WORDS), np.int64)
        self._slots = np.zeros((size, SLOTS, WORDS), np.int64)
        self._drawn = np.full(size, -1, np.int64)
        self._bars = np.full((size, WORDS), -1, np.int64)

    def pulse(self, now: int) -> None:
        """Publish the forming bars that changed."""
        minute = now - now % MINUTE
        followed = self._prepare(minute)
        slot = (now - minute) * SLOTS // MINUTE - 1
        if slot < 0 or not len(followed):
            return
        for i in followed:
            self._draw(i, minute)
        self._bars[:, OPEN_TIME] = -1
        self._bars[followed] = self._slots[followed, slot]
        out, lines = np.empty_like(self._parts), np.empty(len(self._parts), np.int64)
        size = _pulse(self._state, self.board.counts, self._parts, self._bars, out, lines)
        self._publish(out[:size], lines[:size], now, closed=False)

    def close(self, minute: int, now: int) -> None:
        """Add the minute that opened at *minute* to every line and publish the bars that end with it."""
        followed = self._prepare(minute)
        if not len(followed):
            return
        for i in followed:
            self._draw(i, minute)
        self._bars[:, OPEN_TIME] = -1
        self._bars[followed] = self._slots[followed, SLOTS - 1]
        out, lines = np.empty_like(self._parts), np.empty(len(self._parts), np.int64)
        counts, end = self.board.counts, minute + MINUTE
        size = _close(self._state, counts, self._parts, self._bars, end, int(self.flat_closes), out, lines)
        self._publish(out[:size], lines[:size], now, closed=True)

    def _publish(self, bars: I64, lines: I64, now: int, *, closed: bool) -> None:
        words = np.empty_like(bars)
        _rows(bars, lines, self._state, self._units, words, words.view(np.float64))
        if self.tap is None:
            self.tell(lines, words, now, closed)
        else:
            self.tap(lines, words, now, closed)

    def tell(self, lines: I64, words: I64, now: int, closed: bool) -> None:  # noqa: FBT001 - as a tap is called
        """Send exact rows (int64 view, a line each) to who follows the lines, as events of the time *now*."""
        self.board.publish_klines(kline_events(self.board.sheet, lines, words, now, closed=closed))

    def forget(self, i: int) -> None:
        """Sum the open bars of instrument *i* up anew, because its past has changed."""
        self._parts[self._state[:, SYMBOL] == i, OPEN_TIME] = -1
        self._drawn[i] = -1

    def _draw(self, i: int, minute: int) -> None:
        """Draw the inside of a minute once; where the market has no bar, its open time is -1."""
        if self._drawn[i] == minute:
            return
        self._drawn[i] = minute
        slots = self.market.slots(i, minute)
        if slots is None:
            self._slots[i, :, OPEN_TIME] = -1
        else:
            self._slots[i] = slots

    def _prepare(self, minute: int) -> I64:
        """Take in new lines as of the start of *minute*; gives the instruments that need drawing."""
        lines = self.board.lines
        if len(lines) > len(self._state):
            fresh = [self._spec(line.symbol, line.timeframe) for line in lines[len(self._state) :]]
            self._state = np.concatenate((self._state, np.array(fresh, np.int64)))
            unknown = np.full((len(fresh), WORDS), -1, np.int64)
            self._parts = np.concatenate((self._parts, unknown))
        counts = self.board.counts[: len(lines)]
        self._parts[counts == 0, OPEN_TIME] = -1
        for n in np.flatnonzero((counts > 0) & (self._parts[:, OPEN_TIME] < 0)):
            self._begin(int(n), minute)
        return np.unique(self._state[counts > 0, SYMBOL])

    def _spec(self, symbol: str, frame: Timeframe) -> tuple[int, int, int, int]:
        return self.market.index[symbol], frame.milliseconds, frame.offset, 0

    def _begin(self, n: int, minute: int) -> None:
        """Start a line in the middle of its bar with the minutes that are over."""
        frame, i = self.board.lines[n].timeframe, int(self._state[n, SYMBOL])
        index = frame.index(minute)
        self._parts[n] = 0
        self._state[n, TOLD] = 0
        if frame.open_time(index) < minute:
            bars = self.market.bars(i, frame, index, index, minute)
            if len(bars):
                self._parts[n] = bars[0]
