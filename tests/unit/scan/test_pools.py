"""The pools: who is in, why, for how long, and that the record of it brings the universe back."""

import math
import random
from statistics import median
from typing import Any, Final

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klinehub.domain.listing import Listing
from klinehub.domain.ticker import Ticker
from klinehub.domain.timeframe import DAY
from klinehub.domain.universe_rules import Rules
from klinehub.errors import DataError, DefinitionError, UnknownName
from klinehub.scan.pools import Market, Merged, _cut, due, next_due, refresh
from klinehub.scan.universe_history import History

HOUR: Final = 3_600_000
# A midnight, and five seconds.
NOW: Final = 20_700 * DAY + 5_000
RULES: Final = Rules()
HOURS: Final = RULES.hours_read


def listing(
    symbol: str, *, days: float = 400.0, status: str = "TRADING", quote: str = "USDT", kind: str = "PERPETUAL"
) -> Listing:
    return Listing(
        symbol=symbol, pair=symbol, contract_type=kind, status=status, base_asset=symbol.removesuffix(quote),
        quote_asset=quote, onboard_time=NOW - int(days * DAY), price_decimals=2, quantity_decimals=3,
    )  # fmt: skip


def ticker(symbol: str, turnover: float, change: float = 0.0, time: int = NOW) -> Ticker:
    return Ticker(symbol, turnover, change, time)


def market(
    *rows: tuple[Listing, float, float],
    hours: dict[str, Any] | None = None,
    time: int = NOW,
    **other: Any,
) -> Market:
    """A market of (listing, turnover, change in percent), each as liquid in all hours as in the last 24."""
    steady = {item.symbol: [turnover / 24] * HOURS for item, turnover, _ in rows}
    return Market(
        {item.symbol: item for item, _, _ in rows},
        {item.symbol: ticker(item.symbol, turnover, change, time) for item, turnover, change in rows},
        steady | (hours or {}),
        **other,
    )


BTC: Final = (listing("BTCUSDT"), 9e9, 1.0)
ETH: Final = (listing("ETHUSDT"), 5e9, 1.0)


def elite_of(rules: Rules, seen: Market) -> tuple[str, ...]:
    return refresh(rules, seen, NOW).merged.elite


def test_the_elite_are_liquid_old_and_steady_perpetuals_of_the_quote() -> None:
    rows = [
        BTC,
        ETH,
        (listing("EDGEUSDT", days=30.0), 1e7, 0.0),
        (listing("YOUNGUSDT", days=29.9), 1e9, 0.0),
        (listing("SMALLUSDT"), 9_999_999.0, 0.0),
        (listing("BTCUSDC", quote="USDC"), 1e9, 0.0),
        (listing("BTCUSDT_260327", kind="CURRENT_QUARTER"), 1e9, 0.0),
        (listing("TSLAUSDT", kind="TRADIFI_PERPETUAL"), 1e9, 0.0),
        (listing("HALTUSDT", status="TRADING_HALT"), 1e9, 0.0),
    ]

    assert elite_of(RULES, market(*rows)) == ("BTCUSDT", "ETHUSDT", "EDGEUSDT")
    assert "TSLAUSDT" in elite_of(RULES, market(*rows, tradifi=True))
    assert elite_of(RULES, market(*rows, quote="USDC")) == ("BTCUSDC",)


@pytest.mark.parametrize(("liquid", "expected"), [(11, {"WILDUSDT"}), (10, set())])
def test_stable_is_who_was_liquid_on_most_days_that_are_known(liquid: int, expected: set[str]) -> None:
    # The ticker's own 24 hours are the first of 14 days; 12 of 14 are 86 %, 11 are 79 %.
    days = [1e6] * (13 - liquid) + [8e6] * liquid + [0.0]
    hours = np.repeat(np.array(days) / 24, 24)
    seen = market(BTC, (listing("WILDUSDT"), 2e7, 0.0), hours={"WILDUSDT": hours})

    assert {*elite_of(RULES, seen)} - {"BTCUSDT"} == expected


