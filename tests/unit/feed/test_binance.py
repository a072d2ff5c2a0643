"""What a feed knows of the exchange: weights, names, messages, listings."""

import gzip
import json
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.domain.listing import NO_DELIVERY
from klinehub.domain.ticker import Ticker
from klinehub.errors import FeedError
from klinehub.feed.binance import (
    UNSUBSCRIBE,
    Answer,
    Refusal,
    contract_sizes,
    control_message,
    klines_weight,
    packed,
    parse_answer,
    parse_listings,
    parse_tickers,
    parse_time,
    stream_name,
    subscribe_messages,
)


@pytest.mark.parametrize(
    ("rows", "weight"),
    [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)],
)
def test_weights_are_those_of_the_table(rows: int, weight: int) -> None:
    assert klines_weight(rows) == weight


def test_stream_names_are_lower_case_but_for_the_month() -> None:
    assert stream_name("BTCUSDT", "1M") == "btcusdt@kline_1M"
    assert stream_name("BTCUSDT_260327", "1m") == "btcusdt_260327@kline_1m"
    assert stream_name("币安人生USDT", "1h") == "币安人生usdt@kline_1h"


names = st.lists(
    st.text("abc1币安", min_size=1, max_size=40).map(lambda s: f"{s}usdt@kline_1m"), max_size=500
)


@given(names, st.integers(1, 300))
def test_subscriptions_hold_every_name_once_in_messages_that_are_small_enough(
    wanted: list[str], most: int
) -> None:
    messages = [json.loads(text) for text in subscribe_messages(wanted, most=most)]

    assert [name for message in messages for name in message["params"]] == wanted
    assert all(1 <= len(message["params"]) <= most for message in messages)
    assert [message["id"] for message in messages] == list(range(1, len(messages) + 1))
    assert {message["method"] for message in messages} <= {"SUBSCRIBE"}
    assert all(len(text.encode()) <= 4096 for text in subscribe_messages(wanted, most=most))


@given(names)
def test_messages_of_both_kinds_take_the_same_parts(wanted: list[str]) -> None:
    parts = packed(wanted)
    assert [name for part in parts for name in part] == wanted
    for number, part in enumerate(parts, 10):
        message = control_message(UNSUBSCRIBE, part, number)
        assert len(message.encode()) <= 4096
        assert json.loads(message) == {"method": "UNSUBSCRIBE", "params": list(part), "id": number}


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (b'{"result":null,"id":7}', Answer(7)),
        (b'{"error":{"code":4,"msg":"Too many"},"id":19}', Answer(19, Refusal(4, "Too many"))),
        (b'{"id":3,"error":{"code":2,"msg":"","more":[1]}}', Answer(3, Refusal(2))),
        (b'{"code":2,"msg":"Invalid request"}', None),
        (b'{"e":"serverShutdown","E":1}', None),
        (b'{"id":"a"}', None),
        (b"[1]", None),
        (b"", None),
        (b'{"id":\xff}', None),
    ],
)
def test_answers_to_control_messages_are_told_from_events(frame: bytes, answer: Answer | None) -> None:
    assert parse_answer(frame) == answer


def test_a_market_takes_few_messages() -> None:
    messages = subscribe_messages(stream_name(f"SYMBOL{n}USDT", "1m") for n in range(550))

    assert len(messages) <= 5


def info(**changes: object) -> bytes:
    entry = {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"} | changes
    return json.dumps({"timezone": "UTC", "symbols": [entry]}).encode()


def test_a_listing_takes_what_it_needs_and_has_defaults_for_the_rest() -> None:
    (bare,) = parse_listings(info())
    assert (bare.pair, bare.delivery_time, bare.tick_size) == ("BTCUSDT", NO_DELIVERY, "")
    assert bare.trading
    assert not bare.perpetual

    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": "0.10", "minPrice": "1"},
        {"filterType": "LOT_SIZE", "stepSize": "0.001"},
        {"filterType": "NEW_FILTER"},
    ]
    (full,) = parse_listings(info(contractType="PERPETUAL", filters=filters, pricePrecision=2, onboardDate=7))
    assert (full.tick_size, full.step_size, full.price_decimals, full.onboard_time) == ("0.10", "0.001", 2, 7)
    assert full.perpetual


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b"{}", b'{"symbols":[{}]}', b'{"symbols":7}', b'{"a":"\xff"}']
)
def test_a_body_that_is_no_listing_is_refused(body: bytes) -> None:
    with pytest.raises(FeedError, match="rest_url"):
        parse_listings(body)


