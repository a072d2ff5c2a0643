"""What an exchange says of its whole market at once: its listing and the last 24 hours, also as they came."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from klinehub.domain.listing import Listing
from klinehub.domain.ticker import Ticker
from klinehub.feed.binance import contract_sizes, parse_listings, parse_tickers
from klinehub.feed.rest import Answer, RestClient
from klinehub.feed.rows import UNREADABLE
from klinehub.feed.use import Use

_TIME: Final = re.compile(rb'"serverTime"\s*:\s*([0-9]+)')
_SYMBOLS: Final = re.compile(rb'"symbols"\s*:\s*\[\s*')


class _Info(msgspec.Struct):
    symbols: list[msgspec.Raw]


class _Named(msgspec.Struct):
    symbol: str


_info = msgspec.json.Decoder(_Info).decode
_named = msgspec.json.Decoder(_Named).decode


class ListingBody(NamedTuple):
    """An exchangeInfo body as it came; spans are bytes from and to: of its time, its symbols and each one."""

    body: bytes
    time: tuple[int, int]
    inside: tuple[int, int]
    symbols: Mapping[str, tuple[int, int]]

    def at(self, now: int) -> bytes:
        """Give the body as it would come at *now* (ms UTC)."""
        begin, end = self.time
        return b"".join((self.body[:begin], b"%d" % now, self.body[end:]))

    def of(self, symbols: Iterable[str], now: int) -> bytes:
        """Give the body with these *symbols* alone, in their order; KeyError for one that is not listed."""
        some = b",".join(self.body[slice(*self.symbols[name])] for name in symbols)
        (begin, end), (first, last) = self.time, self.inside
        return b"".join((self.body[:begin], b"%d" % now, self.body[end:first], some, self.body[last:]))


def listing_body(body: bytes) -> ListingBody | None:
    """Find the parts of an exchangeInfo body; None where it is not one with a time before its symbols."""
    try:
        raws = [bytes(raw) for raw in _info(body).symbols]
        names = [_named(raw).symbol for raw in raws]
    except UNREADABLE:
        return None
    time = _TIME.search(body)
    begins = (found.end() for found in _SYMBOLS.finditer(body))
    begin = next((at for at in begins if raws and body.startswith(raws[0], at)), None)
    if time is None or begin is None or begin < time.end():
        return None
    spans, at = {}, begin
    for name, raw in zip(names, raws, strict=True):
        # Between two entries is nothing but a comma and white space.
        at = body.index(raw, at)
        spans[name] = (at, at + len(raw))
        at += len(raw)
    return ListingBody(body, time.span(1), (begin, at), spans)


class Listed:
    """Reads the listing and the last 24 hours of the whole market, and keeps the newest of each.

    `symbols` are those of the newest listing, `days` is the newest answer with the last 24 hours.
    """

    def __init__(self, rest: RestClient) -> None:
        self.symbols: Mapping[str, Listing] = {}
        self.days: Answer | None = None
        self._rest = rest
        self._body = b""
        self._parts: ListingBody | None = None

    @property
    def body(self) -> ListingBody | None:
        """The newest listing as it came; None before the first, and where its parts are not found."""
        if self._parts is None and self._body:
            self._parts = listing_body(self._body)
        return self._parts

    async def read(self, use: Use = Use.WARM_UP) -> list[Listing]:
        """Read the listing; raises FeedError when that fails. One of nothing does not replace another."""
        venue = self._rest.venue
        body = await self._rest.get(venue.info, {}, weight=venue.info_weight, use=use)
        listings = parse_listings(body)
        if listings:
            self.symbols = {listing.symbol: listing for listing in listings}
            self._body, self._parts = body, None
        return listings

    async def read_days(self, use: Use = Use.WARM_UP) -> dict[str, Ticker]:
        """Read the last 24 hours of every symbol; raises FeedError when that fails."""
        venue = self._rest.venue
        answer = await self._rest.ask(venue.tickers, {}, weight=venue.tickers_weight, use=use)
        tickers = parse_tickers(answer.body, contract_sizes(self.symbols.values()))
        self.days = answer
        return tickers
