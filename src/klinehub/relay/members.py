"""Members: which hubs share a market out among themselves, and which symbols are whose.

1. Each keeps a lease in a bucket of the server, which forgets it where it is not renewed: no clock of a hub
   counts. A member is counted once it says that it is ready.
2. A symbol belongs to the member whose name, hashed together with the symbol's, gives the largest number:
   when one goes only its symbols move, and all members come to the same answer without asking each other.
3. Who has no link keeps to what was last known for a while, and is alone then.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from hashlib import blake2b
from typing import Final

import msgspec

from klinehub.domain.clock import Clock
from klinehub.relay.link import Link

# Real seconds: a lease that is not renewed ends, it is renewed, and who has no link is alone.
LEASE: Final = 5.0
EVERY: Final = 1.0
ALONE: Final = 15.0


class Lease(msgspec.Struct, frozen=True):
    """What a member says of itself."""

    hub: str
    ready: bool


_lease = msgspec.json.Decoder(Lease).decode


def shard(symbols: Iterable[str], members: Collection[str], me: str, copies: int = 1) -> tuple[str, ...]:
    """Give those of *symbols* that are *me*'s; each belongs to so many *copies* of the members."""
    others = [name for name in members if name != me]
    return tuple(symbol for symbol in symbols if _before(symbol, others, me) < copies)


def _before(symbol: str, others: Iterable[str], me: str) -> int:
    """Count the members that come before *me* for a symbol."""
    mine = _weight(symbol, me)
    return sum(_weight(symbol, name) > mine for name in others)


def _weight(symbol: str, name: str) -> tuple[bytes, str]:
    return blake2b(f"{name}\n{symbol}".encode(), digest_size=8).digest(), name


class Membership:
    """This hub's place among those that share a market; *on_change* is told the members that are ready."""

    def __init__(self, name: str, clock: Clock, on_change: Callable[[frozenset[str]], None]) -> None:
        self.ready = False
        self.members: frozenset[str] = frozenset()
        # Set when it was looked for others once.
        self.looked = asyncio.Event()
        self._name = name
        self._monotonic = clock.monotonic
        self._on_change = on_change
        self._linked = clock.monotonic()

    async def run(self, link: Link) -> None:
        """Keep the lease and look who else has one; ends with the link."""
        leases = await link.leases(LEASE)
        began = self._monotonic()
        while True:
            await leases.put(self._name, msgspec.json.encode(Lease(self._name, self.ready)))
            found = {lease.hub for lease in map(_lease, await leases.all()) if lease.ready}
            if self._monotonic() - began < LEASE:
                # Whose lease ended while the server was away has had no time to renew it.
                found |= self.members
            self._linked = self._monotonic()
            self._set(found - {self._name})
            await asyncio.sleep(EVERY)

    async def watch(self) -> None:
        """Be alone when there was no link for some seconds, until cancelled."""
        while True:
            if self._monotonic() - self._linked > ALONE:
                self._set(set())
            await asyncio.sleep(EVERY)

    def _set(self, others: Collection[str]) -> None:
        found = frozenset(others)
        changed = found != self.members or not self.looked.is_set()
        self.members = found
        self.looked.set()
        if changed:
            self._on_change(found)
