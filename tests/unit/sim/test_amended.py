"""A market whose truth changes: every timeframe, REST and streams tell the same changed story."""

import numpy as np
import pytest
from tests.unit.sim.test_market import sane

from klinehub.domain.timeframe import MINUTE, TIMEFRAMES, timeframe
from klinehub.sim.amended import Amended
from klinehub.sim.market import HOUR
from klinehub.sim.synthetic import synthetic
from klinehub.sim.truth import CLOSE, HIGH, I64, LOW, OPEN, OPEN_TIME, QUOTE, TRADES, VOLUME, rolled

START = 1_795_252_512_345
NOON = START // HOUR * HOUR
LATER = NOON + 5 * HOUR
ONE, FIVE, HOURLY = timeframe("1m"), timeframe("5m"), timeframe("1h")


@pytest.fixture
def market() -> Amended:
    inner = synthetic(5, 7, start=START, churn_hours=0)
    return Amended(inner, [inner.instruments[4].symbol])


def bars(market: Amended, i: int, name: str, start: int, end: int, now: int = LATER) -> I64:
    frame = timeframe(name)
    return market.bars(i, frame, frame.index(start), frame.index(end - 1), now)


def assert_one_story(market: Amended, i: int, start: int = NOON - HOUR, end: int = LATER) -> None:
    """Every timeframe is the sum of the minutes, closed and forming."""
    for now in (end, end + 17 * MINUTE + 31_234):
        minutes = bars(market, i, "1m", start, now + 1, now)
        for name, frame in TIMEFRAMES.items():
            if frame.milliseconds <= HOUR:
                assert np.array_equal(bars(market, i, name, start, now + 1, now), rolled(minutes, frame)), (
                    name
                )


def test_an_untouched_market_is_the_inner_one(market: Amended) -> None:
    inner = synthetic(5, 7, start=START, churn_hours=0)

    assert np.array_equal(
        bars(market, 0, "1h", NOON, LATER),
        inner.bars(0, HOURLY, HOURLY.index(NOON), HOURLY.index(LATER - 1), LATER),
    )
    assert [one.symbol for one in market.listings(START)] == [
        one.symbol for one in inner.listings(START) if one.symbol not in market.hidden
    ]


def test_a_hole_is_in_every_symbol_and_timeframe(market: Amended) -> None:
    begin, end = NOON + 3 * MINUTE, NOON + 64 * MINUTE
    market.hole(begin, end)

    for i in (0, 3):
        times = bars(market, i, "1m", NOON, NOON + 2 * HOUR)[:, OPEN_TIME]
        assert not ((times >= begin) & (times < end)).any()
        assert len(times) == 120 - 61
        assert [int(t) for t in bars(market, i, "5m", NOON, NOON + 70 * MINUTE)[:, OPEN_TIME]] == [
            NOON,
            NOON + 60 * MINUTE,
            NOON + 65 * MINUTE,
        ]
        assert_one_story(market, i)
    assert market.slots(0, begin) is None
    assert market.slots(0, end) is not None


def test_a_whole_hour_without_minutes_does_not_exist(market: Amended) -> None:
    market.hole(NOON, NOON + HOUR)

    assert [int(t) for t in bars(market, 1, "1h", NOON - HOUR, NOON + 2 * HOUR)[:, OPEN_TIME]] == [
        NOON - HOUR,
        NOON + HOUR,
    ]


def test_a_quiet_symbol_is_flat_at_its_last_price(market: Amended) -> None:
    symbol = market.instruments[2].symbol
    before = bars(market, 2, "1m", NOON + MINUTE, NOON + 2 * MINUTE)[0, CLOSE]
    other = bars(market, 1, "1m", NOON, NOON + HOUR)
    market.quiet(symbol, NOON + 2 * MINUTE, NOON + 9 * MINUTE)
    quiet = bars(market, 2, "1m", NOON + 2 * MINUTE, NOON + 9 * MINUTE)

    assert (quiet[:, VOLUME:] == 0).all()
    assert (quiet[:, OPEN : CLOSE + 1] == before).all()
    assert np.array_equal(bars(market, 1, "1m", NOON, NOON + HOUR), other)
    assert_one_story(market, 2)


