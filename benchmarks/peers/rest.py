"""Batch REST: the klines of a hundred symbols asked for one by one, many at a time, and read from a cache."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import uvloop
from benchmarks.peers.work import Contestant, Differs, Kind

from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import Process
from klinehub.bridge.library import exchange_of
from klinehub.feed.network import RealNetwork
from klinehub.hub import Hub
from klinehub.settings import HubSettings

SYMBOLS: Final = 100
BARS: Final = 498
AT_ONCE: Final = 64
# Reads of the cache are too short for one to be told from another.
READS: Final = 20
# One symbol's rows [bars, 6], as numbers.
Ask = Callable[[str], Awaitable[Any]]


def prepare(folder: Path, seed: int) -> None:
    """Keep the seed of the exchange that each contestant has for itself."""
    (folder / "seed").write_text(str(seed))


def measured(work: Callable[[Neighbour], Awaitable[Mapping[str, float]]]) -> Contestant:
    """Give the contestant that works on an exchange in another process, which limits nothing."""

    def contestant(folder: Path) -> Mapping[str, float]:
        seed = (folder / "seed").read_text()
        with (
            Process("klinehub.bench.neighbour", str(SYMBOLS), seed, "1", "0") as exchange,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            where = msgspec.json.decode(exchange.line(), type=Neighbour)
            return runner.run(_awaited(work(where)))

    return contestant


async def _awaited(work: Awaitable[Mapping[str, float]]) -> Mapping[str, float]:
    return await work


async def ours(where: Neighbour) -> Mapping[str, float]:
    """Warm a hub up one by one and in batches, listing and all, and read its cache."""
    found: dict[str, float] = {}
    for name, batch in (("first", AT_ONCE), ("serial", 1), ("batch", AT_ONCE)):
        settings = HubSettings(
            rest_url=where.rest_url,
            stream_url=where.stream_url,
            timeframes=("1m",),
            bars=BARS,
            batch=batch,
            streams=False,
            share=None,
            audit=0,
            tradifi=True,
        )
        cpu = time.process_time()
        async with Hub(settings, clock=where.clock(1.0), network=RealNetwork(), jitter=lambda: 0.5) as hub:
            found[f"{name}_cpu"] = (time.process_time() - cpu) * 1e3 / len(hub.symbols)
            found[name] = (hub.summary.seconds if hub.summary else 0.0) * 1e3 / len(hub.symbols)
            begun = time.process_time()
            for _ in range(READS):
                for symbol in hub.symbols:
                    hub.klines(symbol, "1m", BARS)
            found["cache"] = (time.process_time() - begun) * 1e3 / READS / len(hub.symbols)
    return found


async def ccxt(where: Neighbour) -> Mapping[str, float]:
    """Ask with ccxt, its own throttle off."""
    exchange = exchange_of("binanceusdm", rest_url=where.rest_url, stream_url=where.stream_url)
    exchange.enableRateLimit = False
    await exchange.load_markets()

    async def ask(symbol: str) -> Any:  # noqa: ANN401 - rows of ccxt
        return await exchange.fetch_ohlcv(symbol, "1m", limit=BARS)

    try:
        listed = list(exchange.markets_by_id.values())[:SYMBOLS]
        return await three_ways([found[0]["symbol"] for found in listed], ask)
    finally:
        await exchange.close()


async def python_binance(where: Neighbour) -> Mapping[str, float]:
    """Ask with python-binance, and turn its texts into numbers."""
    binance: Any = import_module("binance")
    library = binance.AsyncClient()
    library.FUTURES_URL = f"{where.rest_url}/fapi"

    async def ask(symbol: str) -> Any:  # noqa: ANN401 - rows of python-binance
        rows = await library.futures_klines(symbol=symbol, interval="1m", limit=BARS)
        return [row[:6] for row in rows]

    try:
        listing = await library.futures_exchange_info()
        return await three_ways([one["symbol"] for one in listing["symbols"]][:SYMBOLS], ask)
    finally:
        await library.close_connection()


async def three_ways(symbols: Sequence[str], ask: Ask) -> Mapping[str, float]:
    """Measure one by one and many at a time; neither of these libraries has a cache to read."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(symbol: str) -> None:
        async with room:
            rows = np.array(await ask(symbol), dtype=np.float64)
        if len(rows) != BARS:
            raise Differs(f"{symbol} has {len(rows)} bars, not {BARS}.")

    async def serial() -> None:
        for symbol in symbols:
            await one(symbol)

    async def batch() -> None:
        await asyncio.gather(*(one(symbol) for symbol in symbols))

    found: dict[str, float] = {}
    for name, work in (("first", batch), ("serial", serial), ("batch", batch)):
        wall, cpu = time.perf_counter(), time.process_time()
        await work()
        found[name] = (time.perf_counter() - wall) * 1e3 / len(symbols)
        found[f"{name}_cpu"] = (time.process_time() - cpu) * 1e3 / len(symbols)
    return found


KIND: Final = Kind(
    "Batch REST, the seed's three ways",
    f"The newest {BARS} one-minute bars of {SYMBOLS} symbols as numbers, from the simulated exchange in "
    f"another process over loopback: ms a symbol, one request after another, {AT_ONCE} at a time, and "
    "from the cache. Neither side limits the weight. Real time contains the exchange's work, which is "
    "the same for all, and no way over the internet: there, one by one costs the round trip more. "
    "klinehub's CPU includes the listing, the exchange's clock, its ring and the check of every bar. A "
    "first lap is not counted. A dash: the library keeps nothing to read.",
    {
        "serial": "one by one, real ms",
        "serial_cpu": "CPU ms",
        "batch": f"{AT_ONCE} at a time, real ms",
        "batch_cpu": "CPU ms",
        "cache": "cache, CPU ms",
    },
    prepare,
    {"klinehub": measured(ours), "ccxt": measured(ccxt), "python-binance": measured(python_binance)},
)
