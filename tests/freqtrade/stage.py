"""What the bot trades on: a simulated exchange and a hub that is served, and what is asked of either."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from aiohttp import web

from klinehub.app.library import Hub, system_clock
from klinehub.dialect.rest import Tap
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import timeframe
from klinehub.feed.forwarded import Call
from klinehub.serve.dropin import STALE_HEADER
from klinehub.serve.guard import Caller
from klinehub.serve.parts import lent
from klinehub.serve.site import Part, Site
from klinehub.settings import ServeSettings
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.market import Market
from klinehub.sim.synthetic import synthetic

KLINES: Final = "/fapi/v1/klines"
MINUTE: Final = timeframe("1m")


class Answered(NamedTuple):
    """A klines answer of the hub: when it was asked for and given, in market ms."""

    symbol: str
    asked: int
    given: int
    status: int
    stale: bool


@dataclass
class Stage:
    """A market, the hub's address, and every request: those of the bot and those at the exchange."""

    market: Market
    clock: Clock
    hub: Hub
    site: Site
    settings: ServeSettings
    asked: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    forwarded: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    klines: list[Answered] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where the hub answers REST."""
        return self.site.rest_url

    def truth(self, symbol: str, open_time: int) -> list[float]:
        """Give open, high, low, close and volume of a minute as the exchange has them."""
        i, index = self.market.index[symbol], MINUTE.index(open_time)
        exact = self.market.klines(i, MINUTE, index, index, self.clock.now())
        row = exact.rows[0]
        prices = [float(row[name]) for name in ("open", "high", "low", "close")]
        # Text to float as a client does it: a division would be rounded twice.
        return [*prices, float(f"{int(row['volume'])}e-{exact.scale.base}")]


class Noting(Site):
    """A site that notes what each of its parts is asked."""

    made: Stage

    def open(self, parts: Mapping[str, Part]) -> None:
        """Serve *parts* from now on."""
        super().open({prefix: _noting(part, self.made) for prefix, part in parts.items()})


@asynccontextmanager
async def stage(
    symbols: int, seed: int, speed: float, *, serve_as: ServeSettings | None = None
) -> AsyncIterator[Stage]:
    """Serve a hub on a simulated exchange whose time runs *speed* times as fast as this machine's."""
    clock = system_clock(rate=speed)
    exchange = Exchange(synthetic(symbols, seed, start=clock.now()), clock)
    served = await serve(exchange, port=0, ws_port=0)
    settings = serve_as or ServeSettings(port=0, ws_port=0)
    streams = f"{served.ws_url}/market/stream"
    hub = Hub(rest_url=served.rest_url, stream_url=streams, clock=clock, timeframes=["1m", "5m", "1h"])
    try:
        async with Noting(settings) as site, hub:
            made = site.made = Stage(exchange.market, clock, hub, site, settings)
            exchange.rest.tap = _counting(made.reached)
            forward = _passing(hub.rest.forward, made.forwarded)
            with patch.object(hub.rest, "forward", forward):
                async with lent(hub, settings, site):
                    await _fresh(hub)
                    yield made
    finally:
        await served.close()


async def _fresh(hub: Hub) -> None:
    """Wait until all series are proved fresh; before, the hub asks the exchange for its clients."""
    async with asyncio.timeout(60.0):
        while any(hub.stale(symbol) is not None for symbol in hub.symbols):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def _counting(counts: Counter[str]) -> Tap:
    """Count what reaches the exchange, whoever wants it."""

    async def count(
        request: web.Request, answer: Callable[[web.Request], web.Response]
    ) -> web.StreamResponse:
        counts[request.path] += 1
        return answer(request)

    return count


def _passing(forward: Callable[..., Any], counts: Counter[str]) -> Callable[..., Any]:
    """Count what the hub asks for on somebody else's behalf."""

    async def count(call: Call, **how: Any) -> Any:
        counts[call.path] += 1
        return await forward(call, **how)

    return count


def _noting(part: Part, made: Stage) -> Part:
    """Note what a part of the site is asked, and how long each klines answer took."""

    async def note(request: web.BaseRequest, caller: Caller) -> web.StreamResponse:
        asked = made.clock.now()
        response = await part(request, caller)
        made.asked[caller.path] += 1
        if response.status != 200:
            made.refused[f"{response.status} {caller.path}"] += 1
        if caller.path == KLINES:
            symbol, stale = request.query.get("symbol", ""), STALE_HEADER in response.headers
            made.klines.append(Answered(symbol, asked, made.clock.now(), response.status, stale))
        return response

    return note


def counts(one: Mapping[str, int]) -> dict[str, int]:
    """Give counts, the largest first."""
    return dict(sorted(one.items(), key=lambda item: -item[1]))
