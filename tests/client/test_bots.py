"""docs/bots.md, held to what it says: its lines run as they are printed, against a served hub."""

import asyncio
import json
import re
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import requests
from tests.freqtrade import bot
from tests.freqtrade.stage import Stage, stage

from klinehub.serve.site import Site
from klinehub.settings import ServeSettings

pytestmark = pytest.mark.timeout(180)
PAGE: Final = Path(__file__).parents[2] / "docs" / "bots.md"
REST, STREAMS = "http://127.0.0.1:8787", "ws://127.0.0.1:8788"
SECRET: Final = "a-secret-of-22-characters-0123456789"
BTC: Final = "BTC/USDT:USDT"


def printed(client: str, language: str) -> str:
    """Give the block of *language* that the page prints under the heading of a client."""
    section = PAGE.read_text("utf-8").split(f"\n## {client}\n")[1].split("\n## ")[0]
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    return str(block)


def run(client: str, rest: str, streams: str = STREAMS, kind: str = "ccxt.async_support") -> dict[str, Any]:
    """Run what the page prints, with other addresses or another *kind* of ccxt; gives its names."""
    names: dict[str, Any] = {}
    text = printed(client, "python").replace(REST, rest).replace(STREAMS, streams)
    exec(text.replace("ccxt.async_support", kind), names)
    return names


@pytest.fixture
async def made() -> AsyncIterator[Stage]:
    async with stage(6, 1, 1.0) as one:
        yield one


@pytest.fixture
def classes() -> Iterator[None]:
    """Leave python-binance's classes as they were."""
    from binance import AsyncClient, BinanceSocketManager, Client

    kept = [(kind, name, getattr(kind, name)) for kind in (Client, AsyncClient) for name in vars_of(kind)]
    kept.append((BinanceSocketManager, "FSTREAM_URL", BinanceSocketManager.FSTREAM_URL))
    yield
    for kind, name, value in kept:
        setattr(kind, name, value)


def vars_of(kind: type) -> list[str]:
    return [name for name in dir(kind) if name in {"API_URL", "FUTURES_URL", "FUTURES_DATA_URL"}]


async def test_ccxt_as_printed_gets_klines_of_the_hub(made: Stage) -> None:
    exchange = run("ccxt", made.url)["exchange"]
    try:
        rows = await exchange.fetch_ohlcv(BTC, "1m", limit=10)
        book = await exchange.fetch_order_book(BTC, limit=5)
    finally:
        await exchange.close()

    assert len(rows) == 10
    assert [row[1:] for row in rows[:-1]] == [made.truth("BTCUSDT", row[0]) for row in rows[:-1]]
    assert len(book["bids"]) == 5
    assert made.asked["/fapi/v1/klines"] == 1
    assert made.forwarded["/fapi/v1/depth"] == 1


async def test_ccxt_as_printed_watches_klines_of_the_hub(made: Stage) -> None:
    exchange = run("ccxt", made.url, made.site.ws_url, kind="ccxt.pro")["exchange"]
    try:
        async with asyncio.timeout(20):
            rows = await exchange.watch_ohlcv(BTC, "1m")
    finally:
        await exchange.close()

    assert made.clock.now() - rows[-1][0] < 120_000


async def test_python_binance_as_printed_gets_klines_of_the_hub(made: Stage, classes: None) -> None:
    names = run("python-binance", made.url)
    client = await names["AsyncClient"].create()
    try:
        rows = await client.futures_klines(symbol="BTCUSDT", interval="1m", limit=10)
    finally:
        await client.close_connection()
    told = await plainly(names["Client"], "futures_klines", symbol="BTCUSDT", interval="1m", limit=10)

    assert [row[0] for row in rows] == [row[0] for row in told]
    truth = [made.truth("BTCUSDT", row[0]) for row in rows[:-1]]
    assert [[float(text) for text in row[1:6]] for row in rows[:-1]] == truth


async def plainly(kind: type[Any], what: str, **params: Any) -> Any:
    """Ask something of python-binance's plain client, and leave nothing of it behind."""

    def ask() -> Any:
        client = kind(ping=False)
        try:
            return getattr(client, what)(**params)
        finally:
            client.close_connection()
            client.loop.close()

    return await asyncio.to_thread(ask)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_curl_as_printed_gets_klines_of_the_hub(made: Stage) -> None:
    command = printed("curl", "text").replace(REST, made.url)
    process = await asyncio.create_subprocess_shell(f"{command.strip()} -sS", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()

    assert len(json.loads(out)) == 2


def test_freqtrades_config_is_the_one_that_it_trades_with() -> None:
    shown = json.loads(printed("freqtrade", "json"))

    assert shown["exchange"] == {"name": "binance", "ccxt_config": bot.ccxt_config(REST)}


async def test_a_secret_stands_in_front_of_every_path(classes: None) -> None:
    import ccxt.async_support as ccxt
    from binance.exceptions import BinanceAPIException

    async with stage(6, 1, 1.0, serve_as=ServeSettings(port=0, ws_port=0, token=SECRET)) as made:
        known = run("ccxt", f"{made.url}/c/{SECRET}")["exchange"]
        stranger = run("ccxt", f"{made.url}/c/{SECRET[::-1]}")["exchange"]
        try:
            assert len(await known.fetch_ohlcv(BTC, "1m", limit=3)) == 3
            with pytest.raises(ccxt.AuthenticationError):
                await stranger.fetch_time()
            names = run("python-binance", f"{made.url}/c/{SECRET[::-1]}")
            with pytest.raises(BinanceAPIException) as refused:
                await plainly(names["Client"], "futures_ping")
            assert refused.value.status_code == 401
        finally:
            await known.close()
            await stranger.close()


def nobody() -> str:
    """Give an address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


async def test_what_clients_say_while_the_hub_is_away_or_not_ready(classes: None) -> None:
    import ccxt.async_support as ccxt
    from binance.exceptions import BinanceAPIException

    async with Site(ServeSettings(port=0, ws_port=0)) as site:
        for url in (nobody(), site.rest_url):
            exchange = run("ccxt", url)["exchange"]
            with pytest.raises(ccxt.ExchangeNotAvailable):
                await exchange.fetch_ohlcv(BTC, "1m")
            await exchange.close()
        names = run("python-binance", site.rest_url)
        with pytest.raises(BinanceAPIException) as refused:
            await plainly(names["Client"], "futures_ping")
        assert refused.value.status_code == 503
        async with aiohttp.ClientSession() as session, session.get(f"{site.rest_url}/fapi/v1/time") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    names = run("python-binance", nobody())
    with pytest.raises(requests.ConnectionError):
        await plainly(names["Client"], "futures_ping")
    with pytest.raises(aiohttp.ClientConnectorError):
        await names["AsyncClient"].create()


async def test_ccxts_proxy_would_be_asked_for_the_hub(made: Stage) -> None:
    import ccxt.async_support as ccxt

    exchange = run("ccxt", made.url)["exchange"]
    exchange.httpsProxy = nobody()
    with pytest.raises(ccxt.NetworkError):
        await exchange.fetch_time()
    await exchange.close()

    assert made.asked["/fapi/v1/time"] == 0
