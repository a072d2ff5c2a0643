"""ccxt, unchanged but for its base URLs, against the simulated spot market over real sockets."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from klinehub.domain.clock import Clock
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(180)
START = 1_795_252_512_345


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    # Fast enough that a minute closes while a client watches.
    clock = Clock(START, 20.0, time.monotonic)
    running = await serve(Exchange(SpotMarket(synthetic(20, 1, start=START)), clock), port=0, ws_port=0)
    yield running
    await running.close()


def options(served: Served) -> dict[str, Any]:
    api = {"public": f"{served.rest_url}/api/v3", "ws": {"spot": f"{served.ws_url}/ws"}}
    return {"urls": {"api": api}, "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}}


async def test_ccxt_fetches_markets_klines_and_tickers(served: Served) -> None:
    import ccxt.async_support as ccxt

    client = ccxt.binance(options(served))
    try:
        markets = await client.load_markets()
        listings = served.exchange.source.listings()
        assert {market["id"] for market in markets.values()} == {one.symbol for one in listings}
        assert {market["symbol"] for market in markets.values()} == {one.unified for one in listings}
        assert (markets["BTC/USDT"]["precision"]["price"], markets["PEPE/USDT"]["spot"]) == (0.01, True)
        rows = await client.fetch_ohlcv("PEPE/USDT", "5m", limit=1000)
        assert len(rows) == 1000
        assert all(low <= min(o, c) <= max(o, c) <= high for _, o, high, low, c, _ in rows)
        assert len(await client.fetch_tickers()) == sum(one.trading for one in listings)
        assert (await client.fetch_ticker("BTC/USDT"))["symbol"] == "BTC/USDT"
        assert await client.fetch_time() > START
        with pytest.raises(ccxt.BadSymbol):
            await client.publicGetKlines({"symbol": "NOPEUSDT", "interval": "1m"})
    finally:
        await client.close()


async def test_ccxt_watches_klines(served: Served) -> None:
    from ccxt import pro

    client = pro.binance(options(served))
    try:
        await client.load_markets()
        opens: set[int] = set()
        async with asyncio.timeout(20):
            while len(opens) < 3:
                rows = await client.watch_ohlcv("ETH/USDT", "1m")
                opens.update(row[0] for row in rows)
        newest = await client.fetch_ohlcv("ETH/USDT", "1m", since=min(opens), limit=1)
        assert newest[0][0] == min(opens)
    finally:
        await client.close()
