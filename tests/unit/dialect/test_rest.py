"""REST as the exchange answers it: bodies, ranges, weights, refusals."""

import asyncio
import json
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.dialect.virtual import START, Scene, on_exchange

from klinehub.domain.timeframe import MINUTE, TIMEFRAMES

pytestmark = pytest.mark.timeout(180)
KLINES = "/fapi/v1/klines"
BTC = {"symbol": "BTCUSDT"}
CONTRACTS = "/fapi/v1/continuousKlines"
BACKWARDS = "Start time is greater than end time."
LIMIT = "Data sent for parameter 'limit' is not valid."
MINUTES = {**BTC, "interval": "1m"}


def missing(name: str) -> str:
    return f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."


def illegal(name: str, legal: str) -> str:
    return f"Illegal characters found in parameter '{name}'; legal range is '{legal}'."


@pytest.mark.parametrize(
    ("path", "params", "code", "message"),
    [
        (KLINES, {"interval": "1m"}, -1102, missing("symbol")),
        (KLINES, {"symbol": "BTCUSDT"}, -1102, missing("interval")),
        (KLINES, {"symbol": "", "interval": "1m"}, -1102, missing("symbol")),
        (KLINES, {"symbol": "NOPEUSDT", "interval": "1m"}, -1121, "Invalid symbol."),
        (KLINES, {"symbol": "BTC/USDT", "interval": "1m"}, -1100, illegal("symbol", "^[A-Z0-9-_.]{1,20}$")),
        (KLINES, {**BTC, "interval": "7m"}, -1120, "Invalid interval."),
        (KLINES, {**BTC, "interval": "1s"}, -1120, "Invalid interval."),
        (KLINES, {**MINUTES, "limit": "1501"}, -1130, LIMIT),
        (KLINES, {**MINUTES, "limit": "0"}, -1130, LIMIT),
        (KLINES, {**MINUTES, "limit": "ten"}, -1100, illegal("limit", "^[0-9]{1,20}$")),
        (KLINES, {**MINUTES, "startTime": ""}, -1105, "Parameter 'startTime' was empty."),
        (KLINES, {**MINUTES, "startTime": "2", "endTime": "1"}, -1023, BACKWARDS),
        (CONTRACTS, {"pair": "BTCUSDT", "contractType": "WEEKLY"}, -4104, "Invalid contract type."),
        (CONTRACTS, {"pair": "NOPEUSDT", "contractType": "PERPETUAL"}, -4144, "Invalid pair."),
        ("/fapi/v1/ticker/24hr", {"symbol": "NOPEUSDT"}, -1121, "Invalid symbol."),
        ("/fapi/v1/openInterest", {}, -1102, missing("symbol")),
        ("/fapi/v1/algoOrders", {}, -5000, "Path /fapi/v1/algoOrders, Method GET is invalid"),
    ],
)
def test_bad_requests_get_the_documented_bodies(
    path: str, params: dict[str, str], code: int, message: str
) -> None:
    async def ask(scene: Scene) -> None:
        status, body, headers = await scene.get(path, **params)

        assert (status, body) == (400, {"code": code, "msg": message})
        assert int(headers["x-mbx-used-weight-1m"]) >= 1

    on_exchange(ask)


def test_every_answer_tells_the_exchanges_own_time() -> None:
    async def ask(scene: Scene) -> None:
        for path, params in (("/fapi/v1/time", {}), (KLINES, MINUTES), (KLINES, {}), ("/nowhere", {})):
            _, _, headers = await scene.get(path, **params)
            told = parsedate_to_datetime(headers["date"])
            assert headers["date"].endswith(" GMT")
            assert 0 <= scene.clock.now() - told.timestamp() * 1000 < 2_000

    on_exchange(ask)


def test_a_parameter_sent_twice_and_a_wrong_method_are_told() -> None:
    async def ask(scene: Scene) -> None:
        status, body, _ = await scene.get(f"{KLINES}?symbol=BTCUSDT&interval=1m&interval=5m")
        assert (status, body["code"]) == (400, -1101)
        async with scene.session.post(f"{scene.served.rest_url}/fapi/v1/ping") as answer:
            assert await answer.json() == {"code": -5000, "msg": "Path /fapi/v1/ping, Method POST is invalid"}

    on_exchange(ask)


def test_the_error_bodies_match_recorded_ones(realdata: Path) -> None:
    text = (realdata / "raw_errors" / "binance_error_bodies.jsonl").read_text()
    recorded = [json.loads(line) for line in text.splitlines()]
    wrong_path = next(one for one in recorded if one.get("body", {}).get("code") == -5000)

    async def ask(scene: Scene) -> None:
        status, body, _ = await scene.get("/fapi/v1/algoOrders")
        assert (status, body) == (wrong_path["http"], wrong_path["body"])

    on_exchange(ask)


