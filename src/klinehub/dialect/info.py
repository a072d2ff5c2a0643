"""The exchangeInfo body, in the shape and with the key order of recorded ones."""

from collections.abc import Iterable
from typing import Any, Final

from klinehub.domain.listing import Listing

_ORDER_TYPES: Final = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"]
_ASSETS: Final = (
    ("USDT", "-10000"),
    ("USDC", "-10000"),
    ("BTC", "-0.00100000"),
    ("BNB", "-10"),
    ("ETH", "-0.05"),
)
_SECTIONS: Final = {
    "COMMODITY": ["TradFi"],
    "EQUITY": ["TradFi"],
    "PREMARKET": ["Pre-Market"],
    "INDEX": ["Index"],
}


def _limit(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def exchange_info(listings: Iterable[Listing], now: int, weight_limit: int) -> dict[str, Any]:
    """Give the whole body; *now* is exchange time in ms."""
    return {
        "timezone": "UTC",
        "serverTime": now,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            _limit("REQUEST_WEIGHT", "MINUTE", 1, weight_limit),
            _limit("ORDERS", "MINUTE", 1, 1200),
            _limit("ORDERS", "SECOND", 10, 300),
        ],
        "exchangeFilters": [],
        "assets": [
            {"asset": asset, "marginAvailable": True, "autoAssetExchange": amount}
            for asset, amount in _ASSETS
        ],
        "symbols": [_symbol(listing) for listing in listings],
    }


def _symbol(listing: Listing) -> dict[str, Any]:
    """Give one symbol's entry; margins and fees are the usual ones, since nobody trades here."""
    return {
        "symbol": listing.symbol,
        "pair": listing.pair,
        "contractType": listing.contract_type,
        "deliveryDate": listing.delivery_time,
        "onboardDate": listing.onboard_time,
        "status": listing.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": listing.base_asset,
        "quoteAsset": listing.quote_asset,
        "marginAsset": listing.quote_asset,
        "pricePrecision": listing.price_decimals,
        "quantityPrecision": listing.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": listing.underlying_type,
        "underlyingSubType": _SECTIONS.get(listing.underlying_type, []),
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": _filters(listing),
        "orderTypes": [*_ORDER_TYPES, "TRAILING_STOP_MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY"],
    }


def _filters(listing: Listing) -> list[dict[str, Any]]:
    step = listing.step_size
    lot = {"maxQty": "10000000", "minQty": step, "stepSize": step}
    return [
        {
            "filterType": "PRICE_FILTER",
            "maxPrice": "4529764",
            "minPrice": listing.tick_size,
            "tickSize": listing.tick_size,
        },
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": "5"},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierDecimal": "4",
            "multiplierDown": "0.9500",
            "multiplierUp": "1.0500",
        },
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]
