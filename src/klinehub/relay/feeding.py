"""Feeding: from a link to what a hub keeps - the listing first, then all that is kept, then the news."""

import asyncio
from collections.abc import Callable
from typing import Final

from klinehub.errors import DataError, RelayError
from klinehub.relay.link import Kept, Link
from klinehub.relay.messages import Bars, Listed, Pulse, decode

# Real seconds between two looks for somebody who tells of the market.
AGAIN: Final = 2.0


class Feeding:
    """Reads what others tell and hands it on; what hub *name* told itself is left out.

    `listed` is done with the first listing, `caught_up` is set when all that the stream kept was handed on.
    Nothing is handed on before `ready` is set. *aside* is told why a message could not be used.
    """

    def __init__(
        self,
        name: str,
        *,
        bars: int,
        on_bars: Callable[[Bars], None],
        on_pulse: Callable[[Pulse], None],
        on_listing: Callable[[Listed], None],
        aside: Callable[[str], None],
        on_wait: Callable[[str], None],
    ) -> None:
        self.listed: asyncio.Future[Listed] = asyncio.get_running_loop().create_future()
        self.ready = asyncio.Event()
        self.caught_up = asyncio.Event()
        self._name = name
        self._bars = bars
        self._on_bars, self._on_pulse, self._on_listing = on_bars, on_pulse, on_listing
        self._aside = aside
        self._on_wait = on_wait
        self._next = 1

    async def run(self, link: Link) -> None:
        """Go on where the last link broke; ends with this one."""
        await link.prepare(2 * self._bars)
        if self._next > await link.last() + 1:
            self._next = 1  # the stream was made anew
        if not self.listed.done():
            self.listed.set_result(await self._first(link))
        await self.ready.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear(link))
            async for kept in link.read(link.subjects.klines, self._next):
                if kept is None:
                    self.caught_up.set()
                else:
                    self._take(link, kept)
                    self._next = kept.sequence + 1

    async def _first(self, link: Link) -> Listed:
        """Wait until somebody tells of this market."""
        while (data := await link.newest(link.subjects.listing)) is None:
            self._on_wait(f"No hub has told of {link.subjects.market} there yet: start one with --publish.")
            await asyncio.sleep(AGAIN)
        self._on_wait("")
        try:
            return decode(data, Listed)
        except DataError as exc:
            raise RelayError(str(exc)) from exc

    def _take(self, link: Link, kept: Kept) -> None:
        """Hand a message on; one that says nothing is set aside, and ends nothing else."""
        try:
            if kept.subject == link.subjects.listing:
                self._on_listing(decode(kept.data, Listed))
                return
            told = decode(kept.data, Bars)
            if told.hub != self._name:
                self._on_bars(told)
        except DataError as exc:
            self._aside(str(exc))

    async def _hear(self, link: Link) -> None:
        async for data in link.listen(link.subjects.pulse()):
            try:
                told = decode(data, Pulse)
                if told.hub != self._name:
                    self._on_pulse(told)
            except DataError as exc:
                self._aside(str(exc))
