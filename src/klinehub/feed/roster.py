"""The roster: which symbols are followed, and up to when each of them trades."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import I64
from klinehub.panel.ring import Ring

# Later than any bar.
FOR_EVER: Final = 2**61


class Roster:
    """The rows of a ring that are waited for at a close, repaired and watched."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._active: npt.NDArray[np.bool_] = np.zeros(ring.capacity, bool)
        self._until = np.full(ring.capacity, FOR_EVER)
        self.rows: I64 = np.empty(0, np.int64)
        self.frozen: dict[str, str] = {}

    def follow(self, symbols: Iterable[str]) -> None:
        """Follow these symbols too; each has a row."""
        for symbol in symbols:
            row = self._ring.rows[symbol]
            self._active[row], self._until[row] = True, FOR_EVER
            self.frozen.pop(symbol, None)
        self.rows = np.flatnonzero(self._active)

    def freeze(self, symbol: str, status: str, now: int) -> None:
        """Expect no bar of *symbol* that ends after *now*."""
        row = self._ring.rows[symbol]
        self._until[row] = min(self._until[row], now)
        self.frozen[symbol] = status

    def leave(self, symbol: str) -> None:
        """Follow *symbol* no more; what is kept of it stays."""
        self._active[self._ring.rows[symbol]] = False
        self.rows = np.flatnonzero(self._active)

    def follows(self, symbol: str) -> bool:
        """Whether *symbol* is followed, if only for its last bars."""
        return bool(self._active[self._ring.rows[symbol]])

    def leaving(self, before: int) -> list[str]:
        """Give the symbols frozen *before* an exchange time whose last bars are still waited for."""
        frozen = [symbol for symbol in self.frozen if self.follows(symbol)]
        return [symbol for symbol in frozen if self._until[self._ring.rows[symbol]] < before]

    def last(self, timeframe: Timeframe, upto: int) -> I64:
        """Give for each row the last bar index up to *upto* that is expected of it."""
        until = self._until[self.rows]
        if not (until < FOR_EVER).any():
            return np.full(self.rows.size, upto)
        ends = [timeframe.index(int(end)) - 1 if end < FOR_EVER else upto for end in until]
        return np.minimum(upto, np.array(ends, np.int64))

    def expecting(self, timeframe: Timeframe, bar: int) -> I64:
        """Give the rows that should close *bar*."""
        return self.rows[timeframe.close_time(bar) < self._until[self.rows]]
