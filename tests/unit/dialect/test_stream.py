"""WebSocket as the exchange speaks it: routes, control messages, limits, and what is silent."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import WSMsgType
from tests.unit.dialect.virtual import START, Scene, on_exchange

from klinehub.dialect.stream import Rules
from klinehub.domain.timeframe import MINUTE

pytestmark = pytest.mark.timeout(180)
Socket = aiohttp.ClientWebSocketResponse


async def say(socket: Socket, method: str, params: list[Any] | None = None, number: Any = 1) -> Any:
    """Send a control message and give its answer, past any events."""
    request: dict[str, Any] = {"method": method, "id": number}
    await socket.send_json(request if params is None else request | {"params": params})
    while True:
        answer = json.loads((await socket.receive()).data)
        if "result" in answer or "error" in answer:
            return answer


async def events(socket: Socket, seconds: float) -> list[Any]:
    """Give the events of the next seconds."""
    found: list[Any] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        try:
            async with asyncio.timeout(left):
                message = await socket.receive()
        except TimeoutError:
            break
        if message.type is WSMsgType.PING:
            await socket.pong(message.data)
            continue
        if message.type is not WSMsgType.TEXT:
            break
        event = json.loads(message.data)
        if "result" not in event:
            found.append(event)
    return found


@pytest.mark.parametrize(
    ("path", "wrapped"),
    [
        ("/market/ws/btcusdt@kline_1m", False),
        ("/market/ws/0/btcusdt@kline_1m", False),
        ("/market/ws/btcusdt@kline_1m/ethusdt@kline_1m", False),
        ("/market/stream?streams=btcusdt@kline_1m", True),
        ("/market/ws?streams=btcusdt@kline_1m", False),
    ],
)
def test_path_and_query_streams_deliver_on_the_market_route(path: str, wrapped: bool) -> None:  # noqa: FBT001
    async def follow(scene: Scene) -> list[Any]:
        return await events(await scene.connect(path), 3.0)

    found = on_exchange(follow)
    assert found
    plain = [event["data"] for event in found] if wrapped else found
    assert all(event["e"] == "kline" and event["s"] in {"BTCUSDT", "ETHUSDT"} for event in plain)
    if wrapped:
        assert {event["stream"] for event in found} == {"btcusdt@kline_1m"}


@pytest.mark.parametrize("path", ["/ws", "/stream", "/public/ws", "/private/stream", "/ws/7", "/public/ws/3"])
def test_klines_are_acknowledged_and_silent_off_the_market_route(path: str) -> None:
    async def follow(scene: Scene) -> tuple[Any, Any, list[Any]]:
        socket = await scene.connect(path)
        answer = await say(socket, "SUBSCRIBE", ["btcusdt@kline_1m"])
        listed = await say(socket, "LIST_SUBSCRIPTIONS")
        return answer, listed, await events(socket, 70.0)

    answer, listed, found = on_exchange(follow)
    assert answer == {"result": None, "id": 1}
    assert listed == {"result": ["btcusdt@kline_1m"], "id": 1}
    assert found == []


def test_one_path_for_all_is_a_setting() -> None:
    async def follow(scene: Scene) -> list[Any]:
        return await events(await scene.connect("/ws/btcusdt@kline_1m"), 2.0)

    assert on_exchange(follow, rules=Rules(legacy_silent=False))


def test_unknown_names_are_acknowledged_listed_and_silent() -> None:
    names = [
        "nopeusdt@kline_1m",
        "BTCUSDT@kline_1m",
        "btcusdt@kline_7m",
        "btcusdt@bogus",
        "btcusdt@kline_1m@x",
        "1",
    ]

    async def follow(scene: Scene) -> tuple[Any, Any, list[Any], Any]:
        socket = await scene.connect("/market/ws")
        answer = await say(socket, "SUBSCRIBE", names)
        listed = await say(socket, "LIST_SUBSCRIPTIONS")
        found = await events(socket, 61.0)
        return answer, listed, found, await say(socket, "UNSUBSCRIBE", ["never@was"])

    answer, listed, found, gone = on_exchange(follow)
    assert answer["result"] is None
    assert listed["result"] == names
    assert found == []
    assert gone == {"result": None, "id": 1}


def test_properties_switch_the_envelope() -> None:
    async def follow(scene: Scene) -> None:
        socket = await scene.connect("/market/ws")
        assert await say(socket, "GET_PROPERTY", ["combined"], 2) == {"result": False, "id": 2}
        assert await say(socket, "SET_PROPERTY", ["combined", True], 5) == {"result": None, "id": 5}
        assert await say(socket, "GET_PROPERTY", ["combined"]) == {"result": True, "id": 1}
        await say(socket, "SUBSCRIBE", ["btcusdt@kline_1m"])
        found = await events(socket, 2.0)
        assert found
        assert set(found[0]) == {"stream", "data"}
        await say(socket, "UNSUBSCRIBE", ["btcusdt@kline_1m"])
        assert await events(socket, 5.0) == []

    on_exchange(follow)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{nonsense", 3),
        ("[]", 2),
        ('{"id":1}', 2),
        ('{"method":"JUMP","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":["a"],"id":-1}', 2),
        ('{"method":"SUBSCRIBE","params":["a"],"id":"x"}', 2),
        ('{"method":"SUBSCRIBE","params":["a"]}', 2),
        ('{"method":"SUBSCRIBE","params":"a","id":1}', 2),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2),
        ('{"method":"GET_PROPERTY","params":["colour"],"id":1}', 0),
        ('{"method":"GET_PROPERTY","params":[],"id":1}', 2),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1),
        ('{"method":"SET_PROPERTY","params":["combined"],"id":1}', 2),
    ],
)
def test_wrong_control_messages_get_error_frames_and_the_socket_lives_on(text: str, code: int) -> None:
    async def follow(scene: Scene) -> None:
        socket = await scene.connect("/market/ws")
        await socket.send_str(text)
        answer = json.loads((await socket.receive()).data)
        assert answer["error"]["code"] == code
        assert answer["error"]["msg"]
        assert (await say(socket, "LIST_SUBSCRIPTIONS"))["result"] == []

    on_exchange(follow)


def test_the_1025th_stream_costs_the_connection() -> None:
    async def follow(scene: Scene) -> tuple[Any, Any, int | None, str]:
        socket = await scene.connect("/market/ws")
        full = await say(socket, "SUBSCRIBE", [f"name{n}" for n in range(1024)])
        answer = await say(socket, "SUBSCRIBE", ["one more"], 19)
        closing = await socket.receive()
        return full, answer, closing.data, str(closing.extra)

    full, answer, code, reason = on_exchange(follow)
    assert full == {"result": None, "id": 1}
    assert answer == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 19}
    assert (code, reason) == (1008, "Invalid request")


def test_a_url_of_too_many_names_is_closed() -> None:
    async def follow(scene: Scene) -> tuple[int | None, str]:
        socket = await scene.connect("/market/ws/" + "/".join(f"n{n}" for n in range(1025)))
        closing = await socket.receive()
        return closing.data, str(closing.extra)

    assert on_exchange(follow) == (1008, "Invalid request")


def test_a_burst_of_15_is_answered_and_40_close_the_connection() -> None:
    async def burst(scene: Scene, size: int) -> tuple[int, Any]:
        socket = await scene.connect("/market/ws")
        for n in range(size):
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": n})
        answers = 0
        while True:
            try:
                async with asyncio.timeout(5):
                    message = await socket.receive()
            except TimeoutError:
                return answers, None
            if message.type is not WSMsgType.TEXT:
                return answers, (message.data, message.extra)
            answers += 1

    async def follow(scene: Scene) -> tuple[Any, Any]:
        return await burst(scene, 15), await burst(scene, 40)

    calm, wild = on_exchange(follow)
    assert calm == (15, None)
    assert wild[1] == (1008, "Too many requests")
    assert 15 <= wild[0] < 20


def test_ten_messages_a_second_are_fine_for_ever_and_pings_count() -> None:
    async def follow(scene: Scene) -> Any:
        socket = await scene.connect("/market/ws")
        for n in range(60):
            await say(socket, "LIST_SUBSCRIPTIONS", None, n)
            await asyncio.sleep(0.11)
        for _ in range(40):
            await socket.ping()
        while (message := await socket.receive()).type is WSMsgType.PONG:
            pass
        return message.data, message.extra

    assert on_exchange(follow) == (1008, "Too many requests")


def test_the_exchange_pings_and_cuts_who_never_answers() -> None:
    async def follow(scene: Scene) -> tuple[list[float], float]:
        loop = asyncio.get_running_loop()
        socket = await scene.connect("/market/ws")
        begin, pings = loop.time(), []
        while (message := await socket.receive()).type is WSMsgType.PING:
            assert abs(int(message.data) - scene.clock.now()) < 1000
            pings.append(loop.time() - begin)
        return pings, loop.time() - begin

    pings, end = on_exchange(follow)
    assert [round(ping / 180) for ping in pings] == [1, 2, 3]
    assert 600 < end < 740


def test_a_connection_lives_as_long_as_the_setting_says() -> None:
    async def follow(scene: Scene) -> tuple[int | None, float]:
        loop = asyncio.get_running_loop()
        socket = await scene.connect("/market/ws")
        begin = loop.time()
        while (message := await socket.receive()).type is WSMsgType.PING:
            await socket.pong(message.data)
        return socket.close_code, loop.time() - begin

    code, lived = on_exchange(follow, rules=Rules(lifetime=1000.0))
    assert code == 1001
    assert 999.9 < lived < 1001


def test_klines_come_four_times_a_second_and_close_at_the_minute() -> None:
    async def follow(scene: Scene) -> list[Any]:
        socket = await scene.connect("/market/ws/btcusdt@kline_1m/btcusdt@kline_5m")
        return await events(socket, 125.0)

    found = on_exchange(follow)
    minutes = [event["k"] for event in found if event["k"]["i"] == "1m"]
    closed = [k for k in minutes if k["x"]]
    assert [k["t"] for k in closed] == [START // MINUTE * MINUTE, START // MINUTE * MINUTE + MINUTE]
    assert 300 < len(minutes) < 510
    for before, after in pairwise(found):
        assert before["E"] <= after["E"]
    for before, after in pairwise(minutes):
        if before["t"] == after["t"]:
            assert int(after["n"]) >= int(before["n"])
            assert float(after["h"]) >= float(before["h"])
            assert float(after["l"]) <= float(before["l"])
            assert not before["x"]
    late = [event["E"] - event["k"]["T"] for event in found if event["k"]["x"]]
    assert all(0 < ms < 400 for ms in late)


def test_closed_frames_equal_rest_rows() -> None:
    async def follow(scene: Scene) -> None:
        names = [
            f"{s}@kline_{i}" for s in ("btcusdt", "ethusdt", "solusdt") for i in ("1m", "3m", "5m", "15m")
        ]
        socket = await scene.connect("/market/stream?streams=" + "/".join(names))
        closed = [event["data"]["k"] for event in await events(socket, 930.0) if event["data"]["k"]["x"]]
        assert len(closed) >= 3 * (15 + 5 + 3 + 1)
        for k in closed:
            params = {"symbol": k["s"], "interval": k["i"], "startTime": k["t"], "limit": 1}
            _, rows, _ = await scene.get("/fapi/v1/klines", **params)
            fields = [
                k["t"],
                k["o"],
                k["h"],
                k["l"],
                k["c"],
                k["v"],
                k["T"],
                k["q"],
                k["n"],
                k["V"],
                k["Q"],
                k["B"],
            ]
            assert rows == [fields]

    on_exchange(follow, limits=False)


@pytest.mark.parametrize("flat", [True, False])
def test_tradeless_minutes_close_if_the_switch_says_so(flat: bool) -> None:  # noqa: FBT001
    async def follow(scene: Scene) -> list[Any]:
        names = [f"{one.symbol.lower()}@kline_1m" for one in scene.served.exchange.source.listings()[530:550]]
        socket = await scene.connect("/market/stream?streams=" + "/".join(names))
        return [event["data"]["k"] for event in await events(socket, 60.0 * 9) if event["data"]["k"]["x"]]

    closed = on_exchange(follow, symbols=550, flat_closes=flat)
    untraded = [k for k in closed if k["n"] == 0]
    assert bool(untraded) is flat
    for k in untraded:
        assert (k["f"], k["L"], k["v"], k["q"], k["V"], k["Q"]) == (-1, -1, "0", "0", "0", "0")
        assert k["o"] == k["h"] == k["l"] == k["c"]


def test_names_that_are_not_ascii_are_echoed_and_delivered() -> None:
    async def follow(scene: Scene) -> tuple[str, Any, list[Any]]:
        listings = scene.served.exchange.source.listings()
        name = next(one.symbol for one in listings if not one.symbol.isascii()).lower() + "@kline_1m"
        by_path = await events(await scene.connect(f"/market/stream?streams={name}"), 61.0)
        socket = await scene.connect("/market/stream")
        await say(socket, "SUBSCRIBE", [name])
        listed = await say(socket, "LIST_SUBSCRIPTIONS")
        return name, listed["result"], by_path + await events(socket, 61.0)

    name, listed, found = on_exchange(follow, symbols=20)
    assert listed == [name]
    assert {event["stream"] for event in found} == {name}
    assert sum(event["data"]["k"]["x"] for event in found) == 2


def test_continuous_klines_name_pair_and_contract() -> None:
    async def follow(scene: Scene) -> list[Any]:
        return await events(await scene.connect("/market/ws/btcusdt_perpetual@continuousKline_1m"), 2.0)

    event = on_exchange(follow)[0]
    assert list(event) == ["e", "E", "ps", "ct", "k"]
    assert (event["e"], event["ps"], event["ct"]) == ("continuous_kline", "BTCUSDT", "PERPETUAL")
    assert "s" not in event["k"]


def test_all_market_streams_have_their_shapes() -> None:
    keys = {
        "!miniTicker@arr": ["e", "E", "s", "c", "o", "h", "l", "v", "q", "ps", "st"],
        "!ticker@arr": [
            "e",
            "E",
            "s",
            "p",
            "P",
            "w",
            "c",
            "Q",
            "o",
            "h",
            "l",
            "v",
            "q",
            "O",
            "C",
            "F",
            "L",
            "n",
            "ps",
            "st",
        ],
        "!markPrice@arr@1s": ["e", "E", "s", "p", "ap", "i", "P", "r", "T", "st"],
        "!markPrice@arr": ["e", "E", "s", "p", "ap", "i", "P", "r", "T", "st"],
    }

    async def follow(scene: Scene) -> dict[str, list[Any]]:
        socket = await scene.connect("/market/stream?streams=" + "/".join(keys))
        found: dict[str, list[Any]] = {}
        for event in await events(socket, 6.5):
            found.setdefault(event["stream"], []).append(event["data"])
        return found

    found = on_exchange(follow, symbols=40)
    assert set(found) == set(keys)
    for name, frames in found.items():
        assert all(list(row) == keys[name] for frame in frames for row in frame)
    assert len(found["!miniTicker@arr"]) == 6
    # TradFi comes in a frame of its own.
    assert len(found["!markPrice@arr@1s"]) == 12
    assert len(found["!markPrice@arr"]) == 4
    first, later = found["!miniTicker@arr"][0], found["!miniTicker@arr"][3]
    assert len(later) < len(first)


def test_single_symbol_streams_come_at_their_own_beat() -> None:
    beats = {"btcusdt@miniTicker": 3, "btcusdt@ticker": 3, "btcusdt@markPrice": 2, "btcusdt@markPrice@1s": 6}

    async def follow(scene: Scene) -> dict[str, int]:
        socket = await scene.connect("/market/stream?streams=" + "/".join(beats))
        found: dict[str, int] = {}
        for event in await events(socket, 6.4):
            found[event["stream"]] = found.get(event["stream"], 0) + 1
        return found

    assert on_exchange(follow) == beats


def test_listings_are_announced_and_their_streams_start() -> None:
    async def follow(scene: Scene) -> tuple[list[Any], list[Any]]:
        changes = scene.served.exchange.market.changes(START, START + 7_200_000)
        fresh = next(one.listing.symbol for one in changes if one.listing.status == "TRADING")
        info = await scene.connect("/market/ws/!contractInfo")
        stream = await scene.connect(f"/market/ws/{fresh.lower()}@kline_1m")
        told, klines = await asyncio.gather(events(info, 6500.0), events(stream, 6500.0))
        return told, klines

    told, klines = on_exchange(follow, rules=Rules(pong_within=1e9, ping_every=1e9))
    assert [event["cs"] for event in told if event["ot"] > START][-1] == "TRADING"
    assert all(set(event) >= {"e", "E", "s", "ct", "dt", "ot", "cs"} for event in told)
    fresh = next(event for event in told if event["cs"] == "TRADING" and event["ot"] > START)
    assert min(event["k"]["t"] for event in klines) == fresh["ot"]


def test_a_client_that_does_not_read_is_cut_and_the_others_go_on() -> None:
    names = "/".join(f"{s}@kline_{i}" for s in ("btcusdt", "ethusdt") for i in ("1m", "5m", "15m"))

    async def follow(scene: Scene) -> tuple[int, int]:
        reader = await scene.connect(f"/market/ws/{names}")
        loop = asyncio.get_running_loop()
        deaf = await scene.connect(f"/market/ws/{names}")
        loop.links[-1].down.stall()  # type: ignore[attr-defined]
        found = await events(reader, 400.0)
        assert not deaf.closed
        return len(found), scene.served.exchange.streams.cut_for_backlog

    found, cut = on_exchange(follow, rules=Rules(backlog=200_000, ping_every=1e9))
    assert cut == 1
    assert found > 5000


def test_fast_market_time_closes_every_minute_and_updates_at_the_same_real_pace() -> None:
    async def follow(scene: Scene) -> list[Any]:
        return await events(await scene.connect("/market/ws/btcusdt@kline_1m"), 10.0)

    found = on_exchange(follow, speed=60.0)
    closed = [event["k"]["t"] for event in found if event["k"]["x"]]
    np.testing.assert_array_equal(np.diff(closed), MINUTE)
    assert len(closed) >= 9
    assert 20 < len(found) < 60


def test_wrong_paths_are_not_found() -> None:
    async def follow(scene: Scene) -> int:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await scene.connect("/futures/ws")
        return refused.value.status

    assert on_exchange(follow) == 404


def test_a_client_that_goes_while_it_is_answered_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    class Tap:
        def admit(self, request: Any) -> None: ...

        def passed(self, connection: Any, data: bytes) -> bytes:
            return data

        def pongs(self, connection: Any) -> bool:
            connection.abort()
            return True

        def refusal(self, connection: Any, names: Any) -> str:
            return ""

    async def ping(scene: Scene) -> int:
        streams = scene.served.exchange.streams
        streams.tap = Tap()
        socket = await scene.connect("/market/ws")
        await socket.ping(b"x")
        await asyncio.sleep(1)
        return len(streams.connections)

    assert on_exchange(ping) == 0
    assert not caplog.records
