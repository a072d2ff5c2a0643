"""Recorded bars: a panel that does not change, for notebooks, replays and tests."""

from collections.abc import Sequence

import numpy as np

from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DefinitionError
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import PLANES


class History:
    """Closed bars of one timeframe in memory, from absolute index *first* on.

    *planes* is float64 [9, symbols, bars] in the order of PLANES, NaN where a symbol has no bar.
    """

    def __init__(self, timeframe: Timeframe, symbols: Sequence[str], first: int, planes: F64) -> None:
        if planes.ndim != len(("plane", "symbol", "bar")) or planes.shape[:2] != (len(PLANES), len(symbols)):
            raise DefinitionError(
                f"Bars of {len(symbols)} symbols have the shape ({len(PLANES)}, {len(symbols)}, bars), "
                f"not {planes.shape}."
            )
        self.timeframe = timeframe
        self.symbols = tuple(symbols)
        self.first = first
        self.planes = planes
        self.changes: I64 = np.zeros(len(symbols), np.int64)

    def __repr__(self) -> str:
        """Show the timeframe, the symbols and the bars."""
        return f"<History {self.timeframe.name}, {len(self.symbols)} symbols, {self.bars} bars>"

    @property
    def bars(self) -> int:
        """How many bars are there."""
        return int(self.planes.shape[2])

    @property
    def closed_bar(self) -> int:
        """The absolute index of the last bar, -1 when there is none."""
        return self.first + self.bars - 1 if self.bars else -1

    @property
    def complete_from(self) -> I64:
        """From which absolute index on each row [symbols] is known: a bar that lacks since then is a hole."""
        return np.full(len(self.symbols), self.first)

    def cube(self, bar: int, length: int, rows: I64 | None = None) -> F64:
        """Copy the *length* bars that end at index *bar*: float64 [9, rows, length], NaN for none."""
        chosen = self.planes if rows is None else self.planes[:, rows]
        out = np.full((len(PLANES), chosen.shape[1], length), np.nan)
        start = bar - length + 1
        low, high = max(start, self.first), min(bar, self.closed_bar)
        if low <= high:
            out[:, :, low - start : high - start + 1] = chosen[:, :, low - self.first : high - self.first + 1]
        return out

    def head(self, bar: int) -> "History":
        """Give the same bars up to absolute index *bar*, as they were known when it had closed."""
        count = max(0, min(self.bars, bar - self.first + 1))
        return History(self.timeframe, self.symbols, self.first, self.planes[:, :, :count])

    def since(self, bar: int) -> "History":
        """Give the same bars from absolute index *bar* on."""
        skip = max(0, min(self.bars, bar - self.first))
        return History(self.timeframe, self.symbols, self.first + skip, self.planes[:, :, skip:])
