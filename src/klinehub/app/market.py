"""The simulated exchange as a command and as a process of its own, for demos and tests of bots."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import msgspec

from klinehub.app import options, show
from klinehub.app.library import system_clock
from klinehub.domain.clock import Clock
from klinehub.domain.moment import utc
from klinehub.errors import DefinitionError, FeedError
from klinehub.sim import replay as recorded
from klinehub.sim.archive import ArchiveServer
from klinehub.sim.coinm import CoinMarket
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.market import Market
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import CHURN_HOURS, synthetic

SYMBOLS: Final = 550
QUOTE: Final = "USDT"

# A recording of a whole market is read before the exchange answers.
READY_WITHIN: Final = 120.0
LEAVE_WITHIN: Final = 5.0


class Announcement(msgspec.Struct, frozen=True):
    """What a simulated exchange prints when it is ready: addresses, its time, and what its truth lacks.

    The addresses of the spot market, and of the one that is margined in coins, are empty where there is none.
    """

    rest_url: str
    stream_url: str
    now: int
    speed: float
    symbols: int
    timeframes: tuple[str, ...]
    unavailable: tuple[str, ...]
    spot_rest_url: str = ""
    spot_stream_url: str = ""
    archive_url: str = ""
    coinm_rest_url: str = ""
    coinm_stream_url: str = ""

    def clock(self) -> Clock:
        """Give a clock that runs as fast as this exchange's, for a hub on one that runs fast."""
        return system_clock(self.now, self.speed)


