"""What the dialect needs to know about a market; a simulated one or the hub's own panel."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from klinehub.domain.clock import Clock
from klinehub.domain.kline import Exact
from klinehub.domain.listing import Listing
from klinehub.domain.texts import DayTexts, MarkTexts, MiniTexts, Traded
from klinehub.domain.timeframe import Timeframe


class Source(Protocol):
    """A market as the dialect reads it; unknown symbols are asked for `listing` first."""

    clock: Clock

    def listings(self) -> Sequence[Listing]:
        """Give everything listed now, in the order of exchangeInfo."""

    def listing(self, symbol: str) -> Listing | None:
        """Give one listing by its symbol in capitals, None where there is none."""

    def klines(self, symbol: str, timeframe: Timeframe, first: int | None, last: int, limit: int) -> Exact:
        """Give up to *limit* bars with absolute indices in [first, last], the forming one included.

        With *first* the oldest of them, without it the newest.
        """

    def ticker(self, symbol: str) -> DayTexts | None:
        """Give the last 24 hours of a symbol; None where it has no bars."""

    def tickers(self) -> Iterable[DayTexts]:
        """Give the last 24 hours of all that trade, in the order in which REST prints them."""

    def mini(self, symbol: str) -> MiniTexts | None:
        """Give the last 24 hours of a symbol in short, which may be known when the rest is not."""

    def last_trade(self, symbol: str) -> Traded | None:
        """Give the last price of a symbol; None where there was none in 24 hours."""

    def last_trades(self) -> Iterable[Traded]:
        """Give the last prices of all that trade, in the order in which REST prints them."""

    def mark(self, symbol: str) -> MarkTexts | None:
        """Give mark price and funding of a symbol; None where it has none."""

    def marks(self) -> Iterable[MarkTexts]:
        """Give mark prices and funding of all that trade, in the order in which REST prints them."""

    def funding_hours(self, symbol: str) -> int | None:
        """Give the hours between two fundings of a symbol; None where it has none."""

    def open_interest(self, symbol: str) -> str:
        """Give the open interest in base asset units, as printed."""
