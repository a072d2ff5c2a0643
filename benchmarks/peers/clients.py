"""The clients of other libraries, each pointed at a sender on this machine and kept to the newest candle."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final, NamedTuple

import msgspec

from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import Process
from klinehub.bridge.library import exchange_of

# The symbols of each socket.
Streams = Sequence[Sequence[str]]
Ending = Callable[[], Awaitable[None]]
# Larger than what is sent: some drop messages when their queue is full.
ROOM: Final = 1_000_000
LISTING: Final = 550


class Book:
    """The newest candle of each symbol (time, open, high, low, close, volume), and how many were taken."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[float, ...]] = {}
        self.count = 0

    def take(self, bar: Mapping[str, Any]) -> None:
        """Take a candle as the exchange words it."""
        self.last[bar["s"]] = (
            *(bar["t"], float(bar["o"]), float(bar["h"]), float(bar["l"]), float(bar["c"])),
            float(bar["v"]),
        )
        self.count += 1


class Client(NamedTuple):
    """How a library is connected; how many SUBSCRIBE messages a socket sends; whether its frames are bare."""

    connect: Callable[[int, Streams, Book], Awaitable[Ending]]
    subscriptions: int = 0
    bare: bool = False


def names_of(symbols: Sequence[str]) -> list[str]:
    """Give the streams of some symbols."""
    return [f"{symbol.lower()}@kline_1m" for symbol in symbols]


async def python_binance(port: int, streams: Streams, book: Book) -> Ending:
    """Connect python-binance: one multiplexed socket for each part of the symbols."""
    binance: Any = import_module("binance")
    library = binance.AsyncClient()
    sockets = binance.BinanceSocketManager(library, max_queue_size=ROOM)
    sockets.FSTREAM_URL = f"ws://127.0.0.1:{port}/"

    async def follow(symbols: Sequence[str]) -> None:
        async with sockets.futures_multiplex_socket(names_of(symbols)) as socket:
            while True:
                message = await socket.recv()
                if message is not None:
                    book.take(message["data"]["k"])

    return _ending([asyncio.create_task(follow(part)) for part in streams], library.close_connection)


def unicorn(library: str) -> Callable[[int, Streams, Book], Awaitable[Ending]]:
    """Give the way to connect unicorn-binance-websocket-api over one of the libraries that it knows."""

    async def connect(port: int, streams: Streams, book: Book) -> Ending:
        ubwa: Any = import_module("unicorn_binance_websocket_api")
        api = ubwa.BinanceWebSocketApiManager(
            exchange="binance.com-futures",
            websocket_base_uri=f"ws://127.0.0.1:{port}/",
            output_default="dict",
            warn_on_update=False,
            disable_colorama=True,
            high_performance=True,
            websocket_library=library,
        )

        def take(message: Mapping[str, Any], **_: object) -> None:
            if "data" in message:
                book.take(message["data"]["k"])

        for part in streams:
            api.create_stream("kline_1m", [name.lower() for name in part], process_stream_data=take)

        async def end() -> None:
            await asyncio.to_thread(api.stop_manager)

        return end

    return connect


async def ccxt(port: int, streams: Streams, book: Book) -> Ending:
    """Connect ccxt, which puts all on one socket: asked for in parts, then waited for symbol by symbol."""
    exchange: Any
    with Process("klinehub.bench.neighbour", str(LISTING), "1", "1", "0") as market:
        where = msgspec.json.decode(market.line(), type=Neighbour)
        exchange = exchange_of("binanceusdm", rest_url=where.rest_url, stream_url=f"ws://127.0.0.1:{port}")
        await exchange.load_markets()
    told = exchange.handle_message

    def counted(socket: object, message: Mapping[str, Any]) -> None:
        told(socket, message)
        book.count += "k" in message

    exchange.handle_message = counted
    names = [(name, exchange.safe_symbol(name, None, None, "contract")) for part in streams for name in part]

    async def follow(name: str, symbol: str) -> None:
        while True:
            found = await exchange.watch_ohlcv_for_symbols([[symbol, "1m"]])
            book.last[name] = tuple(found[symbol]["1m"][-1])

    asked = [[[symbol, "1m"] for _, symbol in names[at : at + 200]] for at in range(0, len(names), 200)]
    tasks = [asyncio.create_task(exchange.watch_ohlcv_for_symbols(part)) for part in asked]
    # It tells nobody when it has asked.
    while sum(len(socket.subscriptions) for socket in exchange.clients.values()) < len(names):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    # One waiter a symbol: to wait for any of two hundred costs it so many times as much a message.
    tasks += [asyncio.create_task(follow(name, symbol)) for name, symbol in names]
    return _ending(tasks, exchange.close)


async def cryptofeed(port: int, streams: Streams, book: Book) -> Ending:
    """Connect cryptofeed: one feed for each part of the symbols."""
    exchanges: Any = import_module("cryptofeed.exchanges")
    defines: Any = import_module("cryptofeed.defines")
    kind = exchanges.BinanceFutures
    with Process("klinehub.bench.neighbour", str(LISTING), "1", "1", "0") as market:
        where = msgspec.json.decode(market.line(), type=Neighbour)
        kind.rest_endpoints[0].address = where.rest_url
        kind.websocket_endpoints[0].address = f"wss://127.0.0.1:{port}"
        name_of = await asyncio.to_thread(kind.symbol_mapping)
    # Of what is neither spot nor a coin's perpetual it keeps the name of the index alone.
    name_of.update({one: name[1:] for one, name in name_of.items() if name[0] == "p" and "PINDEX" not in one})
    own = {name: symbol for symbol, name in name_of.items()}
    # It takes no address without TLS, which the others do without.
    connection: Any = import_module("cryptofeed.connection")
    plain = connection.connect
    connection.connect = lambda url, **given: plain(url.replace("wss://", "ws://"), **given)

    async def take(candle: Any, _: float) -> None:  # noqa: ANN401 - a type of cryptofeed
        book.last[name_of[candle.symbol]] = (
            *(round(candle.start * 1000), float(candle.open), float(candle.high), float(candle.low)),
            *(float(candle.close), float(candle.volume)),
        )
        book.count += 1

    feeds = [
        kind(
            symbols=[own[name] for name in part],
            channels=[defines.CANDLES],
            callbacks={defines.CANDLES: take},
            candle_closed_only=False,
        )
        for part in streams
    ]
    for feed in feeds:
        feed.start(asyncio.get_running_loop())

    async def end() -> None:
        for feed in feeds:
            await feed.shutdown()

    return end


def _ending(tasks: Sequence[asyncio.Task[None]], close: Callable[[], Awaitable[None]]) -> Ending:
    """Give what ends some tasks and then closes what they used."""

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await close()

    return end


CLIENTS: Final[Mapping[str, Client]] = {
    "ccxt": Client(ccxt, subscriptions=3, bare=True),
    "python-binance": Client(python_binance),
    "unicorn-binance-websocket-api": Client(unicorn("websockets"), subscriptions=1),
    "unicorn-binance-websocket-api, on picows": Client(unicorn("picows"), subscriptions=1),
    "cryptofeed": Client(cryptofeed),
}
