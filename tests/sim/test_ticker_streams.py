"""Tickers and mark prices over WebSocket on virtual time: the hub tells what the exchange told it."""

import json
from typing import Any

import pytest
from tests.sim.consuming import Reader, Room, in_room

pytestmark = pytest.mark.timeout(180)
ARRAYS = ("!ticker@arr", "!miniTicker@arr", "!markPrice@arr@1s", "!markPrice@arr")
SINGLES = ("btcusdt@ticker", "btcusdt@miniTicker", "btcusdt@markPrice", "ethusdt@markPrice@1s")


def told(reader: Reader) -> dict[str, list[Any]]:
    """Give what a combined connection was told, by stream."""
    found: dict[str, list[Any]] = {}
    for _, text in reader.got:
        message = json.loads(text)
        found.setdefault(message["stream"], []).append(message["data"])
    return found


def in_dollars(frame: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out contracts margined in coins, which the exchange tells of too and nobody follows here."""
    return [row for row in frame if row.get("st") != 2]


def test_arrays_go_on_as_they_came() -> None:
    async def test(room: Room) -> None:
        exchange, hub = await room.both(f"/market/stream?streams={'/'.join(ARRAYS)}")
        await room.until(20)
        theirs, ours = told(exchange), told(hub)

        for name in ("!ticker@arr", "!markPrice@arr@1s"):
            every = [in_dollars(frame) for frame in theirs[name]]
            assert len(ours[name]) > 0.8 * len(every)
            assert all(frame in every for frame in ours[name])
        minis = {(row["s"], row["c"], row["v"]) for frame in theirs["!miniTicker@arr"] for row in frame}
        assert {(row["s"], row["c"], row["v"]) for frame in ours["!miniTicker@arr"] for row in frame} <= minis
        # The slower beat has a third of the faster one's frames.
        assert abs(len(ours["!markPrice@arr@1s"]) / len(ours["!markPrice@arr"]) - 3) < 1

    in_room(test, tickers=True)


def test_a_symbol_s_own_streams_keep_their_beat() -> None:
    async def test(room: Room) -> None:
        exchange, hub = await room.both(f"/market/stream?streams={'/'.join(SINGLES)}")
        await room.until(31)
        theirs, ours = told(exchange), told(hub)

        assert set(ours) == set(theirs) == set(SINGLES)
        for name in SINGLES:
            assert abs(len(ours[name]) - len(theirs[name])) <= 2, name
            assert [*ours[name][0]] == [*theirs[name][0]]
            assert {row["s"] for row in ours[name]} == {row["s"] for row in theirs[name]}

    in_room(test, tickers=True)