def test_stability_looks_at_its_days_alone_and_is_enough_at_its_threshold() -> None:
    days = [0.0, 1e6, 8e6, 8e6, 8e6, 0.0]
    seen = market(
        BTC, (listing("WILDUSDT"), 2e7, 0.0), hours={"WILDUSDT": np.repeat(np.array(days) / 24, 24)}
    )

    assert "WILDUSDT" in elite_of(Rules(stable_days=5, stable_share=0.8), seen)
    assert "WILDUSDT" not in elite_of(Rules(stable_days=6, stable_share=0.8), seen)


def test_a_day_with_a_missing_hour_says_nothing_of_stability() -> None:
    hours = [1e7 / 24] * HOURS
    hours[-30] = math.nan
    hours[-60] = 0.0
    short = [0.0] * 47
    seen = market(BTC, (listing("GAPUSDT"), 1e7, 0.0), ETH, hours={"GAPUSDT": hours, "ETHUSDT": short})
    found = refresh(RULES, seen, NOW).merged

    # 13 days are known, and the one with an hour of nothing is liquid enough.
    assert found.metadata["GAPUSDT"].stability == 1.0
    assert found.metadata["ETHUSDT"].stability == 1.0


def test_without_any_kline_the_ticker_alone_decides() -> None:
    seen = market(BTC, hours={"BTCUSDT": ()})._replace(hours={})
    item = refresh(RULES, seen, NOW).merged.metadata["BTCUSDT"]

    assert (item.stability, item.day_surge, item.hour_surge) == (1.0, None, None)
    assert item.pools == ("elite",)


def test_the_overlay_is_what_surges_moves_or_is_fresh() -> None:
    burst = [1e5] * HOURS
    burst[-4] = 1.5e6
    rows = [
        BTC,
        (listing("DAYUSDT"), 6e6, 0.0),
        (listing("HOURUSDT"), 4e6, 0.0),
        (listing("MOVEUSDT"), 3e6, -20.0),
        (listing("FRESHUSDT", days=6.5), 3e6, 0.0),
        (listing("DUSTUSDT", days=1.0), 2.9e6, 90.0),
        (listing("QUIETUSDT"), 5e6, 19.9),
    ]
    hours = {"DAYUSDT": [2e6 / 24] * HOURS, "HOURUSDT": burst}
    found = refresh(RULES, market(*rows, hours=hours), NOW).merged

    assert found.overlay == ("DAYUSDT", "HOURUSDT", "FRESHUSDT", "MOVEUSDT")
    assert {name: found.metadata[name].why for name in found.overlay} == {
        "DAYUSDT": ("overlay: 3.0 times its typical day",),
        "HOURUSDT": ("overlay: 15.0 times its typical hour",),
        "FRESHUSDT": ("overlay: 6.5 days old",),
        "MOVEUSDT": ("overlay: -20.0 % in 24 h",),
    }


amounts = st.sampled_from([math.nan, 0.0, 1.0, 3.0, 8.0, 20.0])


@given(st.lists(amounts, max_size=100), st.sampled_from([0.25, 0.5, 1.0]))
def test_surges_are_against_the_median_of_what_is_known(hours: list[float], share: float) -> None:
    rules = Rules(
        day_surge_days=2,
        hour_surge_hours=6,
        hour_surge_recent=2,
        stable_days=1,
        known_share=share,
        pins=("XUSDT",),
    )
    seen = market((listing("XUSDT"), 100.0, 0.0), hours={"XUSDT": hours})
    item = refresh(rules, seen, NOW).merged.metadata["XUSDT"]
    long = [math.nan] * 100 + hours
    days = [sum(long[-24 * (day + 1) : -24 * day]) for day in (1, 2)]
    busiest = max((hour for hour in long[-2:] if not math.isnan(hour)), default=math.nan)

    assert item.day_surge == times(100.0, days, share)
    assert item.hour_surge == times(busiest, long[-8:-2], share)


