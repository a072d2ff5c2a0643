"""What the dialect needs to know about a market; a simulated one or the hub's own panel."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from klinehub.domain.clock import Clock
from klinehub.domain.kline import Exact
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import Timeframe


class Ticker(NamedTuple):
    """The last 24 hours of a symbol as one exact bar, with its newest trade id."""

    listing: Listing
    bar: Exact
    close_time: int
    first_id: int
    last_id: int


class Trade(NamedTuple):
    """The last trade of a symbol: its price and when it was (ms UTC)."""

    listing: Listing
    price: float
    decimals: int
    time: int


class Mark(NamedTuple):
    """Mark and index price of a symbol, as mantissas of 8 decimals, and its funding, paid every *hours*."""

    listing: Listing
    price: int
    index_price: int
    funding: int
    next_funding: int
    hours: int = 8


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

    def ticker(self, symbol: str) -> Ticker | None:
        """Give the last 24 hours of a symbol; None where it has no bars."""

    def last_trade(self, symbol: str) -> Trade | None:
        """Give the last trade of a symbol; None where there was none in 24 hours."""

    def mark(self, symbol: str) -> Mark | None:
        """Give mark price and funding of a symbol; None where it has none."""

    def open_interest(self, symbol: str) -> str:
        """Give the open interest in base asset units, as printed."""
