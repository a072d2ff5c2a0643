"""`cluster`: how soon a close is told over NATS, and whether any is lost when hubs and servers are killed.

1. See `latency` for the first half.
2. Two hubs in processes of their own share a simulated market out; a third one, here, is fed by them. One of
   the two is killed at a random moment, the other takes over, the killed one comes back, and so on; streams
   are cut now and then, and the message server is killed and started again.
3. What closed at the fed one is counted: each bar has to have closed once, and to be the market's own.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import numpy as np

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.fellow import Standing, Task
from klinehub.bench.latency import latencies
from klinehub.bench.nats import Server
from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import Process, in_loop
from klinehub.feed.decisions import Decisions
from klinehub.relay.clustered import ClusteredHub
from klinehub.relay.relayed import NoExchange
from klinehub.settings import HubSettings
from klinehub.sim.market import Market
from klinehub.sim.oracle import plainly
from klinehub.sim.synthetic import synthetic

SYMBOLS: Final = 550
CLOSES: Final = 300
KILLS: Final = 10
# The market whose hubs are killed is smaller and runs faster: a minute takes six seconds.
SHARED: Final = 60
RATE: Final = 10.0
BARS: Final = 120
# Market ms after which a bar has to have closed downstream, whoever was killed.
SETTLED: Final = 400_000
LONGEST: Final = 60.0
NAMES: Final = ("one", "two")


def measure(
    seed: int,
    *,
    n: int = KILLS,
    symbols: int = SYMBOLS,
    closes: int = CLOSES,
    shared: int = SHARED,
    settled: int = SETTLED,
) -> Measurement:
    """Give the ms at p99 from a hub's close to another process's panel, and what *n* kills lost."""
    server = Server()
    try:
        server.start()
        told = latencies(server.url, seed, symbols=symbols, closes=closes)
        killed = in_loop(_killed(server, seed, n, shared, settled))
    finally:
        server.remove()
    found = {**told, **killed, "symbols": symbols, "closes": closes, "shared_symbols": shared, "speed": RATE}
    return Measurement(told["subscriber_ms"]["p99"], "ms", found)


class Fellow:
    """One of the hubs that share a market out, which can be killed and started again."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.start()

    def asked(self, what: str = "") -> Standing:
        """Say how it stands."""
        return msgspec.json.decode(self._process.asked(what), type=Standing)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def start(self) -> None:
        """Start it, for the first time or again, and wait until it is live."""
        self._process = Process("klinehub.bench.fellow")
        self.asked(msgspec.json.encode(self._task).decode())


class Downstream:
    """Counts what closes at a hub that is fed, and holds its bars against the market."""

    def __init__(self, hub: ClusteredHub, market: Market) -> None:
        self._hub, self._market, self._since = hub, market, hub.now()
        self.closed: Counter[tuple[str, str, int]] = Counter()

    def note(self, decisions: Decisions) -> None:
        """Count what closed."""
        for one in decisions.closed:
            missing = frozenset(one.missing)
            names = (symbol for symbol in self._hub.symbols if symbol not in missing)
            self.closed.update((symbol, one.timeframe, one.bar) for symbol in names)
        self.closed.update((one.symbol, one.timeframe, one.bar) for one in decisions.revised)

    def judged(self, settled: int) -> dict[str, int]:
        """Count bars that closed never, more than once, or otherwise than the market says."""
        missing = doubled = wrong = 0
        until = self._hub.now() - settled
        for frame in self._hub.timeframes:
            first, last = frame.index(self._since), frame.index(until) - 1
            oldest = max(first, frame.index(self._hub.now()) - BARS + 1)
            for symbol in self._hub.symbols:
                counts = [self.closed[symbol, frame.name, bar] for bar in range(first, last + 1)]
                missing += counts.count(0)
                doubled += sum(count > 1 for count in counts)
                kept = self._hub.panel(frame.name).exact(symbol, start=oldest, end=last)
                index = self._market.index[symbol]
                truth = self._market.klines(index, frame, oldest, last, self._hub.now())
                wrong += plainly(kept) != plainly(truth)
        return {"closed": self.closed.total(), "missing": missing, "doubled": doubled, "wrong_series": wrong}


async def _killed(server: Server, seed: int, kills: int, symbols: int, settled: int) -> dict[str, Any]:
    """Kill one of two hubs again and again, and count what that did downstream."""
    dice = np.random.default_rng([seed, 31])
    with Process("klinehub.bench.neighbour", str(symbols), str(seed), str(RATE), "0") as process:
        where = msgspec.json.decode(process.line(), type=Neighbour)
        market = synthetic(symbols, seed, start=where.began, churn_hours=0)
        tasks = {name: Task(name, where, RATE, server.url, BARS) for name in NAMES}
        fellows = {name: await asyncio.to_thread(Fellow, task) for name, task in tasks.items()}
        try:
            async with _fed(where, server.url, market) as down:
                took = [await _kill(fellows, server, dice, number) for number in range(kills)]
                await asyncio.sleep(settled / 1000 / RATE + 5)
                judged = down.judged(settled)
        finally:
            for fellow in fellows.values():
                fellow.kill()
    takeover = {"p50": rounded(float(np.median(took))), "max": rounded(max(took))} if took else {}
    return {"kills": kills, "server_kills": kills // 5, **judged, "takeover_s": takeover}


@asynccontextmanager
async def _fed(where: Neighbour, url: str, market: Market) -> AsyncIterator[Downstream]:
    noted: list[Downstream] = []
    settings = HubSettings(bars=BARS, subscribe=url, hub_name="down")
    hub = ClusteredHub(
        settings,
        clock=where.clock(RATE),
        network=NoExchange(),
        jitter=lambda: 0.5,
        on_news=lambda decisions: noted[0].note(decisions) if noted else None,
    )
    async with hub:
        noted.append(Downstream(hub, market))
        yield noted[0]


async def _kill(fellows: dict[str, Fellow], server: Server, dice: np.random.Generator, number: int) -> float:
    """Kill one at a random moment, and have it back; gives the seconds until the other had all, fresh."""
    await asyncio.sleep(float(dice.uniform(1.0, 8.0)))
    gone, stays = (str(name) for name in dice.permutation(NAMES))
    if dice.random() < 0.5:
        await asyncio.to_thread(fellows[stays].asked, "reset")
    fellows[gone].kill()
    began = time.monotonic()
    while time.monotonic() - began < LONGEST:
        standing = await asyncio.to_thread(fellows[stays].asked)
        if standing.own == standing.symbols and not standing.stale:
            break
        await asyncio.sleep(0.1)
    took = time.monotonic() - began
    if number % 5 == 4:
        server.kill()
        await asyncio.sleep(float(dice.uniform(0.5, 4.0)))
        server.start()
    await asyncio.to_thread(fellows[gone].start)
    return took
