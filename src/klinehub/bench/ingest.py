"""`ingest`: what one kline message costs from the socket to the ring's cell, through the path a hub uses.

1. A script of frames is written to files; a process of its own sends them over loopback.
2. Here the real network, sockets, intake, core and ring take them in. CPU is this process's alone.
3. Afterwards every bar in the ring is compared with `float()` and `Decimal` of the text that told it last.
"""

import asyncio
import json
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from klinehub.bench.blaster import Lane, Orders
from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.certificate import certificate
from klinehub.bench.process import in_loop
from klinehub.bench.script import FRAMES, Script, write
from klinehub.bench.stage import NOON, middle
from klinehub.dialect.wire import frame
from klinehub.domain.clock import Clock
from klinehub.domain.kline import Scale
from klinehub.domain.timeframe import MINUTE, timeframe
from klinehub.errors import FeedError
from klinehub.feed.binance import CONTRACT_INFO, packed, stream_name
from klinehub.feed.budget import WeightGate
from klinehub.feed.core import Core
from klinehub.feed.decisions import Fetch
from klinehub.feed.live import Live, chunked
from klinehub.feed.network import RealNetwork
from klinehub.feed.rest import RestClient
from klinehub.feed.timing import Timing
from klinehub.hub import SLACK
from klinehub.panel.memory import EXACT
from klinehub.panel.merge import PROOF
from klinehub.panel.ring import Ring
from klinehub.settings import HubSettings

GOALS: Final = {"plain": 5.0, "tls": 6.5}
RATE: Final = 8_800
START: Final = NOON + 37 * MINUTE
SETTINGS: Final = HubSettings()
LOOK_EVERY: Final = 0.01
LONGEST: Final = 30.0


class Play(NamedTuple):
    """A script on disk: the frames of each socket, and what the sender has to know."""

    script: Script
    native: bool
    per_socket: int
    orders: Orders
    sockets: int


class Run(NamedTuple):
    """One run over a script: µs of CPU and messages a second, and the core it filled."""

    us: float
    rate: float
    core: Core


