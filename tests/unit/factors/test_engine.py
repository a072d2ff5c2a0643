"""The engine: live and on history the same numbers, to the last bit, whatever happens to the bars."""

from typing import Final

import numpy as np
import pytest
from tests.unit.factors.markets import BASE, FIRST, HOUR, Live, histories, names, planes

from klinehub.errors import DefinitionError
from klinehub.factors.define import Bar, State, Window, factor
from klinehub.factors.engine import Engine, usable
from klinehub.factors.expr import Expr, field
from klinehub.factors.points import Part, score
from klinehub.panel.history import History
from klinehub.panel.memory import F64

pytestmark = pytest.mark.timeout(120)
BARS: Final = 960
KEEP: Final = 420


@factor(window=lambda n: n + 1)
def efficiency(close: Window, n: int = 20) -> float:
    """Net move over path length."""
    path = 0.0
    for i in range(1, close.size):
        path += abs(close[i] - close[i - 1])
    return float((close[-1] - close[0]) / path if path > 0.0 else 0.0)


@factor(window=lambda n: n + 1)
def surge(quote_volume: Window, n: int = 24) -> float:
    """This bar's turnover over the median of those before."""
    return float(quote_volume[-1] / np.median(quote_volume[:-1]))


@factor(state=2, warmup=lambda n: 4 * n)
def average(state: State, close: Bar, n: int = 20) -> float:
    """An exponential average, begun with the mean of its first n closes."""
    age = state[0]
    state[0] = age + 1.0
    if age < n:
        state[1] += close / n
        return float(state[1]) if age == n - 1 else np.nan
    state[1] += (close - state[1]) * (2.0 / (n + 1.0))
    return float(state[1])


@factor(state=1, warmup=30)
def relative(state: State, close: Bar, benchmark: Bar, open_time: Bar) -> float:
    """Close over the benchmark's, smoothed, by the hour."""
    state[0] = 0.9 * state[0] + close / benchmark
    return float(state[0] * (open_time % 3_600_000.0 + 1.0))


def screen() -> dict[str, Expr]:
    """Every kind of term."""
    trend, busy = efficiency(n=24).on("1h"), surge()
    awake = busy > 0.5
    mixed = trend.zscore(where=awake) + busy.rank(where=awake)
    return {
        "trend": trend,
        "apart": field("close") / average() - 1,
        "mixed": mixed,
        "lagged": mixed.lag(3),
        "breadth": (field("close") > average(10)).mean(),
        "relative": relative(),
        "tame": busy.winsorize(0.1),
        "age": field("age"),
        "old hour": average(5).on("1h").lag(2).lag(5),
        "down and up": average(5).on("15m").on("1h"),
        "score": score([Part("a", trend, 3.0, 0.2), Part("b", relative(), -2.0, 900.0)]),
    }


def same(one: F64, two: F64) -> bool:
    return one.shape == two.shape and bool(((one == two) | (np.isnan(one) & np.isnan(two))).all())


@pytest.fixture(scope="module")
def market() -> dict[str, History]:
    return histories(bars=BARS)


@pytest.fixture(scope="module")
def whole(market: dict[str, History]) -> dict[str, F64]:
    """Every value of the whole history."""
    return engine(market, bars=BARS).at(FIRST + BARS - 1)


def engine(panels: dict[str, History], bars: int = 1) -> Engine:
    listed = dict.fromkeys(panels["15m"].symbols, FIRST * BASE.milliseconds)
    return Engine(screen(), panels, "15m", bars=bars, benchmark=panels["15m"].symbols[0], listed=listed)


def heads(market: dict[str, History], bar: int) -> dict[str, History]:
    """Give what was known when a bar had closed."""
    return {"15m": market["15m"].head(bar), "1h": market["1h"].head(usable(HOUR, BASE, bar))}


def test_something_is_known_of_everything(whole: dict[str, F64]) -> None:
    assert all(np.isfinite(values[:, -1]).sum() >= 10 for values in whole.values())
    assert all(np.isnan(whole[name][:, 0]).any() for name in ("trend", "apart", "mixed", "relative"))


# In the middle of an hour and at its end, at the edges of a block of 128, near gaps, at the very end.
CUTS: Final = (500, 501, 502, 503, 511, 512, 513, 638, 639, 640, 641, 777, 900, BARS - 1)


