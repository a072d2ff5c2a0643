"""The log: the outbox in a thread of its own, so that no disk holds the event loop up."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from klinehub.alerts.outbox import Outbox

T = TypeVar("T")


class Log:
    """Opens an outbox while the `async with` block runs, and does work on it, one piece after the other.

    Whoever decides and whoever delivers share one. Raises StoreError where the outbox can not be opened.
    """

    def __init__(self, open_outbox: Callable[[], Outbox]) -> None:
        self._open = open_outbox
        self._outbox: Outbox
        self._thread = ThreadPoolExecutor(1, "alerts")

    async def __aenter__(self) -> Self:
        self._outbox = await self._beside(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(self._beside(self._outbox.close))
        self._thread.shutdown(wait=False)

    async def do(self, work: Callable[[Outbox], T]) -> T:
        """Do *work* on the outbox; raises StoreError where the disk refuses.

        Work whose caller is cancelled is done all the same.
        """
        return await self._beside(lambda: work(self._outbox))

    async def _beside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
