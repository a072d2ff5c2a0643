"""`store verify` and `store repair`: what is wrong with what lies on disk, and putting it right."""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path, PurePath
from random import Random
from typing import Any, Final, TypeVar

import msgspec

from klinehub.app import options, show
from klinehub.app.ask import asking
from klinehub.app.config import Config
from klinehub.app.download import of_market
from klinehub.app.exits import FAILED
from klinehub.app.fetching import Missing, fill, merged, requests_for, still_missing
from klinehub.app.importing import Importer
from klinehub.app.library import system_clock
from klinehub.app.store import Place, place, segments
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import StoreError
from klinehub.feed import binance
from klinehub.feed.archive_plan import Span
from klinehub.feed.asking import Progress, ask_klines, in_parallel
from klinehub.feed.decisions import Fetch
from klinehub.feed.rest import RestClient
from klinehub.feed.timing import Timing
from klinehub.feed.use import Use
from klinehub.panel.merge import proven
from klinehub.store import checking
from klinehub.store.agreement import disagreements
from klinehub.store.hot import HotStore
from klinehub.store.joining import FOREVER, disagreement, held_against, pair
from klinehub.store.overview import of_history, of_hot
from klinehub.store.resting import both
from klinehub.store.sources import Sources
from klinehub.store.sqlite import SqliteTables, fault

T = TypeVar("T")
# Runs a coroutine to its end, as the command line does.
Wait = Callable[[Coroutine[Any, Any, T]], T]
# Bars of one request of a sample: it weighs 1.
_ROWS: Final = 99
_BATCH: Final = 8


class Compared(msgspec.Struct, frozen=True):
    """How a sample compares with REST: bars that both have, those that differ, and requests that failed."""

    bars: int
    different: list[str]
    failed: dict[str, str]


class Verdict(msgspec.Struct, frozen=True):
    """What a check found; `unchecked` says what could not be looked at. Gaps alone are nothing wrong."""

    market: str
    segments: int
    bars: int
    hot_bars: int
    wrong: list[str]
    unchecked: list[str]
    gaps: list[checking.Gap]
    rest: Compared | None

    @property
    def sound(self) -> bool:
        """Whether all was looked at and nothing is wrong."""
        rest = self.rest is None or not (self.rest.different or self.rest.failed)
        return rest and not (self.wrong or self.unchecked)


def verify(given: Mapping[str, Any], wait: Wait[Compared]) -> int:
    """Check every byte and bar of a market, and a sample against REST if asked; 1 when anything is wrong."""
    config, one = options.settings(given), place(given)
    report = _checked(one)
    wrong = [f"{damage.path}: {damage.why}" for damage in report.damaged] + list(report.conflicts)
    unchecked: list[str] = []
    hot_bars, rest = 0, None
    with ExitStack() as stack:
        hot = _looked(one, stack, wrong, unchecked)
        gaps = list(report.gaps) if hot is None else []
        if hot is not None:
            hot_bars = _check_hot(one, hot, wrong)
            gaps = [gap for gap, _ in _gaps(one, hot)]
        if given["rest"]:
            rest = wait(_sample(config, one, hot, given))
    found = Verdict(one.market, report.segments, report.bars, hot_bars, wrong, unchecked, gaps, rest)
    if given["as_json"]:
        show.document({**msgspec.structs.asdict(found), "sound": found.sound})
    else:
        _tell(found, config)
    return 0 if found.sound else FAILED


def _checked(one: Place) -> checking.Report:
    total = segments(one.history)
    done = 0

    def on_segment(path: PurePath) -> None:
        nonlocal done
        done += 1
        progress(Progress(done, total, 0, path.parent.parent.name))

    with show.steps("check") as progress:
        return checking.verify(one.history, on_segment)


def _looked(one: Place, stack: ExitStack, wrong: list[str], unchecked: list[str]) -> HotStore | None:
    """Open the hot store as long as *stack* is open; None where that can not be, which is told."""
    if not one.hot.is_file():
        return None
    broken = fault(one.hot)
    if broken:
        wrong.append(f"{one.hot}: {broken}")
        return None
    try:
        return stack.enter_context(one.looking())
    except StoreError as exc:
        unchecked.append(f"the hot store: {exc}")
        return None


def _check_hot(one: Place, hot: HotStore, wrong: list[str]) -> int:
    """Check every slice, and hold it against history; gives how many bars there are."""
    bars, frames = 0, hot.timeframes
    with show.steps("compare") as progress:
        for done, frame in enumerate(frames):
            progress(Progress(done, len(frames), 0, frame.name))
            kept = of_hot(hot, frame)
            bars += kept.bars
            wrong += [f"slice {line}" for line in kept.damaged]
            wrong += disagreements(hot, one.history, frame)
    return bars


