"""Visits: who has asked, and what became of it."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from aiohttp import web

from klinehub.serve.guard import Caller
from klinehub.serve.site import Part

# Callers that are remembered, and for how many real seconds.
MOST_CALLERS: Final = 10_000
RECENT: Final = 300.0


class Visits:
    """Counts requests by part and status, and callers of the last minutes; *monotonic* gives real seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._counts: Counter[tuple[str, str]] = Counter()
        self._seen: OrderedDict[str, float] = OrderedDict()

    @property
    def counted(self) -> list[tuple[tuple[str, str], float]]:
        """How many requests each part has answered with each status."""
        return sorted((key, float(count)) for key, count in self._counts.items())

    @property
    def recent(self) -> int:
        """How many callers have come lately."""
        self._forget()
        return len(self._seen)

    def counting(self, name: str, part: Part) -> Part:
        """Make a part that counts who comes."""

        async def answer(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
            self._seen[caller.name] = self._monotonic()
            self._seen.move_to_end(caller.name)
            if len(self._seen) > MOST_CALLERS:
                self._seen.popitem(last=False)
            status = "500"
            try:
                response = await part(request, caller)
                status = str(response.status)
            finally:
                self._counts[name, status] += 1
            return response

        return answer

    def _forget(self) -> None:
        since = self._monotonic() - RECENT
        while self._seen and next(iter(self._seen.values())) < since:
            self._seen.popitem(last=False)
