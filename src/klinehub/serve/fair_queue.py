"""A queue in which the clients take turns, so that the flood of one holds up nobody else."""

import asyncio
from collections import OrderedDict
from typing import Final

MOST_WAITING: Final = 512
MOST_EACH: Final = 64

Ticket = asyncio.Future[None]


class FairQueue:
    """Lets at most *width* through at a time: of each client in order of arrival, one client after the other.

    A ticket may stand in the lines of several clients, and counts in each. It is called once, by the first
    whose turn it is; who was called says so with `leave`.
    """

    def __init__(self, width: int, *, most: int = MOST_WAITING, most_each: int = MOST_EACH) -> None:
        self._free = width
        self._most = most
        self._most_each = most_each
        self._lines: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many places in lines are taken."""
        return sum(map(len, self._lines.values()))

    def has_room(self, client: str) -> bool:
        """Say whether one more may wait for a client."""
        return self.waiting < self._most and len(self._lines.get(client, ())) < self._most_each

    def join(self, client: str, ticket: Ticket) -> None:
        """Wait for a client: the ticket is called when its turn has come, which may be now."""
        self._lines.setdefault(client, OrderedDict())[ticket] = None
        self._call()

    def drop(self, ticket: Ticket) -> None:
        """Wait no longer; one that was called already gives its turn back."""
        self._forget(ticket)
        if ticket.done() and not ticket.cancelled():
            self.leave()
        ticket.cancel()

    def leave(self) -> None:
        """Make room for the next."""
        self._free += 1
        self._call()

    def _call(self) -> None:
        while self._free and self._lines:
            client, line = next(iter(self._lines.items()))
            self._lines.move_to_end(client)
            ticket = next(iter(line))
            self._forget(ticket)
            if not ticket.done():
                self._free -= 1
                ticket.set_result(None)

    def _forget(self, ticket: Ticket) -> None:
        """Take a ticket out of every line that it stands in."""
        for client in [client for client, line in self._lines.items() if ticket in line]:
            del self._lines[client][ticket]
            if not self._lines[client]:
                del self._lines[client]
