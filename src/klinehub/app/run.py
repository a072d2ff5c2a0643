"""`demo` and `run`: a hub with its live ranking."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, nullcontext
from typing import Any, Final

import msgspec
from rich.live import Live
from rich.table import Table

from klinehub import compiled
from klinehub.app import options, show
from klinehub.app.calibrated import calibrated
from klinehub.app.config import Config
from klinehub.app.following import keeping, own_screens, rules_of, signals_of, whole
from klinehub.app.library import Hub
from klinehub.app.market import Announcement, simulated
from klinehub.app.markets import further
from klinehub.app.relaying import told
from klinehub.app.sharing import panel_file
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DefinitionError
from klinehub.feed.audit import Verified
from klinehub.feed.venue import USDM, venue_of
from klinehub.scan.running import Scan
from klinehub.scan.score import reading
from klinehub.scan.screen import Screen
from klinehub.serve.board.hello import About
from klinehub.serve.board.live import LiveBoard
from klinehub.serve.local import LocalDoor, is_open
from klinehub.serve.markets import Markets
from klinehub.serve.parts import lent
from klinehub.serve.site import Site

DEMO: Final = "simulated exchange"
# Market time runs this fast in a demo that is watched: a minute takes six seconds.
LIVELY: Final = 10.0


def open_hub(config: Config, progress: show.Steps, *, clock: Clock | None = None) -> Hub:
    """Make a hub from settings; its plan and progress go to stderr."""
    return Hub(
        proxy=config.proxy,
        clock=clock,
        on_plan=show.say_plan,
        on_progress=progress,
        on_compile=show.say_compiling,
        on_relay=lambda text: show.err.print(f"relay: {text}"),
        **msgspec.structs.asdict(config.hub),
    )


async def run(given: Mapping[str, Any], screen: Screen | None = None) -> None:
    """Warm up, go live, answer other commands and show the ranking, or a screen's, until stopped."""
    config = options.settings(given)
    own = own_screens(config)
    read = [*own, *whole(rules_of(config))]
    config = keeping(config, read if screen is None else [*read, screen])
    async with live_hub(config, own) as hub:
        as_json, every = given["as_json"], given["every"]
        await watch(hub, config, config.exchange, as_json=as_json, screen=screen, every=every)


@asynccontextmanager
async def live_hub(config: Config, screens: Sequence[Screen]) -> AsyncIterator[Hub]:
    """Warm a hub up and keep it live, the only one here, let others ask it, and pass on what it finds."""
    await _alone()
    config = _lending(config)
    async with _listening(config) as site:
        with show.steps("warm-up") as progress:
            hub = open_hub(config, progress)
            async with hub, _opened(hub, config, site, config.exchange, screens):
                progress.close()
                yield hub


@asynccontextmanager
async def _listening(config: Config) -> AsyncIterator[Site | None]:
    """Take the ports that the hub will be served at; a hub that is not served needs none."""
    if not config.serve.on:
        yield None
        return
    async with Site(config.serve) as site:
        yield site


def _lending(config: Config) -> Config:
    """Share the panel, in the usual file where no other is named, and keep what is served beside it."""
    path = config.hub.panel_file or str(panel_file())
    tickers = config.hub.tickers or (config.serve.on and venue_of(config.exchange).days is not None)
    lending = msgspec.structs.replace(config.hub, panel_file=path, tickers=tickers)
    # A hub that is fed by others asks nobody, for its callers neither.
    serve = config.serve if not lending.subscribe else msgspec.structs.replace(config.serve, forward=False)
    return msgspec.structs.replace(config, hub=lending, serve=serve)


async def _alone() -> None:
    """Refuse a second hub before it has asked the exchange for anything."""
    if await is_open(options.door()):
        raise DefinitionError(f"A hub is running here already ({options.door()}): use it, or stop it first.")