@pytest.mark.parametrize("cut", CUTS)
def test_what_was_known_then_is_what_history_says_and_the_past_never_changes(
    market: dict[str, History], whole: dict[str, F64], cut: int
) -> None:
    then = engine(heads(market, FIRST + cut), bars=cut + 1).at(FIRST + cut)

    assert [name for name in whole if not same(then[name], whole[name][:, : cut + 1])] == []


def test_bar_by_bar_from_what_a_hub_keeps_every_bit_is_that_of_the_history(
    market: dict[str, History], whole: dict[str, F64]
) -> None:
    live = {name: Live(history, KEEP) for name, history in market.items()}
    listed = dict.fromkeys(market["15m"].symbols, FIRST * BASE.milliseconds)
    stepping = Engine(screen(), live, "15m", benchmark=market["15m"].symbols[0], listed=listed)
    wrong = []
    for at in range(KEEP, BARS, 1):
        live["15m"].end = FIRST + at
        live["1h"].end = usable(HOUR, BASE, FIRST + at)
        values = stepping.at(FIRST + at)
        wrong += [(name, at) for name in whole if not same(values[name][:, 0], whole[name][:, at])]

    assert wrong == []


@pytest.mark.parametrize("skipped", [1, 2, 7, 40, 130, 300])
def test_bars_that_were_skipped_change_nothing(
    market: dict[str, History], whole: dict[str, F64], skipped: int
) -> None:
    live = {name: Live(history, KEEP) for name, history in market.items()}
    stepping = engine(live)  # type: ignore[arg-type] # a view is all that is read
    for at in (KEEP, KEEP + skipped, KEEP + skipped, KEEP + skipped + 1):
        live["15m"].end, live["1h"].end = FIRST + at, usable(HOUR, BASE, FIRST + at)
        values = stepping.at(FIRST + at)

        assert [name for name in whole if not same(values[name][:, 0], whole[name][:, at])] == []


def test_a_bar_that_was_missing_and_one_that_was_corrected_are_made_good(
    market: dict[str, History], whole: dict[str, F64]
) -> None:
    """A row without its newest bar, and one with a wrong one, are run again when the panel changes."""
    true = market["15m"].planes
    at = BARS - 60
    bars = true.copy()
    bars[:, 5, at - 1] = np.nan
    bars[3, 9, at - 4] *= 1.01
    panels = {**market, "15m": History(BASE, market["15m"].symbols, FIRST, bars)}
    live = {name: Live(history, KEEP) for name, history in panels.items()}
    stepping = engine(live)  # type: ignore[arg-type] # as above
    seen = []
    for now in (at - 1, at):
        live["15m"].end, live["1h"].end = FIRST + now, usable(HOUR, BASE, FIRST + now)
        seen.append(stepping.at(FIRST + now)["apart"][:, 0])
    assert not same(seen[-1], whole["apart"][:, at])

    bars[:] = true
    live["15m"].changes[[5, 9]] += 1
    after = stepping.at(FIRST + at)
    assert [name for name in whole if not same(after[name][:, 0], whole[name][:, at])] == []


def test_a_bar_that_comes_after_the_scan_counts_at_the_next(
    market: dict[str, History], whole: dict[str, F64]
) -> None:
    """Nothing but the bar itself was missing, so the panel counts no change: it is at the row's end."""
    true, at = market["15m"].planes, BARS - 60
    bars = true.copy()
    bars[:, 5, at] = np.nan
    live = {**{name: Live(one, KEEP) for name, one in market.items()}}
    live["15m"] = Live(History(BASE, market["15m"].symbols, FIRST, bars), KEEP)
    stepping = engine(live)  # type: ignore[arg-type] # as above
    live["15m"].end, live["1h"].end = FIRST + at, usable(HOUR, BASE, FIRST + at)
    stepping.at(FIRST + at)
    bars[:] = true
    for now in (at, at + 1):
        live["15m"].end, live["1h"].end = FIRST + now, usable(HOUR, BASE, FIRST + now)
        values = stepping.at(FIRST + now)
        assert [name for name in whole if not same(values[name][:, 0], whole[name][:, now])] == []