def test_a_contract_in_coins_has_a_status_by_another_name_and_a_size_by_which_turnover_is_told() -> None:
    entry = {"symbol": "BTCUSD_PERP", "pair": "BTCUSD", "contractType": "PERPETUAL", "contractSize": 100}
    entry |= {"contractStatus": "TRADING", "baseAsset": "BTC", "quoteAsset": "USD", "marginAsset": "BTC"}
    (listing,) = parse_listings(json.dumps({"symbols": [entry]}).encode())
    body = b'[{"symbol":"BTCUSD_PERP","volume":"7","baseVolume":"0.01","closeTime":9}]'

    assert (listing.trading, listing.contract_size, listing.unified) == (True, 100, "BTC/USD:BTC")
    assert contract_sizes([listing]) == {"BTCUSD_PERP": 100}
    assert parse_tickers(body, contract_sizes([listing]))["BTCUSD_PERP"].quote_volume == 700.0
    assert math.isnan(parse_tickers(body, {"ETHUSD_PERP": 10})["BTCUSD_PERP"].quote_volume)


def test_tickers_and_time_are_read() -> None:
    body = (
        b'[{"symbol":"A","quoteVolume":"12.5","count":3,"priceChangePercent":"-1.25","closeTime":7},'
        b'{"symbol":"B","quoteVolume":"0"}]'
    )
    told = parse_tickers(body)

    assert told["A"] == Ticker("A", 12.5, -1.25, 7)
    assert (told["B"].quote_volume, math.isnan(told["B"].change_percent)) == (0.0, True)
    assert parse_time(b'{"serverTime":1700000000000}') == 1_700_000_000_000
    for broken in (b"", b"{}", b'[{"symbol":"A"}]', b'"x"'):
        with pytest.raises(FeedError, match="rest_url"):
            parse_tickers(broken)
        with pytest.raises(FeedError, match="rest_url"):
            parse_time(broken)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mainnet_2021-07-21", 122),
        ("testnet-like_2025-11-26_647sym", 647),
        ("testnet-like_2025-12-24_660sym", 660),
    ],
)
def test_recorded_listings_are_read_whole(realdata: Path, name: str, count: int) -> None:
    body = gzip.decompress((realdata / "raw_rest" / f"fapi_v1_exchangeInfo_{name}.json.gz").read_bytes())
    listings = parse_listings(body)
    told = json.loads(body)["symbols"]

    assert len(listings) == count == len({one.symbol for one in listings})
    assert Counter(one.status for one in listings) == Counter(entry["status"] for entry in told)
    assert Counter(one.contract_type for one in listings) == Counter(entry["contractType"] for entry in told)
    for one, entry in zip(listings, told, strict=True):
        assert (one.symbol, one.onboard_time, one.delivery_time) == (
            entry["symbol"],
            entry["onboardDate"],
            entry["deliveryDate"],
        )
        assert one.tick_size == next(
            f["tickSize"] for f in entry["filters"] if f["filterType"] == "PRICE_FILTER"
        )


def test_a_listing_of_spot_has_no_contract_and_no_age() -> None:
    symbols = [
        {"symbol": "PEPEUSDT", "status": "TRADING", "isSpotTradingAllowed": True},
        {"symbol": "OLDUSDT", "status": "BREAK", "isSpotTradingAllowed": True},
        {"symbol": "MARGINUSDT", "status": "TRADING", "isSpotTradingAllowed": False},
    ]
    assets = {"baseAsset": "X", "quoteAsset": "USDT", "quotePrecision": 8, "baseAssetPrecision": 2}
    found = parse_listings(json.dumps({"symbols": [one | assets for one in symbols]}).encode())

    assert [(one.contract_type, one.trading, one.perpetual) for one in found] == [
        ("SPOT", True, False),
        ("SPOT", False, False),
        ("SPOT", False, False),
    ]
    assert (found[0].price_decimals, found[0].quantity_decimals, found[0].onboard_time) == (8, 2, 0)
    assert found[0].fits("USDT", tradifi=False)
    assert not found[0].fits("USDC", tradifi=True)