@pytest.mark.parametrize(
    ("limit", "weight"),
    [
        *(("1", 1), ("99", 1), ("100", 1), ("101", 2), ("499", 2), ("500", 2), ("501", 5)),
        *(("1000", 5), ("1001", 10), ("1500", 10), (None, 5), ("1501", 10)),
    ],
)
def test_klines_weigh_what_was_measured(limit: str | None, weight: int) -> None:
    async def ask(scene: Scene) -> int:
        params = {"symbol": "BTCUSDT", "interval": "1m"} | ({"limit": limit} if limit else {})
        _, _, headers = await scene.get(KLINES, **params)
        return int(headers["x-mbx-used-weight-1m"])

    assert on_exchange(ask) == weight


def test_other_requests_weigh_what_is_documented() -> None:
    weights = {
        "/fapi/v1/ping": 1,
        "/fapi/v1/time": 1,
        "/fapi/v1/exchangeInfo": 1,
        "/fapi/v1/ticker/24hr": 40,
        "/fapi/v1/ticker/24hr?symbol=BTCUSDT": 1,
        "/fapi/v1/ticker/price": 2,
        "/fapi/v2/ticker/price": 2,
        "/fapi/v2/ticker/price?symbol=BTCUSDT": 1,
        "/fapi/v1/premiumIndex": 10,
        "/fapi/v1/premiumIndex?symbol=BTCUSDT": 1,
        "/fapi/v1/openInterest?symbol=BTCUSDT": 1,
        "/fapi/v1/fundingInfo": 0,
    }

    async def ask(scene: Scene) -> dict[str, int]:
        found, before = {}, 0
        for path in weights:
            status, _, headers = await scene.get(path)
            assert status == 200
            found[path] = int(headers["x-mbx-used-weight-1m"]) - before
            before += found[path]
        return found

    assert on_exchange(ask) == weights


def test_weight_is_counted_by_the_clock_minute_and_refused_above_the_limit() -> None:
    async def ask(scene: Scene) -> list[tuple[int, int]]:
        answers = [await scene.get("/fapi/v1/ticker/24hr") for _ in range(3)]
        seen = [(status, int(headers["x-mbx-used-weight-1m"])) for status, _, headers in answers]
        _, body, headers = answers[-1]
        assert body["code"] == -1003
        assert "current limit is 100 request weight per 1 MINUTE" in body["msg"]
        wait = int(headers["retry-after"])
        assert 0 < wait <= 60
        await asyncio.sleep(wait)
        status, _, headers = await scene.get("/fapi/v1/ping")
        seen.append((status, int(headers["x-mbx-used-weight-1m"])))
        return seen

    assert on_exchange(ask, weight_limit=100) == [(200, 40), (200, 80), (429, 120), (200, 1)]


def test_going_on_after_429_is_a_ban_that_doubles() -> None:
    async def banned(scene: Scene) -> int:
        for _ in range(40):
            status, body, headers = await scene.get("/fapi/v1/ping")
            if status == 418:
                until = int(body["msg"].split("banned until ")[1].split(".")[0])
                assert body["code"] == -1003
                assert 119 <= int(headers["retry-after"]) <= 240
                return until - scene.clock.now()
        raise AssertionError("never banned")

    async def ask(scene: Scene) -> tuple[int, int]:
        first = await banned(scene)
        await asyncio.sleep(60)
        status, _, _ = await scene.get("/fapi/v1/ping")
        assert status == 418
        await asyncio.sleep(61)
        status, _, _ = await scene.get("/fapi/v1/ping")
        assert status == 200
        return first, await banned(scene)

    first, second = on_exchange(ask, weight_limit=5)
    assert 119_000 < first <= 120_000
    assert 239_000 < second <= 240_000


def test_without_limits_weight_is_only_counted() -> None:
    async def ask(scene: Scene) -> tuple[int, int]:
        answers = [await scene.get("/fapi/v1/ticker/24hr") for _ in range(5)]
        status, _, headers = answers[-1]
        return status, int(headers["x-mbx-used-weight-1m"])

    assert on_exchange(ask, weight_limit=100, limits=False) == (200, 200)


async def _open_times(scene: Scene, **params: str | int) -> list[int]:
    status, body, _ = await scene.get(KLINES, **{"symbol": "BTCUSDT", "interval": "5m", **params})
    assert status == 200
    return [row[0] for row in body]


