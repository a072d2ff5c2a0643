"""Cells: how what a board knows is written in a terminal, and which columns fit into a width."""

import base64
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from statistics import fmean
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size

from klinehub.app.terminal.board import Board
from klinehub.scan.score import side

BLOCKS: Final = "▁▂▃▄▅▆▇█"
NONE: Final = 255
TOP_LEVEL: Final = 254
# From this width on there is room for sparklines.
WIDE: Final = 118
SPARK_WIDTH: Final = 20
WHY_WIDTH: Final = 26
_SCALES: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_BADGES: Final = {"": " ", "new": "N", "delisting": "D", "delivery": "E"}
_SYMBOL: Final = (8, 16)
_PRICE: Final = (8, 14)
_FIGURE: Final = (9, 18)


class Cell(NamedTuple):
    """A text and how it is meant: "", "up", "down", "dim", "warn" or "accent"."""

    text: str
    tone: str = ""


class Column(NamedTuple):
    """A column by its key: what stands above it and how wide it is; a pinned one never leaves the window."""

    key: str
    title: str
    width: int
    right: bool = True
    pinned: bool = False
    sortable: bool = True


@lru_cache(maxsize=8_192)
def plain(text: str) -> str:
    """Give a text of the exchange without what would move the cursor or turn the writing."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(one)[0] == "C" else one for one in text
    )


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Give a text in exactly so many cells, cut with an ellipsis."""
    room = width - cell_len(text)
    if room < 0:
        return set_cell_size(text, width - 1) + "…"
    return " " * room + text if right else text + " " * room


def price(value: float | None, decimals: int | None) -> str:
    """Write a price with the decimals of its symbol."""
    if value is None:
        return ""
    return f"{value:.10g}" if decimals is None else f"{value:.{max(0, decimals)}f}"


def percent(value: float | None) -> str:
    """Write percents with their sign."""
    return "" if value is None else f"{value:+.2f}"


def amount(value: float | None) -> str:
    """Write a large number short: 12.3M."""
    if value is None:
        return ""
    for scale, letter in _SCALES:
        if abs(value) >= scale:
            return f"{value / scale:.3g}{letter}"
    return f"{value:.3g}"


def figure(value: float | None) -> str:
    """Write a factor's value with four digits."""
    if value is None:
        return ""
    if abs(value) >= 1e4:
        return amount(value)
    return f"{value:.4g}" if value == 0 or abs(value) >= 1e-4 else f"{value:.1e}"


def signed(value: float | None) -> str:
    """Name the direction of a number by its tone."""
    return "" if not value else "up" if value > 0 else "down"


def levels(text: str) -> list[int | None]:
    """Read a sparkline's bytes: 0 to 254, None where nothing is known."""
    return [None if one == NONE else one for one in base64.b64decode(text)] if text else []


def spark(found: Sequence[int | None], width: int) -> str:
    """Draw levels in at most *width* cells, each the mean of its share of the bars."""
    return "".join(
        " " if level is None else BLOCKS[min(len(BLOCKS) - 1, int(level * len(BLOCKS) / (TOP_LEVEL + 1)))]
        for level in shares(found, width)
    )


