"""Plain: the board once, as a table of text or as one document."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich.text import Text

from klinehub.app import show
from klinehub.app.terminal.board import Board, Sort
from klinehub.app.terminal.cells import cell, columns, fit, layout, plain
from klinehub.app.terminal.client import BoardClient, Link
from klinehub.app.terminal.messages import Errors, Prices
from klinehub.app.terminal.wishes import Wishes
from klinehub.domain.moment import in_zone
from klinehub.errors import DefinitionError, Unreachable
from klinehub.scan.score import side
from klinehub.serve.board.messages import Hello, SparkAsked, StaleRows

# A first view may have to be compiled.
TABLE_WITHIN: Final = 60.0
# Prices and what is stale are told with a table, or a moment after it.
REST_WITHIN: Final = 2.0
# Where a line may be as long as it is.
_ROOM: Final = 400
_STYLES: Final = {"up": "green", "down": "red", "dim": "dim", "warn": "yellow", "accent": "cyan"}


async def filled(client: BoardClient, wishes: Wishes) -> Board:
    """Give a board with one table; raises DefinitionError for what of the wishes cannot be."""
    board = Board()
    try:
        async with asyncio.timeout(TABLE_WITHIN) as limit:
            await _fill(client, wishes, board, limit)
    except TimeoutError as exc:
        if board.table is None:
            raise Unreachable(
                f"The hub told no table within {TABLE_WITHIN:g} s: see its own output, or ask for less."
            ) from exc
    return board


async def _fill(client: BoardClient, wishes: Wishes, board: Board, limit: asyncio.Timeout) -> None:
    wanted: set[type] = {Prices, StaleRows}
    async for heard in client.heard():
        if isinstance(heard, Link):
            if heard.error is not None:
                raise heard.error
            continue
        if isinstance(heard, Hello):
            board.wish = wishes.wish(heard, 1)
            await client.send(SparkAsked(bars=0))
            await client.send(board.wish)
        had = board.table is not None
        board.take(heard)
        refuse(board.errors, board.failure)
        wanted.discard(type(heard))
        if board.table is not None and not wanted:
            return
        if board.table is not None and not had:
            limit.reschedule(asyncio.get_running_loop().time() + REST_WITHIN)


def refuse(errors: Errors, failure: str) -> None:
    """Raise DefinitionError for the first thing that a hub found wrong with a view."""
    found = {"--where": errors.where, "--timeframe": errors.timeframe}
    found |= {f"the column {text!r}": wrong for text, wrong in errors.columns.items()}
    for name, wrong in found.items():
        if wrong is not None:
            raise DefinitionError(f"{name}: {wrong.message}")
    if failure:
        raise DefinitionError(f"The hub gave this view up: {failure}")


def document(board: Board, sort: Sort, top: int | None) -> dict[str, Any]:
    """Give the board as one document, its lines sorted."""
    hello, table = board.hello, board.table
    if hello is None or table is None:
        raise RuntimeError("a board is printed once it has a table")
    lines = board.lines(sort)
    return {
        "exchange": hello.exchange,
        "time": board.time,
        "timeframe": table.timeframe,
        "bar_open_time": table.open_time,
        "bar_close_time": table.close_time,
        "symbols": len(board.listed),
        "passing": len(lines),
        "rows": [_row(board, row) for row in lines[:top]],
    }


def _row(board: Board, row: int) -> dict[str, Any]:
    stale, score = board.staleness.get(row), board.value("score", row)
    return {
        "symbol": board.listed[row].symbol,
        **{name: board.value(name, row) for name in ("price", "change", "day", "turnover24h")},
        "score": score,
        "side": None if score is None else side(score),
        "contributions": dict(board.parts(row)),
        "columns": {text: board.value(text, row) for text in board.columns},
        "badge": board.badge(row) or None,
        "stale": None if stale is None else stale.reason,
        "stale_since": None if stale is None else stale.since,
    }


def ranking(board: Board, sort: Sort, top: int, tz: ZoneInfo, width: int | None) -> Iterator[Text]:
    """Give the board as lines of text; what does not fit into *width* is left out, which is said."""
    hello, bar = board.hello, board.table
    if hello is None or bar is None:
        raise RuntimeError("a board is printed once it has a table")
    known, lines = tuple(one for one in columns(board) if one.key != "spark"), board.lines(sort)
    shown = layout(known, _ROOM if width is None else width)
    yield Text(
        f"{plain(hello.exchange)}  {bar.timeframe} bar of {show.moment(bar.open_time, tz)}", style="italic"
    )
    yield _line((fit(one.title, one.width, right=one.right), "bold") for one in shown)
    for row in lines[:top]:
        cells = ((one, cell(board, one, row, watched=False)) for one in shown)
        yield _line(
            (fit(found.text, one.width, right=one.right), _STYLES.get(found.tone, "")) for one, found in cells
        )
    out = [one.title for one in known if one.key not in {each.key for each in shown}]
    yield Text(standing(board, len(lines)))
    yield Text(", ".join(said for said, _ in vitals(board, tz)))
    if out:
        yield Text(f"no room for {', '.join(out)}: --json has all", style="yellow")


def _line(cells: Iterable[tuple[str, str]]) -> Text:
    said = Text(" ").join(Text(text, style=style) for text, style in cells)
    said.rstrip()
    return said


def standing(board: Board, passing: int) -> str:
    """Say in one line how the market stands."""
    found = board.breadth()
    said = f"{passing} of {len(board.listed)} symbols"
    if found.median is None:
        return said
    return (
        f"{said}, {found.up} up, {found.down} down, median {found.median:+.2f} %, spread {found.spread:.2f} %"
    )


def vitals(board: Board, tz: ZoneInfo) -> Sequence[tuple[str, bool]]:
    """Say how the hub fares, each figure with whether it is as it should be."""
    found = board.health
    if found is None:
        return []
    said = [(f"{found.fresh} of {found.symbols} fresh", not found.stale)]
    if found.stale:
        why = max(found.reasons, key=lambda one: found.reasons[one], default="")
        said.append((f"{found.stale} stale{f': {plain(why)}' if why else ''}", False))
    if found.lag.p50 is not None and found.lag.p99 is not None:
        said.append((f"lag {found.lag.p50:.2g}/{found.lag.p99:.2g} s", True))
    said.append((f"{found.gaps} gaps", not found.gaps))
    most = f"/{found.weight.limit}" if found.weight.limit else ""
    said.append((f"weight {found.weight.used}{most}", found.rest.open))
    said.append((f"{found.sockets.up}/{found.sockets.all} sockets", found.sockets.up == found.sockets.all))
    if not found.rest.open:
        said.append((f"REST is {in_zone(plain(found.rest.why), tz)}", False))
    if found.store_fault:
        said.append((f"nothing is kept on disk: {plain(found.store_fault)}", False))
    return said
