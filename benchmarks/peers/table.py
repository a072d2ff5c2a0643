"""The tables as Markdown: medians with their spread, the machine, and their place on a page."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.peers.work import Found, Kind

from klinehub.bench.catalogue import rounded
from klinehub.errors import KlinehubError

BEGIN: Final = "<!-- peers: begin -->"
END: Final = "<!-- peers: end -->"
OURS: Final = "klinehub"


class NoPlace(KlinehubError):
    """A page has no place for the tables."""


def number(value: float) -> str:
    """Print three significant figures, or all before the point."""
    return f"{rounded(value, 3 if abs(value) < 1000 else 6):,.15g}"


def spread(values: Sequence[float]) -> str:
    """Print the median, and the least and the largest beside it."""
    middle = number(median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))}..{number(max(values))})"


def table(kind: Kind, found: Mapping[str, Sequence[Found]]) -> str:
    """Print who took part, with the ratio to klinehub's median in each column."""
    lines = [
        "| | " + " | ".join(kind.columns.values()) + " |",
        "|---" * (len(kind.columns) + 1) + "|",
    ]
    for name, rounds in found.items():
        cells = []
        for key in kind.columns:
            values = [one[key] for one in rounds if key in one]
            ours = [one[key] for one in found.get(OURS, ()) if key in one]
            ratio = f", {number(median(values) / median(ours))}x" if values and ours and name != OURS else ""
            cells.append(f"{spread(values)}{ratio}" if values else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def version(name: str) -> str:
    """Give the installed version of a contestant, whose name may say more after a comma."""
    try:
        return metadata.version(name.partition(",")[0])
    except metadata.PackageNotFoundError:
        return "not installed"


def machine() -> str:
    """Say what this machine is."""
    try:
        cpu = Path("/proc/cpuinfo").read_text("utf-8")
        models = [
            line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")
        ]
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):
        return f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"
    model = models[0] if models else platform.machine()
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, "
        f"{platform.system()}, Python {platform.python_version()}"
    )


def placed(page: str, text: str) -> str:
    """Put a text between the two marks of a page, in place of what is there; raises NoPlace."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoPlace(f"The page needs a line {BEGIN} and after it a line {END}: the tables go in between.")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"
