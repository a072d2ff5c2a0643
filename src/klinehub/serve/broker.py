"""The broker: what klinehub does not keep is asked of the exchange for its clients, under the one budget.

Equal requests that are on their way are one request, and its reply, or its failure, is that of all who
wait for it. Nothing is kept. Who asks for much waits behind who asks for little, and the user's own orders,
where they are passed on at all, wait behind nobody.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from klinehub.dialect.documented_weights import COUNT_SPAN, FUNDING, STATISTICS, Count
from klinehub.dialect.params import invalid_path
from klinehub.domain.timeframe import MINUTE
from klinehub.errors import DefinitionError, FeedError, Unanswered
from klinehub.feed.budget import WeightGate
from klinehub.feed.forwarded import Reply
from klinehub.feed.rest import RestClient
from klinehub.feed.use import Use
from klinehub.serve.admission import Admitted, Declined, admit
from klinehub.serve.fair_queue import FairQueue, Ticket
from klinehub.serve.quotas import Quota, Window
from klinehub.serve.refusals import declined, failed, passed_on

# Requests on their way to one market at once. A share of 480 a minute is spent by these in some seconds.
WIDTH: Final = 8
MOST_OWN: Final = 64
# Real seconds for which a request waits for its turn: most clients give up after ten in all.
HELD: Final = 5.0
# The part of what is counted by requests that is spent: other hubs on this address count for themselves.
COUNTED_SHARE: Final = 0.8
# The part of the limit that one client may spend a minute on reading its account.
OWN_READS: Final = 0.25
_UNAVAILABLE: Final = 503
_BROKEN: Final = 500
_DISCONNECTED: Final = -1001
_TOO_MANY: Final = -1003
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Upstream(NamedTuple):
    """A market that requests are passed on to, with the gate that paces everything it is asked."""

    rest: RestClient
    gate: WeightGate


class Forwarding(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker has done since the start: `weight` by client, `refused` by why."""

    forwarded: int
    coalesced: int
    errors: int
    waiting: int
    flying: int
    refused: dict[str, int]
    weight: dict[str, int]


@dataclass(eq=False, slots=True)
class _Flight:
    """One request for all who wait for the same."""

    ticket: Ticket
    task: "asyncio.Task[Reply]" = field(init=False)
    waiters: int = 0


