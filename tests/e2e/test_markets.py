"""Three markets in one program from the command line: real clients of each dialect, and the commands."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import socket
from typing import Any, NamedTuple
from urllib.request import urlopen

import ccxt.async_support as ccxt
import pytest
from ccxt import pro
from tests.e2e.conftest import KLINEHUB, environment, started

from klinehub.app.sharing import attach

pytestmark = pytest.mark.timeout(300)


class Running(NamedTuple):
    """A running hub: where it is served, and its folder."""

    port: int
    folder: Path

    @property
    def url(self) -> str:
        """Where it answers REST."""
        return f"http://127.0.0.1:{self.port}"

    def told(self, *arguments: str) -> Any:
        """Give what a command of the same user prints as JSON."""
        return json.loads(self.ran(*arguments, "--json").stdout)

    def ran(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the same user."""
        return subprocess.run(
            [*KLINEHUB, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=environment(self.folder),
        )


def free_port() -> int:
    with closing(socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("markets")
    command = [*KLINEHUB, "sim", "--port", "0", "--symbols", "16", "--spot", "--coinm", "--churn", "0"]
    with subprocess.Popen(
        [*command, "--json", "--with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as exchange:
        assert exchange.stdout is not None
        at = json.loads(exchange.stdout.readline())
        (folder / "klinehub.toml").write_text(
            "".join(
                f"[markets.binance-{name}]\n"
                f'rest_url = "{at[f"{name}_rest_url"]}"\nstream_url = "{at[f"{name}_stream_url"]}"\n'
                for name in ("spot", "coinm")
            )
        )
        one = Running(free_port(), folder)
        options = ["--rest-url", at["rest_url"], "--stream-url", at["stream_url"], "--bars", "60"]
        options += ["--also", "binance-spot,binance-coinm", "--json"]
        env = {"KLINEHUB_SERVE_PORT": str(one.port), "KLINEHUB_STORE_PATH": str(folder / "data")}
        with started("run", *options, folder=folder, env=env) as hub:
            for _ in range(600):
                if hub.poll() is not None or _all_there(one):
                    break
                time.sleep(0.2)
            yield one
            hub.terminate()
            hub.communicate()
            assert hub.returncode == 143
        exchange.terminate()
        exchange.communicate()


def _all_there(one: Running) -> bool:
    try:
        for path in ("/fapi/v1/time", "/api/v3/time", "/dapi/v1/time"):
            with urlopen(f"{one.url}{path}", timeout=5) as answer:
                answer.read()
    except OSError:
        return False
    return True


def ccxt_options(url: str, kind: str) -> dict[str, Any]:
    streams = url.replace("http", "ws", 1)
    rest = {"dapiPublic": f"{url}/dapi/v1", "public": f"{url}/api/v3"}
    # The key was called delivery, as future was for linear.
    inverse = dict.fromkeys(("delivery", "inverse"), f"{streams}/coinm/ws")
    return {
        "urls": {"api": {**rest, "ws": {**inverse, "spot": f"{streams}/spot/ws"}}},
        "options": {"fetchMarkets": {"types": [kind]}, "fetchCurrencies": False},
    }


async def test_ccxt_reads_the_markets_in_coins_and_of_spot_at_one_address(running: Running) -> None:
    coins = ccxt.binancecoinm(ccxt_options(running.url, "inverse"))
    spot = ccxt.binance(ccxt_options(running.url, "spot"))
    try:
        markets = await coins.load_markets()
        assert (markets["BTC/USD:BTC"]["contractSize"], markets["BTC/USD:BTC"]["inverse"]) == (100, True)
        in_coins = await coins.fetch_ohlcv("ETH/USD:ETH", "1m", limit=20)
        on_spot = await spot.fetch_ohlcv("ETH/USDT", "1m", limit=20)
        (raw,) = await coins.dapiPublicGetKlines({"symbol": "ETHUSD_PERP", "interval": "1m", "limit": 1})
        ticker = await coins.fetch_ticker("BTC/USD:BTC")
    finally:
        await coins.close()
        await spot.close()

    assert (len(in_coins), len(on_spot)) == (20, 20)
    assert 0.98 < in_coins[0][4] / on_spot[0][4] < 1.02
    # Contracts are counted in whole ones; ccxt gives the coins.
    assert (raw[5].isdigit(), 0 < float(raw[7]) < float(raw[5])) == (True, True)
    assert ticker["baseVolume"] > 0


async def test_ccxt_watches_the_market_in_coins(running: Running) -> None:
    client = pro.binancecoinm(ccxt_options(running.url, "inverse"))
    try:
        await client.load_markets()
        rows = await client.watch_ohlcv("BTC/USD:BTC", "1m")
    finally:
        await client.close()

    assert rows[-1][4] > 1_000


def test_commands_ask_one_of_the_markets(running: Running) -> None:
    told = running.told("status")["markets"]
    assert list(told) == ["binance-usdm", "binance-spot", "binance-coinm"]
    assert [one["weight_limit"] for one in told.values()] == [2_400, 6_000, 2_400]
    assert all(
        one["symbols"] == one["fresh_symbols"] > 0 and one["weight_used"] >= 0 for one in told.values()
    )

    rows = running.told("klines", "BTCUSD_PERP", "1m", "--limit", "3", "--market", "binance-coinm")["klines"]
    scan = running.told("scan", "--once", "--market", "binance-spot")
    verified = running.told("verify", "--market", "binance-coinm")
    assert len(rows) == 3
    assert scan["exchange"] == "binance-spot"
    assert (verified["different"], verified["failed"]) == ([], {})
    assert "binance-spot" in running.ran("status").stdout


def test_a_market_that_is_not_followed_is_refused(running: Running) -> None:
    unknown = running.ran("klines", "BTCUSDT", "1m", "--market", "binance-usd")
    both = running.ran("klines", "BTCUSDT", "1m", "--market", "binance-spot", "--exchange", "binance-spot")

    assert unknown.returncode == both.returncode == 2
    assert "binance-usdm" in unknown.stderr
    assert "--market" in both.stderr


def test_each_market_has_a_store_and_a_panel_of_its_own(running: Running) -> None:
    shared = running.folder / "klinehub"
    names = {"panel": "BTCUSDT", "panel-binance-spot": "BTCUSDT", "panel-binance-coinm": "BTCUSD_PERP"}

    for name, symbol in names.items():
        assert attach(shared / name)["1m"].klines(symbol, 10).size == 10
    for name in ("usdm", "spot", "coinm"):
        assert (running.folder / "data" / f"binance-{name}" / "hot.sqlite3").exists()
