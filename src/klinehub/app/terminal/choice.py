"""Choices: small windows over the board, to choose one of several, and to read what the keys do."""

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from klinehub.app.terminal.cells import plain

KEYS: Final = (
    ("↑ ↓ j k", "choose a line; PgUp PgDn, g G: by pages, first and last"),
    ("← →", "columns that do not fit"),
    ("Enter", "one symbol: why its score, its last bars"),
    ("/", "filter, in klinehub's own language"),
    ("s  S", "sort by the next column; the other way round"),
    ("t  T", "the next larger timeframe; the next smaller one"),
    ("p", "a preset: its filter and columns"),
    ("f", "freeze what is shown; again goes on"),
    ("w  W", "mark a symbol to watch; show only those marked"),
    ("d", "dark or light"),
    ("r", "all as at the start: no filter, no preset"),
    ("q  Ctrl-C", "leave"),
)
MARKS: Final = (
    "* watched   N new   D delisting   E has a delivery day   H not trading   dim: stale, see its line"
)


class Choice(ModalScreen[str | None]):
    """Asks for one of several names; gives it, or None when left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "leave", "leave"),
        Binding("j", "cursor(1)", show=False),
        Binding("k", "cursor(-1)", show=False),
    ]

    def __init__(self, title: str, names: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._names = names

    def compose(self) -> ComposeResult:
        """List the names, each with what it is."""
        with Vertical():
            yield Static(Content(self._title), classes="title")
            yield OptionList(
                *(
                    Option(Content.assemble((f"{plain(name):16}", "bold"), f" {plain(about)}"), str(at))
                    for at, (name, about) in enumerate(self._names)
                )
            )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Give what was chosen."""
        self.dismiss(self._names[event.option_index][0])

    def action_leave(self) -> None:
        """Choose nothing."""
        self.dismiss(None)

    def action_cursor(self, by: int) -> None:
        """Move as the table does."""
        listed = self.query_one(OptionList)
        (listed.action_cursor_down if by > 0 else listed.action_cursor_up)()


class Help(ModalScreen[None]):
    """Says what the keys and marks mean."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "leave", "leave")]

    def compose(self) -> ComposeResult:
        """List the keys and the marks."""
        lines = [Content.assemble((f"{keys:10}", "bold"), f" {about}") for keys, about in KEYS]
        with Vertical():
            yield Static(Content("Keys"), classes="title")
            yield Static(Content("\n").join([*lines, Content(""), Content(MARKS)]))

    def action_leave(self) -> None:
        """Go back to the board."""
        self.dismiss(None)
