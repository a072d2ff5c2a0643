"""The scan desk: scans that somebody asks for over the network, which hold up nothing else.

1. A scan is made in a thread, from a copy of the bars that it reads; a few at a time, and of more than fit in
   the line the last are refused.
2. Who asks for what was asked for since the last close is given the same scan; who asks for what is being
   scanned waits for that.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from klinehub.hub import Hub
from klinehub.scan.pools import Merged
from klinehub.scan.running import Scan
from klinehub.scan.screen import Screen
from klinehub.serve.routes import NotAnswered

AT_A_TIME: Final = 2
MOST_WAITING: Final = 32
MOST_KEPT: Final = 64

T = TypeVar("T")
_State = tuple[int, ...]


class ScanDesk:
    """Makes scans of a hub's market; `waiting` counts those that were not begun."""

    def __init__(self, hub: Hub) -> None:
        self.waiting = 0
        self._merged: tuple[_State, Merged] | None = None
        self._hub = hub
        self._turn = asyncio.Semaphore(AT_A_TIME)
        self._kept: OrderedDict[tuple[str, str], tuple[_State, asyncio.Task[Scan]]] = OrderedDict()

    async def scan(self, screen: Screen) -> Scan:
        """Hold the market against a screen at the newest closed bar.

        Raises NotAnswered where too many wait already, and DefinitionError for what can not be looked for.
        """
        key, state = (screen.name, screen.hash), self._state()
        if key not in self._kept or self._kept[key][0] != state or self._kept[key][1].cancelled():
            self._check_line()
            self._kept[key] = state, asyncio.create_task(self._made(screen))
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        # Whoever asked first may go away: others wait for the same.
        found = await asyncio.shield(self._kept[key][1])
        names = [hit.symbol for hit in found.result.results]
        return msgspec.structs.replace(found, stale=self._hub.all_stale(names))

    def merged(self) -> Merged:
        """Give the universe that scans look at, worked out once until the next close."""
        state = self._state()
        if self._merged is None or self._merged[0] != state:
            self._merged = state, self._hub.merged
        return self._merged[1]

    async def _made(self, screen: Screen) -> Scan:
        return await self._in_turn(lambda: self._hub.scanning.beside(screen))

    async def beside(self, work: Callable[[], Awaitable[T]]) -> T:
        """Have other work done as scans are, in their line; raises NotAnswered where too many wait."""
        self._check_line()
        return await self._in_turn(work)

    def _check_line(self) -> None:
        if self.waiting >= MOST_WAITING:
            raise NotAnswered(503, "Busy", f"{self.waiting} scans wait already: ask again in a moment.")

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        self.waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self.waiting -= 1
        try:
            return await work()
        finally:
            self._turn.release()

    def _state(self) -> _State:
        """Give what a scan depends on beside its screen."""
        hub = self._hub
        counts, universe = hub.core.counts, hub.choosing.universe
        chosen = 0 if universe is None else universe.time
        return counts.closes, counts.corrections, len(hub.symbols), chosen, hub.scanning.calibrated
