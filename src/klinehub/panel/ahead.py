"""A panel ahead of its close: the bars that are still open count as if they closed now."""

from collections.abc import Sequence

from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import F64, I64
from klinehub.panel.panel import Panel


class Ahead:
    """The bars of a panel, those of index *bar* as they stand; nothing that is read here is final."""

    def __init__(self, panel: Panel, bar: int) -> None:
        self.timeframe: Timeframe = panel.timeframe
        self.closed_bar = bar
        self._panel = panel

    def __repr__(self) -> str:
        """Show what is looked at, for example `<Ahead 15m, bar 1993102 as it stands>`."""
        return f"<Ahead {self.timeframe.name}, bar {self.closed_bar} as it stands>"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in row order; new ones come at the end."""
        return self._panel.symbols

    @property
    def bars(self) -> int:
        """How many bars of a symbol are kept at most."""
        return self._panel.bars

    @property
    def changes(self) -> I64:
        """How often each row [symbols] was changed other than by a bar at its end."""
        return self._panel.changes

    @property
    def complete_from(self) -> I64:
        """From which absolute index on each row [symbols] is known: a bar that lacks since then is a hole."""
        return self._panel.complete_from

    @property
    def beside(self) -> tuple[str, ...]:
        """Which fields are kept beside the klines."""
        return self._panel.beside

    @property
    def lacks(self) -> frozenset[str]:
        """Which fields of klines the exchange does not tell."""
        return self._panel.lacks

    def cube(self, bar: int, length: int, rows: I64 | None = None, *, beside: Sequence[str] = ()) -> F64:
        """Copy the *length* bars that end at index *bar*: float64 [9, rows, length], NaN for none."""
        read = self._panel.open_cube if bar == self.closed_bar else self._panel.cube
        return read(bar, length, rows, beside=beside)
