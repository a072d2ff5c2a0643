"""Faults of network, machine and streams do what they say, as a plain client sees it."""

import asyncio
import json
from functools import partial
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType
from tests.unit.dialect.virtual import Scene, on_exchange
from tests.unit.sim.rig import SYMBOLS, Got, Rig, rigged

from klinehub.domain.timeframe import MINUTE
from klinehub.errors import DefinitionError
from klinehub.sim.faults import KINDS, Fault
from klinehub.sim.line_trouble import NOWHERE
from klinehub.sim.stream_trouble import HUGE

pytestmark = pytest.mark.timeout(120)


def closes(got: Got, symbol: str = "", *, after: int = 0) -> list[dict[str, Any]]:
    return [one for one in got.events(symbol, after=after) if one["k"]["x"]]


def test_every_kind_can_be_carried_out_and_is_told() -> None:
    async def act(rig: Rig) -> None:
        assert rig.trouble.kinds == frozenset(KINDS)
        await rig.follow()
        await rig.sleep(1)
        now = rig.clock.now()
        faults = [Fault("no_pong", now + 3_000, 10, 0, 0), Fault("mute_all", now + 1_000, 5, 0, 0)]
        playing = asyncio.ensure_future(rig.trouble.play(faults))
        await rig.sleep(4)
        assert [one.kind for one in rig.trouble.active] == ["no_pong", "mute_all"]
        await playing
        assert rig.log == [
            ("mute_all", True, now + 1_000),
            ("no_pong", True, now + 3_000),
            ("mute_all", False, now + 6_000),
            ("no_pong", False, now + 13_000),
        ]
        assert rig.trouble.fired == {"no_pong": 1, "mute_all": 1}
        assert rig.trouble.last_healed == now + 13_000
        assert rig.trouble.active == ()

    rigged(act)


def test_a_fault_that_finds_nothing_to_hit_is_missed_not_fired() -> None:
    async def act(rig: Rig) -> None:
        for kind in ("reset", "day_cut", "mute_stream", "mute_socket", "new_listing", "route_gone"):
            await rig.begin(kind, 0.0)
        assert not rig.trouble.fired
        assert sum(rig.trouble.missed.values()) == 6
        assert rig.log == []

    rigged(act, hidden=0)


def test_trouble_needs_a_market_whose_truth_can_change() -> None:
    async def act(scene: Scene) -> None:
        Rig(scene)

    with pytest.raises(DefinitionError, match="give the exchange an Amended market"):
        on_exchange(act)


@pytest.mark.parametrize(("size", "ends"), [(0.1, [True, False]), (0.6, [True, True])])
def test_reset_breaks_one_connection_or_all_streams(size: float, ends: list[bool]) -> None:
    async def act(rig: Rig) -> None:
        got = [await rig.follow(), await rig.follow()]
        await rig.begin("reset", size=size)
        await rig.sleep(1)
        assert [one.code is not None for one in got] == ends

    rigged(act)


def test_a_stalled_connection_says_nothing_and_then_what_it_held() -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow()
        await rig.sleep(5)
        healing = rig.begin("stall", 20, size=0.6)
        await rig.sleep(1)
        begun, count = rig.clock.now(), len(got.frames)
        await rig.sleep(17)
        assert len(got.frames) == count
        await healing
        await rig.sleep(1)
        assert got.code is None
        assert min(one["E"] for one in got.events(after=begun)) < begun + 3_000

    rigged(act)


def test_one_symbol_is_mute_on_every_connection() -> None:
    async def act(rig: Rig) -> None:
        both = [await rig.follow(), await rig.follow()]
        await rig.sleep(1)
        begun = rig.clock.now()
        muting = rig.begin("mute_stream", 90, pick=0.3, size=0.9)
        await rig.sleep(85)
        for got in both:
            assert {one["s"] for one in got.events(after=begun + 100)} == set(SYMBOLS) - {"ETHUSDT"}
        await muting
        await rig.sleep(20)
        assert all(got.events("ETH", after=begun + 90_000) for got in both)

    rigged(act)


