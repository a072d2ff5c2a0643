"""Events on virtual time: closes and scans as they happen, and what becomes of who is too slow."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
import pytest
from tests.sim.served import Lent, lend
from tests.sim.test_api import CHEAP, HELD

from klinehub.errors import DefinitionError
from klinehub.scan.screen import Screen
from klinehub.serve import signals as passing
from klinehub.serve.events import HEARTBEAT
from klinehub.serve.signals import MOST_LISTENERS, MOST_PENDING, Signals

pytestmark = pytest.mark.timeout(180)
PATH: Final = "/api/v1/events"


async def events(response: Any) -> AsyncIterator[tuple[int, str, Any]]:
    """Read events: id, kind and data; a comment is `("", ...)`."""
    async for chunk in lines(response):
        fields = dict(line.split(": ", 1) for line in chunk.split("\n") if not line.startswith(":"))
        if fields:
            yield int(fields.get("id", 0)), fields["event"], msgspec.json.decode(fields["data"])


async def lines(response: Any) -> AsyncIterator[str]:
    rest = ""
    async for data in response.content.iter_any():
        *whole, rest = (rest + data.decode()).split("\n\n")
        for one in whole:
            yield one


async def some(lent: Lent, count: int, **params: Any) -> list[tuple[int, str, Any]]:
    """Take so many events."""
    found = []
    async with lent.session.get(lent.url + PATH, params=params, timeout=None) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        async for event in events(response):
            found.append(event)
            if len(found) == count:
                return found
    return found


def test_closes_come_as_they_are_announced_with_ids_that_grow() -> None:
    async def test(lent: Lent) -> None:
        found = await some(lent, 3)

        assert {kind for _, kind, _ in found} == {"close"}
        assert [number for number, _, _ in found] == sorted({number for number, _, _ in found})
        announced = [(one.timeframe, one.open_time) for _, one in lent.world.closes[: len(found)]]
        assert [(one["timeframe"], one["open_time"]) for _, _, one in found] == announced
        assert set(found[0][2]) == {"timeframe", "bar", "open_time", "complete", "missing"}

    lend(test)


def test_scans_begin_with_the_newest_one_and_come_at_each_close_of_their_timeframe() -> None:
    async def test(lent: Lent) -> None:
        first = await some(lent, 3, screens="cheap", closes="no")
        assert [one["result"]["screen"] for _, _, one in first] == ["cheap"] * 3
        bars = [one["result"]["bar"] for _, _, one in first]
        assert bars == [bars[0], bars[0] + 1, bars[0] + 2]
        # Others are followed while somebody listens, and no longer.
        own = Screen(name="other", timeframe="1m", where=CHEAP.where)
        lent.signals.own = {**lent.signals.own}
        assert own.name not in lent.signals.own
        both = await some(lent, 2, screens="cheap,score", closes="no")
        assert {one["result"]["screen"] for _, kind, one in both if kind == "scan"} >= {"cheap"}
        await asyncio.sleep(2 * HEARTBEAT)
        assert lent.signals.listeners == 0
        assert lent.signals._followed == {}

    lend(test, screens=[CHEAP])


def test_alerts_come_as_they_are_written_down_for_who_asks_for_them() -> None:
    async def test(lent: Lent) -> None:
        found = await some(lent, 2, closes="no", alerts="yes")

        assert {kind for _, kind, _ in found} == {"alert"}
        assert [one for _, _, one in found] == (await lent.ask("/api/v1/alerts")).json[-2:]

    lend(test, screens=[HELD])


def test_a_screen_that_can_not_be_had_is_told_as_failed() -> None:
    async def test(lent: Lent) -> None:
        ((_, kind, told),) = await some(lent, 1, screens="momentum", closes="no")

        assert (kind, told["error"]) == ("failed", "DefinitionError")
        assert "are kept: raise `market.bars`" in told["message"]

    lend(test)


def test_a_quiet_stream_says_now_and_then_that_it_is_there() -> None:
    async def test(lent: Lent) -> None:
        began = lent.world.loop.time()
        async with lent.session.get(lent.url + PATH, params={"closes": "no"}, timeout=None) as response:
            comments = lines(response)
            assert [await anext(comments), await anext(comments)] == [": klinehub", ":"]
        assert lent.world.loop.time() - began == pytest.approx(HEARTBEAT, abs=1)

    lend(test)


def test_who_is_too_slow_is_told_to_read_anew_and_ended_while_others_go_on() -> None:
    async def test(lent: Lent) -> None:
        async with (
            lent.signals.listening(["held"], closes=True) as slow,
            lent.signals.listening([], closes=True) as good,
        ):
            taken = 0
            while not slow.cut:
                lent.signals._tell("close", "", {})
                good.queue.get_nowait()
                taken += 1
            assert MOST_PENDING - 5 <= taken <= MOST_PENDING + 1
            assert slow.queue.get_nowait() is None
            assert (lent.signals.cut, lent.signals.listeners, good.cut) == (1, 1, False)

    lend(test, screens=[HELD])


def test_a_client_that_was_cut_reads_resync_as_its_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "MOST_PENDING", 3)

    async def test(lent: Lent) -> None:
        async with lent.session.get(lent.url + PATH, timeout=None) as response:
            found = events(response)
            await asyncio.sleep(1)
            for _ in range(4):
                lent.signals._tell("close", "", {})
            told = [kind async for _, kind, _ in found]

        assert told[-1] == "resync"
        assert lent.signals.cut == 1

    lend(test)


def test_no_more_listen_than_fit_and_a_place_is_free_again() -> None:
    async def test(lent: Lent) -> None:
        open_ones = [await lent.session.get(lent.url + PATH, timeout=None) for _ in range(MOST_LISTENERS)]
        refused = await lent.ask(PATH)
        assert (refused.status, refused.json["error"]) == (503, "Busy")
        assert (await lent.ask("/metrics")).text.count('klinehub_clients{kind="events"} 64.0') == 1
        for one in open_ones:
            one.close()
        # Nobody is told when a client leaves: the next line that it is sent finds out.
        await asyncio.sleep(2 * HEARTBEAT)
        assert lent.signals.listeners == 0
        assert (await lent.ask(PATH, "HEAD")).status == 200

    lend(test)


def test_a_hub_that_passes_nothing_on_says_so() -> None:
    async def test(lent: Lent) -> None:
        idle = Signals(lent.world.hub, "binance-usdm")
        with pytest.raises(DefinitionError, match="passes no events on"):
            async with idle.listening([], closes=True):
                pass

    lend(test)


def test_streams_end_with_the_hub() -> None:
    taken: list[Any] = []

    async def test(lent: Lent) -> None:
        response = await lent.session.get(lent.url + PATH, timeout=None)
        task = asyncio.create_task(response.read())
        await asyncio.sleep(65)
        taken.append(task)

    lend(test)

    assert len(taken) == 1
