"""Silence: streams of a seat that tell nothing any more, and what is done about it."""

import asyncio
from collections.abc import Sequence
from typing import Final

from klinehub.feed.seat import Seat

# Streams that tell of a whole market beat every few seconds. Real seconds of silence until their seat is
# stirred, and by how much the next ones may be longer.
SILENT: Final = 15.0
LONGER: Final = 4


class Silence:
    """When each of *names* was heard last; *what* they tell is named in what is said about it."""

    def __init__(self, names: Sequence[str], what: str) -> None:
        self._what = what
        self._heard = dict.fromkeys(names, float("-inf"))

    def begin(self) -> None:
        """Count from now on."""
        self._heard = dict.fromkeys(self._heard, asyncio.get_running_loop().time())

    def heard(self, name: str) -> None:
        """Take note that a stream told something."""
        self._heard[name] = asyncio.get_running_loop().time()

    def since(self, name: str) -> float:
        """Give when a stream was heard last, or when counting began (seconds of the loop)."""
        return self._heard[name]

    def silent(self, *names: str) -> list[str]:
        """Give those of *names*, or of all, that have told nothing for too long."""
        now = asyncio.get_running_loop().time()
        return [name for name in names or self._heard if now - self._heard[name] >= SILENT]

    async def stir(self, seat: Seat) -> None:
        """Ask silent streams' names anew, then change their socket, then its route, waiting ever longer."""
        stirred = 0
        while True:
            await asyncio.sleep(SILENT * min(2**stirred, LONGER))
            silent = self.silent()
            if not silent or not seat.up:
                stirred = 0
                continue
            reason = f"no {self._what} came for {SILENT:g} s"
            if stirred == 0:
                seat.resubscribe(silent)
            elif stirred == 1:
                seat.renew(reason, overlap=False)
            else:
                seat.reroute(reason)
            stirred += 1
