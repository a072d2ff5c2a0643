"""`serve`: what a hub gives to other programs, and how fast, over loopback.

1. Klines: an exchange of 550 symbols, a served hub of 4 timeframes and those who ask are three processes; the
   market goes on, so that closes and updates change what is answered all the time. Each request is
   `GET klines?limit=500` of a series drawn at random. What one core could do is what was answered by the CPU
   time that the hub's process took meanwhile, all that it does beside it included. Bodies are held against
   the exchange's own for the same request, byte for byte.
2. Streams: a thousand clients, a tenth of which stop reading (`fanout`).
3. The panel in a file: reads of another process while it is written as fast as can be (`attach`).
"""

import asyncio
import time
from functools import partial
from random import Random
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
import numpy as np

from klinehub.bench import attach, fanout
from klinehub.bench.catalogue import Measurement
from klinehub.bench.host import Hosted, Task
from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import Process

GOALS: Final = {"klines_rps": 1_500}
LIMIT: Final = 500
CONNECTIONS: Final = 16
# A body is compared so often: between two askings the open bar may have moved.
TRIES: Final = 40
AGAIN: Final = 0.02


def measure(
    seed: int,
    *,
    symbols: int = 550,
    seconds: float = 10.0,
    compared: int = 200,
    clients: int = 1_000,
    reads: int = 1_000_000,
) -> Measurement:
    """Give the klines requests a second that one core answers, and what streams and shared reads take."""
    rest = _rest(seed, symbols, seconds, compared)
    streams = fanout.measure(seed, symbols=symbols, clients=clients, seconds=2.5 * seconds)
    shared = attach.measure(seed, reads=reads, hot_reads=reads // 10, symbols=symbols)
    goals = {**GOALS, **streams.pop("goals"), "attach_us": 15.0, "torn_reads": 0}
    how = f"{CONNECTIONS} connections, limit={LIMIT}; answers by CPU seconds of the hub's process"
    detail = {"goals": goals, **rest, **streams, **shared, "how": how}
    return Measurement(rest["klines_rps"], "requests/s of one core", detail)


def _rest(seed: int, symbols: int, seconds: float, compared: int) -> dict[str, Any]:
    """Measure REST on an exchange and a hub in processes of their own."""
    with Process("klinehub.bench.neighbour", str(symbols), str(seed)) as exchange:
        where = msgspec.json.decode(exchange.line(), type=Neighbour)
        with Process("klinehub.bench.host") as process:
            process.tell(msgspec.json.encode(Task(where)).decode())
            hosted = msgspec.json.decode(process.line(), type=Hosted)
            return asyncio.run(_klines(process, hosted, where, Random(seed), seconds, compared))  # noqa: S311


async def _klines(
    process: Process, hosted: Hosted, where: Neighbour, dice: Random, seconds: float, compared: int
) -> dict[str, Any]:
    """Ask for klines at random for a while, then compare some with the exchange's."""
    loop = asyncio.get_running_loop()
    taken: list[float] = []
    begun, cpu = time.perf_counter(), float(process.asked())
    askers = [_Asker(hosted, Random(dice.random()), taken) for _ in range(CONNECTIONS)]  # noqa: S311
    address = urlsplit(hosted.rest_url)
    for asker in askers:
        await loop.create_connection(partial(_same, asker), str(address.hostname), int(address.port or 0))
    await asyncio.sleep(seconds)
    for asker in askers:
        asker.stop()
    took, cpu = time.perf_counter() - begun, float(process.asked()) - cpu
    wrong = sum(asker.wrong for asker in askers)
    p50, p99 = np.percentile(np.array(taken) * 1e3, [50, 99])
    equal = await _compared(hosted, where, dice, compared)
    return {
        "klines_rps": round(len(taken) / cpu),
        "klines_rps_wall": round(len(taken) / took),
        "klines_ms": {"p50": round(float(p50), 2), "p99": round(float(p99), 2)},
        "answers": len(taken),
        "not_200": wrong,
        "bodies_compared": compared,
        "bodies_equal": equal,
    }


async def _compared(hosted: Hosted, where: Neighbour, dice: Random, count: int) -> int:
    """Ask hub and exchange the same; gives how many answers were equal."""
    equal = 0
    async with aiohttp.ClientSession() as session:

        async def body(url: str, path: str) -> bytes:
            async with session.get(url + path) as answer:
                return await answer.read()

        for _ in range(count):
            path = _path(hosted, dice)
            for _ in range(TRIES):
                two = await asyncio.gather(body(where.rest_url, path), body(hosted.rest_url, path))
                if two[0] == two[1]:
                    equal += 1
                    break
                await asyncio.sleep(AGAIN)
    return equal


def _path(hosted: Hosted, dice: Random) -> str:
    symbol, frame = dice.choice(hosted.symbols), dice.choice(hosted.timeframes)
    return f"/fapi/v1/klines?symbol={quote(symbol)}&interval={frame}&limit={LIMIT}"


def _same(asker: "_Asker") -> "_Asker":
    return asker


class _Asker(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer; *taken* gets the seconds of each."""

    def __init__(self, hosted: Hosted, dice: Random, taken: list[float]) -> None:
        self.wrong = 0
        self._hosted = hosted
        self._dice = dice
        self._taken = taken
        self._transport: asyncio.Transport | None = None
        self._asked = 0.0
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self._transport = transport  # type: ignore[assignment] # of a TCP connection
        self._ask()

    def stop(self) -> None:
        """Ask no more."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def _ask(self) -> None:
        if self._transport is not None:
            self._asked = time.perf_counter()
            path = _path(self._hosted, self._dice)
            self._transport.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Count an answer that is whole."""
        if self._left == 0:
            head, _, rest = data.partition(b"\r\n\r\n")
            self.wrong += not head.startswith(b"HTTP/1.1 200")
            size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            self._left = int(size.partition(b":")[2]) - len(rest)
        else:
            self._left -= len(data)
        if self._left == 0:
            self._taken.append(time.perf_counter() - self._asked)
            self._ask()
