"""Running scans: the scanners of a live hub, run when their timeframe closes or when somebody asks."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Final, NamedTuple

import msgspec

from klinehub.domain.stale import Stale
from klinehub.errors import DefinitionError
from klinehub.factors.expr import Expr, short
from klinehub.factors.grid import beside_of
from klinehub.factors.plan import planned
from klinehub.feed.decisions import BarClosed, Revision
from klinehub.panel.view import PanelView
from klinehub.scan.copies import Ground, Kept
from klinehub.scan.likeness import Calibrations, Likeness, kin_of, likeness, likenesses
from klinehub.scan.presets import asked
from klinehub.scan.scanner import Scanner, ScanResult, Universe, default_screen
from klinehub.scan.schedule import Due, Schedule
from klinehub.scan.screen import Screen
from klinehub.scan.sheets import Sheets

# Scanners of other timeframes than the default one that are kept for the next question.
_MOST_KEPT: Final = 8


class Scan(msgspec.Struct, frozen=True):
    """A scan's result with what it took: real seconds, and REST calls made meanwhile (none).

    `stale` says of ranked symbols that are not proven fresh why, and since when. `after` is how many seconds
    of market time lay between the bar's close and the result, `late` which symbols had not closed it when it
    was due, `revision` how often it was scanned again since, and `skipped` how many bars were never scanned.
    `failed` says of screens that were asked for together with this one why they were given up. `evidence`
    says of hits what came after scores like theirs on history, `no_evidence` why nothing is known of it.
    """

    result: ScanResult
    seconds: float
    api_calls: int
    stale: Mapping[str, Stale]
    after: float = 0.0
    late: tuple[str, ...] = ()
    revision: int = 0
    skipped: int = 0
    failed: Mapping[str, str] = {}
    evidence: Mapping[str, Likeness] = {}
    no_evidence: str = ""


class Default(NamedTuple):
    """What the settings say of the default score; None is the usual."""

    timeframe: str | None = None
    weights: Mapping[str, float] | None = None
    unavailable: tuple[str, ...] = ()
    min_score: float = 0.0


class Rest:
    """Leaves out hits that were told in the last *bars* bars; those of a bar that is scanned again stay."""

    def __init__(self, bars: int) -> None:
        self._bars = bars
        self._told: dict[str, int] = {}

    def of(self, result: ScanResult) -> ScanResult:
        """Give a result without the hits that are to rest; `signals_found` still counts them."""
        if not self._bars:
            return result
        resting = {symbol for symbol, bar in self._told.items() if bar < result.bar <= bar + self._bars}
        hits = tuple(hit for hit in result.results if hit.symbol not in resting)
        self._told.update({hit.symbol: result.bar for hit in hits})
        return msgspec.structs.replace(result, results=hits)


class Scanning:
    """Scans *panels*, for whoever asks and at each close for whoever follows.

    *now* gives the exchange's time in ms, *monotonic* real seconds, *calls* the REST calls made so far,
    *stale* why symbols are not proven fresh and *universe* which ones are looked at, None for all; *ahead*
    gives a panel of a timeframe with a bar that is still open, *kept* bars that are on disk. `count` scans
    have taken `seconds` real ones. `ground` is what scanners stand on, and `sheets` give the values of all
    symbols. `calibrations` are what hits are held against, taken the `calibrated`th time; results do not
    depend on them. `calibration_fault` says why they are not as new as they might be.
    """

    count = 0
    seconds = 0.0
    calibrated = 0

    def __init__(
        self,
        panels: Mapping[str, PanelView],
        default: Default,
        *,
        benchmark: str | None,
        listed: Mapping[str, int],
        now: Callable[[], int],
        monotonic: Callable[[], float],
        calls: Callable[[], int],
        stale: Callable[[Iterable[str]], dict[str, Stale]],
        universe: Callable[[], Universe | None] = lambda: None,
        ahead: Callable[[str, int], PanelView] | None = None,
        kept: Kept | None = None,
    ) -> None:
        self._panels = panels
        self._default = default
        self._benchmark = benchmark
        self.ground = Ground(panels, benchmark, listed, kept)
        self._now, self._monotonic, self._calls, self._stale = now, monotonic, calls, stale
        self._universe = universe
        self._view_ahead = ahead
        self._followers: dict[Schedule, asyncio.Event] = {}
        self._ended = False
        self.sheets = Sheets(
            self.ground,
            following=self._following,
            ahead=self._ahead_of,
            ended=lambda: self._ended,
            monotonic=monotonic,
        )
        self._kept: dict[str, Scanner] = {}
        self.calibrations, self.calibration_fault = Calibrations(), ""
        self.default = self.ground.scanner([self._screen(default.timeframe)])

    def warm_up(self) -> None:
        """Compile what the default scan runs, or load it from the cache."""
        self.default.warm_up()

    def hold_against(self, calibrations: Calibrations) -> None:
        """Hold hits against these from now on."""
        self.calibrations, self.calibration_fault = calibrations, ""
        self.calibrated += 1

    def stats(self) -> dict[str, int | float | str]:
        """Name what is calibrated, and what went wrong with it."""
        known = ", ".join(f"{one.screen} {one.timeframe}" for one in self.calibrations.screens)
        return {"calibrated": known, "calibration_fault": self.calibration_fault}

    def scan(
        self, bar: int | None = None, *, timeframe: str | None = None, min_score: float | None = None
    ) -> Scan:
        """Rank the market by the default score at a closed bar, by default the newest."""
        return self._scanned(self._of(timeframe), bar, min_score)[0]

    def asked(
        self,
        *,
        where: str | None = None,
        name: str | None = None,
        timeframe: str | None = None,
        min_score: float | None = None,
    ) -> Scan:
        """Rank by a preset of this *name*, or by the default score, where a condition in text holds."""
        if not where and not name:
            return self.scan(timeframe=timeframe, min_score=min_score)
        base = self.base(timeframe)
        if min_score is not None:
            base = msgspec.structs.replace(base, min_score=min_score)
        return self.screened(asked(base, where=where, name=name))

    def base(self, timeframe: str | None = None) -> Screen:
        """Give the screen of the default score on a timeframe, by default the usual one."""
        return self.default.screens[0] if timeframe is None else self._screen(timeframe)

    def check(self, expr: Expr, timeframe: str | None = None) -> None:
        """Raise DefinitionError for an expression that can not be computed of what is kept."""
        plan = planned([expr], timeframe or self.default.timeframe, self._panels)
        for step in plan.steps:
            beside_of(self._panels[step.timeframe], [step.term])
        self._check(plan.rows, short(expr))

    async def beside(self, screen: Screen) -> Scan:
        """Hold the market against a screen at the newest closed bar, in a thread, from a copy of its bars.

        What is read live goes on meanwhile: a screen that nobody has asked for before takes 0.1 s and more.
        """
        calls, started, timed = self._calls(), self._monotonic(), self._timed_screen(screen)
        rows = self.ground.rows(timed)
        if screen is not self.default.screens[0]:
            self._check(rows, screen.name)
        views, bar = await self.ground.copies(timed, rows)
        universe = self._universe()

        def work() -> ScanResult:
            kin_of(timed)
            return self.ground.scanner([timed], views).scan(bar, universe=universe)[0]

        result = await asyncio.to_thread(work)
        return self._noted([result], [timed], started, calls)[0]

    def _timed_screen(self, screen: Screen) -> Screen:
        return msgspec.structs.replace(screen, timeframe=screen.timeframe or self.default.timeframe)

    def screened(self, screen: Screen, bar: int | None = None) -> Scan:
        """Hold the market against one screen at a closed bar, by default the newest."""
        if screen is self.default.screens[0]:
            return self._scanned(self.default, bar)[0]
        timed = self._timed_screen(screen)
        return self._scanned(self._fitting(self._keep(f"{timed.name} {timed.hash}", timed)), bar)[0]

    async def scans(self, screens: Sequence[Screen]) -> AsyncGenerator[Scan, None]:
        """Yield what each screen finds at each close of its timeframe, the default one without any."""
        failed = dict[str, str]()
        groups = {some[0].timeframe: some for some in self._grouped(screens, failed)}
        rest = {one.name: Rest(one.cooldown) for group in groups.values() for one in group[0].screens}
        async with aclosing(self.due(groups)) as dues:
            async for due, skipped in dues:
                for scan in self._each(groups[due.timeframe], due.bar, failed, self._scanned):
                    told = _told(scan, due, skipped, failed)
                    yield msgspec.structs.replace(told, result=rest[scan.result.screen].of(scan.result))
                if not any(groups.values()):
                    raise DefinitionError(" ".join(failed.values()))

    async def due(self, frames: Collection[str]) -> AsyncGenerator[tuple[Due, int], None]:
        """Yield which bar of some timeframes is to be looked at now, and how many never were.

        Who is too slow gets the newest one of each.
        """
        schedule = Schedule(frames)
        with self._following(schedule) as wake:
            while not self._ended:
                await wake.wait()
                wake.clear()
                while (due := schedule.next()) is not None:
                    yield due, schedule.skipped

    async def forming(self, screens: Sequence[Screen], seconds: float) -> AsyncGenerator[Scan, None]:
        """Yield what each screen finds in the bars that are still open, every so many real *seconds*.

        Nothing piles up: a time that has passed while the last scan was made or taken is left out, and
        counted in `skipped`.
        """
        if not seconds > 0:
            raise DefinitionError(f"A scan every {seconds:g} seconds is none: give a number above 0.")
        failed, begun, turn, skipped = dict[str, str](), self._monotonic(), 0, 0
        groups = self._grouped(screens, failed)
        while not self._ended and any(groups):
            late = int((self._monotonic() - begun) / seconds) - turn
            skipped, turn = skipped + max(0, late), turn + max(0, late) + 1
            await asyncio.sleep(max(0.0, begun + turn * seconds - self._monotonic()))
            for group in groups:
                for scan in self._each(group, None, failed, self._ahead):
                    yield msgspec.structs.replace(scan, skipped=skipped, failed={**failed})
        if not self._ended:
            raise DefinitionError(" ".join(failed.values()))

    def note(self, closed: Iterable[BarClosed], revised: Iterable[Revision]) -> None:
        """Tell every follower what the feed has decided."""
        for schedule, wake in self._followers.items():
            schedule.note(closed, revised)
            wake.set()

    def end(self) -> None:
        """End what every follower gets."""
        self._ended = True
        for wake in self._followers.values():
            wake.set()

    def _grouped(self, screens: Sequence[Screen], failed: dict[str, str]) -> list[list[Scanner]]:
        """Make a scanner for each timeframe that screens ask for, without the screens that can not be had.

        Raises DefinitionError when that leaves none.
        """
        by_frame: dict[str, list[Screen]] = {}
        for screen in screens or self.default.screens:
            name = screen.timeframe or self.default.timeframe
            by_frame.setdefault(name, []).append(msgspec.structs.replace(screen, timeframe=name))
        lost: dict[str, DefinitionError] = {}
        found = [self._apart(some, lost) for some in by_frame.values()]
        failed.update({name: str(exc) for name, exc in lost.items()})
        if not any(found):
            raise next(iter(lost.values())) if len(lost) == 1 else DefinitionError(" ".join(failed.values()))
        return [some for some in found if some]

    def _apart(self, screens: list[Screen], lost: dict[str, DefinitionError]) -> list[Scanner]:
        """Make one scanner of screens, or one for each of those that can be had."""
        try:
            return [self._fitting(self.ground.scanner(screens))]
        except DefinitionError as exc:
            if len(screens) > 1:
                return [scanner for one in screens for scanner in self._apart([one], lost)]
            lost[screens[0].name] = exc
            return []

    def _each(
        self,
        group: list[Scanner],
        bar: int | None,
        failed: dict[str, str],
        scanned: Callable[[Scanner, int | None], list[Scan]],
    ) -> list[Scan]:
        """Scan each of a group; a screen that fails is parted from the others, which go on, and given up."""
        found: list[Scan] = []
        waiting, kept = list(group), list[Scanner]()
        while waiting:
            scanner = waiting.pop(0)
            try:
                found += scanned(scanner, bar)
                kept.append(scanner)
            except DefinitionError as exc:
                if len(scanner.screens) > 1:
                    waiting = [*(self.ground.scanner([one]) for one in scanner.screens), *waiting]
                else:
                    failed[scanner.screens[0].name] = str(exc)
        group[:] = kept
        return found

    def _of(self, timeframe: str | None) -> Scanner:
        """Give the scanner of the default score on a timeframe."""
        if timeframe is None or timeframe == self.default.timeframe:
            return self.default
        return self._keep(timeframe, self._screen(timeframe))

    def _keep(self, key: str, screen: Screen) -> Scanner:
        """Give the scanner of a screen, from the last time if that is not long ago."""
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = self.ground.scanner([screen])
            self._kept[key].warm_up()
        return self._kept[key]

    def _scanned(self, scanner: Scanner, bar: int | None, min_score: float | None = None) -> list[Scan]:
        """Scan, and say what it took."""
        return self._timed(scanner, lambda: scanner.scan(bar, min_score=min_score, universe=self._universe()))

    def _ahead(self, scanner: Scanner, _: int | None) -> list[Scan]:
        """Scan the bar that is open now as it stands."""
        views, bar = self._ahead_of(scanner)
        return self._timed(scanner, lambda: scanner.ahead(views, bar, universe=self._universe()))

    def _ahead_of(self, scanner: Scanner) -> tuple[dict[str, PanelView], int]:
        """Give the panels with their open bars, and which one is open of a scanner's timeframe."""
        view, now = self._view_ahead, self._now()
        if view is None:
            raise DefinitionError("These bars have all closed: scan them without `every`.")
        bars = {name: panel.timeframe.index(now) for name, panel in self._panels.items()}
        return {name: view(name, bar) for name, bar in bars.items()}, bars[scanner.timeframe]

    def _timed(self, scanner: Scanner, work: Callable[[], Sequence[ScanResult]]) -> list[Scan]:
        """Scan, and say what it took."""
        calls, started = self._calls(), self._monotonic()
        return self._noted(work(), scanner.screens, started, calls)

    def _noted(
        self, results: Sequence[ScanResult], screens: Sequence[Screen], started: float, calls: int
    ) -> list[Scan]:
        """Say of the results of *screens* what they took since *started*, and what is known of their hits."""
        seconds, calls = self._monotonic() - started, self._calls() - calls
        self.count += 1
        self.seconds += seconds
        frame, now = self._panels[results[0].timeframe].timeframe, self._now()
        found = [likenesses(self.calibrations, *pair) for pair in zip(screens, results, strict=True)]
        return [
            Scan(
                result,
                seconds,
                calls,
                self._stale(hit.symbol for hit in result.results),
                after=max(0, now - frame.close_time(result.bar) - 1) / 1000,
                evidence=known.hits,
                no_evidence=known.lacking,
            )
            for result, known in zip(results, found, strict=True)
        ]

    def likeness(self, screen: Screen, score: float | None) -> Likeness | None:
        """Give what came after scores like this of a screen, None where nothing is known of it."""
        return likeness(self.calibrations, screen, score)

    def _screen(self, timeframe: str | None) -> Screen:
        """Give the screen of the default score."""
        default = self._default
        return default_screen(
            self._panels,
            timeframe,
            weights=default.weights,
            benchmark=self._benchmark is not None,
            unavailable=default.unavailable,
            min_score=default.min_score,
        )

    def _fitting(self, scanner: Scanner) -> Scanner:
        """Refuse screens that look further back than bars are kept: they would be warming for ever."""
        if scanner.screens != self.default.screens:
            self._check(scanner.rows, ", ".join(one.name for one in scanner.screens))
        return scanner

    def _check(self, rows: Mapping[str, int], names: str) -> None:
        """Refuse to read more *rows*, by the names of their timeframes, than are kept."""
        for name, wanted in rows.items():
            if wanted > (kept := self._panels[name].bars):
                raise DefinitionError(
                    f"{names} reads {wanted:,} bars of {name}, and {kept:,} are kept: raise `market.bars`, "
                    "or take shorter windows."
                )

    @contextmanager
    def _following(self, schedule: Schedule) -> Iterator[asyncio.Event]:
        """Have a schedule told what the feed decides while the block runs; what is given rings at each."""
        wake = asyncio.Event()
        self._followers[schedule] = wake
        try:
            yield wake
        finally:
            del self._followers[schedule]


def _told(scan: Scan, due: Due, skipped: int, failed: Mapping[str, str]) -> Scan:
    """Add what made the scan due."""
    facts = {"late": due.missing, "revision": due.revision, "skipped": skipped, "failed": {**failed}}
    return msgspec.structs.replace(scan, **facts)
