"""Presets: screens that most people write first, to use as they are or to copy from."""

from collections.abc import Mapping
from typing import Final

import msgspec

from klinehub.errors import UnknownName
from klinehub.factors.define import Factor
from klinehub.factors.expr import Expr
from klinehub.factors.language import condition, parse
from klinehub.factors.points import Part, score
from klinehub.factors.stock import BY_NAME, stock_factor
from klinehub.scan.screen import Screen

TOP: Final = 20
# What each looks for, its columns in the order shown, and what it is sorted by, smallest first.
_PRESETS: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "momentum": (
        "trend > 0.5 and adx > 20 and momentum > 0.3",
        ("momentum", "trend", "adx", "relative_strength"),
        "-momentum",
    ),
    "breakout": (
        "donchian > 1 and volume_surge > 2",
        ("donchian", "volume_surge", "range_compression", "adx"),
        "-donchian",
    ),
    "mean_reversion": (
        "rsi < 30 and bollinger_b < 0",
        ("rsi", "bollinger_b", "stochastic_k", "atr_percent"),
        "rsi",
    ),
    "squeeze": (
        "keltner_squeeze < 1 and rank(bollinger_width) < 0.2",
        ("keltner_squeeze", "bollinger_width", "range_compression", "trend"),
        "keltner_squeeze",
    ),
    "volume_surge": (
        "volume_surge > 4 and trade_size > 0.5",
        ("volume_surge", "trade_size", "taker_ratio", "roc"),
        "-volume_surge",
    ),
    "funding_extremes": (
        "funding_rank < 0.05 or funding_rank > 0.95",
        ("funding", "funding_annual", "basis", "roc", "volume_surge"),
        "-abs(funding)",
    ),
}
PRESETS: Final = tuple(_PRESETS)


def preset(name: str, timeframe: str | None = None) -> Screen:
    """Give a preset on a timeframe, by default the hub's own; raises UnknownName with the nearest one."""
    if name not in _PRESETS:
        raise UnknownName("screen", name, _PRESETS)
    where, columns, order = _PRESETS[name]
    shown = {column: stock_factor(column)() for column in columns}
    return Screen(
        name=name,
        timeframe=timeframe,
        where=condition(where, BY_NAME),
        columns=shown,
        order_by=parse(order, BY_NAME),
        top=TOP,
    )


def texts(name: str) -> tuple[str, tuple[str, ...], str]:
    """Give what a preset looks for, its columns, and what it is sorted by, smallest first, as texts."""
    return _PRESETS[name]


def asked(base: Screen, *, where: str | None = None, name: str | None = None) -> Screen:
    """Give the preset of this *name*, or *base*, narrowed to where a condition in text holds."""
    screen = preset(name, base.timeframe) if name else base
    return filtered(where, screen) if where else screen


def filtered(text: str, screen: Screen) -> Screen:
    """Give *screen* with a condition of the filter language besides, and a column for each factor in it.

    `score` in the text is the screen's own score.
    """
    where = condition(text, names(screen.score))
    both = where if screen.where is None else screen.where & where
    columns = {**screen.columns, **_columns(where)}
    return msgspec.structs.replace(screen, where=both, columns=columns)


def names(parts: tuple[Part, ...]) -> Mapping[str, Factor]:
    """Give the names that the language knows: the stock factors, and `score` where there is one."""
    if not parts:
        return BY_NAME

    def total() -> Expr:
        """The weighted score, -100 to 100."""
        return score(parts)

    return {**BY_NAME, "score": Factor("score", "expression", total, (), {})}


def _columns(where: Expr) -> dict[str, Expr]:
    """Give the factors of a condition as columns, by how they are written."""
    found: dict[str, Expr] = {}

    def visit(term: Expr) -> None:
        inner = term.args[0] if term.op == "on" else term
        if inner.op in {"factor", "field"}:
            frame = f"_{term.params[0]}" if term.op == "on" else ""
            if inner.params != ("age",):
                found[f"{_short(inner)}{frame}"] = term
        elif term.op != "score":
            for arg in term.args:
                visit(arg)

    visit(where)
    return found


def _short(leaf: Expr) -> str:
    """Write a factor or a field, without options that are the usual ones."""
    if leaf.op == "field":
        return repr(leaf)
    factor: Factor = leaf.params[0]
    return factor.name if leaf.params[1:] == tuple(factor.options.values()) else repr(leaf)
