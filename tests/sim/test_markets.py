"""Several markets in one program, on virtual time: each told by its own hub, at the same address."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp
import numpy as np
import pytest

from klinehub.domain.clock import Clock
from klinehub.errors import DefinitionError, FeedError, UnknownName
from klinehub.feed.use import Use
from klinehub.hub import Hub
from klinehub.serve.markets import Further, Markets
from klinehub.serve.parts import lent
from klinehub.serve.site import Site
from klinehub.settings import HubSettings, ServeSettings
from klinehub.sim.coinm import CoinMarket
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.market import Market
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(180)
# 2026-11-21 09:15:12.345 UTC
START: Final = 1_795_252_512_345
SPOT, COINM = "binance-spot", "binance-coinm"
T = TypeVar("T")


@dataclass
class Scene:
    """The exchanges by market, the hubs of one program, and somebody who asks it."""

    exchanges: dict[str, Served]
    markets: Markets
    session: aiohttp.ClientSession
    url: str
    said: list[str]

    async def ask(self, path: str, **params: Any) -> tuple[int, bytes]:
        """Ask the program."""
        async with self.session.get(self.url + path, params=params) as answer:
            return answer.status, await answer.read()

    async def told(self, name: str, path: str, **params: Any) -> bytes:
        """Ask an exchange itself."""
        async with self.session.get(self.exchanges[name].rest_url + path, params=params) as answer:
            return await answer.read()


def hub_of(name: str, served: Served, clock: Clock, **settings: Any) -> Hub:
    route = "/market/stream" if name == "binance-usdm" else "/stream"
    there: dict[str, Any] = {"rest_url": served.rest_url, "stream_url": f"{served.ws_url}{route}"}
    wanted = HubSettings(exchange=name, **{**there, "bars": 60, "timeframes": ("1m", "5m"), **settings})
    jitter = np.random.default_rng(7).random
    return Hub(wanted, clock=clock, network=SimNetwork(), jitter=jitter)


@asynccontextmanager
async def scene(loop: SimLoop, opened: Callable[..., Hub] = hub_of) -> AsyncIterator[Scene]:
    """Follow three simulated markets in one program for as long as the block runs."""
    clock, futures = Clock(START, 1.0, loop.time), synthetic(20, 1, start=START, churn_hours=0)
    kinds: dict[str, Market] = {
        "binance-usdm": futures,
        SPOT: SpotMarket(futures),
        COINM: CoinMarket(futures),
    }
    async with AsyncExitStack() as stack:
        exchanges = {}
        for name, market in kinds.items():
            exchanges[name] = await serve(Exchange(market, clock), port=0, ws_port=0)
            stack.push_async_callback(exchanges[name].close)
        said: list[str] = []
        first = await stack.enter_async_context(
            hub_of("binance-usdm", exchanges["binance-usdm"], clock, tickers=True)
        )
        further = [
            Further(name, partial(opened, name, exchanges[name], clock), said.append, again=20.0)
            for name in (SPOT, COINM)
        ]
        markets, serving = Markets(first, further), ServeSettings(port=0, ws_port=0)
        site = await stack.enter_async_context(Site(serving))
        session = await stack.enter_async_context(SimNetwork().session(site.rest_url, timeout=30.0))
        await stack.enter_async_context(markets.following())
        await stack.enter_async_context(lent(first, serving, site, markets=markets))
        yield Scene(exchanges, markets, session, site.rest_url, said)


def played(act: Callable[[Scene], Awaitable[T]], opened: Callable[..., Hub] = hub_of) -> T:
    async def main(loop: SimLoop) -> T:
        async with scene(loop, opened) as there:
            return await act(there)

    return run(main)


def test_each_path_is_answered_by_the_market_that_has_it_there() -> None:
    asked = {
        "binance-usdm": ("/fapi/v1/", "BTCUSDT"),
        SPOT: ("/api/v3/", "BTCUSDT"),
        COINM: ("/dapi/v1/", "BTCUSD_PERP"),
    }

    async def act(there: Scene) -> list[Any]:
        await asyncio.sleep(90)
        found: list[Any] = []
        for name, (root, symbol) in asked.items():
            params = {"symbol": symbol, "interval": "1m", "limit": "20"}
            status, body = await there.ask(f"{root}klines", **params)
            found.append((name, status, there.markets.hub(name).gate.spent_by_use[Use.FORWARDED]))
            theirs = json.loads(await there.told(name, f"{root}klines", **params))
            # The last one is still open, and grows.
            assert json.loads(body)[:-1] == theirs[:-1]
            assert len(theirs) == 20
            listed = json.loads((await there.ask(f"{root}exchangeInfo"))[1])["symbols"]
            assert len(listed) == len(there.exchanges[name].exchange.source.listings())
        return found

    assert played(act) == [(name, 200, 0) for name in asked]


def test_every_closed_bar_of_every_market_is_the_exchanges_own() -> None:
    async def act(there: Scene) -> list[Any]:
        await asyncio.sleep(150)
        found = []
        for hub in there.markets.there:
            verified = await hub.verify()
            found.append((verified.checked > 60, len(verified.different), verified.failed))
        return found

    assert played(act) == [(True, 0, {})] * 3


def test_a_range_in_coins_is_counted_from_its_end() -> None:
    async def act(there: Scene) -> tuple[list[Any], list[Any]]:
        await asyncio.sleep(60)
        now = START + 60_000
        params = {"symbol": "ETHUSD_PERP", "interval": "1m", "limit": "5"}
        asked = params | {"startTime": str(now - 3_000_000), "endTime": str(now - 600_000)}
        ours = json.loads((await there.ask("/dapi/v1/klines", **asked))[1])
        return ours, json.loads(await there.told(COINM, "/dapi/v1/klines", **asked))

    ours, theirs = played(act)

    assert ours == theirs
    assert len(ours) == 5
    assert ours[-1][6] > START + 60_000 - 600_000 - 60_000


def test_turnover_in_coins_is_told_in_dollars() -> None:
    async def act(there: Scene) -> tuple[dict[str, float], list[dict[str, Any]]]:
        await asyncio.sleep(60)
        told = json.loads(await there.told(COINM, "/dapi/v1/ticker/24hr"))
        return there.markets.hub(COINM).turnover, told

    turnover, told = played(act)
    bitcoin = next(one for one in told if one["symbol"] == "BTCUSD_PERP")

    assert turnover["BTCUSD_PERP"] == pytest.approx(float(bitcoin["volume"]) * 100, rel=0.01)
    worth = float(bitcoin["baseVolume"]) * float(bitcoin["weightedAvgPrice"])
    assert turnover["BTCUSD_PERP"] == pytest.approx(worth, rel=0.05)


def test_volumes_mean_the_same_in_every_market_to_whoever_reads_a_panel() -> None:
    async def act(there: Scene) -> list[Any]:
        await asyncio.sleep(75)
        found = []
        for hub in there.markets.there:
            panel = hub.panel("1m")
            closed, open_ = panel.cube(panel.closed_bar, 30), panel.open_cube(panel.closed_bar + 1, 2)
            for cube in (closed, open_[:, :, -1:]):
                _, high, low, _, volume, paid, _, taker, taker_paid = cube
                traded = volume > 0
                tight = 1e-6
                for sold, money in (
                    (volume, paid),
                    (np.where(taker > 0, taker, 1), np.maximum(taker_paid, 0)),
                ):
                    some = traded & (money > 0)
                    average = money[some] / sold[some]
                    assert (average <= high[some] * (1 + tight)).all()
                    assert (average >= low[some] * (1 - tight)).all()
            found.append((hub.ring.contracts is not None, bool((closed[4] > 0).any())))
        return found

    assert played(act) == [(False, True), (False, True), (True, True)]


def test_streams_are_told_under_the_name_of_their_market() -> None:
    async def act(there: Scene) -> dict[str, str]:
        await asyncio.sleep(60)
        found = {}
        for path, name in (
            ("/ws", "btcusdt@kline_1m"),
            ("/usdm/ws", "btcusdt@kline_1m"),
            ("/spot/ws", "btcusdt@kline_1m"),
            ("/coinm/ws", "btcusd_perp@kline_1m"),
            ("/coinm/market/ws", "btcusd_perp@kline_1m"),
        ):
            address = there.url.replace("http", "ws", 1)
            async with there.session.ws_connect(f"{address}{path}/{name}") as socket:
                told = json.loads((await socket.receive()).data)
            found[path] = f"{told['s']} {told['k']['c']}"
        return found

    told = played(act)

    assert told["/ws"] == told["/usdm/ws"]
    assert told["/spot/ws"].split()[1] != told["/ws"].split()[1]
    assert {told[path].split()[0] for path in ("/coinm/ws", "/coinm/market/ws")} == {"BTCUSD_PERP"}


def test_one_that_cannot_be_started_is_said_and_tried_again_and_takes_none_down() -> None:
    tries = []

    def opened(name: str, served: Served, clock: Clock) -> Hub:
        if name == SPOT:
            tries.append(clock.now())
            if len(tries) < 3:
                raise FeedError("REST is blocked (451).")
        return hub_of(name, served, clock)

    async def act(there: Scene) -> None:
        await asyncio.sleep(10)
        status, body = await there.ask("/api/v3/klines", symbol="BTCUSDT", interval="1m")
        assert (status, "blocked (451)" in body.decode()) == (503, True)
        assert [hub.settings.exchange for hub in there.markets.there] == ["binance-usdm", COINM]
        assert "blocked" in str(there.markets.stats()["markets"][SPOT]["trouble"])
        with pytest.raises(DefinitionError, match="not there yet"):
            there.markets.hub(SPOT)
        with pytest.raises(UnknownName, match="binance-usdm"):
            there.markets.hub("binance-us")
        await asyncio.sleep(60)
        assert (await there.ask("/api/v3/klines", symbol="BTCUSDT", interval="1m"))[0] == 200
        told = there.markets.stats()["markets"]
        assert [told[name]["fresh_symbols"] == told[name]["symbols"] for name in told] == [True] * 3
        assert told[COINM]["weight_limit"] == 2_400
        # The same trouble is said once.
        assert [line.split()[0] for line in there.said] == [SPOT, f"{COINM}:", f"{SPOT}:"]

    played(act, opened)
    assert len(tries) == 3


def test_a_bug_in_a_further_market_is_not_swallowed() -> None:
    def opened(name: str, served: Served, clock: Clock) -> Hub:
        if name == COINM:
            raise ZeroDivisionError
        return hub_of(name, served, clock)

    with pytest.raises(ZeroDivisionError):
        played(lambda _: asyncio.sleep(60), opened)


def test_of_one_market_alone_nothing_more_is_told() -> None:
    async def act(there: Scene) -> Any:
        alone = Markets(there.markets.first)
        return alone.stats(), alone.hub(None) is there.markets.first

    assert played(act) == ({}, True)
