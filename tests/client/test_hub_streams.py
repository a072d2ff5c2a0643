"""ccxt and python-binance, unchanged but for their base URLs, watch klines of a hub and of its exchange."""

import asyncio
from typing import Any

import pytest
from tests.client.hubs import lent

from klinehub.sim.market import Market
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(180)
START = 1_795_252_512_345
SYMBOLS = 12
# A minute takes a second: some close while a client watches.
RATE = 60.0


def market(*, spot: bool) -> Market:
    futures = synthetic(SYMBOLS, 1, start=START)
    return SpotMarket(futures) if spot else futures


def of_futures(rest_url: str, ws_url: str) -> dict[str, Any]:
    paths = {"fapiPublic": "/fapi/v1", "fapiPublicV2": "/fapi/v2", "fapiPublicV3": "/fapi/v3"}
    rest = {name: rest_url + path for name, path in paths.items()}
    return {"urls": {"api": {**rest, "ws": dict.fromkeys(("future", "linear"), f"{ws_url}/ws")}}}


def of_spot(rest_url: str, ws_url: str) -> dict[str, Any]:
    api = {"public": f"{rest_url}/api/v3", "ws": {"spot": f"{ws_url}/ws"}}
    return {"urls": {"api": api}, "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}}


async def watched(client: Any, symbol: str, timeframe: str, bars: int) -> dict[int, list[float]]:
    """Watch klines until *bars* of them are over; gives those, as last seen, by their open time."""
    seen: dict[int, list[float]] = {}
    async with asyncio.timeout(20):
        while len(seen) <= bars + 1:
            seen.update((row[0], row) for row in await client.watch_ohlcv(symbol, timeframe))
    # The first may have been seen from its middle on, the last is still open.
    return {time: seen[time] for time in sorted(seen)[1:-1]}


@pytest.mark.parametrize("kind", ["binanceusdm", "binance"])
async def test_ccxt_watches_the_same_klines_of_a_hub_as_of_its_exchange(kind: str) -> None:
    from ccxt import pro

    spot = kind == "binance"
    bars = 2 if spot else 3
    options, symbol = (of_spot, "ETH/USDT") if spot else (of_futures, "ETH/USDT:USDT")
    async with lent(market(spot=spot), START, RATE / 2 if spot else RATE) as running:
        clients = [
            getattr(pro, kind)(options(running.rest_url, running.ws_url)),
            getattr(pro, kind)(options(running.exchange.rest_url, running.exchange.ws_url)),
        ]
        try:
            for client in clients:
                await client.load_markets()
            hub, exchange = await asyncio.gather(*(watched(client, symbol, "1m", bars) for client in clients))
            both = hub.keys() & exchange.keys()
            series = [[symbol, "5m"], [symbol, "3m"]]
            many = await asyncio.wait_for(clients[0].watch_ohlcv_for_symbols(series), 20)
        finally:
            for client in clients:
                await client.close()

    assert len(both) >= bars - 1
    assert {time: hub[time] for time in both} == {time: exchange[time] for time in both}
    assert list(many) == [symbol]


def closes_of(events: list[dict[str, Any]]) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Give the bars that were told closed, without trade ids."""
    told = [event.get("data", event) for event in events]
    bars = [event["k"] | {"s": event.get("s"), "f": -1, "L": -1} for event in told]
    return {(bar["s"], bar["i"], bar["t"]): bar for bar in bars if bar["x"]}


async def heard(socket: Any, closes: int) -> list[dict[str, Any]]:
    """Give what a python-binance socket receives until so many closes have come."""
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(20), socket as stream:
        while len(closes_of(events)) < closes:
            events.append(await stream.recv())
    return events


async def test_python_binance_hears_the_same_of_a_hub_as_of_its_exchange(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from binance import AsyncClient, BinanceSocketManager
    from binance.enums import ContractType

    names = ["btcusdt@kline_1m", "btcusdt@kline_3m", "ethusdt@kline_1m"]
    async with lent(market(spot=False), START, RATE) as running:
        # Its constructor pings spot and asks it for the time.
        monkeypatch.setattr(AsyncClient, "API_URL", f"{running.exchange.rest_url}/api")
        monkeypatch.setattr(AsyncClient, "FUTURES_URL", f"{running.rest_url}/fapi")
        client = await AsyncClient.create()

        async def both(make: Any, closes: int) -> list[list[dict[str, Any]]]:
            sockets = []
            for url in (running.ws_url, running.exchange.ws_url):
                monkeypatch.setattr(BinanceSocketManager, "FSTREAM_URL", f"{url}/")
                sockets.append(make(BinanceSocketManager(client)))
            return list(await asyncio.gather(*(heard(socket, closes) for socket in sockets)))

        try:
            contract = ContractType.PERPETUAL
            raw = await both(lambda one: one.kline_futures_socket("BTCUSDT", "1m", contract_type=contract), 3)
            combined = await both(lambda one: one.futures_multiplex_socket(names), 7)
        finally:
            await client.close_connection()

    for hub, exchange in (raw, combined):
        mine, theirs = closes_of(hub), closes_of(exchange)
        both_told = mine.keys() & theirs.keys()
        assert len(both_told) >= 2
        assert {bar: mine[bar] for bar in both_told} == {bar: theirs[bar] for bar in both_told}
        assert hub[0].keys() == exchange[0].keys()
    assert {event["stream"] for event in combined[0]} == set(names)
