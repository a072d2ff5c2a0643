"""The REST routes of the market that is margined in coins, where they differ from those of the futures."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import msgspec

from klinehub.dialect.info import exchange_info
from klinehub.dialect.manner import COINS, Manner
from klinehub.dialect.prices import day_ticker, price_ticker
from klinehub.dialect.rest import Rest, Told
from klinehub.domain.listing import Listing
from klinehub.domain.texts import DayTexts, Traded


class CoinRest(Rest):
    """Answers as COIN-M does: volumes in contracts and in coins, and lists where others give one."""

    manner: ClassVar[Manner] = COINS

    def info(self, _: Mapping[str, str]) -> bytes:
        """List everything that is listed."""
        listings = self.source.listings()
        return msgspec.json.encode(coin_info(listings, self.source.clock.now(), self.tally.limit))

    def prices(self, query: Mapping[str, str]) -> bytes:
        """Give the last prices of a symbol, of a pair's symbols or of all, always as a list."""
        return self._listed(query, self.source.last_trade, self._price)

    def day_tickers(self, query: Mapping[str, str]) -> bytes:
        """Give the last 24 hours of a symbol, of a pair's symbols or of all, always as a list."""
        return self._listed(query, self.source.ticker, coin_day)

    def _price(self, traded: Traded) -> dict[str, Any]:
        listing = self.source.listing(traded.symbol)
        return {**price_ticker(traded), "ps": "" if listing is None else listing.pair}

    def _listed(
        self,
        query: Mapping[str, str],
        one: Callable[[str], Told | None],
        body: Callable[[Told], dict[str, Any]],
    ) -> bytes:
        found = (one(listing.symbol) for listing in self._named(query))
        return msgspec.json.encode([body(told) for told in found if told is not None])

    def _named(self, query: Mapping[str, str]) -> Iterable[Listing]:
        if "symbol" in query:
            return [self.known(query)]
        pair = query.get("pair", "").upper()
        return [one for one in self.source.listings() if one.trading and pair in {"", one.pair}]


CoinRest.routes = {
    "/dapi/v1/ping": Rest.ping,
    "/dapi/v1/time": Rest.time,
    "/dapi/v1/exchangeInfo": CoinRest.info,
    "/dapi/v1/ticker/24hr": CoinRest.day_tickers,
    "/dapi/v1/ticker/price": CoinRest.prices,
}
CoinRest.klines = {"/dapi/v1/klines": Rest.of_symbol, "/dapi/v1/continuousKlines": Rest.of_contract}


def coin_day(day: DayTexts) -> dict[str, Any]:
    """Give the body of ticker/24hr for one symbol, whose second volume is in its coin."""
    body = {**day_ticker(day), "pair": day.pair}
    body["baseVolume"] = body.pop("quoteVolume")
    return body


def coin_info(listings: Iterable[Listing], now: int, weight_limit: int) -> dict[str, Any]:
    """Give the whole body of exchangeInfo; *now* is exchange time in ms."""
    kept = list(listings)
    body = exchange_info(kept, now, weight_limit)
    del body["futuresType"], body["assets"]
    for entry, listing in zip(body["symbols"], kept, strict=True):
        entry["contractStatus"] = entry.pop("status")
        entry |= {
            "contractSize": listing.contract_size,
            "marginAsset": listing.base_asset,
            "equalQtyPrecision": 4,
        }
    return body
