"""Faults of REST do what they say, as a plain client sees it."""

import asyncio
import json
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from tests.unit.sim.rig import Rig, rigged

from klinehub.domain.timeframe import MINUTE
from klinehub.sim.rest_trouble import BOMB_BYTES, LAG_UNTOLD

pytestmark = pytest.mark.timeout(120)


def test_a_foreign_program_spends_the_weight() -> None:
    async def act(rig: Rig) -> None:
        await rig.to_minute(2)
        spending = rig.begin("spent", 70, size=0.9)
        await rig.sleep(1)
        status, body, headers = await rig.ask()
        assert (status, json.loads(body)["code"]) == (429, -1003)
        assert 55 <= int(headers["retry-after"]) <= 57
        await rig.to_minute(5)
        assert (await rig.ask())[0] == 429
        await spending
        assert rig.clock.now() % MINUTE < 10
        assert (await rig.ask())[0] == 200

    rigged(act)


def test_a_foreign_program_may_leave_a_little() -> None:
    async def act(rig: Rig) -> None:
        await rig.to_minute(2)
        rig.begin("spent", 30, pick=0.5, size=0.1)
        await rig.sleep(1)
        status, _, headers = await rig.ask()
        assert status == 200
        assert 1800 < int(headers["x-mbx-used-weight-1m"]) < 2400

    rigged(act)


def test_a_ban_says_until_when_and_ends_then() -> None:
    async def act(rig: Rig) -> None:
        until = rig.clock.now() + 90_000
        ban = rig.begin("ban", 90)
        await rig.sleep(1)
        status, body, headers = await rig.ask()
        assert status == 418
        assert f"banned until {until}" in body.decode()
        assert 85 <= int(headers["retry-after"]) <= 90
        await ban
        assert (await rig.ask())[0] == 200
        assert rig.trouble.last_healed - until < 100

    rigged(act)


@pytest.mark.parametrize(
    ("kind", "status", "shows"),
    [
        ("firewall", 403, b"<html>"),
        ("geo_block", 451, b"restricted location"),
        ("timeouts_408", 408, b""),
        ("html_body", 200, b"<html>"),
    ],
)
def test_every_request_is_turned_away(kind: str, status: int, shows: bytes) -> None:
    async def act(rig: Rig) -> None:
        ending = rig.begin(kind, 30)
        await rig.sleep(1)
        for path in ("/fapi/v1/time", "/fapi/v1/exchangeInfo"):
            told, body, _ = await rig.ask(path)
            assert told == status
            assert shows in body
        await ending
        assert (await rig.ask())[:2] == (200, b"{}")

    rigged(act)


def test_a_bad_geo_block_turns_streams_away_too() -> None:
    async def act(rig: Rig) -> None:
        old = await rig.follow()
        ending = rig.begin("geo_block", 30, size=0.9)
        await rig.sleep(1)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await rig.follow()
        assert refused.value.status == 451
        await ending
        await rig.follow()
        assert old.code is None

    rigged(act)


def test_the_server_fails_now_and_then() -> None:
    async def act(rig: Rig) -> None:
        rig.begin("server_errors", 300, size=0.3)
        await rig.sleep(1)
        told = [(await rig.ask())[0] for _ in range(60)]
        assert set(told) == {200, 500, 502, 503, 504}
        assert 10 < told.count(200) < 30

    rigged(act)


def test_bodies_come_a_byte_a_second() -> None:
    async def act(rig: Rig) -> None:
        rig.begin("slow_body", 30)
        await rig.sleep(1)
        timeout = aiohttp.ClientTimeout(total=20)
        async with rig.scene.session.get(rig.rest_url + "/fapi/v1/exchangeInfo", timeout=timeout) as answer:
            assert answer.status == 200
            begun = rig.loop.time()
            assert len(await answer.content.readexactly(10)) == 10
            assert 9 <= rig.loop.time() - begun <= 11
            with pytest.raises(TimeoutError):
                await answer.content.readexactly(100)
        await rig.sleep(5)

    rigged(act)


@pytest.mark.parametrize(("kind", "pick"), [("truncated_body", 0.5), ("wrong_length", 0.1)])
def test_bodies_end_too_early(kind: str, pick: float) -> None:
    async def act(rig: Rig) -> None:
        ending = rig.begin(kind, 20, pick=pick, size=0.5)
        await rig.sleep(1)
        with pytest.raises(aiohttp.ClientPayloadError):
            await rig.klines()
        await ending
        assert len(await rig.klines()) == 5

    rigged(act)


