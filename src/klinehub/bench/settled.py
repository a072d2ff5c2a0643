"""When a hub of a benchmark has all that it will keep: nothing more is asked for from then on."""

import asyncio
from typing import Final

from klinehub.feed.warmup import deepening
from klinehub.hub import Hub

LOOK: Final = 0.5


async def deepened(hub: Hub) -> None:
    """Wait until the whole history of what trades is there."""
    panels = [hub.panel(frame.name) for frame in hub.timeframes]
    # Nobody is told when it has come.
    while deepening(panels, hub.settings.bars, hub.now(), hub.live.trading):  # noqa: ASYNC110
        await asyncio.sleep(LOOK)
