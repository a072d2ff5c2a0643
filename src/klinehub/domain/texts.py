"""Texts: a symbol's last 24 hours and mark price exactly as the exchange prints them.

What is printed again must not be counted again: every number is kept as its text, times are ms UTC.
"""

from typing import NamedTuple

import msgspec


class Book(NamedTuple):
    """What spot prints beside a ticker: the close 24 hours ago, and the best bid and ask."""

    previous_close: str
    bid: str
    bid_quantity: str
    ask: str
    ask_quantity: str


class MiniTexts(msgspec.Struct, frozen=True):
    """The last 24 hours in short; `pair` is empty on spot, `time` is when this was told."""

    symbol: str
    pair: str
    time: int
    last: str
    open: str
    high: str
    low: str
    volume: str
    quote_volume: str


class DayTexts(MiniTexts, frozen=True):
    """The last 24 hours in full; `quantity` is that of the last trade, only spot has a `book`."""

    change: str
    percent: str
    average: str
    quantity: str
    open_time: int
    close_time: int
    first_id: int
    last_id: int
    trades: int
    book: Book | None = None


class MarkTexts(msgspec.Struct, frozen=True):
    """Mark price and funding; `time` is when this was told, `next_funding` 0 where there is none.

    Where there is no funding the streams say so in their own way, so that `rate` is what they print and
    `last_rate` what premiumIndex does; `interest` is told by that alone. `average` is empty if not told.
    """

    symbol: str
    time: int
    price: str
    average: str
    index: str
    settle: str
    rate: str
    last_rate: str
    interest: str
    next_funding: int


class Traded(NamedTuple):
    """The last price of a symbol, and when it was (ms UTC)."""

    symbol: str
    price: str
    time: int
