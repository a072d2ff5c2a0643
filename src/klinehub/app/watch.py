"""`watch`: hits of several screens and rules for held symbols, a line each as they come."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from klinehub.alerts.facts import facts_of
from klinehub.app import options, show
from klinehub.app.config import Config
from klinehub.app.following import base_screen, keeping, own_screens
from klinehub.app.library import Hub
from klinehub.app.run import live_hub
from klinehub.app.screens import WatchText
from klinehub.errors import DefinitionError
from klinehub.panel.view import PLANES
from klinehub.scan import likeness
from klinehub.scan.alerts import New, alerts
from klinehub.scan.journal import Entry, Journal, latest
from klinehub.scan.lines import append_lines, read_lines
from klinehub.scan.running import Scan
from klinehub.scan.scanner import Hit
from klinehub.scan.screen import Screen

_CLOSE: Final = PLANES.index("close")


class Told(msgspec.Struct, frozen=True):
    """A hit as `watch --json` prints it."""

    screen: str
    timeframe: str
    bar_open_time: int
    revision: int
    hit: Hit


async def watch(given: Mapping[str, Any]) -> None:
    """Follow the screens and rules of the settings and the command line, and print each hit as it comes."""
    config = options.settings({**given, "symbols": None})
    screens = _screens(config, given)
    config = keeping(config, screens)
    file = given["journal"]
    journal = None if file is None else Journal.of(latest(read_lines(file, Entry)), _horizons(given))
    async with live_hub(config, screens) as hub:
        show.err.print(f"watching {', '.join(screen.name for screen in screens)}; Ctrl-C ends it")
        told, silent = New(), set[str]()
        async for scan in _scans(hub, screens):
            for line in told.failures(scan):
                show.err.print(line, style="yellow")
            if scan.no_evidence and scan.result.screen not in silent:
                silent.add(scan.result.screen)
                show.err.print(f"no evidence: {scan.no_evidence}", style="dim")
            _print(told.hits(scan), scan, config, hub, given)
            if journal is not None:
                append_lines(file, _written(journal, scan, hub))


async def _scans(hub: Hub, screens: Sequence[Screen]) -> AsyncIterator[Scan]:
    """Give the scans of the newest closed bars, then those of each close."""
    for screen in screens:
        yield hub.scan(screen)
    async for scan in hub.scans(*screens):
        yield scan


def _screens(config: Config, given: Mapping[str, Any]) -> list[Screen]:
    """Give what is to be followed."""
    found = own_screens(config)
    if given["held"]:
        text = WatchText(
            symbols=tuple(symbol.upper() for symbol in given["held"]),
            when=given["when"],
            flip=given["flip"],
            stop=given["stop"],
            ranges=given["ranges"],
            every_bar=given["every_bar"],
        )
        found.append(text.screen("watch", base_screen(config)))
    if not found:
        raise DefinitionError(
            "Nothing to watch: write `klinehub watch BTCUSDT --when 'rsi > 70'`, or a table [watch.NAME] or "
            "[screens.NAME] in klinehub.toml."
        )
    return found


def _print(hits: Sequence[Hit], scan: Scan, config: Config, hub: Hub, given: Mapping[str, Any]) -> None:
    """Print hits, a line each."""
    tz, result = show.zone(config.tz), scan.result
    if given["jsonl"]:
        frame, symbols = hub.panel(result.timeframe).timeframe, [hit.symbol for hit in hits]
        end = min(frame.close_time(result.bar) + 1, hub.now())
        facts = facts_of(hub.scanning.ground.panels, frame.name, result.bar, symbols, end)
        for alert in alerts(hits, scan, hub.pair, facts.__getitem__):
            show.document(alert)
        return
    for hit in hits:
        if given["as_json"]:
            show.document(Told(result.screen, result.timeframe, result.bar_open_time, scan.revision, hit))
        else:
            show.out.print(line(hit, scan, tz), highlight=False, soft_wrap=True)


def line(hit: Hit, scan: Scan, tz: ZoneInfo) -> str:
    """Write a hit in one line: when, which screen, who, at what price and why."""
    result = scan.result
    score = "" if hit.score is None else f"  {hit.side} {hit.score:+.1f}"
    shown = [f"{name}={value:.6g}" for name, value in hit.columns.items() if value is not None]
    stale = f"  stale: {scan.stale[hit.symbol].reason}" if hit.symbol in scan.stale else ""
    when = show.moment(result.bar_open_time, tz, named=False)
    parts = (f"{when} {result.timeframe}", result.screen, hit.symbol, f"{hit.price:.10g}")
    like = scan.evidence.get(hit.symbol)
    known = "" if like is None else f"  scores like this: {likeness.line(like)}"
    return "  ".join((*parts, *shown)) + score + stale + known


def _horizons(given: Mapping[str, Any]) -> tuple[int, ...]:
    """Read a list of whole numbers."""
    parts = [part.strip() for part in str(given["horizons"]).split(",")]
    if not all(part.isdigit() for part in parts):
        raise DefinitionError(f"--horizons {given['horizons']!r}: give bars, for example 1,4,16,96.")
    return tuple(int(part) for part in parts)


def _written(journal: Journal, scan: Scan, hub: Hub) -> list[Entry]:
    """Give the entries that a scan made or changed."""
    frame, bar = scan.result.timeframe, scan.result.bar

    def price(symbol: str, at: int) -> float | None:
        panel = hub.panel(frame)
        if symbol not in panel.symbols:
            return None
        close = float(panel.cube(at, 1, np.array([panel.row(symbol)]))[_CLOSE, 0, 0])
        return None if np.isnan(close) else close

    changed = journal.close(frame, bar, price)
    count = journal.note(scan.result)
    return [*changed, *(journal.entries[-count:] if count else ())]
