"""Subscribers: who follows the closes, each with a bounded queue; one that is too slow is cut."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import Final

from klinehub.errors import DataError
from klinehub.feed.decisions import BarClosed

# Closes that a subscriber has not taken yet; a slower one is cut, because a close is never left out.
MOST_PENDING: Final = 256

_Queue = asyncio.Queue[BarClosed | None]


class Subscribers:
    """The queues of those who follow the closes of a hub."""

    def __init__(self) -> None:
        self._queues: list[_Queue] = []

    def __len__(self) -> int:
        return len(self._queues)

    def tell(self, closed: Iterable[BarClosed]) -> None:
        """Pass closes on to everybody."""
        for event in closed:
            self._put(event)

    def end(self) -> None:
        """End what everybody gets."""
        self._put(None)

    async def closes(self) -> AsyncGenerator[BarClosed, None]:
        """Yield each close told from now on; raises DataError when the caller falls too far behind."""
        queue: _Queue = asyncio.Queue(MOST_PENDING)
        self._queues.append(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
            if queue not in self._queues:
                raise DataError(
                    f"The reader fell {MOST_PENDING} closes behind and was cut: read again from the panel."
                )
        finally:
            if queue in self._queues:
                self._queues.remove(queue)

    def _put(self, event: BarClosed | None) -> None:
        """Add an event to every queue; one without room is emptied, ended and left out from now on."""
        for queue in list(self._queues):
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
                self._queues.remove(queue)
            else:
                queue.put_nowait(event)
