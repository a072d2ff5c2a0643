"""Answers: the REST side of a bridge, the dialect's own but for what has to be asked of the exchange."""

from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from klinehub.bridge.digits import Digits
from klinehub.bridge.live import Live
from klinehub.bridge.source import CcxtSource
from klinehub.bridge.upstream import Bar
from klinehub.dialect.params import Rejected
from klinehub.dialect.rest import Query, Reply, Rest, Wanted
from klinehub.dialect.tally import Tally
from klinehub.domain.timeframe import Timeframe


class BridgeRest(Rest):
    """Answers klines and tickers when ccxt has answered; the weight that was used is ccxt's."""

    source: CcxtSource

    def __init__(self, source: CcxtSource, live: Live) -> None:
        super().__init__(source, Tally(limits=False, limit=source.upstream.weight))
        self._live = live
        self.tap = self._asked

    async def _asked(self, request: web.Request, _: object) -> web.StreamResponse:
        client, query = request.remote or "", request.query
        try:
            # The time of an answer is that at which it was asked for: a proof cannot be older.
            headers = self.charge(request.path, query, client)
            body = await self._body(request.method, request.path, query)
            headers["X-MBX-USED-WEIGHT-1M"] = str(self.source.upstream.used)
            reply = Reply(200, body, headers)
        except Rejected as error:
            reply = self.refusal(error, client)
        return reply.response(zipped=False)

    async def _body(self, method: str, path: str, query: Query) -> bytes:
        wanted = self.wanted(method, path, query)
        if wanted is not None:
            return await self._klines(wanted)
        if self.routes[path] is Rest.info:
            await self.source.renew()
        if self.routes[path] in {Rest.day_tickers, Rest.prices}:
            await self.source.read_tickers()
        return self.routes[path](self, query)

    async def _klines(self, wanted: Wanted) -> bytes:
        """Ask for bars; the newest ones without a start, so that the exchange alone says which these are."""
        symbol, frame, first, last, limit = wanted
        source, upstream = self.source, self.source.upstream
        if frame.name not in (upstream.exchange.timeframes or {}):
            raise Rejected(-1120, "Invalid interval.")
        unified, most = source.unified(symbol), upstream.rows(source.kind)
        ends_now = last >= frame.index(self.clock.now())
        if first is None and ends_now:
            bars = await upstream.newest(unified, frame, limit, most)
        else:
            start = last - limit + 1 if first is None else first
            bars = await upstream.between(unified, frame, start, min(last, start + limit - 1), most)
        self._live.came(symbol, frame, bars)
        return rows_body(bars, frame, source.learned(symbol, bars))


def rows_body(bars: Sequence[Bar], frame: Timeframe, digits: Digits) -> bytes:
    """Print bars as the body of a klines answer; what ccxt does not tell is 0."""
    rows: list[list[Any]] = [
        [
            bar.open_time,
            digits.of_price(bar.open),
            digits.of_price(bar.high),
            digits.of_price(bar.low),
            digits.of_price(bar.close),
            digits.of_volume(bar.volume),
            frame.close_time(frame.index(bar.open_time)),
            *("0", 0, "0", "0", "0"),
        ]
        for bar in bars
    ]
    return msgspec.json.encode(rows)
