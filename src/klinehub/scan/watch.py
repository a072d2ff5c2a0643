"""Watching: conditions on symbols that somebody holds, as screens that look at these alone."""

from collections.abc import Sequence
from typing import Final

from klinehub.errors import DefinitionError
from klinehub.factors.expr import Expr, field
from klinehub.factors.stock import stock_factor
from klinehub.scan.screen import Screen

ATR_BARS: Final = 14


def watch(name: str, symbols: Sequence[str], when: Expr, timeframe: str | None = None) -> Screen:
    """Make a rule for *symbols*: they are told at each close at which *when* holds.

    With `turned(when)` they are told once, when it comes to hold.
    """
    if isinstance(symbols, str) or not symbols:
        raise DefinitionError(f"{name} watches {symbols!r}: give a list of symbols, for example ['BTCUSDT'].")
    return Screen(name=name, timeframe=timeframe, where=when, symbols=tuple(symbols))


def turned(condition: Expr) -> Expr:
    """Say where a condition holds that did not hold at the bar before."""
    return condition & ~condition.lag(1)


def trend_flip() -> Expr:
    """Say where the trend (EMA 20 against EMA 50) has changed its side since the bar before."""
    is_up = stock_factor("trend")() > 0
    return is_up.ne(is_up.lag(1))


def crossing(value: Expr, level: float) -> Expr:
    """Say where a value has gone over *level*, upwards or downwards, since the bar before."""
    above = value > level
    return above.ne(above.lag(1))


def stop_within(stop: float, ranges: float) -> Expr:
    """Say where the close is at most so many average true ranges away from a *stop* price, or beyond it."""
    if not stop > 0.0 or not ranges > 0.0:
        raise DefinitionError(f"stop_within({stop}, {ranges}): give a price and a distance above 0.")
    atr = stock_factor("atr_percent")(ATR_BARS) / 100 * field("close")
    return (field("close") - stop).abs() <= ranges * atr
