"""The laws of a simulated market: every timeframe tells the same story, whoever asks, in whatever order."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klinehub.dialect.render import twelve_fields
from klinehub.domain.timeframe import DAY, MINUTE, TIMEFRAMES, timeframe
from klinehub.errors import DefinitionError
from klinehub.sim.market import SLOTS, Market
from klinehub.sim.split import split_all, unfold
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
    WORDS,
    add,
)

START = 1_795_252_512_345
# The first test to call a kernel compiles it.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return synthetic(60, 7, start=START)


def sane(bars: I64, *, takers: bool = True) -> None:
    """A bar could have happened: prices in order, both sides of the volume traded within them.

    Where a bar has a handful of trades at few prices, no split may satisfy the takers' side as well.
    """
    low, high, volume, base = bars[:, LOW], bars[:, HIGH], bars[:, VOLUME], bars[:, TAKER_BASE]
    traded = bars[:, TRADES] > 0
    assert (low >= 1).all()
    assert (low <= np.minimum(bars[:, OPEN], bars[:, CLOSE])).all()
    assert (high >= np.maximum(bars[:, OPEN], bars[:, CLOSE])).all()
    assert ((volume > 0) == traded).all()
    assert (bars[~traded, QUOTE] == 0).all()
    assert (bars[:, QUOTE] >= low * volume).all()
    assert (bars[:, QUOTE] <= high * volume).all()
    assert ((base >= 0) & (base <= volume)).all()
    if not takers:
        return
    assert (bars[:, TAKER_QUOTE] >= low * base).all()
    assert (bars[:, TAKER_QUOTE] <= high * base).all()
    rest = bars[:, QUOTE] - bars[:, TAKER_QUOTE]
    assert (rest >= low * (volume - base)).all()
    assert (rest <= high * (volume - base)).all()


def by_decimal(rows: list[list[int | str]], minutes: int) -> list[list[int | str]]:
    """Roll REST rows up by their text alone, as an independent reader of the exchange would."""
    groups: dict[int, list[list[int | str]]] = {}
    for row in rows:
        groups.setdefault(int(row[0]) // (minutes * MINUTE), []).append(row)
    out = []
    for index, group in groups.items():
        traded = [row for row in group if row[8] != 0] or group[-1:]
        highest = max(traded, key=lambda row: Decimal(row[2]))[2]
        lowest = min(traded, key=lambda row: Decimal(row[3]))[3]
        sums = {k: sum((Decimal(row[k]) for row in group), Decimal(0)) for k in (5, 7, 9, 10)}
        text = {k: str(total) if total else "0" for k, total in sums.items()}
        opens = index * minutes * MINUTE
        trades = sum(int(row[8]) for row in group)
        close_time = opens + minutes * MINUTE - 1
        prices = [traded[0][1], highest, lowest, traded[-1][4]]
        out.append([opens, *prices, text[5], close_time, text[7], trades, text[9], text[10], "0"])
    return out


def rest_rows(market: Market, i: int, name: str, first_time: int, last_time: int) -> list[list[int | str]]:
    frame = timeframe(name)
    found = market.klines(i, frame, frame.index(first_time), frame.index(last_time), last_time + 400 * DAY)
    return twelve_fields(found, frame)


@pytest.mark.parametrize("i", [0, 1, 17, 43, 55, 57, 59])
def test_larger_bars_are_the_decimal_sums_of_their_minutes(market: SyntheticMarket, i: int) -> None:
    day = START // DAY * DAY - 3 * DAY
    minutes = rest_rows(market, i, "1m", day, day + DAY - 1)

    assert len(minutes) == 1440
    for name, length in {"3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}.items():
        assert rest_rows(market, i, name, day, day + DAY - 1) == by_decimal(minutes, length)


def test_weeks_and_months_are_the_sums_of_their_days(market: SyntheticMarket) -> None:
    for name in ("3d", "1w", "1M"):
        frame = timeframe(name)
        index = frame.index(START) - 1
        first, after = frame.open_time(index), frame.open_time(index + 1)
        days = market.bars(3, timeframe("1d"), first // DAY, after // DAY - 1, START)
        total = days[0].copy()
        for bar in days[1:]:
            add(total, bar)
        whole = market.bars(3, frame, index, index, START)

        assert len(days) == (after - first) // DAY
        assert whole[0, OPEN_TIME] == first
        np.testing.assert_array_equal(whole[0, OPEN:], total[OPEN:])


def test_hours_minutes_and_quarter_seconds_could_have_happened(market: SyntheticMarket) -> None:
    hour = START // 3_600_000
    for i in range(len(market.instruments)):
        sane(market.coarse(i, hour - 60, hour + 60))
        sane(market.minutes(i, (hour - 3) * 3_600_000, hour * 3_600_000))


def test_a_minute_is_the_same_whoever_asks_and_whenever_the_run_started(market: SyntheticMarket) -> None:
    other = synthetic(300, 7, start=START + 5 * DAY, churn_hours=0)
    begin = START // MINUTE * MINUTE - 90 * MINUTE
    other.minutes(0, begin - 9 * DAY, begin - 8 * DAY)

    for symbol in ("BTCUSDT", "ETHUSDT", "DOGEUSDT"):
        one = market.minutes(market.index[symbol], begin, begin + 90 * MINUTE)
        same = other.minutes(other.index[symbol], begin, begin + 90 * MINUTE)
        np.testing.assert_array_equal(one, same)
        pieces = [
            market.minutes(market.index[symbol], begin + k * MINUTE, begin + (k + 1) * MINUTE)
            for k in range(90)
        ]
        np.testing.assert_array_equal(one, np.concatenate(pieces))


def test_another_seed_is_another_market() -> None:
    begin = START // MINUTE * MINUTE
    one, other = (synthetic(3, seed, start=START).minutes(0, begin, begin + MINUTE) for seed in (1, 2))

    assert one[0, CLOSE] != other[0, CLOSE]


@pytest.mark.parametrize("i", [0, 5, 40, 56])
def test_a_forming_bar_only_grows_and_ends_as_the_closed_one(market: SyntheticMarket, i: int) -> None:
    for name in ("1m", "5m", "1h", "4h"):
        frame = timeframe(name)
        index = frame.index(START)
        opens, after = frame.open_time(index), frame.open_time(index + 1)
        closed = market.bars(i, frame, index, index, after)[0]
        last = None
        for now in range(opens, after, (after - opens) // 37 or 1):
            bar = market.bars(i, frame, index, index, now)[0]
            assert bar[LOW] <= bar[CLOSE] <= bar[HIGH]
            if last is not None:
                assert (bar[VOLUME:] >= last[VOLUME:]).all()
                if last[TRADES] > 0:
                    assert bar[OPEN] == last[OPEN]
                    assert bar[HIGH] >= last[HIGH]
                    assert bar[LOW] <= last[LOW]
            if bar[TRADES] > 0:
                assert bar[HIGH] <= closed[HIGH]
                assert bar[LOW] >= closed[LOW]
            last = bar
        np.testing.assert_array_equal(market.bars(i, frame, index, index, after)[0], closed)
    slots = market.slots(i, START // MINUTE * MINUTE)
    assert slots is not None
    np.testing.assert_array_equal(slots[SLOTS - 1], market.minutes(i, START // MINUTE * MINUTE, START)[0])


@st.composite
def traded_bars(draw: st.DrawFn) -> I64:
    """Any bar that an exchange could have printed."""
    low = draw(st.integers(1, 10**6))
    high = low + draw(st.integers(0, 10**5))
    volume = draw(st.one_of(st.integers(1, 30), st.integers(1, 10**9)))
    prices = [draw(st.integers(low, high)), high, low, draw(st.integers(low, high))]
    quote = draw(st.integers(low * volume, high * volume))
    base = draw(st.integers(0, volume))
    least = max(low * base, quote - high * (volume - base))
    most = min(high * base, quote - low * (volume - base))
    taker = draw(st.integers(least, most)) if least <= most else base
    trades = draw(st.one_of(st.integers(1, 6), st.integers(1, 3 * 10**5)))
    return np.array([[60_000 * 7, *prices, volume, quote, trades, base, taker]], np.int64)


@settings(max_examples=300, deadline=None)
@given(bar=traded_bars(), parts=st.sampled_from([2, 15, 60, SLOTS]), seed=st.integers(0, 2**62))
def test_any_bar_splits_into_parts_that_add_up_to_it(bar: I64, parts: int, seed: int) -> None:
    out = np.empty((parts, WORDS), np.int64)
    split_all(bar, int(bar[0, OPEN]), seed, 1, out)
    total = out[0].copy()
    for part in out[1:]:
        add(total, part)

    np.testing.assert_array_equal(total, bar[0])
    assert (out[:, VOLUME:] >= 0).all()
    assert (out[:, QUOTE] >= out[:, LOW] * out[:, VOLUME]).all()
    assert (out[:, QUOTE] <= out[:, HIGH] * out[:, VOLUME]).all()
    assert (out[:, TAKER_BASE] <= out[:, VOLUME]).all()
    assert (out[:, TAKER_QUOTE] <= out[:, QUOTE]).all()
    assert ((out[:, TRADES] > 0) >= (out[:, VOLUME] > 0)).all()
    assert (out[:, HIGH] <= bar[0, HIGH]).all()
    assert (out[:, LOW] >= bar[0, LOW]).all()
    assert (out[:, LOW] <= out[:, [OPEN, CLOSE]].min(axis=1)).all()
    assert (out[:, HIGH] >= out[:, [OPEN, CLOSE]].max(axis=1)).all()
    unfold(bar[0], int(bar[0, OPEN]), seed, out)
    np.testing.assert_array_equal(out[-1], bar[0])


@pytest.mark.parametrize("number", [1, 2, 11, 12, 60, 550])
def test_exactly_the_symbols_asked_for_trade(number: int) -> None:
    listings = synthetic(number, 3, start=START).listings(START)
    ranked = [one for one in listings if one.trading and one.perpetual and one.quote_asset == "USDT"]

    assert len(ranked) == number
    assert len({one.symbol for one in listings}) == len(listings)
    assert {"TRADING", "SETTLING", "PENDING_TRADING", "PRE_SETTLE", "CLOSE"} <= {
        one.status for one in listings
    }
    assert {"CURRENT_QUARTER", "NEXT_QUARTER"} <= {one.contract_type for one in listings}
    if number >= 12:
        assert any(not one.symbol.isascii() for one in ranked)
        assert any(one.contract_type == "TRADIFI_PERPETUAL" for one in ranked)


@pytest.mark.parametrize("year", [2018, 2021, 2040])
def test_a_market_can_start_in_any_year(year: int) -> None:
    start = int(datetime(year, 3, 1, 12, 34, tzinfo=UTC).timestamp()) * 1000
    market = synthetic(30, 2, start=start)
    listed = [
        one for one in market.listings(start) if one.trading and one.perpetual and one.quote_asset == "USDT"
    ]
    hours = timeframe("1h")

    assert len(listed) == 30
    for one in listed:
        i = market.index[one.symbol]
        bars = market.bars(i, hours, hours.index(start) - 999, hours.index(start), start)
        assert len(bars) == 1000
        sane(bars)


def test_a_market_without_symbols_says_what_to_do() -> None:
    with pytest.raises(DefinitionError, match="at least 1 symbol"):
        synthetic(0, start=START)


def test_the_cross_section_looks_like_a_market() -> None:
    market = synthetic(120, 5, start=START)
    hour = START // 3_600_000
    bars = np.stack([market.coarse(i, hour - 24 * 40, hour)[:, [CLOSE, VOLUME, TRADES]] for i in range(116)])
    returns = np.diff(np.log(bars[:, :, 0]), axis=1)
    common = returns.mean(axis=0)
    with_market = [np.corrcoef(one, common)[0, 1] for one in returns]
    fourth = ((returns - returns.mean(1, keepdims=True)) ** 4).mean(1) / returns.var(1) ** 2
    livelier = [np.corrcoef(np.abs(one), bars[i, 1:, 1])[0, 1] for i, one in enumerate(returns)]

    assert 0.3 < np.mean(with_market) < 0.9
    assert np.median(fourth) > 4.0
    assert np.mean(livelier) > 0.3
    assert bars[0, :, 2].min() > 1000


def test_quiet_symbols_have_minutes_without_a_trade() -> None:
    market = synthetic(550, 1, start=START)
    begin = START // MINUTE * MINUTE - 500 * MINUTE
    quiet = market.minutes(545, begin, begin + 500 * MINUTE)
    untraded = quiet[:, TRADES] == 0

    assert 0 < untraded.sum() < 500
    where = np.flatnonzero(untraded[1:]) + 1
    np.testing.assert_array_equal(quiet[where, OPEN], quiet[where - 1, CLOSE])
    np.testing.assert_array_equal(quiet[where, HIGH], quiet[where, LOW])


def test_symbols_come_and_go_during_the_run(market: SyntheticMarket) -> None:
    changes = market.changes(START, START + DAY)
    fresh = next(
        one for one in changes if one.listing.status == "TRADING" and one.listing.onboard_time > START
    )
    gone = next(one for one in changes if one.listing.status == "SETTLING")
    i, j = market.index[fresh.listing.symbol], market.index[gone.listing.symbol]
    after = gone.time + 3 * 3_600_000
    hours = timeframe("1h")

    assert [change.time for change in changes] == sorted(change.time for change in changes)
    assert market.first_index(i, hours) == fresh.time // 3_600_000
    assert not len(market.bars(i, hours, 0, hours.index(fresh.time) - 1, after))
    flat = market.bars(j, hours, hours.index(gone.time) - 1, hours.index(after), after)
    assert flat[0, TRADES] > 0
    assert (flat[1:, TRADES] == 0).all()
    assert (flat[1:, OPEN : CLOSE + 1] == flat[0, CLOSE]).all()
    listed = {one.symbol: one for one in market.listings(gone.time)}
    assert listed[gone.listing.symbol].status == "SETTLING"
    early = {one.symbol: one for one in market.listings(gone.time - 60_000)}
    assert early[gone.listing.symbol].status == "TRADING"
    assert early[gone.listing.symbol].delivery_time == gone.time


def test_volumes_of_the_largest_bars_fit_64_bits() -> None:
    market = synthetic(550, 1, start=START)
    frame = TIMEFRAMES["1M"]
    largest = max(
        int(
            market.klines(i, frame, frame.index(START) - 12, frame.index(START), START)
            .rows["quote_volume"]
            .max()
        )
        for i in range(0, 550, 7)
    )

    assert largest < 2**63 // 10
