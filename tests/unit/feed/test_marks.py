"""Market data as the exchange tells it: what is read of frames and bodies, and what is left out."""

import json
from math import isnan
from typing import Any

import pytest

from klinehub.errors import FeedError
from klinehub.feed.marks import (
    Mark,
    parse_funding_hours,
    parse_marks,
    parse_open_interest,
    parse_premiums,
)

TIME = 1_791_240_000_000
EVENT = {
    "e": "markPriceUpdate",
    "E": TIME,
    "s": "BTCUSDT",
    "p": "60012.30000000",
    "ap": "60012.30000000",
    "i": "60010.11234567",
    "P": "60009.00000000",
    "r": "0.00010000",
    "T": TIME + 4_800_000,
    "st": 1,
}
PREMIUM = {
    "symbol": "BTCUSDT",
    "markPrice": "60012.30000000",
    "indexPrice": "60010.11234567",
    "estimatedSettlePrice": "60009.00000000",
    "lastFundingRate": "0.00010000",
    "interestRate": "0.00010000",
    "nextFundingTime": TIME + 4_800_000,
    "time": TIME,
}
READ = Mark("BTCUSDT", TIME, 60012.3, 60010.11234567, 1e-4)


def frame(*rows: dict[str, Any], combined: bool = True) -> bytes:
    return json.dumps({"stream": "!markPrice@arr", "data": rows} if combined else rows).encode()


def test_a_frame_is_read_combined_or_raw() -> None:
    assert parse_marks(frame(EVENT, EVENT, combined=True)) == ([READ, READ], 0)
    assert parse_marks(frame(EVENT, EVENT, combined=False)) == ([READ, READ], 0)


def test_a_body_says_the_same_as_a_frame() -> None:
    assert parse_premiums(json.dumps([PREMIUM]).encode()) == ([READ], 0)


def test_what_is_margined_in_coins_is_left_out_and_old_frames_do_not_say() -> None:
    unsaid = {key: value for key, value in EVENT.items() if key != "st"}

    assert parse_marks(frame(EVENT | {"s": "BTCUSD_PERP", "st": 2}, unsaid)) == ([READ], 0)


@pytest.mark.parametrize("without", [{"r": ""}, {"T": 0}, {"r": "", "T": 0}, {"r": "0.00000000", "T": 0}])
def test_a_contract_without_funding_has_no_rate(without: dict[str, Any]) -> None:
    ((mark,), _) = parse_marks(frame(EVENT | without))

    assert isnan(mark.funding_rate)
    assert mark[:4] == READ[:4]


def test_a_price_of_zero_is_none() -> None:
    ((mark,), _) = parse_marks(frame(EVENT | {"i": "0.00000000"}))

    assert mark.mark_price == READ.mark_price
    assert isnan(mark.index_price)


@pytest.mark.parametrize(
    "odd",
    [
        {"p": "nan"}, {"p": "inf"}, {"p": "-1"}, {"p": None}, {"p": ""}, {"p": "1_0"}, {"i": "1e999"},
        {"r": "none"}, {"r": "1000"}, {"r": None}, {"E": -1}, {"E": 2**60}, {"E": 1.5}, {"E": None},
        {"T": 0.5}, {"s": 5}, {"s": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_that_cannot_be_read_costs_no_other(odd: dict[str, Any]) -> None:
    assert parse_marks(frame(EVENT, EVENT | odd, EVENT)) == ([READ, READ], 1)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"5", b"null", b'{"data":5}', b'{"code":-1}', b"\xff", b"[" * 5000, b'{"a":"\xff"}']
)
def test_what_is_none_of_it_is_refused(body: bytes) -> None:
    for read in (parse_marks, parse_premiums, parse_open_interest, parse_funding_hours):
        with pytest.raises(FeedError, match="could not be read"):
            read(body)


def test_open_interest_is_read_with_its_time() -> None:
    body = {"openInterest": "81234.567", "symbol": "BTCUSDT", "time": TIME}

    assert parse_open_interest(json.dumps(body).encode()) == (TIME, 81234.567)
    with pytest.raises(FeedError, match="open interest could not be read"):
        parse_open_interest(json.dumps(body | {"openInterest": "nan"}).encode())


def test_funding_hours_are_those_of_the_symbols_that_are_named() -> None:
    rows: list[Any] = [
        {"symbol": "A", "fundingIntervalHours": 4, "updateTime": None},
        {"symbol": "B_PERP", "fundingIntervalHours": 8, "disclaimer": False},
        *({"symbol": "C", "fundingIntervalHours": wrong} for wrong in (0, "8", None, 1000)),
        5,
    ]

    assert parse_funding_hours(json.dumps(rows).encode()) == {"A": 4, "B_PERP": 8}
    assert parse_funding_hours(b"[]") == {}
