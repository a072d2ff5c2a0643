"""A far exchange: in a process of its own, behind a line of some length, told on stdin how time goes by."""

import asyncio
import sys
import time

import msgspec

from klinehub.bench.neighbour import Neighbour
from klinehub.domain.clock import Clock
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.synthetic import synthetic


class Far:
    """Passes connections on to an address, everything *seconds* later."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self._there = (host, port)
        self._seconds = seconds
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> tuple[asyncio.Server, int]:
        """Listen on a free port; gives the server and the port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return server, int(server.sockets[0].getsockname()[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_connection(*self._there)
        for source, sink in ((reader, down), (up, writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Hand on what comes, in order and late, until either side ends."""
        loop = asyncio.get_running_loop()
        try:
            while data := await source.read(1 << 18):
                loop.call_later(self._seconds, self._write, sink, data)
        except ConnectionError:
            pass
        loop.call_later(self._seconds, sink.close)

    @staticmethod
    def _write(sink: asyncio.StreamWriter, data: bytes) -> None:
        if not sink.is_closing():
            sink.write(data)


async def live(symbols: int, seed: int, seconds: float) -> None:
    """Serve a market without weight limits; each number on stdin lets so many ms pass at once."""
    passed, now = [0.0], int(time.time() * 1000)
    clock = Clock(now, 1.0, lambda: time.monotonic() + passed[0])
    exchange = Exchange(synthetic(symbols, seed, start=now), clock, limits=False)
    served = await serve(exchange, port=0, ws_port=0)
    urls, servers = [], []
    for url in (served.rest_url, served.ws_url):
        scheme, _, port = url.rpartition(":")
        server, near = await Far("127.0.0.1", int(port), seconds / 2).open()
        servers.append(server)
        urls.append(f"{scheme.partition(':')[0]}://127.0.0.1:{near}")
    where = Neighbour(urls[0], f"{urls[1]}/market/stream")
    sys.stdout.write(msgspec.json.encode(where).decode() + "\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        passed[0] += float(line) / 1000
        sys.stdout.write("passed\n")
        sys.stdout.flush()
    for server in servers:
        server.close()
    await served.close()


if __name__ == "__main__":
    asyncio.run(live(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