def test_no_value_sees_a_later_bar(market: dict[str, History], whole: dict[str, F64]) -> None:
    cut = 700
    bars = market["15m"].planes.copy()
    bars[:, :, cut + 1 :] *= 1.5
    hours = market["1h"].planes.copy()
    hours[:, :, (cut + 1) // 4 :] *= 1.5
    other = {
        "15m": History(BASE, market["15m"].symbols, FIRST, bars),
        "1h": History(HOUR, market["1h"].symbols, FIRST // 4, hours),
    }
    changed = engine(other, bars=BARS).at(FIRST + BARS - 1)

    assert [n for n in whole if not same(changed[n][:, : cut + 1], whole[n][:, : cut + 1])] == []
    assert not same(changed["apart"], whole["apart"])


def test_symbols_do_not_see_each_other_but_in_sections(
    market: dict[str, History], whole: dict[str, F64]
) -> None:
    bars = market["15m"].planes.copy()
    bars[:, 7] *= 3.0
    other = {**market, "15m": History(BASE, market["15m"].symbols, FIRST, bars)}
    changed = engine(other, bars=BARS).at(FIRST + BARS - 1)
    rows = [row for row in range(20) if row != 7]

    for name in ("apart", "relative", "trend", "old hour"):
        assert same(changed[name][rows], whole[name][rows])


def test_the_order_of_rows_changes_nothing(market: dict[str, History], whole: dict[str, F64]) -> None:
    order = np.random.default_rng(5).permutation(20)
    others = {
        name: History(one.timeframe, [one.symbols[n] for n in order], one.first, one.planes[:, order])
        for name, one in market.items()
    }
    listed = dict.fromkeys(market["15m"].symbols, FIRST * BASE.milliseconds)
    moved = Engine(screen(), others, "15m", bars=BARS, benchmark=market["15m"].symbols[0], listed=listed).at(
        FIRST + BARS - 1
    )

    assert [name for name in whole if not same(moved[name], whole[name][order])] == []


def test_a_later_start_gives_the_same_numbers_once_its_blocks_are_whole(
    market: dict[str, History], whole: dict[str, F64]
) -> None:
    later = {"15m": market["15m"].since(FIRST + 300), "1h": market["1h"].since(FIRST // 4)}
    values = engine(later, bars=BARS - 300).at(FIRST + BARS - 1)
    known = ~np.isnan(values["apart"])

    assert known.sum() > 1_000
    assert (values["apart"][known] == whole["apart"][:, 300:][known]).all()


@pytest.mark.parametrize("bars", [1, 127, 128, 129, 400])
def test_an_average_is_the_run_from_the_start_of_its_block(bars: int) -> None:
    """By hand: the run of the plain function from 80 bars before the block."""
    closes = planes(3, 1, 640)[3, 0]
    history = {"15m": History(BASE, names(3, 1), FIRST, planes(3, 1, 640))}
    last = 640 - bars
    got = Engine({"a": average()}, history, "15m").at(FIRST + last)["a"][0, 0]
    begin = (FIRST + last) // 128 * 128 - 80 - FIRST
    if begin < 0:
        assert np.isnan(got)
        return
    state = np.zeros(2)
    expected = [average.function(state, float(close), 20) for close in closes[begin : last + 1]][-1]

    assert got == expected


def test_what_the_panel_does_not_hold_is_refused_when_it_is_planned(market: dict[str, History]) -> None:
    with pytest.raises(DefinitionError, match="4h, which is not kept"):
        Engine({"a": efficiency().on("4h")}, market, "15m")
    with pytest.raises(DefinitionError, match="ask for 1 or more"):
        Engine({"a": efficiency()}, market, "15m", bars=0)


def test_infinite_values_are_unknown(market: dict[str, History]) -> None:
    values = Engine({"a": field("close") / 0, "b": (field("volume") / 0).known()}, market, "15m").at(
        FIRST + 600
    )

    assert np.isnan(values["a"]).all()
    assert (values["b"] == 0.0).all()


def test_what_lies_before_the_bars_that_are_held_is_no_hole(
    market: dict[str, History], whole: dict[str, F64]
) -> None:
    """A cache that is not full yet knows nothing of older bars: a run begun at its oldest is no whole one."""
    young = {"15m": market["15m"].since(FIRST + 300), "1h": market["1h"].since(FIRST // 4 + 75)}
    live = {name: Live(history, 900) for name, history in young.items()}
    stepping = engine(live)  # type: ignore[arg-type] # as above
    known = 0
    for at in range(500, BARS, 20):
        live["15m"].end, live["1h"].end = FIRST + at, usable(HOUR, BASE, FIRST + at)
        values = stepping.at(FIRST + at)
        for name in ("apart", "relative", "trend"):
            found = values[name][:, 0]
            there = ~np.isnan(found)
            known += int(there.sum())
            assert (found[there] == whole[name][:, at][there]).all(), (name, at)

    assert known > 500
