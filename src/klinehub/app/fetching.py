"""Fetching: what the archive has, its files, and by REST what it does not have."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec
import numpy as np

from klinehub.app.importing import BATCH, History, Importer
from klinehub.domain.kline import Exact
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DataError, Unreachable
from klinehub.feed.archive import Archive
from klinehub.feed.archive_names import ArchiveFile
from klinehub.feed.archive_plan import Choice, Series, Span, choose, look
from klinehub.feed.asking import Progress, ask_klines, in_parallel
from klinehub.feed.decisions import Fetch
from klinehub.feed.ranges import cheapest
from klinehub.feed.rest import RestClient
from klinehub.feed.timing import Timing
from klinehub.feed.use import Use
from klinehub.feed.venue import Venue
from klinehub.panel.merge import PROOF, proven
from klinehub.panel.roll import indexes
from klinehub.store.joining import joined

# Requests to the archive under way at a time; it is a file store and has no limits that were ever met.
PARALLEL: Final = 8
_Item = TypeVar("_Item")
OnProgress = Callable[[Progress], None]
# What REST gave, by timeframe and symbol.
_Got = dict[str, dict[str, list[Exact]]]


class Missing(msgspec.Struct, frozen=True):
    """A stretch [start, end) ms UTC that the archive lacks; *bars* are those that REST had not either."""

    symbol: str
    timeframe: str
    start: int
    end: int
    bars: int


class Filled(NamedTuple):
    """What came by REST, and which requests failed."""

    requests: int
    bars: int
    failed: dict[str, str]


async def each(items: Sequence[_Item], work: Callable[[_Item], Awaitable[None]]) -> None:
    """Carry out *work* for each item, PARALLEL at a time; the first error ends all and is raised."""
    remaining = iter(items)

    async def worker() -> None:
        for item in remaining:
            await work(item)

    workers = [asyncio.ensure_future(worker()) for _ in range(min(PARALLEL, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def plan_files(
    archive: Archive,
    market: str,
    series: Sequence[Series],
    start: int,
    end: int,
    *,
    now: int,
    imported: Collection[str],
    listed: Mapping[str, Listing],
    progress: OnProgress,
) -> dict[Series, Choice]:
    """Look for the files of each series and choose those that bring what opens in [start, end) ms UTC."""
    found: dict[Series, Choice] = {}

    async def one(wanted: Series) -> None:
        files = await look(archive, market, wanted, start, min(end, now))
        alive = wanted.symbol in listed and listed[wanted.symbol].trading
        end_now = min(end, now)
        found[wanted] = choose(wanted, files, start, end_now, now=now, imported=imported, alive=alive)
        progress(Progress(len(found), len(series), 0, wanted.symbol))

    await each(series, one)
    return {wanted: found[wanted] for wanted in series}


async def fetch_files(
    archive: Archive, files: Sequence[ArchiveFile], importer: Importer, progress: OnProgress
) -> None:
    """Fetch files and have them imported; one that cannot be had is noted, and no other waits for it.

    Raises a `FeedError` where it concerns all files; what was read until then is kept.
    """
    done = unreached = 0
    writing = asyncio.Lock()

    async def one(file: ArchiveFile) -> None:
        nonlocal done, unreached
        why: str | None
        try:
            got = await archive.fetch(file)
            unreached = 0
            why = None
        except Unreachable as error:
            unreached += 1
            if unreached >= PARALLEL:
                raise
            got, why = None, str(error)
        except DataError as error:
            got, why = None, str(error)
        if got is None:
            importer.lack(file, why)
        else:
            # Who waits here fetches nothing meanwhile: so much is in memory, and no more.
            async with writing:
                await asyncio.to_thread(importer.take, file, got.data, got.digest, verified=got.verified)
        done += 1
        progress(Progress(done, len(files), len(importer.report.failed), file.series))

    try:
        await each(files, one)
    finally:
        await asyncio.to_thread(importer.flush)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Give the same bars in as few spans as there can be, by timeframe, symbol and time."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.timeframe, one.symbol, one.start)):
        last = found[-1] if found else None
        if last is not None and last[:2] == span[:2] and span.start <= last.end:
            found[-1] = last._replace(end=max(last.end, span.end))
        else:
            found.append(span)
    return found


def _runs(history: History, spans: Iterable[Span], now: int) -> Iterator[tuple[Span, list[tuple[int, int]]]]:
    """Give the runs of bars (first and last index) in each span that are over at *now* and not kept."""
    groups: dict[tuple[str, int, int], list[Span]] = {}
    for span in spans:
        groups.setdefault((span.timeframe, span.start, span.end), []).append(span)
    for (name, start, end), group in groups.items():
        frame = timeframe(name)
        first, last = frame.index(start - 1) + 1, min(frame.index(end - 1), frame.index(now - PROOF) - 1)
        kept = history.read(frame, [span.symbol for span in group], start, end)
        for span in group:
            lacking = np.arange(first, last + 1)
            if span.symbol in kept:
                held = indexes(frame, np.asarray(kept[span.symbol].rows["open_time"]))
                lacking = np.setdiff1d(lacking, held)
            parts = np.split(lacking, np.flatnonzero(np.diff(lacking) > 1) + 1) if lacking.size else ()
            yield span, [(int(part[0]), int(part[-1])) for part in parts]


def requests_for(history: History, spans: Iterable[Span], now: int, venue: Venue) -> list[Fetch]:
    """Give the cheapest requests for the bars of *spans* that are over at *now* (ms UTC) and not kept."""
    found = []
    for span, runs in _runs(history, spans, now):
        frame = timeframe(span.timeframe)
        for start, limit in cheapest(runs, most=venue.most_rows, weights=venue.klines_weights):
            found.append(Fetch(span.symbol, frame.name, frame.open_time(start), limit, Use.DEEPEN))
    return found


def still_missing(history: History, spans: Iterable[Span], now: int) -> list[Missing]:
    """Say of each span how many of its bars that are over at *now* (ms UTC) are not kept."""
    return [
        Missing(*span, bars=sum(last - first + 1 for first, last in runs))
        for span, runs in _runs(history, spans, now)
    ]


async def fill(
    rest: RestClient, timing: Timing, importer: Importer, fetches: Sequence[Fetch], progress: OnProgress
) -> Filled:
    """Ask for bars by REST and keep those that are proven closed; raises what concerns every request."""
    got: _Got = {}
    refused: dict[str, str] = {}
    bars = waiting = 0

    async def keep() -> None:
        nonlocal got, waiting
        full, got, waiting = got, {}, 0
        refused.update(await asyncio.to_thread(_keep, importer, full))

    async def one(fetch: Fetch) -> None:
        nonlocal bars, waiting
        frame = timeframe(fetch.timeframe)
        exact, answer = await ask_klines(rest, fetch)
        closed = proven(frame, exact, timing.proof(answer))
        if closed.rows.size:
            got.setdefault(fetch.timeframe, {}).setdefault(fetch.symbol, []).append(closed)
        bars += closed.rows.size
        waiting += closed.rows.size
        if waiting >= BATCH:
            await keep()

    try:
        failed = await in_parallel(fetches, one, batch=PARALLEL, progress=progress)
    finally:
        await keep()
    return Filled(len(fetches), bars, failed | refused)


def _keep(importer: Importer, got: _Got) -> dict[str, str]:
    """Keep what REST gave; gives why not, by symbol and timeframe."""
    refused = {}
    for name, by_symbol in got.items():
        frame = timeframe(name)
        for parts in by_symbol.values():
            parts.sort(key=lambda part: int(part.rows["open_time"][0]))
        try:
            importer.keep(frame, {symbol: joined(parts) for symbol, parts in by_symbol.items()})
        except DataError:
            # One symbol disagrees with what is kept: the others are kept all the same.
            for symbol, parts in by_symbol.items():
                try:
                    importer.keep(frame, {symbol: joined(parts)})
                except DataError as error:
                    refused[f"{symbol} {name}"] = str(error)
    return refused
