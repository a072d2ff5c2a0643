"""Choosing: the universe of a live hub, chosen anew when a pool's time comes and when the listing changes.

What cannot be chosen leaves the universe as it was and is said in `failure`. The changes are recorded, in a
file too where there is one, so that a replay can ask who was in when.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.clock import Clock
from klinehub.domain.ticker import Ticker
from klinehub.domain.universe_rules import Rules
from klinehub.errors import KlinehubError
from klinehub.panel.memory import F64
from klinehub.panel.view import PLANES, PanelView
from klinehub.scan.lines import append_lines, read_lines
from klinehub.scan.pools import Market, Merged, due, next_due, refresh
from klinehub.scan.scanner import Universe
from klinehub.scan.universe_history import Change, History

# Real seconds after which a choice that failed is tried again, and the longest wait for a pool's time.
_AGAIN: Final = 60.0
_LONGEST: Final = 3_600.0


class Told(NamedTuple):
    """How a choice learns of the market: exchange time in ms, listings and hours so far, and tickers."""

    now: Callable[[], int]
    market: Callable[[Mapping[str, Ticker]], Market]
    tickers: Callable[[], Awaitable[Mapping[str, Ticker]]]


class Choosing:
    """Keeps the universe that *rules* choose; *record* is the file of its changes, if any."""

    def __init__(self, rules: Rules, told: Told, clock: Clock, record: Path | None = None) -> None:
        self.rules = rules
        self.merged: Merged | None = None
        self.failure = ""
        self.history: History = History(() if record is None else read_lines(record, Change))
        self._told = told
        self._clock = clock
        self._record = record
        self._tickers: Mapping[str, Ticker] = {}

    @property
    def universe(self) -> Universe | None:
        """The symbols that scans look at, None for all."""
        return None if self.merged is None else Universe(self.merged.time, self.merged.symbols)

    def begin(self, tickers: Mapping[str, Ticker]) -> None:
        """Choose for the first time; raises what `refresh` raises."""
        self._tickers = tickers
        merged, changes = refresh(self.rules, self._told.market(tickers), self._told.now())
        known = frozenset(() if self.history.since is None else self.history.at(merged.time))
        come = [one for one in changes if one.symbol not in known]
        gone = sorted(known.difference(merged.symbols))
        left = [Change(merged.time, name, entered=False, why="not chosen at a new start") for name in gone]
        self._take(merged, (*left, *come))

    def relisted(self) -> None:
        """Let symbols go at once that trade no more."""
        if self.merged is not None and not due(self.rules, self.merged, self._told.now()):
            self._choose()

    async def keep(self) -> None:
        """Choose each pool anew when its time comes, for ever."""
        while self.merged is not None:
            waits = self._clock.seconds_until(next_due(self.rules, self.merged))
            await asyncio.sleep(min(waits, _LONGEST))
            if not due(self.rules, self.merged, self._told.now()):
                continue
            try:
                self._tickers = await self._told.tickers()
            except KlinehubError as exc:
                self.failure = str(exc)
            else:
                self._choose()
            if self.failure:
                await asyncio.sleep(_AGAIN)

    def _choose(self) -> None:
        """Choose by what is known now; a failure leaves the universe as it was."""
        try:
            market = self._told.market(self._tickers)
            self._take(*refresh(self.rules, market, self._told.now(), self.merged))
        except KlinehubError as exc:
            self.failure = str(exc)

    def _take(self, merged: Merged, changes: Sequence[Change]) -> None:
        """Record what changed and take the choice over."""
        if self._record is not None:
            append_lines(self._record, changes)
        for change in changes:
            self.history.record(change)
        self.merged, self.failure = merged, ""


def hours_of(panel: PanelView, most: int) -> dict[str, F64]:
    """Give the turnover of each symbol's last *most* closed hours, oldest first, from its 1h panel."""
    cube = panel.cube(panel.closed_bar, min(most, panel.bars))
    amounts = cube[PLANES.index("quote_volume")]
    return dict(zip(panel.symbols, np.asarray(amounts), strict=True))
