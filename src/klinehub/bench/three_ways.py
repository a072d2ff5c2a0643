"""`three_ways`: a scan with data asked for one by one, in parallel batches, or taken from the cache."""

from typing import Final

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.stage import REQUEST_DELAY, REQUEST_SECONDS, SYMBOLS, Stage, cpu_seconds, middle, with_hub
from klinehub.scan.scanner import needs
from klinehub.settings import DEFAULT_TIMEFRAMES, HubSettings

SINCE: Final = 60
GOALS: Final = {"batch_times": 5.0, "cache_times": 100.0}


def measure(seed: int, *, symbols: int = SYMBOLS, size: int = 64, rounds: int = 15) -> Measurement:
    """Give the seconds per scan from the cache; the two REST ways and the ratios are in the detail.

    Each way scores the same symbols with the same factors over the same bars, those that a scan reads.
    """
    reads = needs(DEFAULT_TIMEFRAMES)
    # A larger bar was over a while ago: of the smaller ones, some have closed since.
    frames, bars = tuple(reads), max(reads.values()) + SINCE

    async def work(stage: Stage) -> tuple[float, float, int, int, int]:
        scan = middle(cpu_seconds(stage.hub.scan, rounds=rounds))
        result = stage.hub.scan().result
        requests = stage.hub.summary.requests if stage.hub.summary else 0
        return stage.warm_seconds, scan, requests, result.symbols, len(result.weights)

    def way(batch: int) -> tuple[float, float, int, int, int]:
        one = HubSettings(timeframes=frames, bars=bars, streams=False, batch=batch)
        return with_hub(work, one, symbols=symbols, seed=seed, delay=REQUEST_DELAY)

    waited, scan, requests, scored, factors = way(1)
    serial, (waited, cache, *_) = waited + scan, way(size)
    batched = waited + cache
    detail = {
        "goals": GOALS,
        "serial_seconds": rounded(serial),
        "batch_seconds": rounded(batched),
        "cache_seconds": rounded(cache),
        "batch_times": rounded(serial / batched),
        "cache_times": rounded(serial / cache),
        "cache_times_batch": rounded(batched / cache),
        "symbols": scored,
        "timeframes": list(frames),
        "bars": bars,
        "factors": factors,
        "requests": requests,
        "batch": size,
        "time": (
            f"REST: virtual seconds at {REQUEST_SECONDS * 1000:.0f} ms a request, which leaves out the CPU "
            "of reading the answers, plus the CPU of the scan; cache: CPU of the scan"
        ),
    }
    return Measurement(rounded(cache), "s", detail)
