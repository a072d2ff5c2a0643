"""Showing: tables for a terminal, one JSON document for a pipe, progress on stderr."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from klinehub.domain.moment import in_zone, written
from klinehub.errors import DefinitionError
from klinehub.feed.asking import Progress
from klinehub.feed.warmup import Plan, Summary
from klinehub.scan.likeness import FEWEST_DAYS, FEWEST_HITS, Likeness, day, ends, middle, percent
from klinehub.scan.running import Scan
from klinehub.scan.scanner import DEFAULT, Hit, ScanResult
from klinehub.store.keeping import Keeping

# What an exchange calls its symbols is text, and no markup.
err = Console(stderr=True, highlight=False, markup=False)
out = Console(highlight=False, markup=False)
# Contributions shown, by the width of the terminal.
WIDTHS = ((98, 3), (82, 2), (0, 1))
# From this width on it is told of how many hits what came after is.
ROOMY = 130


def document(value: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def zone(name: str) -> ZoneInfo:
    """Look a time zone up; raises DefinitionError with an example."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        raise DefinitionError(f"Unknown time zone {name!r}. Use an IANA name such as Europe/Berlin.") from exc


def moment(time: int, tz: ZoneInfo, *, named: bool = True) -> str:
    """Write a time (ms UTC) in a zone, to the second."""
    return written(time, tz, named=named)


def span(start: int, end: int) -> str:
    """Write from when to when (ms UTC), to the minute, in the zone in which this process shows times."""
    first, last = (written(time, output.tz) for time in (start, end))
    to_minute = len("2025-01-01 00:00")
    return f"{first[:to_minute]} to {last[:to_minute]} {last.split()[-1]}"


class Output:
    """In which zone this process shows times: UTC until its settings are read."""

    tz: ZoneInfo = ZoneInfo("UTC")


output = Output()


def zoned(text: str) -> str:
    """Give a message with its moments in the zone that the settings name."""
    return in_zone(text, output.tz)


def say_compiling() -> None:
    """Say on stderr why the first start takes longer than all later ones."""
    err.print("compiling the kernels: once, about 20 s")


def say_plan(plan: Plan) -> None:
    """Say on stderr what a warm-up will cost before it starts."""
    if not plan.requests:
        return
    limit = (
        f"about {plan.seconds:.0f} s at the weight limit" if plan.seconds else "no wait for the weight limit"
    )
    err.print(f"warm-up: {plan.requests} requests, weight {plan.weight}, {limit}")


def say_summary(summary: Summary) -> None:
    """Say on stderr how a warm-up went; failures by name, a few at most."""
    err.print(
        f"warm-up: {summary.succeeded} of {summary.requests} requests, weight {summary.weight}, "
        f"{summary.seconds:.1f} s, {summary.ms_per_symbol:.1f} ms per symbol"
    )
    listed([f"failed: {name}: {why}" for name, why in summary.failures.items()], most=5)


def say_store(keeping: Keeping) -> None:
    """Say on stderr what was on disk, and what of it could not be read."""
    bars = keeping.restored.bars
    err.print(f"store: {bars:,} bars from {keeping.store.where}" if bars else f"store: {keeping.store.where}")
    salvaged = keeping.store.tables.salvaged
    listed([salvaged] if salvaged else [], most=1)
    listed([f"damaged, fetched again: {line}" for line in keeping.store.set_aside], most=5)


def listed(lines: list[str], *, most: int) -> None:
    """Print what went wrong on stderr, a line each, and how many more there are."""
    for line in lines[:most]:
        err.print(f"  {zoned(line)}", style="yellow")
    if len(lines) > most:
        err.print(f"  and {len(lines) - most} more", style="yellow")


class Steps:
    """A progress bar on stderr that appears with the first step and leaves when it is closed."""

    def __init__(self, title: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=err, transient=True)
        self._task = self._bar.add_task(title, total=None)
        self._title = title

    def __call__(self, at: Progress) -> None:
        """Move on."""
        if not err.is_terminal:
            return
        if not self._bar.live.is_started:
            self._bar.start()
        failed = f", {at.failed} failed" if at.failed else ""
        self._bar.update(
            self._task, completed=at.done, total=at.total, description=f"{self._title} {at.timeframe}{failed}"
        )

    def close(self) -> None:
        """Take the bar away."""
        if self._bar.live.is_started:
            self._bar.stop()


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say on a terminal's stderr what is being done while the block runs."""
    if not err.is_terminal:
        yield
        return
    with err.status(what):
        yield


@contextmanager
def steps(title: str) -> Iterator[Steps]:
    """Show progress on stderr while the block runs."""
    shown = Steps(title)
    try:
        yield shown
    finally:
        shown.close()


@contextmanager
def counting(title: str, total: int, timeframe: str) -> Iterator[Callable[[int], None]]:
    """Show on stderr how many of *total* bars are done; what is given is told of each few that are."""
    done = 0
    with steps(title) as bar:

        def progress(bars: int) -> None:
            nonlocal done
            done += bars
            bar(Progress(done, total, 0, timeframe))

        yield progress