def _gaps(one: Place, hot: HotStore | None) -> Iterator[tuple[checking.Gap, Timeframe]]:
    """Give what lacks between bars of both stores together."""
    for frame, runs in _runs(one, hot):
        for symbol, own in runs.items():
            yield from ((gap, frame) for gap in checking.gaps(frame, symbol, own))


def _runs(one: Place, hot: HotStore | None) -> Iterator[tuple[Timeframe, dict[str, list[checking.Run]]]]:
    """Give the runs of bars of both stores together, by timeframe and symbol."""
    frames = {*one.history.timeframes, *(() if hot is None else hot.timeframes)}
    for frame in sorted(frames, key=lambda each: each.milliseconds):
        runs = of_history(one.history, frame).runs
        for symbol, own in ({} if hot is None else of_hot(hot, frame).runs).items():
            runs.setdefault(symbol, []).extend(own)
        yield frame, {symbol: list(checking.merged(sorted(own))) for symbol, own in sorted(runs.items())}


async def _sample(config: Config, one: Place, hot: HotStore | None, given: Mapping[str, Any]) -> Compared:
    """Ask REST for some of the kept bars, chosen by the seed, and compare all ten fields."""
    fetches = _chosen(one, hot, given["sample"], given["seed"])
    sources = Sources([one.history]) if hot is None else both([one.history], hot)
    bars = 0
    different: list[str] = []

    async def compare(fetch: Fetch) -> None:
        nonlocal bars
        exact, answer = await ask_klines(rest, fetch)
        frame = next(frame for frame in sources.timeframes if frame.name == fetch.timeframe)
        closed = proven(frame, exact, timing.proof(answer))
        start = fetch.start or 0
        kept = sources.read(
            frame, [fetch.symbol], start, frame.open_time(frame.index(start) + fetch.limit)
        ).get(fetch.symbol)
        if kept is None:
            return
        held = held_against(kept, closed)
        bars += int((~held.fresh).sum())
        for at, differs in enumerate(held.different.tolist()):
            if differs:
                different.append(disagreement(fetch.symbol, frame, pair(kept, closed, at)) + " (REST)")

    hub = of_market(config, one.market, given["rest_url"])
    async with asking(msgspec.structs.replace(config, hub=hub), system_clock()) as (rest, gate):
        timing = Timing(rest, gate, system_clock(), on_doubt=lambda _: None)
        await timing.read()
        with show.steps("REST") as progress:
            failed = await in_parallel(fetches, compare, batch=_BATCH, progress=progress)
    return Compared(bars, sorted(different), failed)


def _chosen(one: Place, hot: HotStore | None, count: int, seed: int) -> list[Fetch]:
    """Choose *count* stretches of kept bars, each bar as likely as another."""
    runs = [
        (frame, name, run) for frame, all_ in _runs(one, hot) for name, own in all_.items() for run in own
    ]
    sizes = [run.last - run.first + 1 for _, _, run in runs]
    dice = Random(seed)  # noqa: S311 - which bars are compared is no secret
    fetches = []
    for frame, symbol, run in dice.choices(runs, sizes, k=count) if runs else ():
        first = dice.randint(run.first, max(run.first, run.last - _ROWS + 1))
        limit = min(_ROWS, run.last - first + 1)
        fetches.append(Fetch(symbol, frame.name, frame.open_time(first), limit, Use.DEEPEN))
    return fetches


def _tell(found: Verdict, config: Config) -> None:
    zone = show.zone(config.tz)
    show.out.print(
        f"{found.market}: {found.segments} segments with {found.bars:,} bars, {found.hot_bars:,} bars in the "
        f"hot store, {len(found.wrong)} faults"
    )
    if found.rest is not None:
        show.out.print(f"{found.rest.bars:,} bars compared with REST, {len(found.rest.different)} differ")
        show.listed(found.rest.different, most=20)
        show.listed([f"failed: {name}: {why}" for name, why in found.rest.failed.items()], most=5)
    show.listed(found.wrong, most=20)
    show.listed([f"not checked: {line}" for line in found.unchecked], most=5)
    said = (
        f"{gap.symbol} {gap.timeframe} lacks {gap.bars:,} bars from {show.moment(gap.first, zone)}"
        for gap in sorted(found.gaps, key=lambda gap: -gap.bars)
    )
    show.listed(list(said), most=5)
    if found.wrong:
        show.err.print("`klinehub store repair` sets aside what is damaged")


class Repaired(msgspec.Struct, frozen=True):
    """What was done, what people have to decide, and what REST gave; `missing` it had not either."""

    market: str
    done: list[str]
    left: list[str]
    requests: int = 0
    bars: int = 0
    missing: list[Missing] = []
    failed: dict[str, str] = {}


