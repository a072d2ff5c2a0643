"""`batch`: what more requests at a time bring to a warm-up when the weight limit is out of the way."""

from typing import Any, Final

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.stage import REQUEST_DELAY, REQUEST_SECONDS, SYMBOLS, Stage, with_hub
from klinehub.settings import HubSettings

SIZES: Final = (8, 16, 32, 64, 128, 256)
DEFAULT: Final = HubSettings().batch


def measure(
    seed: int, *, symbols: int = SYMBOLS, bars: int = 300, sizes: tuple[int, ...] = SIZES
) -> Measurement:
    """Give the virtual seconds of a warm-up with the default batch size, and with each of *sizes*."""
    found = {str(size): _warm(seed, symbols, bars, size) for size in sizes}
    value = found[str(DEFAULT if DEFAULT in sizes else sizes[-1])]["seconds"]
    detail = {
        "time": (
            f"virtual: {REQUEST_SECONDS * 1000:.0f} ms a request, computing takes no time; "
            "cpu_seconds are real, of the hub and of the exchange together"
        ),
        "symbols": symbols,
        "bars": bars,
        "sizes": found,
    }
    return Measurement(value, "s", detail)


def _warm(seed: int, symbols: int, bars: int, size: int) -> dict[str, Any]:
    async def work(stage: Stage) -> dict[str, Any]:
        return {
            "seconds": rounded(stage.warm_seconds),
            "requests": stage.hub.gate.calls,
            "cpu_seconds": rounded(stage.cpu_seconds),
        }

    settings = HubSettings(bars=bars, batch=size, streams=False)
    return with_hub(work, settings, symbols=symbols, seed=seed, delay=REQUEST_DELAY)
