"""Clients, unchanged but for their base URLs, get the same of a hub as of its exchange by REST."""

import asyncio
import json
import urllib.request
from collections.abc import Awaitable, Callable
from functools import partial
from operator import methodcaller
from typing import Any, Final

import pytest
from tests.client.hubs import Lent, lent
from tests.client.test_hub_streams import of_futures

from klinehub.domain.listing import Listing
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(180)
START: Final = 1_795_252_512_345
SYMBOLS: Final = 30
# Names of letters that are not ASCII, of a thousand coins, of a quarter, and of what trades no more.
KINDS: Final[dict[str, Callable[[Listing], bool]]] = {
    "plain": lambda one: one.trading and one.symbol == "BTCUSDT",
    "not ASCII": lambda one: one.trading and not one.symbol.isascii(),
    "thousands": lambda one: one.trading and one.symbol.startswith("1000"),
    "quarterly": lambda one: one.trading and one.contract_type.endswith("QUARTER"),
    "delisted": lambda one: not one.trading and one.contract_type == "PERPETUAL",
}
# Tickers are those of the last second, with the time at which they were told.
TOLD_WHEN: Final = {"time", "openTime", "closeTime", "serverTime", "timestamp", "datetime", "info"}
TRIES: Final = 100


def chosen(running: Lent) -> dict[str, str]:
    """Give one symbol of each kind."""
    listings = running.exchange.exchange.source.listings()
    return {kind: next(one.symbol for one in listings if fits(one)) for kind, fits in KINDS.items()}


def plain(told: Any) -> Any:
    """Leave out when something was told."""
    if isinstance(told, dict):
        return {name: plain(value) for name, value in told.items() if name not in TOLD_WHEN}
    return [plain(one) for one in told] if isinstance(told, list) else told


async def assert_same(ask: Callable[[Any], Awaitable[Any]], exchange: Any, hub: Any) -> None:
    """Hold what a client of the hub gets against that of one of the exchange, at one of a few moments."""
    told: tuple[Any, Any] = (None, "nothing")
    for _ in range(TRIES):
        told = tuple(plain(one) for one in await asyncio.gather(ask(exchange), ask(hub)))
        if told[0] == told[1]:
            return
        await asyncio.sleep(0.03)
    assert told[1] == told[0]


def klines(client: Any, *, name: str, **more: Any) -> Awaitable[Any]:
    return client.fetch_ohlcv(name, "5m", **more)  # type: ignore[no-any-return] # ccxt has no types


def in_thread(client: Any, **asked: Any) -> Awaitable[Any]:
    return asyncio.to_thread(client.futures_klines, **asked)


async def test_ccxt_gets_the_same() -> None:
    import ccxt.async_support as ccxt

    async with lent(synthetic(SYMBOLS, 1, start=START), START, 1.0, tickers=True) as running:
        exchange = ccxt.binanceusdm(of_futures(running.exchange.rest_url, running.exchange.ws_url))
        hub = ccxt.binanceusdm(of_futures(running.rest_url, running.ws_url))
        try:
            await assert_same(lambda client: client.load_markets(), exchange, hub)
            names = {market["id"]: name for name, market in hub.markets.items()}
            for symbol in chosen(running).values():
                for more in (dict[str, int](), {"limit": 50}, {"since": START - 7_200_000, "limit": 20}):
                    ask = partial(klines, name=names[symbol], **more)
                    await assert_same(ask, exchange, hub)
            await assert_same(lambda client: client.fetch_ticker("BTC/USDT:USDT"), exchange, hub)
            for client in (exchange, hub):
                with pytest.raises(ccxt.BadSymbol):
                    await client.fapiPublicGetKlines({"symbol": "NOPEUSDT", "interval": "1m"})
        finally:
            await exchange.close()
            await hub.close()


async def test_python_binance_gets_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from binance import AsyncClient, Client

    async with lent(synthetic(SYMBOLS, 1, start=START), START, 1.0, tickers=True) as running:
        clients, plainly = [], []
        for url in (running.exchange.rest_url, running.rest_url):
            for kind in (AsyncClient, Client):
                monkeypatch.setattr(kind, "API_URL", f"{url}/api")
                monkeypatch.setattr(kind, "FUTURES_URL", f"{url}/fapi")
            clients.append(await AsyncClient.create())
            plainly.append(await asyncio.to_thread(Client))
        try:
            await assert_same(lambda client: client.futures_exchange_info(), *clients)
            for symbol in chosen(running).values():
                asked = {"symbol": symbol, "interval": "15m", "limit": 60}
                await assert_same(methodcaller("futures_klines", **asked), *clients)
                await assert_same(partial(in_thread, **asked), *plainly)
            await assert_same(lambda client: client.futures_ticker(symbol="BTCUSDT"), *clients)
        finally:
            for client in clients:
                await client.close_connection()
            for client in plainly:
                client.close_connection()
                # It made a loop of its own in the thread that it was made in.
                client.loop.close()


async def test_a_remote_pairlist_is_what_freqtrade_reads() -> None:
    """The fetch as freqtrade's RemotePairList makes it: a GET whose JSON has `pairs`."""
    async with lent(synthetic(SYMBOLS, 1, start=START), START, 1.0) as running:

        def fetch() -> Any:
            with urllib.request.urlopen(f"{running.rest_url}/freqtrade/pairlist", timeout=10) as answer:
                assert "application/json" in answer.headers["Content-Type"]
                return json.loads(answer.read())

        told = await asyncio.to_thread(fetch)

        assert set(told) >= {"pairs", "refresh_period"}
        assert len(told["pairs"]) == len(running.hub.symbols)
        assert "BTC/USDT:USDT" in told["pairs"]