@asynccontextmanager
async def _opened(
    hub: Hub, config: Config, site: Site | None, exchange: str, screens: Sequence[Screen]
) -> AsyncIterator[None]:
    """Serve this hub, and let other commands ask it; where these cannot, say so and go on."""
    async with AsyncExitStack() as stack:
        url = "" if site is None else site.rest_url
        await stack.enter_async_context(calibrated(hub, config))
        signals = signals_of(hub, config, exchange, screens, url)
        await stack.enter_async_context(signals.following())
        await stack.enter_async_context(told(hub, signals))
        live = LiveBoard(signals, About(config.tz, "" if site is None else site.rest_url))
        markets = Markets(hub, further(config, show.err.print))
        await stack.enter_async_context(markets.following())
        if site is not None:
            await stack.enter_async_context(lent(hub, config.serve, site, signals, live, markets))
            show.err.print(f"board: {site.rest_url}")
            show.err.print(f"serving: {site.rest_url} and {site.ws_url} (docs/bots.md)")
        try:
            door = LocalDoor(markets, options.door(), exchange, live.connect, signals.alerting)
            await stack.enter_async_context(door)
        except OSError as exc:
            show.err.print(
                f"other commands cannot ask this hub ({exc}): set XDG_RUNTIME_DIR to a short, writable folder"
            )
        # Before the door closes, which would wait for those who look.
        stack.push_async_callback(live.close)
        yield


async def demo(given: Mapping[str, Any]) -> None:
    """Start a simulated exchange and a hub on it; rank once, or live until stopped."""
    base = options.settings(given)
    market_options = {name: given[name] for name in ("seed", "replay", "at", "limits")}
    once = given["once"]
    speed = given["speed"] if given["speed"] is not None else 1.0 if once else LIVELY
    if not once:
        await _alone()
    async with (
        nullcontext() if once else _listening(base) as site,
        # The exchange compiles its own kernels while it starts; ours need not wait for that.
        _beside(compiled.ensure(show.say_compiling)) as compiling,
        simulated(symbols=given["count"], speed=speed, spot=base.hub.spot, **market_options) as market,
    ):
        await compiling
        config = _demo_config(base, given, market)
        clock = market.clock()
        with show.steps("warm-up") as progress:
            hub = open_hub(config if once else _lending(config), progress, clock=clock)
            async with hub:
                progress.close()
                if once:
                    await _once(hub, config, given)
                else:
                    async with _opened(hub, config, site, DEMO, own_screens(config)):
                        await watch(hub, config, DEMO, as_json=given["as_json"], every=given["every"])


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Run *work* beside the block, at most as long as it."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def _demo_config(base: Config, given: Mapping[str, Any], market: Announcement) -> Config:
    """Point the settings at the simulated exchange and at what its truth holds."""
    wanted = base.hub
    hub = msgspec.structs.replace(
        wanted,
        exchange=USDM.name,
        rest_url=market.rest_url,
        stream_url=market.stream_url,
        spot_rest_url=market.spot_rest_url,
        spot_stream_url=market.spot_stream_url,
        share=wanted.share if given["limits"] else None,
        timeframes=wanted.timeframes if given["timeframes"] else market.timeframes,
        unavailable=(*wanted.unavailable, *reading(market.unavailable)),
    )
    return msgspec.structs.replace(base, hub=hub, also=())


async def _once(hub: Hub, config: Config, given: Mapping[str, Any]) -> None:
    """Rank, verify and print."""
    scan = hub.scan()
    if not given["as_json"]:
        show.out.print(show.ranking(scan, show.zone(config.tz), top=config.top, exchange=DEMO))
    with show.steps("verify") as progress:
        verified = await hub.verify(progress)
    if given["as_json"]:
        show.document(report(hub, scan, verified))
        return
    if hub.summary is not None:
        show.say_summary(hub.summary)
    show.out.print(
        f"verify: {verified.checked} closed bars compared with REST, {len(verified.different)} differ"
    )