def repair(given: Mapping[str, Any], wait: Wait[Repaired]) -> int:
    """Set aside what is damaged, rebuild what can be, fetch what lacks if asked; 1 when something is left."""
    config, one = options.settings(given), place(given)
    done: list[str] = []
    left: list[str] = []
    with ExitStack() as stack:
        hot = _mended(one, stack, done) if one.hot.is_file() else None
        done += [f"removed {path}, which a writer did not finish" for path in one.history.tidy()]
        report = _checked(one)
        for damage in report.damaged:
            if damage.changed:
                aside = one.history.set_aside(damage.path)
                done.append(f"set aside {damage.path} ({damage.why}), now {aside.name}")
            else:
                left.append(damage.why)
        left += [f"{line}: import the right one with --replace" for line in report.conflicts]
        for frame in () if hot is None else hot.timeframes:
            left += disagreements(hot, one.history, frame) if hot is not None else ()
        found = Repaired(one.market, done, left)
        if given["rest"]:
            found = wait(_fetched(config, one, hot, found, given))
    if given["as_json"]:
        show.document(found)
    else:
        _tell_repaired(found, rest=given["rest"])
    return FAILED if found.left or found.failed else 0


def _mended(one: Place, stack: ExitStack, done: list[str]) -> HotStore:
    """Open the hot store, rebuilt where its file is damaged, and set its damaged slices aside."""
    broken = fault(one.hot)
    if broken:
        _make_room(one.hot)
    tables = SqliteTables(one.hot, origin=None)
    stack.callback(tables.close)
    if broken and not tables.salvaged:
        tables.rebuild(broken)
    if tables.salvaged:
        done.append(tables.salvaged)
    store = HotStore(tables)
    for frame in store.timeframes:
        for _ in store.slices(frame, 0, frame.index(FOREVER)):
            pass
    done += [f"set aside the slice {line}" for line in store.set_aside]
    return store


def _make_room(path: Path) -> None:
    """Give what was set aside before another name: nothing is written over."""
    number = 1
    while path.with_name(f"{path.name}.damaged-{number}").exists():
        number += 1
    for end in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            aside = path.with_name(f"{path.name}.damaged{end}")
            aside.rename(path.with_name(f"{path.name}.damaged-{number}{end}"))


async def _fetched(
    config: Config, one: Place, hot: HotStore | None, found: Repaired, given: Mapping[str, Any]
) -> Repaired:
    """Ask REST for what lacks between bars, and for what set-aside segments held."""
    known = sorted({symbol for _, runs in _runs(one, hot) for symbol in runs})
    spans = [
        Span(gap.symbol, frame.name, gap.first, frame.open_time(frame.index(gap.last) + 1))
        for gap, frame in _gaps(one, hot)
    ]
    for path in one.history.damaged:
        lost = one.history.lost(path, known)
        spans += [Span(symbol, frame.name, start, end) for frame, symbol, start, end in lost]
    clock = system_clock()
    hub = of_market(config, one.market, given["rest_url"])
    async with asking(msgspec.structs.replace(config, hub=hub), clock) as (rest, gate):
        timing = Timing(rest, gate, clock, on_doubt=lambda _: None)
        await timing.read()
        listed = await _listed(rest)
        asked = merged(span for span in spans if span.symbol in listed)
        importer = Importer(one.folder, now=gate.now(), history=one.history)
        fetches = requests_for(importer.history, asked, gate.now(), rest.venue)
        with show.steps("REST") as progress:
            filled = await fill(rest, timing, importer, fetches, progress)
        missing = [each for each in still_missing(importer.history, merged(spans), gate.now()) if each.bars]
    return msgspec.structs.replace(
        found, requests=filled.requests, bars=filled.bars, missing=missing, failed=filled.failed
    )


async def _listed(rest: RestClient) -> frozenset[str]:
    body = await rest.get(rest.venue.info, {}, weight=rest.venue.info_weight)
    return frozenset(listing.symbol for listing in binance.parse_listings(body))


def _tell_repaired(found: Repaired, *, rest: bool) -> None:
    for line in found.done:
        show.out.print(show.zoned(line), soft_wrap=True, markup=False)
    if not found.done:
        show.out.print("nothing was damaged")
    if rest:
        lacking = sum(each.bars for each in found.missing)
        show.out.print(f"{found.requests} requests brought {found.bars:,} bars; {lacking:,} lack still")
        show.listed([f"failed: {name}: {why}" for name, why in found.failed.items()], most=5)
    show.listed([f"left as it is: {line}" for line in found.left], most=20)
