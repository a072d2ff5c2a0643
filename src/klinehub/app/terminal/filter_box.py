"""The filter box: a line to type a filter into, with what is wrong with it below."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static

from klinehub.app.terminal.vocabulary import Vocabulary
from klinehub.serve.board.messages import Wrong


class _Completion(Suggester):
    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._vocabulary = vocabulary
        self.timeframes: Sequence[str] = ()

    async def get_suggestion(self, value: str) -> str | None:
        return self._vocabulary.completed(value, self.timeframes)


class FilterBox(Vertical):
    """Takes a filter; what is wrong with it is told below, with a mark under the place."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "leave it as it was"),
        Binding("tab", "complete", "complete", priority=True),
    ]

    class Entered(Message):
        """A filter was typed and confirmed."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Left(Message):
        """The box was left without a change."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._completion = _Completion(vocabulary)
        # Whether a filter was asked for, and what the hub says to it is waited for.
        self.waiting = False
        self.display = False

    def compose(self) -> ComposeResult:
        """Make the line and the place of what is wrong with it."""
        yield Input(
            placeholder="rsi_1h < 30 and volume_surge > 2",
            suggester=self._completion,
            compact=True,
            select_on_focus=False,
        )
        yield Static("")

    def begin(self, text: str, timeframes: Sequence[str]) -> None:
        """Open the box with a text."""
        self._completion.timeframes = timeframes
        self.waiting, self.display = False, True
        line = self.query_one(Input)
        line.value, line.cursor_position = text, len(text)
        line.focus()
        self.tell(self._vocabulary.wrong(text))

    def end(self) -> None:
        """Close the box."""
        self.waiting = self.display = False

    def tell(self, wrong: Wrong | None) -> None:
        """Say what is wrong with the text, or that Enter takes it."""
        said = self.query_one(Static)
        said.set_class(wrong is not None, "wrong")
        if wrong is None:
            said.update(Content("Enter filters, an empty line shows all, Tab completes, Esc leaves"))
            return
        mark = "" if wrong.place is None else " " * wrong.place + "^\n"
        said.update(Content(mark + wrong.message))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check what is typed."""
        event.stop()
        self.waiting = False
        self.tell(self._vocabulary.wrong(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Ask for the filter; what the hub finds wrong with it is told here too."""
        event.stop()
        self.waiting = True
        self.post_message(self.Entered(event.value.strip()))

    def action_leave(self) -> None:
        """Leave the filter as it was."""
        self.post_message(self.Left())

    def action_complete(self) -> None:
        """Take what is suggested."""
        self.query_one(Input).action_cursor_right()
