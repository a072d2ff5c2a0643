"""`store info`, `store compact`, `store prune`: what lies on disk, fewer files of it, and less of it."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, Final, NamedTuple

import click
import msgspec
from rich.table import Table

from klinehub.app import options, show
from klinehub.app.config import Config, listed
from klinehub.app.library import data_folder
from klinehub.app.stored import HOT, between, history_in, looked_at, markets
from klinehub.domain.timeframe import Timeframe, in_order
from klinehub.errors import DefinitionError, StoreError, UnknownName
from klinehub.feed.asking import Progress
from klinehub.store.base import BAR_BITS, key_of
from klinehub.store.checking import Gap
from klinehub.store.history import HistoryStore
from klinehub.store.hot import OPENED, HotStore
from klinehub.store.objects import is_address
from klinehub.store.overview import Kept, of_history, of_hot
from klinehub.store.sqlite import SqliteTables, fault

_COLUMNS: Final = ("store", "tf", "bars", "symbols", "first", "last", "gaps", "MB", "B/bar")
_LEFT: Final = frozenset({"store", "tf", "first", "last"})


class Place(NamedTuple):
    """One market's folder, and its history, which need not be there; `elsewhere` is what its setting says."""

    market: str
    folder: Path
    history: HistoryStore
    elsewhere: str = ""

    @property
    def hot(self) -> Path:
        """The file of the hot store, which need not be there."""
        return self.folder / HOT

    @contextmanager
    def looking(self) -> Iterator[HotStore]:
        """Open the hot store to look at it; raises StoreError where a hub has it or it is damaged."""
        broken = fault(self.hot)
        if broken:
            raise StoreError(f"{self.hot} is damaged ({broken}): run `klinehub store repair`.")
        store = looked_at(self.folder)
        try:
            yield store
        finally:
            store.tables.close()

    @contextmanager
    def writing(self) -> Iterator[HotStore]:
        """Open the hot store to change it; raises StoreError where a hub has it."""
        tables = SqliteTables(self.hot, origin=None)
        try:
            yield HotStore(tables)
        finally:
            tables.close()


def folder_of(config: Config, *, there: bool = True) -> Path:
    """Give the data folder that is meant; raises DefinitionError where none is, or none is *there*."""
    folder = data_folder(config.hub)
    if folder is None or "://" in config.hub.store:
        raise DefinitionError("There is no folder to look into: say which with --data FOLDER.")
    folder = folder.expanduser()
    if there and not markets(folder, config.hub.history_path):
        raise DefinitionError(
            f"{folder} keeps no klines: name the folder that a hub wrote to, --data FOLDER."
        )
    return folder


def places(given: Mapping[str, Any]) -> list[Place]:
    """Give the markets that are meant: that of --market, or all of the data folder."""
    config = options.settings(given)
    elsewhere = config.hub.history_path
    found = markets(folder_of(config), elsewhere)
    wanted = given["market"]
    if wanted is not None and wanted not in found:
        raise UnknownName("market", wanted, found)
    chosen = found if wanted is None else {wanted: found[wanted]}
    each = [(name, folder, history_in(folder, elsewhere)) for name, folder in chosen.items()]
    return [Place(*one, elsewhere) for one in each]


def place(given: Mapping[str, Any]) -> Place:
    """Give the one market that is meant; raises DefinitionError where there are several."""
    found = places(given)
    if len(found) > 1:
        names = ", ".join(one.market for one in found)
        raise DefinitionError(f"There are {names}: name one, --market {found[0].market}.")
    return found[0]


def frames_of(given: Mapping[str, Any], known: Sequence[Timeframe]) -> tuple[Timeframe, ...]:
    """Give the timeframes of --timeframes, by default all that are known; raises UnknownName for another."""
    if given["timeframes"] is None:
        return tuple(known)
    wanted = in_order(listed(given["timeframes"]))
    names = [frame.name for frame in known]
    for frame in wanted:
        if frame not in known:
            raise UnknownName("timeframe of this store", frame.name, names)
    return wanted


class Told(msgspec.Struct, frozen=True):
    """What one store has of a timeframe; times are open times in ms UTC, `lacking` bars lie in `gaps`."""

    timeframe: str
    bars: int
    symbols: int
    first: int
    last: int
    gaps: int
    lacking: int
    longest: Gap | None
    bytes: int
    bytes_per_bar: float | None
    damaged: tuple[str, ...]


class Half(msgspec.Struct, frozen=True):
    """What one of a market's two stores has, and where it is; `fault` says why that can not be told."""

    timeframes: list[Told]
    bytes: int = 0
    set_aside: list[str] = []
    unfinished: int = 0
    sealed_days: int = 0
    fault: str = ""
    where: str = ""


