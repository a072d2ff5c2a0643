"""Wording: how figures are written for people, in tables on the terminal and on the page."""

from collections.abc import Callable
from functools import partial
from typing import Final

from klinehub.evidence.result import Span

UNKNOWN: Final = "not known"
Written = Callable[[float | None], str]


def decimal(value: float | None, digits: int = 4, *, unknown: str = UNKNOWN) -> str:
    """Write a number with its sign: +0.0123."""
    return unknown if value is None else _signed(f"{value:+.{digits}f}")


def percent(value: float | None, digits: int = 1, *, sign: bool = True, unknown: str = UNKNOWN) -> str:
    """Write a share in percent: +1.2%."""
    return unknown if value is None else _signed(f"{value:{'+' if sign else ''}.{digits}%}")


def share(value: float | None, digits: int = 0) -> str:
    """Write a share that has no sign in percent: 12%."""
    return percent(value, digits, sign=False)


def ends(span: Span | None, written: Written = decimal, *, unknown: str = UNKNOWN) -> str:
    """Write an interval by its ends: +0.0100 to +0.0200."""
    return unknown if span is None else f"{written(span[0])} to {written(span[1])}"


def counted(number: int, what: str) -> str:
    """Write how many there are: 1 bar, 1,200 bars."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _signed(text: str) -> str:
    """Take the sign off what was rounded to nothing."""
    return text if any(digit in text for digit in "123456789") else text.lstrip("+-")


fine: Final = partial(percent, digits=3)
