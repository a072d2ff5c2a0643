"""The drop-in on virtual time: a hub's answers, held against the exchange's own at the same moment."""

import asyncio
import json
from typing import Any, Final
from unittest.mock import patch

import pytest
from tests.sim.served import Counter, at_counter
from tests.sim.worlds import HOUR

from klinehub.domain.timeframe import MINUTE, TIMEFRAMES
from klinehub.serve.dropin import STALE_HEADER
from klinehub.serve.site import Site
from klinehub.settings import ServeSettings
from klinehub.sim.loop import SimLoop, SimNetwork, run

pytestmark = pytest.mark.timeout(180)
KLINES: Final = "/fapi/v1/klines"


def test_klines_are_byte_for_byte_those_of_the_exchange() -> None:
    async def test(counter: Counter) -> None:
        await counter.until(90)
        for frame in ("1m", "5m", "15m", "1h"):
            for symbol in counter.world.hub.symbols:
                for more in (
                    {},
                    {"limit": 1},
                    {"limit": 20},
                    {"startTime": HOUR - 600_000, "limit": 5},
                    {"endTime": HOUR},
                ):
                    wanted = {"symbol": symbol, "interval": frame, "limit": 10, **more}
                    exchange, hub = await counter.both(KLINES, wanted)
                    assert hub == exchange, wanted

    at_counter(test)


def test_a_bar_that_has_just_ended_is_held_until_it_is_proved_and_costs_nothing() -> None:
    async def test(counter: Counter) -> None:
        world, calls = counter.world, list[tuple[int, int, list[tuple[int, bytes]]]]()
        await counter.until(119.9)
        before = world.hub.gate.calls
        for at in (120.001, 120.01, 120.02):
            await counter.until(at)
            asked = world.clock.now()
            wanted = [{"symbol": one, "interval": "1m", "limit": 3} for one in world.hub.symbols]
            answers = await asyncio.gather(*(counter.get(counter.url, KLINES, one) for one in wanted))
            calls.append((asked, world.clock.now(), answers))

        for asked, answered, answers in calls:
            assert answered - asked < 1_000
            for status, body in answers:
                rows = json.loads(body)
                assert status == 200
                # The bar that ended is there, and the open one is the last row.
                assert [row[0] for row in rows] == [HOUR + n * MINUTE for n in (0, 1, 2)]
        assert world.hub.gate.calls == before

    at_counter(test)


def test_the_open_row_is_flat_at_the_last_close_until_something_is_traded_in_it() -> None:
    async def test(counter: Counter) -> None:
        await counter.until(120.2)
        for frame in ("1m", "5m", "15m", "1h"):
            for symbol in counter.world.hub.symbols:
                wanted = {"symbol": symbol, "interval": frame, "limit": 4}
                exchange = await counter.get(counter.world.served.rest_url, KLINES, wanted)
                assert await counter.get(counter.url, KLINES, wanted) == exchange

    at_counter(test)


async def silenced(counter: Counter) -> None:
    """Let every stream fall silent, and wait until that is noticed."""
    await counter.until(90)
    for link in counter.world.streams:
        link.stall()
    while counter.world.hub.stale("BTCUSDT") is None:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


STALE: Final[dict[str, Any]] = {"symbol": "BTCUSDT", "interval": "1m", "limit": 3}


def test_a_series_that_is_not_proved_fresh_is_refused_where_the_user_chose_so() -> None:
    async def test(counter: Counter) -> None:
        await silenced(counter)
        async with counter.session.get(counter.url + KLINES, params=STALE) as answer:
            told = await answer.json()

        assert (answer.status, answer.headers["Retry-After"], told["code"]) == (503, "1", -1001)
        assert "not proved fresh" in told["msg"]
        # What is over is proved for ever.
        exchange, hub = await counter.both(KLINES, {**STALE, "endTime": HOUR - 1})
        assert hub == exchange

    at_counter(test, serve=ServeSettings(port=0, ws_port=0, stale="refuse"))


def test_a_series_that_is_not_proved_fresh_is_given_with_a_header_where_the_user_chose_so() -> None:
    async def test(counter: Counter) -> None:
        await silenced(counter)
        async with counter.session.get(counter.url + KLINES, params=STALE) as answer:
            rows = await answer.json()

        assert answer.status == 200
        assert answer.headers[STALE_HEADER]
        assert [row[0] for row in rows] == [HOUR + n * MINUTE for n in (-1, 0, 1)]

    at_counter(test, serve=ServeSettings(port=0, ws_port=0, stale="header"))


def test_a_series_that_is_not_proved_fresh_is_asked_of_the_exchange_once_for_all() -> None:
    async def test(counter: Counter) -> None:
        await silenced(counter)
        rest = counter.world.hub.rest
        # Connections that are there already, so that all ask at one moment.
        await asyncio.gather(*(counter.get(counter.url, "/fapi/v1/ping", {}) for _ in range(10)))
        with patch.object(rest, "forward", wraps=rest.forward) as forward:
            answers = await asyncio.gather(*(counter.get(counter.url, KLINES, STALE) for _ in range(10)))

        assert [status for status, _ in answers] == [200] * 10
        assert len({body for _, body in answers}) == 1
        assert forward.call_count == 1

    at_counter(test)


@pytest.mark.parametrize("frame", ["1m", "5m", "1h"])
def test_what_lies_before_memory_is_asked_for_once_and_kept(frame: str) -> None:
    async def test(counter: Counter) -> None:
        await counter.until(10)
        length = TIMEFRAMES[frame].milliseconds
        for more in (
            {"limit": 200},
            {"startTime": HOUR - 300 * length, "limit": 100},
            {"startTime": HOUR - 300 * length, "endTime": HOUR - 250 * length},
            {"endTime": HOUR - 100 * length, "limit": 7},
        ):
            wanted = {"symbol": "BTCUSDT", "interval": frame, **more}
            exchange, hub = await counter.both(KLINES, wanted)
            assert hub == exchange, wanted
            before = counter.world.hub.gate.calls
            assert (await counter.get(counter.url, KLINES, wanted))[0] == 200
            assert counter.world.hub.gate.calls == before

    at_counter(test)


def test_everybody_is_told_to_come_again_until_the_hub_is_there() -> None:
    async def main(loop: SimLoop) -> None:
        async with (
            Site(ServeSettings(port=0, ws_port=0)) as site,
            SimNetwork().session(site.rest_url, timeout=5) as session,
            session.get(f"{site.rest_url}{KLINES}") as answer,
        ):
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")

    run(main)
