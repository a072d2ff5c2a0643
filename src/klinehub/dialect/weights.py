"""What each request weighs, as measured on the wire (it differs from the documented table at the edges)."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

LIMIT_PER_MINUTE: Final = 2400
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
