"""What can be measured: the benchmarks by name, and how one of them is taken."""

import os
import shutil
import subprocess
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from klinehub.errors import UnknownName

SEED: Final = 1
MEANINGS: Final = {
    "ingest": "µs of CPU per kline message, from the socket to the ring's cell, sockets saturated",
    "warmup": "seconds beyond the bound of the weight limit for 530 symbols x 4 timeframes x 300 bars",
    "read": "µs of CPU per hub.klines(symbol, timeframe, 300) over random symbols",
    "scan": "µs of CPU when a bar of 550 symbols closes: 30 factors, their z-scores, the score and its rank",
    "alerts": "ms of CPU when a bar closes: 10,000 evaluations of rules, the engine included",
    "parity": "values that differ in a bit between live and history, beside leaks of the future and TA-Lib",
    "three_ways": "seconds per scan from the cache, beside serial and batched REST at 100 ms a request",
    "batch": "seconds of a warm-up with 64 requests at a time at 100 ms each, beside 8 to 256",
    "heal": "virtual seconds from the end of a 60 s cut to bit-exact, 550 symbols x 4 timeframes",
    "storm": "ms of CPU to commit the 2,200 closes of 550 symbols x 4 timeframes that come in one second",
    "day": "seconds of CPU for 24 hours of 500 symbols x 4 timeframes through the core, closes and repairs",
    "footprint": "MB of peak resident memory of a hub of 550 symbols x 4 timeframes x 500 bars, compiling",
    "markets": "% of one core that a hub of futures and spot takes, 1,000+ symbols at real-time rates",
    "kill": "acknowledged bars that are lost or torn after the writer of a store was killed N times",
    "flip": "flips of one bit, of N, after which a store serves what is not true",
    "power": "losses of power, of N at the writes of 1,000 commits, that lose or tear one or close a store",
    "serve": "requests for 500 klines a second that one core answers; streams to 1,000 clients, shared reads",
    "page": "ms of main-thread work for an update of all rows of the board in a browser; paint, heap, size",
    "board": "ms of CPU to the first table of a page of 550 symbols x 20 columns; bytes, the loop at a close",
    "cluster": "ms from a close to another process's panel over NATS; closes lost as N hubs are killed",
    "evidence": "bars a second a core of a replay; IC beside alphalens, a portfolio beside vectorbt, a year",
    "sweep": "seconds of five studies of a year on two workers of a Ray of its own, beside two threads",
    "bridge": "seconds after a minute's end until 100 symbols of an exchange behind ccxt are closed; warm-up",
    "store": "ms to keep a bar of 550 symbols on disk; restoring, restarting, reading a year, beside it",
}
# Those of which it can be said how often they try something.
COUNTED: Final = ("kill", "flip", "power", "page", "cluster")


class Measurement(msgspec.Struct, frozen=True):
    """One benchmark's figure, its unit, and what stands behind it."""

    value: float
    unit: str
    detail: dict[str, Any]


class Entry(msgspec.Struct, frozen=True):
    """A measurement with what is needed to compare it: version, seed, and the load average at its start."""

    value: float
    unit: str
    detail: dict[str, Any]
    commit: str
    seed: int
    load: float


def chosen(names: tuple[str, ...]) -> tuple[str, ...]:
    """Give the benchmarks that *names* name, all of them for none; raises UnknownName with the nearest."""
    for name in names:
        if name not in MEANINGS:
            raise UnknownName("benchmark", name, MEANINGS)
    return tuple(dict.fromkeys(names)) or tuple(MEANINGS)


def take(name: str, seed: int = SEED, *, n: int | None = None) -> Entry:
    """Run one benchmark; those in COUNTED try something *n* times, or as often as they usually do."""
    load = os.getloadavg()[0]
    # Each file is loaded when it is needed, so that the list of names comes at once.
    measure = cast("Callable[..., Measurement]", import_module(f"klinehub.bench.{name}").measure)
    taken = measure(seed, n=n) if n is not None and name in COUNTED else measure(seed)
    return Entry(taken.value, taken.unit, taken.detail, commit(), seed, round(load, 2))


def commit() -> str:
    """Name what is measured: the commit if this runs from klinehub's own checkout, else the version."""
    package = Path(__file__).resolve().parents[1]
    root = package.parents[1]
    git = shutil.which("git")
    if git is not None and (root / ".git").exists() and (root / "src").is_dir():
        found = subprocess.run(  # noqa: S603 - fixed arguments
            [git, "-C", str(root), "describe", "--always", "--dirty", "--tags"],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode == 0:
            return found.stdout.strip()
    return metadata.version("klinehub")


def rounded(value: float, digits: int = 4) -> float:
    """Give *value* with *digits* significant digits: more would only show noise."""
    return float(f"{value:.{digits}g}")