def times(amount: float, others: list[float], share: float) -> float | None:
    known = [other for other in others if not math.isnan(other)]
    if math.isnan(amount) or len(known) < share * len(others) or not median(known) > 0:
        return None
    return amount / median(known)


def test_the_strongest_is_who_exceeds_its_threshold_most() -> None:
    burst = [1e5] * (HOURS - 1) + [2e6]
    rows = [
        BTC,
        (listing("MOVEUSDT"), 5e6, 28.0),
        (listing("HOURUSDT"), 5e6, 0.0),
        (listing("FRESHUSDT", days=7.0), 5e6, 0.0),
        (listing("COMINGUSDT", days=-0.5), 5e6, 0.0),
    ]
    found = refresh(RULES, market(*rows, hours={"HOURUSDT": burst}), NOW).merged

    assert tuple(found.pools["overlay"].members) == ("COMINGUSDT", "MOVEUSDT", "HOURUSDT", "FRESHUSDT")
    assert found.metadata["COMINGUSDT"].age_days == 0.0


def test_a_surge_needs_enough_known_hours_and_a_typical_one_above_nothing() -> None:
    few = [math.nan] * (HOURS - 30) + [1e5] * 30
    none = [0.0] * (HOURS - 1) + [1e7]
    seen = market(
        (listing("FEWUSDT"), 1e8, 0.0),
        (listing("NONEUSDT"), 1e8, 0.0),
        hours={"FEWUSDT": few, "NONEUSDT": none},
    )
    found = refresh(RULES, seen, NOW).merged.metadata["FEWUSDT"]
    assert (found.day_surge, found.hour_surge) == (None, None)

    pinned = refresh(Rules(pins=("NONEUSDT",)), seen, NOW).merged.metadata["NONEUSDT"]
    assert (pinned.day_surge, pinned.hour_surge, pinned.why) == (None, None, ("pinned",))


def test_a_symbol_tells_all_pools_it_is_in_and_its_figures() -> None:
    seen = market(BTC, (listing("SOLUSDT", days=100.0), 2e9, 25.0), ETH)
    found = refresh(Rules(pins=("SOLUSDT",)), seen, NOW).merged

    assert found.symbols == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    assert found.as_dict()["metadata"]["SOLUSDT"] == {
        "symbol": "SOLUSDT",
        "pools": ["pin", "elite", "overlay"],
        "why": [
            "pinned",
            "elite: turnover 2,000,000,000, liquid on 100.0% of its days",
            "overlay: +25.0 % in 24 h",
        ],
        "rank": 3,
        "turnover": 2e9,
        "change_percent": 25.0,
        "age_days": 100.0,
        "stability": 1.0,
        "day_surge": 1.0,
        "hour_surge": 1.0,
    }


def test_a_ticker_of_another_day_or_without_figures_counts_as_nothing() -> None:
    seen = market(BTC, ETH)
    nothing = (math.nan, math.nan, NOW), (1e9, 50.0, NOW - DAY)
    for turnover, change, time in nothing:
        told = seen._replace(tickers={**seen.tickers, "ETHUSDT": ticker("ETHUSDT", turnover, change, time)})
        item = refresh(Rules(pins=("ETHUSDT",)), told, NOW).merged.metadata["ETHUSDT"]

        assert (item.turnover, item.change_percent, item.rank) == (0.0, None, 2)


def test_an_age_that_nobody_knows_is_old_enough_and_not_fresh() -> None:
    unknown = msgspec.structs.replace(listing("OLDUSDT"), onboard_time=0)
    found = refresh(RULES, market((unknown, 1e8, 0.0)), NOW).merged.metadata["OLDUSDT"]

    assert (found.age_days, found.pools) == (None, ("elite",))


def test_no_days_of_freshness_let_nobody_in() -> None:
    seen = market(BTC, (listing("NEWUSDT", days=0.0), 1e8, 0.0))

    assert "NEWUSDT" in refresh(RULES, seen, NOW).merged.overlay
    assert refresh(Rules(fresh_days=0), seen, NOW).merged.symbols == ("BTCUSDT",)


