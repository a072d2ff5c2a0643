"""The simulated exchange as a whole: the same run from the same seed, replays, ports, failures."""

import asyncio
import gzip
import hashlib
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.unit.dialect.test_stream import events
from tests.unit.dialect.virtual import START, Scene, on_exchange
from tests.unit.sim.test_market_replay import BEGIN, lines

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import MINUTE
from klinehub.errors import DefinitionError
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.replay import replay
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(180)


def test_equal_seeds_give_equal_runs_to_the_byte() -> None:
    async def follow(scene: Scene) -> str:
        names = [f"{s}@kline_{i}" for s in ("btcusdt", "ethusdt", "solusdt") for i in ("1m", "5m")]
        topics = ["!miniTicker@arr", "!markPrice@arr@1s"]
        socket = await scene.connect("/market/stream?streams=" + "/".join(names + topics))
        digest, end = hashlib.sha256(), asyncio.get_running_loop().time() + 130.0
        while asyncio.get_running_loop().time() < end:
            digest.update((await socket.receive()).data.encode())
        return digest.hexdigest()

    assert on_exchange(follow) == on_exchange(follow)


async def test_a_taken_port_is_told() -> None:
    exchange = Exchange(synthetic(1, start=START), Clock(START, 1.0, time.monotonic))
    served = await serve(exchange, port=0, ws_port=0)
    taken = int(served.rest_url.rsplit(":", 1)[1])
    with pytest.raises(DefinitionError, match=f"Port {taken} .* choose another"):
        await serve(exchange, port=taken, ws_port=0)
    with pytest.raises(DefinitionError, match=f"Port {taken} .* choose another"):
        await serve(exchange, port=0, ws_port=taken)
    await served.close()


async def test_closing_says_goodbye_to_connections() -> None:
    exchange = Exchange(synthetic(1, start=START), Clock(START, 1.0, time.monotonic))
    served = await serve(exchange, port=0, ws_port=0)
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{served.ws_url}/market/ws") as socket:
        closing = asyncio.create_task(served.close())
        message = await socket.receive()
        await closing
        await served.wait()

    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)


async def test_an_exchange_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Exchange(synthetic(1, start=START), Clock(START, 1.0, time.monotonic))
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(exchange, "live", fail)
    served = await serve(exchange, port=0, ws_port=0)
    with pytest.raises(ZeroDivisionError):
        await served.wait()
    with pytest.raises(ZeroDivisionError):
        await served.close()

    assert told[0]["message"] == "The simulated exchange stopped"


def test_a_replay_closes_exactly_the_recorded_bars_and_nothing_in_a_gap(tmp_path: Path) -> None:
    recorded = lines(10) + lines(10, BEGIN + 15 * MINUTE)
    (tmp_path / "ABCUSDT-1m-2026-02.csv.gz").write_bytes(gzip.compress("\n".join(recorded).encode()))

    async def follow(scene: Scene) -> list[dict[str, Any]]:
        socket = await scene.connect("/market/ws/abcusdt@kline_1m/abcusdt@kline_5m")
        return [event["k"] for event in await events(socket, 1600.0) if event["k"]["x"]]

    closed = on_exchange(follow, market=replay(tmp_path), start=BEGIN)
    ones = [k for k in closed if k["i"] == "1m"]
    texts = [
        ",".join(str(k[name]) for name in ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B"))
        for k in ones
    ]
    assert texts == recorded
    assert [k["t"] for k in closed if k["i"] == "5m"] == [BEGIN + n * 5 * MINUTE for n in (0, 1, 3, 4)]


def test_a_replay_tells_what_it_lacks_and_what_suits_it(tmp_path: Path) -> None:
    (tmp_path / "ABCUSDT-1m-2026-02.csv").write_text("\n".join(lines(10)))
    exchange = Exchange(replay(tmp_path), Clock(BEGIN, 1.0, time.monotonic))

    assert exchange.unavailable == frozenset()
    assert exchange.default_timeframes == ("1m", "5m", "15m", "1h")


def test_frames_of_the_recorded_crash_agree_with_rest(realdata: Path) -> None:
    begin = 1_760_131_790_000  # 2025-10-10 21:29:50

    async def follow(scene: Scene) -> int:
        symbols = [one.symbol for one in scene.served.exchange.source.listings()]
        names = [f"{symbol.lower()}@kline_15m" for symbol in symbols[:400]]
        socket = await scene.connect("/market/stream")
        for n in range(0, 400, 100):
            await socket.send_json({"method": "SUBSCRIBE", "params": names[n : n + 100], "id": n})
        closed = [event["data"]["k"] for event in await events(socket, 15.0) if event["data"]["k"]["x"]]
        for k in closed[::10]:
            params = {"symbol": k["s"], "interval": "15m", "startTime": k["t"], "limit": 1}
            _, rows, _ = await scene.get("/fapi/v1/klines", **params)
            assert rows[0][1:5] == [k["o"], k["h"], k["l"], k["c"]]
            assert rows[0][8] == k["n"]
        return len(closed)

    market = replay(realdata / "ohlcv_15m_521")
    assert on_exchange(follow, market=market, start=begin) > 380


@pytest.mark.parametrize(("pulse", "updates"), [(0.25, 40), (0.5, 20), (1.0, 10)])
def test_a_pulse_paces_klines_and_leaves_tickers_at_their_second(pulse: float, updates: int) -> None:
    async def follow(scene: Scene) -> list[str]:
        socket = await scene.connect("/market/ws/btcusdt@kline_1m/!markPrice@arr@1s")
        found = await events(socket, 10.1)
        return ["mark" if isinstance(event, list) else event["e"] for event in found]

    told = on_exchange(follow, pulse=pulse)
    assert abs(told.count("kline") - updates) <= 1
    assert told.count("mark") == 10


@pytest.mark.parametrize("pulse", [0.0, -1.0, 1.5, float("nan")])
def test_a_pulse_that_is_none_is_refused(pulse: float) -> None:
    with pytest.raises(DefinitionError, match="more than 0 and at most 1 s"):
        Exchange(synthetic(1, start=START), Clock(START, 1.0, time.monotonic), pulse=pulse)
