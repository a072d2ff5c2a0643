"""The window: the board in a terminal, which follows the hub until it is left."""

import asyncio
from typing import ClassVar, Final
from zoneinfo import ZoneInfo

import msgspec
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static

from klinehub.app.terminal.board import LIVE, Board, Sort
from klinehub.app.terminal.cells import columns, plain
from klinehub.app.terminal.choice import Choice, Help
from klinehub.app.terminal.client import BoardClient, Link
from klinehub.app.terminal.detail import BARS, Detail
from klinehub.app.terminal.filter_box import FilterBox
from klinehub.app.terminal.messages import Alert, Alerted, Answered, Message, Prices, Table
from klinehub.app.terminal.palette import look, theme, theme_name
from klinehub.app.terminal.strips import Seen, chosen, head, health, standing, written
from klinehub.app.terminal.table_view import MarketTable
from klinehub.app.terminal.vocabulary import Vocabulary
from klinehub.app.terminal.watched import Watched
from klinehub.app.terminal.wishes import Wishes
from klinehub.errors import KlinehubError, UnknownName
from klinehub.serve.board.messages import Failed, Hello, Wrong

# A price that moved is marked for so long.
FLASH: Final = 0.6
# Lines sorted by what moves between closes are sorted anew this often at most, or nobody could read them.
SORT_EVERY: Final = 2.0
NO_PRESET: Final = "(none)"