def test_pins_of_any_kind_stay_while_they_trade_and_exclusions_win() -> None:
    rows = [
        BTC,
        ETH,
        (listing("TSLAUSDT", kind="TRADIFI_PERPETUAL"), 1.0, 0.0),
        (listing("DUSTUSDT"), 0.0, 0.0),
    ]
    rules = Rules(pins=("TSLAUSDT", "DUSTUSDT"), most=3)
    first = refresh(rules, market(*rows), NOW).merged
    assert first.symbols == ("BTCUSDT", "TSLAUSDT", "DUSTUSDT")

    rows[2] = (listing("TSLAUSDT", kind="TRADIFI_PERPETUAL", status="TRADING_HALT"), 1.0, 0.0)
    found = refresh(rules, market(*rows, exclude=("DUSTUSDT",)), NOW, first)
    assert found.merged.symbols == ("BTCUSDT", "ETHUSDT")
    assert [(item.symbol, item.entered, item.why) for item in found.changes] == [
        ("DUSTUSDT", False, "excluded"),
        ("TSLAUSDT", False, "status TRADING_HALT"),
        ("ETHUSDT", True, "elite: turnover 5,000,000,000, liquid on 100.0% of its days"),
    ]


def test_a_pin_that_was_never_listed_is_answered_with_the_nearest_and_one_that_is_gone_just_leaves() -> None:
    rules = Rules(pins=("ETHUSDT",))
    with pytest.raises(UnknownName, match=r"Unknown symbol 'ETHUSD'.*'ETHUSDT'"):
        refresh(Rules(pins=("ETHUSD",)), market(BTC, ETH), NOW)

    first = refresh(rules, market(BTC, ETH), NOW).merged
    found = refresh(rules, market(BTC), NOW + 1, first)

    assert [(item.symbol, item.why) for item in found.changes] == [("ETHUSDT", "no longer listed")]


def test_each_pool_is_chosen_in_its_time_on_the_exchange_s_grid() -> None:
    first = refresh(RULES, market(BTC), NOW - 1_000_000).merged

    assert due(RULES, None, NOW) == ("elite", "overlay")
    assert next_due(RULES, first) == NOW - 5_000
    assert due(RULES, first, NOW - 5_001) == ()
    assert due(RULES, first, NOW - 5_000) == ("elite", "overlay")
    second = refresh(RULES, market(BTC), NOW, first).merged
    assert due(RULES, second, NOW + HOUR) == ("overlay",)
    assert next_due(RULES, second) == NOW - 5_000 + HOUR
    assert due(RULES, second, NOW - 3 * DAY) == ()


def test_between_its_times_a_pool_stays_and_only_what_trades_no_more_leaves() -> None:
    first = refresh(RULES, market(BTC, ETH), NOW).merged
    poor = (ETH[0], 1.0, 50.0)
    found = refresh(RULES, market(BTC, poor, (listing("NEWUSDT"), 1e9, 60.0)), NOW + HOUR - 6_000, first)
    assert found.changes == ()

    later = refresh(RULES, market(BTC, poor, time=NOW + DAY), NOW + DAY, found.merged)
    assert [(item.symbol, item.why) for item in later.changes] == [
        ("ETHUSDT", "elite: turnover 1 is below 7,000,000"),
    ]


def test_a_symbol_between_the_two_thresholds_stays_as_it_is() -> None:
    kinds = {
        "TURNUSDT": (8e6, 0.0),
        "MOVEUSDT": (5e6, 15.0),
        "POORUSDT": (2.5e6, 15.0),
    }
    rich = market(*((listing(name), 2e7, 30.0) for name in kinds))
    between = market(*((listing(name), *figures) for name, figures in kinds.items()), BTC)
    inside = refresh(RULES, rich, NOW - DAY).merged

    assert set(refresh(RULES, between, NOW, inside).merged.symbols) == {*kinds, "BTCUSDT"}
    assert refresh(RULES, between, NOW).merged.symbols == ("BTCUSDT",)


