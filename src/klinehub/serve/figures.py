"""Figures: what a hub counts and measures, each with its name, its unit and how it is read.

No label has a value for each symbol: 550 symbols by 4 timeframes would be 2,200 series for one figure. What
is behind a figure that looks wrong is in /api/v1/symbols, /gaps and /corrections.

`python -m klinehub.serve.figures > docs/metrics.md` writes the list of them anew.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import numpy as np

from klinehub.domain.kline import CLOSED
from klinehub.domain.resident import resident_bytes
from klinehub.domain.stale import Reason
from klinehub.hub import Hub
from klinehub.panel.memory import F64, I64
from klinehub.serve.board.live import LiveBoard
from klinehub.serve.broker import Broker
from klinehub.serve.readiness import readiness
from klinehub.serve.signals import Signals
from klinehub.serve.streams import HubStreams
from klinehub.serve.visits import Visits

_QUANTILES: Final = (0.5, 0.99, 1.0)
_REASONS: Final = {reason.text: reason.name.lower() for reason in Reason if reason}

Values = Iterable[tuple[tuple[str, ...], float]]


class Source(NamedTuple):
    """What metrics are read from: a hub, its signals, and who has come."""

    hub: Hub
    signals: Signals
    visits: Visits
    broker: Broker
    streams: HubStreams | None = None
    live: LiveBoard | None = None


class Figure(NamedTuple):
    """A metric: its name without the prefix, its kind, what it is, its labels, and how it is read."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...]
    read: Callable[[Source], Any]


def _stat(name: str) -> Callable[[Source], float]:
    return lambda source: float(source.hub.live.stats().get(name, 0))


def _streams(source: Source, name: str) -> int:
    return 0 if source.streams is None else source.streams.stats()[name]


def _data_age(source: Source) -> Values:
    """Give how long ago the newest closed bar of the trading symbols ended, in seconds."""
    hub = source.hub
    rows = hub.core.roster.rows
    for t, frame in enumerate(hub.timeframes):
        newest = _newest_closed(hub, t, rows)
        ages = [(hub.now() - frame.close_time(bar)) / 1000 for bar in newest.tolist() if bar >= 0]
        yield from _quantiles((frame.name,), np.array(ages))


def _newest_closed(hub: Hub, t: int, rows: I64) -> I64:
    """Give each row's newest closed bar, -1 for none: nearly always the newest or the one before."""
    memory, bars = hub.ring.memory, hub.ring.bars
    found: I64 = memory.newest[t, rows]
    for _ in range(2):
        found = found - (memory.state[t, rows, found % bars] < CLOSED)
    panel = hub.panel(hub.timeframes[t].name)
    for n in np.flatnonzero(memory.state[t, rows, found % bars] < CLOSED).tolist():
        found[n] = panel.newest_closed(hub.ring.symbols[rows[n]])
    return found


def _heard_age(source: Source) -> Values:
    """Give how long ago the streams of the trading symbols told something, in seconds."""
    hub = source.hub
    heard = hub.ring.memory.heard[0, hub.core.roster.rows]
    yield from _quantiles((), (hub.now() - heard[heard > 0]) / 1000)


def _quantiles(labels: tuple[str, ...], ages: F64) -> Values:
    for quantile in _QUANTILES if ages.size else ():
        yield (*labels, f"{quantile:g}"), float(np.quantile(ages, quantile))


def _stale(source: Source) -> Values:
    hub = source.hub
    found = Counter(_REASONS.get(one.reason, "") for one in hub.all_stale(hub.symbols).values())
    return [((name,), found[name]) for name in _REASONS.values()]


def _missing(source: Source) -> Values:
    hub = source.hub
    found: Counter[int] = Counter()
    for gap in hub.core.missing(hub.now()):
        found[gap.timeframe] += gap.end - gap.start + 1
    return [((frame.name,), found[t]) for t, frame in enumerate(hub.timeframes)]


def _queues(source: Source) -> Values:
    hub = source.hub
    yield ("rest_budget",), hub.gate.waiting
    for use, count in hub.live.queued.items():
        yield (f"rest_{use}",), count
    yield ("store",), float(hub.shelf.stats().get("store_pending", 0))
    yield ("forwarded",), source.broker.stats().waiting
    yield ("events",), source.signals.pending
    for target in source.signals.alerting.delivery.now():
        yield (f"target_{target.name}",), target.waiting


def _relay(source: Source) -> Values:
    """Give what of a relay can be counted; nothing for a hub that is on none."""
    stats = source.hub.get_stats()
    for what in ("told", "pending", "bars", "hubs", "own", "set_aside"):
        if f"relay_{what}" in stats:
            yield (what,), float(stats[f"relay_{what}"])
    if "relay_fault" in stats:
        yield ("up",), not stats["relay_fault"]


