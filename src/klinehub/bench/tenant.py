"""The hub of `footprint`: a real one in a fresh process, used in every way, which then tells what it took."""

import asyncio
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from picows import WSFrame, WSListener, WSTransport

from klinehub.bench.process import obey
from klinehub.compiled import ensure
from klinehub.domain.clock import Clock
from klinehub.domain.resident import resident_bytes
from klinehub.feed.network import RealNetwork
from klinehub.hub import Hub
from klinehub.settings import HubSettings

MEGA: Final = 1_000_000
DAY: Final = 86_400
# What a server's frame of 126 to 65,535 bytes begins with.
HEAD_BYTES: Final = 4


class Task(msgspec.Struct, frozen=True):
    """What kind of hub to be and for how many seconds to watch it live."""

    rest_url: str
    stream_url: str
    bars: int
    seconds: float


class _Counted(WSListener):
    """Counts bytes on their way to a listener."""

    def __init__(self, inner: WSListener, count: Callable[[int], None]) -> None:
        self._inner, self._count = inner, count

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._count(len(frame.get_payload_as_memoryview()) + HEAD_BYTES)
        self._inner.on_ws_frame(transport, frame)


class CountedNetwork(RealNetwork):
    """Real sockets whose received WebSocket bytes and frames are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.received = 0
        self.frames = 0

    async def open_socket(self, url: str, listener_factory: Callable[[], WSListener]) -> WSTransport:
        """Open a WebSocket to *url* that counts."""
        return await super().open_socket(url, lambda: _Counted(listener_factory(), self._count))

    def _count(self, size: int) -> None:
        self.received += size
        self.frames += 1


def peak_bytes() -> int:
    """Give the most resident memory that this process has had."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


async def live(task: Task) -> dict[str, Any]:
    """Warm up, use every kernel, watch the stream for a while and give the figures."""
    network = CountedNetwork()
    settings = HubSettings(
        rest_url=task.rest_url, stream_url=task.stream_url, bars=task.bars, share=None, tradifi=True
    )
    clock = Clock(int(time.time() * 1000), 1.0, time.monotonic)
    await ensure()
    begun = time.perf_counter()
    async with Hub(settings, clock=clock, network=network, jitter=lambda: 0.5) as hub:
        ready = time.perf_counter() - begun
        use(hub)
        started, cpu = time.perf_counter(), time.process_time()
        received, frames = network.received, network.frames
        await asyncio.sleep(task.seconds)
        took, cpu = time.perf_counter() - started, time.process_time() - cpu
        use(hub)
        series = len(hub.symbols) * len(hub.timeframes)
        return {
            "peak_mb": round(peak_bytes() / MEGA, 1),
            "compiler_peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1),
            "resident_mb": round(resident_bytes() / MEGA, 1),
            "panel_mb": round(hub.ring.bytes / MEGA, 1),
            "panel_bytes_per_bar": round(hub.ring.bytes / (series * task.bars), 1),
            "received_mb_per_day": round((network.received - received) / took * DAY / MEGA),
            "messages_per_second": round((network.frames - frames) / took, 1),
            "cpu_share": round(cpu / took, 4),
            "seconds_to_ready": round(ready, 2),
            "watched_seconds": round(took, 1),
            "symbols": len(hub.symbols),
            "timeframes": len(hub.timeframes),
            "bars": task.bars,
            "missing_bars": hub.get_stats()["missing_bars"],
        }


def use(hub: Hub) -> None:
    """Read and scan as a user would."""
    hub.scan()
    for frame in hub.timeframes:
        hub.klines(hub.symbols[0], frame.name, 300, forming=True)
        hub.get_klines(hub.symbols[0], frame.name, 300)
    hub.is_fresh(hub.symbols[0])
    hub.get_stats()


if __name__ == "__main__":
    obey(live, Task)
