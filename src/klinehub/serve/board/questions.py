"""Questions: the texts of a view, made into a screen; what is wrong with one spoils nothing of the others."""

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple

from klinehub.errors import DefinitionError
from klinehub.factors.expr import Expr, field
from klinehub.factors.language import condition, parse
from klinehub.hub import Hub
from klinehub.scan.presets import names
from klinehub.scan.screen import Screen
from klinehub.serve.board.messages import MOST_COLUMNS, MOST_TEXT, ViewAsked, Wrong

# What a view has beside the columns that were asked for: each bar's open.
OPENED: Final = "open"


class Question(NamedTuple):
    """What a view computes: its screen, the columns to show, and the bar, None for those to come."""

    screen: Screen
    columns: tuple[str, ...]
    bar: int | None
    forming: bool


class Read(NamedTuple):
    """A question, None where nothing of it can be computed, and what is wrong with its texts."""

    question: Question | None
    errors: Mapping[str, Wrong | Mapping[str, Wrong]]


async def read(hub: Hub, asked: ViewAsked) -> Read:
    """Read the texts of a view, one at a time so that others have their turn."""
    try:
        base = hub.scanning.base(asked.timeframe)
        bar = bar_at(hub, asked.timeframe, asked.at) if asked.at else None
    except DefinitionError as exc:
        return Read(None, {"at" if asked.timeframe in _frames(hub) else "timeframe": _wrong(exc)})
    errors: dict[str, Wrong | Mapping[str, Wrong]] = {}
    where, columns, lost = None, dict[str, Expr](), dict[str, Wrong]()
    if asked.where.strip():
        try:
            where = expression(hub, base, asked.where, decides=True)
        except DefinitionError as exc:
            errors["where"] = _wrong(exc)
    texts = list(dict.fromkeys(asked.columns))
    many = Wrong(f"A view has at most {MOST_COLUMNS} columns: leave some out.")
    lost |= dict.fromkeys(texts[MOST_COLUMNS:], many)
    for text in texts[:MOST_COLUMNS]:
        try:
            columns[text] = expression(hub, base, text, decides=False)
        except DefinitionError as exc:
            lost[text] = _wrong(exc)
        await asyncio.sleep(0)
    if lost:
        errors["columns"] = lost
    screen = Screen(
        name="board",
        timeframe=asked.timeframe,
        where=where,
        # In one order, so that pages which show the same share it.
        columns={OPENED: field("open"), **dict(sorted(columns.items()))},
        score=base.score,
        unavailable=base.unavailable,
    )
    return Read(Question(screen, tuple(sorted(columns)), bar, asked.forming and bar is None), errors)


def expression(hub: Hub, base: Screen, text: str, *, decides: bool) -> Expr:
    """Read a text in which `score` is that of *base*; with *decides* it has to be a condition.

    Raises DefinitionError for what is wrong, and for what can not be computed from what is kept.
    """
    if len(text) > MOST_TEXT:
        raise DefinitionError(f"The text has {len(text):,} characters: at most {MOST_TEXT} are read.")
    found = (condition if decides else parse)(text, names(base.score))
    hub.scanning.check(found, base.timeframe)
    return found


def bar_at(hub: Hub, timeframe: str, moment: int) -> int:
    """Give the newest bar that had closed at a moment (ms).

    Raises DefinitionError for one that is yet to come, or lies further back than anything is kept.
    """
    panel = hub.panel(timeframe)
    bar, last = panel.timeframe.index(moment) - 1, panel.closed_bar
    if bar > last:
        raise DefinitionError("Nothing is known of that moment yet: choose one that has passed.")
    if bar <= last - panel.bars and hub.shelf.keeping is None:
        raise DefinitionError(
            f"That moment lies too far back: memory has {panel.bars} bars of {timeframe}, and none are kept "
            "on disk (`store.path`)."
        )
    return bar


def _frames(hub: Hub) -> list[str]:
    return [frame.name for frame in hub.timeframes]


def _wrong(error: DefinitionError) -> Wrong:
    return Wrong(str(error), error.place)
