"""Blocks: a window of the whole market as plain float arrays, the form that factors read."""

from typing import NamedTuple

from klinehub.panel.memory import F64


class Block(NamedTuple):
    """Nine float64 arrays [symbols, bars], oldest bar first; NaN where a symbol has no closed bar."""

    open: F64
    high: F64
    low: F64
    close: F64
    volume: F64
    quote_volume: F64
    trades: F64
    taker_base: F64
    taker_quote: F64