def report(hub: Hub, scan: Scan, verified: Verified) -> dict[str, object]:
    """Give the document of `demo --once --json`."""
    result = scan.result
    return {
        "exchange": DEMO,
        "symbols": len(hub.symbols),
        "timeframes": [tf.name for tf in hub.timeframes],
        "warmup": hub.summary,
        "scan": {
            "timeframe": result.timeframe,
            "bar_open_time": result.bar_open_time,
            "seconds": scan.seconds,
            "api_calls": scan.api_calls,
            "symbols": result.symbols,
            "warming": result.warming,
            "missing": result.missing,
            "unavailable": result.unavailable,
            "signals_found": result.signals_found,
            "results": result.results,
        },
        "verify": {
            "checked": verified.checked,
            "different": len(verified.different),
            "failed": verified.failed,
        },
    }


async def watch(
    hub: Hub,
    config: Config,
    exchange: str,
    *,
    as_json: bool,
    screen: Screen | None = None,
    every: float | None = None,
) -> None:
    """Show the ranking, anew at each close or *every* so many seconds; in JSON, one document a scan."""
    if hub.shelf.keeping is not None:
        show.say_store(hub.shelf.keeping)
    if hub.summary is not None and hub.summary.requests:
        show.say_summary(hub.summary)
    show.listed(hub.unproved, most=9)
    chosen = hub.scanning.default.screens[0] if screen is None else screen
    scan = hub.scan(chosen)
    if as_json:
        show.document(scan)
    async with aclosing(_scans(hub, chosen, every)) as scans:
        if as_json:
            async for found in scans:
                if found is not None:
                    show.document(found)
            return
        with Live(_view(hub, scan, config, exchange), console=show.out, auto_refresh=False) as live:
            live.refresh()
            async for found in scans:
                scan = found or scan
                live.update(_view(hub, scan, config, exchange), refresh=True)


async def _scans(hub: Hub, screen: Screen, every: float | None) -> AsyncGenerator[Scan | None, None]:
    """Give a screen's scans as they come, and None when nothing but prices is new."""
    if every is not None:
        async for scan in hub.scans(screen, every=every):
            yield scan
        return
    base, frame = hub.timeframes[0].name, screen.timeframe or hub.scanning.default.timeframe
    async for event in hub.closes():
        if event.timeframe == frame:
            yield hub.scanning.screened(screen, event.bar)
        elif event.timeframe == base:
            yield None


def _view(hub: Hub, scan: Scan, config: Config, exchange: str) -> Table:
    """Lay out a scan with the newest prices and what the hub is doing."""
    tz, now, base = show.zone(config.tz), hub.now(), hub.timeframes[0]
    shown = [hit.symbol for hit in scan.result.results[: config.top]]
    newest = {symbol: hub.klines(symbol, base.name, 1)["close"] for symbol in shown}
    prices = {symbol: float(close[-1]) for symbol, close in newest.items() if close.size}
    frame = timeframe(scan.result.timeframe)
    left = (frame.close_time(frame.index(now)) + 1 - now) // 1000
    fresh = sum(hub.is_fresh(symbol) for symbol in hub.symbols)
    foot = (
        f"{show.moment(now, tz)}, next {frame.name} close in {left // 60}:{left % 60:02d}, "
        f"{fresh} of {len(hub.symbols)} symbols fresh, {hub.core.counts.closes:,} closes"
    )
    stats = hub.get_stats()
    if stats["stale_symbols"]:
        since = show.moment(int(stats["stale_since"]), tz)
        foot += f"\nstale since {since}: {stats['stale_reasons']}"
    if stats["rest_closed"]:
        foot += f"\nREST is {show.zoned(str(stats['rest_closed']))}"
    if stats.get("store_fault"):
        foot += f"\nnothing is kept on disk: {stats['store_fault']}"
    if hub.relay_fault:
        foot += f"\nrelay: {hub.relay_fault}"
    up, sockets = hub.live.seats_up, len(hub.live.seats)
    if up < sockets:
        foot += f"\n{up} of {sockets} streams are up, REST fills in: {hub.live.last_loss}"
    return show.ranking(scan, tz, top=config.top, exchange=exchange, prices=prices, foot=foot)
