"""`download`: years of klines from the exchange's bulk archive, the newest days by REST, into the history."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from klinehub.app import options, show
from klinehub.app.ask import asking
from klinehub.app.config import Config, listed
from klinehub.app.exits import FAILED
from klinehub.app.fetching import (
    Filled,
    Missing,
    fetch_files,
    fill,
    merged,
    plan_files,
    requests_for,
    still_missing,
)
from klinehub.app.importing import Importer, Local, local_files, zip_name
from klinehub.app.library import data_folder, system_clock, system_network
from klinehub.app.stored import between, history_in
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import Timeframe, in_order
from klinehub.errors import DataError, DefinitionError, FeedError, UnknownName
from klinehub.feed import binance
from klinehub.feed.archive import Archive
from klinehub.feed.archive_names import ArchiveFile, Kind, date_text, symbols_folder
from klinehub.feed.archive_plan import Series, Span
from klinehub.feed.asking import Progress
from klinehub.feed.budget import MINUTE, SHARES, WeightGate
from klinehub.feed.decisions import Fetch
from klinehub.feed.network import endpoint, is_loopback
from klinehub.feed.rest import RestClient
from klinehub.feed.timing import Timing
from klinehub.feed.use import Use
from klinehub.feed.venue import SPOT, venue_of
from klinehub.settings import HubSettings
from klinehub.store.history import HistoryStore
from klinehub.store.objects import is_address
from klinehub.store.parquet import arrow

BASE: Final = "1m"
# What a kept bar takes, as measured; reading and keeping one; bytes a second of a fair line; both in seconds.
BAR_BYTES: Final = 27
_BAR_SECONDS: Final = 4e-6
_LINE_BYTES: Final = 6e6


class Estimate(msgspec.Struct, frozen=True):
    """What a download will take: files to fetch and *kept* ones that are there, bytes, bars, disk and time.

    `bars` is at most so many; `seconds` are those at 6 MB/s and with the weight limit; `missing` stretches
    are not in the archive.
    """

    market: str
    symbols: int
    files: int
    kept: int
    bytes: int
    bars: int
    disk: int
    free: int
    requests: int
    weight: int
    seconds: float
    missing: int
    rest: str


class Downloaded(msgspec.Struct, frozen=True):
    """What a download has done; `failed` says why by file, or by symbol and timeframe where REST failed."""

    files: int
    kept: int
    bytes: int
    bars: int
    rows: int
    unverified: int
    requests: int
    rest_bars: int
    seconds: float
    missing: list[Missing]
    failed: dict[str, str]
    notes: list[str]
    plan: Estimate | None = None


class _Wanted(NamedTuple):
    """What the user asked for; times are ms UTC, the end not in it."""

    market: str
    symbols: tuple[str, ...]
    frames: tuple[Timeframe, ...]
    kinds: tuple[Kind, ...]
    start: int
    end: int
    replace: bool


class _World(NamedTuple):
    """Whom there is to ask: the archive, and REST with what it lists; *refused* says why that is not so.

    `a_minute` is the weight that may be spent on history in a minute, None for any.
    """

    archive: Archive
    rest: RestClient
    gate: WeightGate
    timing: Timing
    listed: Mapping[str, Listing]
    refused: str
    a_minute: int | None


class _Plan(NamedTuple):
    files: tuple[ArchiveFile, ...]
    missing: tuple[Span, ...]
    tail: tuple[Span, ...]
    fetches: tuple[Fetch, ...]
    estimate: Estimate


async def download(given: Mapping[str, Any]) -> int:
    """Plan, tell, ask, fetch and tell again; 1 where something that is there could not be had."""
    config = options.settings(given)
    wanted = _wanted(given, config)
    options.spoken_to(wanted.market, "download")
    arrow()
    hub = of_market(config, wanted.market, given["rest_url"])
    folder = data_folder(hub)
    simulated = is_loopback(endpoint(config.archive_url)[0])
    if folder is None or (simulated and hub.store == "auto"):
        raise DefinitionError("There is no folder to keep klines in: say where with --data FOLDER.")
    history = history_in(folder / wanted.market, hub.history_path)
    if given["from_dir"] is not None:
        return await _local(given, wanted, folder / wanted.market, history)
    config = msgspec.structs.replace(config, hub=hub)
    async with _reached(config) as world:
        importer = Importer(
            folder / wanted.market, now=world.gate.now(), replace=wanted.replace, history=history
        )
        plan = await _plan(world, wanted, importer, config)
        if not given["as_json"]:
            _tell_plan(plan.estimate)
        if given["dry_run"]:
            if given["as_json"]:
                show.document(plan.estimate)
            return 0
        if not await _agreed(plan, given):
            return 0
        return _tell(await _carry_out(world, plan, importer), given)


def _wanted(given: Mapping[str, Any], config: Config) -> _Wanted:
    """Read what is asked for; raises DefinitionError for what cannot be."""
    market = given["market"] or config.exchange
    frames = listed(given["timeframes"]) if given["timeframes"] else [] if given["from_dir"] else [BASE]
    beside = [kind for kind, name in ((Kind.FUNDING, "funding"), (Kind.METRICS, "metrics")) if given[name]]
    if venue_of(market) is SPOT and beside:
        raise DefinitionError("Spot has neither funding nor metrics: leave --funding and --metrics out.")
    start, end = between(given["since"], given["until"])
    if end == start:
        raise DefinitionError("--until is not after --since: there is nothing in between.")
    symbols = tuple(dict.fromkeys(name.upper() for name in given["names"] or config.hub.symbols))
    return _Wanted(
        market, symbols, in_order(frames), (Kind.KLINES, *beside), start, end, bool(given["replace"])
    )


def of_market(config: Config, market: str, rest_url: str | None) -> HubSettings:
    """Give the settings by which a market is asked, whichever the configured hub follows."""
    if market == config.exchange:
        return config.hub
    other = config.hub.of_spot if venue_of(market) is SPOT else HubSettings(exchange=market)
    return msgspec.structs.replace(
        other,
        store=config.hub.store,
        history_path=config.hub.history_path,
        rest_url=rest_url or other.rest_url,
    )


@asynccontextmanager
async def _reached(config: Config) -> AsyncIterator[_World]:
    """Open the archive and REST; without REST the archive alone has to do."""
    clock = system_clock()
    archive = Archive(system_network(config.proxy), config.archive_url, config.listing_url)
    try:
        async with asking(config, clock) as (rest, gate):
            timing = Timing(rest, gate, clock, on_doubt=lambda _: None)
            found, refused = {}, ""
            try:
                await timing.read()
                body = await rest.get(rest.venue.info, {}, weight=rest.venue.info_weight)
                found = {listing.symbol: listing for listing in binance.parse_listings(body)}
            except FeedError as error:
                refused = str(error)
            share = int(config.hub.weight_limit * SHARES[Use.DEEPEN])
            a_minute = None if gate.cap is None else max(1, min(gate.cap, share))
            yield _World(archive, rest, gate, timing, found, refused, a_minute)
    finally:
        await archive.close()


async def _plan(world: _World, wanted: _Wanted, importer: Importer, config: Config) -> _Plan:
    """Find out which files and requests bring what is wanted, and what that takes."""
    now = world.gate.now()
    imported = {} if wanted.replace else importer.imported
    symbols = await _symbols(world, wanted, config)
    series = [Series(Kind.KLINES, symbol, frame) for frame in wanted.frames for symbol in symbols]
    series += [Series(kind, symbol, None) for kind in wanted.kinds[1:] for symbol in symbols]
    with show.steps("listing") as progress:
        choices = await plan_files(
            world.archive,
            wanted.market,
            series,
            wanted.start,
            wanted.end,
            now=now,
            imported=imported,
            listed=world.listed,
            progress=progress,
        )
    files = [file for choice in choices.values() for file in choice.files]
    files.sort(key=lambda file: (file.series, file.month, file.symbol, file.start))
    missing = [span for choice in choices.values() for span in choice.missing]
    tail = [span for choice in choices.values() for span in choice.tail]
    asked = [span for span in merged([*missing, *tail]) if span.symbol in world.listed]
    fetches = requests_for(importer.history, asked, now, world.rest.venue)
    kept = sum(choice.kept for choice in choices.values())
    place = config.hub.history_path
    estimate = _estimate(
        world, wanted, len(symbols), files, kept, fetches, len(missing), importer.folder, place
    )
    return _Plan(tuple(files), tuple(missing), tuple(tail), tuple(fetches), estimate)


async def _symbols(world: _World, wanted: _Wanted, config: Config) -> tuple[str, ...]:
    """Give the symbols that are asked for, by default all of the quote asset that ever traded."""
    kept = await world.archive.symbols(symbols_folder(wanted.market, Kind.KLINES))
    known = {*kept, *(name for name, listing in world.listed.items() if listing.trading)}
    for name in wanted.symbols:
        if name not in known:
            raise UnknownName("symbol", name, known)
    left_out = set(config.hub.exclude)
    return wanted.symbols or tuple(
        name for name in sorted(known - left_out) if name.endswith(config.hub.quote)
    )


def _estimate(
    world: _World,
    wanted: _Wanted,
    symbols: int,
    files: Sequence[ArchiveFile],
    kept: int,
    fetches: Sequence[Fetch],
    missing: int,
    folder: Path,
    place: str,
) -> Estimate:
    """Say what fetching these files and asking these requests takes; *place* is where history is apart."""
    size = sum(file.size for file in files)
    beside = sum(file.size for file in files if file.timeframe is None)
    bars = sum(fetch.limit for fetch in fetches)
    bars += sum((f.end - f.start) // f.timeframe.milliseconds for f in files if f.timeframe is not None)
    weight = sum(world.rest.venue.klines_weight(fetch.limit) for fetch in fetches)
    seconds = size / _LINE_BYTES + len(files) * 0.02 + bars * _BAR_SECONDS
    if world.a_minute is not None:
        seconds += weight // world.a_minute * MINUTE / 1000
    # What goes to another machine takes no disk of this one.
    here = 0 if is_address(place) else bars * BAR_BYTES
    folder = Path(place).expanduser() if here and place else folder
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return Estimate(
        market=wanted.market,
        symbols=symbols,
        files=len(files),
        kept=kept,
        bytes=size,
        bars=bars,
        disk=here + beside,
        free=shutil.disk_usage(there).free,
        requests=len(fetches),
        weight=weight,
        seconds=round(seconds, 1),
        missing=missing,
        rest=world.refused,
    )


async def _agreed(plan: _Plan, given: Mapping[str, Any]) -> bool:
    """Whether to go on: with --yes, with nothing to do, or with a yes typed at the terminal."""
    if plan.estimate.disk > plan.estimate.free:
        raise DefinitionError(
            f"That takes {_bytes(plan.estimate.disk)} of disk, and {_bytes(plan.estimate.free)} are free: "
            "ask for less, or choose another folder with --data."
        )
    if given["yes"] or not (plan.files or plan.fetches):
        return True
    if not sys.stdin.isatty():
        raise DefinitionError("There is nobody to ask whether to go on: add --yes, or --dry-run.")
    show.err.print("go on? [y/N] ", end="", markup=False)
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[bytes] = loop.create_future()
    # Ctrl-C has to end the wait, which it does not where a thread or the loop itself reads.
    source = sys.stdin.fileno()
    loop.add_reader(source, _read_line, source, typed)
    try:
        return (await typed).strip().lower() in {b"y", b"yes"}
    finally:
        loop.remove_reader(source)


def _read_line(source: int, typed: "asyncio.Future[bytes]") -> None:
    if not typed.done():
        typed.set_result(os.read(source, 1_000))


async def _carry_out(world: _World, plan: _Plan, importer: Importer) -> Downloaded:
    """Fetch the files, then ask REST for what they have not brought."""
    begun = time.monotonic()
    with show.steps("download") as progress:
        await fetch_files(world.archive, plan.files, importer, progress)
    holes = merged([*plan.missing, *importer.gaps()])
    asked = [span for span in merged([*holes, *plan.tail]) if span.symbol in world.listed]
    fetches = requests_for(importer.history, asked, world.gate.now(), world.rest.venue)
    filled = Filled(0, 0, {})
    if fetches:
        with show.steps("REST") as progress:
            filled = await fill(world.rest, world.timing, importer, fetches, progress)
    report, now = importer.report, world.gate.now()
    return Downloaded(
        files=report.files,
        kept=plan.estimate.kept,
        bytes=report.bytes,
        bars=report.bars,
        rows=report.rows,
        unverified=report.unverified,
        requests=filled.requests,
        rest_bars=filled.bars,
        seconds=round(time.monotonic() - begun, 3),
        missing=still_missing(importer.history, holes, now),
        failed=report.failed | filled.failed | ({"REST": world.refused} if world.refused else {}),
        notes=report.notes,
        plan=plan.estimate,
    )


async def _local(given: Mapping[str, Any], wanted: _Wanted, folder: Path, history: HistoryStore) -> int:
    """Import files that are there already, without any network."""
    begun, now = time.monotonic(), system_clock().now()
    importer = Importer(folder, now=now, replace=wanted.replace, history=history)
    found, strange = local_files(given["from_dir"], wanted.market)
    chosen = [one for one in found if _fits(one.file, wanted)]
    imported = {} if wanted.replace else importer.imported
    kept = 0
    with show.steps("import") as progress:
        for done, one in enumerate(chosen, 1):
            kept += await asyncio.to_thread(_import, importer, one, imported)
            progress(Progress(done, len(chosen), len(importer.report.failed), one.file.series))
        await asyncio.to_thread(importer.flush)
    report = importer.report
    odd = [f"{name} is not named as the archive of {wanted.market} names its files" for name in strange]
    return _tell(
        Downloaded(
            files=report.files,
            kept=kept,
            bytes=report.bytes,
            bars=report.bars,
            rows=report.rows,
            unverified=report.unverified,
            requests=0,
            rest_bars=0,
            seconds=round(time.monotonic() - begun, 3),
            missing=still_missing(importer.history, merged(importer.gaps()), now),
            failed=report.failed,
            notes=[*report.notes, *odd],
        ),
        given,
    )


def _fits(file: ArchiveFile, wanted: _Wanted) -> bool:
    """Whether a file holds something that is asked for."""
    named = not wanted.symbols or file.symbol in wanted.symbols
    framed = file.timeframe is None or not wanted.frames or file.timeframe in wanted.frames
    timely = file.start < wanted.end and wanted.start < file.end
    return named and framed and timely and file.kind in wanted.kinds


def _import(importer: Importer, local: Local, imported: Mapping[str, str]) -> bool:
    """Import one local file; says whether that was done before."""
    try:
        data, digest, verified = local.load()
    except DataError as error:
        importer.lack(local.file, str(error))
        return False
    if imported.get(zip_name(local.file)) == digest:
        return True
    importer.take(local.file, data, digest, verified=verified)
    return False


def _tell_plan(plan: Estimate) -> None:
    """Say on stderr what a download will take."""
    say = show.err.print
    say(f"{plan.market}: {plan.symbols} symbols, {plan.files} files to fetch, {plan.kept} are there already")
    say(
        f"  {_bytes(plan.bytes)} to fetch, at most {plan.bars:,} bars, about {_bytes(plan.disk)} on disk "
        f"({_bytes(plan.free)} free), about {_span(plan.seconds)}"
    )
    if plan.requests:
        say(f"  the newest days by REST: {plan.requests} requests of weight {plan.weight}")
    if plan.missing:
        say(f"  {plan.missing} stretches are not in the archive; REST is asked for them")
    if plan.rest:
        say(f"  only from the archive: {show.zoned(plan.rest)}", style="yellow", markup=False)


def _tell(done: Downloaded, given: Mapping[str, Any]) -> int:
    """Say what was done; 1 where something failed."""
    if given["as_json"]:
        show.document(done)
    else:
        rows = f", {done.rows:,} rows of funding and metrics" if done.rows else ""
        rest = f", {done.rest_bars:,} by REST" if done.requests else ""
        show.out.print(
            f"{done.files} files imported, {done.kept} were there already: {done.bars:,} bars{rest}{rows}, "
            f"{_bytes(done.bytes)} in {_span(done.seconds)}"
        )
        if done.unverified:
            show.err.print(f"  {done.unverified} files had no checksum")
        show.listed([_missing(one) for one in done.missing], most=20)
        show.listed(done.notes, most=10)
        show.listed([f"failed: {name}: {why}" for name, why in done.failed.items()], most=20)
    return FAILED if done.failed else 0


def _missing(one: Missing) -> str:
    """Say what the archive lacks and whether REST had it."""
    last = date_text(one.end - 1)
    days = date_text(one.start) if last == date_text(one.start) else f"{date_text(one.start)} to {last}"
    told = f"{one.bars:,} bars REST did not have either" if one.bars else "REST had it"
    return f"missing in the archive: {one.symbol} {one.timeframe} {days}: {told}"


def _bytes(count: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1_000:
            return f"{count:.3g} {unit}"
        count /= 1_000
    return f"{count:,.1f} GB"


def _span(seconds: float) -> str:
    """Write a time that something takes."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