def measure(
    seed: int,
    *,
    symbols: int = 550,
    moments: int = 60,
    rounds: int = 5,
    paced: int = 22_000,
    rate: float = RATE,
) -> Measurement:
    """Give the median µs of CPU per message on the default sockets; paced, native and TLS runs beside it."""
    base = write(seed, FRAMES[:1], symbols=symbols, start=START, minutes=5, moments=moments)
    native = write(seed, FRAMES, symbols=symbols, start=START, minutes=3, moments=max(4, moments // 4))
    slow = base._replace(frames=base.frames[:paced])
    many = native._replace(frames=native.frames[:paced])
    with tempfile.TemporaryDirectory(prefix="klinehub-bench-") as name:
        folder = Path(name)
        made = certificate(folder)
        three = lay_out(base, folder / "three", SETTINGS.streams_per_socket)
        eleven = lay_out(native, folder / "eleven", SETTINGS.streams_per_socket)
        calm = lay_out(slow, folder / "calm", SETTINGS.streams_per_socket)
        calm_one = lay_out(slow, folder / "one", len(slow.streams) + 1)
        calm_many = lay_out(many, folder / "many", SETTINGS.streams_per_socket)
        runs = repeated(three, "saturate", rounds)
        detail: dict[str, Any] = {
            "goals": GOALS,
            **_shown(runs, three),
            "saturated_native": _shown(repeated(eleven, "saturate", max(1, rounds - 3)), eleven),
            "paced": _shown(repeated(calm, f"pace {rate}", 1), calm),
            "paced_one_socket": _shown(repeated(calm_one, f"pace {rate}", 1), calm_one),
            "paced_native": _shown(repeated(calm_many, f"pace {rate}", 1), calm_many),
        }
        detail |= _over_tls(made, three, calm, rounds, rate)
        detail |= compare(runs[-1].core, base)
    detail["bytes_per_message"] = round(sum(len(one.text) for one in base.frames) / len(base.frames))
    return Measurement(rounded(middle([run.us for run in runs])), "us", detail)


def _over_tls(made: Path | str, three: Play, calm: Play, rounds: int, rate: float) -> dict[str, Any]:
    """Measure over TLS: records of 16 KiB, one record a frame, and paced; say why where it cannot be done."""
    if isinstance(made, str):
        return {"tls": None, "tls_reason": made}
    runs = repeated(three, "saturate", rounds, made)
    return {
        "tls": _shown(runs, three),
        "tls_record_per_message": _shown(repeated(three, "each", max(1, rounds - 3), made), three),
        "tls_paced": _shown(repeated(calm, f"pace {rate}", 1, made), calm),
    }


def _shown(runs: list[Run], play: Play) -> dict[str, Any]:
    """Sum runs over one script up."""
    found = [run.us for run in runs]
    return {
        "us": rounded(middle(found)),
        "best": rounded(min(found)),
        "worst": rounded(max(found)),
        "rounds": len(found),
        "per_second": round(middle([run.rate for run in runs])),
        "messages": len(play.script.frames),
        "sockets": play.sockets,
    }


def lay_out(script: Script, folder: Path, per_socket: int) -> Play:
    """Write the frames of each socket to a file, split up as a hub splits its streams."""
    folder.mkdir()
    timeframes = list(dict.fromkeys(tf for _, tf in script.streams))
    chunks = chunked(script.symbols, len(timeframes), per_socket)
    number_of = {symbol: number for number, chunk in enumerate(chunks) for symbol in chunk}
    parts: list[list[bytes]] = [[] for _ in chunks]
    sizes = [0] * len(chunks)
    order = np.empty((len(script.frames), 2), np.int64)
    for at, one in enumerate(script.frames):
        number = number_of[script.streams[one.series][0]]
        data = frame(one.text)
        parts[number].append(data)
        sizes[number] += len(data)
        order[at] = number, sizes[number]
    lanes = {}
    for number, chunk in enumerate(chunks):
        file = folder / f"{number}.frames"
        file.write_bytes(b"".join(parts[number]))
        names = [stream_name(symbol, tf.name) for tf in timeframes for symbol in chunk]
        names += [CONTRACT_INFO] if number == 0 else []
        lanes[names[0]] = Lane(number, str(file), len(packed(names)))
    np.save(folder / "order.npy", order)
    orders = Orders(lanes, str(folder / "order.npy"), None)
    return Play(script, len(timeframes) > 1, per_socket, orders, len(chunks))


def repeated(play: Play, command: str, rounds: int, made: Path | None = None) -> list[Run]:
    """Run over a script several times, after one run that is not counted; a single run stands alone."""
    runs = [in_loop(_run(play, command, made)) for _ in range(rounds + (rounds > 1))]
    return runs[-rounds:]


async def _run(play: Play, command: str, made: Path | None) -> Run:
    """Let a new sender send to a new ring."""
    total, core = len(play.script.frames), filled(play)
    tasks: list[asyncio.Future[object]] = []
    acknowledged = sum(lane.subscriptions for lane in play.orders.lanes.values())

    def arrived() -> int:
        return core.counts.updates - acknowledged

    def market_seconds() -> float:
        at = max(0, min(arrived(), total - 1))
        return (play.script.frames[at].time - play.script.start) / 1000

    def spawn(work: Coroutine[object, object, None]) -> None:
        tasks.append(asyncio.ensure_future(work))

    tls = ssl.create_default_context(cafile=made) if made else None
    live = _live(core, Clock(play.script.start, 1.0, market_seconds), RealNetwork(tls=tls))
    async with _sender(play, made) as sender:
        url = f"{'wss' if made else 'ws'}://127.0.0.1:{sender.port}/stream"
        live.start(spawn, (url,), play.script.symbols, per_seat=play.per_socket)
        try:
            if not await live.up() or await sender.replies.readline() != b"ready\n":
                raise FeedError(f"The sender of the benchmark was not reached: {live.last_loss}")
            sender.orders.write(f"{command}\n".encode())
            run = await _timed(core, arrived, total)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return run


async def _timed(core: Core, arrived: Callable[[], int], total: int) -> Run:
    """Measure until *total* messages have arrived; raises FeedError when they do not."""
    wall, cpu = time.perf_counter(), time.process_time()
    while arrived() < total:
        # An event would have to be looked at with every message.
        await asyncio.sleep(LOOK_EVERY)
        if time.perf_counter() - wall > LONGEST:
            raise FeedError(f"{arrived()} of {total} messages arrived within {LONGEST:.0f} s.")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Run(cpu / total * 1e6, total / wall, core)


class _Sender(NamedTuple):
    """A running sender: where it listens and how to talk to it."""

    port: int
    orders: asyncio.StreamWriter
    replies: asyncio.StreamReader


@asynccontextmanager
async def _sender(play: Play, made: Path | None) -> AsyncIterator[_Sender]:
    """Start a sender in a process of its own; it ends with the block."""
    command = (sys.executable, "-m", "klinehub.bench.blaster")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    if process.stdin is None or process.stdout is None:
        raise FeedError("The sender of the benchmark has no pipes.")
    try:
        orders = msgspec.structs.replace(play.orders, certificate=str(made) if made else None)
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        yield _Sender(int(await process.stdout.readline() or 0), process.stdin, process.stdout)
    finally:
        process.stdin.close()
        await process.wait()


def _live(core: Core, clock: Clock, network: RealNetwork) -> Live:
    """Give the live shell of a hub; nothing is asked by REST, because no timer runs."""
    gate = WeightGate(clock)
    rest = RestClient("http://127.0.0.1:9", network, gate, clock)
    timing = Timing(rest, gate, clock, on_doubt=_ignore)
    return Live(core, rest, gate, network, clock, timing, sink=_ignore, relist=_nothing, jitter=lambda: 0.5)


def _ignore(_: object) -> None:
    """Take what is told as a hub without subscribers does."""


async def _nothing() -> None:
    """Read no listing."""


def filled(play: Play) -> Core:
    """Make a core and a ring of a hub's size with the history that larger bars are built on."""
    script = play.script
    ring = Ring(
        FRAMES,
        rows=len(script.symbols) + SETTINGS.spare,
        bars=SETTINGS.bars + 1 + SLACK,
        native=FRAMES if play.native else (),
    )
    for symbol in script.symbols:
        ring.add(symbol, Scale(0, 0, 0))
    core = Core(ring, wanted=SETTINGS.bars)
    core.watch(script.symbols)
    for symbol, tf, exact in script.histories:
        core.on_rest(
            Fetch(symbol, tf.name, None, exact.rows.size),
            exact,
            script.start + 2 * PROOF,
            script.start + 2 * PROOF,
        )
    core.go_live(script.start)
    return core


def compare(core: Core, script: Script) -> dict[str, Any]:
    """Compare each bar with what Python makes of the last text about it: floats by bits, volumes exactly."""
    last: dict[tuple[str, str, int], dict[str, Any]] = {}
    for one in script.frames:
        bar = json.loads(one.text)["data"]["k"]
        last[bar["s"], bar["i"], bar["t"]] = bar
    different = wide = 0
    for (symbol, name, opened), bar in last.items():
        panel, index = core.ring.panel(name), timeframe(name).index(opened)
        exact = panel.exact(symbol, start=index, end=index, forming=True)
        expected = _expected(bar, exact.scale)
        found = [tuple(row.tolist()) for row in exact.rows]
        different += found != [expected]
        wide += any(abs(number) > EXACT for number in expected[5:])
    return {"equal": different == 0, "compared": len(last), "different": different, "beyond_2_53": wide}


def _expected(bar: dict[str, Any], scale: Scale) -> tuple[float, ...]:
    """Give a bar's ten numbers as the ring has to hold them."""
    volumes = [int(Decimal(bar[name]).scaleb(scale.base)) for name in "vV"]
    money = [int(Decimal(bar[name]).scaleb(scale.quote)) for name in "qQ"]
    prices = (float(bar["o"]), float(bar["h"]), float(bar["l"]), float(bar["c"]))
    return (bar["t"], *prices, volumes[0], money[0], bar["n"], volumes[1], money[1])
