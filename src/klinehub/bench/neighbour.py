"""The exchange of `footprint`: a simulated one in a process of its own, told what to be on stdin."""

import asyncio
import sys
import time

import msgspec

from klinehub.domain.clock import Clock
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.synthetic import synthetic


class Neighbour(msgspec.Struct, frozen=True):
    """Where the exchange answers."""

    rest_url: str
    stream_url: str


async def live(symbols: int, seed: int) -> None:
    """Serve a market without weight limits until stdin ends."""
    now = int(time.time() * 1000)
    clock = Clock(now, 1.0, time.monotonic)
    served = await serve(
        Exchange(synthetic(symbols, seed, start=now), clock, limits=False), port=0, ws_port=0
    )
    where = Neighbour(served.rest_url, f"{served.ws_url}/market/stream")
    sys.stdout.write(msgspec.json.encode(where).decode() + "\n")
    sys.stdout.flush()
    try:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        await served.close()


if __name__ == "__main__":
    asyncio.run(live(int(sys.argv[1]), int(sys.argv[2])))
