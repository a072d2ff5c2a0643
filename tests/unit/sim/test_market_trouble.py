"""Faults of the market: REST and streams tell one truth, changed as the fault says."""

import asyncio
import json
from typing import Any

import pytest
from tests.unit.sim.rig import SYMBOLS, Rig, rigged

from klinehub.domain.timeframe import MINUTE

pytestmark = pytest.mark.timeout(120)


async def statuses(rig: Rig) -> dict[str, str]:
    _, body, _ = await rig.ask("/fapi/v1/exchangeInfo")
    return {one["symbol"]: one["status"] for one in json.loads(body)["symbols"]}


@pytest.mark.parametrize("size", [0.2, 0.8])
def test_a_bar_that_was_told_closed_is_another_one(size: float) -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow(frames="1m 5m 15m")
        await rig.to_minute()
        await rig.sleep(19 * 60)
        before = {s: await rig.klines(s, limit=40) for s in SYMBOLS}
        await rig.begin("correction", pick=0.3, size=size)
        (corrected,) = rig.trouble.corrected
        after = {s: await rig.klines(s, limit=40) for s in SYMBOLS}
        changed = [
            (s, row[0])
            for s in SYMBOLS
            for row, old in zip(after[s][:-1], before[s][:-1], strict=True)
            if row != old
        ]
        assert changed == [(corrected.symbol, corrected.minute)]
        assert corrected.time - corrected.minute - MINUTE >= 5_000
        told = [one["k"] for one in got.events(corrected.symbol) if one["k"]["t"] == corrected.minute]
        row = next(row for row in after[corrected.symbol] if row[0] == corrected.minute)
        last = [one for one in told if one["x"] and one["i"] == "1m"]
        assert all((one["c"], one["n"]) != (row[4], row[8]) for one in last)
        await rig.to_minute()
        await rig.sleep(15 * 60)
        rows = {(i, r[0]): r for i in ("1m", "5m", "15m") for r in await rig.klines(corrected.symbol, i, 40)}
        for one in got.events(corrected.symbol, after=corrected.time):
            bar = one["k"]
            if bar["x"]:
                fields = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B")
                assert [bar[name] for name in fields] == rows[bar["i"], bar["t"]]

    rigged(act)


def test_a_symbol_is_announced_and_then_trades() -> None:
    async def act(rig: Rig) -> None:
        socket = await rig.scene.session.ws_connect(rig.ws_url + "/market/ws/!contractInfo")
        (name,) = rig.trouble._market._market.hidden
        got = await rig.follow(name)
        await rig.to_minute(10)
        listing = rig.begin("new_listing", 90)
        assert name not in await statuses(rig)
        told = await rig.to_minute(1)
        assert (await statuses(rig))[name] == "PENDING_TRADING"
        assert not await rig.klines(name)
        await listing
        assert rig.clock.now() // MINUTE * MINUTE == told + 2 * MINUTE
        assert (await statuses(rig))[name] == "TRADING"
        await rig.sleep(120)
        assert (await rig.klines(name, limit=9))[0][0] == told + 2 * MINUTE
        assert min(one["k"]["t"] for one in got.events(name)) == told + 2 * MINUTE
        news = [await socket.receive_json() for _ in range(2)]
        assert [(one["s"], one["cs"]) for one in news] == [(name, "PENDING_TRADING"), (name, "TRADING")]
        await rig.begin("new_listing")
        assert rig.trouble.missed == {"new_listing": 1}

    rigged(act)


