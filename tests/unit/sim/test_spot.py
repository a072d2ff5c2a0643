"""The simulated spot market: one truth with its futures, whatever is asked of it and when."""

from typing import Final

import numpy as np
import pytest

from klinehub.domain.kline import Scale
from klinehub.domain.timeframe import MINUTE, timeframe
from klinehub.feed.spot import pairs_of
from klinehub.sim.market import HOUR
from klinehub.sim.spot import SpotMarket
from klinehub.sim.synthetic import SyntheticMarket, synthetic
from klinehub.sim.truth import (
    CLOSE,
    HIGH,
    I64,
    LOW,
    OPEN,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    VOLUME,
    rolled,
)

# A full hour, 2026-10-05 23:00.
START: Final = 1_791_241_200_000
LAST: Final = 600


@pytest.fixture(scope="module")
def futures() -> SyntheticMarket:
    return synthetic(60, 1, start=START)


@pytest.fixture(scope="module")
def market(futures: SyntheticMarket) -> SpotMarket:
    return SpotMarket(futures)


def old(market: SpotMarket) -> list[int]:
    """Give the pairs that were listed long before the start."""
    return [i for i, one in enumerate(market.instruments) if one.onboard < START - LAST * MINUTE]


def minutes(market: SpotMarket, i: int) -> I64:
    return market.minutes(i, START - LAST * MINUTE, START)


def test_each_minute_is_a_bar_that_can_be(market: SpotMarket) -> None:
    for i in old(market):
        bars = minutes(market, i)
        assert bars[:, OPEN_TIME].tolist() == list(range(START - LAST * MINUTE, START, MINUTE))
        ends = bars[:, [OPEN, CLOSE]]
        assert (bars[:, HIGH] >= ends.max(axis=1)).all()
        assert (bars[:, LOW] <= ends.min(axis=1)).all()
        assert ((bars[:, TRADES] > 0) == (bars[:, VOLUME] > 0)).all()
        assert (bars[:, VOLUME] >= bars[:, TRADES]).all()
        assert (bars[:, LOW] * bars[:, VOLUME] <= bars[:, QUOTE]).all()
        assert (bars[:, QUOTE] <= bars[:, HIGH] * bars[:, VOLUME]).all()
        assert (bars[:, TAKER_BASE] <= bars[:, VOLUME]).all()
        assert (bars[:, TAKER_QUOTE] <= bars[:, QUOTE]).all()
        quiet = np.flatnonzero(bars[:, TRADES] == 0)
        assert (bars[quiet, OPEN] == bars[quiet - 1, CLOSE]).all()


def test_nothing_depends_on_what_is_asked(market: SpotMarket) -> None:
    for i in old(market)[::7]:
        whole = minutes(market, i)
        for first, last in ((LAST - 1, LAST), (LAST - 61, LAST - 13), (3, 200)):
            begin = START - LAST * MINUTE
            part = market.minutes(i, begin + first * MINUTE, begin + last * MINUTE)
            assert np.array_equal(part, whole[first:last])
        hours = market.bars(i, timeframe("1h"), START // HOUR - 10, START // HOUR - 1, START)
        assert np.array_equal(hours, rolled(whole, timeframe("1h")))
        inside = market.slots(i, START - 30 * MINUTE)
        assert inside is not None
        assert np.array_equal(inside[-1], whole[LAST - 30])


def test_spot_costs_about_what_the_futures_cost(futures: SyntheticMarket, market: SpotMarket) -> None:
    for i in old(market)[::5]:
        one = market.instruments[i]
        pair = market.pairs[one.symbol]
        bars, theirs = minutes(market, i), futures.minutes(pair.future, START - LAST * MINUTE, START)
        traded = bars[:, TRADES] > 0
        price = bars[traded, CLOSE] * one.tick / 10.0**one.scale.price * pair.multiplier
        future = futures.instruments[pair.future]
        other = theirs[traded, CLOSE] * future.tick / 10.0**future.scale.price
        # The tick of a cheap coin is a large part of its price.
        coarse = one.tick / 10.0**one.scale.price * pair.multiplier / price.mean()
        assert np.abs(other / price - 1.0).max() < 0.003 + coarse
        assert one.scale in {Scale(8, 8, 8), Scale(8, 2, 8)}


def test_spot_leads_now_and_then(futures: SyntheticMarket, market: SpotMarket) -> None:
    led = []
    for i in old(market):
        pair = market.pairs[market.instruments[i].symbol]
        ours = minutes(market, i)[:, QUOTE].astype(float)
        theirs = futures.minutes(pair.future, START - LAST * MINUTE, START + 3 * MINUTE)[:, QUOTE]
        for block in range(0, LAST, 30):
            part = slice(block, block + 30)
            now, later = theirs[:LAST][part], theirs[3 : LAST + 3][part]
            if min(np.ptp(now), np.ptp(later), np.ptp(ours[part])) > 0:
                led.append(np.corrcoef(ours[part], later)[0, 1] > np.corrcoef(ours[part], now)[0, 1])

    assert 0.1 < np.mean(led) < 0.4


def test_some_contracts_have_a_pair_and_the_mapping_by_name_finds_it(
    futures: SyntheticMarket, market: SpotMarket
) -> None:
    trading = [one for one in futures.listings(START) if one.trading]
    found = pairs_of(trading, market.listings(START))
    expected = {
        futures.instruments[pair.future].symbol: (symbol, pair.multiplier)
        for symbol, pair in market.pairs.items()
        if any(one.symbol == futures.instruments[pair.future].symbol for one in trading)
    }
    perpetual = {symbol: pair for symbol, pair in found.items() if "_" not in symbol}

    assert perpetual == expected
    assert found["1000PEPEUSDT"] == ("PEPEUSDT", 1_000)
    assert 0.6 * len(trading) < len(perpetual) < 0.95 * len(trading)
    assert len({one.symbol for one in market.listings(START)}) == len(market.listings(START))


def test_pairs_come_and_go_with_their_contracts(futures: SyntheticMarket, market: SpotMarket) -> None:
    until = START + 5 * 24 * HOUR
    told = market.changes(START, until)

    assert told
    assert {change.listing.status for change in told} >= {"TRADING", "BREAK"}
    for change in told:
        now = {one.symbol: one.status for one in market.listings(change.time)}
        assert now[change.listing.symbol] == change.listing.status
    gone = next(change for change in told if change.listing.status == "BREAK")
    i = market.index[gone.listing.symbol]
    after = market.minutes(i, gone.time, gone.time + 90 * MINUTE)
    assert after[:, TRADES].sum() <= 2
    new = next(one for one in market.instruments if START < one.onboard < until)
    assert not len(market.minutes(market.index[new.symbol], new.onboard - HOUR, new.onboard))
    assert market.minutes(market.index[new.symbol], new.onboard, new.onboard + MINUTE)[0, TRADES] > 0
    assert futures.spot is False
    assert market.spot is True
