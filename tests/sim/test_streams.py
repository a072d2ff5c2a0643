"""A hub's streams on virtual time: what its clients are told, held against the exchange's own frames."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from tests.sim.consuming import Reader, Room, in_room, name_of, plain, streams
from tests.sim.worlds import HOUR, Place

from klinehub.dialect.telling import Telling
from klinehub.domain.timeframe import MINUTE

pytestmark = pytest.mark.timeout(180)
KEPT = ("1m", "5m", "15m", "1h")
BUILT = ("3m", "30m", "2h", "4h", "1d")
# Four minutes before midnight, when every timeframe of a day closes.
LATE = HOUR + 56 * MINUTE + 1_000


@pytest.mark.parametrize("kind", ["ws/", "stream?streams="])
def test_frames_are_those_of_the_exchange(kind: str) -> None:
    async def test(room: Room) -> None:
        names = streams(room.world.hub.symbols, *KEPT, *BUILT)
        exchange, hub = await room.both(f"/market/{kind}{names}/btcusdt_perpetual@continuousKline_1m")
        begun = room.world.clock.now()
        await room.until(3605)

        assert hub.closes == exchange.closes
        # Four minutes, and all larger bars at the end of the day.
        assert {name: len(told) for name, told in hub.closes.items()} == {
            f"{symbol}@kline_{frame}": {"1m": 4, "3m": 2}.get(frame, 1)
            for symbol in room.world.hub.symbols
            for frame in (*KEPT, *BUILT)
        } | {"BTCUSDT_PERPETUAL@continuousKline_1m": 4}
        told, later = set(exchange.frames), [plain(text) for time, text in hub.got if time > begun + 1000]
        others = [text for text in later if text not in told]
        # Between a minute's end and the next trade the exchange tells nothing of the larger bars.
        assert not [text for text in others if '"i":"1m"' in text]
        assert len(others) < len(later) / 20
        assert len(hub.frames) > 0.9 * len(exchange.frames)
        hub.assert_in_order()

    in_room(test, start=LATE)


def test_closes_are_on_the_wire_within_a_tenth_of_a_second_of_the_exchange_s_own() -> None:
    async def test(room: Room) -> None:
        exchange, hub = await room.both(f"/market/ws/{streams(room.world.hub.symbols, *KEPT)}")
        await room.until(3605)
        ours, theirs = (
            [time for time, text in reader.got if '"x":true' in text] for reader in (hub, exchange)
        )

        assert len(ours) == len(theirs) > 4 * 6
        # Both lie up to 25 ms away, the hub from the exchange and the client from the hub.
        assert max(mine - their for mine, their in zip(ours, theirs, strict=True)) < 100

    in_room(test, start=LATE)


def test_trade_ids_are_not_made_up() -> None:
    async def test(room: Room) -> None:
        hub = await room.connect(f"/ws/{streams(room.world.hub.symbols, '1m')}")
        await room.until(5)

        assert {(bar["f"], bar["L"]) for bar in (json.loads(text)["k"] for _, text in hub.got)} == {(-1, -1)}

    in_room(test)


ROUTES = [
    f"{route}/{kind}" for route in ("", "/market", "/public", "/private") for kind in ("ws/7", "stream")
]


@pytest.mark.parametrize("path", ROUTES)
def test_every_route_tells_everything(path: str) -> None:
    async def test(room: Room) -> None:
        hub = await room.connect(path)
        await hub.socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 1})
        await room.until(5)

        assert hub.got[0][1] == '{"result":null,"id":1}'
        assert len(hub.got) > 4
        assert all(("stream" in json.loads(text)) == ("stream" in path) for _, text in hub.got[1:])

    in_room(test)


def test_other_paths_are_not_found() -> None:
    async def test(room: Room) -> None:
        for path in ("/wss", "/market/socket", "/markets/ws", "/public"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
                await room.connect(path)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await room.connect("/spot/ws")

    in_room(test)


SAID: list[Any] = [
    {"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m", "nope@kline_1m", "BTCUSDT@kline_1m"], "id": 1},
    {"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m", "!miniTicker@arr", "ethusdt@bookTicker"], "id": 2},
    {"method": "LIST_SUBSCRIPTIONS", "id": 3},
    {"method": "UNSUBSCRIBE", "params": ["never@was", "nope@kline_1m"], "id": 4},
    {"method": "LIST_SUBSCRIPTIONS", "id": 5},
    {"method": "GET_PROPERTY", "params": ["combined"], "id": 6},
    {"method": "SET_PROPERTY", "params": ["combined", True], "id": 7},
    {"method": "SET_PROPERTY", "params": ["colour", True], "id": 8},
    {"method": "GET_PROPERTY", "params": ["combined"], "id": 9},
    {"method": "JUMP", "id": 10},
    {"method": "SUBSCRIBE", "params": "a", "id": "x"},
    [],
    {"method": "SUBSCRIBE", "params": [f"name{n}" for n in range(1025)], "id": 12},
]


def test_control_messages_are_answered_as_the_exchange_does() -> None:
    async def test(room: Room) -> None:
        readers = await room.both("/market/ws")
        for message in SAID:
            for reader in readers:
                await reader.socket.send_json(message)
            await asyncio.sleep(0.5)
        exchange, hub = ([text for text in reader.got if '"k"' not in text[1]] for reader in readers)

        assert [text for _, text in hub] == [text for _, text in exchange if '"24hr' not in text]
        assert len(hub) == len(SAID)
        assert (readers[0].code, readers[1].code) == (1008, 1008)

    in_room(test)


def test_what_nobody_has_followed_is_not_told_later_and_what_is_followed_is() -> None:
    async def test(room: Room) -> None:
        first = await room.connect("/ws/btcusdt@kline_1m")
        await room.until(61)
        await first.socket.close()
        await room.until(181)
        second = await room.connect("/ws")
        await asyncio.sleep(0.5)
        assert second.got == []
        await second.socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 1})
        await room.until(245)
        bars = [json.loads(text)["k"] for _, text in (*first.got, *second.got[1:])]

        assert [(bar["t"] - HOUR) // MINUTE for bar in bars if bar["x"]] == [0, 3]
        assert room.streams.stats()["stream_clients"] == 1

    in_room(test)


def test_a_close_that_is_proved_between_a_subscription_and_the_next_pulse_is_told() -> None:
    async def test(room: Room) -> None:
        late = [await room.connect("/ws") for _ in range(25)]
        for number, reader in enumerate(late):
            await room.until(59.95 + number / 250)
            await reader.socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 1})
        await room.until(62)
        told = [sum('"x":true' in text for _, text in reader.got) for reader in late]

        # The close is proved at 60.05 or so, and there is no pulse between the first of them and that.
        assert told[:12] == [1] * 12
        assert told[-1] == 0

    in_room(test)


def test_silent_streams_are_counted() -> None:
    async def test(room: Room) -> None:
        unfollowed = next(name for name in room.world.hub.listings if name not in room.world.hub.ring.rows)
        names = streams(["BTCUSDT", unfollowed], "1m", "1M")
        reader = await room.connect(f"/ws/{names}/nope@kline_1m")
        await room.until(3)

        assert {json.loads(text)["k"]["i"] for _, text in reader.got} == {"1m"}
        stats = room.streams.stats()
        assert (stats["streams_followed"], stats["silent_streams"]) == (4, 2)

    in_room(test, symbols=("BTCUSDT", "ETHUSDT"))


def assert_all_told(room: Room, reader: Reader, minutes: int) -> None:
    """Every close of every minute was told once and in order, as the market has it."""
    reader.assert_in_order()
    for symbol in room.world.hub.symbols:
        told = [json.loads(text.replace(",,", ","))["k"]["t"] for text in reader.closes[f"{symbol}@kline_1m"]]
        assert [(time - HOUR) // MINUTE for time in told] == list(range(minutes)), symbol
        assert len(reader.closes[f"{symbol}@kline_5m"]) == minutes // 5


@pytest.mark.parametrize("fault", ["reset", "stall", "cut"])
def test_closes_that_the_stream_missed_come_once_and_in_order(fault: str) -> None:
    async def test(room: Room) -> None:
        exchange, hub = await room.both(f"/market/ws/{streams(room.world.hub.symbols, '1m', '5m')}")
        upstream = room.world.streams[0]
        await room.until(59.5)
        getattr(upstream, fault)()
        await room.until(200)
        for link in room.world.streams[1:]:
            if link is not exchange.link:
                link.reset()
        await room.until(330)

        assert_all_told(room, hub, 5)
        assert hub.closes == exchange.closes

    in_room(test)


def test_closes_that_the_exchange_never_streams_are_told_when_rest_proves_them() -> None:
    async def test(room: Room) -> None:
        hub = await room.connect(f"/ws/{streams(room.world.hub.symbols, '1m', '5m')}")
        await room.until(610)

        assert_all_told(room, hub, 10)

    in_room(test, seed=3, place=Place(flat_closes=False, symbols=40))


async def with_a_stalled_one(room: Room) -> tuple[Reader, Reader, Reader]:
    """Connect a healthy client, one that stops reading after five seconds, and one to the exchange."""
    names = streams(room.world.hub.symbols, *KEPT, *BUILT)
    exchange, hub = await room.both(f"/market/ws/{names}")
    stalled = await room.connect(f"/market/ws/{names}")
    await room.until(5)
    stalled.link.down.stall()
    return exchange, hub, stalled


def test_a_client_that_stalls_misses_updates_and_no_close() -> None:
    async def test(room: Room) -> None:
        exchange, hub, stalled = await with_a_stalled_one(room)
        await room.until(150)
        assert room.streams.stats()["updates_conflated"] > 400
        held = len(stalled.got)
        stalled.link.down.resume()
        await room.until(151)
        caught_up = {name_of(json.loads(text)) for _, text in stalled.got[held:]}
        await room.until(185)

        assert hub.closes == exchange.closes == stalled.closes
        stalled.assert_in_order()
        # What it missed lately it was told at once, the newest of each stream alone.
        assert len(caught_up) == len(room.world.hub.symbols) * len((*KEPT, *BUILT))
        assert len(stalled.got) < len(hub.got) * 0.6
        assert set(stalled.frames) <= set(hub.frames)
        assert stalled.frames[-1] == hub.frames[-1]
        assert room.streams.stats()["clients_cut"] == 0

    in_room(test)


def test_a_client_too_slow_for_closes_is_cut_with_a_code_and_the_others_go_on() -> None:
    async def test(room: Room) -> None:
        room.streams.most_waiting = lambda _: 24 << 10
        exchange, hub, stalled = await with_a_stalled_one(room)
        await room.until_one_is_cut()
        # Just in time to hear why.
        stalled.link.down.resume()
        cut_at = (room.world.clock.now() - HOUR) / 1000
        await asyncio.sleep(1)
        assert stalled.code == 4008
        stalled.assert_in_order()
        again = await room.connect("/ws/btcusdt@kline_1m")
        await room.until(cut_at + 70)

        assert hub.closes == exchange.closes
        assert len(again.closes["BTCUSDT@kline_1m"]) == 1
        assert room.streams.stats()["stream_clients"] == 2

    in_room(test)


def test_a_client_that_takes_nothing_at_all_is_cut_off_without_a_word() -> None:
    async def test(room: Room) -> None:
        room.streams.most_waiting = lambda _: 24 << 10
        _, _, stalled = await with_a_stalled_one(room)
        await room.until_one_is_cut()
        assert room.streams.stats()["stream_clients"] == 1
        await asyncio.sleep(1.5)
        server_side = stalled.link.up.target

        assert server_side is not None
        assert server_side.gone

    in_room(test)


def test_nothing_runs_while_nobody_is_connected() -> None:
    async def test(room: Room) -> None:
        reader = await room.connect("/ws/btcusdt@kline_1m")
        await room.until(3)
        running = {task.get_name() for task in asyncio.all_tasks()}
        await reader.socket.close()
        await asyncio.sleep(0.1)

        assert "streams" in running
        assert "streams" not in {task.get_name() for task in asyncio.all_tasks()}
        assert room.world.hub.live.bells == []

    in_room(test)


def test_a_bug_in_the_telling_is_told_and_ends_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(room: Room) -> None:
        reader = await room.connect("/ws/btcusdt@kline_1m")
        await room.until(3)
        monkeypatch.setattr(Telling, "updates", lambda *_: 1 / 0)
        await asyncio.sleep(2)

        assert reader.code == 1011
        assert [type(one) for one in room.world.loop.failures] == [ZeroDivisionError]
        room.world.loop.failures.clear()

    in_room(test)


@pytest.mark.parametrize(("place", "path"), [(Place(spot=True), "/spot"), (Place(spot=True, alone=True), "")])
def test_spot_is_told_as_its_exchange_does(place: Place, path: str) -> None:
    async def test(room: Room) -> None:
        served = room.world.spot
        assert served is not None
        names = "stream?streams=btcusdt@kline_1m/ethusdt@kline_5m"
        # The spot market beside another one comes up a little later.
        await room.until(10)
        exchange = await room.connect(f"/{names}", url=served.ws_url)
        hub = await room.connect(f"{path}/{names}")
        await room.until(305)

        assert hub.closes == exchange.closes
        assert {name: len(told) for name, told in hub.closes.items()} == {
            "BTCUSDT@kline_1m": 5,
            "ETHUSDT@kline_5m": 1,
        }
        # An update every two seconds, on both sides.
        assert 0.8 < len(hub.got) / len(exchange.got) < 1.2

    in_room(test, place=place)
