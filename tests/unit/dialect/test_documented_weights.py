"""What requests weigh before they are sent: never less than what the exchange was measured to count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.dialect.documented_weights import (
    FUNDING,
    STATISTICS,
    UNKNOWN,
    Count,
    Price,
    keyed_price,
    public_price,
    signed_price,
)
from klinehub.dialect.rest import Rest
from klinehub.dialect.spot import SpotRest
from klinehub.dialect.weights import spot_weight_of, weight_of
from klinehub.feed.binance import klines_weight

LIMITS = st.one_of(st.integers(0, 6_000).map(str), st.just(""), st.just("many"), st.just("٣"))
QUERIES = st.fixed_dictionaries(
    {}, optional={"symbol": st.just("BTCUSDT"), "limit": LIMITS, "symbols": st.just('["A","B"]')}
)


@given(st.sampled_from(sorted(Rest.routes)), QUERIES)
def test_futures_never_weigh_less_than_measured(path: str, query: dict[str, str]) -> None:
    price = public_price(path, query)

    assert price is not None
    assert price.weight >= weight_of(path, query) or price.counted is not None


@given(st.sampled_from(sorted(path for path in SpotRest.routes if path.startswith("/api/"))), QUERIES)
def test_spot_never_weighs_less_than_the_simulated_one(path: str, query: dict[str, str]) -> None:
    price = public_price(path, query)

    assert price is not None
    assert price.weight >= spot_weight_of(path, query)


@given(st.integers(1, 1_500))
def test_klines_weigh_what_the_hub_itself_counts(limit: int) -> None:
    assert public_price("/fapi/v1/klines", {"limit": str(limit)}) == Price(klines_weight(limit))


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("/fapi/v1/depth", {"limit": "50"}, 2),
        ("/fapi/v1/depth", {"limit": "51"}, 5),
        ("/fapi/v1/depth", {"limit": "500"}, 10),
        ("/fapi/v1/depth", {"limit": "1000"}, 20),
        ("/fapi/v1/depth", {"limit": "all"}, 20),
        ("/api/v3/depth", {}, 5),
        ("/api/v3/depth", {"limit": "101"}, 25),
        ("/api/v3/depth", {"limit": "9" * 40}, 250),
        ("/fapi/v1/ticker/bookTicker", {}, 5),
        ("/fapi/v1/aggTrades", {"symbol": "BTCUSDT"}, 20),
    ],
)
def test_the_books_weigh_by_their_depth(path: str, query: dict[str, str], weight: int) -> None:
    assert public_price(path, query) == Price(weight)


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/fapi/v1/fundingRate", FUNDING),
        ("/fapi/v1/fundingInfo", FUNDING),
        ("/futures/data/openInterestHist", STATISTICS),
        ("/futures/data/takerlongshortRatio", STATISTICS),
    ],
)
def test_funding_and_statistics_are_counted_by_themselves(path: str, count: Count) -> None:
    assert public_price(path, {"symbol": "BTCUSDT"}) == Price(0, count)


def test_what_is_signed_or_needs_a_key_is_not_public() -> None:
    assert public_price("/fapi/v1/order", {}) is None
    assert public_price("/fapi/v1/historicalTrades", {}) is None
    assert keyed_price("/fapi/v1/historicalTrades", {}) == Price(200)
    assert keyed_price("/fapi/v1/depth", {}) is None
    assert signed_price("/fapi/v1/openOrders", {}) == Price(40)
    assert signed_price("/fapi/v1/openOrders", {"symbol": "BTCUSDT"}) == Price(1)
    assert signed_price("/fapi/v1/somethingNew", {}) == Price(UNKNOWN)