def _forwarded(source: Source) -> Values:
    told = source.broker.stats()
    yield ("forwarded",), told.forwarded
    yield ("shared",), told.coalesced
    yield ("failed",), told.errors
    yield ("refused",), sum(told.refused.values())


def _targets(source: Source) -> Values:
    for target in source.signals.alerting.delivery.now():
        yield (target.name,), target.state in {"ok", "quiet"}


def _alerts(source: Source) -> Values:
    for target in source.signals.alerting.delivery.now():
        yield (target.name, "sent"), target.sent
        yield (target.name, "retried"), target.retried
        yield (target.name, "given_up"), target.given_up


def _store_commits(source: Source) -> tuple[float, float]:
    keeping = source.hub.shelf.keeping
    return (0, 0.0) if keeping is None else (keeping.commits, keeping.seconds)


def _ban(source: Source) -> float:
    hub = source.hub
    return max(0, hub.gate.banned_until - hub.now()) / 1000


FIGURES: Final = (
    Figure("ready", "gauge", "1 while the hub can be relied on.", (), lambda s: readiness(s.hub).ready),
    Figure("symbols", "gauge", "Symbols that are followed.", (), lambda s: len(s.hub.symbols)),
    Figure(
        "data_age_seconds",
        "gauge",
        "How long ago the newest closed bar of trading symbols ended; quantile 1 is the oldest.",
        ("timeframe", "quantile"),
        _data_age,
    ),
    Figure(
        "stream_age_seconds",
        "gauge",
        "How long ago the streams of trading symbols told something; quantile 1 is the longest.",
        ("quantile",),
        _heard_age,
    ),
    Figure("stale_symbols", "gauge", "Symbols that are not proven fresh, by reason.", ("reason",), _stale),
    Figure("missing_bars", "gauge", "Closed bars that lack and are asked for.", ("timeframe",), _missing),
    Figure(
        "confirmed_gap_bars",
        "gauge",
        "Bars that the exchange does not have.",
        (),
        lambda s: len(s.hub.core.repair.absent),
    ),
    Figure("repairs_total", "counter", "Requests that brought missing bars.", (), _stat("repaired")),
    Figure("closes_total", "counter", "Bars that were proven closed.", (), _stat("closes")),
    Figure("updates_total", "counter", "Frames that streams have brought.", (), _stat("updates")),
    Figure(
        "late_closes_total", "counter", "Bars that closed after their announcement.", (), _stat("late_closes")
    ),
    Figure(
        "close_latency_seconds",
        "histogram",
        "From a bar's end to its announcement, in exchange time.",
        ("timeframe",),
        lambda s: [((name,), one) for name, one in s.signals.latency.items()],
    ),
    Figure(
        "audit_checked_bars_total", "counter", "Closed bars compared with REST.", (), _stat("audited_bars")
    ),
    Figure(
        "audit_different_bars_total",
        "counter",
        "Compared bars that differed.",
        (),
        _stat("audited_different"),
    ),
    Figure("corrections_total", "counter", "Closed bars that were changed.", (), _stat("corrections")),
    Figure("conflicts_total", "counter", "Closed bars that were told otherwise.", (), _stat("conflicts")),
    Figure("set_aside_total", "counter", "Frames that made no sense.", (), _stat("set_aside")),
    Figure("rest_requests_total", "counter", "REST calls let through.", (), lambda s: s.hub.gate.calls),
    Figure(
        "rest_weight_total",
        "counter",
        "Request weight spent, by what it was for.",
        ("use",),
        lambda s: [((use.value,), weight) for use, weight in s.hub.gate.spent_by_use.items()],
    ),
    Figure(
        "rest_weight_used",
        "gauge",
        "Request weight that counts against this exchange minute, that of other hubs included.",
        (),
        lambda s: s.hub.gate.used,
    ),
    Figure(
        "rest_weight_budget",
        "gauge",
        "Request weight that may be spent in a minute; 0 for any.",
        (),
        lambda s: s.hub.gate.cap or 0,
    ),
    Figure("rest_bans_total", "counter", "Bans that the exchange has spoken.", (), lambda s: s.hub.gate.bans),
    Figure("rest_ban_remaining_seconds", "gauge", "How long a ban still lasts.", (), _ban),
    Figure(
        "rest_closed",
        "gauge",
        "1 while nothing may be asked: a ban, a block, or a host that rests.",
        (),
        lambda s: bool(s.hub.gate.closed(s.hub.now())),
    ),
    Figure("sockets", "gauge", "Sockets that streams come over.", (), lambda s: len(s.hub.live.seats)),
    Figure("sockets_up", "gauge", "Sockets that are subscribed now.", (), lambda s: s.hub.live.seats_up),
    Figure(
        "reconnects_total",
        "counter",
        "Connections that were lost, or not made.",
        (),
        lambda s: s.hub.live.reconnects,
    ),
    Figure("clock_jumps_total", "counter", "Jumps and pauses of the clock.", (), _stat("clock_jumps")),
    Figure(
        "scan_seconds",
        "summary",
        "What scans took, in real time.",
        (),
        lambda s: (s.hub.scanning.count, s.hub.scanning.seconds),
    ),
    Figure("store_commit_seconds", "summary", "What commits took, in real time.", (), _store_commits),
    Figure(
        "store_durable",
        "gauge",
        "1 while what has closed is on disk.",
        (),
        lambda s: s.hub.shelf.keeping is not None and s.hub.shelf.keeping.durable,
    ),
    Figure("queue_depth", "gauge", "What waits, by queue.", ("queue",), _queues),
    Figure(
        "clients",
        "gauge",
        "Callers of the last five minutes, and clients that listen.",
        ("kind",),
        lambda s: [
            (("callers",), s.visits.recent),
            (("events",), s.signals.listeners),
            (("streams",), _streams(s, "stream_clients")),
            (("board",), 0 if s.live is None else s.live.clients),
        ],
    ),
    Figure(
        "streams_followed",
        "gauge",
        "Streams that at least one client follows.",
        (),
        lambda s: _streams(s, "streams_followed"),
    ),
    Figure(
        "stream_updates_conflated_total",
        "counter",
        "Updates of open bars left out for clients that did not keep up.",
        (),
        lambda s: _streams(s, "updates_conflated"),
    ),
    Figure(
        "stream_clients_cut_total",
        "counter",
        "Clients of streams that were cut because closes would have been left out.",
        (),
        lambda s: _streams(s, "clients_cut"),
    ),
    Figure(
        "board_tables",
        "gauge",
        "Different tables that pages of the board look at.",
        (),
        lambda s: 0 if s.live is None else len(s.live.views),
    ),
    Figure(
        "board_clients_cut_total",
        "counter",
        "Pages of the board that were cut because they took nothing.",
        (),
        lambda s: 0 if s.live is None else s.live.cut,
    ),
    Figure(
        "requests_total",
        "counter",
        "Requests answered, by part and status.",
        ("part", "status"),
        lambda s: s.visits.counted,
    ),
    Figure(
        "forwarded_requests_total",
        "counter",
        "Requests passed on to the exchange for clients, by what became of them.",
        ("outcome",),
        _forwarded,
    ),
    Figure(
        "slow_listeners_total", "counter", "Clients of events that were cut.", (), lambda s: s.signals.cut
    ),
    Figure("alerts_total", "counter", "Alerts sent to targets, by outcome.", ("target", "outcome"), _alerts),
    Figure(
        "target_ok",
        "gauge",
        "1 while a target takes what it is sent, 0 when it fails or is off.",
        ("target",),
        _targets,
    ),
    Figure(
        "relay",
        "gauge",
        "How the relay stands: bars told, yet to be told and taken in, hubs heard, symbols of its own, "
        "messages set aside, and whether there is no fault (`up`).",
        ("what",),
        _relay,
    ),
    Figure("panel_bytes", "gauge", "Memory that bars are kept in.", (), lambda s: s.hub.ring.bytes),
    Figure("resident_bytes", "gauge", "Memory of the process.", (), lambda _: resident_bytes()),
)

_INTRO: Final = """\
# Metrics

<!-- made by `python -m klinehub.serve.figures > docs/metrics.md` -->

A running hub tells Prometheus at `/metrics` what it counts and measures, as text or as OpenMetrics.

```yaml
scrape_configs:
  - job_name: klinehub
    static_configs: [{ targets: ["127.0.0.1:8787"] }]
```

Where a token is set, give it as `authorization: { credentials: … }`.
No label has a value for each symbol; which ones are behind a figure is told by [the API](api.md):
`/api/v1/symbols`, `/api/v1/gaps` and `/api/v1/corrections`.
A summary has `_count` and `_sum` only: `rate(…_sum[5m]) / rate(…_count[5m])` is the mean.

| metric | kind | labels | what it is |
|---|---|---|---|
"""


def page() -> str:
    """Write the page of all metrics."""
    lines = [
        f"| `klinehub_{one.name}` | {one.kind} | {', '.join(one.labels)} | {one.about} |" for one in FIGURES
    ]
    return _INTRO + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
