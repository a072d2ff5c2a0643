"""Markets: all that one program follows, the first and further ones, each with a hub of its own.

1. Every hub has streams, a ring, a budget and a store of its own; all run in one event loop.
2. A further market begins when the first one is live. The first neither waits for it nor ends with it.
3. One that cannot be started, or is lost, is said to be, and tried again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from klinehub.errors import DefinitionError, KlinehubError, UnknownName
from klinehub.hub import Hub

# Real seconds until a market is tried again that could not be started.
AGAIN: Final = 30.0
# What is told of each market.
TOLD: Final = (
    *("symbols", "fresh_symbols", "stale_symbols", "stale_reasons", "missing_bars", "reconnects"),
    *("rest_closed", "rest_weight", "panel_bytes"),
)

Opened = Callable[[], AbstractAsyncContextManager[Hub]]


class Further:
    """One further market, *name*, that a hub made by *opened* follows; *say* is told when it comes and goes.

    `hub` is None while it is not live, and `trouble` why it could not be the last time.
    """

    def __init__(
        self, name: str, opened: Opened, say: Callable[[str], None] = lambda _: None, *, again: float = AGAIN
    ) -> None:
        self.name = name
        self.hub: Hub | None = None
        self.trouble = ""
        self._opened = opened
        self._say = say
        self._again = again

    async def run(self) -> None:
        """Follow the market until cancelled; where it cannot be, say why and try again."""
        while True:
            await self._attend()
            await asyncio.sleep(self._again)

    async def _attend(self) -> None:
        try:
            async with self._opened() as hub:
                self.hub, self.trouble = hub, ""
                self._say(f"{self.name}: {len(hub.symbols)} symbols are followed too")
                await asyncio.Event().wait()
        except KlinehubError as exc:
            if self.trouble != str(exc):
                self.trouble = str(exc)
                self._say(f"{self.name} is not followed, and tried again every {self._again:.0f} s: {exc}")
        finally:
            self.hub = None


class Markets:
    """The markets of one program: *first*, and those of *further* that are live."""

    def __init__(self, first: Hub, further: Sequence[Further] = ()) -> None:
        self.first = first
        self.further = {one.name: one for one in further}

    @property
    def there(self) -> list[Hub]:
        """The hubs that are live, the first one in front, and the one of the pairs beside it at the end."""
        beside = None if self.first.spot is None else self.first.spot.market
        found = [self.first, *(one.hub for one in self.further.values()), beside]
        return [one for one in found if isinstance(one, Hub)]

    def find(self, name: str) -> Hub | None:
        """Give the live hub of a market, None where there is none; spot may be that of the pairs."""
        return next((one for one in self.there if one.settings.exchange == name), None)

    def hub(self, name: str | None) -> Hub:
        """Give the hub of a market, without a name the first; raises DefinitionError where it is not live."""
        found = self.first if name is None else self.find(name)
        if found is not None:
            return found
        if name is None or name not in self.further:
            raise UnknownName("market of the running hub", str(name), self._names)
        raise DefinitionError(self.absence(name))

    def absence(self, name: str) -> str:
        """Say why a further market is not there."""
        why = self.further[name].trouble
        return f"{name} is not there yet: {why or 'it is still starting.'}"

    def stats(self) -> dict[str, dict[str, dict[str, int | float | str]]]:
        """Tell of each of several markets what it holds, how fresh that is and what its budget is.

        They are under "markets" by their names; of one market alone nothing is told here.
        """
        return {"markets": {name: self._told(name) for name in self._names}} if self.further else {}

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.first.settings.exchange, *self.further)

    def _told(self, name: str) -> dict[str, int | float | str]:
        hub = self.first if name not in self.further else self.further[name].hub
        if hub is None:
            return {"trouble": self.absence(name)}
        told = hub.get_stats()
        return {
            **{name: told[name] for name in TOLD},
            "weight_used": hub.gate.used,
            "weight_limit": hub.settings.weight_limit,
        }

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow the further markets while the block runs; a bug in one ends it with its exception."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one.run(), name=one.name) for one in self.further.values()]
                try:
                    yield
                finally:
                    for task in tasks:
                        task.cancel()
        except BaseExceptionGroup as several:
            if len(several.exceptions) == 1:
                raise several.exceptions[0] from None
            raise
