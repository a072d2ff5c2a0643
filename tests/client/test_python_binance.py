"""python-binance, unchanged but for its base URLs, against the simulated exchange over real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from klinehub.domain.clock import Clock
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(180)
START = 1_795_252_512_345


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    from binance import AsyncClient, BinanceSocketManager

    clock = Clock(START, 60.0, time.monotonic)
    running = await serve(Exchange(synthetic(40, 1, start=START), clock), port=0, ws_port=0)
    # Its constructor pings spot and asks it for the time.
    monkeypatch.setattr(AsyncClient, "API_URL", f"{running.rest_url}/api")
    monkeypatch.setattr(AsyncClient, "FUTURES_URL", f"{running.rest_url}/fapi")
    monkeypatch.setattr(BinanceSocketManager, "FSTREAM_URL", f"{running.ws_url}/")
    yield running
    await running.close()


async def test_python_binance_fetches_exchange_info_klines_and_tickers(served: Served) -> None:
    from binance import AsyncClient
    from binance.exceptions import BinanceAPIException

    client = await AsyncClient.create()
    try:
        info = await client.futures_exchange_info()
        assert len(info["symbols"]) == len(served.exchange.source.listings())
        rows = await client.futures_klines(symbol="BTCUSDT", interval="15m", limit=30)
        assert len(rows) == 30
        assert all(len(row) == 12 for row in rows)
        history = await client.futures_historical_klines("ETHUSDT", "1h", START - 86_400_000, START)
        assert len(history) == 24
        assert (await client.futures_ticker(symbol="BTCUSDT"))["symbol"] == "BTCUSDT"
        prices = await client.futures_symbol_ticker()
        assert any(price["symbol"] == "BTCUSDT" for price in prices)
        assert (await client.futures_mark_price(symbol="BTCUSDT"))["symbol"] == "BTCUSDT"
        with pytest.raises(BinanceAPIException) as refused:
            await client.futures_klines(symbol="NOPEUSDT", interval="1m")
        assert refused.value.code == -1121
    finally:
        await client.close_connection()


async def next_event(socket: Any) -> dict[str, Any]:
    async with asyncio.timeout(20):
        event: dict[str, Any] = await socket.recv()
    return event


async def test_python_binance_watches_klines(served: Served) -> None:
    from binance import AsyncClient, BinanceSocketManager
    from binance.enums import ContractType

    client = await AsyncClient.create()
    manager = BinanceSocketManager(client)
    try:
        async with manager.kline_futures_socket(
            "BTCUSDT", "1m", contract_type=ContractType.PERPETUAL
        ) as socket:
            event = await next_event(socket)
            assert event["e"] == "continuous_kline"
            assert event["ps"] == "BTCUSDT"
        names = ["btcusdt@kline_1m", "ethusdt@kline_5m"]
        async with manager.futures_multiplex_socket(names) as socket:
            seen: set[str] = set()
            while seen != set(names):
                event = await next_event(socket)
                assert event["data"]["e"] == "kline"
                seen.add(event["stream"])
    finally:
        await client.close_connection()
