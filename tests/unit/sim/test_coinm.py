"""The simulated market that is margined in coins: one truth with its futures, whatever is asked and when."""

from typing import Final

import numpy as np
import pytest

from klinehub.domain.listing import NO_DELIVERY
from klinehub.domain.timeframe import MINUTE, timeframe
from klinehub.sim.coinm import COIN_DECIMALS, CoinMarket
from klinehub.sim.market import HOUR
from klinehub.sim.synthetic import synthetic
from klinehub.sim.truth import CLOSE, HIGH, LOW, OPEN, QUOTE, TAKER_BASE, TAKER_QUOTE, TRADES, VOLUME, rolled

# Compiling may come on top.
pytestmark = pytest.mark.timeout(120)
# A full hour, 2026-10-05 23:00.
START: Final = 1_791_241_200_000
LAST: Final = 240


@pytest.fixture(scope="module")
def market() -> CoinMarket:
    return CoinMarket(synthetic(60, 1, start=START))


def test_it_lists_perpetuals_of_the_largest_coins_and_quarterlies_of_two(market: CoinMarket) -> None:
    listed = {one.symbol: one for one in market.listings(START)}
    bitcoin, ether = listed["BTCUSD_PERP"], listed["ETHUSD_PERP"]

    assert len(listed) == 24
    assert (bitcoin.contract_size, ether.contract_size, bitcoin.quote_asset) == (100, 10, "USD")
    assert (bitcoin.unified, bitcoin.pair, bitcoin.delivery_time) == ("BTC/USD:BTC", "BTCUSD", NO_DELIVERY)
    dated = [one for one in listed.values() if one.contract_type != "PERPETUAL"]
    assert {one.pair for one in dated} == {"BTCUSD", "ETHUSD"}
    assert all(one.unified.startswith(f"{one.base_asset}/USD:{one.base_asset}-") for one in dated)


def test_each_minute_is_a_bar_that_can_be(market: CoinMarket) -> None:
    for i, one in enumerate(market.drawn):
        bars = market.minutes(i, START - LAST * MINUTE, START)
        assert len(bars) == LAST
        assert (bars[:, HIGH] >= bars[:, [OPEN, CLOSE]].max(axis=1)).all()
        assert (bars[:, LOW] <= bars[:, [OPEN, CLOSE]].min(axis=1)).all()
        assert ((bars[:, TRADES] > 0) == (bars[:, VOLUME] > 0)).all()
        assert (bars[:, TAKER_BASE] <= bars[:, VOLUME]).all()
        assert (bars[:, TAKER_QUOTE] <= bars[:, QUOTE]).all()
        quiet = np.flatnonzero(bars[1:, TRADES] == 0) + 1
        assert (bars[quiet, OPEN] == bars[quiet - 1, CLOSE]).all()
        traded = bars[bars[:, TRADES] > 0]
        tick = one.instrument.tick / 10**one.instrument.scale.price
        dollars = traded[:, VOLUME] * one.listing.contract_size
        # The coin's volume is what the dollars buy at a price of the bar, but for its last digit.
        least, most = dollars / (traded[:, HIGH] * tick), dollars / (traded[:, LOW] * tick)
        coins, digit = traded[:, QUOTE] / 10**COIN_DECIMALS, 1.5 / 10**COIN_DECIMALS
        assert (coins >= least - digit).all()
        assert (coins <= most + digit).all()


def test_nothing_depends_on_what_is_asked(market: CoinMarket) -> None:
    for i in (0, 3, 20, 23):
        whole = market.minutes(i, START - LAST * MINUTE, START)
        begin = START - LAST * MINUTE
        part = market.minutes(i, begin + 61 * MINUTE, begin + 75 * MINUTE)
        assert np.array_equal(part, whole[61:75])
        hours = market.bars(i, timeframe("1h"), START // HOUR - 4, START // HOUR - 1, START)
        assert np.array_equal(hours, rolled(whole, timeframe("1h")))


def test_a_forming_minute_grows_into_the_whole_one(market: CoinMarket) -> None:
    for i in (0, 5, 22):
        minute = START - 30 * MINUTE
        slots, (whole,) = market.slots(i, minute), market.minutes(i, minute, minute + MINUTE)
        assert slots is not None
        assert np.array_equal(slots[-1], whole)
        assert (np.diff(slots[:, VOLUME:], axis=0) >= 0).all()
        traded = slots[slots[:, TRADES] > 0]
        assert (traded[:, OPEN] == whole[OPEN]).all()
        assert (traded[:, HIGH] <= whole[HIGH]).all()
        assert (traded[:, LOW] >= whole[LOW]).all()
        half = market.recent(i, minute, minute + MINUTE // 2)[-1]
        assert np.array_equal(half, slots[len(slots) // 2 - 1])
