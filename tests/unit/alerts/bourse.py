"""A made-up market whose bars close when a test says so, with rules that are decided at each close."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.unit.factors.markets import BASE, FIRST, HOUR, Live, histories

from klinehub.alerts.deciding import Deciding
from klinehub.alerts.log import Log
from klinehub.alerts.outbox import MEMORY, Logged, Outbox
from klinehub.alerts.rule import Rule, RuleText, rule_of
from klinehub.alerts.telling import Market
from klinehub.errors import StoreError
from klinehub.panel.history import History
from klinehub.scan.alerts import Alert
from klinehub.scan.copies import Ground
from klinehub.scan.scanner import default_screen
from klinehub.scan.schedule import Due
from klinehub.scan.screen import Screen

BARS: Final = 400
KEPT: Final = 300
# Ms after a bar's end at which it is told, and at which a hub looks at what it missed.
TOLD: Final = 500
LATER: Final = 60_000


class Bourse:
    """Bars of ten symbols on 15m and 1h; `at` is the last 15m bar that has closed."""

    def __init__(self, seed: int = 3, symbols: int = 10) -> None:
        self.whole = histories(seed, symbols, BARS)
        self.panels = {name: Live(history, KEPT) for name, history in self.whole.items()}
        self.now = 0
        self.skipped = 0
        self._due: asyncio.Queue[Due] = asyncio.Queue()
        self._taken = asyncio.Event()
        self.go(FIRST + 150)

    @property
    def at(self) -> int:
        return self.panels["15m"].end

    def go(self, bar: int, after: int = TOLD) -> None:
        """Have bars closed up to one, and tell nobody."""
        self.panels["15m"].end = bar
        self.now = BASE.close_time(bar) + 1 + after
        self.panels["1h"].end = HOUR.index(self.now) - 1

    async def close(self, bar: int, revision: int = 0) -> None:
        """Close a bar, and wait until it was decided."""
        self.go(bar)
        await self.tell(bar, revision)

    async def tell(self, bar: int, revision: int = 0) -> None:
        self._taken.clear()
        self._due.put_nowait(Due("15m", bar, (), revision))
        await self._taken.wait()

    async def due(self, _: Collection[str]) -> AsyncGenerator[tuple[Due, int], None]:
        while True:
            yield await self._due.get(), self.skipped
            self._taken.set()

    def hide(self, symbol: str, bar: int) -> Callable[[], None]:
        """Take a symbol's bar away; gives what brings it back, late."""
        history: History = self.whole["15m"]
        row, place = history.symbols.index(symbol), bar - history.first
        kept = history.planes[:, row, place].copy()
        history.planes[:, row, place] = np.nan

        def bring() -> None:
            history.planes[:, row, place] = kept

        return bring

    @property
    def market(self) -> Market:
        panels: Mapping[str, Any] = self.panels
        return Market(
            ground=Ground(panels, None, {}),
            now=lambda: self.now,
            due=self.due,
            ahead=lambda name, bar: Opened(self.panels[name], bar),
            universe=lambda: None,
            stale=lambda _: {},
            pair=lambda symbol: f"pair of {symbol}",
        )


class Opened:
    """A panel with the bar that is open, as it will close."""

    def __init__(self, panel: Live, bar: int) -> None:
        self.timeframe, self.symbols, self.bars = panel.timeframe, panel.symbols, panel.bars
        self.closed_bar, self.beside, self.changes = bar, panel.beside, panel.changes
        self.complete_from, self._panel, self.lacks = panel.complete_from, panel, panel.lacks

    def cube(self, bar: int, length: int, rows: Any = None, *, beside: Sequence[str] = ()) -> Any:
        if bar != self.closed_bar:
            return self._panel.cube(bar, length, rows, beside=beside)
        return self._panel._history.cube(bar, length, rows, beside=beside)


def base(frame: str | None) -> Screen:
    return default_screen(("15m", "1h"), frame or "15m", benchmark=False)


def rule(name: str, where: str, **more: Any) -> Rule:
    return rule_of(name, RuleText(where=where, **more), base, {})


class Failing(Outbox):
    """An outbox whose disk refuses as long as it is told to."""

    refuses = False

    def decided(self, decision: Any) -> Any:
        if self.refuses:
            raise StoreError("the disk is full")
        return super().decided(decision)


class Desk:
    """Rules that are being decided, and what was told of it."""

    def __init__(self, deciding: Deciding, log: Log, outbox: Failing) -> None:
        self.deciding, self.log, self.outbox = deciding, log, outbox
        self.told: list[Logged] = []

    def entries(self) -> list[tuple[str, str, int]]:
        """Give the log: the rule, the symbol and the bar of each alert."""
        alerts = [one.kept.alert for one in self.outbox.entries(limit=100_000)]
        return [(one.rule, one.symbol, BASE.index(one.bar_open_time)) for one in alerts]


def everybody(_: Alert, to: Sequence[str]) -> tuple[str, ...]:
    return tuple(to) or ("phone",)


@asynccontextmanager
async def deciding(
    bourse: Bourse, rules: Sequence[Rule], path: Path | None = None, *, oldest: int = 10**12
) -> AsyncIterator[Desk]:
    """Decide rules while the block runs, from where they stood in the file *path*."""
    outbox = Failing(path or MEMORY, now=bourse.now)
    async with Log(lambda: outbox) as log:
        told: list[Logged] = []
        one = Deciding(bourse.market, log, reach=everybody, on_kept=told.extend, oldest=oldest)
        desk = Desk(one, log, outbox)
        desk.told = told
        await one.begin(rules)
        task = asyncio.create_task(one.run())
        try:
            yield desk
        finally:
            task.cancel()
            await asyncio.wait([task])
