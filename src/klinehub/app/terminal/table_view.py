"""The table: a line for each symbol; only those in the window are written, however many there are."""

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from klinehub.app.terminal.board import Board, Sort
from klinehub.app.terminal.cells import Column, cell, columns, fit, layout
from klinehub.app.terminal.palette import Look

_GAP: Final = " "
_ARROWS: Final = {True: "↓", False: "↑"}


class MarketTable(ScrollView, can_focus=True):
    """Shows *lines* of a board under their head; the chosen line stays with its symbol."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "down", show=False),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("pagedown,ctrl+d", "page(1)", "page down", show=False),
        Binding("pageup,ctrl+u", "page(-1)", "page up", show=False),
        Binding("home,g", "move_to(0)", "first", show=False),
        Binding("end,G", "move_to(-1)", "last", show=False),
        Binding("left,h", "shift(-1)", "columns to the left", show=False),
        Binding("right,l", "shift(1)", "columns to the right", show=False),
        Binding("enter", "open", "detail"),
    ]

    class Opened(Message):
        """The detail of the chosen symbol is asked for."""

    class Chosen(Message):
        """Another line was chosen."""

    class Sorted(Message):
        """The head of a column was clicked."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.look = look
        self.chosen: str | None = None
        self._board = Board()
        self._lines: Sequence[int] = ()
        self._sort = Sort()
        self._watched: frozenset[str] = frozenset()
        # The columns, and the table and the symbols that they are made of.
        self._known: tuple[Column, ...] = ()
        self._known_of: tuple[object, object] = (None, None)
        self._first = 0
        self._at = 0
        self._empty = ""
        self._away = False

    def show(
        self,
        board: Board,
        lines: Sequence[int],
        sort: Sort,
        watched: frozenset[str],
        *,
        empty: str,
        away: bool,
    ) -> None:
        """Show lines of a board; *empty* says why there are none, *away* that nothing new is heard."""
        is_other = sort.key != self._sort.key
        self._board, self._lines, self._sort, self._watched = board, lines, sort, watched
        self._empty, self._away = empty, away
        if self._known_of[0] is not board.table or self._known_of[1] is not board.listed:
            self._known, self._known_of = columns(board), (board.table, board.listed)
        self._first = min(self._first, self._most)
        if is_other:
            self._unhide(sort.key)
        names = [board.listed[row].symbol for row in lines]
        # Who has not left the first line wants to see whoever is first.
        stays, was_seen = self._at > 0 and self.chosen in names, self._is_seen()
        self._at = names.index(str(self.chosen)) if stays else max(0, min(self._at, len(names) - 1))
        self._choose(names[self._at] if names else None)
        self.virtual_size = Size(self._width, len(lines) + 1)
        if was_seen:
            self._reveal()
        self.refresh()

    @property
    def _most(self) -> int:
        """How many columns can be left out at the left."""
        return max(0, sum(not one.pinned for one in self._known) - 1)

    @property
    def row(self) -> int | None:
        """The row of the chosen symbol."""
        return self._lines[self._at] if self._at < len(self._lines) else None

    def render_line(self, y: int) -> Strip:
        """Write the head, or the line at this place of the window."""
        width = self._width
        shown = layout(self._known, width, self._first)
        if y == 0:
            return self._head(shown).adjust_cell_length(width, self.look.head)
        at = y - 1 + self.scroll_offset.y
        if at < len(self._lines):
            return self._line(at, shown).adjust_cell_length(width, self._ground(at))
        said = self._empty if y == 2 and not self._lines else ""
        style = self.look.ground + self.look.tones["dim"]
        return Strip([Segment(f"  {said}", style)]).adjust_cell_length(width, self.look.ground)

    def _head(self, shown: Sequence[Column]) -> Strip:
        segments = []
        for column in shown:
            sorted_by = column.key == self._sort.key
            title = f"{column.title}{_ARROWS[self._sort.descending]}" if sorted_by else column.title
            style = self.look.head + Style(bold=sorted_by)
            segments.append(Segment(fit(title, column.width, right=column.right) + _GAP, style))
        return Strip(segments)

    def _line(self, at: int, shown: Sequence[Column]) -> Strip:
        row, ground = self._lines[at], self._ground(at)
        dim = self._away or row in self._board.staleness
        watched = self._board.listed[row].symbol in self._watched
        segments = []
        for column in shown:
            found = cell(self._board, column, row, watched=watched)
            tone = "dim" if dim and found.tone not in {"warn", "accent"} else found.tone
            text = fit(found.text, column.width, right=column.right)
            segments += [Segment(text, ground + self.look.tones[tone]), Segment(_GAP, ground)]
        return Strip(segments)

    def _ground(self, at: int) -> Style:
        return self.look.ground + self.look.chosen if at == self._at else self.look.ground

    def _choose(self, symbol: str | None) -> None:
        if symbol != self.chosen:
            self.chosen = symbol
            self.post_message(self.Chosen())

    def action_move(self, by: int) -> None:
        """Choose a line so many below."""
        self._go(self._at + by)

    def action_page(self, by: int) -> None:
        """Choose a line a window below or above."""
        self._go(self._at + by * self._room)

    def action_move_to(self, place: int) -> None:
        """Choose the first line, or the last."""
        self._go(place if place >= 0 else len(self._lines) - 1)

    def action_shift(self, by: int) -> None:
        """Move the columns that are not pinned."""
        self._first = max(0, min(self._first + by, self._most))
        self.refresh()

    def action_open(self) -> None:
        """Ask for the detail of the chosen symbol."""
        if self.row is not None:
            self.post_message(self.Opened())

    def _go(self, at: int) -> None:
        if not self._lines:
            return
        self._at = max(0, min(at, len(self._lines) - 1))
        self._choose(self._board.listed[self._lines[self._at]].symbol)
        self._reveal()
        self.refresh()

    def _is_seen(self) -> bool:
        return self.scroll_offset.y <= self._at < self.scroll_offset.y + self._room

    @property
    def _width(self) -> int:
        """How many cells a line has beside the scrollbar."""
        return self.scrollable_content_region.width

    @property
    def _room(self) -> int:
        """How many lines the window has below the head."""
        return max(1, self.size.height - 1)

    def _reveal(self) -> None:
        """Bring the chosen line into the window."""
        top = self.scroll_offset.y
        if self._at < top:
            self.scroll_to(y=self._at, animate=False, immediate=True)
        elif self._at >= top + self._room:
            self.scroll_to(y=self._at - self._room + 1, animate=False, immediate=True)

    def _unhide(self, key: str) -> None:
        """Move the columns as little as shows this one."""
        others = [one.key for one in self._known if not one.pinned]
        if key in others:
            self._first = min(self._first, others.index(key))
            while key not in {one.key for one in layout(self._known, self._width, self._first)}:
                if self._first == others.index(key):
                    return
                self._first += 1

    def on_click(self, event: events.Click) -> None:
        """Sort by a head, choose a line, or open it by two clicks."""
        place = event.get_content_offset(self)
        if place is None:
            return
        if place.y == 0:
            self._click_head(place.x)
            return
        at = place.y - 1 + self.scroll_offset.y
        if at < len(self._lines):
            self._go(at)
            if event.chain == 2:
                self.action_open()

    def _click_head(self, x: int) -> None:
        left = 0
        for column in layout(self._known, self._width, self._first):
            left += column.width + 1
            if x < left:
                if column.sortable:
                    self.post_message(self.Sorted(column.key))
                return
