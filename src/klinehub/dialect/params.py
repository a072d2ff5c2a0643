"""Request parameters as the exchange checks them, and the error bodies it answers with."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from klinehub.domain.timeframe import TIMEFRAMES, Timeframe

MOST_ROWS: Final = 1500
_DEFAULT_ROWS: Final = 500
_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_SYMBOL: Final = re.compile(r"[\w.-]{1,40}")


class Rejected(Exception):
    """A request that is answered with an error body; the status is 400 unless said otherwise."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        self.code, self.message, self.status = code, message, status
        super().__init__(message)


class Asked(NamedTuple):
    """A checked request for klines; times are ms UTC."""

    timeframe: Timeframe
    start: int | None
    end: int | None
    limit: int


def mandatory(query: Mapping[str, str], name: str) -> str:
    """Give a parameter that must be there."""
    value = query.get(name)
    if not value:
        raise Rejected(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
    return value


def legal_symbol(value: str, name: str = "symbol") -> str:
    """Give a symbol in capitals if it is made of characters that symbols have."""
    if not _SYMBOL.fullmatch(value):
        raise Rejected(
            -1100,
            f"Illegal characters found in parameter '{name}'; legal range is '^[A-Z0-9-_.]{{1,20}}$'.",
        )
    return value.upper()


def number(query: Mapping[str, str], name: str) -> int | None:
    """Give an optional parameter that is a whole number."""
    value = query.get(name)
    if value is None:
        return None
    if not value:
        raise Rejected(-1105, f"Parameter '{name}' was empty.")
    if not _NUMBER.fullmatch(value):
        raise Rejected(
            -1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
        )
    return int(value)


def asked_klines(query: Mapping[str, str], most: int = MOST_ROWS, *, cut: bool = False) -> Asked:
    """Check interval, times and limit of a klines request; with *cut* no limit is too large."""
    interval = mandatory(query, "interval")
    if interval not in TIMEFRAMES:
        raise Rejected(-1120, "Invalid interval.")
    limit = number(query, "limit")
    if limit is not None and cut:
        limit = min(limit, most)
    if limit is not None and not 1 <= limit <= most:
        raise Rejected(-1130, "Data sent for parameter 'limit' is not valid.")
    start, end = number(query, "startTime"), number(query, "endTime")
    if start is not None and end is not None and start > end:
        raise Rejected(-1023, "Start time is greater than end time.")
    return Asked(TIMEFRAMES[interval], start, end, _DEFAULT_ROWS if limit is None else limit)


def invalid_symbol() -> Rejected:
    """Make the answer to a symbol that is not listed."""
    return Rejected(-1121, "Invalid symbol.")


def invalid_path(path: str, method: str) -> Rejected:
    """Make the answer to a path or method that does not exist."""
    return Rejected(-5000, f"Path {path}, Method {method} is invalid")
