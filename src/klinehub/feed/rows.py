"""Rows: what frames and bodies of a whole market are lists of, each read by itself."""

import re
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import msgspec

from klinehub.errors import FeedError

# What msgspec raises for bytes of any kind: no JSON, no UTF-8, too many brackets in each other.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# What a frame tells stands near its beginning: in the name of its stream, or in its first event.
_KIND: Final = re.compile(
    rb'"!(ticker|miniTicker|markPrice)@arr|"(?:24hr(Ticker|MiniTicker)|(markPrice)Update)"',
)
_HEAD: Final = 128
TICKERS: Final = "ticker"
MINI_TICKERS: Final = "miniTicker"
MARK_PRICES: Final = "markPrice"

Row = TypeVar("Row")


class _Frame(msgspec.Struct):
    data: list[msgspec.Raw]


_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_frame = msgspec.json.Decoder(_Frame).decode


def kind_of(frame: bytes) -> str:
    """Say whether a frame tells TICKERS, MINI_TICKERS or MARK_PRICES of the market; empty for neither."""
    found = _KIND.search(frame, 0, _HEAD)
    if found is None:
        return ""
    kind = found[found.lastindex or 0].decode()
    return kind[0].lower() + kind[1:]


def rows_of_frame(frame: bytes, what: str) -> list[msgspec.Raw]:
    """Give the rows of a frame, raw or combined; raises FeedError when it is none of *what*."""
    try:
        return _raws(frame) if frame.lstrip()[:1] == b"[" else _frame(frame).data
    except UNREADABLE as exc:
        raise FeedError(f"A frame of {what} could not be read ({exc}).") from exc


def rows_of_body(body: bytes, what: str) -> list[msgspec.Raw]:
    """Give the rows of a REST body; raises FeedError when it is none of *what*."""
    try:
        return _raws(body)
    except UNREADABLE as exc:
        raise FeedError(f"The {what} could not be read ({exc}). Check `exchange.rest_url`.") from exc


def each(raws: Iterable[msgspec.Raw], read: Callable[[msgspec.Raw], Row]) -> tuple[list[Row], int]:
    """Read every row by itself, so that one that cannot be read costs no other; gives how many there were."""
    rows, unread = [], 0
    for raw in raws:
        try:
            rows.append(read(raw))
        except UNREADABLE:
            unread += 1
    return rows, unread
