"""The REST routes: one aiohttp application over a `Source`."""

from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Any, ClassVar, Final

import msgspec
from aiohttp import web

from klinehub.dialect.info import exchange_info
from klinehub.dialect.manner import FUTURES, Manner
from klinehub.dialect.params import (
    Rejected,
    asked_klines,
    invalid_path,
    invalid_symbol,
    legal_symbol,
    mandatory,
)
from klinehub.dialect.prices import day_ticker, funding_info, mark_price, price_ticker
from klinehub.dialect.render import rows_json
from klinehub.dialect.source import Source
from klinehub.dialect.tally import Refused, Tally
from klinehub.domain.listing import Listing

_JSON: Final = "application/json"
_CONTRACTS: Final = ("PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER", "TRADIFI_PERPETUAL")
# Symbols that keep their endpoints though nothing trades there any more.

Answer = Callable[[Any, Mapping[str, str]], bytes]
Tap = Callable[[web.Request, Callable[[web.Request], web.Response]], Awaitable[web.StreamResponse]]


class Rest:
    """Answers REST requests from a source and counts their weight.

    A `tap`, where there is one, gets each request with the way to answer it, and answers as it likes.
    Weight is counted and answers are dated by `clock`, whatever the source's own clock says.
    """

    manner: ClassVar[Manner] = FUTURES
    routes: ClassVar[dict[str, Answer]]

    def __init__(self, source: Source, tally: Tally) -> None:
        self.source = source
        self.tally = tally
        self.clock = source.clock
        self.tap: Tap | None = None

    def application(self) -> web.Application:
        """Make the aiohttp application that serves this dialect."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        return self.answer(request) if self.tap is None else await self.tap(request, self.answer)

    def answer(self, request: web.Request) -> web.Response:
        """Answer one request and count its weight."""
        now = self.clock.now()
        address = request.remote or "127.0.0.1"
        # Exchange time: the server would tell the machine's own.
        used, headers = 0, {"Date": formatdate(now / 1000, usegmt=True)}
        try:
            used = self.tally.spend(address, self.manner.weigh(request.path, request.query), now).used
            body, status = self._body(request), 200
        except Rejected as error:
            body = msgspec.json.encode({"code": error.code, "msg": error.message})
            status, used = error.status, self.tally.accounts[address].used
            if isinstance(error, Refused):
                headers["Retry-After"] = str(error.wait)
        headers["X-MBX-USED-WEIGHT-1M"] = str(used)
        response = web.Response(body=body, status=status, content_type=_JSON, headers=headers)
        if "gzip" in request.headers.get("Accept-Encoding", "") and len(body) > _WORTH_ZIPPING:
            response.enable_compression()
        return response

    def _body(self, request: web.Request) -> bytes:
        answer = self.routes.get(request.path)
        if answer is None or request.method != "GET":
            raise invalid_path(request.path, request.method)
        if len(request.query) != len(set(request.query)):
            raise Rejected(-1101, "Duplicate values for a parameter detected.")
        return answer(self, request.query)

    def known(self, query: Mapping[str, str]) -> Listing:
        """Give the listing that the mandatory parameter `symbol` names."""
        listing = self.source.listing(legal_symbol(mandatory(query, "symbol")))
        if listing is None:
            raise invalid_symbol()
        return listing

    def ping(self, _: Mapping[str, str]) -> bytes:
        """Answer that the exchange is there."""
        return b"{}"

    def time(self, _: Mapping[str, str]) -> bytes:
        """Give exchange time."""
        return b'{"serverTime":%d}' % self.source.clock.now()

    def info(self, _: Mapping[str, str]) -> bytes:
        """List everything that is listed."""
        body = exchange_info(self.source.listings(), self.source.clock.now(), self.tally.limit)
        return msgspec.json.encode(body)

    def klines(self, query: Mapping[str, str]) -> bytes:
        """Give the bars of a symbol."""
        symbol = legal_symbol(mandatory(query, "symbol"))
        mandatory(query, "interval")
        if self.source.listing(symbol) is None:
            raise invalid_symbol()
        return self._klines(symbol, query)

    def continuous(self, query: Mapping[str, str]) -> bytes:
        """Give the bars of a pair's contract of one kind."""
        pair = legal_symbol(mandatory(query, "pair"), "pair")
        kind = mandatory(query, "contractType")
        if kind not in _CONTRACTS:
            raise Rejected(-4104, "Invalid contract type.")
        found = [one for one in self.source.listings() if one.pair == pair and one.contract_type == kind]
        if not found:
            raise Rejected(-4144, "Invalid pair.")
        return self._klines(found[0].symbol, query)

    def _klines(self, symbol: str, query: Mapping[str, str]) -> bytes:
        """Apply the range rules: oldest rows from a start, else the newest; bounds are open times."""
        manner = self.manner
        asked = asked_klines(query, manner.most_rows, cut=manner.cuts_rows)
        frame, now = asked.timeframe, self.source.clock.now()
        last = frame.index(now if asked.end is None else min(asked.end, now))
        first = None if asked.start is None else frame.index(max(asked.start, 0) - 1) + 1
        rows = self.source.klines(symbol, frame, first, last, asked.limit)
        return rows_json(rows, frame, bare_zero=manner.bare_zero)

    def day_tickers(self, query: Mapping[str, str]) -> bytes:
        """Give the last 24 hours of a symbol or of all that trade."""
        return self.each(query, self._day_ticker)

    def prices(self, query: Mapping[str, str]) -> bytes:
        """Give the last price of a symbol or of all that trade."""
        return self.each(query, self._price)

    def marks(self, query: Mapping[str, str]) -> bytes:
        """Give mark price and funding of a symbol or of all that trade."""
        return self.each(query, self._mark)

    def fundings(self, _: Mapping[str, str]) -> bytes:
        """Give the funding intervals of the perpetuals that trade."""
        marks = (self.source.mark(one.symbol) for one in self.source.listings() if one.trading)
        return msgspec.json.encode([funding_info(mark) for mark in marks if mark and mark.next_funding])

    def each(self, query: Mapping[str, str], one: Callable[[Listing], dict[str, Any] | None]) -> bytes:
        """Give the body that *one* makes of the symbol asked for, or of each that trades."""
        if "symbol" in query:
            body = one(self.known(query))
            if body is None:
                raise invalid_symbol()
            return msgspec.json.encode(body)
        bodies = (one(listing) for listing in self.source.listings() if listing.trading)
        return msgspec.json.encode([body for body in bodies if body is not None])

    def _day_ticker(self, listing: Listing) -> dict[str, Any] | None:
        ticker = self.source.ticker(listing.symbol)
        return None if ticker is None else day_ticker(ticker)

    def _price(self, listing: Listing) -> dict[str, Any] | None:
        trade = self.source.last_trade(listing.symbol)
        return None if trade is None else price_ticker(trade)

    def _mark(self, listing: Listing) -> dict[str, Any] | None:
        mark = self.source.mark(listing.symbol)
        return None if mark is None else mark_price(mark, self.source.clock.now())

    def open_interest(self, query: Mapping[str, str]) -> bytes:
        """Give a symbol's open interest."""
        symbol = self.known(query).symbol
        amount = self.source.open_interest(symbol)
        return msgspec.json.encode(
            {"symbol": symbol, "openInterest": amount, "time": self.source.clock.now()}
        )


_WORTH_ZIPPING: Final = 200_000
Rest.routes = {
    # Some clients of the futures say hello to the spot exchange first.
    "/api/v3/ping": Rest.ping,
    "/api/v3/time": Rest.time,
    "/fapi/v1/ping": Rest.ping,
    "/fapi/v1/time": Rest.time,
    "/fapi/v1/exchangeInfo": Rest.info,
    "/fapi/v1/klines": Rest.klines,
    "/fapi/v1/continuousKlines": Rest.continuous,
    "/fapi/v1/ticker/24hr": Rest.day_tickers,
    "/fapi/v1/ticker/price": Rest.prices,
    "/fapi/v2/ticker/price": Rest.prices,
    "/fapi/v1/premiumIndex": Rest.marks,
    "/fapi/v1/openInterest": Rest.open_interest,
    "/fapi/v1/fundingInfo": Rest.fundings,
}
