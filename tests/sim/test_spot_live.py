"""The spot market, followed alone and beside the futures: what is kept of it is its truth, bit for bit."""

import asyncio
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
from tests.sim.test_hub_live import assert_in_order, silence
from tests.sim.worlds import BARS, HOUR, Place, World, plainly, play, port_of

from klinehub.domain.timeframe import MINUTE
from klinehub.errors import DefinitionError
from klinehub.feed.venue import SPOT
from klinehub.panel.memory import F64
from klinehub.panel.pairs import PAIR_FIELDS
from klinehub.panel.view import WIDE
from klinehub.sim.exchange import Served
from klinehub.sim.oracle import Remembering
from klinehub.sim.spot import SpotMarket
from klinehub.sim.truth import TRADES

pytestmark = pytest.mark.timeout(120)
ALONE = Place(symbols=18, spot=True, alone=True)
BESIDE = Place(symbols=18, spot=True)
CALM = ("set_aside", "conflicts", "missing_bars", "reconnects", "late_closes")


def spot_of(made: World) -> Served:
    assert made.spot is not None
    return made.spot


def market_of(made: World) -> SpotMarket:
    return cast("SpotMarket", spot_of(made).exchange.market)


async def until_spot_is_up(made: World) -> None:
    for _ in range(150):
        if made.hub.spot is not None and made.hub.spot.market is not None:
            return
        await asyncio.sleep(0.1)


def shown(made: World, timeframe: str, symbol: str, length: int, last: int) -> F64:
    """Give what stands beside a contract's klines: spot closes and quote volumes, [2, length]."""
    panel = made.hub.panel(timeframe)
    cube = panel.cube(last, length, np.array([panel.row(symbol)]), beside=PAIR_FIELDS)
    found: F64 = cube[[WIDE.index(name) for name in PAIR_FIELDS], 0]
    return found


def assert_spot_true(made: World, *, settled: int = 5_000) -> None:
    """Hold the spot bars, and what stands of them beside the futures', against spot's own truth."""
    market, spot = market_of(made), made.hub.spot
    assert spot is not None
    now = made.clock.now()
    for frame in made.hub.timeframes:
        last = frame.index(now - settled) - 1
        first = frame.index(now) - made.hub.settings.bars
        for contract, pair in spot.pairs.items():
            truth = market.klines(market.index[pair.symbol], frame, first, last, now)
            kept = made.hub.spot_panel(frame.name).exact(pair.symbol, start=first, end=last)
            assert plainly(kept) == plainly(truth), (pair.symbol, frame.name)
            beside = shown(made, frame.name, contract, last - first + 1, last)
            assert beside[0].tolist() == [close * pair.multiplier for close in truth.rows["close"]]
            assert beside[1].tolist() == [float(volume / 10**8) for volume in truth.rows["quote_volume"]]


def beside_nothing(made: World, contracts: Sequence[str]) -> bool:
    """Say whether the newest closed minutes of contracts have nothing beside them."""
    last = made.hub.panel("1m").closed_bar
    return all(bool(np.isnan(shown(made, "1m", name, 1, last)).all()) for name in contracts)


def test_a_hub_follows_the_spot_market_alone() -> None:
    async def act(made: World) -> None:
        begun = made.clock.now()
        assert "PEPEUSDT" in made.hub.symbols
        made.assert_true()
        for _ in range(3):
            await asyncio.sleep(5 * 60 + 7.3)
            made.assert_true()
            assert made.hub.get_stats()["stale_symbols"] == 0
        assert_in_order(made, begun, made.clock.now())
        verified = await made.hub.verify()
        assert (verified.different, verified.failed) == ((), {})
        assert verified.checked == len(made.hub.symbols) * 4 * BARS
        stats = made.hub.get_stats()
        assert {name: stats[name] for name in CALM} == dict.fromkeys(CALM, 0)
        assert made.refusals == 0
        # Nothing was asked for to prove that quiet pairs are quiet: a listing every 45 s, and the audit.
        assert made.hub.live.repaired == 0

    play(act, start=HOUR - MINUTE, place=ALONE)


