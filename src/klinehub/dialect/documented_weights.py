"""What requests weigh by the exchange's documentation: an upper bound, to be counted before they are sent.

`weights` has what some of them were measured to weigh. Funding rates and statistics weigh nothing and are
counted by themselves, each `Count` so many requests of an address in five minutes. What is signed is told
apart from what is public, and what the table does not know weighs as much as the heaviest common request.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, NamedTuple

UNKNOWN: Final = 20
_HEAVY: Final = 200
COUNT_SPAN: Final = 300_000


class Count(NamedTuple):
    """Requests that are counted together: at most *most* of them in COUNT_SPAN ms."""

    name: str
    most: int


class Price(NamedTuple):
    """What a request costs: its weight, and by what else it is counted."""

    weight: int
    counted: Count | None = None


class _ByLimit(NamedTuple):
    """Weights by the most rows asked for, with the number that is meant where none is given."""

    usual: int
    rows: tuple[int, ...]
    weights: tuple[int, ...]

    def weight(self, limit: str | None) -> int:
        """Give the weight for a `limit` as sent; one that is none is refused for the heaviest."""
        if limit is not None and not (limit.isascii() and limit.isdigit() and len(limit) < 9):
            return self.weights[-1]
        return self.weights[bisect_left(self.rows, self.usual if limit is None else int(limit))]


FUNDING: Final = Count("funding", 500)
STATISTICS: Final = Count("statistics", 1_000)
_KLINES: Final = _ByLimit(500, (99, 499, 1_000), (1, 2, 5, 10))
_BOOK: Final = _ByLimit(500, (50, 100, 500), (2, 5, 10, 20))
_SPOT_BOOK: Final = _ByLimit(100, (100, 500, 1_000), (5, 25, 50, 250))
# A number is the weight; two are that of one symbol and that of all.
_Cost = int | tuple[int, int] | _ByLimit | Count
_STATISTICS: Final = (
    "openInterestHist",
    "topLongShortAccountRatio",
    "topLongShortPositionRatio",
    "globalLongShortAccountRatio",
    "takerlongshortRatio",
    "basis",
    "delivery-price",
)
_FUTURES: Final[Mapping[str, _Cost]] = {
    "/fapi/v1/ping": 1,
    "/fapi/v1/time": 1,
    "/fapi/v1/exchangeInfo": 1,
    "/fapi/v1/depth": _BOOK,
    "/fapi/v1/rpiDepth": 20,
    "/fapi/v1/trades": 5,
    "/fapi/v1/aggTrades": 20,
    "/fapi/v1/klines": _KLINES,
    "/fapi/v1/continuousKlines": _KLINES,
    "/fapi/v1/indexPriceKlines": _KLINES,
    "/fapi/v1/markPriceKlines": _KLINES,
    "/fapi/v1/premiumIndexKlines": _KLINES,
    "/fapi/v1/premiumIndex": (1, 10),
    "/fapi/v1/fundingRate": FUNDING,
    "/fapi/v1/fundingInfo": FUNDING,
    "/fapi/v1/ticker/24hr": (1, 40),
    "/fapi/v1/ticker/price": (1, 2),
    "/fapi/v2/ticker/price": (1, 2),
    "/fapi/v1/ticker/bookTicker": (2, 5),
    "/fapi/v1/openInterest": 1,
    "/fapi/v1/indexInfo": 1,
    "/fapi/v1/assetIndex": (1, 10),
    "/fapi/v1/constituents": 2,
    "/fapi/v1/insuranceBalance": 1,
    "/fapi/v1/symbolAdlRisk": 1,
    "/fapi/v1/tradingSchedule": 5,
    **{f"/futures/data/{name}": STATISTICS for name in _STATISTICS},
}
_COIN_NAMES: Final = (
    *("ping", "time", "exchangeInfo", "depth", "trades", "aggTrades", "ticker/24hr", "ticker/price"),
    *("klines", "continuousKlines", "indexPriceKlines", "markPriceKlines", "premiumIndexKlines"),
    *("ticker/bookTicker", "openInterest", "constituents", "fundingInfo", "fundingRate"),
)
_COINS: Final[Mapping[str, _Cost]] = {
    **{f"/dapi/v1/{name}": _FUTURES[f"/fapi/v1/{name}"] for name in _COIN_NAMES},
    # Of one symbol too.
    "/dapi/v1/premiumIndex": 10,
}
_SPOT: Final[Mapping[str, _Cost]] = {
    "/api/v3/ping": 1,
    "/api/v3/time": 1,
    "/api/v3/exchangeInfo": 20,
    "/api/v3/depth": _SPOT_BOOK,
    "/api/v3/trades": 25,
    "/api/v3/historicalTrades": 25,
    "/api/v3/aggTrades": 4,
    "/api/v3/klines": 2,
    "/api/v3/uiKlines": 2,
    "/api/v3/avgPrice": 2,
    "/api/v3/ticker/24hr": (2, 80),
    "/api/v3/ticker/price": (2, 4),
    "/api/v3/ticker/bookTicker": (2, 4),
    # Four for each symbol that is named, up to fifty of them.
    "/api/v3/ticker/tradingDay": (4, 200),
    "/api/v3/ticker": (4, 200),
}
_PUBLIC: Final = {**_FUTURES, **_COINS, **_SPOT}
# Market data that is told only to who shows a key, and weighs accordingly.
_KEYED: Final[Mapping[str, _Cost]] = {
    "/fapi/v1/historicalTrades": _HEAVY,
    "/dapi/v1/historicalTrades": _HEAVY,
}
# Reading an account, and ordering; what is not here weighs UNKNOWN.
_SIGNED: Final[Mapping[str, _Cost]] = {
    "/fapi/v1/order": 1,
    "/fapi/v1/openOrder": 1,
    "/fapi/v1/openOrders": (1, 40),
    "/fapi/v1/allOrders": 5,
    "/fapi/v1/userTrades": 5,
    "/fapi/v1/income": 30,
    "/fapi/v1/listenKey": 1,
    "/fapi/v1/batchOrders": 5,
    "/fapi/v2/account": 5,
    "/fapi/v3/account": 5,
    "/fapi/v2/balance": 5,
    "/fapi/v3/balance": 5,
    "/fapi/v2/positionRisk": 5,
    "/fapi/v3/positionRisk": 5,
    "/fapi/v1/leverageBracket": 1,
    "/fapi/v1/leverage": 1,
    "/fapi/v1/marginType": 1,
    "/fapi/v1/positionSide/dual": 30,
    "/fapi/v1/multiAssetsMargin": 30,
    "/fapi/v1/allOpenOrders": 1,
    "/api/v3/order": 4,
    "/api/v3/openOrders": (6, 80),
    "/api/v3/allOrders": 20,
    "/api/v3/myTrades": 20,
    "/api/v3/account": 20,
    "/api/v3/userDataStream": 2,
}


def public_price(path: str, query: Mapping[str, str]) -> Price | None:
    """Give what a public request costs; None for a path that is not known to be one."""
    cost = _PUBLIC.get(path)
    return None if cost is None else _price(cost, query)


def keyed_price(path: str, query: Mapping[str, str]) -> Price | None:
    """Give what a request for market data costs that needs a key; None for any other path."""
    cost = _KEYED.get(path)
    return None if cost is None else _price(cost, query)


def signed_price(path: str, query: Mapping[str, str]) -> Price:
    """Give what a signed request costs."""
    return _price(_SIGNED.get(path, UNKNOWN), query)


def _price(cost: _Cost, query: Mapping[str, str]) -> Price:
    if isinstance(cost, Count):
        return Price(0, cost)
    if isinstance(cost, _ByLimit):
        return Price(cost.weight(query.get("limit")))
    if isinstance(cost, int):
        return Price(cost)
    return Price(cost[0] if query.get("symbol") else cost[1])
