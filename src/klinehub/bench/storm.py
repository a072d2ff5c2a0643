"""`storm`: what it takes to commit the closes of a whole market that come within one second."""

import asyncio
import time
from typing import Any, Final
from unittest.mock import patch

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.stage import NOON, SYMBOLS, Stage, with_hub
from klinehub.domain.timeframe import DAY
from klinehub.feed.core import Core
from klinehub.settings import HubSettings

GOAL_MS: Final = 500.0
BARS: Final = 60
MIDNIGHT: Final = NOON + DAY // 2


def measure(seed: int, *, symbols: int = SYMBOLS, bars: int = BARS) -> Measurement:
    """Give the ms of CPU for the closes of 550 symbols in four streamed timeframes at midnight."""
    settings = HubSettings(bars=bars, native=True)

    async def work(stage: Stage) -> dict[str, Any]:
        hub, taken, closes = stage.hub, [], []
        plain = Core.on_batch

        def timed(*given: Any) -> Any:  # noqa: ANN401 - passes on what it is given
            begun = time.process_time()
            decisions = plain(*given)
            taken.append(time.process_time() - begun)
            closes.extend(decisions.closed)
            return decisions

        await asyncio.sleep((MIDNIGHT - hub.now()) / 1000)
        before = hub.core.counts.closes
        with patch.object(Core, "on_batch", timed):
            await asyncio.sleep(1.0)
        return {
            "closes": hub.core.counts.closes - before,
            "announced": {one.timeframe: one.complete for one in closes},
            "batches": len(taken),
            "longest_batch_ms": rounded(max(taken) * 1000),
            "ms": sum(taken) * 1000,
        }

    found = with_hub(work, settings, symbols=symbols, seed=seed, start=MIDNIGHT - 20_000)
    detail = {
        "time": "CPU ms of the core, from the bytes of a read to the ring and the announcement",
        "symbols": symbols,
        "streams": symbols * len(settings.timeframes),
        "goal_ms": GOAL_MS,
        **found,
    }
    return Measurement(rounded(found["ms"]), "ms", detail)
