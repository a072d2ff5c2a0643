"""ccxt, unchanged but for its base URLs, against the simulated exchange over real sockets."""

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
async def served() -> AsyncIterator[Served]:
    # Fast enough that a minute closes while a client watches.
    clock = Clock(START, 60.0, time.monotonic)
    exchange = Exchange(synthetic(40, 1, start=START), clock)
    running = await serve(exchange, port=0, ws_port=0)
    yield running
    await running.close()


def urls(served: Served) -> dict[str, Any]:
    paths = {"fapiPublic": "/fapi/v1", "fapiPublicV2": "/fapi/v2", "fapiPublicV3": "/fapi/v3"}
    rest = {name: served.rest_url + path for name, path in paths.items()}
    # The key was called future until 2026, linear since.
    return {"api": {**rest, "ws": dict.fromkeys(("future", "linear"), f"{served.ws_url}/ws")}}


async def test_ccxt_fetches_markets_klines_and_tickers(served: Served) -> None:
    import ccxt.async_support as ccxt

    client = ccxt.binanceusdm({"urls": urls(served)})
    try:
        markets = await client.load_markets()
        listings = served.exchange.source.listings()
        assert {market["id"] for market in markets.values()} == {one.symbol for one in listings}
        # The names that signals and the pairlist give.
        assert {market["symbol"] for market in markets.values()} == {one.unified for one in listings}
        assert markets["BTC/USDT:USDT"]["precision"]["price"] == 0.1
        rows = await client.fetch_ohlcv("BTC/USDT:USDT", "5m", limit=50)
        assert len(rows) == 50
        assert all(low <= min(o, c) <= max(o, c) <= high for _, o, high, low, c, _ in rows)
        ticker = await client.fetch_ticker("BTC/USDT:USDT")
        assert ticker["symbol"] == "BTC/USDT:USDT"
        tickers = await client.fetch_tickers()
        trading = [one for one in listings if one.trading]
        assert len(tickers) == len(trading)
        assert await client.fetch_time() > START
        with pytest.raises(ccxt.BadSymbol):
            await client.fapiPublicGetKlines({"symbol": "NOPEUSDT", "interval": "1m"})
    finally:
        await client.close()


async def test_ccxt_watches_klines(served: Served) -> None:
    from ccxt import pro

    client = pro.binanceusdm({"urls": urls(served)})
    try:
        await client.load_markets()
        opens: set[int] = set()
        async with asyncio.timeout(20):
            while len(opens) < 3:
                rows = await client.watch_ohlcv("ETH/USDT:USDT", "1m")
                opens.update(row[0] for row in rows)
        newest = await client.fetch_ohlcv("ETH/USDT:USDT", "1m", since=min(opens), limit=1)
        assert newest[0][0] == min(opens)
        many = await client.watch_ohlcv_for_symbols([["BTC/USDT:USDT", "1m"], ["SOL/USDT:USDT", "5m"]])
        assert many
    finally:
        await client.close()
