"""A hub with its store on PostgreSQL, on virtual time: stopped, started again, and its server killed."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest
from tests.postgres import Server
from tests.sim.test_restored import BARS, SYMBOLS, Place, all_fresh
from tests.sim.worlds import plainly

from klinehub.domain.timeframe import timeframe
from klinehub.hub import Hub
from klinehub.sim.loop import SimLoop, run
from klinehub.store.hot import HotStore
from klinehub.store.plain_rows import refresh
from klinehub.store.postgres import PostgresTables
from klinehub.store.sealing import Stores

pytestmark = pytest.mark.timeout(120)
MARKET: Final = "binance-usdm"
# Whole hours of minutes beside the hours that the exchange told, and how many of them differ.
DIFFERENT: Final = """
SELECT count(*), count(*) FILTER (WHERE (hours.open, hours.high, hours.low, hours.close, hours.volume,
    hours.quote_volume, hours.trades, hours.taker_base, hours.taker_quote) IS DISTINCT FROM (klines.open,
    klines.high, klines.low, klines.close, klines.volume, klines.quote_volume, klines.trades,
    klines.taker_base, klines.taker_quote))
FROM hours JOIN klines USING (symbol) WHERE timeframe = '1h' AND open_time = hour AND bars = 60
"""


class ServerPlace(Place):
    """A simulated exchange, and hubs whose store is a database of the tests' server."""

    def __init__(self, loop: SimLoop, server: Server) -> None:
        super().__init__(loop, Path())
        self.url = server.url(server.database())

    def store(self) -> HotStore:
        return HotStore(PostgresTables(self.url, market=MARKET, origin="sim"))

    def stores(self) -> Stores:
        return Stores(self.store())


def play(server: Server, act: Callable[[ServerPlace], Awaitable[None]]) -> None:
    async def main(loop: SimLoop) -> None:
        async with ServerPlace(loop, server) as place:
            await act(place)

    run(main, seed=1)


async def until(hub: Hub, *, durable: bool) -> None:
    async with asyncio.timeout(90):
        while hub.get_stats()["durable"] is not durable:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.25)


def test_a_restart_finds_the_same_bars(postgres: Server) -> None:
    async def act(place: ServerPlace) -> None:
        async with place.hub() as hub:
            await asyncio.sleep(130)
            place.assert_true(hub)
            stats = hub.get_stats()
            assert (stats["durable"], stats["store_fault"]) == (True, "")
        await asyncio.sleep(10 * 60)
        async with place.hub() as hub:
            assert hub.summary is not None
            assert hub.summary.requests == 0
            assert int(hub.get_stats()["restored_bars"]) >= 4 * SYMBOLS * BARS
            await all_fresh(hub)
            await asyncio.sleep(70)
            place.assert_true(hub)

    play(postgres, act)


def test_hours_of_plain_rows_equal_those_of_the_exchange_in_every_digit(postgres: Server) -> None:
    async def act(place: ServerPlace) -> None:
        async with place.hub() as hub:
            await asyncio.sleep(130)
            reader = PostgresTables(place.url, market=MARKET, origin="sim", writing=False)
            refresh(reader)
            with reader.session("read") as db:
                found = db.execute(DIFFERENT).fetchone()
            reader.close()
            assert found == (len(hub.symbols), 0)

    play(postgres, act)


def test_a_server_that_is_killed_costs_nothing_that_was_acknowledged(postgres: Server) -> None:
    kept: set[tuple[str, int]] = set()

    async def act(place: ServerPlace) -> None:
        async with place.hub() as hub:
            assert hub.shelf.keeping is not None
            hub.shelf.keeping._on_kept = kept.update
            await asyncio.sleep(70)
            acknowledged = set(kept)
            postgres.kill()
            await until(hub, durable=False)
            assert "can not be " in str(hub.get_stats()["store_fault"])
            await asyncio.sleep(130)
            place.assert_true(hub)
            assert hub.get_stats()["durable"] is False
            assert kept == acknowledged
            postgres.start()
            await until(hub, durable=True)
            await asyncio.sleep(70)
            place.assert_true(hub)
            assert hub.get_stats()["store_pending"] == 0
        assert kept > acknowledged
        assert_kept(place)

    def assert_kept(place: ServerPlace) -> None:
        """Hold all that was ever called kept against the exchange, as a new process finds it."""
        store = place.store()
        for name, bar in sorted(kept):
            frame = timeframe(name)
            found = store.read(frame, None, frame.open_time(bar), frame.open_time(bar + 1))
            assert {symbol: plainly(exact) for symbol, exact in found.items()} == {
                symbol: plainly(place.truth(symbol, frame, bar, bar)) for symbol in store.names
            }
        assert store.set_aside == []
        store.tables.close()

    play(postgres, act)


def test_a_second_hub_on_the_same_store_is_refused(postgres: Server) -> None:
    async def act(place: ServerPlace) -> None:
        from klinehub.errors import StoreError

        async with place.hub() as hub:
            with pytest.raises(StoreError, match="one hub writes a store"):
                async with place.hub():
                    pass
            await asyncio.sleep(70)
            assert hub.get_stats()["durable"] is True

    play(postgres, act)
