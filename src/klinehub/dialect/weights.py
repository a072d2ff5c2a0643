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
_BOOK_LEVELS: Final = (50, 100, 500)
_BOOK_COSTS: Final = (2, 5, 10, 20)
_SPOT_BOOK: Final = ((100, 5), (500, 25), (1_000, 50), (5_000, 250))
_KLINES: Final = frozenset({"/fapi/v1/klines", "/fapi/v1/continuousKlines", "/fapi/v1/markPriceKlines"})
_FOR_ALL: Final = {
    "/fapi/v1/ticker/24hr": 40,
    "/fapi/v1/ticker/price": 2,
    "/fapi/v2/ticker/price": 2,
    "/fapi/v1/premiumIndex": 10,
    "/fapi/v1/ticker/bookTicker": 5,
}
# Counted by requests, not by weight.
_WEIGHTLESS: Final = frozenset({"/fapi/v1/fundingInfo", "/fapi/v1/fundingRate"})
# Spot: the weight of a request, and of the same for all symbols.
_SPOT: Final = {
    "/api/v3/klines": (2, 2),
    "/api/v3/uiKlines": (2, 2),
    "/api/v3/exchangeInfo": (20, 20),
    "/api/v3/ticker/24hr": (2, 80),
    "/api/v3/ticker/price": (2, 4),
    "/api/v3/ticker/bookTicker": (2, 4),
}
# What spot's 24 h tickers of several named symbols weigh, up to so many.
_NAMED: Final = ((20, 2), (100, 40))


def klines_weight(limit: str | None) -> int:
    """Give the weight of a klines request with this `limit` as sent."""
    if limit is None:
        return _UNSAID
    return _COSTS[bisect_left(_ROWS, int(limit))] if limit.isdecimal() else 1


def weight_of(path: str, query: Mapping[str, str]) -> int:
    """Give the weight of a request, rejected ones included; COIN-M weighs as USDⓈ-M does."""
    path = path.replace("/dapi/", "/fapi/", 1)
    if path in _KLINES:
        return klines_weight(query.get("limit"))
    if path in _WEIGHTLESS:
        return 0
    if path == "/fapi/v1/depth":
        return _book_weight(query.get("limit"))
    one = 2 if path == "/fapi/v1/ticker/bookTicker" else 1
    return one if query.get("symbol") else _FOR_ALL.get(path, 1)


def _book_weight(limit: str | None) -> int:
    """Give the weight of a book; one of no number of levels was measured to cost 1."""
    if limit is None or not limit.isdecimal():
        return 1
    return _BOOK_COSTS[bisect_left(_BOOK_LEVELS, int(limit))]


def spot_weight_of(path: str, query: Mapping[str, str]) -> int:
    """Give the weight of a request to the spot market, by its documentation."""
    if path == "/api/v3/depth":
        levels = query.get("limit", "")
        asked = int(levels) if levels.isdecimal() else 0
        return next((weight for most, weight in _SPOT_BOOK if asked <= most), _SPOT_BOOK[-1][1])
    one, all_symbols = _SPOT.get(path, (1, 1))
    if query.get("symbol"):
        return one
    names = query.get("symbols")
    if not names or not path.endswith("/24hr"):
        return all_symbols
    count = names.count(",") + 1
    return next((weight for most, weight in _NAMED if count <= most), all_symbols)
