"""`evidence`: what screens and factors were worth on history, with costs, intervals and a verdict."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from klinehub.app import options, show
from klinehub.app.config import Config
from klinehub.app.own import own_screen
from klinehub.app.replaying import pool_of, replaying
from klinehub.app.tapes import Past, members_for, past_of, settings_of, tape_for
from klinehub.errors import DefinitionError
from klinehub.evidence import wording
from klinehub.evidence.members import Members
from klinehub.evidence.pools import Pool
from klinehub.evidence.portfolio import Costs
from klinehub.evidence.result import Evidence, Horizon
from klinehub.evidence.sharpe import DAYS_A_YEAR
from klinehub.evidence.study import Asked, Study, study
from klinehub.evidence.tape import Tape
from klinehub.evidence.trials import Trial, is_new
from klinehub.factors.language import parse
from klinehub.scan.lines import append_lines, read_lines
from klinehub.scan.presets import PRESETS, names, preset
from klinehub.scan.scanner import DEFAULT, default_screen
from klinehub.scan.score import reading
from klinehub.scan.screen import Screen
from klinehub.store.disk import put

LOG: Final = "trials.jsonl"
_BASIS: Final = 10_000.0
_HEADS: Final = ("horizon", "rank IC", "95 % interval", "IC", "spread", "hit rate", "turnover", "n")
# What is not known leaves its cell empty.
number: Final = partial(wording.decimal, unknown="")
percent: Final = partial(wording.percent, unknown="")
spanned: Final = partial(wording.ends, unknown="")


def evidence(given: Mapping[str, Any]) -> None:
    """Print what each screen was worth: one document, or a table and the verdict."""
    config = settings_of(given)
    page = page_path(given)
    past = past_of(given, config)
    screens = [screen_of(name, past, given, config) for name in given["screens"] or (DEFAULT,)]
    with pool_of(given) as pool:
        tape, start, end = tape_for(past, screens, given)
        log = log_of(given)
        members = members_for(given, config, tape, (start, end))
        asked = asked_of(given, pool)
        found = [studied(screen, tape, (start, end), given, asked, log, members) for screen in screens]
    if page is not None:
        write_report(found, page)
    if given["as_json"]:
        told = [one.evidence for one in found]
        show.document(told[0] if len(told) == 1 else told)
        return
    for one in found:
        tell(one.evidence)
    if len(found) > 1:
        show.out.print(compared([one.evidence for one in found]))


def screen_of(name: str, past: Past, given: Mapping[str, Any], config: Config) -> Screen:
    """Give the screen that a name, a file or an expression of factors means; raises DefinitionError."""
    base = default_screen(
        past.frames,
        given.get("timeframe") or _usual(past, config),
        weights=config.hub.weights,
        unavailable=sorted({*config.hub.unavailable, *reading(past.unavailable)}),
    )
    if name == DEFAULT:
        return base
    if ".py" in name:
        found = own_screen(name)
    elif name in PRESETS:
        found = preset(name, base.timeframe)
    elif name in config.screens:
        found = config.screens[name].screen(name, base, config.top)
    elif name in config.watch:
        found = config.watch[name].screen(name, base)
    else:
        value = -parse(name, names(base.score))
        found = Screen(name=name, timeframe=base.timeframe, order_by=value)
    return msgspec.structs.replace(
        found, timeframe=given.get("timeframe") or found.timeframe or base.timeframe
    )


def _usual(past: Past, config: Config) -> str | None:
    """Give the timeframe that the settings scan, where the data has it."""
    wanted = config.hub.scan_timeframe
    return wanted if wanted in past.frames else None


def studied(
    screen: Screen,
    tape: Tape,
    span: tuple[int, int],
    given: Mapping[str, Any],
    asked: Asked,
    log: Sequence[Trial],
    members: Members,
) -> Study:
    """Judge one screen with a bar of progress on stderr, and write it into the log of trials."""
    began = time.perf_counter()
    with replaying(screen, tape, span) as progress:
        found = study(
            screen,
            tape,
            *span,
            asked,
            members=members,
            code=code(),
            log=log,
            progress=progress,
        )
    if is_new(found.trial, log):
        keep(found.trial, given)
    seconds = round(time.perf_counter() - began, 3)
    return found._replace(evidence=msgspec.structs.replace(found.evidence, seconds=seconds))


def asked_of(given: Mapping[str, Any], pool: Pool) -> Asked:
    """Read what is asked from the options."""
    costs = Costs(given["fee"] / _BASIS, given["slippage"] / _BASIS)
    return Asked(horizons_of(given), given["headline"], given["quantiles"], costs, pool)


def horizons_of(given: Mapping[str, Any]) -> tuple[int, ...]:
    """Read horizons in bars; raises DefinitionError for what is no list of them."""
    try:
        return tuple(int(part) for part in str(given["horizons"]).split(","))
    except ValueError:
        raise DefinitionError(
            f"Horizons of {given['horizons']!r} are none: write bars like --horizons 1,4,24."
        ) from None


def log_path(given: Mapping[str, Any]) -> Path:
    """Give the file of the log of trials."""
    named = given.get("log")
    return Path(named) if named else options.data_home() / LOG


def log_of(given: Mapping[str, Any]) -> list[Trial]:
    """Read the log of trials; empty without one."""
    return [] if given.get("no_log") else read_lines(log_path(given), Trial)


def keep(trial: Trial, given: Mapping[str, Any]) -> None:
    """Write a trial into the log, if there is one."""
    if given["no_log"]:
        return
    path = log_path(given)
    path.parent.mkdir(parents=True, exist_ok=True)
    append_lines(path, [msgspec.structs.replace(trial, made=time.time_ns() // 1_000_000)])


def page_path(given: Mapping[str, Any]) -> Path | None:
    """Give where a report is to be written, None without one; raises before hours are spent on it in vain."""
    if given.get("html") is None:
        return None
    path = Path(given["html"])
    if not path.parent.is_dir():
        raise DefinitionError(f"There is no folder {path.parent} for the report: make it, or name another.")
    if find_spec("matplotlib") is None:
        raise DefinitionError(
            "A report needs matplotlib: pip install 'klinehub[report]', or leave --html out."
        )
    return path


def write_report(found: Sequence[Study], path: Path) -> None:
    """Draw studies on one page and write it."""
    from klinehub.evidence.report import report

    with show.doing("drawing"):
        put(path, report(found))
    show.err.print(f"report: {path}", soft_wrap=True)


def code() -> str:
    """Name the version of klinehub that made a result."""
    return metadata.version("klinehub")


def tell(found: Evidence) -> None:
    """Print one result as a table, the portfolio in a line, and the verdict."""
    size = f"{found.bars:,} bars of {found.symbols} symbols"
    show.out.print(f"{found.screen}  {found.timeframe}, {size}, {show.span(*found.range)}")
    table = Table(box=SIMPLE_HEAD)
    for name in _HEADS:
        table.add_column(name, justify="right")
    for one in found.horizons.values():
        table.add_row(*_row(one, headline=one.bars == found.headline))
    show.out.print(table)
    show.out.print(_booked(found))
    show.out.print(f"\n{found.verdict}\n", style="bold")
    for note in found.notes:
        show.out.print(f"- {note}", style="dim")


def _row(one: Horizon, *, headline: bool) -> tuple[str, ...]:
    return (
        f"{one.bars}{'*' if headline else ''}",
        number(one.rank_ic),
        spanned(one.rank_ic_interval),
        number(one.ic),
        percent(one.spread, 3),
        percent(one.hit_rate, 1, sign=False),
        percent(one.turnover, 0, sign=False),
        f"{one.n:,}",
    )


def _booked(found: Evidence) -> str:
    """Write the portfolio in a line."""
    book = found.portfolio
    ratio = "not known" if book.sharpe is None else f"{book.sharpe:+.2f}"
    sure = "not known" if found.deflated_sharpe is None else f"{found.deflated_sharpe:.0%}"
    costs = percent(-(book.costs or 0.0), 1)
    whole = percent((book.net or 0.0) * book.days / DAYS_A_YEAR, 1)
    return (
        f"long-short, held {book.hold} bars: gross {percent(book.gross, 1)}, costs {costs}, "
        f"net {percent(book.net, 1)} a year ({whole} in {book.days} days), Sharpe {ratio}, drawdown "
        f"{percent(book.drawdown, 1)}; better than the best of {found.trials} "
        f"trial{'s' * (found.trials > 1)}: {sure}"
    )


def compared(found: Sequence[Evidence]) -> Table:
    """Lay several results out side by side, at the headline of each."""
    table = Table(box=SIMPLE_HEAD, title="side by side", title_justify="left")
    for name in ("screen", "rank IC", "95 % interval", "spread", "net a year", "Sharpe", "deflated"):
        table.add_column(name, justify="left" if name == "screen" else "right")
    for one in found:
        at, book = one.horizons[str(one.headline)], one.portfolio
        table.add_row(
            one.screen,
            number(at.rank_ic),
            spanned(at.rank_ic_interval),
            percent(at.spread, 3),
            percent(book.net, 1),
            number(book.sharpe, 2),
            percent(one.deflated_sharpe, 0, sign=False),
        )
    return table
