"""The drop-in: a hub's market answers REST as the exchange does, from what is kept.

1. Klines come from memory, and what lies before from the store, or from the exchange once, and is kept.
2. A request for a bar that has ended and is not proved yet is held until it is; nothing is asked meanwhile.
3. A series that is not proved fresh is asked of the exchange once for all callers, refused, or given with a
   header that says so, as the user chose. What is not kept at all is forwarded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from klinehub.dialect.params import Rejected
from klinehub.dialect.rest import Query, Reply, Rest, Wanted
from klinehub.domain.kline import Exact
from klinehub.errors import KlinehubError
from klinehub.serve.source import HubSource, Standing
from klinehub.serve.tellings import Tellings
from klinehub.settings import ServeSettings
from klinehub.store.joining import joined

STALE_HEADER: Final = "X-Klinehub-Stale"
# Market ms between two looks at whether a bar was proved.
LOOK: Final = 10
SOONEST_LOOK: Final = 0.002
UNAVAILABLE: Final = 503
# Seconds after which it is worth to ask again.
AGAIN: Final = "1"
# The exchange's own code for an answer that it cannot give now.
DISCONNECTED: Final = -1001

# What the exchange reads of a request for klines.
_READ: Final = (
    *("symbol", "pair", "contractType", "interval"),
    *("startTime", "endTime", "limit", "timeZone"),
)

# Asks the exchange for what is not kept: the client, method, path and query.
Forward = Callable[[str, str, str, Query], Awaitable[Reply]]


class DropIn:
    """Answers REST requests for one market; *forward* asks the exchange, None where nothing is forwarded."""

    def __init__(
        self, rest: Rest, source: HubSource, settings: ServeSettings, forward: Forward | None = None
    ) -> None:
        self.rest = rest
        self._source = source
        self._tellings = Tellings(source)
        self._settings = settings
        self._forward = forward

    def keeps(self, method: str, path: str, query: Query) -> bool:
        """Whether this is answered here; klines are, at least as a rule."""
        return method == "GET" and (path in self.rest.klines or self._tellings.tell(path, query))

    async def answer(self, client: str, method: str, path: str, query: Query) -> Reply:
        """Answer one request of a client."""
        try:
            headers = self.rest.charge(path, query, client)
            wanted = self.rest.wanted(method, path, query)
            if wanted is None:
                return Reply(200, self.rest.routes[path](self.rest, query), headers)
            return await self._klines(wanted, (client, method, path, query), headers)
        except Rejected as error:
            reply = self.rest.refusal(error, client)
            if error.status == UNAVAILABLE:
                reply.headers.setdefault("Retry-After", AGAIN)
            return reply

    async def _klines(
        self, wanted: Wanted, request: tuple[str, str, str, Query], headers: dict[str, str]
    ) -> Reply:
        standing = self._source.standing(wanted)
        if standing is Standing.ENDING:
            standing = await self._proved(wanted)
        if standing is Standing.KEPT:
            return Reply(200, self._print(self._source.klines(*wanted), wanted), headers)
        if standing is Standing.OLDER:
            found = await self._with_older(wanted)
            if found is not None:
                return Reply(200, self._print(found, wanted), headers)
        if standing in {Standing.STALE, Standing.ENDING}:
            return await self._stale(wanted, request, headers)
        return await self._elsewhere(*request, headers)

    async def _proved(self, wanted: Wanted) -> Standing:
        """Wait until the bars that are wanted are proved, at most as long as the user allows."""
        clock = self._source.clock
        until = clock.now() + int(self._settings.hold * 1000)
        # Who waits asks: an event for each bar of each series would be set 2,200 times a minute.
        while (standing := self._source.standing(wanted)) is Standing.ENDING and clock.now() < until:  # noqa: ASYNC110
            await asyncio.sleep(max(SOONEST_LOOK, LOOK / 1000 / clock.rate))
        return standing

    async def _with_older(self, wanted: Wanted) -> Exact | None:
        """Give the bars in memory and those before them, from the store or the exchange.

        None where they are fewer than asked for: only the exchange knows where it goes on behind a hole.
        """
        symbol, frame, first, last, limit = wanted
        begun = frame.index(self._source.hub.listings[symbol].onboard_time)
        start = max(begun, last - limit + 1 if first is None else first)
        last = last if first is None else min(last, start + limit - 1)
        kept = self._source.klines(symbol, frame, None, last, limit)
        behind = frame.index(int(kept.rows["open_time"][0])) if kept.rows.size else last + 1
        try:
            read = self._source.hub.shelf.levels.read
            older = await read(symbol, frame, frame.open_time(start), frame.open_time(behind))
        except KlinehubError as exc:
            raise Rejected(DISCONNECTED, str(exc), UNAVAILABLE) from exc
        found = joined([one for one in (older, kept) if one.rows.size] or [kept])
        return found if found.rows.size >= last - start + 1 else None

    async def _stale(
        self, wanted: Wanted, request: tuple[str, str, str, Query], headers: dict[str, str]
    ) -> Reply:
        """Answer for a series that is not proved fresh, as the user chose."""
        stale = self._source.hub.stale(wanted.symbol)
        reason = "its last bar is not proved yet" if stale is None else stale.reason
        if self._settings.stale == "header":
            told = {**headers, STALE_HEADER: reason}
            return Reply(200, self._print(self._source.klines(*wanted), wanted), told)
        if self._settings.stale == "ask" and self._forward is not None:
            return await self._elsewhere(*request, headers)
        text = (
            f"{wanted.symbol} {wanted.timeframe.name} is not proved fresh: {reason}. Ask again in a moment."
        )
        raise Rejected(DISCONNECTED, text, UNAVAILABLE)

    async def _elsewhere(
        self, client: str, method: str, path: str, query: Query, headers: Mapping[str, str]
    ) -> Reply:
        """Ask the exchange for klines that are not kept here, with what it reads of the request alone."""
        if self._forward is None:
            text = f"{path} is not kept here and nothing is forwarded: set `serve.forward` to change that."
            raise Rejected(DISCONNECTED, text, UNAVAILABLE)
        known = {name: value for name, value in query.items() if name in _READ}
        got = await self._forward(client, method, path, known)
        return Reply(got.status, got.body, {**headers, **got.headers})

    def _print(self, rows: Exact, wanted: Wanted) -> bytes:
        return self.rest.printed(rows, wanted.timeframe)