def ranking(
    scan: Scan,
    tz: ZoneInfo,
    *,
    top: int,
    exchange: str,
    prices: Mapping[str, float] | None = None,
    foot: str = "",
) -> Table:
    """Lay a scan out as a table, strongest score first; *prices* are newer ones than the scanned bar's."""
    result = scan.result
    shown = next(count for width, count in WIDTHS if out.width >= width)
    named = "" if result.screen == DEFAULT else f"{result.screen}, "
    table = Table(
        box=SIMPLE_HEAD,
        title=f"{exchange}  {named}{_bar(result, tz)}",
        caption="\n".join(part for part in (_caption(scan), foot) if part),
        title_justify="left",
        caption_justify="left",
        expand=False,
    )
    scored, columns, likely = bool(result.weights), _columns(result), bool(scan.evidence)
    table.add_column("#", justify="right", style="dim")
    table.add_column("symbol", no_wrap=True)
    for name in ("score", "side") if scored else ():
        table.add_column(name, justify="right" if name == "score" else "left", no_wrap=True)
    table.add_column("price", justify="right", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    if likely:
        table.add_column(_after(scan), no_wrap=True)
    if scored and not columns:
        table.add_column("what made it")
    for place, hit in enumerate(result.results[:top], 1):
        table.add_row(
            str(place),
            Text(f"{hit.symbol}{'*' if hit.symbol in scan.stale else ''}"),
            *(_scored(hit) if scored else ()),
            f"{(prices or {}).get(hit.symbol, hit.price):.10g}",
            *(_number(hit.columns.get(name)) for name in columns),
            *([_like(scan.evidence.get(hit.symbol))] if likely else []),
            *([_made_of(hit, shown)] if scored and not columns else []),
        )
    return table


def _after(scan: Scan) -> str:
    """Name the horizon that is told of hits."""
    return f"after {middle(next(iter(scan.evidence.values())).outcomes).bars} bars"


def _like(found: Likeness | None) -> Text:
    """Write what came after scores like this: its median, the interval and, in a wide terminal, the rest."""
    one = None if found is None else middle(found.outcomes)
    if found is None or one is None or one.median is None:
        return Text("not known", style="dim")
    rate = "" if one.hit_rate is None else f" {one.hit_rate:.0%}"
    more = f"{rate} of {one.n:,}" if out.width >= ROOMY else ""
    thin = " thin" if found.thin else ""
    return Text(f"{percent(one.median)}{ends(one)}{more}{thin}", style="dim" if thin else "")


def _columns(result: ScanResult) -> tuple[str, ...]:
    """Give the names of a screen's own columns."""
    return tuple(result.results[0].columns) if result.results else ()


def _scored(hit: Hit) -> tuple[Text, Text]:
    """Give the cells of the score and its side."""
    score = hit.score or 0.0
    colour = "green" if score > 0 else "red"
    return Text(f"{score:+.1f}", style=colour), Text(hit.side, style=colour if hit.side != "flat" else "dim")


def _made_of(hit: Hit, shown: int) -> str:
    """Name the parts that made most of a score."""
    parts = sorted(hit.contributions.items(), key=lambda part: -abs(part[1]))[:shown]
    return "  ".join(f"{name} {points:+.1f}" for name, points in parts)


def _number(value: float | None) -> str:
    """Print a column's value."""
    return "" if value is None else f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"


def _bar(result: ScanResult, tz: ZoneInfo) -> str:
    """Name the bar of a scan."""
    still = ", still open" if result.forming else ""
    return f"{result.timeframe} bar of {moment(result.bar_open_time, tz)}{still}"


def _caption(scan: Scan) -> str:
    result = scan.result
    done = "scored" if result.weights else "judged"
    parts = [
        f"{result.symbols} symbols {done} in {scan.seconds * 1000:.1f} ms",
        f"{scan.api_calls} API calls",
    ]
    if result.warming:
        parts.append(f"{len(result.warming)} warming")
    if result.missing:
        parts.append(f"{len(result.missing)} without this bar")
    if scan.stale:
        parts.append(f"{len(scan.stale)} stale (*)")
    if result.unavailable:
        parts.append(f"not available: {', '.join(result.unavailable)}")
    return "\n".join((", ".join(parts), *_known(scan)))


def _known(scan: Scan) -> list[str]:
    """Say what is known of what comes after such hits."""
    if scan.no_evidence:
        return [f"no evidence: {scan.no_evidence}"]
    if not scan.evidence:
        return []
    one = next(iter(scan.evidence.values()))
    days = " to ".join(map(day, (one.start, one.end - 1)))
    is_thin = any(found.thin for found in scan.evidence.values())
    thin = f"; thin: fewer than {FEWEST_HITS} hits or {FEWEST_DAYS} days" if is_thin else ""
    return [f"after: median return after hits like this of {one.screen}, {days}, 95 % interval{thin}"]
