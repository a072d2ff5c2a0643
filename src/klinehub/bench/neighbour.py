"""The exchange of several benchmarks: a simulated one in a process of its own, told what to be."""

import asyncio
import sys
import time
from typing import Any

import msgspec

from klinehub.bench.process import say
from klinehub.domain.clock import Clock
from klinehub.settings import HubSettings
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.market import Market
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import CHURN_HOURS, synthetic


class Neighbour(msgspec.Struct, frozen=True):
    """Where the exchange answers; its time was *began* (ms UTC) when the monotonic clock showed *at* (s).

    The addresses of the spot market are empty where there is none.
    """

    rest_url: str
    stream_url: str
    began: int = 0
    at: float = 0.0
    spot_rest_url: str = ""
    spot_stream_url: str = ""

    def settings(self, **more: Any) -> HubSettings:  # noqa: ANN401 - of HubSettings
        """Give the settings of a hub that follows it, by a budget of its own."""
        return HubSettings(rest_url=self.rest_url, stream_url=self.stream_url, share=None, **more)

    def clock(self, rate: float) -> Clock:
        """Give its time in another process of this machine."""
        passed = int((time.monotonic() - self.at) * 1000 * rate)
        return Clock(self.began + passed, rate, time.monotonic)


async def live(
    symbols: int, seed: int, rate: float = 1.0, churn: float = CHURN_HOURS, *, spot: bool = False
) -> None:
    """Serve a market, *rate* times as fast as real time, without weight limits until stdin ends.

    With *spot* its spot market is served too. A symbol comes or goes every *churn* hours, 0 is never.
    """
    now, at = int(time.time() * 1000), time.monotonic()
    clock = Clock(now, rate, time.monotonic)
    market = synthetic(symbols, seed, start=now, churn_hours=int(churn))
    served = await _served(market, clock)
    beside = await _served(SpotMarket(market), clock) if spot else None
    where = Neighbour(served.rest_url, f"{served.ws_url}/market/stream", now, at)
    if beside is not None:
        where = msgspec.structs.replace(
            where, spot_rest_url=beside.rest_url, spot_stream_url=f"{beside.ws_url}/stream"
        )
    say(where)
    try:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        await served.close()
        if beside is not None:
            await beside.close()


async def _served(market: Market, clock: Clock) -> Served:
    exchange = Exchange(market, clock, limits=False)
    pacer = exchange.pacer
    # Events are of the moment in which they are rendered: a minute is drawn before, for a tenth of a second.
    pacer.tap = lambda lines, words, _, closed: pacer.tell(lines, words, clock.now(), closed)
    return await serve(exchange, port=0, ws_port=0)


if __name__ == "__main__":
    numbers = [float(text) for text in sys.argv[3:] if text != "spot"]
    asyncio.run(live(int(sys.argv[1]), int(sys.argv[2]), *numbers, spot="spot" in sys.argv[3:]))
