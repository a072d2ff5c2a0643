"""The exchange of several benchmarks: a simulated one in a process of its own, told what to be."""

import asyncio
import sys
import time

import msgspec

from klinehub.domain.clock import Clock
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.synthetic import CHURN_HOURS, synthetic


class Neighbour(msgspec.Struct, frozen=True):
    """Where the exchange answers; its time was *began* (ms UTC) when the monotonic clock showed *at* (s)."""

    rest_url: str
    stream_url: str
    began: int = 0
    at: float = 0.0

    def clock(self, rate: float) -> Clock:
        """Give its time in another process of this machine."""
        passed = int((time.monotonic() - self.at) * 1000 * rate)
        return Clock(self.began + passed, rate, time.monotonic)


async def live(symbols: int, seed: int, rate: float = 1.0, churn: float = CHURN_HOURS) -> None:
    """Serve a market, *rate* times as fast as real time, without weight limits until stdin ends.

    A symbol comes or goes every *churn* hours; 0 is never.
    """
    now, at = int(time.time() * 1000), time.monotonic()
    clock = Clock(now, rate, time.monotonic)
    exchange = Exchange(synthetic(symbols, seed, start=now, churn_hours=int(churn)), clock, limits=False)
    pacer = exchange.pacer
    # Events are of the moment in which they are rendered: a minute is drawn before, for a tenth of a second.
    pacer.tap = lambda lines, words, _, closed: pacer.tell(lines, words, clock.now(), closed)
    served = await serve(exchange, port=0, ws_port=0)
    where = Neighbour(served.rest_url, f"{served.ws_url}/market/stream", now, at)
    sys.stdout.write(msgspec.json.encode(where).decode() + "\n")
    sys.stdout.flush()
    try:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        await served.close()


if __name__ == "__main__":
    asyncio.run(live(int(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:])))