def test_bodies_are_longer_than_they_say() -> None:
    async def act(rig: Rig) -> None:
        rig.begin("wrong_length", 20, pick=0.9, size=0.5)
        await rig.sleep(1)
        with pytest.raises((json.JSONDecodeError, aiohttp.ClientError)):
            await rig.klines()

    rigged(act)


def test_few_bytes_unpack_to_very_many() -> None:
    async def act(rig: Rig) -> None:
        rig.begin("gzip_bomb", 20)
        await rig.sleep(1)
        async with rig.scene.session.get(rig.rest_url + "/fapi/v1/time") as answer:
            assert int(answer.headers["Content-Length"]) < 100_000
            assert answer.headers["Content-Encoding"] == "gzip"
            size = 0
            async for piece in answer.content.iter_any():
                size += len(piece)
        assert size == BOMB_BYTES

    rigged(act)


def test_requests_and_answers_are_late() -> None:
    async def act(rig: Rig) -> None:
        rig.begin("slow_rest", 300, size=0.99)
        there, back = [], []
        for _ in range(25):
            begun = rig.clock.now()
            told = json.loads((await rig.ask("/fapi/v1/time"))[1])["serverTime"]
            there.append(told - begun)
            back.append(rig.clock.now() - told)
        assert max(there) > 4_000
        assert max(back) > 4_000
        assert min(there) < 1_500

    rigged(act)


@pytest.mark.parametrize("followed", [True, False])
def test_a_replica_is_further_behind_only_where_streams_have_told_the_close(followed: bool) -> None:  # noqa: FBT001
    async def act(rig: Rig) -> None:
        if followed:
            await rig.follow("BTCUSDT")
        await rig.to_minute(-20)
        rig.begin("stale_replica", 280, size=0.1)
        begun = await rig.to_minute()
        old: list[int] = []
        while rig.clock.now() < begun + 45_000:
            asked = rig.clock.now()
            if (await rig.klines())[-1][0] < begun:
                old.append(asked - begun)
            await rig.sleep(0.3)
        assert any(time < LAG_UNTOLD for time in old)
        assert (max(old) > 10_000) == followed
        assert max(old) < 30_000

    rigged(act)


def test_a_replica_tells_old_rows_as_they_were_and_counts_in_the_minute_of_now() -> None:
    async def act(rig: Rig) -> None:
        await rig.to_minute(30)
        true = {row[0]: row for row in await rig.klines()}
        rig.begin("stale_replica", 200, size=0.9)
        await rig.to_minute(0.2)
        rows: list[list[Any]] = []
        used = []
        for _ in range(8):
            status, body, headers = await rig.ask("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=5)
            assert status == 200
            rows += json.loads(body)
            used.append(int(headers["x-mbx-used-weight-1m"]))
        newest = max(true)
        assert all(row == true[row[0]] for row in rows if row[0] in true and row[0] != newest)
        assert used == list(range(1, 9))
        assert rig.scene.served.exchange.rest.tap is not None

    rigged(act)


@pytest.mark.parametrize("is_cache", [True, False])
def test_a_cache_dates_an_answer_when_it_was_made_and_a_replica_when_it_is_sent(is_cache: bool) -> None:  # noqa: FBT001
    async def act(rig: Rig) -> None:
        await rig.follow("BTCUSDT")
        await rig.to_minute(40)
        rig.begin("stale_replica", 100, size=0.1, pick=0.1 if is_cache else 0.9)
        ages = []
        for _ in range(20):
            now = rig.clock.now()
            dated = (await rig.ask("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=1))[2]["date"]
            ages.append(now - 1000 * parsedate_to_datetime(dated).timestamp())
        assert (max(ages) > 5_000) == is_cache

    rigged(act)


def test_faults_lie_around_each_other_and_leave_nothing_behind() -> None:
    async def act(rig: Rig) -> None:
        playing = [
            rig.begin(kind, 20, size=0.99) for kind in ("firewall", "stale_replica", "slow_rest", "spent")
        ]
        await rig.sleep(0.1)
        begun = rig.loop.time()
        assert (await rig.ask())[0] == 403
        assert rig.loop.time() - begun > 0.1
        await asyncio.gather(*playing)
        assert rig.scene.served.exchange.rest.tap is None
        assert (await rig.ask())[0] == 200

    rigged(act)
