"""A simulated exchange and an unmodified hub on one virtual-time loop, and the truth to hold them against."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from unittest.mock import patch

import numpy as np

from klinehub.dialect.params import Rejected
from klinehub.dialect.tally import Account, Tally
from klinehub.domain.clock import Clock
from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import MINUTE, Timeframe
from klinehub.feed.decisions import BarClosed
from klinehub.hub import Hub
from klinehub.settings import HubSettings
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.market import Market
from klinehub.sim.oracle import Remembering
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import synthetic
from klinehub.sim.wire import Link

T = TypeVar("T")
# A full hour, 2026-10-05 23:00.
HOUR: Final = 1_791_241_200_000
SYMBOLS: Final = 4
BARS: Final = 30
# This machine's clock is ahead of the exchange's.
SKEW: Final = 1_700


@dataclass(frozen=True)
class Place:
    """What the simulated exchange is like; with *spot* it has a spot market, which the hub follows too.

    With *alone* the hub follows that one only.
    """

    symbols: int = SYMBOLS
    limit: int = 2400
    spot: bool = False
    alone: bool = False
    rate: float = 1.0
    churn_hours: int = 0
    flat_closes: bool = True


@dataclass
class World:
    """A market that is live, a hub that follows it, and every close that the hub has announced."""

    loop: SimLoop
    market: Market
    clock: Clock
    served: Served
    hub: Hub
    closes: list[tuple[float, BarClosed]] = field(default_factory=list)
    weights: dict[int, int] = field(default_factory=dict)
    spot: Served | None = None
    refusals: int = 0

    @property
    def streams(self) -> list[Link]:
        """The connections that carry streams, in the order they were opened."""
        return [link for link in self.loop.links if link.server[1] == port_of(self.served.ws_url)]

    def truth(self, symbol: str, frame: Timeframe, first: int, last: int) -> Exact:
        """Give the market's own bars as they are now."""
        return self.market.klines(self.market.index[symbol], frame, first, last, self.clock.now())

    def assert_true(self, *, settled: int = 5_000) -> None:
        """Hold all closed bars that ended *settled* ms ago or earlier against the market."""
        for frame in self.hub.timeframes:
            last = frame.index(self.clock.now() - settled) - 1
            first = frame.index(self.clock.now()) - self.hub.settings.bars
            panel = self.hub.panel(frame.name)
            for symbol in self.hub.symbols:
                kept = panel.exact(symbol, start=first, end=last)
                assert plainly(kept) == plainly(self.truth(symbol, frame, first, last)), (symbol, frame.name)

    def assert_open_bars_true(self) -> None:
        """Hold all forming bars against the market; call it within a quarter second after a pulse."""
        for frame in self.hub.timeframes:
            now = frame.index(self.clock.now())
            for symbol in self.hub.symbols:
                kept = self.hub.panel(frame.name).exact(symbol, start=now, end=now, forming=True)
                assert plainly(kept) == plainly(self.truth(symbol, frame, now, now)), (symbol, frame.name)

    def announced(self) -> list[tuple[str, int]]:
        """Give timeframe and end (ms) of each close that was announced."""
        return [(one.timeframe, end_of(self.hub, one)) for _, one in self.closes]


def plainly(exact: Exact) -> list[tuple[Any, ...]]:
    """Give rows with volumes that do not depend on how many decimals are kept."""
    powers = {"volume": exact.scale.base, "taker_base": exact.scale.base}
    powers |= {"quote_volume": exact.scale.quote, "taker_quote": exact.scale.quote}
    names = exact.rows.dtype.names or ()
    return [
        tuple(int(row[name]) * 10 ** (18 - powers[name]) if name in powers else row[name] for name in names)
        for row in exact.rows
    ]


def end_of(hub: Hub, closed: BarClosed) -> int:
    """Give the first moment after a bar."""
    frame = hub.panel(closed.timeframe).timeframe
    return frame.open_time(closed.bar + 1)


def port_of(url: str) -> int:
    """Give the port of an address."""
    return int(url.rsplit(":", 1)[1])


@asynccontextmanager
async def world(
    loop: SimLoop, *, start: int, seed: int, place: Place, **settings: Any
) -> AsyncIterator[World]:
    """Open a market at *start* (ms), let a hub warm up and follow it, and gather what it announces."""
    market: Market = Remembering(synthetic(place.symbols, seed, start=start, churn_hours=place.churn_hours))
    clock = Clock(start, place.rate, loop.time)
    exchange = Exchange(market, clock, weight_limit=place.limit, flat_closes=place.flat_closes)
    served = await serve(exchange, port=0, ws_port=0)
    spot = await serve(Exchange(SpotMarket(market), clock), port=0, ws_port=0) if place.spot else None
    addresses: dict[str, Any] = {"rest_url": served.rest_url, "stream_url": f"{served.ws_url}/market/stream"}
    if spot is not None and place.alone:
        addresses = {"rest_url": spot.rest_url, "stream_url": f"{spot.ws_url}/stream"}
        settings = {"exchange": "binance-spot", "weight_limit": 6_000} | settings
        market = spot.exchange.market
    elif spot is not None:
        addresses |= {"spot_rest_url": spot.rest_url, "spot_stream_url": f"{spot.ws_url}/stream"}
        settings = {"spot": True} | settings
    wanted = HubSettings(**addresses, **{"bars": BARS, "weight_limit": place.limit} | settings)
    jitter = np.random.default_rng([seed, 7]).random
    hub = Hub(wanted, clock=Clock(start + SKEW, place.rate, loop.time), network=SimNetwork(), jitter=jitter)
    made = World(loop, market, clock, spot if spot and place.alone else served, hub, spot=spot)
    try:
        with weighed(made):
            async with hub:
                listening = asyncio.create_task(listen(made))
                yield made
                listening.cancel()
    finally:
        await served.close()
        if spot is not None:
            await spot.close()


async def listen(made: World) -> None:
    """Gather closes with the exchange time at which they were announced."""
    async for closed in made.hub.closes():
        made.closes.append((made.clock.now(), closed))


def weighed(made: World) -> Any:
    """Note, while it lasts, the weight spent in each minute of exchange time and every refusal."""
    spend = Tally.spend

    def counted(tally: Tally, address: str, weight: int, now: int) -> Account:
        made.weights[now // MINUTE] = made.weights.get(now // MINUTE, 0) + weight
        try:
            return spend(tally, address, weight, now)
        except Rejected:
            made.refusals += 1
            raise

    return patch.object(Tally, "spend", counted)


def play(
    act: Callable[[World], Awaitable[T]],
    *,
    start: int = HOUR,
    seed: int = 1,
    place: Place | None = None,
    **settings: Any,
) -> T:
    """Run *act* in a world of its own on virtual time; *settings* are the hub's."""

    async def main(loop: SimLoop) -> T:
        async with world(loop, start=start, seed=seed, place=place or Place(), **settings) as made:
            return await act(made)

    return run(main, seed=seed)
