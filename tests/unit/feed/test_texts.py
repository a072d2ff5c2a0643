"""Tickers and marks read as texts: what is taken as it is, and what never enters."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from klinehub.domain.listing import SPOT, Listing
from klinehub.domain.texts import Book, DayTexts, MarkTexts, MiniTexts
from klinehub.errors import FeedError
from klinehub.feed.rows import kind_of
from klinehub.feed.texts import (
    Rows,
    days_of_body,
    days_of_frame,
    marks_of_body,
    marks_of_frame,
    minis_of_frame,
)

TIME: Final = 1_795_252_512_345
NAMES: Final = ("BTCUSDT", "龙虾USDT")


def listing(symbol: str, kind: str = "PERPETUAL") -> Listing:
    return Listing(symbol, symbol, kind, "TRADING", symbol[:-4], "USDT", 0, 2, 3)


LISTED: Final = {name: listing(name) for name in NAMES}
PAIRS: Final = {name: listing(name, SPOT) for name in NAMES}
MINI: Final = {
    "e": "24hrMiniTicker",
    "E": TIME,
    "s": "BTCUSDT",
    "c": "61234.10",
    "o": "61000.00",
    "h": "62000.50",
    "l": "60000.00",
    "v": "0",
    "q": "1331523861.6042360",
    "ps": "BTCUSDT",
    "st": 1,
}
DAY: Final = {
    "e": "24hrTicker",
    "E": TIME,
    "s": "BTCUSDT",
    "p": "-234.10",
    "P": "-0.384",
    "w": "61111.11",
    "c": "61234.10",
    "Q": "0.001",
    "o": "61000.00",
    "h": "62000.50",
    "l": "60000.00",
    "v": "0",
    "q": "1331523861.6042360",
    "O": TIME - 86_400_005,
    "C": TIME - 5,
    "F": -1,
    "L": 12,
    "n": 3,
    "ps": "BTCUSDT",
    "st": 1,
}
BODY: Final = {
    "symbol": "BTCUSDT",
    "priceChange": "-234.10",
    "priceChangePercent": "-0.384",
    "weightedAvgPrice": "61111.11",
    "lastPrice": "61234.10",
    "lastQty": "0.001",
    "openPrice": "61000.00",
    "highPrice": "62000.50",
    "lowPrice": "60000.00",
    "volume": "0",
    "quoteVolume": "1331523861.6042360",
    "openTime": TIME - 86_400_005,
    "closeTime": TIME - 5,
    "firstId": -1,
    "lastId": 12,
    "count": 3,
}
SPOT_BODY: Final = BODY | {
    "prevClosePrice": "61000.00",
    "bidPrice": "61234.00",
    "bidQty": "1.5",
    "askPrice": "61234.20",
    "askQty": "2",
}
MARK: Final = {
    "e": "markPriceUpdate",
    "E": TIME,
    "s": "BTCUSDT",
    "p": "61234.10000000",
    "ap": "61234.00000001",
    "i": "61250.00000000",
    "P": "61249.99999999",
    "r": "-0.00003100",
    "T": TIME + 1_000,
    "st": 1,
}
PREMIUM: Final = {
    "symbol": "BTCUSDT",
    "markPrice": "61234.10000000",
    "indexPrice": "61250.00000000",
    "estimatedSettlePrice": "61249.99999999",
    "lastFundingRate": "-0.00003100",
    "interestRate": "0.00010000",
    "nextFundingTime": TIME + 1_000,
    "time": TIME,
}
NUMBERS: Final = ("61234.10", "61000.00", "62000.50", "60000.00", "0", "1331523861.6042360")
MORE: Final = ("-234.10", "-0.384", "61111.11", "0.001")
COUNTS: Final = (TIME - 86_400_005, TIME - 5, -1, 12, 3)
TOLD_MINI: Final = MiniTexts("BTCUSDT", "BTCUSDT", TIME, *NUMBERS)
TOLD_DAY: Final = DayTexts("BTCUSDT", "BTCUSDT", TIME, *NUMBERS, *MORE, *COUNTS)
TOLD_MARK: Final = MarkTexts(
    symbol="BTCUSDT",
    time=TIME,
    price="61234.10000000",
    average="61234.00000001",
    index="61250.00000000",
    settle="61249.99999999",
    rate="-0.00003100",
    last_rate="-0.00003100",
    interest="",
    next_funding=TIME + 1_000,
)
NUMERAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,29})(\.[0-9]{1,30})?")
Read = Callable[..., Rows[Any]]
FRAMES: Final[dict[Read, dict[str, Any]]] = {minis_of_frame: MINI, days_of_frame: DAY, marks_of_frame: MARK}
BODIES: Final[dict[Read, dict[str, Any]]] = {days_of_body: BODY, marks_of_body: PREMIUM}
READS: Final = FRAMES | BODIES


def packed(*rows: Any, stream: str = "") -> bytes:
    return json.dumps({"stream": stream, "data": rows} if stream else rows, ensure_ascii=False).encode()


def test_events_are_taken_in_their_own_words() -> None:
    assert minis_of_frame(packed(MINI), LISTED) == ([TOLD_MINI], [])
    assert days_of_frame(packed(DAY, stream="!ticker@arr"), LISTED) == ([TOLD_DAY], [])
    assert marks_of_frame(packed(MARK), LISTED) == ([TOLD_MARK], [])


def test_a_body_says_the_same_as_an_event_and_the_interest() -> None:
    (day,), _ = days_of_body(packed(BODY), LISTED)
    (mark,), _ = marks_of_body(packed(PREMIUM), LISTED)

    assert day == replace(TOLD_DAY, time=TIME - 5)
    assert mark == replace(TOLD_MARK, average="", interest="0.00010000")


def test_spot_has_a_book_and_no_pair() -> None:
    (day,), unread = days_of_body(packed(SPOT_BODY), PAIRS)

    assert unread == []
    assert (day.pair, day.book) == ("", Book("61000.00", "61234.00", "1.5", "61234.20", "2"))
    assert minis_of_frame(packed(MINI), PAIRS).told[0].pair == ""


def test_a_contract_without_funding_is_told_in_both_ways() -> None:
    (event,), _ = marks_of_frame(packed(MARK | {"r": "", "T": 0}), LISTED)
    (body,), _ = marks_of_body(
        packed(PREMIUM | {"lastFundingRate": "0.00000000", "nextFundingTime": 0}), LISTED
    )

    assert (event.rate, event.last_rate, event.next_funding) == ("", "", 0)
    assert (body.rate, body.last_rate, body.next_funding) == ("", "0.00000000", 0)


def test_what_is_not_listed_or_margined_in_coins_is_left_out_whatever_it_says() -> None:
    for read, row in FRAMES.items():
        others = ({"s": "BTCUSD_PERP", "st": 2}, row | {"st": 2, "c": 5}, row | {"s": "NOBODY", "c": None})

        assert len(read(packed(*others, row), LISTED).told) == 1
        assert read(packed(*others, row), LISTED).unread == []
    for read, row in BODIES.items():
        assert read(packed({"symbol": "NOBODY"}, row), LISTED).unread == []


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    "text",
    [
        "", "nan", "inf", "1e5", "0E-8", "01", ".5", "5.", "1,2", "1\n", " 1", "+1", "--1", "\uff11",
        "<html>", '1","x":"', "1" * 31, "0." + "1" * 31, 5, 1.5, None, True, ["1"],
    ],
    ids=repr,
)  # fmt: skip
def test_a_text_that_is_no_number_costs_its_row_and_no_other(read: Read, text: Any) -> None:
    good = READS[read]
    other = good | ({"s": NAMES[1]} if "s" in good else {"symbol": NAMES[1]})
    numbers = [name for name, value in good.items() if isinstance(value, str) and NUMERAL.fullmatch(value)]
    for name in numbers:
        if text == "" and name in {"ap", "P", "r", "estimatedSettlePrice", "lastFundingRate", "interestRate"}:
            continue
        told, unread = read(packed(good | {name: text}, other), LISTED)

        assert ([row.symbol for row in told], unread) == ([NAMES[1]], ["BTCUSDT"]), name


@pytest.mark.parametrize("time", [-1, 2**60, 1.5, "1795252512345", None], ids=repr)
def test_a_time_that_cannot_be_costs_its_row(time: Any) -> None:
    for read, row in READS.items():
        for name in {"E", "O", "C", "T", "openTime", "closeTime", "time", "nextFundingTime"} & row.keys():
            assert read(packed(row | {name: time}), LISTED) == ([], ["BTCUSDT"])


def test_a_price_is_not_negative() -> None:
    for read, row in READS.items():
        for name in {"c", "o", "h", "l", "w", "i", "lastPrice", "markPrice", "indexPrice"} & row.keys():
            assert read(packed(row | {name: "-1.0"}), LISTED).unread == ["BTCUSDT"]


def test_a_row_that_names_nobody_is_counted_without_a_name() -> None:
    for read, row in READS.items():
        assert read(packed({"s": 5}, {"symbol": []}, 7, row), LISTED).unread == ["", "", ""]


@pytest.mark.parametrize(
    "data", [b"", b"{", b"5", b"null", b'{"data":5}', b'{"code":-1}', b"\xff", b"<html>", b"[" * 5000]
)
def test_what_is_no_list_is_refused(data: bytes) -> None:
    for read in READS:
        with pytest.raises(FeedError, match="could not be read"):
            read(data, LISTED)


def test_frames_are_told_apart_raw_and_combined() -> None:
    told = {"ticker": DAY, "miniTicker": MINI, "markPrice": MARK}

    assert [kind_of(packed(row)) for row in told.values()] == list(told)
    assert [kind_of(packed(stream=f"!{name}@arr")) for name in told] == list(told)
    assert kind_of(packed(stream="!markPrice@arr@1s")) == "markPrice"
    assert [kind_of(frame) for frame in (b"", b'{"result":null,"id":1}', b'[{"e":"kline"}]')] == [""] * 3


SCRAPS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["0", "1.5", "-2.0", "BTCUSDT", "1,2", "1\n", "1e9", "9" * 30, str(TIME)]),
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Give frames of rows some of whose fields are something else, and now and then of bytes cut off."""
    rows = []
    for row in draw(st.lists(st.sampled_from(list(READS.values())), max_size=4)):
        changed = draw(st.dictionaries(st.sampled_from(sorted(row)), SCRAPS, max_size=3))
        left = {name for name in row if draw(st.integers(0, 30)) != 0}
        rows.append({name: value for name, value in (row | changed).items() if name in left})
    data = packed(*rows, stream=draw(st.sampled_from(["", "!ticker@arr"])))
    cut = draw(st.integers(0, 4 * len(data)))
    return data[:cut]


@given(st.one_of(frames(), st.binary(max_size=200)))
@example(packed(DAY | {"c": '1","st":2,"x":"'}))
@example(packed(MARK | {"r": "1,,"}))
def test_bytes_of_any_kind_are_read_or_refused_and_texts_are_numbers(data: bytes) -> None:
    for read in READS:
        try:
            told, unread = read(data, LISTED)
        except FeedError:
            continue
        assert set(unread) <= {"BTCUSDT", ""}
        for row in told:
            texts = [getattr(row, name) for name in row.__struct_fields__]
            for text in (text for text in texts[2:] if isinstance(text, str)):
                assert NUMERAL.fullmatch(text) or text in {"", "BTCUSDT"}
            assert row.symbol == "BTCUSDT"
            for whole in (number for number in texts if isinstance(number, int)):
                assert -1 <= whole < 2**63