def test_a_mute_socket_still_answers() -> None:
    async def act(rig: Rig) -> None:
        both = [await rig.follow(), await rig.follow()]
        socket = await rig.scene.session.ws_connect(rig.ws_url + "/market/ws")
        await rig.sleep(3)
        begun = rig.clock.now()
        rig.begin("mute_socket", 60, pick=0.99)
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 7})
        assert await socket.receive_json() == {"result": None, "id": 7}
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=50)
        assert all(got.events(after=begun + 40_000) for got in both)

    rigged(act)


def test_when_all_is_mute_new_connections_are_silent_too() -> None:
    async def act(rig: Rig) -> None:
        old = await rig.follow()
        muting = rig.begin("mute_all", 60)
        await rig.sleep(1)
        begun = rig.clock.now()
        new = await rig.follow()
        await rig.sleep(55)
        assert not old.events(after=begun)
        assert not new.events()
        await muting
        await rig.sleep(10)
        assert old.events(after=begun)
        assert new.events()

    rigged(act)


def test_frames_come_twice() -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow()
        await rig.begin("duplicates", 60)
        texts = [text for _, text in got.frames]
        assert 0.25 < 1 - len(set(texts)) / len(texts) < 0.45

    rigged(act)


def test_older_updates_come_after_newer_ones() -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow("BTCUSDT")
        await rig.begin("disorder", 240, size=0.9)
        await rig.sleep(4)
        told = [(one["E"], one["k"]["t"], one["k"]["x"]) for one in got.events()]
        assert sum(after < before for (before, *_), (after, *_) in pairwise(told)) > 20
        assert len(set(told)) == len(told)
        over = {t for _, t, closed in told if closed}
        assert over >= {told[0][1] + n * MINUTE for n in range(3)}

    rigged(act)


def test_closes_come_up_to_a_minute_late_and_true() -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow()
        await rig.to_minute(-5)
        begun = rig.clock.now()
        await rig.begin("late_close", 290, size=0.9)
        await rig.sleep(1)
        late = [time - json.loads(text)["data"]["k"]["T"] for time, text in got.frames if '"x":true' in text]
        told = [(one["s"], one["k"]["t"]) for one in closes(got, after=begun)]
        assert len(told) == len(set(told)) >= 5 * len(SYMBOLS)
        assert all(0 < one < 60_100 for one in late)
        assert max(late) > 40_000
        rows = {row[0]: row for row in await rig.klines(limit=9)}
        for one in closes(got, "BTC", after=begun):
            assert rows[one["k"]["t"]][4:6] == [one["k"]["c"], one["k"]["v"]]

    rigged(act)


def test_closes_never_come() -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow()
        await rig.begin("lost_close", 200, pick=0.0, size=0.1)
        assert not closes(got, "BTC")
        assert len(closes(got, "ETH")) >= 3
        assert len({one["k"]["t"] for one in got.events("BTC")}) >= 3

    rigged(act)


def test_garbage_comes_between_true_frames_and_before_true_closes() -> None:
    async def act(rig: Rig) -> None:
        url = rig.ws_url + "/market/ws/btcusdt@kline_1m"
        socket = await rig.scene.session.ws_connect(url, decode_text=False)
        garbage = rig.begin("garbage", 400)
        heard = []
        while not garbage.done():
            heard.append((await socket.receive()).data)
        good, bad, odd = 0, 0, 0
        for data in heard:
            try:
                event = json.loads(data)
                bar = event["k"]
                float(bar["c"])
                whole = set(bar) >= set("tTsifLochlvnxqVQB")
            except (ValueError, KeyError, TypeError, AttributeError):
                bad += 1
            else:
                good += whole and event["s"] == "BTCUSDT"
                odd += "N" in bar
        assert bad > 40
        assert odd > 5
        assert good > 150
        assert sum(b'"x":true' in one for one in heard) > 7

    rigged(act)


