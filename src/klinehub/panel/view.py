"""What factors read of a panel, wherever its bars come from."""

from collections.abc import Sequence
from typing import Final, Protocol

from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import F64, I64

# The planes of a cube, in order.
PLANES: Final = (
    *("open", "high", "low", "close"),
    *("volume", "quote_volume", "trades", "taker_base", "taker_quote"),
)
# What may be kept beside the klines, and the setting that has it kept.
BESIDE: Final = {
    "mark_price": "market.marks",
    "index_price": "market.marks",
    "funding_rate": "market.marks",
    "open_interest": "market.open_interest",
    "spot_close": "market.spot",
    "spot_quote_volume": "market.spot",
}
# The planes of a cube with what is kept beside: each has its place, whether it was asked for or not.
WIDE: Final = (*PLANES, *BESIDE)


class PanelView(Protocol):
    """Closed bars of one timeframe for all symbols, of a hub or of a recording."""

    timeframe: Timeframe

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in row order; new ones come at the end."""

    @property
    def closed_bar(self) -> int:
        """The newest absolute bar index that any symbol has closed, -1 when there is none."""

    @property
    def bars(self) -> int:
        """How many bars of a symbol are kept at most."""

    @property
    def changes(self) -> I64:
        """How often each row [symbols] was changed other than by a bar at its end."""

    @property
    def complete_from(self) -> I64:
        """From which absolute index on each row [symbols] is known: a bar that lacks since then is a hole."""

    @property
    def beside(self) -> tuple[str, ...]:
        """Which fields are kept beside the klines, of those in BESIDE."""

    @property
    def lacks(self) -> frozenset[str]:
        """Which fields of klines the exchange does not tell."""

    def cube(self, bar: int, length: int, rows: I64 | None = None, *, beside: Sequence[str] = ()) -> F64:
        """Give the *length* bars that end at *bar*, to be read only: float64 [9, rows, length], NaN for none.

        With fields of *beside* the planes are those of WIDE, NaN in those that were not asked for.
        """
