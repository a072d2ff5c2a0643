"""`read`: what it costs to copy one symbol's last 300 closed bars out of a full cache."""

from typing import Final

import numpy as np

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.stage import SYMBOLS, Stage, cpu_seconds, middle, with_hub
from klinehub.settings import HubSettings

GOAL_US: Final = 15.0


def measure(
    seed: int,
    *,
    symbols: int = SYMBOLS,
    bars: int = 498,
    limit: int = 300,
    reads: int = 2_000,
    rounds: int = 15,
) -> Measurement:
    """Give the median µs of CPU per read, symbols and timeframes drawn at random."""

    async def work(stage: Stage) -> Measurement:
        hub = stage.hub
        rng = np.random.default_rng(seed)
        names = [tf.name for tf in hub.timeframes]
        wanted = [
            (hub.symbols[row], names[t])
            for row, t in zip(
                rng.integers(len(hub.symbols), size=reads), rng.integers(len(names), size=reads), strict=True
            )
        ]

        def through_hub() -> None:
            for symbol, timeframe in wanted:
                hub.klines(symbol, timeframe, limit)

        panels = {name: hub.panel(name) for name in names}

        def through_panel() -> None:
            for symbol, timeframe in wanted:
                panels[timeframe].klines(symbol, limit)

        seconds = cpu_seconds(through_hub, rounds=rounds)
        panel = middle(cpu_seconds(through_panel, rounds=rounds))
        detail = {
            "goal": GOAL_US,
            "best": rounded(min(seconds) / reads * 1e6),
            "worst": rounded(max(seconds) / reads * 1e6),
            "panel_us": rounded(panel / reads * 1e6),
            "symbols": len(hub.symbols),
            "timeframes": names,
            "bars": limit,
            "reads": reads,
            "rounds": rounds,
            "full": hub.misses == 0,
        }
        return Measurement(rounded(middle(seconds) / reads * 1e6), "us", detail)

    return with_hub(work, HubSettings(bars=bars, streams=False), symbols=symbols, seed=seed)
