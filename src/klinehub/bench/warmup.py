"""`warmup`: how far a warm-up under the real weight limit is from the soonest that the limit allows."""

from typing import Any, Final

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.stage import NOON, Stage, with_hub
from klinehub.domain.timeframe import MINUTE
from klinehub.feed.binance import klines_weight
from klinehub.settings import HubSettings

GOAL_SECONDS: Final = 5.0
STARTS: Final = (5, 30, 55)
REFUSALS: Final = (418, 429)


def bound(weight: int, cap: int, second: int) -> float:
    """Give the least seconds to spend *weight* at *cap* a minute, from *second* of a minute on."""
    minutes = -(-weight // cap)
    return max(0.0, (minutes - 1) * 60.0 - second)


def measure(
    seed: int,
    *,
    symbols: int = 530,
    bars: int = 300,
    starts: tuple[int, ...] = STARTS,
    hub: HubSettings | None = None,
) -> Measurement:
    """Give the worst of the virtual seconds beyond the bound; *hub* replaces the default settings."""
    settings = hub or HubSettings(bars=bars, most_symbols=symbols)
    found = [_start(seed, second, symbols, settings) for second in starts]
    worst = max(one["beyond"] for one in found)
    detail = {
        "goal": GOAL_SECONDS,
        "time": "virtual: 5 to 25 ms a write on the network, computing takes no time",
        "from_second": {str(second): one for second, one in zip(starts, found, strict=True)},
    }
    return Measurement(rounded(worst), "s", detail)


def _start(seed: int, second: int, symbols: int, settings: HubSettings) -> dict[str, Any]:
    """Start an unmodified hub, streams and all, at *second* of a minute."""

    async def work(stage: Stage) -> dict[str, Any]:
        hub = stage.hub
        series = len(hub.symbols) * len(hub.timeframes)
        least = series * klines_weight(hub.settings.bars + 1)
        limit = bound(least, hub.gate.cap or least, second)
        summary = hub.summary
        return {
            "seconds": rounded(stage.seconds, 6),
            "bound": limit,
            "beyond": rounded(stage.seconds - limit),
            "requests": hub.gate.calls,
            "weight": hub.gate.spent,
            "documented_minimum": least,
            "over_minimum": rounded(hub.gate.spent / least - 1),
            "refused": sum(stage.statuses[status] for status in REFUSALS),
            "failed": summary.failed if summary else 0,
            "symbols": len(hub.symbols),
            "cpu_seconds": rounded(stage.cpu_seconds),
        }

    start = NOON + 7 * MINUTE + second * 1000
    return with_hub(work, settings, symbols=symbols, seed=seed, start=start, limits=True)
