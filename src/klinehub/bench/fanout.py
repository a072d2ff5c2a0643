"""`fanout`: what a thousand clients of a hub's streams cost those who read, and the ingest.

1. A simulated exchange in a process of its own streams every timeframe of 550 symbols: 8,800 messages a
   second. Market time runs fast, so that minutes end often; updates still come four times a real second.
2. A real hub here follows and serves it. A third process connects all clients at once, a tenth of which then
   stop reading.
3. Lag is from the exchange's event time: until the ring has it, and until a client that reads has its close.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
import numpy as np
import numpy.typing as npt

from klinehub.bench.catalogue import rounded
from klinehub.bench.crowd import Crowd
from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import in_loop
from klinehub.compiled import ensure
from klinehub.domain.resident import resident_bytes
from klinehub.domain.timeframe import MINUTE
from klinehub.errors import FeedError
from klinehub.feed.network import RealNetwork
from klinehub.hub import Hub
from klinehub.serve.site import Site
from klinehub.serve.stream_parts import STREAMS, streamed
from klinehub.serve.streams import HubStreams
from klinehub.settings import HubSettings, ServeSettings

GOALS: Final = {"ingest_lag_ms": 50.0, "close_to_wire_ms": 150.0, "closes_dropped": 0}
# A market minute takes six real seconds.
RATE: Final = 10.0
BARS: Final = 62
FOLLOWED: Final = "1m"
ASK_EVERY: Final = 0.005
F64 = npt.NDArray[np.float64]


def measure(
    seed: int,
    *,
    symbols: int = 550,
    clients: int = 1_000,
    streams: int = 10,
    stalled: float = 0.1,
    seconds: float = 25.0,
) -> dict[str, Any]:
    """Give how fast a hub's clients and its ring have what the exchange told, under all their load."""
    with tempfile.TemporaryDirectory(prefix="klinehub-bench-") as folder:
        fan = _Fan(seed, symbols, clients, streams, round(clients * stalled), Path(folder) / "crowd.npz")
        return in_loop(fan.measure(seconds))


