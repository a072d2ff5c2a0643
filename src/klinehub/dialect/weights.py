"""What each request weighs, as measured on the wire (it differs from the documented table at the edges)."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

LIMIT_PER_MINUTE: Final = 2400
SPOT_LIMIT_PER_MINUTE: Final = 6000
# Rows up to which a klines request costs the weight beside it; asking for no number of rows costs 5.
_ROWS: Final = (100, 500, 1000)
_COSTS: Final = (1, 2, 5, 10)
_UNSAID: Final = 5
_FOR_ALL: Final = {
    "/fapi/v1/ticker/24hr": 40,
    "/fapi/v1/ticker/price": 2,
    "/fapi/v2/ticker/price": 2,
    "/fapi/v1/premiumIndex": 10,
    # Counted by requests, not by weight.
    "/fapi/v1/fundingInfo": 0,
}
# Spot: the weight of a request, and of the same for all symbols.
_SPOT: Final = {
    "/api/v3/klines": (2, 2),
    "/api/v3/uiKlines": (2, 2),
    "/api/v3/exchangeInfo": (20, 20),
    "/api/v3/ticker/24hr": (2, 80),
    "/api/v3/ticker/price": (2, 4),
}
# What spot's 24 h tickers of several named symbols weigh, up to so many.
_NAMED: Final = ((20, 2), (100, 40))


def klines_weight(limit: str | None) -> int:
    """Give the weight of a klines request with this `limit` as sent."""
    if limit is None:
        return _UNSAID
    return _COSTS[bisect_left(_ROWS, int(limit))] if limit.isdecimal() else 1


def weight_of(path: str, query: Mapping[str, str]) -> int:
    """Give the weight of a request, rejected ones included."""
    if path in {"/fapi/v1/klines", "/fapi/v1/continuousKlines"}:
        return klines_weight(query.get("limit"))
    return 1 if query.get("symbol") else _FOR_ALL.get(path, 1)


def spot_weight_of(path: str, query: Mapping[str, str]) -> int:
    """Give the weight of a request to the spot market, by its documentation."""
    one, all_symbols = _SPOT.get(path, (1, 1))
    if query.get("symbol"):
        return one
    names = query.get("symbols")
    if not names or not path.endswith("/24hr"):
        return all_symbols
    count = names.count(",") + 1
    return next((weight for most, weight in _NAMED if count <= most), all_symbols)
