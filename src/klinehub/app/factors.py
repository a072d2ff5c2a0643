"""`factors`: the catalogue of factors on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from klinehub.app import show
from klinehub.errors import UnknownName
from klinehub.factors.catalogue import described
from klinehub.factors.define import Factor
from klinehub.factors.stock import STOCK, stock_factor


def factors(given: Mapping[str, Any]) -> None:
    """Print the factors, those of one family, or one of them; raises UnknownName with the nearest."""
    if given["name"]:
        _one(stock_factor(given["name"]), as_json=given["as_json"])
        return
    families = dict.fromkeys(one.family for one in STOCK)
    if given["family"] and given["family"] not in families:
        raise UnknownName("family", given["family"], families)
    chosen = [one for one in STOCK if given["family"] in {None, one.family}]
    if given["as_json"]:
        show.document([described(one) for one in chosen])
        return
    table = Table(box=SIMPLE_HEAD, caption=f"{len(chosen)} factors; klinehub factors NAME says more of one")
    for column in ("factor", "family", "what it is", "range", "bars"):
        table.add_column(column, no_wrap=column in {"factor", "family"}, justify=_side(column))
    for one in chosen:
        bars = described(one)["bars"]
        table.add_row(one.name, one.family, one.title, one.span, "" if bars is None else str(bars))
    show.out.print(table)


def _one(one: Factor, *, as_json: bool) -> None:
    found = described(one)
    if as_json:
        show.document(found)
        return
    table = Table(show_header=False, box=None)
    for name, value in found.items():
        shown = ", ".join(f"{key}={number}" for key, number in value.items()) if name == "options" else value
        table.add_row(name, "" if shown is None else str(shown))
    show.out.print(table)


def _side(column: str) -> Any:  # noqa: ANN401 - rich's own literal
    return "right" if column == "bars" else "left"
