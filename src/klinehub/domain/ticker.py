"""Tickers: what an exchange tells of a symbol's last 24 hours."""

import msgspec


class Ticker(msgspec.Struct, frozen=True):
    """A symbol's last 24 hours, rolling; money is in the quote asset, NaN is what was not told.

    `change_percent` is the last price against that of 24 hours ago; `close_time` is the end of the 24 hours
    in ms UTC of exchange time.
    """

    symbol: str
    quote_volume: float
    change_percent: float
    close_time: int
