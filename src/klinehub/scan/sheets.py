"""Sheets: the values of all symbols, live at each close, at a past bar, or bar by bar for one symbol.

1. A scanner begins in a thread, on copies: a first look takes 50 ms and more, a later one 2.
2. From then on it reads the live panels, and each close costs one step a symbol.
3. When symbols come, another one is begun in its place.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager
from typing import TypeVar

from klinehub.factors.engine import Engine
from klinehub.factors.expr import terms
from klinehub.factors.section import SECTIONS
from klinehub.panel.memory import F64
from klinehub.panel.view import PanelView
from klinehub.scan.copies import Ground
from klinehub.scan.scanner import Scanner, Sheet
from klinehub.scan.schedule import Schedule
from klinehub.scan.screen import Screen

T = TypeVar("T")
# Has a schedule told what the feed decides while a block runs; the event rings at each.
Following = Callable[[Schedule], AbstractContextManager[asyncio.Event]]


class Sheets:
    """Computes sheets on some *ground*; screens have to name their timeframe.

    *ahead* gives the panels with their open bars, and which one is open for a scanner; *ended* says that
    nothing closes any more, and *monotonic* gives real seconds.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        following: Following,
        ahead: Callable[[Scanner], tuple[Mapping[str, PanelView], int]],
        ended: Callable[[], bool],
        monotonic: Callable[[], float],
    ) -> None:
        self._ground = ground
        self._following = following
        self._ahead = ahead
        self._ended = ended
        self._monotonic = monotonic

    async def live(self, screen: Screen, every: float | None = None) -> AsyncGenerator[Sheet, None]:
        """Yield every symbol's values of a screen now, and at each close of its timeframe.

        A bar that came late, or was corrected, gives them again with a higher `revision`. With *every* also
        those of the bar that is open, so many real seconds after the last ones.
        """
        schedule = Schedule([screen.timeframe or ""])
        with self._following(schedule) as wake:
            while not self._ended():
                scanner, sheet = await self._begun(screen)
                if every is not None:
                    # Loading what only a look ahead runs takes 10 ms and more, once.
                    views, bar = self._ahead(scanner)
                    await asyncio.to_thread(views[scanner.timeframe].cube, bar, 1)
                yield sheet
                async for later in self._after(scanner, sheet.bar, schedule, wake, every):
                    yield later

    async def at(self, screen: Screen, bar: int) -> Sheet:
        """Give every symbol's values of a screen at a closed bar, from disk where it has left memory."""
        return (await self._begun(screen, bar))[1]

    async def series(self, screen: Screen, symbol: str, bar: int, bars: int) -> Mapping[str, F64]:
        """Give a screen's columns of one symbol at its last *bars* bars that end at a closed one.

        They are what scans gave at each of these bars, NaN where too little is kept to say so.
        """
        ground, frame = self._ground, screen.timeframe or ""
        among = None if _takes_all(screen) else [symbol]
        if among is not None and ground.benchmark in ground.panels[frame].symbols:
            among = list(dict.fromkeys((symbol, str(ground.benchmark))))
        views, _ = await ground.copies(screen, ground.rows(screen, bars), bar, among, from_disk=True)
        row = views[frame].symbols.index(symbol)

        def work() -> dict[str, F64]:
            engine = Engine(
                dict(screen.columns),
                views,
                frame,
                bars=bars,
                benchmark=ground.benchmark,
                listed=ground.listed,
            )
            return {name: values[row].copy() for name, values in engine.at(bar).items()}

        return await asyncio.to_thread(work)

    async def _begun(self, screen: Screen, bar: int | None = None) -> tuple[Scanner, Sheet]:
        """Begin a scanner in a thread, on copies; it goes on live from there."""
        ground = self._ground
        views, at = await ground.copies(screen, ground.rows(screen), bar, from_disk=bar is not None)

        def work() -> tuple[Scanner, Sheet]:
            scanner = ground.scanner([screen], views)
            return scanner, scanner.sheet(at)

        started = self._monotonic()
        scanner, sheet = await asyncio.to_thread(work)
        scanner.follow(ground.panels)
        return scanner, sheet._replace(seconds=self._monotonic() - started)

    async def _after(
        self, scanner: Scanner, bar: int, schedule: Schedule, wake: asyncio.Event, every: float | None
    ) -> AsyncGenerator[Sheet, None]:
        """Yield the sheets after that of *bar*, until symbols come."""
        panel = self._ground.panels[scanner.timeframe]
        while not self._ended():
            is_rung = await _rung(wake, every)
            if panel.symbols != scanner.engine.symbols:
                return
            while (due := schedule.next()) is not None:
                # What had closed when the scanner began is known to it.
                if due.bar > bar or due.revision:
                    started = self._monotonic()
                    sheet = scanner.sheet(due.bar)._replace(revision=due.revision)
                    yield sheet._replace(seconds=self._monotonic() - started)
            if not is_rung:
                yield scanner.sheet_ahead(*self._ahead(scanner))


async def _rung(wake: asyncio.Event, every: float | None) -> bool:
    """Wait until something is decided, at most so many seconds; False where nothing was."""
    try:
        async with asyncio.timeout(every):
            await wake.wait()
    except TimeoutError:
        return False
    wake.clear()
    return True


def _takes_all(screen: Screen) -> bool:
    """Say whether what a screen shows of one symbol takes all of them."""
    return any(term.op in SECTIONS for expr in screen.columns.values() for term in terms(expr))
