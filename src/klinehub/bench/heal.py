"""`heal`: how long after a full cut of the network a whole market is live, whole and bit-exact again."""

import asyncio
from typing import Any, Final, cast

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.stage import NOON, SYMBOLS, Stage, with_hub
from klinehub.domain.timeframe import MINUTE
from klinehub.errors import FeedError
from klinehub.settings import HubSettings
from klinehub.sim.loop import SimLoop

GOAL_SECONDS: Final = 20.0
CUT_SECONDS: Final = 60.0
BARS: Final = 60
LOOK_EVERY: Final = 0.25
GIVEN_UP_AFTER: Final = 180.0


def measure(seed: int, *, symbols: int = SYMBOLS, bars: int = BARS) -> Measurement:
    """Give the virtual seconds from the end of a 60 s cut, begun at second 5 of a minute, to bit-exact."""

    async def work(stage: Stage) -> dict[str, Any]:
        hub = stage.hub
        begun = (hub.now() // MINUTE + 1) * MINUTE + 5_000
        await asyncio.sleep((begun - hub.now()) / 1000)
        before = hub.gate.calls, hub.gate.spent
        stale_after = await _cut(stage)
        healed = await _heal(stage)
        spent = {"requests": hub.gate.calls - before[0], "weight": hub.gate.spent - before[1]}
        verified = await hub.verify()
        if verified.different or verified.failed:
            raise FeedError(f"After the cut {len(verified.different)} bars differ: this is a bug.")
        return {"seconds": healed, "all_stale_after": stale_after, "compared": verified.checked, **spent}

    settings = HubSettings(bars=bars)
    found = with_hub(work, settings, symbols=symbols, seed=seed, limits=True, start=NOON + 7 * MINUTE)
    detail = {
        "time": "virtual: computing takes no time, the network 10 to 50 ms a round trip",
        "symbols": symbols,
        "timeframes": list(settings.timeframes),
        "bars": bars,
        "goal_seconds": GOAL_SECONDS,
        **found,
    }
    return Measurement(rounded(found["seconds"]), "s", detail)


async def _cut(stage: Stage) -> float:
    """Break every connection and refuse new ones for a while; gives after how long all was told stale."""
    loop = cast("SimLoop", asyncio.get_running_loop())
    away = dict(loop.listeners)
    loop.listeners.clear()
    for link in loop.links:
        link.reset()
    begun, told = loop.time(), -1.0
    while loop.time() < begun + CUT_SECONDS:
        if told < 0 and all(stage.hub.stale(symbol) for symbol in stage.hub.symbols):
            told = loop.time() - begun
        await asyncio.sleep(LOOK_EVERY)
    loop.listeners.update(away)
    return told


async def _heal(stage: Stage) -> float:
    """Wait until nothing is missing and nothing stale; gives the seconds that took."""
    loop, hub = asyncio.get_running_loop(), stage.hub
    begun = loop.time()
    while loop.time() < begun + GIVEN_UP_AFTER:
        stats = hub.get_stats()
        settled = hub.core.repair.missing(hub.now() - hub.core.grace)
        if not settled and not stats["stale_symbols"] and stats["sockets_up"] == stats["sockets"]:
            return loop.time() - begun
        await asyncio.sleep(LOOK_EVERY)
    raise FeedError(f"Not healed after {GIVEN_UP_AFTER:.0f} s: {hub.get_stats()}")
