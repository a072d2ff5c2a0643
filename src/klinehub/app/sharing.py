"""Sharing with other programs of this machine: the hub's panel in a file, and reading it from there.

The file lies beside the hub's door, in XDG_RUNTIME_DIR, which is memory on most systems. /dev/shm is left
alone: in a container it has 64 MB, and a panel of 550 symbols 98. A disk does where there is no other
place: its pages are written out every few seconds, and the next write to each is caught once more. Measured
per 100 writes at random, us of CPU at p50 and p99.9: private memory 54 and 170, tmpfs 66 and 230, ext4 70
and 380; no longer standstill was seen than in private memory. Huge pages changed nothing.
"""

import asyncio
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from klinehub.app.options import door
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.attached import Attached
from klinehub.panel.ring import Ring
from klinehub.panel.shared import SharedRing

PAUSE: Final = 0.0005
BEAT_EVERY: Final = 0.5


def machine_seconds() -> float:
    """Count seconds that go by while the machine sleeps too, where the system has such a clock."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


def panel_file(market: str | None = None) -> Path:
    """Give the file in which a running hub shares its panel, or that of a further *market* of it."""
    return door().with_name("panel" if market is None else f"panel-{market}")


def attach(path: str | Path | None = None, *, market: str | None = None) -> Attached:
    """Attach to the panel of the hub that runs on this machine: `attach()["5m"].klines("BTCUSDT", 300)`.

    *path* is the hub's `panel_file` where that is not the usual one, *market* one of those that it follows
    beside its first, such as "binance-spot". Raises NoHub when none is running, and DataError for a file
    that is not to be read.
    """
    file = panel_file(market) if path is None else Path(path).expanduser()
    return Attached(file, machine_seconds, lambda: time.sleep(PAUSE))


def ring_in(path: str) -> Callable[..., Ring]:
    """Give what makes a hub's ring: in the file *path*, or in private memory where that is "" or "off".

    Where the file cannot be made a warning says so, and the hub does without.
    """

    def shared(
        timeframes: Sequence[Timeframe],
        *,
        rows: int,
        bars: int,
        native: Sequence[Timeframe],
        beside: Sequence[str],
    ) -> Ring:
        try:
            return SharedRing(
                timeframes,
                path=Path(path).expanduser(),
                generation=time.time_ns(),
                rows=rows,
                bars=bars,
                native=native,
                beside=beside,
            )
        except OSError as exc:
            warnings.warn(
                f"Other programs cannot read this hub's panel ({path}: {exc.strerror or exc}): set "
                "XDG_RUNTIME_DIR, or `market.panel_file`, to where there is room.",
                stacklevel=2,
            )
            return Ring(timeframes, rows=rows, bars=bars, native=native, beside=beside)

    return Ring if path in {"", "off"} else shared


async def beat(ring: Ring, now: Callable[[], int], rate: float) -> None:
    """Tell readers twice a second that the hub is alive, and at the end that it is not."""
    if not isinstance(ring, SharedRing):
        return
    try:
        while True:
            ring.beat(machine_seconds(), now(), rate)
            await asyncio.sleep(BEAT_EVERY)
    finally:
        ring.end()
