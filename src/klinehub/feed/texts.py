"""Tickers and marks in the exchange's own texts, read of frames and of REST bodies.

What is kept here is printed again for others, so a text is a number as the exchange writes numbers, or its
row is not taken. Rows of what is not listed, or margined in coins, are left out.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from klinehub.domain.listing import SPOT, Listing
from klinehub.domain.texts import Book, DayTexts, MarkTexts, MiniTexts
from klinehub.feed.binance import MOST_TIME
from klinehub.feed.marks import COIN_MARGINED
from klinehub.feed.rows import UNREADABLE, rows_of_body, rows_of_frame

_NUMBER: Final = r"(?:0|[1-9][0-9]{0,29})(?:\.[0-9]{1,30})?"
_PERHAPS: Final = rf"(?:-?{_NUMBER})?"
# All texts of a row are looked at together, with a comma after each, which no number holds: one by one they
# would cost three times as much.
_mini_fits: Final = re.compile(rf"(?:{_NUMBER},){{6}}").fullmatch
_day_fits: Final = re.compile(rf"(?:-?{_NUMBER},){{2}}(?:{_NUMBER},){{8}}").fullmatch
_book_fits: Final = re.compile(rf"(?:{_NUMBER},){{5}}").fullmatch
_mark_fits: Final = re.compile(rf"(?:{_NUMBER},){{2}}(?:{_PERHAPS},){{3}}").fullmatch

Time = Annotated[int, msgspec.Meta(ge=0, le=MOST_TIME)]
# -1 where nothing was traded.
Count = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]
Market = Mapping[str, Listing]
Texts_co = TypeVar("Texts_co", bound=MiniTexts | MarkTexts, covariant=True)


class _Wire(Protocol[Texts_co]):
    """A row as it came."""

    def texts(self, listing: Listing) -> Texts_co:
        """Give what it tells of the listing that it names."""


class Rows(NamedTuple, Generic[Texts_co]):
    """What could be read, and the symbols of what could not: empty where not even that was told."""

    told: list[Texts_co]
    unread: list[str]


def _fit(fits: Callable[[str], object], *texts: str) -> None:
    """Refuse a row one of whose texts is no number."""
    if not fits(",".join((*texts, ""))):
        raise ValueError("a number is not written as the exchange writes numbers")


def _pair(listing: Listing) -> str:
    return "" if listing.contract_type == SPOT else listing.pair


class _Who(msgspec.Struct):
    """Of whom a row tells: streams and bodies have another name for it."""

    s: str = ""
    symbol: str = ""
    st: int = 1


class _Mini(msgspec.Struct):
    E: Time
    c: str
    o: str
    h: str
    l: str  # noqa: E741 - the exchange's name
    v: str
    q: str

    def __post_init__(self) -> None:
        _fit(_mini_fits, self.c, self.o, self.h, self.l, self.v, self.q)

    def texts(self, listing: Listing) -> MiniTexts:
        return MiniTexts(
            listing.symbol, _pair(listing), self.E, self.c, self.o, self.h, self.l, self.v, self.q
        )


class _Day(msgspec.Struct):
    E: Time
    p: str
    P: str
    w: str
    c: str
    Q: str
    o: str
    h: str
    l: str  # noqa: E741 - the exchange's name
    v: str
    q: str
    O: Time  # noqa: E741 - the exchange's name
    C: Time
    F: Count
    L: Count
    n: Count

    def __post_init__(self) -> None:
        more = (self.w, self.c, self.Q, self.o, self.h, self.l, self.v, self.q)
        _fit(_day_fits, self.p, self.P, *more)

    def texts(self, listing: Listing) -> DayTexts:
        return DayTexts(
            symbol=listing.symbol,
            pair=_pair(listing),
            time=self.E,
            last=self.c,
            open=self.o,
            high=self.h,
            low=self.l,
            volume=self.v,
            quote_volume=self.q,
            change=self.p,
            percent=self.P,
            average=self.w,
            quantity=self.Q,
            open_time=self.O,
            close_time=self.C,
            first_id=self.F,
            last_id=self.L,
            trades=self.n,
        )


class _DayBody(msgspec.Struct, rename="camel"):
    price_change: str
    price_change_percent: str
    weighted_avg_price: str
    last_price: str
    last_qty: str
    open_price: str
    high_price: str
    low_price: str
    volume: str
    quote_volume: str
    open_time: Time
    close_time: Time
    first_id: Count
    last_id: Count
    count: Count
    # The others are spot's alone.
    prev_close_price: str | None = None
    bid_price: str = ""
    bid_qty: str = ""
    ask_price: str = ""
    ask_qty: str = ""

    def __post_init__(self) -> None:
        change = (self.price_change, self.price_change_percent, self.weighted_avg_price)
        prices = (self.last_price, self.last_qty, self.open_price, self.high_price, self.low_price)
        _fit(_day_fits, *change, *prices, self.volume, self.quote_volume)
        if self.prev_close_price is not None:
            book = (self.bid_price, self.bid_qty, self.ask_price, self.ask_qty)
            _fit(_book_fits, self.prev_close_price, *book)

    def texts(self, listing: Listing) -> DayTexts:
        before = self.prev_close_price
        book = (self.bid_price, self.bid_qty, self.ask_price, self.ask_qty)
        return DayTexts(
            symbol=listing.symbol,
            pair=_pair(listing),
            time=self.close_time,
            last=self.last_price,
            open=self.open_price,
            high=self.high_price,
            low=self.low_price,
            volume=self.volume,
            quote_volume=self.quote_volume,
            change=self.price_change,
            percent=self.price_change_percent,
            average=self.weighted_avg_price,
            quantity=self.last_qty,
            open_time=self.open_time,
            close_time=self.close_time,
            first_id=self.first_id,
            last_id=self.last_id,
            trades=self.count,
            book=None if before is None else Book(before, *book),
        )


class _Mark(msgspec.Struct):
    E: Time
    p: str
    i: str
    ap: str = ""
    P: str = ""
    r: str = ""
    T: Time = 0

    def __post_init__(self) -> None:
        _fit(_mark_fits, self.p, self.i, self.ap, self.P, self.r)

    def texts(self, listing: Listing) -> MarkTexts:
        rate = self.r
        return MarkTexts(listing.symbol, self.E, self.p, self.ap, self.i, self.P, rate, rate, "", self.T)


class _Premium(msgspec.Struct, rename="camel"):
    time: Time
    mark_price: str
    index_price: str
    estimated_settle_price: str = ""
    last_funding_rate: str = ""
    interest_rate: str = ""
    next_funding_time: Time = 0

    def __post_init__(self) -> None:
        rates = (self.last_funding_rate, self.interest_rate)
        _fit(_mark_fits, self.mark_price, self.index_price, self.estimated_settle_price, *rates)

    def texts(self, listing: Listing) -> MarkTexts:
        due, rate = self.next_funding_time, self.last_funding_rate
        return MarkTexts(
            symbol=listing.symbol,
            time=self.time,
            price=self.mark_price,
            average="",
            index=self.index_price,
            settle=self.estimated_settle_price,
            rate=rate if due else "",
            last_rate=rate,
            interest=self.interest_rate,
            next_funding=due,
        )


_who = msgspec.json.Decoder(_Who).decode
_mini = msgspec.json.Decoder(_Mini).decode
_day = msgspec.json.Decoder(_Day).decode
_day_body = msgspec.json.Decoder(_DayBody).decode
_mark = msgspec.json.Decoder(_Mark).decode
_premium = msgspec.json.Decoder(_Premium).decode


def _told(
    raws: Iterable[msgspec.Raw], decode: Callable[[Any], _Wire[Texts_co]], listed: Market
) -> Rows[Texts_co]:
    """Read the rows that tell of what is listed."""
    rows, unread = [], []
    for raw in raws:
        symbol = ""
        try:
            who = _who(raw)
            listing = listed.get(who.s or who.symbol)
            if listing is None or who.st == COIN_MARGINED:
                continue
            symbol = listing.symbol
            rows.append(decode(raw).texts(listing))
        except UNREADABLE:
            unread.append(symbol)
    return Rows(rows, unread)


def minis_of_frame(frame: bytes, listed: Market) -> Rows[MiniTexts]:
    """Read a frame of 24hrMiniTicker events; raises FeedError when it is none, as all of these do."""
    return _told(rows_of_frame(frame, "tickers"), _mini, listed)


def days_of_frame(frame: bytes, listed: Market) -> Rows[DayTexts]:
    """Read a frame of 24hrTicker events."""
    return _told(rows_of_frame(frame, "tickers"), _day, listed)


def days_of_body(body: bytes, listed: Market) -> Rows[DayTexts]:
    """Read a ticker/24hr body of all symbols, in its order; it is told at the end of each one's 24 hours."""
    return _told(rows_of_body(body, "24 h tickers"), _day_body, listed)


def marks_of_frame(frame: bytes, listed: Market) -> Rows[MarkTexts]:
    """Read a frame of markPriceUpdate events, which tell no interest."""
    return _told(rows_of_frame(frame, "mark prices"), _mark, listed)


def marks_of_body(body: bytes, listed: Market) -> Rows[MarkTexts]:
    """Read a premiumIndex body of all symbols, in its order."""
    return _told(rows_of_body(body, "mark prices"), _premium, listed)