def shares(found: Sequence[int | None], width: int) -> list[float | None]:
    """Give the mean of each of at most *width* equal shares of the bars."""
    count = min(width, len(found))
    bounds = [at * len(found) // count for at in range(count + 1)] if count else []
    return [_mean(found[low:high]) for low, high in pairwise(bounds)]


def _mean(found: Sequence[int | None]) -> float | None:
    known = [one for one in found if one is not None]
    return fmean(known) if known else None


def reasons(parts: Sequence[tuple[str, float]], width: int) -> str:
    """Name the parts that made most of a score, as many as fit."""
    said = ""
    for name, points in parts:
        more = f"{'  ' if said else ''}{name} {points:+.1f}"
        if len(said) + len(more) > width:
            break
        said += more
    return said


def columns(board: Board) -> tuple[Column, ...]:
    """Give all columns of a board, in their order."""
    frame = "" if board.table is None else f"{board.table.timeframe} "
    names = (plain(one.symbol) for one in board.listed)
    closes = () if board.table is None else board.table.close
    prices = (price(value, one.price_decimals) for value, one in zip(closes, board.listed, strict=False))
    found = [
        Column("mark", "", 2, right=False, pinned=True, sortable=False),
        Column("symbol", "symbol", _wide(names, *_SYMBOL), right=False, pinned=True),
        Column("price", "price", _wide(prices, *_PRICE), pinned=True),
        Column("change", f"{frame}%", 8),
        Column("day", "24h %", 7),
        Column("turnover24h", "turnover", 9),
        Column("score", "score", 6),
        Column("spark", "last bars", SPARK_WIDTH, right=False, sortable=False),
    ]
    found += [Column(text, text, _wide([text], *_FIGURE)) for text in board.columns]
    return (*found, Column("why", "what made it", WHY_WIDTH, right=False, sortable=False))


def _wide(texts: Iterable[str], least: int, most: int) -> int:
    """Give the width of the widest text, within bounds."""
    return min(most, max(least, *map(cell_len, texts), 0))


@lru_cache(maxsize=64)
def layout(known: tuple[Column, ...], width: int, first: int = 0) -> Sequence[Column]:
    """Choose the columns that fit into so many cells, leaving out *first* of those that are not pinned.

    Sparklines are shown where there is room for much; the reasons of a score take what is left.
    """
    pinned, others = [one for one in known if one.pinned], [one for one in known if not one.pinned]
    others = [one for one in others if one.key != "spark" or width >= WIDE]
    shown, left = pinned, width - sum(one.width + 1 for one in pinned)
    for one in others[min(first, len(others) - 1) :]:
        if one.width > left:
            break
        wide = left if one.key == "why" else one.width
        shown, left = [*shown, one._replace(width=wide)], left - wide - 1
    return shown


def cell(board: Board, column: Column, row: int, *, watched: bool) -> Cell:
    """Write one cell."""
    if column.key == "mark":
        return Cell(("*" if watched else " ") + _BADGES.get(board.badge(row), "H"), "accent")
    write = _WRITERS.get(column.key)
    return Cell(figure(board.value(column.key, row))) if write is None else write(board, row, column)


def _symbol(board: Board, row: int, _: Column) -> Cell:
    return Cell(plain(board.listed[row].symbol))


def _price(board: Board, row: int, _: Column) -> Cell:
    """Write a price; one that has just moved is marked."""
    move = board.moved.get(row, 0)
    tone = "rose" if move > 0 else "fell" if move < 0 else ""
    return Cell(price(board.value("price", row), board.listed[row].price_decimals), tone)


def _change(board: Board, row: int, column: Column) -> Cell:
    value = board.value(column.key, row)
    return Cell(percent(value), signed(value))


def _turnover(board: Board, row: int, _: Column) -> Cell:
    return Cell(amount(board.value("turnover24h", row)), "dim")


def _score(board: Board, row: int, _: Column) -> Cell:
    """Write a score by its side; that of a row which cannot have one yet says so."""
    value = board.value("score", row)
    if value is None:
        warming = board.table is not None and row in board.table.warming
        return Cell("warms" if warming else "", "dim")
    return Cell(f"{value:+.1f}", {"long": "up", "short": "down"}.get(side(value), ""))


def _spark(board: Board, row: int, column: Column) -> Cell:
    text = "" if board.spark is None or row >= len(board.spark.closes) else board.spark.closes[row]
    return Cell(spark(levels(text), column.width), "dim")


def _why(board: Board, row: int, column: Column) -> Cell:
    """Say what made the score, or why the row is stale."""
    stale = board.staleness.get(row)
    if stale is not None:
        return Cell(f"stale: {plain(stale.reason)}", "warn")
    return Cell(reasons(board.parts(row), column.width), "dim")


_WRITERS: Final[dict[str, Callable[[Board, int, Column], Cell]]] = {
    "symbol": _symbol,
    "price": _price,
    "change": _change,
    "day": _change,
    "turnover24h": _turnover,
    "score": _score,
    "spark": _spark,
    "why": _why,
}
