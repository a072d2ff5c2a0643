"""Markup: the pieces of a page, every text of them escaped."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple


class Table(NamedTuple):
    """A table: what it is of, its heads, and rows whose first cell names them."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


class Drawn(NamedTuple):
    """A picture (markup) with its title, what it says in words, and its figures."""

    title: str
    says: str
    picture: str
    figures: Table


def element(name: str, text: str, **attributes: str) -> str:
    """Give an element that holds a text."""
    return f"<{name}{_attributes(attributes)}>{escape(text)}</{name}>"


def around(name: str, inner: Iterable[str], **attributes: str) -> str:
    """Give an element that holds markup."""
    return f"<{name}{_attributes(attributes)}>{''.join(inner)}</{name}>"


def table(found: Table) -> str:
    """Give a table under its caption, to be scrolled sideways where it is too wide."""
    heads = around("tr", [element("th", head, scope="col") for head in found.heads])
    rows = [
        around("tr", [element("th", first, scope="row"), *(element("td", cell) for cell in rest)])
        for first, *rest in found.rows
    ]
    inner = around("table", [around("thead", [heads]), around("tbody", rows)], aria_label=found.caption)
    wide = around("div", [inner], class_="wide", role="group", tabindex="0", aria_label=found.caption)
    # A caption of the table itself would be scrolled away.
    return element("p", found.caption, class_="caption", aria_hidden="true") + wide


def figure(drawn: Drawn) -> str:
    """Give a picture with its words, and its figures behind a fold."""
    folded = around("details", [element("summary", "Figures"), table(drawn.figures)])
    words = around("figcaption", [element("h3", drawn.title), element("p", drawn.says)])
    return around("figure", [words, drawn.picture, folded])


def pairs(found: Iterable[tuple[str, str]]) -> str:
    """Give a list of names and what they are."""
    return around("dl", [around("div", [element("dt", name), element("dd", text)]) for name, text in found])


def listed(texts: Iterable[str]) -> str:
    """Give a list of sentences."""
    return around("ul", [element("li", text) for text in texts])


def _attributes(given: dict[str, str]) -> str:
    return "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"' for name, value in given.items()
    )
