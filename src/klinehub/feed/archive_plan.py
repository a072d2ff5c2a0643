"""Which files of the archive bring what is wanted, and what has to come by REST.

1. A month that lies whole in the wanted time comes as one file, once it is there; the rest as days. Bars
   longer than a day are only in monthly files.
2. A day counts as due two days after it began to be over (T-2): what is newer is the tail, for REST.
3. A due day without a file, after a symbol's first and before its last, is missing: REST may still have it.
4. Files that were imported are not asked for again.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from klinehub.domain.timeframe import DAY, Timeframe
from klinehub.feed.archive import Archive
from klinehub.feed.archive_names import (
    ArchiveFile,
    Kind,
    date_text,
    files_folder,
    month_start,
)

# No kline is older than the exchange (2017-07-01).
FIRST_DAY: Final = 1_498_867_200_000
_SPANS: Final = {Kind.FUNDING: ("monthly",), Kind.METRICS: ("daily",), Kind.KLINES: ("monthly", "daily")}


class Series(NamedTuple):
    """One symbol's bars of a timeframe, or its funding rates or metrics."""

    kind: Kind
    symbol: str
    timeframe: Timeframe | None


class Span(NamedTuple):
    """Bars that a file does not bring: those that open in [start, end) ms UTC."""

    symbol: str
    timeframe: str
    start: int
    end: int


class Choice(NamedTuple):
    """What brings one series: files to fetch, how many are imported, due days without one, and the tail."""

    files: tuple[ArchiveFile, ...] = ()
    kept: int = 0
    missing: tuple[Span, ...] = ()
    tail: tuple[Span, ...] = ()


def due_until(now: int) -> int:
    """Give the time up to which the archive should be complete: the end of the day before yesterday."""
    return now // DAY * DAY - DAY


async def look(
    archive: Archive, market: str, series: Series, start: int, until: int
) -> tuple[ArchiveFile, ...]:
    """List the files of a series that may matter for [start, until): all months, and days where none is."""

    async def listed(span: str, since: str = "") -> tuple[ArchiveFile, ...]:
        folder = files_folder(market, span, series.kind, series.symbol, series.timeframe)
        return await archive.files(folder, since=since, until=until)

    spans = _SPANS[series.kind]
    months = await listed("monthly") if "monthly" in spans else ()
    if "daily" not in spans or _long(series):
        return months
    there = {month.start: month.end for month in months}
    # The exchange's first day is soon enough where no month says when a symbol began.
    begin = max(month_start(max(start, FIRST_DAY)), min(there, default=0))
    while begin >= start and begin in there:
        begin = there[begin]
    return (*months, *await listed("daily", date_text(begin)))


def choose(
    series: Series,
    listed: Sequence[ArchiveFile],
    start: int,
    end: int,
    *,
    now: int,
    imported: Collection[str],
    alive: bool,
) -> Choice:
    """Choose what brings the bars of *series* that open in [start, end) ms, from the files that are *listed*.

    *alive* says that the exchange lists it as trading, so that bars go on after the last file.
    """
    due = due_until(now)
    known = [file for file in listed if file.end <= due]
    chosen = list(_cover(known, start, end, imported, long=series.timeframe is None or _long(series)))
    new = tuple(file for file in chosen if file.name not in imported)
    kept = len(chosen) - len(new)
    if series.timeframe is None:
        return Choice(new, kept)
    born = _born(known, start)
    if born is None:
        tail = _span(series, max(start, min(due, now)), end) if alive else ()
        return Choice(tail=tail)
    last = max(file.end for file in known)
    holes = _holes(chosen, max(start, born), min(end, last), series.timeframe)
    missing = tuple(span for hole in holes for span in _span(series, *hole))
    return Choice(new, kept, missing, _span(series, max(start, last), end) if alive else ())


def _long(series: Series) -> bool:
    """Whether bars are longer than a day, and so only in monthly files."""
    return series.timeframe is not None and series.timeframe.milliseconds > DAY


def _cover(
    known: Sequence[ArchiveFile], start: int, end: int, imported: Collection[str], *, long: bool
) -> Iterator[ArchiveFile]:
    """Give the files that cover [start, end), whole months first, each time once."""
    whole = set()
    for month in (file for file in known if _is_month(file) and file.start < end and file.end > start):
        inside = (start <= month.start and month.end <= end) or long
        if month.name in imported or (inside and not _by_days(month, imported)):
            whole.add(month.start)
            yield month
    for day in known:
        if not _is_month(day) and day.start < end and day.end > start and month_start(day.start) not in whole:
            yield day


def _is_month(file: ArchiveFile) -> bool:
    return file.end - file.start > DAY


def _by_days(month: ArchiveFile, imported: Collection[str]) -> bool:
    """Whether all days of a month were imported one by one."""
    days = (month.end - month.start) // DAY
    stem = month.name.removesuffix(".zip")
    return all(f"{stem}-{day:02}.zip" in imported for day in range(1, days + 1))


def _born(known: Sequence[ArchiveFile], start: int) -> int | None:
    """Give the time from which a symbol has bars, as exactly as its files tell; None without any."""
    # A month that *start* lies in says less than its days, which are listed then.
    telling = [file.start for file in known if not (_is_month(file) and file.start < start < file.end)]
    return min(telling or [file.start for file in known], default=None)


def _holes(
    chosen: Iterable[ArchiveFile], start: int, end: int, timeframe: Timeframe
) -> Iterator[tuple[int, int]]:
    """Give the stretches of [start, end) that no file covers."""
    at = start
    for file in sorted(chosen, key=lambda file: file.start):
        if at < file.start < end:
            yield at, file.start
        at = max(at, file.end)
    if at < end and timeframe.milliseconds <= DAY:
        yield at, end


def _span(series: Series, start: int, end: int) -> tuple[Span, ...]:
    """Give the bars that open in [start, end), nothing where none does."""
    if series.timeframe is None or end <= start:
        return ()
    return (Span(series.symbol, series.timeframe.name, start, end),)