@asynccontextmanager
async def simulated(
    *,
    symbols: int | None = None,
    seed: int = 1,
    replay: str | None = None,
    at: str | None = None,
    speed: float = 1.0,
    limits: bool = True,
    spot: bool = False,
) -> AsyncIterator[Announcement]:
    """Run a simulated exchange in a process of its own while the `async with` block runs.

    *symbols* trading perpetuals drawn from *seed*, or the recordings at *replay*; market time begins at
    *at* (ISO) and runs *speed* times real time; without *limits* nobody is ever refused for asking much.
    With *spot* there is a spot market beside it.
    """
    arguments = ["--seed", str(seed), "--speed", str(speed)]
    for value, option in ((symbols, "--symbols"), (replay, "--replay"), (at, "--at")):
        if value is not None:
            arguments += [option, str(value)]
    if not limits:
        arguments.append("--no-limits")
    if spot:
        arguments.append("--spot")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "klinehub.app.cli", "sim", "--port", "0", "--json", "--with-parent"),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ.copy(),
        # Ctrl-C goes to the whole terminal; the hub leaves first and then ends its exchange.
        start_new_session=True,
    )
    try:
        yield await _announcement(process)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process that was started here, at the latest after a few seconds."""
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(LEAVE_WITHIN):
            await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()


async def _announcement(process: asyncio.subprocess.Process) -> Announcement:
    if process.stdout is None:
        raise FeedError("The simulated exchange has no output.")
    try:
        async with asyncio.timeout(READY_WITHIN):
            line = await process.stdout.readline()
    except TimeoutError as exc:
        raise FeedError(f"The simulated exchange was not ready within {READY_WITHIN:.0f} s.") from exc
    if not line:
        raise SystemExit(await process.wait())  # it has said why on stderr
    return msgspec.json.decode(line, type=Announcement)


async def sim(given: Mapping[str, Any]) -> None:
    """Serve a simulated exchange until stopped."""
    market, begin = open_market(given)
    # Drawing the market has taken a moment, by which a clock that begins where it does would be behind.
    now = None if given["at"] is None and given["replay"] is None else begin
    clock, limits = system_clock(now, given["speed"]), not given["no_limits"]
    exchange, stream_port = Exchange(market, clock, limits=limits), _stream_port(given)
    async with AsyncExitStack() as stack:
        served = await serve(exchange, host=given["host"], port=given["port"], ws_port=stream_port)
        stack.push_async_callback(served.close)
        wanted: dict[str, Callable[[Market], Market]] = {"spot": SpotMarket, "coinm": CoinMarket}
        markets = {name: kind(market) for name, kind in wanted.items() if given[name]}
        # Each has its ports, whether or not the one before is there; the archive's come between them.
        ports = {"spot": _after(stream_port, 1), "coinm": _after(stream_port, 4)}
        beside = {}
        for name, one in markets.items():
            host, port = given["host"], ports[name]
            there = Exchange(one, clock, limits=limits)
            beside[name] = await serve(there, host=host, port=port, ws_port=_after(port))
            stack.push_async_callback(beside[name].close)
        kept = [market, *(one for one in markets.values() if one.spot)]
        archive = ArchiveServer(kept, clock)
        await archive.start(given["host"], _after(stream_port, 3))
        stack.push_async_callback(archive.close)
        _announce(served, beside, archive.url, given)
        await (_parent_gone() if given["with_parent"] else served.wait())


def open_market(given: Mapping[str, Any]) -> tuple[Market, int]:
    """Make the market that the options describe, and say at which market time (ms UTC) it begins."""
    if given["replay"] is not None:
        return _replayed(given)
    begin = options.when(given["at"]) if given["at"] else system_clock().now()
    churn = CHURN_HOURS if given.get("churn") is None else given["churn"]
    market = synthetic(given["count"] or SYMBOLS, given["seed"], start=begin, churn_hours=churn)
    return market, begin


def _replayed(given: Mapping[str, Any]) -> tuple[Market, int]:
    """Read a recording; market time begins in its middle unless *at* says where."""
    market = recorded.replay(given["replay"], given["seed"])
    begin = options.when(given["at"]) if given["at"] else market.middle
    if not market.begin < begin < market.end:
        spans = f"{utc(market.begin)} to {utc(market.end)}"
        raise DefinitionError(
            f"The recording spans {spans}, and --at names {utc(begin)}: choose a time in it."
        )
    return market, begin


def _stream_port(given: Mapping[str, Any]) -> int:
    if given["ws_port"] is not None:
        return int(given["ws_port"])
    return _after(given["port"])


def _after(port: int, count: int = 1) -> int:
    """Give the port that comes so many after one, any where that is any."""
    return port + count if port else 0


def _announce(
    served: Served, beside: Mapping[str, Served], archive_url: str, given: Mapping[str, Any]
) -> None:
    """Say where the exchange is, as JSON for a program and in words for a person."""
    exchange = served.exchange
    listed, spot, coinm = exchange.source.listings(), beside.get("spot"), beside.get("coinm")
    said = Announcement(
        rest_url=served.rest_url,
        stream_url=f"{served.ws_url}/market/stream",
        now=exchange.clock.now(),
        speed=exchange.clock.rate,
        symbols=sum(one.trading and one.perpetual and one.quote_asset == QUOTE for one in listed),
        timeframes=exchange.default_timeframes,
        unavailable=tuple(sorted(exchange.unavailable)),
        spot_rest_url=spot.rest_url if spot else "",
        spot_stream_url=f"{spot.ws_url}/stream" if spot else "",
        archive_url=archive_url,
        coinm_rest_url=coinm.rest_url if coinm else "",
        coinm_stream_url=f"{coinm.ws_url}/stream" if coinm else "",
    )
    if given["as_json"]:
        show.document(said)
        return
    show.out.print(f"simulated exchange with {said.symbols} trading perpetuals, Ctrl-C ends it")
    show.out.print(f"  REST       {said.rest_url}")
    show.out.print(f"  WebSocket  {served.ws_url}")
    show.out.print(f"  hub        klinehub run --rest-url {said.rest_url} --stream-url {said.stream_url}")
    show.out.print(f"  archive    {said.archive_url}")
    for name, one in beside.items():
        addresses = f"--rest-url {one.rest_url} --stream-url {one.ws_url}/stream"
        show.out.print(f"{name}, REST  {one.rest_url}")
        show.out.print(f"  WebSocket  {one.ws_url}")
        show.out.print(f"  hub        klinehub run --exchange binance-{name} {addresses}")


async def _parent_gone() -> None:
    """Wait until whoever holds the other end of stdin is gone."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        pipe.close()