class _Fan:
    """One run: the hub between its exchange and the crowd, and what was noted of it."""

    def __init__(self, seed: int, symbols: int, clients: int, streams: int, stalled: int, file: Path) -> None:
        self._rng = np.random.default_rng(seed)
        self._seed, self._symbols = seed, symbols
        self._clients, self._each, self._stalled = clients, streams, stalled
        self._file = file
        self._lags: list[float] = []
        self._told: dict[int, float] = {}
        self._epoch = (0, 0.0)

    async def measure(self, seconds: float) -> dict[str, Any]:
        """Run it all and give the figures."""
        await ensure()
        async with _process("klinehub.bench.neighbour", str(self._symbols), str(self._seed), str(RATE)) as (
            exchange
        ):
            where = msgspec.json.decode(await _line(exchange), type=Neighbour)
            self._epoch = (where.began, where.at)
            async with Hub(
                _settings(where), clock=where.clock(RATE), network=RealNetwork(), jitter=lambda: 0.5
            ) as hub:
                self._listen(hub)
                return await self._serve(hub, seconds)

    async def _serve(self, hub: Hub, seconds: float) -> dict[str, Any]:
        served = ServeSettings(port=0, ws_port=0)
        lent, before = HubStreams(hub), resident_bytes()
        async with Site(served) as site, _process("klinehub.bench.crowd") as crowd:
            site.open(dict.fromkeys(STREAMS, streamed(lambda: lent)))
            await self._gather(hub, site, crowd)
            entering = self._taken()
            connected, cpu, wall = hub.now(), time.process_time(), time.monotonic()
            waits = await _loop_waits(seconds)
            cpu, wall = time.process_time() - cpu, time.monotonic() - wall
            grown, stats, until = resident_bytes() - before, lent.stats(), hub.now()
            if crowd.stdin is not None:
                crowd.stdin.write(b"\n")
            await _line(crowd)
        got = np.load(self._file)
        lag = self._taken()
        return {
            "goals": GOALS,
            "ws_clients": self._clients,
            "ws_fanout_msgs_s": round(float(got["frames"].sum()) / wall),
            "ingest_lag_ms": _percentiles(lag),
            "close_to_wire_ms": _percentiles(self._delays(got["closes"])),
            "stalled_clients": self._stalled,
            "closes_dropped": self._dropped(got["closes"], connected, until) + int(got["ended"].sum()),
            "closes_told": len(got["closes"]),
            "entering_lag_ms": _percentiles(entering),
            "loop_wait_ms": _percentiles(waits),
            "cpu_share": rounded(cpu / wall),
            "bytes_per_client": round(grown / self._clients),
            **stats,
        }

    def _listen(self, hub: Hub) -> None:
        """Note how late each batch is in the ring, and when the exchange told each minute's closes."""
        core, take, rate = hub.core, hub.core.on_batch, hub.clock.rate

        def noted(*batch: Any) -> Any:  # noqa: ANN401 - as the core takes and gives it
            closes = core.counts.closes
            decisions = take(*batch)
            if core.told:
                self._lags.append((hub.clock.now() - core.told) / rate)
                if core.counts.closes > closes:
                    self._told.setdefault(core.told // MINUTE * MINUTE - MINUTE, core.told)
            return decisions

        core.on_batch = noted  # type: ignore[method-assign, assignment]

    async def _gather(self, hub: Hub, site: Site, crowd: asyncio.subprocess.Process) -> None:
        """Let the crowd connect, each client to streams of its own."""
        names = [f"{symbol.lower()}@kline_{FOLLOWED}" for symbol in hub.symbols]
        chosen = (self._rng.choice(names, self._each, replace=False) for _ in range(self._clients))
        paths = tuple(f"/stream?streams={quote('/'.join(some), safe='/@')}" for some in chosen)
        host, port = site.ws_url.removeprefix("ws://").rsplit(":", 1)
        self._taken()
        task = Crowd(host, int(port), paths, self._stalled, str(self._file))
        if crowd.stdin is not None:
            crowd.stdin.write(msgspec.json.encode(task) + b"\n")
        await _line(crowd)

    def _taken(self) -> F64:
        """Give the lags noted since the last time."""
        found = np.array(self._lags)
        self._lags.clear()
        return found

    def _delays(self, closes: F64) -> F64:
        """Give the real ms from the exchange's telling of each close until a client had it."""
        told = np.array([self._told.get(int(bar), np.nan) for bar in closes[:, 0]])
        found: F64 = (closes[:, 1] - self._at(told)) * 1000
        return found[~np.isnan(found)]

    def _at(self, time_: F64) -> F64:
        """Give when the monotonic clock (s) shows market times (ms)."""
        began, at = self._epoch
        return at + (time_ - began) / (1000 * RATE)

    def _dropped(self, closes: F64, since: int, until: int) -> int:
        """Count the closes that clients who read should have got, and did not."""
        whole = range(-(-since // MINUTE) * MINUTE, until - 2 * MINUTE, MINUTE)
        reading = self._clients - self._stalled
        return sum(abs(reading * self._each - int((closes[:, 0] == bar).sum())) for bar in whole)


def _settings(where: Neighbour) -> HubSettings:
    return where.settings(bars=BARS, native=True, store="off")


async def _loop_waits(seconds: float) -> F64:
    """Give how long the hub's loop let something wait that was due (ms), asked again and again."""
    waits, end = [], time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        await asyncio.sleep(ASK_EVERY)
        waits.append((time.monotonic() - begun - ASK_EVERY) * 1000)
    return np.array(waits)


def _percentiles(ms: F64) -> dict[str, float] | None:
    if not len(ms):
        return None
    p50, p99 = np.percentile(ms, (50, 99))
    return {"p50": rounded(float(p50)), "p99": rounded(float(p99))}


@asynccontextmanager
async def _process(module: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module of ours in a process of its own; it ends with the block."""
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", module, *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()


async def _line(process: asyncio.subprocess.Process) -> bytes:
    line = await process.stdout.readline() if process.stdout is not None else b""
    if not line:
        raise FeedError("A process of the benchmark did not answer; its words are above.")
    return line
