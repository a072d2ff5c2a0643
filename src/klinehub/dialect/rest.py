"""The REST routes: one aiohttp application over a `Source`."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from email.utils import formatdate
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

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
from klinehub.domain.kline import Exact
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import Timeframe

_CONTRACTS: Final = ("PERPETUAL", "CURRENT_QUARTER", "NEXT_QUARTER", "TRADIFI_PERPETUAL")

Told = TypeVar("Told")
Query = Mapping[str, str]
Answer = Callable[[Any, Query], bytes]
Tap = Callable[[web.Request, Callable[[web.Request], web.Response]], Awaitable[web.StreamResponse]]


class Wanted(NamedTuple):
    """Klines that are asked for: bars with absolute indices up to *last*, as `Source.klines` takes them."""

    symbol: str
    timeframe: Timeframe
    first: int | None
    last: int
    limit: int


class Reply(NamedTuple):
    """An answer before it is sent; the body is JSON."""

    status: int
    body: bytes
    headers: dict[str, str]

    def response(self, *, zipped: bool) -> web.Response:
        """Make the answer for aiohttp; *zipped* says that the client takes compressed ones."""
        response = web.Response(
            body=self.body, status=self.status, content_type="application/json", headers=self.headers
        )
        if zipped and len(self.body) > _WORTH_ZIPPING:
            response.enable_compression()
        return response


class Rest:
    """Answers REST requests from a source and counts their weight.

    A `tap`, where there is one, gets each request with the way to answer it, and answers as it likes.
    Weight is counted and answers are dated by `clock`, whatever the source's own clock says.
    """

    manner: ClassVar[Manner] = FUTURES
    routes: ClassVar[dict[str, Answer]]
    # The paths that klines are asked for at.
    klines: ClassVar[dict[str, Callable[[Any, Query], Wanted]]]

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
        client, query = request.remote or "127.0.0.1", request.query
        try:
            headers = self.charge(request.path, query, client)
            reply = Reply(200, self.body(request.method, request.path, query), headers)
        except Rejected as error:
            reply = self.refusal(error, client)
        return reply.response(zipped="gzip" in request.headers.get("Accept-Encoding", ""))

    def charge(self, path: str, query: Query, client: str) -> dict[str, str]:
        """Count the weight of a *client*'s request; gives the headers of its answer, raises Refused."""
        weight = self.manner.weigh(path, query)
        return self._headers(self.tally.spend(client, weight, self.clock.now()).used)

    def refusal(self, error: Rejected, client: str) -> Reply:
        """Give the answer to a request that is turned down."""
        headers = self._headers(self.tally.account(client, self.clock.now()).used)
        if isinstance(error, Refused):
            headers["Retry-After"] = str(error.wait)
        body = msgspec.json.encode({"code": error.code, "msg": error.message})
        return Reply(error.status, body, headers)

    def _headers(self, used: int) -> dict[str, str]:
        # Exchange time: the server would tell the machine's own.
        date = formatdate(self.clock.now() / 1000, usegmt=True)
        return {"Date": date, "X-MBX-USED-WEIGHT-1M": str(used)}

    def body(self, method: str, path: str, query: Query) -> bytes:
        """Give the body of an answer; raises Rejected for a request that gets none."""
        wanted = self.wanted(method, path, query)
        if wanted is None:
            return self.routes[path](self, query)
        return self.printed(self.source.klines(*wanted), wanted.timeframe)

    def wanted(self, method: str, path: str, query: Query) -> Wanted | None:
        """Check a request and give the klines that it asks for, None where it asks for something else.

        Raises Rejected, also for a path that does not exist.
        """
        asked = self.klines.get(path)
        if method != "GET" or (asked is None and path not in self.routes):
            raise invalid_path(path, method)
        if len(query) != len(set(query)):
            raise Rejected(-1101, "Duplicate values for a parameter detected.")
        return None if asked is None else asked(self, query)

    def printed(self, rows: Exact, timeframe: Timeframe) -> bytes:
        """Give the body of a klines answer."""
        return rows_json(rows, timeframe, bare_zero=self.manner.bare_zero)

    def known(self, query: Query) -> Listing:
        """Give the listing that the mandatory parameter `symbol` names."""
        listing = self.source.listing(legal_symbol(mandatory(query, "symbol")))
        if listing is None:
            raise invalid_symbol()
        return listing

    def ping(self, _: Query) -> bytes:
        """Answer that the exchange is there."""
        return b"{}"

    def time(self, _: Query) -> bytes:
        """Give exchange time."""
        return b'{"serverTime":%d}' % self.source.clock.now()

    def info(self, _: Query) -> bytes:
        """List everything that is listed."""
        body = exchange_info(self.source.listings(), self.source.clock.now(), self.tally.limit)
        return msgspec.json.encode(body)

    def of_symbol(self, query: Query) -> Wanted:
        """Read a request for the bars of a symbol."""
        symbol = legal_symbol(mandatory(query, "symbol"))
        mandatory(query, "interval")
        if self.source.listing(symbol) is None:
            raise invalid_symbol()
        return self._wanted(symbol, query)

    def of_contract(self, query: Query) -> Wanted:
        """Read a request for the bars of a pair's contract of one kind."""
        pair = legal_symbol(mandatory(query, "pair"), "pair")
        kind = mandatory(query, "contractType")
        if kind not in _CONTRACTS:
            raise Rejected(-4104, "Invalid contract type.")
        found = [one for one in self.source.listings() if one.pair == pair and one.contract_type == kind]
        if not found:
            raise Rejected(-4144, "Invalid pair.")
        return self._wanted(found[0].symbol, query)

    def _wanted(self, symbol: str, query: Query) -> Wanted:
        """Apply the range rules: oldest rows from a start, else the newest; bounds are open times."""
        asked = asked_klines(query, self.manner.most_rows, cut=self.manner.cuts_rows)
        frame, now = asked.timeframe, self.source.clock.now()
        last = frame.index(now if asked.end is None else min(asked.end, now))
        first = None if asked.start is None else frame.index(max(asked.start, 0) - 1) + 1
        if first is not None and self.manner.from_end:
            first = max(first, last - asked.limit + 1)
        return Wanted(symbol, frame, first, last, asked.limit)

    def day_tickers(self, query: Query) -> bytes:
        """Give the last 24 hours of a symbol or of all that trade."""
        return self.each(query, self.source.ticker, self.source.tickers, day_ticker)

    def prices(self, query: Query) -> bytes:
        """Give the last price of a symbol or of all that trade."""
        return self.each(query, self.source.last_trade, self.source.last_trades, price_ticker)

    def marks(self, query: Query) -> bytes:
        """Give mark price and funding of a symbol or of all that trade."""
        return self.each(query, self.source.mark, self.source.marks, mark_price)

    def fundings(self, _: Query) -> bytes:
        """Give the funding intervals of the perpetuals that trade."""
        hours = {
            one.symbol: self.source.funding_hours(one.symbol) for one in self.source.listings() if one.trading
        }
        return msgspec.json.encode([funding_info(name, each) for name, each in hours.items() if each])

    def each(
        self,
        query: Query,
        one: Callable[[str], Told | None],
        everything: Callable[[], Iterable[Told]],
        body: Callable[[Told], dict[str, Any]],
    ) -> bytes:
        """Give the body of the symbol asked for, or those of everything."""
        if "symbol" not in query:
            return msgspec.json.encode([body(told) for told in everything()])
        found = one(self.known(query).symbol)
        if found is None:
            raise invalid_symbol()
        return msgspec.json.encode(body(found))

    def open_interest(self, query: Query) -> bytes:
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
    "/fapi/v1/ticker/24hr": Rest.day_tickers,
    "/fapi/v1/ticker/price": Rest.prices,
    "/fapi/v2/ticker/price": Rest.prices,
    "/fapi/v1/premiumIndex": Rest.marks,
    "/fapi/v1/openInterest": Rest.open_interest,
    "/fapi/v1/fundingInfo": Rest.fundings,
}
Rest.klines = {"/fapi/v1/klines": Rest.of_symbol, "/fapi/v1/continuousKlines": Rest.of_contract}