class Window(App[None]):
    """Shows what a hub tells of the market; `failure` is what ended it, if anything did."""

    CSS_PATH = "window.tcss"
    ENABLE_COMMAND_PALETTE = False
    TITLE = "klinehub"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("s", "sort(1)", "sort"),
        Binding("S", "turn", "turn", show=False),
        Binding("t", "timeframe(1)", "timeframe"),
        Binding("T", "timeframe(-1)", "smaller timeframe", show=False),
        Binding("p", "preset", "preset"),
        Binding("f", "freeze", "freeze"),
        Binding("w", "watch", "watch"),
        Binding("W", "watched_only", "only watched", show=False),
        Binding("d", "brightness", "dark or light", show=False),
        Binding("r", "reset", "reset", show=False),
        Binding("question_mark", "keys", "help", key_display="?"),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "interrupt", "quit", show=False, priority=True),
    ]

    def __init__(
        self,
        client: BoardClient,
        wishes: Wishes,
        vocabulary: Vocabulary,
        watched: Watched,
        tz: ZoneInfo,
        *,
        palette: str,
    ) -> None:
        super().__init__()
        self.failure: KlinehubError | None = None
        self.interrupted = False
        self._client = client
        self._wishes = self._at_start = wishes
        # The wishes whose filter the hub took last.
        self._well = Wishes()
        self._vocabulary = vocabulary
        self._watched = watched
        self._tz = tz
        self._palette = palette
        self._look = look(palette, dark=True)
        self._board = Board()
        self._frozen: Board | None = None
        self._only = False
        self._detail: Detail | None = None
        self._link = Link(up=True)
        self._lines: list[int] = []
        self._sorted_at = 0.0

    def compose(self) -> ComposeResult:
        """Lay the strips out around the table."""
        self._strips = {name: Static(id=name) for name in ("head", "standing", "chosen", "health")}
        self._table, self._box = MarketTable(self._look), FilterBox(self._vocabulary)
        yield self._strips["head"]
        yield self._strips["standing"]
        yield self._table
        yield self._strips["chosen"]
        yield self._box
        yield self._strips["health"]
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to listen."""
        for dark in (True, False):
            self.register_theme(theme(dark=dark))
        self.theme = theme_name(dark=True)
        self._calm = self.set_timer(FLASH, self._calmed, pause=True)
        self._table.focus()
        if self._watched.fault:
            self.notify(self._watched.fault, severity="warning", markup=False)
        self.run_worker(self._listen())

    async def _listen(self) -> None:
        """Take in what the hub tells, until the window is closed."""
        try:
            async for heard in self._client.heard():
                if isinstance(heard, Link):
                    self._link = heard
                    self._write()
                else:
                    self._board.take(heard)
                    await self._react(heard)
        except KlinehubError as exc:
            self.failure = exc
            self.exit()

    async def _react(self, heard: Message) -> None:
        """Show what a message changed, and ask for what follows from it."""
        match heard:
            case Hello():
                await self._ask()
            case Answered():
                await self._judge(heard)
            case Table():
                self._ask_bars()
            case Prices():
                self._calm.stop()
                self._calm = self.set_timer(FLASH, self._calmed)
            case Alerted():
                self._announce(heard.alert)
            case Failed(view=self._board.view):
                self.notify(plain(heard.message), title="given up", severity="warning", markup=False)
            case _:
                pass
        self._write(again=isinstance(heard, Table))

    async def _ask(self) -> None:
        """Ask for what is wished; raises UnknownName for what the first hub does not have."""
        hello = self._board.hello
        if hello is None:
            return
        try:
            wish = self._wishes.wish(hello, self._board.view + 1)
        except UnknownName as exc:
            if not self._board.view:
                raise
            # Another hub answers at this place than before.
            self.notify(str(exc), severity="warning", markup=False)
            self._wishes = self._well = Wishes()
            wish = self._wishes.wish(hello, self._board.view + 1)
        self._board.wish = wish
        await self._client.send(wish)

    async def _wish(self, wishes: Wishes) -> None:
        """Ask for something else; what was frozen goes on."""
        self._wishes, self._frozen = wishes, None
        await self._ask()
        self._write(again=True)
        self._table.action_move_to(0)

    async def _judge(self, heard: Answered) -> None:
        """Tell what of the view cannot be: of a filter in its box, and the one before stays."""
        if heard.id != self._board.view:
            return
        for text, one in heard.errors.columns.items():
            self.notify(one.message, title=f"column {text}", severity="warning", markup=False)
        wrong = heard.errors.where
        if wrong is None:
            self._well = self._wishes
            if self._box.waiting:
                self._close_box()
            return
        text, wrong = self._wishes.where, self._own(wrong)
        self._wishes = self._well if self._well.where != text else Wishes()
        self._open_box(text, wrong)
        await self._ask()

    def _own(self, wrong: Wrong) -> Wrong:
        """Place a mistake in the user's own part of the filter."""
        hello = self._board.hello
        if hello is None or wrong.place is None:
            return wrong
        place = wrong.place - self._wishes.condition(hello)[1]
        return Wrong(wrong.message, place if 0 <= place <= len(self._wishes.where) else None)

    def _announce(self, alert: Alert) -> None:
        at = "" if alert.price is None else f" at {alert.price:.10g}"
        self.notify(
            f"{plain(alert.symbol)} {alert.timeframe}{at}",
            title=plain(alert.rule or alert.screen),
            markup=False,
        )

    def _open_box(self, text: str, wrong: Wrong | None) -> None:
        hello = self._board.hello
        self._box.begin(text, () if hello is None else hello.timeframes)
        if wrong is not None:
            self._box.tell(wrong)

    def _close_box(self) -> None:
        self._box.end()
        self._table.focus()

    @property
    def _shown(self) -> Board:
        return self._frozen or self._board

    @property
    def _sorting(self) -> Sort:
        hello = self._board.hello
        return Sort() if hello is None else self._wishes.sorting(hello)

    def _write(self, *, again: bool = False) -> None:
        """Show the board as it is now, its lines sorted *again* where that is due."""
        board, sort, now = self._shown, self._sorting, asyncio.get_running_loop().time()
        moves = sort.key in LIVE and now - self._sorted_at >= SORT_EVERY
        if again or moves or (board.rows and not self._lines):
            only = self._watched.symbols if self._only else None
            self._lines, self._sorted_at = board.lines(sort, only=only), now
        self._table.show(
            board, self._lines, sort, self._watched.symbols, empty=self._empty(), away=not self._link.up
        )
        self._write_strips()
        if self._detail is not None and self._table.row is not None:
            self._detail.show(board, self._table.row)

    def _write_strips(self) -> None:
        seen = self._seen()
        said = {
            "head": head(seen),
            "standing": standing(seen),
            "chosen": chosen(seen, self._table.row),
            "health": health(seen),
        }
        for name, parts in said.items():
            self._strips[name].update(written(parts, self._look), layout=False)

    def _seen(self) -> Seen:
        return Seen(
            board=self._shown,
            lines=self._lines,
            where=self._wishes.where,
            preset=self._wishes.preset,
            sort=self._sorting,
            frozen=self._frozen is not None,
            watched_only=self._only,
            link=self._link,
            tz=self._tz,
        )

    def _empty(self) -> str:
        """Say why there are no lines."""
        board = self._shown
        if board.failure:
            return f"the hub gave this view up: {plain(board.failure)}"
        if board.table is None:
            return "the hub computes the first table" if self._link.up else ""
        if self._only:
            return "no symbol is watched: W shows all, w marks one"
        if self._wishes.where or self._wishes.preset:
            return "nothing passes the filter: / changes it, r takes all back"
        return "the hub follows no symbol"

    def _calmed(self) -> None:
        """Let the marks of moved prices go."""
        if self._board.moved:
            self._board.moved = {}
            self._write()

    def _ask_bars(self) -> None:
        """Have the newest bars of the detail's symbol asked for, if it is open."""
        detail, row, table = self._detail, self._table.row, self._shown.table
        if detail is not None and row is not None and table is not None:
            symbol = self._shown.listed[row].symbol
            self.run_worker(self._fetch_bars(detail, symbol, table.timeframe), group="bars", exclusive=True)

    async def _fetch_bars(self, detail: Detail, symbol: str, frame: str) -> None:
        try:
            detail.show_bars(await self._client.bars(symbol, frame, BARS), "")
        except KlinehubError as exc:
            detail.show_bars((), str(exc))

    def on_market_table_opened(self) -> None:
        """Show the detail of the chosen symbol."""
        self._detail = Detail(self._look, self._tz)
        self.push_screen(self._detail, self._leave_detail)
        self._write()
        self._ask_bars()

    def _leave_detail(self, _: None) -> None:
        self._detail = None

    def on_market_table_chosen(self) -> None:
        """Speak of another symbol."""
        self._write()

    async def on_market_table_sorted(self, event: MarketTable.Sorted) -> None:
        """Sort by a column, or the other way round where it is sorted by it."""
        sort = self._sorting
        turned = event.key == sort.key
        await self._sort_by(Sort(event.key, not sort.descending if turned else event.key != "symbol"))

    def on_detail_next(self, event: Detail.Next) -> None:
        """Go to the line that many below."""
        self._table.action_move(event.by)
        self._write()
        self._ask_bars()

    async def on_filter_box_entered(self, event: FilterBox.Entered) -> None:
        """Ask for a filter; its box is closed when the hub has taken it."""
        await self._wish(msgspec.structs.replace(self._wishes, where=event.text))
        if not self._link.up:
            self._close_box()

    def on_filter_box_left(self) -> None:
        """Leave the filter as it was."""
        self._close_box()

    def action_filter(self) -> None:
        """Open the filter's box."""
        if self._detail is not None:
            self._detail.dismiss()
        self._open_box(self._wishes.where, None)

    async def _sort_by(self, sort: Sort) -> None:
        self._wishes = msgspec.structs.replace(self._wishes, sort=sort)
        self._write(again=True)
        self._table.action_move_to(0)

    async def action_sort(self, by: int) -> None:
        """Sort by the next column."""
        keys = [one.key for one in columns(self._shown) if one.sortable]
        at = keys.index(self._sorting.key) if self._sorting.key in keys else -1
        key = keys[(at + by) % len(keys)]
        await self._sort_by(Sort(key, key != "symbol"))

    async def action_turn(self) -> None:
        """Sort the other way round."""
        await self._sort_by(Sort(self._sorting.key, not self._sorting.descending))

    async def action_timeframe(self, by: int) -> None:
        """Show another timeframe."""
        hello = self._board.hello
        if hello is None or not hello.timeframes:
            return
        frames = hello.timeframes
        now = self._wishes.timeframe or hello.default
        at = frames.index(now) if now in frames else 0
        await self._wish(msgspec.structs.replace(self._wishes, timeframe=frames[(at + by) % len(frames)]))

    def action_preset(self) -> None:
        """Choose a preset."""
        hello = self._board.hello
        if hello is None:
            return
        names = [(NO_PRESET, "the usual columns, all symbols")]
        names += [(one.name, one.where or ", ".join(one.columns) or "the score") for one in hello.presets]
        self.push_screen(Choice("presets", names), self._take_preset)

    async def _take_preset(self, name: str | None) -> None:
        if name is not None:
            preset = None if name == NO_PRESET else name
            await self._wish(msgspec.structs.replace(self._wishes, preset=preset, columns=None, sort=None))

    def action_freeze(self) -> None:
        """Hold what is shown, or go on."""
        self._frozen = self._board.frozen() if self._frozen is None else None
        self._write(again=True)

    def action_watch(self) -> None:
        """Mark the chosen symbol, or take its mark away."""
        if self._table.chosen is not None:
            fault = self._watched.fault
            self._watched.toggle(self._table.chosen)
            if self._watched.fault != fault:
                self.notify(self._watched.fault, severity="warning", markup=False)
            self._write(again=self._only)

    def action_watched_only(self) -> None:
        """Show only what is marked, or all."""
        self._only = not self._only
        self._write(again=True)

    def action_brightness(self) -> None:
        """Change between dark and light."""
        dark = self.theme != theme_name(dark=True)
        self.theme = theme_name(dark=dark)
        self._look = self._table.look = look(self._palette, dark=dark)
        if self._detail is not None:
            self._detail.look = self._look
        self._write()

    async def action_reset(self) -> None:
        """Show what was asked for at the start."""
        self._only = False
        await self._wish(self._at_start)

    def action_keys(self) -> None:
        """Say what the keys do."""
        self.push_screen(Help())

    def action_interrupt(self) -> None:
        """Leave as by Ctrl-C anywhere."""
        self.interrupted = True
        self.exit()
