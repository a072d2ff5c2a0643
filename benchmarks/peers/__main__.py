"""klinehub and its peers on the same work, in one run: `python -m benchmarks.peers`."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.peers.kinds import KINDS
from benchmarks.peers.table import machine, placed, table, version
from benchmarks.peers.work import Found, Kind

LONGEST: Final = 240.0
PAGE: Final = Path("docs/performance.md")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"all, or some of {', '.join(KINDS)}")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--page", type=Path, help=f"write the tables into it, for example {PAGE}")
    given = parser.parse_args()
    if unknown := sorted(set(given.kinds) - set(KINDS)):
        parser.error(f"{', '.join(unknown)}: none of {', '.join(KINDS)}")
    if given.rounds < 1:
        parser.error(f"--rounds {given.rounds}: ask for 1 or more")
    if given.page is not None:
        placed(given.page.read_text("utf-8"), "")
    return given


def turn(kind: str, name: str, folder: Path) -> Found | str:
    """Let one contestant work once; gives its figures, or why there are none."""
    command = [sys.executable, "-m", "benchmarks.peers.turn", kind, name, str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            command, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {LONGEST:.0f} s"
    if done.returncode:
        words = [line for line in done.stderr.strip().splitlines() if line.strip()]
        return words[-1].strip() if words else f"ended with code {done.returncode}"
    found: Found = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def by_turns(kind: str, folder: Path, rounds: int) -> tuple[dict[str, list[Found]], dict[str, str]]:
    """Let all of a kind work in turns; one that fails once takes no further part; gives the reasons too."""
    found: dict[str, list[Found]] = {name: [] for name in KINDS[kind].contestants}
    failed: dict[str, str] = {}
    for at in range(rounds):
        for name in list(found):
            told = turn(kind, name, folder)
            sys.stderr.write(f"{kind} {at + 1}/{rounds} {name}: {told}\n")
            if isinstance(told, str):
                failed[name] = told
                del found[name]
            else:
                found[name].append(told)
    return found, failed


def section(name: str, kind: Kind, seed: int, rounds: int) -> Iterator[str]:
    """Measure one kind and give its part of the page."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="klinehub-peers-") as folder:
        kind.prepare(Path(folder), seed)
        found, failed = by_turns(name, Path(folder), rounds)
    yield f"### {kind.title}"
    yield f"{kind.words}\nLoad average when it began: {load:.1f}."
    yield table(kind, found)
    for one, reason in failed.items():
        yield f"Left out: {one} {version(one)}, which did not work here: `{reason}`."


def main() -> None:
    """Measure what was asked for, print the tables, and write them into the page."""
    given = arguments()
    chosen = {name: kind for name, kind in KINDS.items() if name in (given.kinds or KINDS)}
    names = dict.fromkeys(one.partition(",")[0] for kind in chosen.values() for one in kind.contestants)
    command = " ".join(["python -m benchmarks.peers", *sys.argv[1:]])
    told = ", ".join(f"{one} {version(one)}" for one in names)
    head = (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {machine()}, `{command}`, {given.rounds} rounds "
        "in turns, each turn in a process of its own.\n"
        f"{told}.\n"
        "Medians, the least and the largest in parentheses, then the ratio to klinehub's median. "
        "Others used the machine meanwhile: what counts are the ratios."
    )
    parts = [head]
    for name, kind in chosen.items():
        parts += section(name, kind, given.seed, given.rounds)
    text = "\n\n".join(parts)
    sys.stdout.write(f"{text}\n")
    if given.page is not None:
        given.page.write_text(placed(given.page.read_text("utf-8"), text), "utf-8")


if __name__ == "__main__":
    main()