def test_a_symbol_ends_and_goes_on_flat() -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow("SOLUSDT")
        await rig.to_minute(10)
        await rig.begin("delisting", 60)
        end = rig.clock.now() // MINUTE * MINUTE
        assert (await statuses(rig))["SOLUSDT"] == "SETTLING"
        await rig.sleep(3 * 60)
        after = [row for row in await rig.klines("SOLUSDT", limit=9) if row[0] >= end]
        assert all(row[1] == row[2] == row[3] == row[4] and row[8] == 0 for row in after)
        closes = [one["k"] for one in got.events() if one["k"]["x"] and one["k"]["t"] >= end]
        assert len(closes) == 3
        assert all(one["n"] == 0 for one in closes)
        for _ in range(9):
            await rig.begin("delisting", 0, pick=0.9)
        trading = [name for name, status in (await statuses(rig)).items() if status == "TRADING"]
        assert {"BTCUSDT", "ETHUSDT"} <= set(trading)
        assert rig.trouble.missed["delisting"] > 0

    rigged(act)


def test_a_symbol_ends_as_another_begins() -> None:
    async def act(rig: Rig) -> None:
        before = await statuses(rig)
        await rig.begin("rename", 30)
        after = await statuses(rig)
        (new,) = set(after) - set(before)
        (old,) = (name for name in before if after[name] != before[name])
        assert (after[new], after[old]) == ("TRADING", "SETTLING")
        begun = rig.clock.now() // MINUTE * MINUTE
        await rig.sleep(60)
        assert (await rig.klines(new))[0][0] == begun
        flat = {row[0] for row in await rig.klines(old) if row[8] == 0}
        assert min(flat) == begun

    rigged(act)


def test_maintenance_leaves_a_hole_in_streams_and_rest() -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow(frames="1m 5m")
        await rig.begin("maintenance", 12 * 60)
        end = rig.clock.now() // MINUTE * MINUTE
        begin = end - 12 * MINUTE
        assert got.code is None
        assert not [one for time, one in got.frames if begin + 1_000 < time < end and '"5m"' not in one]
        await rig.sleep(6 * 60)
        for interval, length in (("1m", MINUTE), ("5m", 5 * MINUTE)):
            times = [row[0] for row in await rig.klines("XRPUSDT", interval, 40)]
            whole = [t for t in range(times[0], times[-1] + 1, length) if not begin <= t <= t + length <= end]
            assert times == whole
            assert len(times) < len(range(times[0], times[-1] + 1, length))

    rigged(act)


@pytest.mark.parametrize(("size", "told"), [(0.2, 0), (0.8, 3)])
def test_nobody_trades_a_symbol(size: float, told: int) -> None:
    async def act(rig: Rig) -> None:
        got = await rig.follow("BTCUSDT", "ETHUSDT")
        await rig.begin("quiet_symbol", 180, pick=0.0, size=size)
        end = rig.clock.now() // MINUTE * MINUTE
        await rig.sleep(70)
        flat = [row for row in await rig.klines(limit=9) if end - 3 * MINUTE <= row[0] < end]
        assert [row[8] for row in flat] == [0, 0, 0]
        bars: list[Any] = [one["k"] for one in got.events("BTC")]
        within = [bar for bar in bars if end - 3 * MINUTE <= bar["t"] < end]
        assert (len(within), all(bar["x"] for bar in within)) == (told, True)
        assert any(bar["x"] and bar["t"] == end for bar in bars)
        assert len({one["k"]["t"] for one in got.events("ETH")}) >= 4

    rigged(act)


def test_everything_at_once_is_one_story() -> None:
    async def act(rig: Rig) -> None:
        kinds = ("maintenance", "quiet_symbol", "delisting", "rename", "correction", "new_listing")
        await asyncio.gather(*(rig.begin(kind, 150, pick=0.6, size=0.3) for kind in kinds))
        await rig.sleep(5 * 60)
        for symbol in SYMBOLS:
            minutes = {row[0]: row for row in await rig.klines(symbol, "1m", 60)}
            for row in (await rig.klines(symbol, "5m", 8))[:-1]:
                inside = [minutes[t] for t in range(row[0], row[0] + 5 * MINUTE, MINUTE) if t in minutes]
                assert row[8] == sum(one[8] for one in inside)
                assert row[4] == inside[-1][4]

    rigged(act, hidden=2)