def test_ranges_follow_the_documented_rules() -> None:
    five = 5 * MINUTE
    newest = START // five * five

    async def ask(scene: Scene) -> None:
        assert len(await _open_times(scene)) == 500
        assert await _open_times(scene, limit=3) == [newest - 2 * five, newest - five, newest]
        start = newest - 100 * five
        assert await _open_times(scene, limit=2, startTime=start) == [start, start + five]
        assert await _open_times(scene, limit=2, startTime=start + 1) == [start + five, start + 2 * five]
        assert await _open_times(scene, limit=2, endTime=start) == [start - five, start]
        assert await _open_times(scene, limit=2, endTime=start - 1) == [start - 2 * five, start - five]
        assert await _open_times(scene, startTime=start, endTime=start + 2 * five) == [
            start + k * five for k in range(3)
        ]
        assert await _open_times(scene, limit=2, startTime=start, endTime=start + 9 * five) == [
            start,
            start + five,
        ]
        assert await _open_times(scene, startTime=newest + five) == []
        assert await _open_times(scene, startTime=start + 1, endTime=start + 2) == []
        assert (await _open_times(scene, limit=1, startTime=0))[0] == 1_569_398_400_000
        assert await _open_times(scene, endTime=1_569_398_400_000 - 1) == []

    on_exchange(ask)


@pytest.mark.parametrize("interval", sorted(TIMEFRAMES))
def test_the_last_row_of_every_interval_is_still_open(interval: str) -> None:
    async def ask(scene: Scene) -> None:
        _, rows, _ = await scene.get(KLINES, symbol="btcusdt", interval=interval, limit=1500)
        closes = [row[6] for row in rows]

        assert rows[-1][0] <= START < closes[-1]
        assert all(after[0] == before + 1 for before, after in zip(closes, rows[1:], strict=False))
        assert all(len(row) == 12 and row[11] == "0" for row in rows)

    on_exchange(ask)


def test_exchange_info_lists_everything_once() -> None:
    async def ask(scene: Scene) -> Any:
        _, info, _ = await scene.get("/fapi/v1/exchangeInfo")
        _, tickers, _ = await scene.get("/fapi/v1/ticker/24hr")
        _, prices, _ = await scene.get("/fapi/v1/ticker/price")
        trading = [one["symbol"] for one in info["symbols"] if one["status"] == "TRADING"]
        assert [one["symbol"] for one in tickers] == trading
        assert [one["symbol"] for one in prices] == trading
        return info

    info = on_exchange(ask, symbols=30)
    assert {"limit": 2400, "interval": "MINUTE", "intervalNum": 1, "rateLimitType": "REQUEST_WEIGHT"} in info[
        "rateLimits"
    ]
    assert any(not one["symbol"].isascii() for one in info["symbols"])


def test_non_ascii_symbols_and_contracts_have_klines() -> None:
    async def ask(scene: Scene) -> None:
        _, info, _ = await scene.get("/fapi/v1/exchangeInfo")
        symbol = next(one["symbol"] for one in info["symbols"] if not one["symbol"].isascii())
        status, rows, _ = await scene.get(KLINES, symbol=symbol, interval="1h", limit=4)
        assert (status, len(rows)) == (200, 4)
        quarter = next(one["symbol"] for one in info["symbols"] if one["contractType"] == "CURRENT_QUARTER")
        _, direct, _ = await scene.get(
            KLINES, symbol=quarter, interval="1h", limit=3, endTime=START - 3_600_000
        )
        params = {"pair": "BTCUSDT", "contractType": "CURRENT_QUARTER", "interval": "1h", "limit": "3"}
        _, rows, _ = await scene.get("/fapi/v1/continuousKlines", **params, endTime=START - 3_600_000)
        assert rows == direct

    on_exchange(ask, symbols=30)


def test_the_day_ticker_is_the_sum_of_its_minutes() -> None:
    async def ask(scene: Scene) -> tuple[Any, Any]:
        _, rows, _ = await scene.get(KLINES, symbol="ETHUSDT", interval="1m", limit=1440)
        _, ticker, _ = await scene.get("/fapi/v1/ticker/24hr", symbol="ETHUSDT")
        return rows, ticker

    rows, ticker = on_exchange(ask)
    closed = rows[:-1]
    assert ticker["openPrice"] == rows[0][1]
    assert float(ticker["highPrice"]) >= max(float(row[2]) for row in closed)
    assert float(ticker["volume"]) >= sum(float(row[5]) for row in closed) - 1e-6
    assert ticker["count"] >= sum(row[8] for row in closed)
    low, high = float(ticker["lowPrice"]), float(ticker["highPrice"])
    assert low <= float(ticker["weightedAvgPrice"]) <= high
    change = float(ticker["lastPrice"]) - float(ticker["openPrice"])
    assert float(ticker["priceChange"]) == pytest.approx(change, abs=0.006)


def test_pending_symbols_have_no_bars_and_settled_ones_flat_ones() -> None:
    async def ask(scene: Scene) -> None:
        _, rows, _ = await scene.get(KLINES, symbol="BTCSTUSDT", interval="1m")
        assert rows == []
        _, info, _ = await scene.get("/fapi/v1/exchangeInfo")
        settled = next(one["symbol"] for one in info["symbols"] if one["status"] == "SETTLING")
        _, rows, _ = await scene.get(KLINES, symbol=settled, interval="15m", limit=5)
        assert {row[5] for row in rows} == {"0"}
        assert len({price for row in rows for price in row[1:5]}) == 1

    on_exchange(ask)
