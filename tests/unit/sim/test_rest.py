"""What bots that trade ask of the simulated exchange beside klines: books, mark klines, past fundings."""

from typing import Any

import pytest
from tests.unit.dialect.virtual import START, Scene, on_exchange

from klinehub.dialect.weights import spot_weight_of, weight_of
from klinehub.domain.timeframe import MINUTE
from klinehub.sim.market import HOUR
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(180)
BTC: dict[str, Any] = {"symbol": "BTCUSDT"}
DEPTH, BEST = "/fapi/v1/depth", "/fapi/v1/ticker/bookTicker"
FUNDING, MARKS = "/fapi/v1/fundingRate", "/fapi/v1/markPriceKlines"


def asked(path: str, *, spot: bool = False, **params: str | int) -> tuple[int, Any]:
    """Ask a small exchange; gives status and body."""

    async def ask(scene: Scene) -> tuple[int, Any]:
        status, body, _ = await scene.get(path, **params)
        return status, body

    market = synthetic(18, 1, start=START)
    return on_exchange(ask, market=SpotMarket(market) if spot else market)


def test_a_book_lies_a_tick_apart_around_the_last_price() -> None:
    async def ask(scene: Scene) -> tuple[Any, Any, Any]:
        price = (await scene.get("/fapi/v2/ticker/price", **BTC))[1]
        return price, (await scene.get(DEPTH, **BTC, limit=5))[1], (await scene.get(BEST, **BTC))[1]

    price, book, best = on_exchange(ask)
    bids, asks = ([round(float(level[0]) * 10) for level in book[side]] for side in ("bids", "asks"))

    last = round(float(price["price"]) * 10)
    assert (bids, asks) == ([last - n for n in range(5)], [last + 1 + n for n in range(5)])
    assert all(19_000 < float(one) * float(amount) <= 20_000 for one, amount in book["bids"])
    assert set(book) == {"lastUpdateId", "E", "T", "bids", "asks"}
    assert [best["bidPrice"], best["bidQty"]] == book["bids"][0]
    assert [best["askPrice"], best["askQty"]] == book["asks"][0]


def test_futures_take_certain_numbers_of_levels_only_and_spot_takes_any() -> None:
    assert asked(DEPTH, **BTC, limit=7) == (400, {"code": -4021, "msg": "7 is not valid depth limit"})

    status, book = asked("/api/v3/depth", spot=True, **BTC, limit=7)
    assert (status, len(book["bids"]), len(book["asks"])) == (200, 7, 7)
    assert set(book) == {"lastUpdateId", "bids", "asks"}


def test_the_best_of_all_are_those_that_trade() -> None:
    async def ask(scene: Scene) -> tuple[Any, Any]:
        return (await scene.get(BEST))[1], (await scene.get("/fapi/v1/exchangeInfo"))[1]

    best, info = on_exchange(ask)

    trading = [one["symbol"] for one in info["symbols"] if one["status"] == "TRADING"]
    assert [one["symbol"] for one in best] == trading
    assert set(asked("/api/v3/ticker/bookTicker", spot=True, **BTC)[1]) == (
        {"symbol", "bidPrice", "bidQty", "askPrice", "askQty"}
    )


def test_klines_of_the_mark_price_are_those_of_the_trades_without_volumes() -> None:
    async def ask(scene: Scene) -> tuple[Any, Any]:
        wanted: dict[str, Any] = {**BTC, "interval": "5m", "limit": 3}
        return (await scene.get("/fapi/v1/klines", **wanted))[1], (await scene.get(MARKS, **wanted))[1]

    traded, marked = on_exchange(ask)

    assert [row[0] for row in marked] == [row[0] for row in traded]
    assert [[float(text) for text in row[1:5]] for row in marked[:2]] == (
        [[float(text) for text in row[1:5]] for row in traded[:2]]
    )
    assert marked[0][5:] == ["0", traded[0][6], "0", 300, "0", "0", "0"]
    assert 0 < marked[2][8] < 300


def test_past_fundings_are_told_oldest_first_at_whole_hours() -> None:
    start = START - 100 * HOUR
    rows = asked(FUNDING, **BTC, startTime=start, limit=4)[1]

    times = [row["fundingTime"] for row in rows]
    length = times[1] - times[0]
    assert length in {4 * HOUR, 8 * HOUR}
    assert times == [-(-start // length) * length + n * length for n in range(4)]
    assert {row["symbol"] for row in rows} == {"BTCUSDT"}
    assert all(-0.02 <= float(row["fundingRate"]) <= 0.02 and float(row["markPrice"]) > 0 for row in rows)
    newest = asked(FUNDING, **BTC, limit=1)[1]
    assert newest[0]["fundingTime"] == START // length * length
    assert asked(FUNDING, **BTC, startTime=START + MINUTE) == (200, [])


def test_the_last_funding_of_each_perpetual_is_told_where_no_symbol_is_named() -> None:
    rows = asked(FUNDING)[1]

    times = [row["fundingTime"] for row in rows]
    assert times == sorted(times)
    assert len({row["symbol"] for row in rows}) == len(rows) > 1
    assert all(START - 8 * HOUR < time <= START for time in times)


@pytest.mark.parametrize(
    ("path", "query", "weight"),
    [
        (DEPTH, {}, 1),
        (DEPTH, {"limit": "50"}, 2),
        (DEPTH, {"limit": "100"}, 5),
        (DEPTH, {"limit": "500"}, 10),
        (DEPTH, {"limit": "1000"}, 20),
        (BEST, {}, 5),
        (BEST, BTC, 2),
        (MARKS, {**BTC, "limit": "1000"}, 5),
        (FUNDING, BTC, 0),
        ("/api/v3/depth", {}, 5),
        ("/api/v3/depth", {"limit": "500"}, 25),
        ("/api/v3/depth", {"limit": "9000"}, 250),
        ("/api/v3/ticker/bookTicker", {}, 4),
    ],
)
def test_they_weigh_what_is_documented(path: str, query: dict[str, str], weight: int) -> None:
    weigh = spot_weight_of if path.startswith("/api/") else weight_of

    assert weigh(path, query) == weight
