"""Venues: what requests weigh, and that a hub's settings take what they do not say from theirs."""

import pytest

from klinehub.errors import DefinitionError, UnknownName
from klinehub.feed import binance
from klinehub.feed.venue import COINM, SPOT, USDM, VENUES, venue_of
from klinehub.settings import HubSettings


@pytest.mark.parametrize(
    ("limit", "usdm", "spot"), [(1, 1, 2), (99, 1, 2), (100, 2, 2), (499, 2, 2), (500, 5, 2), (1_000, 5, 2)]
)
def test_klines_weigh_what_the_documentation_says(limit: int, usdm: int, spot: int) -> None:
    assert (USDM.klines_weight(limit), SPOT.klines_weight(limit)) == (usdm, spot)


def test_the_largest_request_is_the_one_of_the_last_tier() -> None:
    assert (USDM.most_rows, SPOT.most_rows) == (1_500, 1_000)
    assert USDM.klines_weight(1_500) == 10


def test_a_venue_is_found_by_its_name() -> None:
    assert [venue_of(name) for name in VENUES] == [USDM, SPOT, COINM]
    with pytest.raises(UnknownName, match="Did you mean 'binance-spot'"):
        venue_of("binance-spots")


def test_an_exchange_behind_ccxt_tells_no_closes_and_no_trades() -> None:
    bybit, spot = venue_of("ccxt:bybit"), venue_of("ccxt:okx:spot")

    assert (bybit.name, bybit.rest_url, spot.rest_url) == (
        "ccxt:bybit",
        "http://bybit.ccxt",
        "http://okx.ccxt",
    )
    assert bybit.lacks == {"quote_volume", "trades", "taker_base", "taker_quote"}
    assert (bybit.grace, USDM.grace, SPOT.lacks) == (15_000, 0, frozenset())
    assert (bybit.speaks, USDM.speaks, SPOT.speaks) == (USDM.name, USDM.name, SPOT.name)
    assert (bybit.prices, bybit.news, bybit.marks, bybit.patience.by_klines) == (None, None, None, True)
    with pytest.raises(UnknownName, match="Did you mean 'ccxt:okx:spot'"):
        venue_of("ccxt:okx:sport")
    with pytest.raises(UnknownName):
        venue_of("ccxt:")
    with pytest.raises(DefinitionError, match="ccxt:okx has no marks"):
        HubSettings(exchange="ccxt:okx", marks=True)


def test_settings_take_addresses_and_limit_from_the_exchange() -> None:
    spot, usdm = HubSettings(exchange="binance-spot"), HubSettings()

    assert (usdm.rest_url, usdm.stream_url) == (binance.REST_URL, binance.STREAM_URL)
    assert (usdm.weight_limit, spot.weight_limit) == (2_400, 6_000)
    assert (spot.rest_url, spot.stream_url) == (SPOT.rest_url, SPOT.stream_url)
    assert HubSettings(exchange="binance-spot", rest_url="http://here:1").rest_url == "http://here:1"


@pytest.mark.parametrize(
    "settings", [{"bars": 1_000}, {"marks": True}, {"open_interest": 60.0}, {"spot": True}], ids=str
)
def test_what_spot_does_not_have_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(DefinitionError, match="binance-spot"):
        HubSettings(exchange="binance-spot", **settings)  # type: ignore[arg-type]


def test_the_hub_beside_has_the_same_series_and_a_budget_of_its_own() -> None:
    futures = HubSettings(timeframes=("1m", "1h"), bars=1_400, spot=True, spot_rest_url="http://here:1")
    spot = futures.of_spot

    assert (spot.exchange, spot.timeframes, spot.bars) == ("binance-spot", ("1m", "1h"), 999)
    assert (spot.rest_url, spot.stream_url) == ("http://here:1", SPOT.stream_url)
    assert (spot.weight_limit, spot.spot) == (6_000, False)
    assert futures.beside == ("spot_close", "spot_quote_volume")
    assert HubSettings().keeping(["spot_close"]).spot


def test_the_market_in_coins_is_priced_in_dollars_and_shares_the_weight_of_the_other_futures() -> None:
    coins = HubSettings(exchange="binance-coinm")

    assert (coins.quote, HubSettings().quote) == ("USD", "USDT")
    assert coins.fallback_urls == ("wss://dstream.binance.com/market/stream",)
    assert coins.counted_by == HubSettings().counted_by == "fapi.binance.com:443"
    assert HubSettings(exchange="binance-coinm", rest_url="http://here:1").counted_by == "here:1"
    assert HubSettings(exchange="binance-spot").counted_by == "api.binance.com:443"


@pytest.mark.parametrize("settings", [{"marks": True}, {"tickers": True}], ids=str)
def test_what_the_market_in_coins_does_not_tell_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(DefinitionError, match="binance-coinm"):
        HubSettings(exchange="binance-coinm", **settings)  # type: ignore[arg-type]


def test_a_further_market_shares_what_is_no_markets_own() -> None:
    first = HubSettings(timeframes=("1m",), symbols=("BTCUSDT",), tickers=True, bars=1_400, store="/here")
    spot, coins = first.of_market("binance-spot"), first.of_market("binance-coinm", symbols=("BTCUSD_PERP",))

    assert (spot.symbols, spot.timeframes, spot.bars, spot.store) == ((), ("1m",), 999, "/here")
    assert (spot.tickers, spot.weight_limit) == (True, 6_000)
    assert (coins.symbols, coins.tickers, coins.bars) == (("BTCUSD_PERP",), False, 1_400)
