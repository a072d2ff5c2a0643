"""The door to the exchange: new connections of a whole hub, paced, and those who wait woken together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

# The exchange takes 300 new connections in any 5 minutes from one address. Of a burst of 50 and one more
# every 1.5 s no 5 minutes ever see more than 250, and nobody is shut out for long after a storm.
REFILL: Final = 1.5
BURST: Final = 49
PAUSE: Final = 0.1
# A handshake that hangs must not hold up the whole hub.
AT_ONCE: Final = 3


class Doorman:
    """Lets the seats of a hub open their connections one after the other, and rotate one at a time."""

    def __init__(self) -> None:
        self._door = asyncio.Semaphore(AT_ONCE)
        self._opened = float("-inf")
        self._full = float("-inf")
        self._waiting: dict[asyncio.Event, None] = {}
        self._rotating: int | None = None

    @asynccontextmanager
    async def door(self) -> AsyncIterator[None]:
        """Wait until a connection may be opened, and open it inside."""
        async with self._door:
            now = asyncio.get_running_loop().time()
            start = max(now, self._opened + PAUSE, self._full - BURST * REFILL)
            self._opened, self._full = start, max(self._full, start) + REFILL
            await asyncio.sleep(start - now)
            yield

    async def rest(self, news: asyncio.Event, seconds: float, *, alone: bool) -> None:
        """Wait until *news*, or *seconds*, or, unless *alone*, until a socket of any seat comes up.

        Those who wait for an exchange that is away leave half of the burst for when it is back.
        """
        if self._full - asyncio.get_running_loop().time() > BURST * REFILL / 2:
            seconds = max(seconds, 2 * REFILL * (len(self._waiting) + 1))
        if not alone:
            self._waiting[news] = None
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.pop(news, None)

    def came_up(self) -> None:
        """Let everybody who waits try at once: the exchange can be reached again."""
        for news in self._waiting:
            news.set()

    def may_rotate(self, number: int) -> bool:
        """Let a seat begin its planned rotation, unless another one is about it."""
        if self._rotating is None:
            self._rotating = number
        return self._rotating == number

    def rotated(self, number: int) -> None:
        """End a planned rotation."""
        if self._rotating == number:
            self._rotating = None
