"""`scan`: what it costs to score and rank a whole market at a closed bar."""

from typing import Final

import numpy as np

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.stage import SYMBOLS, Stage, cpu_seconds, middle, with_hub
from klinehub.settings import HubSettings

GOAL_MS: Final = 150.0


def measure(seed: int, *, symbols: int = SYMBOLS, bars: int = 498, rounds: int = 100) -> Measurement:
    """Give the median ms of CPU of a scan from memory; everything is compiled before."""

    async def work(stage: Stage) -> Measurement:
        hub = stage.hub
        taken = [seconds * 1e3 for seconds in cpu_seconds(hub.scan, rounds=rounds)]
        scan = hub.scan()
        detail = {
            "goal": GOAL_MS,
            "p50": rounded(middle(taken)),
            "p99": rounded(float(np.percentile(taken, 99))),
            "symbols": scan.result.symbols,
            "timeframes": list(hub.scanner.lookback),
            "bars": hub.scanner.lookback,
            "factors": len(scan.result.weights),
            "api_calls": scan.api_calls,
            "rounds": rounds,
        }
        return Measurement(rounded(middle(taken)), "ms", detail)

    return with_hub(work, HubSettings(bars=bars, streams=False), symbols=symbols, seed=seed)