def test_spot_beside_the_futures_is_its_truth_and_so_is_what_factors_read() -> None:
    async def act(made: World) -> None:
        begun = made.clock.now()
        await until_spot_is_up(made)
        assert made.clock.now() - begun < 10_000
        assert_spot_true(made)
        for _ in range(2):
            await asyncio.sleep(5 * 60 + 7.3)
            assert_spot_true(made)
            made.assert_true()
        assert_in_order(made, begun, made.clock.now())
        spot = made.hub.spot
        assert spot is not None
        assert spot.pairs["1000PEPEUSDT"] == ("PEPEUSDT", 1000)
        unpaired = [symbol for symbol in made.hub.symbols if symbol not in spot.pairs]
        assert {"TSLAUSDT", "XAUUSDT"} <= set(unpaired)
        assert beside_nothing(made, unpaired)
        stats = made.hub.get_stats()
        assert (stats["spot_symbols"], stats["spot_stale_symbols"]) == (len(spot.pairs), 0)
        assert (stats["spot_missing_bars"], stats["spot_late_closes"], stats["spot_trouble"]) == (0, 0, "")

    play(act, start=HOUR - MINUTE, place=BESIDE)


def test_an_outage_of_spot_leaves_holes_that_are_filled_and_told_and_the_futures_go_on() -> None:
    async def act(made: World) -> None:
        await until_spot_is_up(made)
        begun = made.clock.now()
        spot = spot_of(made)
        await asyncio.sleep(70)
        paired = list(made.hub.spot.pairs) if made.hub.spot else []
        silence(made, port_of(spot.ws_url), port_of(spot.rest_url))
        await asyncio.sleep(80)
        assert beside_nothing(made, paired)
        stats = made.hub.get_stats()
        assert (stats["spot_fresh_symbols"], stats["stale_symbols"]) == (len(paired), 0)
        assert stats["spot_stale_symbols"] == len(paired)
        before = made.hub.panel("1m").changes.copy()
        await asyncio.sleep(5 * 60)
        assert_spot_true(made)
        changed = made.hub.panel("1m").changes > before
        assert changed.tolist() == [symbol in paired for symbol in made.hub.panel("1m").symbols]
        assert made.hub.get_stats()["spot_stale_symbols"] == 0
        assert_in_order(made, begun, made.clock.now())
        assert made.hub.get_stats()["late_closes"] == 0

    play(act, place=BESIDE)


def test_spot_that_cannot_be_reached_holds_nothing_up_and_is_tried_again() -> None:
    async def act(made: World) -> None:
        spot = spot_of(made)
        assert made.hub.get_stats()["spot_trouble"] == ""
        silence(made, port_of(spot.ws_url), port_of(spot.rest_url))
        await asyncio.sleep(60)
        with pytest.raises(DefinitionError, match="Spot is not there yet"):
            made.hub.spot_panel("1m")
        assert made.hub.get_stats()["spot_trouble"] != ""
        assert made.hub.get_stats()["late_closes"] == 0
        await asyncio.sleep(2 * 60)
        assert made.hub.get_stats()["spot_trouble"] == ""
        assert_spot_true(made)

    play(act, place=BESIDE)


def test_a_spot_stream_that_falls_silent_is_found_out_by_its_klines() -> None:
    async def act(made: World) -> None:
        await asyncio.sleep(61)
        board = spot_of(made).exchange.board
        (connection,) = spot_of(made).exchange.streams.connections
        board.unfollow(connection, "btcusdt@kline_1m")
        fell = made.clock.now()
        for _ in range(240):
            await asyncio.sleep(0.5)
            if made.hub.stale("BTCUSDT") is not None:
                break
        assert made.clock.now() - fell < SPOT.patience.unproven + 5_000
        assert [symbol for symbol in made.hub.symbols if made.hub.stale(symbol)] == ["BTCUSDT"]
        made.assert_true()
        await asyncio.sleep(30)
        assert made.hub.stale("BTCUSDT") is None
        made.assert_true()

    play(act, start=HOUR + 20_000, place=ALONE)


def test_a_quiet_pair_is_proved_quiet_even_where_the_ends_of_its_minutes_are_not_told() -> None:
    async def act(made: World) -> None:
        spot_of(made).exchange.pacer.flat_closes = False
        market = market_of(made)
        cast("Remembering", market.futures).quiet("LTCUSDT", HOUR + 5 * MINUTE, HOUR + 11 * MINUTE)
        asked = made.hub.gate.calls
        for _ in range(16):
            await asyncio.sleep(30)
            assert made.hub.get_stats()["stale_symbols"] == 0
        quiet = market.minutes(market.index["LTCUSDT"], HOUR + 5 * MINUTE, HOUR + 8 * MINUTE)[:, TRADES]
        assert quiet.max() == 0
        made.assert_true()
        # Each minute that is not told is repaired, and the pair asked about now and then.
        assert 3 < made.hub.gate.calls - asked < 60

    play(act, place=ALONE, audit=0.0)