@pytest.mark.parametrize("most", [20, 21])
def test_a_symbol_at_the_cut_stays_until_it_is_well_behind_it(most: int) -> None:
    rules = Rules(most=most, cut_buffer=3, overlay_most=0)
    names = [f"A{number:02}USDT" for number in range(30)]

    def ranked(order: list[str]) -> Market:
        rows = [(listing(name), 1e9 - place, 0.0) for place, name in enumerate(order)]
        return market(*rows, time=NOW + DAY)

    first = refresh(rules, ranked(names), NOW).merged
    assert set(first.symbols) == set(names[:most])

    # The last one in changes places with the one three behind the cut, then with the next.
    near, far = names.copy(), names.copy()
    near[most - 1], near[most + 2] = near[most + 2], near[most - 1]
    far[most - 1], far[most + 3] = far[most + 3], far[most - 1]
    assert refresh(rules, ranked(near), NOW + DAY, first).changes == ()
    found = refresh(rules, ranked(far), NOW + DAY, first)
    assert [(item.symbol, item.why.partition(",")[0]) for item in found.changes] == [
        (names[most - 1], f"cut: only {most} symbols fit"),
        (far[most - 1], "elite: turnover 999"),
    ]


def test_the_overlay_takes_the_strongest_and_at_most_half_of_the_places() -> None:
    hot = [(listing(f"H{number}USDT"), 5e6, 20.0 + number) for number in range(9)]
    elite = [(listing(f"E{number}USDT"), 1e9 + number, 0.0) for number in range(9)]
    found = refresh(Rules(most=6, cut_buffer=0), market(*hot, *elite), NOW).merged

    assert found.overlay == ("H6USDT", "H7USDT", "H8USDT")
    assert found.elite == ("E8USDT", "E7USDT", "E6USDT")


def test_who_left_both_pools_tells_of_both() -> None:
    first = refresh(RULES, market(BTC, (listing("HOTUSDT"), 1e9, 50.0)), NOW).merged
    seen = market(BTC, (listing("HOTUSDT"), 1.0, 0.0), time=NOW + DAY)
    found = refresh(RULES, seen, NOW + DAY, first)

    assert [item.why for item in found.changes] == [
        "elite: turnover 1 is below 7,000,000; overlay: turnover 1 is below 2,000,000"
    ]


def test_other_rules_let_go_what_they_do_not_want() -> None:
    rows = BTC, (listing("PINUSDT"), 1.0, 0.0), (listing("TSLAUSDT", kind="TRADIFI_PERPETUAL"), 1e9, 0.0)
    first = refresh(Rules(pins=("PINUSDT",)), market(*rows, tradifi=True), NOW).merged
    found = refresh(RULES, market(*rows), NOW, first)

    assert [(item.symbol, item.why) for item in found.changes] == [
        ("PINUSDT", "no longer pinned"),
        ("TSLAUSDT", "no perpetual of USDT"),
    ]


def test_a_market_that_cannot_be_judged_is_refused() -> None:
    with pytest.raises(DataError, match="listing holds no symbols"):
        refresh(RULES, Market({}, {"BTCUSDT": ticker("BTCUSDT", 1.0)}), NOW)
    with pytest.raises(DataError, match="tickers tell of no symbol's last 24 hours"):
        refresh(RULES, Market({"BTCUSDT": BTC[0]}, {}), NOW)
    with pytest.raises(DataError, match="tickers tell of no symbol's last 24 hours"):
        refresh(RULES, market(BTC, ETH), NOW + DAY)


def test_a_universe_of_nothing_is_refused_in_one_sentence() -> None:
    with pytest.raises(DefinitionError, match=r"^No trading perpetual of EUR .*: lower `universe\.elite"):
        refresh(RULES, market(BTC, quote="EUR"), NOW)
    with pytest.raises(DefinitionError, match="No trading perpetual of USDT"):
        refresh(RULES, market((listing("DUSTUSDT"), 1.0, 0.0)), NOW)