def test_a_huge_frame_comes() -> None:
    async def act(rig: Rig) -> None:
        taking = await rig.follow()
        refusing = await rig.scene.session.ws_connect(rig.ws_url + "/market/ws", max_msg_size=2**20)
        await rig.begin("huge_frame", size=0.7)
        assert (await refusing.receive()).type is WSMsgType.ERROR
        await rig.sleep(1)
        assert max(len(text) for _, text in taking.frames) > HUGE

    rigged(act)


def test_pings_are_not_answered() -> None:
    async def act(rig: Rig) -> None:
        socket = await rig.scene.session.ws_connect(rig.ws_url + "/market/ws", autoping=False)
        await socket.ping(b"a")
        assert (await socket.receive()).type is WSMsgType.PONG
        ending = rig.begin("no_pong", 20)
        await rig.sleep(0.1)
        await socket.ping(b"b")
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=15)
        await ending

    rigged(act)


def test_who_does_not_answer_pings_is_cut() -> None:
    async def act(rig: Rig) -> None:
        polite, rude = await rig.follow(), await rig.follow(pong=False)
        await rig.begin("ping_test", 20)
        assert (polite.code, polite.pings) == (None, 20)
        assert rude.code is not None
        assert rude.pings in {10, 11}

    rigged(act)


@pytest.mark.parametrize(("kind", "code"), [("day_cut", 1001), ("policy_cut", 1008)])
def test_connections_are_closed_with_a_code(kind: str, code: int) -> None:
    async def act(rig: Rig) -> None:
        got = [await rig.follow(), await rig.follow()]
        await rig.begin(kind, pick=0.1, size=0.2)
        await rig.sleep(1)
        assert [one.code for one in got] == [code, None]
        await rig.begin(kind, size=0.8)
        await rig.sleep(1)
        assert [one.code for one in got] == [code, code]

    rigged(act)


def test_a_shutdown_is_announced() -> None:
    async def act(rig: Rig) -> None:
        wrapped, plain = await rig.follow(), await rig.follow(path="/market/ws")
        ending = rig.begin("shutdown", 12, size=0.9)
        await rig.sleep(10)
        late = await rig.follow()
        told = [
            [json.loads(text) for _, text in got.frames if "serverShutdown" in text]
            for got in (wrapped, plain)
        ]
        assert [one["stream"] for one in told[0]] == ["!serverShutdown"]
        assert told[0][0]["data"]["e"] == told[1][0]["e"] == "serverShutdown"
        assert wrapped.code is plain.code is None
        await ending
        await rig.sleep(1)
        assert [got.code for got in (wrapped, plain, late)] == [1001, 1001, None]

    rigged(act)


def test_a_subscription_with_a_refused_name_is_an_error() -> None:
    async def act(rig: Rig) -> None:
        got, other = await rig.follow("ETHUSDT"), await rig.follow("BTCUSDT")
        ending = rig.begin("refused_name", 20, pick=0.9)
        socket = await rig.scene.session.ws_connect(rig.ws_url + "/market/ws")
        request = {"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m", "ethusdt@kline_1m"], "id": 7}
        await socket.send_json(request)
        answer = await socket.receive_json()
        assert (answer["error"]["code"], answer["id"]) == (2, 7)
        assert (got.code is None, other.code) == (False, None)
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 8})
        assert (await socket.receive_json())["result"] == []
        await ending
        await socket.send_json(request)
        assert (await socket.receive_json())["result"] is None

    rigged(act)


def test_one_route_is_gone_and_the_others_speak() -> None:
    async def act(rig: Rig) -> None:
        old = await rig.follow()
        await rig.sleep(2)
        ending = rig.begin("route_gone", 60)
        await rig.sleep(1)
        begun = rig.clock.now()
        new, legacy = await rig.follow(), await rig.follow(path="/stream")
        await rig.sleep(55)
        assert not old.events(after=begun)
        assert not new.events()
        assert legacy.events()
        await ending
        again, silent = await rig.follow(), await rig.follow(path="/stream")
        await rig.sleep(20)
        assert again.events()
        assert not silent.events()

    rigged(act)


