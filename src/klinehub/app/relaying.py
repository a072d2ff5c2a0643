"""Relaying: what a hub's screens find and what it alerts of, told on its relay too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from klinehub.app.library import Hub
from klinehub.relay.telling import Teller
from klinehub.scan.scanner import DEFAULT
from klinehub.serve.signals import Signals


@asynccontextmanager
async def told(hub: Hub, signals: Signals) -> AsyncIterator[None]:
    """Tell others, while the block runs, what *signals* pass on: own screens, the score, and alerts."""
    if hub.teller is None:
        yield
        return
    task = asyncio.create_task(_tell(hub, hub.teller, signals))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _tell(hub: Hub, teller: Teller, signals: Signals) -> None:
    subjects = hub.subjects
    while True:
        async with signals.listening([*signals.own, DEFAULT], closes=False, alerts=True) as listener:
            while (event := await listener.queue.get()) is not None:
                subject = subjects.scans(event.screen) if event.screen else subjects.alerts
                teller.found(subject, event.data)
