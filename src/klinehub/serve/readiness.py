"""Readiness: whether a hub can be relied on now, and in words why not."""

from collections import Counter
from typing import Final

import msgspec
from aiohttp import web

from klinehub.hub import Hub
from klinehub.serve.answers import Health, Readiness

# The part of the trading symbols that has to be proven fresh.
FRESH: Final = 0.9
WARMING: Final = Readiness(ready=False, reasons=("the hub is warming up",))


def readiness(hub: Hub) -> Readiness:
    """Say whether a hub that has warmed up can be relied on: most of its market is proven fresh."""
    trading = hub.live.trading
    stale = Counter(one.reason for one in hub.all_stale(trading).values())
    if not trading:
        return Readiness(ready=False, reasons=("nothing that is followed trades now",))
    if len(trading) - stale.total() >= FRESH * len(trading):
        return Readiness(ready=True)
    said = (f"{count} of {len(trading)} symbols: {reason}" for reason, count in stale.most_common())
    return Readiness(ready=False, reasons=tuple(said))


def warming(path: str) -> web.Response:
    """Answer anybody who comes before the hub has warmed up; the process is alive meanwhile."""
    if path == "/healthz":
        return _said(200, Health())
    if path == "/readyz":
        return _said(503, WARMING)
    return web.Response(status=503, text="The hub is warming up.", headers={"Retry-After": "1"})


def _said(status: int, value: msgspec.Struct) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")
