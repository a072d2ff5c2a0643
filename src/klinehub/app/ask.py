"""`scan`, `klines`, `status` and `verify`: from a running hub, or from the exchange where there is none."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from klinehub.app import options, show
from klinehub.app.calibrated import known
from klinehub.app.config import Config
from klinehub.app.exits import FAILED
from klinehub.app.library import bridge_of, system_account, system_clock, system_network
from klinehub.app.own import own_frames, own_screen
from klinehub.app.run import open_hub, run
from klinehub.dialect.render import twelve_fields
from klinehub.domain.clock import Clock
from klinehub.domain.moment import in_zone
from klinehub.domain.timeframe import Timeframe, timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.feed import binance
from klinehub.feed.asking import ask_klines
from klinehub.feed.audit import Verified
from klinehub.feed.budget import WeightGate
from klinehub.feed.decisions import Fetch
from klinehub.feed.rest import RestClient
from klinehub.feed.timing import Timing
from klinehub.feed.venue import venue_of
from klinehub.panel.merge import proven
from klinehub.scan.presets import asked
from klinehub.scan.running import Scan
from klinehub.scan.scanner import default_screen, default_timeframe, rows_of
from klinehub.scan.screen import Screen
from klinehub.serve.local import NamedScan, ask, is_open

# Seconds between two looks at a running hub; a close is shown at most this late.
LOOK_EVERY: Final = 1.0
# What of a hub's status is a moment, 0 for none.
_MOMENTS: Final = frozenset({"stale_since"})
FIELDS = ("open_time", "open", "high", "low", "close", "volume")


async def status(given: Mapping[str, Any]) -> None:
    """Print what the running hub says of itself."""
    tz = show.zone(options.settings(given).tz)
    stats = msgspec.json.decode(await ask(options.door(), "status", of_market(given)))
    if given["as_json"]:
        show.document(stats)
        return
    markets = stats.pop("markets", {})
    show.out.print(_stated(stats, tz))
    for name, told in markets.items():
        table = _stated(told, tz)
        table.title, table.title_justify = name, "left"
        show.out.print(table)


def _stated(stats: Mapping[str, float | str], tz: ZoneInfo) -> Table:
    table = Table(show_header=False)
    for name, value in stats.items():
        table.add_row(name.replace("_", " "), stated(name, value, tz))
    return table


def stated(name: str, value: float | str, tz: ZoneInfo) -> str:
    """Write something that a hub says of itself, moments in a zone."""
    if name in _MOMENTS:
        return show.moment(int(value), tz) if value else ""
    return f"{value:,}" if isinstance(value, int) else in_zone(str(value), tz)


async def running(given: Mapping[str, Any]) -> bool:
    """Whether a running hub is to be asked: there is one, and no option names another exchange.

    Raises DefinitionError where options name a market of the running hub and another exchange too.
    """
    if given["market"] is None:
        return not options.choose_market(given) and await is_open(options.door())
    if options.choose_market(given):
        raise DefinitionError("--market names one of the running hub: leave the options of an exchange out.")
    return True


def of_market(given: Mapping[str, Any]) -> dict[str, str]:
    """Give what tells a running hub which of its markets is meant."""
    return {} if given["market"] is None else {"market": given["market"]}


async def scan(given: Mapping[str, Any]) -> None:
    """Rank from the running hub, or from just the history that is needed; once, or at each close."""
    config = options.settings(given)
    if given["once"] and given["watch"]:
        raise DefinitionError("--once and --watch exclude each other: give one of them.")
    if given["file"] and (given["where"] or given["screen"] or given["market"]):
        raise DefinitionError("--file brings a screen of its own: leave --where, --screen and --market out.")
    if given["every"] and given["once"]:
        raise DefinitionError("--once scans what has closed: leave --every out, or --once.")
    if given["every"] and given["market"]:
        raise DefinitionError("--market asks the running hub, --every runs one of its own: leave one out.")
    screen = own_screen(given["file"]) if given["file"] else None
    if screen is None and not given["every"] and await running(given):
        await _ask_scan(given, config)
    elif given["once"]:
        found = await _scan_fresh(config, _wanted(config, given, screen))
        _tell_scan(NamedScan(**msgspec.structs.asdict(found), exchange=config.exchange), given, config)
    else:
        await run(given, _wanted(config, given, screen))


def _wanted(config: Config, given: Mapping[str, Any], own: Screen | None) -> Screen:
    """Give the screen that a command asks for."""
    hub = config.hub
    frames = own_frames(hub.timeframes, own)
    if own is not None:
        return msgspec.structs.replace(own, timeframe=own.timeframe or default_timeframe(frames))
    base = default_screen(
        frames,
        hub.scan_timeframe,
        weights=hub.weights,
        unavailable=hub.unavailable,
        min_score=hub.min_score,
    )
    return asked(base, where=given["where"], name=given["screen"])


async def _ask_scan(given: Mapping[str, Any], config: Config) -> None:
    """Show the running hub's ranking, anew at each close of its timeframe unless asked for once."""
    names = ("timeframe", "min_score", "where", "screen")
    params = of_market(given) | {name: str(given[name]) for name in names if given[name] is not None}
    shown = -1
    while True:
        found = msgspec.json.decode(await ask(options.door(), "scan", params), type=NamedScan)
        if found.result.bar != shown:
            shown = found.result.bar
            _tell_scan(found, given, config)
        if given["once"]:
            return
        await asyncio.sleep(LOOK_EVERY)


