import random

import pytest

from klinehub.domain.listing import Listing
from klinehub.errors import DefinitionError, UnknownName
from klinehub.scan.universe import benchmark, universe


def listing(
    symbol: str, base: str = "X", *, quote: str = "USDT", kind: str = "PERPETUAL", status: str = "TRADING"
) -> Listing:
    return Listing(
        symbol=symbol, pair=symbol, contract_type=kind, status=status, base_asset=base, quote_asset=quote,
        onboard_time=0, price_decimals=2, quantity_decimals=3,
    )  # fmt: skip


LISTINGS = [
    listing("BTCUSDT", "BTC"),
    listing("ETHUSDT", "ETH"),
    listing("AAAUSDT"),
    listing("BBBUSDT"),
    listing("币安人生USDT"),
    listing("SMALLUSDT"),
    listing("NEWUSDT"),
    listing("BTCUSDC", "BTC", quote="USDC"),
    listing("BTCUSDT_260327", "BTC", kind="CURRENT_QUARTER"),
    listing("TSLAUSDT", "TSLA", kind="TRADIFI_PERPETUAL"),
    listing("GONEUSDT", status="SETTLING"),
    listing("SOONUSDT", status="PENDING_TRADING"),
]
TURNOVER = {
    "BTCUSDT": 9e9, "ETHUSDT": 5e9, "AAAUSDT": 1e7, "BBBUSDT": 1e7, "币安人生USDT": 3e7, "SMALLUSDT": 10.0,
    "BTCUSDC": 8e9, "BTCUSDT_260327": 7e9, "TSLAUSDT": 6e9, "GONEUSDT": 1e9, "SOONUSDT": float("nan"),
}  # fmt: skip
CORE = ("BTCUSDT", "ETHUSDT", "币安人生USDT", "AAAUSDT", "BBBUSDT")


def test_trading_perpetuals_of_the_quote_above_the_floor_largest_turnover_first() -> None:
    assert universe(LISTINGS, TURNOVER, quote="USDT", min_turnover=1e6) == CORE
    assert universe(LISTINGS, TURNOVER, quote="USDC", min_turnover=1e6) == ("BTCUSDC",)


def test_the_order_of_the_listings_does_not_matter() -> None:
    mixed = LISTINGS.copy()
    random.Random(4).shuffle(mixed)

    assert universe(mixed, TURNOVER, quote="USDT", min_turnover=1e6) == CORE


def test_a_symbol_exactly_on_the_floor_is_in() -> None:
    assert "AAAUSDT" in universe(LISTINGS, TURNOVER, quote="USDT", min_turnover=1e7)
    assert "AAAUSDT" not in universe(LISTINGS, TURNOVER, quote="USDT", min_turnover=1e7 + 1)


def test_without_a_floor_symbols_without_a_figure_come_last_by_name() -> None:
    found = universe(LISTINGS, TURNOVER, quote="USDT", min_turnover=0.0)

    assert found == (*CORE, "SMALLUSDT", "NEWUSDT")


def test_perpetuals_on_stocks_come_only_when_asked_for() -> None:
    found = universe(LISTINGS, TURNOVER, quote="USDT", min_turnover=1e6, tradifi=True)

    assert found == ("BTCUSDT", "TSLAUSDT", *CORE[1:])


def test_an_included_symbol_passes_the_floor_the_kind_and_the_limit_but_must_trade() -> None:
    pins = ["SMALLUSDT", "TSLAUSDT", "GONEUSDT"]
    found = universe(LISTINGS, TURNOVER, quote="USDT", min_turnover=1e6, include=pins, limit=3)

    assert found == ("BTCUSDT", "TSLAUSDT", "SMALLUSDT")


def test_an_excluded_symbol_is_out_even_when_included() -> None:
    found = universe(
        LISTINGS, TURNOVER, quote="USDT", min_turnover=1e6, include=["BTCUSDT"], exclude=["BTCUSDT"]
    )

    assert found == CORE[1:]


def test_the_limit_keeps_the_largest_turnover() -> None:
    assert universe(LISTINGS, TURNOVER, quote="USDT", min_turnover=1e6, limit=2) == CORE[:2]
    with pytest.raises(DefinitionError, match="limit of 1 or more"):
        universe(LISTINGS, TURNOVER, quote="USDT", min_turnover=1e6, limit=0)


def test_an_included_symbol_that_is_not_listed_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"Unknown symbol 'ETHUSD'.*'ETHUSDT'"):
        universe(LISTINGS, TURNOVER, quote="USDT", min_turnover=1e6, include=["ETHUSD"])


def test_the_benchmark_is_the_trading_btc_perpetual_of_the_quote() -> None:
    assert benchmark(reversed(LISTINGS), quote="USDT") == "BTCUSDT"
    assert benchmark(LISTINGS, quote="USDC") == "BTCUSDC"
    assert benchmark(LISTINGS, quote="EUR") is None
    assert benchmark([listing("BTCUSDT", "BTC", status="BREAK")], quote="USDT") is None
