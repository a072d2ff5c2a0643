"""What a hub asks of an exchange: weight by minute as it arrives, and requests sent during a ban."""

from types import SimpleNamespace
from typing import Final

import aiohttp

from klinehub.dialect.tally import Account, Tally
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import MINUTE
from klinehub.feed.rest import date_of
from klinehub.sim.loop import SimNetwork
from klinehub.sim.oracle import Divergence

_REFUSED: Final = frozenset({418, 429})
# Seconds are whole in Retry-After.
_ROUNDING: Final = 1_000


class Spending(Tally):
    """A tally that remembers the weight of each minute and what went over *cap*.

    `refused_until` is the exchange time (ms) that a refusal has named to a client; a restart forgets nothing.
    """

    def __init__(self, limit: int, cap: int) -> None:
        super().__init__(True, limit)  # noqa: FBT003 - a dataclass takes its fields in order
        self.cap = cap
        self.weights: dict[int, int] = {}
        self.found: list[Divergence] = []
        self.refused_until = 0

    def spend(self, address: str, weight: int, now: int) -> Account:
        """Count a request as every tally does."""
        minute = now // MINUTE
        before = self.weights.get(minute, 0)
        self.weights[minute] = before + weight
        if before <= self.cap < before + weight:
            detail = f"{before + weight} weight in a minute with a budget of {self.cap}"
            self.found.append(Divergence("I5", "", "", minute * MINUTE, detail, now))
        return super().spend(address, weight, now)


class WatchedNetwork(SimNetwork):
    """A network that sees when a refusal has reached the client and what it sends all the same."""

    def __init__(self, clock: Clock, spending: Spending) -> None:
        self._clock = clock
        self._spending = spending

    def session(self, url: str, *, timeout: float) -> aiohttp.ClientSession:
        """Give a new HTTP session whose requests are watched."""
        session = super().session(url, timeout=timeout)
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._sent)
        trace.on_request_end.append(self._answered)
        trace.freeze()
        session.trace_configs.append(trace)
        return session

    async def _sent(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestStartParams
    ) -> None:
        now, until = self._clock.now(), self._spending.refused_until
        if now < until:
            detail = f"{params.url.path} was asked {until - now} ms before a refusal ends"
            self._spending.found.append(Divergence("I5", "", "", 0, detail, now))

    async def _answered(
        self, _: aiohttp.ClientSession, __: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        if params.response.status in _REFUSED:
            seconds = int(params.response.headers.get("Retry-After", "0"))
            # From when it was told, not from when it came: an answer may be under way for long.
            told = date_of(params.response.headers.get("Date")) or self._clock.now()
            until = told + seconds * 1000 - _ROUNDING
            self._spending.refused_until = max(self._spending.refused_until, until)
