"""`sim soak`: the hub against the simulated exchange through seeded faults, many seeds or one in detail."""

import sys
import time
from collections.abc import Sequence
from typing import Self

import click
from rich.table import Table

from klinehub.app import show
from klinehub.app.exits import FAILED
from klinehub.errors import DefinitionError
from klinehub.serve.stream_parts import streams_alone
from klinehub.sim.campaign import Report, campaign, replay_command
from klinehub.sim.faults import Fault
from klinehub.sim.shrink import shrink
from klinehub.sim.soak import Outcome, planned, soak


def seeds_of(text: str) -> list[int]:
    """Read `A..B` (both included) or one number; raises DefinitionError with an example."""
    first, dots, last = text.partition("..")
    try:
        low, high = int(first), int(last if dots else first)
    except ValueError:
        low, high = 1, 0
    if not 0 <= low <= high:
        raise DefinitionError(f"{text!r} is no range of seeds. Write it like 1..1000.")
    return list(range(low, high + 1))


def run(*, seeds: str, seed: int | None, jobs: int, trace: bool, twice: bool, as_json: bool) -> int:
    """Run one seed or many and print what came of it; gives the exit code."""
    if seed is not None and trace:
        return _traced(seed)
    chosen = [seed] if seed is not None else seeds_of(seeds)
    with _Counted(len(chosen)) as counted:
        report = campaign(
            chosen, jobs=jobs, monotonic=time.monotonic, progress=counted, twice=twice, lend=streams_alone
        )
    if as_json:
        show.document(report)
    else:
        show.out.print(_table(report))
    for one in report.failed:
        show.err.print(f"seed {one.seed}: {one.first}\n  {one.replay}", soft_wrap=True)
    unequal = report.hashes is not None and report.hashes < report.seeds
    return FAILED if report.divergences or unequal else 0


class _Counted:
    """Shows on stderr how far a campaign is."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._bad = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if show.err.is_terminal and self._done:
            show.err.print()

    def __call__(self, outcome: Outcome) -> None:
        self._done += 1
        self._bad += bool(outcome.divergences)
        line = f"{self._done}/{self._total} seeds, {self._bad} failed"
        if show.err.is_terminal:
            show.err.print(line, end="\r")
        elif self._done % 50 == 0 or self._done == self._total:
            show.err.print(line)


def _traced(seed: int) -> int:
    """Run one seed and print everything that happens; shrink its schedule when it fails."""
    outcome = soak(seed, tell=click.echo, lend=streams_alone)
    click.echo(f"trace {outcome.hash}")
    if not outcome.divergences:
        click.echo(f"seed {seed}: no divergence")
        return 0
    click.echo(f"seed {seed}: {len(outcome.divergences)} divergences, the first: {outcome.divergences[0]}")
    kind = outcome.divergences[0].kind

    def fails(faults: Sequence[Fault]) -> bool:
        sys.stderr.write(".")
        sys.stderr.flush()
        return any(one.kind == kind for one in soak(seed, faults, patience=1, lend=streams_alone).divergences)

    smallest = shrink(planned(seed), fails)
    sys.stderr.write("\n")
    click.echo(f"the smallest schedule that still fails, {len(smallest)} of {len(planned(seed))} faults:")
    for fault in smallest:
        click.echo(f"  {fault}")
    click.echo(f"again: {replay_command(seed)}")
    return FAILED


def _table(report: Report) -> Table:
    """Lay a report out."""
    table = Table(show_header=False)
    rows = (
        ("seeds", f"{report.seeds}, {report.simulated_hours:g} simulated hours"),
        ("faults", f"{sum(report.faults.values())} of {sum(n > 0 for n in report.faults.values())} kinds"),
        ("divergences", str(report.divergences)),
        ("wrong closed bars served", str(report.wrong_closed_served)),
        ("stale", f"{report.stale_seconds_share:.3%} of the symbol-seconds"),
        ("fresh without faults", _share(report.availability_fault_free)),
        ("fresh between faults", _share(report.availability_faulty)),
        ("silence untold, longest", f"{report.told.stream:g} s, of everything {report.told.feed:g} s"),
        ("took", f"{report.seconds:g} s"),
    )
    for name, value in rows:
        table.add_row(name, value)
    if report.hashes is not None:
        table.add_row("equal second runs", f"{report.hashes} of {report.seeds}")
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3%}"