@pytest.mark.parametrize("kind", ["no_dns", "wrong_ip"])
@pytest.mark.parametrize("size", [0.1, 0.9])
def test_names_fail_and_connections_live_on(kind: str, size: float) -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow()
        hosts = dict(rig.loop.hosts)
        ending = rig.begin(kind, 30, pick=0.9, size=size)
        await rig.sleep(1)
        with pytest.raises(aiohttp.ClientConnectionError):
            await rig.ask()
        assert (set(rig.loop.hosts.values()) == {NOWHERE}) == (kind == "wrong_ip")
        await ending
        assert (await rig.ask())[0] == 200
        assert got.code is None
        assert rig.loop.hosts == hosts
        assert rig.loop.dark == set()

    rigged(act)


def test_new_connections_are_never_answered() -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow()
        timeout = aiohttp.ClientTimeout(total=8)
        ending = rig.begin("blackhole", 30, pick=0.1, size=0.1)
        await rig.sleep(0.1)
        with pytest.raises(TimeoutError):
            await rig.scene.session.get(rig.rest_url + "/fapi/v1/ping", timeout=timeout)
        assert got.code is not None
        await ending
        assert (await rig.ask())[0] == 200

    rigged(act)


def test_overlapping_network_faults_leave_all_as_it_was() -> None:
    async def act(rig: Rig) -> None:
        hosts = dict(rig.loop.hosts)
        playing = [
            rig.begin(kind, seconds, pick=0.9, size=0.9)
            for kind, seconds in (("no_dns", 20), ("blackhole", 40), ("wrong_ip", 10), ("no_dns", 30))
        ]
        await rig.sleep(1)
        assert rig.loop.hosts == {}
        await asyncio.gather(*playing)
        assert (rig.loop.hosts, rig.loop.dark) == (hosts, set())

    rigged(act)


def test_the_machine_s_clock_goes_wrong() -> None:
    async def act(rig: Rig) -> None:
        def ahead() -> float:
            return rig.skewed() - rig.loop.time()

        await rig.begin("clock_jump", pick=0.1, size=0.5)
        assert ahead() == pytest.approx((0.2 * 3600) ** 0.5)
        await rig.begin("clock_jump", pick=0.9, size=0.5)
        assert ahead() == pytest.approx(0, abs=1e-6)
        await rig.begin("clock_drift", 1000, size=0.9)
        assert ahead() == pytest.approx(0.4, rel=0.01)
        drifted = ahead()
        await rig.sleep(100)
        assert ahead() == pytest.approx(drifted)

    rigged(act)


@pytest.mark.parametrize(("kind", "behind"), [("blocked", 0.0), ("suspend", 20.0)])
def test_nothing_runs_for_a_while(kind: str, behind: float) -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow()
        await rig.to_minute(-10)
        before = rig.loop.time()
        await rig.begin(kind, 20)
        assert rig.loop.time() == pytest.approx(before + 20, abs=0.01)
        assert rig.loop.time() - rig.skewed() == pytest.approx(behind)
        await rig.sleep(1)
        assert len(closes(got)) == len(SYMBOLS)

    rigged(act)


def test_the_hub_is_started_again() -> None:
    async def act(rig: Rig) -> None:
        begun = rig.clock.now()
        await rig.begin("restart")
        assert rig.restarts == 1
        assert rig.trouble.last_healed == begun + 2_000

    rigged(act)


def test_equal_schedules_give_equal_runs_and_a_fault_less_changes_no_other() -> None:
    async def act(rig: Rig, *, with_reset: bool) -> list[tuple[int, str]]:
        got = await rig.follow("BTCUSDT")
        now = rig.clock.now()
        faults = [Fault("disorder", now + 5_000, 60, 0.2, 0.9), Fault("garbage", now + 9_000, 60, 0.5, 0.5)]
        faults += [Fault("clock_jump", now + 1_000, 0, 0.5, 0.5)] * with_reset
        await rig.trouble.play(faults)
        return got.frames

    runs = [rigged(partial(act, with_reset=with_reset)) for with_reset in (True, True, False)]
    assert runs[0] == runs[1] == runs[2]