@pytest.mark.parametrize("price_only", [True, False])
def test_a_correction_is_another_bar_that_could_have_been(market: Amended, *, price_only: bool) -> None:
    symbol, minute = market.instruments[0].symbol, NOON + 7 * MINUTE
    old = bars(market, 0, "1m", minute, minute + MINUTE)
    hour = bars(market, 0, "1h", NOON, NOON + HOUR)
    assert market.correct(symbol, minute, price_only=price_only)
    new = bars(market, 0, "1m", minute, minute + MINUTE)
    words = np.flatnonzero(old[0] != new[0]).tolist()

    assert words == ([CLOSE] if price_only else [VOLUME, QUOTE, TRADES])
    sane(new)
    assert price_only == np.array_equal(bars(market, 0, "1h", NOON, NOON + HOUR), hour)
    assert_one_story(market, 0)


def test_a_flat_bar_and_one_of_a_single_price_are_corrected_too(market: Amended) -> None:
    symbol = market.instruments[0].symbol
    market.quiet(symbol, NOON, NOON + MINUTE)
    assert market.correct(symbol, NOON, price_only=True)
    bar = bars(market, 0, "1m", NOON, NOON + MINUTE)

    assert bar[0, TRADES] == bar[0, VOLUME] == 1
    assert bar[0, HIGH] == bar[0, LOW]
    sane(bar)


def test_what_is_not_there_is_not_corrected(market: Amended) -> None:
    market.hole(NOON, NOON + MINUTE)

    assert not market.correct(market.instruments[0].symbol, NOON, price_only=True)


def test_a_hidden_symbol_is_announced_then_trades(market: Amended) -> None:
    symbol = market.instruments[4].symbol
    assert market.hidden == [symbol]
    told, begin = NOON + 5 * MINUTE, NOON + 7 * MINUTE
    market.enlist(symbol, told, begin)

    def status(now: int) -> list[str]:
        return [one.status for one in market.listings(now) if one.symbol == symbol]

    assert market.hidden == []
    assert (status(told - 1), status(told), status(begin)) == ([], ["PENDING_TRADING"], ["TRADING"])
    assert [one.time for one in market.changes(NOON, NOON + HOUR)] == [told, begin]
    assert [one.listing.status for one in market.changes(NOON, NOON + HOUR)] == ["PENDING_TRADING", "TRADING"]
    assert bars(market, 4, "1m", NOON - HOUR, LATER)[0, OPEN_TIME] == begin
    assert bars(market, 4, "1h", NOON - HOUR, LATER)[0, OPEN_TIME] == NOON
    assert market.first_index(4, FIVE) == FIVE.index(begin)
    assert len(market.stretch(4, ONE, None, ONE.index(begin + 3 * MINUTE), 500, LATER).rows) == 4
    assert len(market.stretch(4, ONE, None, ONE.index(told), 500, told).rows) == 0
    assert_one_story(market, 4)


def test_a_delisted_symbol_settles_and_goes_on_flat(market: Amended) -> None:
    symbol = market.instruments[3].symbol
    warned, end = NOON + 5 * MINUTE, NOON + 8 * MINUTE
    market.delist(symbol, warned, end)
    listing = {
        time: next(one for one in market.listings(time) if one.symbol == symbol)
        for time in (NOON, warned, end)
    }
    after = bars(market, 3, "1m", end, LATER)

    assert market.ends(symbol)
    assert [one.status for one in listing.values()] == ["TRADING", "TRADING", "SETTLING"]
    assert listing[NOON].delivery_time > listing[warned].delivery_time == end
    assert len(after) == (LATER - end) // MINUTE
    assert (after[:, VOLUME:] == 0).all()
    assert (after[:, CLOSE] == bars(market, 3, "1m", end - MINUTE, end)[0, CLOSE]).all()
    assert [one.listing.status for one in market.changes(NOON, LATER)] == ["TRADING", "SETTLING"]
    assert_one_story(market, 3)


def test_changes_lie_over_each_other(market: Amended) -> None:
    symbol = market.instruments[1].symbol
    market.hole(NOON + 10 * MINUTE, NOON + 20 * MINUTE)
    market.quiet(symbol, NOON + 15 * MINUTE, NOON + 30 * MINUTE)
    market.delist(symbol, NOON + 25 * MINUTE, NOON + 28 * MINUTE)
    market.correct(symbol, NOON + 5 * MINUTE, price_only=False)

    assert len(bars(market, 1, "1m", NOON, NOON + HOUR)) == 55
    assert_one_story(market, 1)
