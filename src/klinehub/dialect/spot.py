"""The REST routes of the spot market, where they differ from those of the futures."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

import msgspec

from klinehub.dialect.manner import SPOT, Manner
from klinehub.dialect.params import Rejected, invalid_symbol, legal_symbol
from klinehub.dialect.prices import day_ticker
from klinehub.dialect.rest import Rest, Told
from klinehub.domain.listing import Listing
from klinehub.domain.texts import DayTexts, Traded

_ORDER_TYPES: Final = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"]
_MINI: Final = ("symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume")
_COUNTS: Final = ("openTime", "closeTime", "firstId", "lastId", "count")
_names = msgspec.json.Decoder(list[str]).decode


class SpotRest(Rest):
    """Answers as the spot market does."""

    manner: ClassVar[Manner] = SPOT

    def info(self, query: Mapping[str, str]) -> bytes:
        """List everything that is listed, or what is named."""
        listed = self.named(query) or self.source.listings()
        return msgspec.json.encode(spot_info(listed, self.source.clock.now(), self.tally.limit))

    def prices(self, query: Mapping[str, str]) -> bytes:
        """Give the last price of symbols: when it was traded spot does not say."""
        return self._several(query, self.source.last_trade, self.source.last_trades, spot_price)

    def day_tickers(self, query: Mapping[str, str]) -> bytes:
        """Give the last 24 hours of symbols, with `type=MINI` without what orders are made of."""
        kind = query.get("type", "FULL")
        if kind not in {"FULL", "MINI"}:
            raise Rejected(-1139, "Invalid ticker type.")
        body = spot_mini if kind == "MINI" else day_ticker
        return self._several(query, self.source.ticker, self.source.tickers, body)

    def _several(
        self,
        query: Mapping[str, str],
        one: Callable[[str], Told | None],
        everything: Callable[[], Iterable[Told]],
        body: Callable[[Told], dict[str, Any]],
    ) -> bytes:
        named = self.named(query)
        if named is None or "symbol" in query:
            return self.each(query, one, everything, body)
        found = (one(listing.symbol) for listing in named)
        return msgspec.json.encode([body(told) for told in found if told is not None])

    def named(self, query: Mapping[str, str]) -> list[Listing] | None:
        """Give the listings that `symbol` or `symbols` names; None when neither is there."""
        if "symbol" in query:
            return [self.known(query)]
        if "symbols" not in query:
            return None
        try:
            names = _names(query["symbols"])
        except msgspec.DecodeError:
            raise Rejected(-1100, "Illegal characters found in parameter 'symbols'.") from None
        found = [self.source.listing(legal_symbol(name, "symbols")) for name in names]
        if not found or None in found:
            raise invalid_symbol()
        return [listing for listing in found if listing is not None]


SpotRest.routes = {
    "/api/v3/ping": Rest.ping,
    "/api/v3/time": Rest.time,
    "/api/v3/exchangeInfo": SpotRest.info,
    "/api/v3/ticker/24hr": SpotRest.day_tickers,
    "/api/v3/ticker/price": SpotRest.prices,
}
# What charts ask for is the same, but for a few bars that nobody has told what they are.
SpotRest.klines = dict.fromkeys(("/api/v3/klines", "/api/v3/uiKlines"), Rest.of_symbol)


def spot_price(traded: Traded) -> dict[str, Any]:
    """Give the body of /api/v3/ticker/price for one symbol."""
    return {"symbol": traded.symbol, "price": traded.price}


def spot_mini(day: DayTexts) -> dict[str, Any]:
    """Give the body of /api/v3/ticker/24hr with `type=MINI` for one symbol."""
    full = day_ticker(day)
    return {name: full[name] for name in _MINI + _COUNTS}


def spot_info(listings: list[Listing] | Any, now: int, weight_limit: int) -> dict[str, Any]:  # noqa: ANN401
    """Give the whole body of exchangeInfo; *now* is exchange time in ms."""
    limits = (
        ("REQUEST_WEIGHT", "MINUTE", 1, weight_limit),
        ("ORDERS", "SECOND", 10, 100),
        ("ORDERS", "DAY", 1, 200_000),
        ("RAW_REQUESTS", "MINUTE", 5, 300_000),
    )
    names = ("rateLimitType", "interval", "intervalNum", "limit")
    return {
        "timezone": "UTC",
        "serverTime": now,
        "rateLimits": [dict(zip(names, limit, strict=True)) for limit in limits],
        "exchangeFilters": [],
        "symbols": [_symbol(listing) for listing in listings],
    }


def _symbol(listing: Listing) -> dict[str, Any]:
    """Give one symbol's entry: no kind of contract, and no time of its listing."""
    allowed = ("iceberg", "oco", "oto", "quoteOrderQtyMarket")
    return {
        "symbol": listing.symbol,
        "status": listing.status,
        "baseAsset": listing.base_asset,
        "baseAssetPrecision": listing.quantity_decimals,
        "quoteAsset": listing.quote_asset,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": _ORDER_TYPES,
        **{f"{name}Allowed": True for name in allowed},
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(listing),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
    }


def _filters(listing: Listing) -> list[dict[str, Any]]:
    step, tick = listing.step_size, listing.tick_size
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
        {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
    ]