class Info(msgspec.Struct, frozen=True):
    """What is kept of a market."""

    market: str
    folder: str
    hot: Half | None
    history: Half | None


def info(given: Mapping[str, Any]) -> None:
    """Print what is kept of each market: bars, ranges, gaps, bytes, and what is damaged."""
    config = options.settings(given)
    with show.steps("look") as progress:
        found = [
            Info(one.market, str(one.folder), _hot(one), _history(one, progress)) for one in places(given)
        ]
    if given["as_json"]:
        show.document(found)
        return
    for one in found:
        show.out.print(_table(one, config.tz))
        for name, half in (("hot", one.hot), ("history", one.history)):
            if half is not None:
                show.listed([f"{name}: {line}" for line in _remarks(half, config.tz)], most=20)


def _hot(one: Place) -> Half | None:
    if not one.hot.is_file():
        return None
    parts = (one.hot, one.hot.with_name(f"{HOT}-wal"))
    size = sum(path.stat().st_size for path in parts if path.is_file())
    try:
        with one.looking() as store:
            told = [_told(of_hot(store, frame)) for frame in store.timeframes]
            aside = [_named(key, why, store) for key, why in store.tables.damaged()]
            days = sum(1 for day in store.tables.sealed() if not day & OPENED)
    except StoreError as exc:
        return Half([], size, fault=str(exc), where=str(one.hot))
    return Half(told, size, aside, sealed_days=days, where=str(one.hot))


def _named(key: int, why: str, store: HotStore) -> str:
    """Name a slice that was moved aside by its timeframe and bar."""
    length, bar = divmod(key, 1 << BAR_BITS)
    names = [frame.name for frame in store.timeframes if frame.milliseconds == length]
    return f"{names[0] if names else f'{length} ms'} {bar}: {why}"


def _history(one: Place, progress: show.Steps) -> Half | None:
    where = one.history.files.where
    if not one.history.timeframes:
        return None
    total = segments(one.history)
    told = []
    done = 0
    for frame in one.history.timeframes:

        def on_segment(_: PurePath, frame: Timeframe = frame) -> None:
            nonlocal done
            done += 1
            progress(Progress(done, total, 0, frame.name))

        told.append(_told(of_history(one.history, frame, on_segment)))
    aside = [str(path) for path in one.history.damaged]
    unfinished = len(one.history.unfinished)
    return Half(told, sum(one.bytes for one in told), aside, unfinished, where=where)


def segments(history: HistoryStore) -> int:
    """Count the segments of a history."""
    frames = history.timeframes
    return sum(len(history.paths(frame, month)) for frame in frames for month in history.months(frame))


def _told(kept: Kept) -> Told:
    first, last = kept.span
    return Told(
        timeframe=kept.timeframe.name,
        bars=kept.bars,
        symbols=len(kept.runs),
        first=first,
        last=last,
        gaps=len(kept.lacking),
        lacking=sum(gap.bars for gap in kept.lacking),
        longest=max(kept.lacking, key=lambda gap: gap.bars, default=None),
        bytes=kept.bytes,
        bytes_per_bar=round(kept.bytes / kept.bars, 2) if kept.bars else None,
        damaged=kept.damaged,
    )


def _table(one: Info, tz: str) -> Table:
    """Lay out what both stores have, a row for each timeframe."""
    zone = show.zone(tz)
    table = Table(title=f"{one.market}  {one.folder}", title_justify="left", box=None)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=True)
    for name, half in (("hot", one.hot), ("history", one.history)):
        for told in [] if half is None else half.timeframes:
            times = (show.moment(time, zone, named=False)[:10] for time in (told.first, told.last))
            figures = (
                f"{told.bars:,}",
                str(told.symbols),
                *times,
                f"{told.gaps:,}",
                f"{told.bytes / 1e6:,.1f}",
            )
            each = "" if told.bytes_per_bar is None else f"{told.bytes_per_bar:.1f}"
            table.add_row(name, told.timeframe, *figures, each)
    return table


def _remarks(half: Half, tz: str) -> Iterable[str]:
    """Say what people should look at, or may want to know."""
    zone = show.zone(tz)
    if half.fault:
        yield half.fault
    if is_address(half.where):
        yield f"lies at {half.where}"
    for told in half.timeframes:
        if told.longest is not None:
            gap = told.longest
            yield (
                f"{told.timeframe} lacks {told.lacking:,} bars in {told.gaps:,} gaps, the longest of "
                f"{gap.bars:,}: {gap.symbol} from {show.moment(gap.first, zone)}"
            )
        yield from (f"damaged: {line}" for line in told.damaged)
    yield from (f"set aside: {line}" for line in half.set_aside)
    if half.unfinished:
        yield f"{half.unfinished} unfinished files, which `klinehub store repair` removes"
    if half.sealed_days:
        yield f"{half.sealed_days} days (by timeframe) are in history already"


