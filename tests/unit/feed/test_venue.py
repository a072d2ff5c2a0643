"""Venues: what requests weigh, and that a hub's settings take what they do not say from theirs."""

import pytest

from klinehub.errors import DefinitionError, UnknownName
from klinehub.feed import binance
from klinehub.feed.venue import SPOT, USDM, VENUES, venue_of
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
    assert [venue_of(name) for name in VENUES] == [USDM, SPOT]
    with pytest.raises(UnknownName, match="Did you mean 'binance-spot'"):
        venue_of("binance-spots")


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
