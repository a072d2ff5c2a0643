"""Members: who was in the universe at each bar, as it was then, and how that is known."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import numpy as np

from klinehub.factors.section import Flags
from klinehub.panel.history import History
from klinehub.panel.view import PLANES
from klinehub.scan.universe_history import Change

LISTED: Final = "every symbol that traded at the bar, reconstructed from its bars"


class Members(Protocol):
    """Says who was in the universe; `how` says in words where that is from."""

    @property
    def how(self) -> str:
        """Where that is from, in words."""

    def of(self, panel: History, first: int, bars: int) -> Flags:
        """Give who was in when each bar closed: [bars, symbols], from absolute index *first* on."""


class Listed:
    """Everybody who trades: the symbols that have the bar."""

    how = LISTED

    def of(self, panel: History, first: int, bars: int) -> Flags:
        """Give the symbols that have each bar."""
        there = np.isfinite(panel.cube(first + bars - 1, bars)[PLANES.index("close")])
        return np.ascontiguousarray(there.T)


class Told(NamedTuple):
    """Those whom recorded *changes* have in when a bar closes; of a time before the first nobody is known."""

    changes: Sequence[Change]
    how: str

    def of(self, panel: History, first: int, bars: int) -> Flags:
        """Give who was in by the changes up to each bar's close, of those that have the bar."""
        frame = panel.timeframe
        closes = np.array([frame.close_time(first + bar) for bar in range(bars)])
        inside = np.zeros((bars, len(panel.symbols)), bool)
        rows = {symbol: row for row, symbol in enumerate(panel.symbols)}
        for change in self.changes:
            if change.symbol in rows:
                inside[int(np.searchsorted(closes, change.time)) :, rows[change.symbol]] = change.entered
        found: Flags = inside & Listed().of(panel, first, bars)
        return found
