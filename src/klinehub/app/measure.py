"""`bench`: measure klinehub on this machine."""

from typing import Any

import msgspec
from rich.table import Table

from klinehub.app import show
from klinehub.bench.catalogue import COUNTED, MEANINGS, Entry, chosen, take
from klinehub.errors import DefinitionError


def bench(names: tuple[str, ...], *, n: int | None = None, show_list: bool, as_json: bool) -> None:
    """Run the benchmarks *names*, all for none; progress on stderr, one document or one table on stdout.

    Raises UnknownName, or DefinitionError for an *n* that means nothing, before anything is measured.
    """
    wanted = chosen(names)
    if n is not None and not set(COUNTED) & set(names):
        raise DefinitionError(f"--n says how often {', '.join(COUNTED)} try something: name one of them.")
    if show_list:
        listing = {name: MEANINGS[name] for name in wanted}
        if as_json:
            show.document(listing)
        else:
            show.out.print(_listed(listing))
        return
    taken: dict[str, Entry] = {}
    for at, name in enumerate(wanted, 1):
        show.err.print(f"{at}/{len(wanted)} {name}: {MEANINGS[name]}", soft_wrap=True)
        taken[name] = take(name, n=n)
    if as_json:
        show.document({name: _flat(one) for name, one in taken.items()})
    else:
        show.out.print(_table(taken))


def _flat(one: Entry) -> dict[str, Any]:
    """Give a measurement with its details beside its figure."""
    plain: dict[str, Any] = msgspec.structs.asdict(one)
    return {**plain.pop("detail"), **plain}


def _listed(meanings: dict[str, str]) -> Table:
    table = Table(show_header=False)
    for name, meaning in meanings.items():
        table.add_row(name, meaning)
    return table


def _table(taken: dict[str, Entry]) -> Table:
    """Lay the figures out; goals are shown where there are some, the rest of the detail is for --json."""
    commit, seed = next((one.commit, one.seed) for one in taken.values())
    table = Table(caption=f"commit {commit}, seed {seed}; all details: --json", caption_justify="left")
    for name in ("benchmark", "figure", "goal", "load", "what it is"):
        table.add_column(name, justify="right" if name in {"figure", "load"} else "left")
    for name, one in taken.items():
        goal = one.detail.get("goal", one.detail.get("goals"))
        table.add_row(name, f"{one.value:.4g} {one.unit}", _goal(goal), f"{one.load:.2f}", MEANINGS[name])
    return table


def _goal(goal: Any) -> str:  # noqa: ANN401 - a number, several by name, or none
    if isinstance(goal, dict):
        return ", ".join(f"{name} {value:g}" for name, value in goal.items())
    return "" if goal is None else f"{goal:g}"
