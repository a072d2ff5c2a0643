"""The detail of one symbol: what made its score, how its price went, its newest closed bars."""

from collections.abc import Sequence
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static

from klinehub.app import show
from klinehub.app.terminal.board import Board
from klinehub.app.terminal.cells import (
    BLOCKS,
    TOP_LEVEL,
    WIDE,
    amount,
    figure,
    percent,
    plain,
    price,
    signed,
    spark,
)
from klinehub.app.terminal.client import Bar
from klinehub.app.terminal.palette import Look
from klinehub.scan.likeness import day, ends, like, thinness
from klinehub.scan.likeness import percent as share
from klinehub.scan.score import side

BARS: Final = 120
LISTED: Final = 40
# Lines of the chart in a low window and in one of so many lines.
LOW: Final = 5
HIGH: Final = 12
TALL: Final = 40
# The room at the chart's right for prices.
_AXIS: Final = 14
# Cells to either side of the middle line, in a wide window and in a narrow one.
BEAM: Final = 12
SHORT_BEAM: Final = 5


class Detail(Screen[None]):
    """Shows one symbol of a board; the arrow keys go through the lines of the table below it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,backspace", "leave", "back"),
        Binding("down,j,n", "next(1)", "next"),
        Binding("up,k,N", "next(-1)", "previous"),
        Binding("pagedown", "scroll(1)", "down", show=False),
        Binding("pageup", "scroll(-1)", "up", show=False),
    ]

    class Next(Message):
        """Another symbol is asked for, so many lines below."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def __init__(self, look: Look, tz: ZoneInfo) -> None:
        super().__init__()
        self.look = look
        self._tz = tz
        self._bars: Sequence[Bar] = ()
        self._fault = ""
        self._shown: tuple[Board, int] | None = None

    def compose(self) -> ComposeResult:
        """Lay out the chart over the reasons and the bars."""
        yield Static(id="title")
        with VerticalScroll(can_focus=False):
            yield Static(id="chart")
            with Horizontal():
                yield Static(id="why")
                yield Static(id="bars")
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Show what was told before the window was there."""
        self._write()

    def on_resize(self) -> None:
        """Draw anew for another width."""
        self._write()

    def show(self, board: Board, row: int) -> None:
        """Show a row of a board."""
        self._shown = board, row
        self._write()

    def show_bars(self, bars: Sequence[Bar], fault: str) -> None:
        """Show the newest bars, or why there are none."""
        self._bars, self._fault = bars, fault
        self._write()

    def _write(self) -> None:
        if self._shown is None or not self.is_mounted:
            return
        board, row = self._shown
        self.query_one("#title", Static).update(self._title(board, row))
        self.query_one("#chart", Static).update(self._drawn(board, row))
        found = Group(self._reasons(board, row), self._likeness(board, row), self._columns(board, row))
        self.query_one("#why", Static).update(found)
        self.query_one("#bars", Static).update(self._listed(board, row))

    def _text(self, *said: tuple[str, str]) -> Text:
        return Text.assemble(*((text, self.look.tones[tone]) for text, tone in said))

    def _title(self, board: Board, row: int) -> Text:
        one, score = board.listed[row], board.value("score", row)
        change, day = board.value("change", row), board.value("day", row)
        frame = "" if board.table is None else board.table.timeframe
        said = [
            (plain(one.symbol), "strong"),
            (f"  {price(board.value('price', row), one.price_decimals)}", "strong"),
            (f"  {frame} {percent(change) or '-'} %", signed(change)),
            (f"  24h {percent(day) or '-'} %", signed(day)),
            (f"  {amount(board.value('turnover', row)) or '-'} {plain(one.quote)}", "dim"),
            ("" if not board.badge(row) else f"  {board.badge(row)}", "accent"),
        ]
        if score is not None:
            said.append((f"  score {score:+.1f} {side(score)}", signed(score)))
        stale = board.staleness.get(row)
        if stale is not None:
            said.append(
                (f"\nstale since {show.moment(stale.since, self._tz)}: {plain(stale.reason)}", "warn")
            )
        return self._text(*said)

    def _drawn(self, board: Board, row: int) -> RenderableType:
        """Draw the closes of the newest bars over their volumes, between their lowest and highest."""
        width, height = self.size.width - _AXIS, HIGH if self.size.height >= TALL else LOW
        bars = self._bars[-max(1, width) :]
        if not bars:
            return self._text(("" if self._fault else "the hub is asked for the bars", "dim"))
        closes = [bar.close for bar in bars]
        low, high, decimals = min(closes), max(closes), board.listed[row].price_decimals
        wide = min(3, max(1, width // len(bars)))
        lines = chart(scaled(closes, low, high), height, wide)
        marks = {0: price(high, decimals), height - 1: price(low, decimals)}
        tone = "up" if closes[-1] >= closes[0] else "down"
        said: list[tuple[str, str]] = []
        for at, line in enumerate(lines):
            said += [(line, tone), (f" {marks.get(at, '')}\n", "dim")]
        volumes = [bar.volume for bar in bars]
        under = spark([round(one) for one in scaled(volumes, 0.0, max(volumes))], len(bars))
        return self._text(*said, ("".join(char * wide for char in under), "dim"))

    def _reasons(self, board: Board, row: int) -> RenderableType:
        """Give each part of the score with a bar to its side, the strongest first."""
        parts, wide = board.parts(row), self.size.width >= WIDE
        if not parts:
            return self._text(("no score: something of it is not known here\n", "dim"))
        weights = {part.name: part.weight for part in (() if board.hello is None else board.hello.parts)}
        most, half = max(abs(points) for _, points in parts), BEAM if wide else SHORT_BEAM
        table = Table.grid(padding=(0, 1))
        for name, points in parts:
            table.add_row(
                Text(plain(name)),
                self._text((beam(points, most, half), signed(points))),
                self._text((f"{points:+.1f}", signed(points))),
                *([self._text((f"of {abs(weights.get(name, 0.0)):g}", "dim"))] if wide else []),
            )
        return Group(self._text(("what made the score", "dim")), table, Text(""))

    def _likeness(self, board: Board, row: int) -> RenderableType:
        """Say what came after scores like this on history, horizon by horizon, or that nobody knows."""
        score = board.value("score", row)
        known = None if board.table is None else board.evidence.get(board.table.timeframe)
        bucket = None if known is None or score is None else like(known, score)
        if known is None or bucket is None:
            return self._text(("no evidence: `klinehub evidence calibrate`\n", "dim"))
        table = Table.grid(padding=(0, 1))
        for one in bucket.outcomes:
            median = "not known" if one.median is None else f"{share(one.median)}{ends(one)}"
            rate = "" if one.hit_rate is None else f"{one.hit_rate:.0%} went its way"
            table.add_row(
                Text(f"{one.bars}"), self._text((median, signed(one.median))), self._text((rate, "dim"))
            )
        days = f"{day(known.start)}..{day(known.end - 1)}"
        thin = thinness(bucket.n, bucket.days)
        return Group(
            self._text(("after scores like this, over so many bars", "dim")),
            table,
            self._text(
                (f"n {bucket.n:,}, {days}, before costs\n", "dim"), (f"{thin}\n" if thin else "", "warn")
            ),
        )

    def _columns(self, board: Board, row: int) -> RenderableType:
        """Give the values of the view's columns."""
        table = Table.grid(padding=(0, 1))
        for text in board.columns:
            table.add_row(Text(text), self._text((figure(board.value(text, row)) or "-", "strong")))
        return table

    def _listed(self, board: Board, row: int) -> RenderableType:
        """List the newest closed bars, the newest first."""
        if self._fault:
            return self._text((plain(self._fault), "warn"))
        decimals = board.listed[row].price_decimals
        wide = self.size.width >= WIDE
        table = Table(box=None, padding=(0, 1, 0, 0), header_style=self.look.tones["dim"])
        for name in ("time", *(("open", "high", "low") if wide else ()), "close", "%", "volume"):
            table.add_column(name, justify="right", no_wrap=True)
        for bar in self._bars[: -LISTED - 1 : -1]:
            change = (bar.close / bar.open - 1.0) * 100.0 if bar.open else 0.0
            shown = (bar.open, bar.high, bar.low, bar.close) if wide else (bar.close,)
            table.add_row(
                self._text((show.moment(bar.open_time, self._tz, named=False)[5:16], "dim")),
                *(price(value, decimals) for value in shown),
                self._text((percent(change), signed(change))),
                self._text((amount(bar.volume), "dim")),
            )
        return table

    def action_leave(self) -> None:
        """Go back to the table."""
        self.dismiss(None)

    def action_scroll(self, by: int) -> None:
        """Show what is below, or above."""
        moved = self.query_one(VerticalScroll)
        (moved.scroll_page_down if by > 0 else moved.scroll_page_up)(animate=False)

    def action_next(self, by: int) -> None:
        """Go to another line's symbol."""
        self.post_message(self.Next(by))


def scaled(values: Sequence[float], low: float, high: float) -> list[float]:
    """Give values between two bounds as levels."""
    span = high - low
    return [TOP_LEVEL * (value - low) / span if span > 0.0 else TOP_LEVEL / 2 for value in values]


def chart(found: Sequence[float], height: int, wide: int) -> list[str]:
    """Draw levels as columns of blocks, so many cells high, each *wide* cells; the highest line first."""
    steps = len(BLOCKS)
    filled = [1 + int(one * (height * steps - 1) / TOP_LEVEL) for one in found]
    lines = []
    for line in range(height - 1, -1, -1):
        over = [min(steps, max(0, one - line * steps)) for one in filled]
        lines.append("".join((BLOCKS[one - 1] if one else " ") * wide for one in over))
    return lines


def beam(value: float, most: float, half: int) -> str:
    """Draw a number to the left or right of a middle line, the largest over *half* the width."""
    size = round(half * abs(value) / most) if most else 0
    if value < 0:
        return " " * (half - size) + "█" * size + "│" + " " * half
    return " " * half + "│" + "█" * size + " " * (half - size)
