"""Tickers and marks byte for byte: from the texts that were told to what REST and the streams print."""

from typing import Final

import msgspec
import pytest

from klinehub.dialect.prices import (
    day_ticker,
    funding_info,
    mark_event,
    mark_price,
    mini_ticker_event,
    price_ticker,
    ticker_event,
)
from klinehub.dialect.spot import spot_mini, spot_price
from klinehub.domain.texts import Book, DayTexts, MarkTexts, Traded

TIME: Final = 1_795_252_512_345
DAY: Final = DayTexts(
    symbol="龙虾USDT",
    pair="龙虾USDT",
    time=TIME,
    last="0.0350100",
    open="0.0350700",
    high="0.0370200",
    low="0.0341800",
    volume="0",
    quote_volume="1331523861.6042360",
    change="-0.0000600",
    percent="-0.171",
    average="0.0355000",
    quantity="250",
    open_time=TIME - 86_400_000,
    close_time=TIME - 5,
    first_id=-1,
    last_id=2_991_944_115_005,
    trades=515_006,
)
MARK: Final = MarkTexts(
    symbol="BTCUSDT",
    time=TIME,
    price="61234.10000000",
    average="61234.00000001",
    index="61250.00000000",
    settle="61249.99999999",
    rate="-0.00003100",
    last_rate="-0.00003100",
    interest="0.00010000",
    next_funding=1_795_276_800_000,
)
TAIL: Final = (
    '"openPrice":"0.0350700","highPrice":"0.0370200","lowPrice":"0.0341800","volume":"0",'
    '"quoteVolume":"1331523861.6042360","openTime":1795166112345,"closeTime":1795252512340,"firstId":-1,'
    '"lastId":2991944115005,"count":515006'
)


def printed(body: object) -> str:
    return msgspec.json.encode(body).decode()


def test_a_day_over_rest() -> None:
    expected = (
        '{"symbol":"龙虾USDT","priceChange":"-0.0000600","priceChangePercent":"-0.171",'
        f'"weightedAvgPrice":"0.0355000","lastPrice":"0.0350100","lastQty":"250",{TAIL}}}'
    )

    assert expected == printed(day_ticker(DAY))


def test_a_day_on_the_streams() -> None:
    shared = '"o":"0.0350700","h":"0.0370200","l":"0.0341800","v":"0","q":"1331523861.6042360"'
    full = (
        '{"e":"24hrTicker","E":1795252512346,"s":"龙虾USDT","p":"-0.0000600","P":"-0.171","w":"0.0355000",'
        f'"c":"0.0350100","Q":"250",{shared},"O":1795166112345,"C":1795252512340,"F":-1,"L":2991944115005,'
        '"n":515006,"ps":"龙虾USDT","st":1}'
    )
    mini = (
        f'{{"e":"24hrMiniTicker","E":1795252512346,"s":"龙虾USDT","c":"0.0350100",{shared},'
        '"ps":"龙虾USDT","st":1}'
    )

    assert full == printed(ticker_event(DAY, TIME + 1))
    assert mini == printed(mini_ticker_event(DAY, TIME + 1))


def test_spot_tells_neither_pair_nor_margin() -> None:
    spot = msgspec.structs.replace(DAY, pair="")

    assert printed(mini_ticker_event(spot, TIME)).endswith('"q":"1331523861.6042360"}')
    assert printed(ticker_event(spot, TIME)).endswith('"n":515006}')


def test_a_day_of_spot_has_its_book_where_the_exchange_prints_it() -> None:
    book = Book("0.0350800", "0.0350000", "1", "0.0350200", "2")
    spot = msgspec.structs.replace(DAY, pair="", book=book)
    full = (
        '{"symbol":"龙虾USDT","priceChange":"-0.0000600","priceChangePercent":"-0.171",'
        '"weightedAvgPrice":"0.0355000","prevClosePrice":"0.0350800","lastPrice":"0.0350100","lastQty":"250",'
        f'"bidPrice":"0.0350000","bidQty":"1","askPrice":"0.0350200","askQty":"2",{TAIL}}}'
    )
    event = (
        '"w":"0.0355000","x":"0.0350800","c":"0.0350100","Q":"250","b":"0.0350000","B":"1",'
        '"a":"0.0350200","A":"2","o":"0.0350700"'
    )
    mini = (
        '{"symbol":"龙虾USDT","openPrice":"0.0350700","highPrice":"0.0370200","lowPrice":"0.0341800",'
        '"lastPrice":"0.0350100","volume":"0","quoteVolume":"1331523861.6042360","openTime":1795166112345,'
        '"closeTime":1795252512340,"firstId":-1,"lastId":2991944115005,"count":515006}'
    )

    assert full == printed(day_ticker(spot))
    assert event in printed(ticker_event(spot, TIME))
    assert mini == printed(spot_mini(spot))


def test_a_last_price() -> None:
    traded = Traded("BTCUSDT", "61234.10", TIME)

    assert printed(price_ticker(traded)) == '{"symbol":"BTCUSDT","price":"61234.10","time":1795252512345}'
    assert printed(spot_price(traded)) == '{"symbol":"BTCUSDT","price":"61234.10"}'


def test_a_mark_price() -> None:
    body = (
        '{"symbol":"BTCUSDT","markPrice":"61234.10000000","indexPrice":"61250.00000000",'
        '"estimatedSettlePrice":"61249.99999999","lastFundingRate":"-0.00003100",'
        '"interestRate":"0.00010000","nextFundingTime":1795276800000,"time":1795252512345}'
    )
    event = (
        '{"e":"markPriceUpdate","E":1795252512346,"s":"BTCUSDT","p":"61234.10000000",'
        '"ap":"61234.00000001","i":"61250.00000000","P":"61249.99999999","r":"-0.00003100",'
        '"T":1795276800000,"st":1}'
    )

    assert body == printed(mark_price(MARK))
    assert event == printed(mark_event(MARK, TIME + 1))


@pytest.mark.parametrize("last_rate", ["", "0.00000000"])
def test_where_no_funding_comes_rest_and_the_streams_say_so_in_their_own_way(last_rate: str) -> None:
    unfunded = msgspec.structs.replace(MARK, average="", rate="", last_rate=last_rate, next_funding=0)

    assert f'"lastFundingRate":"{last_rate}","interestRate":"0.00010000","nextFundingTime":0,' in printed(
        mark_price(unfunded)
    )
    assert '"p":"61234.10000000","i":' in printed(mark_event(unfunded, TIME))
    assert '"r":"","T":0,"st":1}' in printed(mark_event(unfunded, TIME))


def test_a_funding_interval() -> None:
    expected = (
        '{"symbol":"BTCUSDT","adjustedFundingRateCap":"0.02000000",'
        '"adjustedFundingRateFloor":"-0.02000000","fundingIntervalHours":4,"disclaimer":false,'
        '"updateTime":null}'
    )

    assert expected == printed(funding_info("BTCUSDT", 4))
