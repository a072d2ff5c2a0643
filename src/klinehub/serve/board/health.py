"""Health: how well the hub's data is, in the figures of the board's strip."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np

from klinehub.domain.resident import resident_bytes
from klinehub.domain.stale import Stale
from klinehub.hub import Hub
from klinehub.serve.board.messages import HealthTold, Lag, RestTold, Sockets, StaleRows, StaleTold, Weight
from klinehub.serve.signals import Signals

_QUANTILES: Final = (0.5, 0.99)


def health(signals: Signals, stale: Mapping[int, Stale]) -> HealthTold:
    """Say how well a hub's data is, of which these rows are *stale*."""
    hub = signals.hub
    now, symbols = hub.now(), len(hub.ring.symbols)
    return HealthTold(
        time=now,
        symbols=symbols,
        fresh=symbols - len(stale),
        stale=len(stale),
        reasons=Counter(one.reason for one in stale.values()),
        lag=_lag(signals),
        gaps=sum(gap.end - gap.start + 1 for gap in hub.core.missing(now)),
        weight=Weight(hub.gate.used, hub.gate.cap or 0),
        rest=_rest(hub, now),
        sockets=_sockets(hub),
        closes=hub.core.counts.closes,
        store_fault=str(hub.shelf.stats().get("store_fault", "")),
        bytes=resident_bytes(),
    )


def stale_rows(layout: int, stale: Mapping[int, Stale]) -> StaleRows:
    """Say which rows are stale, why, and since when."""
    return StaleRows(layout, {str(row): StaleTold(*one) for row, one in stale.items()})


def _lag(signals: Signals) -> Lag:
    lags = signals.lags
    if not lags:
        return Lag(None, None, 0)
    half, nearly_all = np.quantile(lags, _QUANTILES).tolist()
    return Lag(round(half, 3), round(nearly_all, 3), len(lags))


def _rest(hub: Hub, now: int) -> RestTold:
    why = hub.gate.closed(now)
    until = max(hub.gate.banned_until, hub.gate.breaker.until) if why else 0
    return RestTold(not why, why, until)


def _sockets(hub: Hub) -> Sockets:
    live = hub.live
    return Sockets(live.seats_up, len(live.seats), live.last_loss, live.reconnects, live.last_reconnect)
