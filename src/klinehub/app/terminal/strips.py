"""The strips around the table: what is shown, how the market stands, what is chosen, how the hub fares."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from rich.text import Text

from klinehub.app import show
from klinehub.app.terminal.board import Board, Sort
from klinehub.app.terminal.cells import amount, percent, plain, price, reasons, signed
from klinehub.app.terminal.client import Link
from klinehub.app.terminal.palette import Look
from klinehub.app.terminal.plain import vitals
from klinehub.domain.timeframe import timeframe

_BAR: Final = 16
_WHY: Final = 60
Said = tuple[str, str]


class Seen(NamedTuple):
    """What the strips speak of: the board as it is shown, and what the user chose."""

    board: Board
    lines: Sequence[int]
    where: str
    preset: str | None
    sort: Sort
    frozen: bool
    watched_only: bool
    link: Link
    tz: ZoneInfo


def written(said: Sequence[Said], look: Look) -> Text:
    """Put texts with their tones into one line, which is cut where it does not fit."""
    return Text.assemble(
        *((text, look.tones[tone]) for text, tone in said), no_wrap=True, overflow="ellipsis"
    )


def head(seen: Seen) -> list[Said]:
    """Say which exchange, timeframe and bar are shown, when the next closes, and what is left out."""
    hello, table = seen.board.hello, seen.board.table
    said: list[Said] = [("FROZEN ", "warn")] if seen.frozen else []
    if hello is None:
        return [*said, ("waiting for the hub", "dim")]
    said.append((plain(hello.exchange), "accent"))
    if table is None:
        return [*said, ("  computing the first table", "dim")]
    said += [(f"  {table.timeframe}", "strong"), (f"  bar {clock(table.open_time, seen.tz)}", "")]
    said.append((f"  next in {left(seen.board)}", "dim"))
    said.append((f"  {len(seen.lines)} of {len(seen.board.listed)}", "strong"))
    chosen = [seen.preset or "", seen.where, "watched" if seen.watched_only else ""]
    said += [(f"  {plain(one)}", "accent") for one in chosen if one]
    return said


def clock(time: int, tz: ZoneInfo) -> str:
    """Write the time of the day, to the minute."""
    said = show.moment(time, tz)[11:]
    return said[:5] + said[8:]


def left(board: Board) -> str:
    """Say how much market time is left until the bar that is open closes."""
    if board.table is None:
        return ""
    frame = timeframe(board.table.timeframe)
    seconds = (frame.close_time(frame.index(board.time)) + 1 - board.time) // 1000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"


def standing(seen: Seen) -> list[Said]:
    """Say how the market stands; while the line is down say that instead."""
    if not seen.link.up:
        return lost(seen)
    found = seen.board.breadth()
    if found.median is None or found.spread is None:
        return [("no prices yet", "dim")]
    count = found.up + found.down + found.even
    up, down = (round(_BAR * part / count) for part in (found.up, found.down))
    return [
        (f"{found.up} up ", "up"),
        ("█" * up, "up"),
        ("░" * max(0, _BAR - up - down), "dim"),
        ("█" * min(down, _BAR - up), "down"),
        (f" {found.down} down", "down"),
        ("  median ", "dim"),
        (f"{found.median:+.2f} %", signed(found.median)),
        ("  spread ", "dim"),
        (f"{found.spread:.2f} %", ""),
    ]


def lost(seen: Seen) -> list[Said]:
    """Say why the line is down, when it is tried again, and of when what is shown is."""
    known = show.moment(seen.board.time, seen.tz)[11:] if seen.board.time else ""
    return [
        (f"disconnected, tried again in {seen.link.pause:.0f} s: {plain(str(seen.link.error))}", "warn"),
        (f" This is of {known}" if known else "", "dim"),
    ]


def chosen(seen: Seen, row: int | None) -> list[Said]:
    """Say of the chosen symbol what its line has no room for."""
    if row is None or row >= len(seen.board.listed):
        return []
    board, one = seen.board, seen.board.listed[row]
    said: list[Said] = [(plain(one.symbol), "strong")]
    badge, stale = board.badge(row), board.staleness.get(row)
    if badge:
        said.append((f"  {badge}{_when(board, row, seen.tz)}", "accent"))
    if stale is not None:
        since = show.moment(stale.since, seen.tz)[11:]
        return [*said, (f"  stale since {since}: {plain(stale.reason)}", "warn")]
    day = board.value("day", row)
    said.append((f"  {price(board.value('price', row), one.price_decimals)}", ""))
    said.append((f"  24h {percent(day) or '-'} %", signed(day)))
    said.append((f"  {amount(board.value('turnover', row)) or '-'} {plain(one.quote)}", "dim"))
    return [*said, (f"  {reasons(board.parts(row), _WHY)}", "dim")]


def _when(board: Board, row: int, tz: ZoneInfo) -> str:
    """Say since when a new symbol is listed, or until when one that ends is."""
    one = board.listed[row]
    if board.badge(row) == "new":
        return f" since {show.moment(one.onboard_time, tz)[:10]}"
    return f" at {show.moment(one.delivery_time, tz)[:16]}" if one.delivery_time else ""


def health(seen: Seen) -> list[Said]:
    """Say how the hub fares; what is not as it should be stands out."""
    said: list[Said] = []
    # What does not fit at the right is what is well.
    for text, is_well in sorted(vitals(seen.board, seen.tz), key=lambda one: one[1]):
        said += [("  " if said else "", "dim"), (text, "dim" if is_well else "warn")]
    return said or [("nothing is known of the hub's health yet", "dim")]
