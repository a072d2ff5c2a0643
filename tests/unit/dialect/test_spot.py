"""The spot dialect: weights, bodies and digits as that market has them, and the streams that it has."""

import json
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession

from klinehub.dialect.frames import Sheet, kline_events, kline_stencil
from klinehub.dialect.manner import FUTURES, SPOT
from klinehub.dialect.render import rows_json
from klinehub.dialect.weights import spot_weight_of
from klinehub.domain.clock import Clock
from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.timeframe import MINUTE, timeframe
from klinehub.feed.body import parse_klines
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import synthetic

START = 1_791_241_230_000
ALL = ",".join(f'"S{n}"' for n in range(101))


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        ("/api/v3/klines", {"symbol": "A", "limit": "1000"}, 2),
        ("/api/v3/klines", {}, 2),
        ("/api/v3/exchangeInfo", {}, 20),
        ("/api/v3/exchangeInfo", {"symbol": "A"}, 20),
        ("/api/v3/ticker/24hr", {"symbol": "A"}, 2),
        ("/api/v3/ticker/24hr", {"symbols": '["A","B"]'}, 2),
        ("/api/v3/ticker/24hr", {"symbols": '["' + '","'.join("ABCDEFGHIJKLMNOPQRSTU") + '"]'}, 40),
        ("/api/v3/ticker/24hr", {"symbols": f"[{ALL}]"}, 80),
        ("/api/v3/ticker/24hr", {"type": "MINI"}, 80),
        ("/api/v3/ticker/price", {"symbol": "A"}, 2),
        ("/api/v3/ticker/price", {}, 4),
        ("/api/v3/time", {}, 1),
        ("/api/v3/ping", {}, 1),
    ],
)
def test_requests_weigh_what_the_documentation_says(path: str, query: dict[str, str], weight: int) -> None:
    assert spot_weight_of(path, query) == weight


def asked(*questions: tuple[str, dict[str, Any]]) -> list[tuple[int, Any, dict[str, str]]]:
    """Give status, JSON and headers of each answer of a small spot market."""

    async def main(loop: SimLoop) -> list[tuple[int, Any, dict[str, str]]]:
        market = SpotMarket(synthetic(18, 1, start=START))
        served = await serve(Exchange(market, Clock(START, 1.0, loop.time)), port=0, ws_port=0)
        found = []
        async with SimNetwork().session(served.rest_url, timeout=10) as session:
            for path, params in questions:
                found.append(await _get(session, served.rest_url + path, params))
        await served.close()
        return found

    return run(main)


async def _get(session: ClientSession, url: str, params: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
    async with session.get(url, params=params) as answer:
        return answer.status, await answer.json(), dict(answer.headers)


def test_a_request_for_too_many_rows_is_cut() -> None:
    (status, rows, headers), (_, few, _) = asked(
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m", "limit": 5_000}),
        ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "1m"}),
    )

    assert (status, len(rows), len(few)) == (200, 1_000, 500)
    assert headers["X-MBX-USED-WEIGHT-1M"] == "2"


def test_numbers_have_all_their_decimals_and_are_read_back_as_they_are() -> None:
    ((_, rows, _),) = asked(("/api/v3/klines", {"symbol": "PEPEUSDT", "interval": "1m", "limit": 3}))
    row = rows[0]

    assert [len(text.partition(".")[2]) for text in row[1:6]] == [8, 8, 8, 8, 2]
    assert len(row[7].partition(".")[2]) == 8
    exact = parse_klines(json.dumps(rows).encode(), timeframe("1m"))
    assert exact.scale == (8, 2, 8)
    assert [f"{price:.8f}" for price in exact.rows["close"]] == [row[4] for row in rows]


def test_a_zero_has_its_decimals_too() -> None:
    rows = np.zeros(1, ROW)
    rows[0] = (START // MINUTE * MINUTE, 0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0, 0)
    exact = Exact(rows, Scale(8, 2, 8))
    quiet = json.loads(rows_json(exact, timeframe("1m"), bare_zero=False))[0]

    assert [quiet[n] for n in (5, 7, 9, 10)] == ["0.00", "0.00000000", "0.00", "0.00000000"]
    assert json.loads(rows_json(exact, timeframe("1m")))[0][5] == "0"
    listing = SpotMarket(synthetic(3, 1, start=START)).listings(START)[0]
    sheet = Sheet()
    sheet.add(kline_stencil(listing, (8, 2, 8), timeframe("1m"), bare_zero=False))
    events = kline_events(
        sheet, np.zeros(1, np.int64), rows.view(np.int64).reshape(1, -1), START, closed=True
    )
    told = json.loads(events.buffer[: events.cuts[1]].tobytes())["k"]
    assert [told[name] for name in ("v", "q", "V", "Q", "n", "f", "L", "x")] == [
        *("0.00", "0.00000000", "0.00", "0.00000000"),
        *(0, -1, -1, True),
    ]


def test_the_listing_is_one_of_spot() -> None:
    ((_, body, headers), (_, one, _), (status, error, _)) = asked(
        ("/api/v3/exchangeInfo", {}),
        ("/api/v3/exchangeInfo", {"symbol": "BTCUSDT"}),
        ("/api/v3/exchangeInfo", {"symbols": '["NOPEUSDT"]'}),
    )

    assert headers["X-MBX-USED-WEIGHT-1M"] == "20"
    assert body["rateLimits"][0]["limit"] == 6_000
    bitcoin = body["symbols"][0]
    assert {"contractType", "onboardDate", "deliveryDate", "pair"} & bitcoin.keys() == set()
    assert (bitcoin["symbol"], bitcoin["status"], bitcoin["isSpotTradingAllowed"]) == (
        "BTCUSDT",
        "TRADING",
        True,
    )
    assert [symbol["symbol"] for symbol in one["symbols"]] == ["BTCUSDT"]
    assert (status, error["code"]) == (400, -1121)


def test_tickers_come_in_two_sizes_and_prices_tell_no_time() -> None:
    full, mini, two, price, wrong = asked(
        ("/api/v3/ticker/24hr", {"symbol": "BTCUSDT"}),
        ("/api/v3/ticker/24hr", {"type": "MINI"}),
        ("/api/v3/ticker/24hr", {"symbols": '["BTCUSDT","ETHUSDT"]'}),
        ("/api/v3/ticker/price", {"symbol": "BTCUSDT"}),
        ("/api/v3/ticker/24hr", {"type": "HUGE"}),
    )

    assert {"prevClosePrice", "bidPrice", "askQty", "count"} <= full[1].keys()
    assert set(mini[1][0]) == {
        *("symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"),
        *("openTime", "closeTime", "firstId", "lastId", "count"),
    }
    assert [ticker["symbol"] for ticker in two[1]] == ["BTCUSDT", "ETHUSDT"]
    assert set(price[1]) == {"symbol", "price"}
    assert (wrong[0], wrong[1]["code"]) == (400, -1139)


def test_futures_paths_are_not_there() -> None:
    ((status, _, _),) = asked(("/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "1m"}))

    assert status == 400


def test_spot_has_fewer_streams() -> None:
    assert SPOT.market_topics < FUTURES.market_topics
    assert SPOT.symbol_topics < FUTURES.symbol_topics
    board = Exchange(SpotMarket(synthetic(3, 1, start=START)), Clock(START, 1.0, lambda: 0.0)).board

    assert board._line("btcusdt@kline_1m") == 0
    assert board._line("btcusdt_perpetual@continuousKline_1m") is None
    assert not board._is_topic("!markPrice@arr")
    assert board._is_topic("btcusdt@ticker")
