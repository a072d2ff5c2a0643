"""Mark prices, funding and open interest, as Binance USDⓈ-M tells them in frames and in REST bodies."""

import sys
from math import nan
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from klinehub.errors import FeedError
from klinehub.feed.binance import MOST_TIME
from klinehub.feed.rows import UNREADABLE, each, rows_of_body, rows_of_frame

MARKS: Final = "!markPrice@arr"
PREMIUM_INDEX: Final = "/fapi/v1/premiumIndex"
PREMIUM_INDEX_WEIGHT: Final = 10
OPEN_INTEREST: Final = "/fapi/v1/openInterest"
FUNDING_INFO: Final = "/fapi/v1/fundingInfo"
# Since the two markets were merged the stream also tells of what is margined in coins.
COIN_MARGINED: Final = 2

# Numbers are texts here, so they are read leniently; times would then be rounded to whole numbers, unless a
# float is one of the things that they may be.
Time = Annotated[int, msgspec.Meta(ge=0, le=MOST_TIME)] | float
Size = Annotated[float, msgspec.Meta(ge=0, le=sys.float_info.max)]
# No contract pays a hundred times its worth; nothing is written where there is no funding.
Rate = Annotated[float, msgspec.Meta(ge=-100, le=100)] | Literal[""]


class Mark(NamedTuple):
    """What was told of a symbol at *time* (ms): NaN is not known, and for a contract without funding."""

    symbol: str
    time: int
    mark_price: float
    index_price: float
    funding_rate: float


def _whole(*times: float) -> None:
    """Refuse times that are no whole numbers."""
    if float in map(type, times):
        raise ValueError("a time is a whole number of ms")


class _Event(msgspec.Struct):
    s: str
    E: Time
    p: Size
    i: Size
    r: Rate = ""
    T: Time = 0
    st: int = 1

    def __post_init__(self) -> None:
        _whole(self.E, self.T)


class _Premium(msgspec.Struct, rename="camel"):
    symbol: str
    time: Time
    mark_price: Size
    index_price: Size
    last_funding_rate: Rate = ""
    next_funding_time: Time = 0

    def __post_init__(self) -> None:
        _whole(self.time, self.next_funding_time)


class _Interest(msgspec.Struct, rename="camel"):
    open_interest: Size
    time: Time

    def __post_init__(self) -> None:
        _whole(self.time)


class _Hours(msgspec.Struct, rename="camel"):
    symbol: str
    funding_interval_hours: Annotated[int, msgspec.Meta(ge=1, le=168)]


_event = msgspec.json.Decoder(_Event, strict=False).decode
_premium = msgspec.json.Decoder(_Premium, strict=False).decode
_interest = msgspec.json.Decoder(_Interest, strict=False).decode
_hours = msgspec.json.Decoder(_Hours).decode


def _mark(symbol: str, time: float, mark: float, index: float, rate: float | str, funding: float) -> Mark:
    """Give a mark; a price of zero is none, and there is no rate where no funding comes."""
    known = isinstance(rate, float) and funding > 0
    return Mark(symbol, int(time), mark or nan, index or nan, float(rate) if known else nan)


def parse_marks(frame: bytes) -> tuple[list[Mark], int]:
    """Read a frame of mark prices, raw or combined; gives them and how many rows could not be read.

    Raises FeedError when it is none. What is margined in coins is left out.
    """
    rows, unread = each(rows_of_frame(frame, "mark prices"), _event)
    told = [_mark(row.s, row.E, row.p, row.i, row.r, row.T) for row in rows if row.st != COIN_MARGINED]
    return told, unread


def parse_premiums(body: bytes) -> tuple[list[Mark], int]:
    """Read a premiumIndex body of all symbols; gives them and how many rows could not be read."""
    rows, unread = each(rows_of_body(body, "mark prices"), _premium)
    return [_mark(*msgspec.structs.astuple(row)) for row in rows], unread


def parse_open_interest(body: bytes) -> tuple[int, float]:
    """Read an openInterest body: its time (ms) and the contracts, in units of the base asset."""
    try:
        told = _interest(body)
    except UNREADABLE as exc:
        raise FeedError(f"The open interest could not be read ({exc}). Check `exchange.rest_url`.") from exc
    return int(told.time), told.open_interest


def parse_funding_hours(body: bytes) -> dict[str, int]:
    """Read a fundingInfo body: the hours between two fundings of the symbols that it names."""
    rows, _ = each(rows_of_body(body, "funding intervals"), _hours)
    return {row.symbol: row.funding_interval_hours for row in rows}
