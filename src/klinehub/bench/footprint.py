"""`footprint`: the memory, CPU and traffic of a hub in a process of its own, beside its exchange in another.

1. A first hub starts with an empty compile cache, so that its peak holds the compiler, and is watched live.
2. A second one of the same size finds everything compiled; a third is the small profile, bound to one core.
3. Each warms up, reads and scans.
"""

import tempfile
from typing import Any, Final

import msgspec

from klinehub.bench.catalogue import Measurement
from klinehub.bench.neighbour import Neighbour
from klinehub.bench.process import Process
from klinehub.bench.tenant import Task

GOALS: Final = {"peak_mb": 450, "panel_bytes_per_bar": 1.6 * 80, "small_peak_mb": 400}
LONGEST: Final = 120.0


def measure(
    seed: int,
    *,
    symbols: int = 550,
    small: int = 100,
    bars: int = 500,
    seconds: float = 8.0,
    cold: bool = True,
) -> Measurement:
    """Give the peak resident MB (10^6 bytes); without *cold* the compiler's share is not measured."""
    first = observe(symbols=symbols, bars=bars, seed=seed, seconds=seconds, cold=cold)
    warm = observe(symbols=symbols, bars=bars, seed=seed, seconds=0.0)
    little = observe(symbols=small, bars=bars, seed=seed, seconds=min(seconds, 4.0), one_core=True)
    detail = {
        "goals": GOALS,
        **first,
        "peak_mib": round(first["peak_mb"] * 1e6 / 2**20, 1),
        "compiled_before": {name: warm[name] for name in ("peak_mb", "resident_mb", "seconds_to_ready")},
        "small": little,
        "how": (
            "a real hub over loopback at real speed, no pandas loaded; MB are 10^6 bytes; received bytes are "
            f"WebSocket frames of {seconds:.0f} s, extrapolated to a day of the simulated market's activity; "
            "the small profile finds everything compiled"
        ),
    }
    return Measurement(first["peak_mb"], "MB", detail)


def observe(
    *, symbols: int, bars: int, seed: int, seconds: float, cold: bool = False, one_core: bool = False
) -> dict[str, Any]:
    """Run one hub on one exchange and give what the hub tells of itself."""
    with tempfile.TemporaryDirectory(prefix="klinehub-bench-") as folder:
        environment = {"NUMBA_CACHE_DIR": folder} if cold else {}
        with Process("klinehub.bench.neighbour", str(symbols), str(seed)) as exchange:
            where = msgspec.json.decode(exchange.line(), type=Neighbour)
            task = Task(where.rest_url, where.stream_url, bars, seconds)
            with Process("klinehub.bench.tenant", environment=environment, one_core=one_core) as hub:
                told = hub.last_words(msgspec.json.encode(task).decode(), within=LONGEST)
    found: dict[str, Any] = msgspec.json.decode(told)
    return found