def test_callers_get_plain_lists_and_mappings() -> None:
    found = refresh(RULES, market(BTC, (listing("HOTUSDT"), 5e6, 50.0)), NOW).merged.as_dict()

    assert list(found) == ["symbols", "metadata", "elite", "overlay", "time"]
    assert found["symbols"] == ["BTCUSDT", "HOTUSDT"]
    assert (found["elite"], found["overlay"], found["time"]) == (["BTCUSDT"], ["HOTUSDT"], NOW)
    assert found["metadata"]["HOTUSDT"]["pools"] == ["overlay"]
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


def test_the_order_in_which_things_are_told_does_not_matter() -> None:
    rows = [BTC, ETH, *((listing(f"X{number}USDT"), 5e7, float(10 * number)) for number in range(8))]
    mixed = rows.copy()
    random.Random(4).shuffle(mixed)

    assert refresh(Rules(most=6), market(*rows), NOW) == refresh(Rules(most=6), market(*mixed), NOW)


NAMES: Final = tuple(f"S{number}USDT" for number in range(9))
figures = st.tuples(
    st.sampled_from(["TRADING", "TRADING", "TRADING", "TRADING", "SETTLING"]),
    st.sampled_from([0.0, 2.5e6, 8e6, 1e7, 2e7, 1e9]),
    st.sampled_from([0.0, -13.0, 25.0]),
    st.sampled_from([1.0, 50.0, 400.0]),
)
markets = st.lists(
    st.tuples(st.integers(0, 40 * HOUR), st.lists(figures, min_size=9, max_size=9)), min_size=1, max_size=12
)


@settings(max_examples=60)
@given(markets, st.sampled_from([None, 1, 4]), st.integers(1, 40))
def test_the_record_brings_back_the_universe_of_any_refresh(
    told: list[tuple[int, list[tuple[str, float, float, float]]]], most: int | None, kept: int
) -> None:
    rules = Rules(most=most, cut_buffer=1, pins=NAMES[:1])
    merged: Merged | None = None
    history, bounded, was = History(), History(most=kept), {}
    time = NOW
    for gap, rows in told:
        time += gap
        items = [
            (listing(name, days=days, status=status), turnover, change)
            for name, (status, turnover, change, days) in zip(NAMES, rows, strict=True)
        ]
        seen = market(*items, time=time, exclude=NAMES[-1:])
        try:
            merged, changes = refresh(rules, seen, time, merged)
        except DefinitionError:
            continue
        for change in changes:
            history.record(change)
            bounded.record(change)
        was[time] = merged.symbols
        trading = {item.symbol for item, _, _ in items if item.trading}
        assert set(merged.symbols) <= trading - {NAMES[-1]}
        assert (NAMES[0] in merged.symbols) == (NAMES[0] in trading)
        assert len(merged.symbols) <= (most or len(NAMES))
        assert [merged.metadata[name].rank for name in merged.symbols] == sorted(
            item.rank for item in merged.metadata.values()
        )
        assert msgspec.json.decode(msgspec.json.encode(merged), type=Merged) == merged
        assert refresh(rules, seen, time, merged) == (merged, ())

    for moment, symbols in was.items():
        assert history.at(moment) == tuple(sorted(symbols))
        if bounded.since is not None and moment >= bounded.since:
            assert bounded.at(moment) == tuple(sorted(symbols))


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 14), st.frozensets(st.integers(0, 11)))
def test_a_cut_is_full_and_moves_by_its_buffer_at_most(
    count: int, most: int, buffer: int, inside: frozenset[int]
) -> None:
    ordered = [str(number) for number in range(count)]
    members = {str(number) for number in inside}
    kept = _cut(ordered, members, most, buffer)

    assert len(kept) == min(count, most)
    assert {*ordered[: max(0, most - buffer)]} <= kept <= {*ordered[: most + buffer]}
    assert _cut(ordered, kept, most, buffer) == kept


def test_time_never_runs_backwards() -> None:
    first = refresh(RULES, market(BTC, ETH), NOW).merged
    found = refresh(RULES, market(BTC), NOW - HOUR, first)

    assert found.merged.time == NOW
    assert [item.time for item in found.changes] == [NOW]