class Compacted(msgspec.Struct, frozen=True):
    """How many segments a month had, and has."""

    timeframe: str
    month: str
    before: int
    after: int


def compact(given: Mapping[str, Any]) -> None:
    """Make few segments of the many of each month, or of one; a running hub may go on meanwhile."""
    one = place(given)
    frames = frames_of(given, one.history.timeframes)
    months = [(frame, month) for frame in frames for month in one.history.months(frame)]
    wanted = given["month"]
    if wanted is not None and wanted not in {month for _, month in months}:
        raise UnknownName("month of this store", wanted, sorted({month for _, month in months}))
    chosen = [(frame, month) for frame, month in months if wanted in {None, month}]
    done: list[Compacted] = []
    with show.steps("compact") as progress:
        for count, (frame, month) in enumerate(chosen, 1):
            before = len(one.history.paths(frame, month))
            if one.history.compact(frame, month):
                done.append(Compacted(frame.name, month, before, len(one.history.paths(frame, month))))
            progress(Progress(count, len(chosen), 0, frame.name))
    if given["as_json"]:
        show.document(done)
        return
    for each in done:
        show.out.print(f"{each.timeframe} {each.month}: {each.before} segments became {each.after}")
    show.out.print(f"{len(chosen) - len(done)} of {len(chosen)} months had nothing to gain")


class Pruned(msgspec.Struct, frozen=True):
    """What is deleted of a timeframe: months of history with so many bytes, and slices of the hot store."""

    timeframe: str
    months: list[str]
    bytes: int
    slices: int


def prune(given: Mapping[str, Any]) -> None:
    """Delete bars before a date, whole months of history at a time; asks before it does."""
    one = place(given)
    before = between(given["before"], None)[0]
    with _hot_or_none(one) as hot:
        known = {*one.history.timeframes, *(() if hot is None else hot.timeframes)}
        frames = frames_of(given, sorted(known, key=lambda frame: frame.milliseconds))
        plan = [_planned(one.history, hot, frame, before) for frame in frames]
        if given["as_json"] and given["dry_run"]:
            show.document(plan)
        elif not given["as_json"]:
            _tell_plan(plan)
        if given["dry_run"] or not any(each.months or each.slices for each in plan) or not _agreed(given):
            return
        for frame, each in zip(frames, plan, strict=True):
            for month in each.months:
                one.history.drop(frame, month)
            if hot is not None and each.slices:
                hot.drop(frame, frame.index(before - 1) + 1)
    if given["as_json"]:
        show.document(plan)
    else:
        show.out.print("deleted")


@contextmanager
def _hot_or_none(one: Place) -> Iterator[HotStore | None]:
    if not one.hot.is_file():
        yield None
        return
    with one.writing() as store:
        yield store


def _planned(history: HistoryStore, hot: HotStore | None, frame: Timeframe, before: int) -> Pruned:
    months = [month for month in history.months(frame) if month_end(month) <= before]
    size = sum(history.size(frame, month) for month in months)
    slices = 0
    if hot is not None:
        slices, _, _ = hot.tables.bounds(key_of(frame, 0), key_of(frame, frame.index(before - 1) + 1) - 1)
    return Pruned(frame.name, months, size, slices)


def month_end(month: str) -> int:
    """Give the time (ms UTC) at which the month after one such as 2025-06 begins."""
    year, number = map(int, month.split("-"))
    return between(f"{year + number // 12:04}-{number % 12 + 1:02}-01", None)[0]


def _tell_plan(plan: Sequence[Pruned]) -> None:
    for each in plan:
        span = f", {each.months[0]} to {each.months[-1]}" if each.months else ""
        show.err.print(
            f"{each.timeframe}: {len(each.months)} months of history{span} ({each.bytes / 1e6:,.1f} MB), "
            f"{each.slices:,} slices of the hot store"
        )
    show.err.print("history is deleted by whole months: the month of the date stays")


def _agreed(given: Mapping[str, Any]) -> bool:
    """Ask whether to go on; raises DefinitionError where nobody can be asked."""
    if given["yes"]:
        return True
    if not sys.stdin.isatty():
        raise DefinitionError("There is nobody to ask whether to delete this: add --yes, or --dry-run.")
    return click.confirm("delete this for good?", err=True)
