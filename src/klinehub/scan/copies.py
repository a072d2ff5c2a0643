"""Copies: the bars that a scan reads, taken out of live panels so that any thread can compute with them.

What memory does not hold any more comes from disk, where that is asked for; what neither has is not known.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import UnknownName
from klinehub.factors.engine import usable
from klinehub.factors.plan import planned
from klinehub.panel.history import History
from klinehub.panel.memory import I64
from klinehub.panel.recorded import history_of
from klinehub.panel.view import PanelView
from klinehub.scan.scanner import Scanner
from klinehub.scan.screen import Screen

# Gives the closed bars of symbols that open in [start, end) ms UTC and are kept on disk.
Kept = Callable[[Timeframe, Sequence[str], int, int], Awaitable[Mapping[str, Exact]]]


class Reader(Protocol):
    """Something that reads bars of a timeframe, and fields `beside` them: a screen, or several."""

    @property
    def timeframe(self) -> str | None:
        """The timeframe that is looked at."""

    @property
    def beside(self) -> frozenset[str]:
        """The fields that are read beside the klines."""


class Ground(NamedTuple):
    """What scanners stand on: panels by the names of their timeframes, and what is known beside them.

    *benchmark* is the symbol that factors compare with, *listed* since when (ms) symbols trade, and *kept*
    gives what is on disk.
    """

    panels: Mapping[str, PanelView]
    benchmark: str | None
    listed: Mapping[str, int]
    kept: Kept | None = None

    def scanner(self, screens: Sequence[Screen], views: Mapping[str, PanelView] | None = None) -> Scanner:
        """Make the scanner of screens of one timeframe, on copies of the panels where they are given."""
        given = self.panels if views is None else views
        return Scanner(given, screens, benchmark=self.benchmark, listed=self.listed)

    def rows(self, screen: Screen, bars: int = 1) -> dict[str, int]:
        """Say how many bars of which timeframes the last *bars* values of a screen take.

        Raises UnknownName for a timeframe that is not kept.
        """
        name = screen.timeframe or ""
        if name not in self.panels:
            raise UnknownName("timeframe", name, self.panels)
        return planned(screen.exprs.values(), name, self.panels, bars=bars).rows

    async def copies(
        self,
        reader: Reader,
        rows: Mapping[str, int],
        bar: int | None = None,
        symbols: Sequence[str] | None = None,
        *,
        from_disk: bool = False,
    ) -> tuple[dict[str, PanelView], int]:
        """Copy bars of each timeframe as known at a closed bar of the reader's, by default the newest.

        Of *symbols* alone where they are given; *from_disk* also those that memory holds no more. Gives the
        bar, too.
        """
        main = self.panels[reader.timeframe or ""]
        at = main.closed_bar if bar is None else bar
        # The names of all have to be known, the bars of others not.
        views = dict(self.panels)
        for name, count in rows.items():
            panel = self.panels[name]
            last = usable(panel.timeframe, main.timeframe, at)
            length = count if from_disk else min(count, panel.bars)
            made = History.copied(panel, last, length, reader.beside, _rows(panel, symbols))
            # A copy of 550 symbols takes 4 to 8 ms.
            await asyncio.sleep(0)
            views[name] = await self._filled(made) if from_disk else made
        return views, at

    async def _filled(self, made: History) -> History:
        """Take from disk what memory did not hold when it was copied."""
        frame, known = made.timeframe, made.complete_from
        short = np.flatnonzero(known > made.first)
        if self.kept is None or not short.size:
            return made
        end = min(int(known[short].max()), made.closed_bar + 1)
        symbols = [made.symbols[row] for row in short.tolist()]
        found = await self.kept(frame, symbols, frame.open_time(made.first), frame.open_time(end))
        since = {symbol: frame.index(time) for symbol, time in self.listed.items()}
        return await asyncio.to_thread(lambda: made.filled(history_of(frame, found, made.symbols), since))


def _rows(panel: PanelView, symbols: Sequence[str] | None) -> I64 | None:
    """Give the rows of some symbols, None for all."""
    if symbols is None:
        return None
    place = {symbol: row for row, symbol in enumerate(panel.symbols)}
    return np.array([place[symbol] for symbol in symbols], np.int64)
