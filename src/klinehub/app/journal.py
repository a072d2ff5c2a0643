"""`journal`: what the price did after the hits that were written down."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from klinehub.app import show
from klinehub.errors import DefinitionError
from klinehub.scan.journal import Entry, latest
from klinehub.scan.lines import read_lines

_NAMES: Final = ("screen", "timeframe", "side", "bars", "hits", "due")
_FIGURES: Final = ("mean", "median", "up")


def journal(given: Mapping[str, Any]) -> None:
    """Print what the price did after the hits of a journal: by screen, side and horizon."""
    path: Path = given["path"]
    if not path.exists():
        raise DefinitionError(f"There is no journal {path}: `klinehub watch --journal {path}` writes one.")
    rows = list(outcomes(latest(read_lines(path, Entry))))
    if given["as_json"]:
        show.document(rows)
        return
    caption = "returns in the hit's direction; no costs, and no claim to a future"
    table = Table(box=SIMPLE_HEAD, caption=caption)
    for name in (*_NAMES, *_FIGURES):
        table.add_column(name, justify="left" if name in {"screen", "timeframe", "side"} else "right")
    for row in rows:
        figures = ("" if row[name] is None else f"{row[name]:.2%}" for name in _FIGURES)
        table.add_row(*(str(row[name]) for name in _NAMES), *figures)
    show.out.print(table)


def outcomes(entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    """Give, by screen, side and horizon, how many hits there were and what came after those that are due.

    Returns are in the direction of the side, those of a short hit with their sign turned.
    """
    groups: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.screen, entry.timeframe, entry.side].append(entry)
    for (screen, timeframe, side), some in sorted(groups.items()):
        sign = -1.0 if side == "short" else 1.0
        for bars in sorted({bars for entry in some for bars in entry.returns}) or [0]:
            found = [entry.returns[bars] for entry in some if bars in entry.returns]
            known = [sign * value for value in found if value is not None]
            yield {
                "screen": screen,
                "timeframe": timeframe,
                "side": side,
                "bars": bars,
                "hits": len(some),
                "due": len(known),
                "mean": fmean(known) if known else None,
                "median": median(known) if known else None,
                "up": fmean(value > 0 for value in known) if known else None,
            }