def _tell_scan(found: NamedScan, given: Mapping[str, Any], config: Config) -> None:
    if given["as_json"]:
        show.document(found)
    else:
        table = show.ranking(found, show.zone(config.tz), top=config.top, exchange=found.exchange)
        show.out.print(table)


async def _scan_fresh(config: Config, screen: Screen) -> Scan:
    """Warm up just what a scan reads, without streams, and rank."""
    wanted = config.hub.keeping(screen.beside)
    reads = rows_of(screen, own_frames(wanted.timeframes, screen))
    bars = min(max(reads.values()), venue_of(config.exchange).most_rows - 1)
    less = msgspec.structs.replace(
        wanted, timeframes=tuple(reads), scan_timeframe=screen.timeframe, bars=bars, streams=False
    )
    with show.steps("warm-up") as progress:
        hub = open_hub(msgspec.structs.replace(config, hub=less), progress)
        async with hub:
            progress.close()
            show.listed(hub.unproved, most=9)
            hub.scanning.hold_against(known(config))
            return hub.scan(screen)


async def klines(given: Mapping[str, Any]) -> None:
    """Print closed bars of one symbol as REST gives them."""
    config = options.settings({**given, "timeframe": None, "symbols": None})
    frame = timeframe(given["timeframe"])
    tz = show.zone(config.tz)
    symbol, limit = given["symbol"].upper(), given["limit"]
    if await running(given):
        params = of_market(given) | {"symbol": symbol, "timeframe": frame.name, "limit": str(limit)}
        rows = msgspec.json.decode(await ask(options.door(), "klines", params))
        if len(rows) < limit:
            show.err.print(f"the running hub keeps {len(rows)} of the {limit} bars asked for")
    else:
        rows = await _ask_klines(config, symbol, frame, limit)
    if given["as_json"]:
        show.document({"symbol": symbol, "timeframe": frame.name, "klines": rows})
        return
    table = Table(title=f"{symbol} {frame.name}, times in {tz.key}", title_justify="left", box=SIMPLE_HEAD)
    for name in FIELDS:
        table.add_column(name.replace("_", " "), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(show.moment(row[0], tz, named=False), *(str(cell) for cell in row[1:6]))
    show.out.print(table)


@asynccontextmanager
async def asking(config: Config, clock: Clock) -> AsyncIterator[tuple[RestClient, WeightGate]]:
    """Open REST for a command that needs no hub, within the budget that all hubs of the machine share."""
    bridge = bridge_of(config.hub, clock, config.proxy)
    hub = config.hub if bridge is None else bridge.settings
    gate = WeightGate(
        clock,
        limit=hub.weight_limit,
        share=hub.share,
        account=system_account(config.hub.rest_url),
        host=hub.counted_by,
    )
    network = bridge or system_network(config.proxy)
    rest = RestClient(hub.rest_url, network, gate, clock, timeout=hub.timeout, venue=venue_of(hub.exchange))
    try:
        if bridge is not None:
            await bridge.open(())
        yield rest, gate
    finally:
        await rest.close()
        if bridge is not None:
            await bridge.close()


async def _ask_klines(
    config: Config, symbol: str, frame: Timeframe, limit: int
) -> Sequence[Sequence[str | int]]:
    """Ask the exchange for closed bars of one symbol; an unknown symbol is answered with the nearest."""
    clock, venue = system_clock(), venue_of(config.exchange)
    async with asking(config, clock) as (rest, gate):
        listed = binance.parse_listings(await rest.get(venue.info, {}, weight=venue.info_weight))
        names = {listing.symbol for listing in listed}
        if symbol not in names:
            raise UnknownName("symbol", symbol, names)
        timing = Timing(rest, gate, clock, on_doubt=lambda _: None)
        await timing.read()
        # Beside the open bar, one that closed a moment ago is not yet proven.
        fetch = Fetch(symbol, frame.name, None, min(limit + 2, venue.most_rows))
        exact, answer = await ask_klines(rest, fetch)
    return twelve_fields(proven(frame, exact, timing.proof(answer)), frame)[-limit:]


async def verify(given: Mapping[str, Any]) -> int:
    """Compare the running hub's bars, or a fresh warm-up's, with REST; exit code 1 when any differs."""
    config = options.settings(given)
    if await running(given):
        found = msgspec.json.decode(await ask(options.door(), "verify", of_market(given)), type=Verified)
    else:
        with show.steps("warm-up") as progress:
            hub = open_hub(config, progress)
            async with hub:
                progress.close()
                with show.steps("verify") as comparing:
                    found = await hub.verify(comparing)
    if given["as_json"]:
        show.document(found)
    else:
        tz = show.zone(config.tz)
        show.out.print(f"{found.checked} closed bars compared with REST, {len(found.different)} differ")
        if found.audited:
            show.out.print(
                f"before that the audit compared {found.audited}, {found.found} differed, "
                f"{found.corrected} were corrected"
            )
        shown = [
            f"{item.symbol} {item.timeframe} {show.moment(item.open_time, tz)}" for item in found.different
        ]
        show.listed(shown, most=20)
        show.listed([f"failed: {name}: {why}" for name, why in found.failed.items()], most=5)
    return FAILED if found.different or found.failed else 0