class _Lane:
    """All that belongs to one market."""

    def __init__(self, upstream: Upstream, client_share: float, width: int) -> None:
        self.rest, self.gate = upstream
        self.queue = FairQueue(width)
        self.flights: dict[str, _Flight] = {}
        self.quota = Quota(int(self.gate.share(Use.FORWARDED) * client_share))
        self.own = Quota(int(self.gate.share(Use.ORDERS) * OWN_READS))
        self.windows = {
            count.name: Window(int(count.most * COUNTED_SHARE), COUNT_SPAN) for count in (FUNDING, STATISTICS)
        }

    @property
    def next_minute(self) -> int:
        """The seconds until the exchange counts anew."""
        return -(-(MINUTE - self.gate.now() % MINUTE) // 1000)


class Broker:
    """Passes requests on to *upstreams*, public ones where *forward*, signed ones and orders where *orders*.

    The markets are asked for with each request: one that is opened anew later has another gate then. A
    client may spend *client_share* of what forwarded requests may weigh in a minute. Clients are told apart
    by names, which are shown; so no name may be a token.
    """

    def __init__(
        self,
        upstreams: Callable[[], Iterable[Upstream]],
        *,
        forward: bool = True,
        orders: bool = False,
        client_share: float = 0.5,
        width: int = WIDTH,
        held: float = HELD,
    ) -> None:
        if not 0 < client_share <= 1:
            text = f"A client's share of {client_share:g} is none"
            raise DefinitionError(f"{text}: give more than 0 and at most 1 of what may be forwarded.")
        self._upstreams = upstreams
        self._lane_of = partial(_Lane, client_share=client_share, width=width)
        self._lanes: dict[str, _Lane] = {}
        self._closed = False
        self._forward = forward
        self._orders = orders
        self._held = held
        self._own = self._forwarded = self._coalesced = self._errors = 0
        self._refused: Counter[str] = Counter()

    async def forward(
        self,
        client: str,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] = _NO_HEADERS,
        body: bytes = b"",
    ) -> Reply:
        """Give the exchange's reply to a request, or a refusal in its dialect; *query* is as it came.

        A client that goes away cancels this; the request itself lives on while another waits for it.
        """
        try:
            asked = admit(method, path, query, headers, body, forward=self._forward, orders=self._orders)
            lane = self._lane(asked)
            if asked.key is None:
                return await self._pass_own(lane, client, asked)
            return await self._share(lane, client, asked, asked.key)
        except Declined as error:
            return self._decline(error)

    def _lane(self, asked: Admitted) -> _Lane:
        """Give the market that a request is for; raises `Declined` for one that is not followed here."""
        if self._closed:
            raise _stopping()
        upstream = next((one for one in self._upstreams() if one.rest.venue.speaks == asked.venue), None)
        if upstream is None:
            unknown = invalid_path(asked.call.path, asked.call.method)
            raise Declined("path", unknown.status, unknown.code, unknown.message)
        lane = self._lanes.get(asked.venue)
        if lane is None or lane.rest is not upstream.rest:
            lane = self._lanes[asked.venue] = self._lane_of(upstream)
        return lane

    def close(self) -> None:
        """Pass nothing more on, and give up what is on its way for everybody."""
        self._closed = True
        for lane in self._lanes.values():
            for flight in lane.flights.values():
                flight.task.cancel()

    def stats(self) -> Forwarding:
        """Tell what was forwarded, shared, refused and is waiting."""
        weight: Counter[str] = Counter()
        for lane in self._lanes.values():
            weight.update(lane.quota.totals)
            weight.update(lane.own.totals)
        return Forwarding(
            forwarded=self._forwarded,
            coalesced=self._coalesced,
            errors=self._errors,
            waiting=sum(lane.queue.waiting for lane in self._lanes.values()),
            flying=sum(len(lane.flights) for lane in self._lanes.values()) + self._own,
            refused=dict(self._refused),
            weight=dict(weight),
        )

    async def _share(self, lane: _Lane, client: str, asked: Admitted, key: str) -> Reply:
        """Wait for the request that is on its way already, or begin it."""
        flight = lane.flights.get(key)
        if flight is None:
            flight = self._begin(lane, client, asked, key)
        else:
            self._coalesced += 1
            if not flight.ticket.done() and lane.queue.has_room(client):
                lane.queue.join(client, flight.ticket)
        flight.waiters += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            if self._closed and flight.task.done():
                raise _stopping() from None
            raise
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                # Nobody may join what is being given up.
                lane.flights.pop(key, None)
                flight.task.cancel()

    def _begin(self, lane: _Lane, client: str, asked: Admitted, key: str) -> _Flight:
        """Put a request in the queue if the client, the budget and the queue have room for it."""
        weight, now = asked.price.weight, lane.gate.now()
        if not lane.quota.fits(client, weight, now):
            text = (
                f"Too much request weight used; klinehub passes on {lane.quota.most} per client and MINUTE."
            )
            raise Declined("quota", 429, _TOO_MANY, text, lane.next_minute)
        if not lane.gate.closed(now) and lane.gate.wait(weight, asked.use) > self._held:
            raise self._over(lane)
        if not lane.queue.has_room(client):
            raise Declined("queue", 429, _TOO_MANY, "Too many requests queued.", int(self._held) + 1)
        lane.quota.spend(client, weight, now)
        flight = lane.flights[key] = _Flight(asyncio.get_running_loop().create_future())
        lane.queue.join(client, flight.ticket)
        flight.task = asyncio.create_task(self._fly(lane, client, asked, key, flight), name="forwarded")
        return flight

    async def _fly(self, lane: _Lane, client: str, asked: Admitted, key: str, flight: _Flight) -> Reply:
        """Wait for the turn of a request, send it and give what all who wait for it get."""
        spent, until = lane.gate.now(), asyncio.get_running_loop().time() + self._held
        left = False
        try:
            await self._turn(lane, flight.ticket)
            try:
                # Who goes away while it is on its way has spent it all the same.
                left = True
                patience = max(0.0, until - asyncio.get_running_loop().time())
                reply, left = await self._send(lane, asked, patience)
            finally:
                lane.queue.leave()
        except Declined as error:
            left = False
            return self._decline(error)
        else:
            return reply
        finally:
            if not left:
                lane.quota.refund(client, asked.price.weight, spent)
            if lane.flights.get(key) is flight:
                del lane.flights[key]

    async def _turn(self, lane: _Lane, ticket: Ticket) -> None:
        """Wait until the queue calls a ticket; raises `Declined` when that takes too long."""
        try:
            async with asyncio.timeout(self._held):
                await ticket
        except BaseException as error:
            lane.queue.drop(ticket)
            if isinstance(error, TimeoutError):
                raise self._over(lane) from None
            raise

    async def _send(self, lane: _Lane, asked: Admitted, patience: float) -> tuple[Reply, bool]:
        """Send a request through the gate; gives what its client gets, and whether anything has left."""
        self._count(lane, asked.price.counted)
        try:
            reply = await lane.rest.forward(
                asked.call, weight=asked.price.weight, use=asked.use, patience=patience
            )
        except TimeoutError:
            raise self._over(lane) from None
        except (FeedError, DefinitionError) as error:
            left = isinstance(error, Unanswered)
            self._errors += left
            self._refused["closed"] += not left
            return failed(error, asked.call, lane.gate), left
        self._forwarded += 1
        self._errors += reply.status >= _BROKEN
        return passed_on(reply, asked.call, lane.gate), True

    async def _pass_own(self, lane: _Lane, client: str, asked: Admitted) -> Reply:
        """Send a signed request past everybody; reading an account is held to a quota, orders are not."""
        weight, now = asked.price.weight, lane.gate.now()
        if asked.call.method == "GET" and not lane.own.fits(client, weight, now):
            text = f"Too much request weight used; klinehub passes on {lane.own.most} per client and MINUTE."
            raise Declined("quota", 429, _TOO_MANY, text, lane.next_minute)
        if self._own >= MOST_OWN:
            raise Declined("queue", 429, _TOO_MANY, "Too many requests queued.", 1)
        self._own += 1
        lane.own.spend(client, weight, now)
        try:
            return (await self._send(lane, asked, self._held))[0]
        finally:
            self._own -= 1

    def _count(self, lane: _Lane, count: Count | None) -> None:
        """Count what the exchange counts by requests; raises `Declined` where there were too many."""
        if count is None:
            return
        window, now = lane.windows[count.name], lane.gate.now()
        if wait := window.wait(now):
            text = f"Too many requests; klinehub passes on {int(count.most * COUNTED_SHARE)} in 5 MINUTES."
            raise Declined("window", 429, _TOO_MANY, text, -(-wait // 1000))
        window.count(now)

    def _over(self, lane: _Lane) -> Declined:
        """Make the answer to who would wait for too long."""
        text = "Too much request weight used; klinehub's budget for this minute is spent"
        return Declined("budget", 429, _TOO_MANY, f"{text} or waited for by others.", lane.next_minute)

    def _decline(self, error: Declined) -> Reply:
        self._refused[error.kind] += 1
        return declined(error)


def _stopping() -> Declined:
    """Make the answer to who asks while klinehub stops."""
    return Declined("stopping", _UNAVAILABLE, _DISCONNECTED, "klinehub is stopping.")
