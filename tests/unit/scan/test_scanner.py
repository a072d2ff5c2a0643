"""Scans: who is judged, what a score is made of, and that nothing of it comes from a later bar."""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import pytest
from tests.unit.scan.conftest import SYMBOLS, MakePanels, Panels, changed, holed, until

from klinehub.domain.timeframe import TIMEFRAMES, Timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors import engine
from klinehub.factors.define import Window, factor
from klinehub.factors.engine import Engine
from klinehub.factors.expr import const, field
from klinehub.factors.points import Part
from klinehub.factors.stock import BY_NAME, stock_factor
from klinehub.panel.history import History
from klinehub.panel.panel import Panel
from klinehub.panel.view import PanelView
from klinehub.scan.scanner import Scanner, ScanResult, default_screen, default_timeframe, needs
from klinehub.scan.score import _PARTS, DEFAULT_WEIGHTS, PARTS, reading
from klinehub.scan.screen import Screen

pytestmark = pytest.mark.timeout(120)

CLOSE: Final = field("close")
FRAMES: Final = dict.fromkeys(PARTS, "15m") | {"trend_larger": "1h", "trend_smaller": "5m"}


def scanner(panels: Mapping[str, PanelView], benchmark: str | None = "BTCUSDT", **options: Any) -> Scanner:
    wanted = default_screen(panels, benchmark=benchmark is not None, **options)
    return Scanner(panels, [wanted], benchmark=benchmark)


def scan(panels: Panels, bar: int | None = None, **options: Any) -> ScanResult:
    return scanner(panels, **options).scan(bar)[0]


def found(panels: Panels, **screen: Any) -> ScanResult:
    return Scanner(panels, [Screen(name="a", timeframe="15m", **screen)], benchmark="BTCUSDT").scan()[0]


def named(result: ScanResult) -> list[str]:
    return [hit.symbol for hit in result.results]


def a_panel_is_what_a_scan_reads(panel: Panel) -> PanelView:
    return panel


def test_every_symbol_is_scored_and_its_points_are_the_score(panels: Panels) -> None:
    result = scan(panels)

    assert (result.timeframe, result.symbols, result.signals_found) == ("15m", 6, 6)
    assert (result.warming, result.missing, result.unavailable) == ((), (), ())
    assert result.weights == DEFAULT_WEIGHTS
    assert {*named(result)} == {*SYMBOLS}
    for hit in result.results:
        parts = list(hit.contributions.values())
        assert tuple(hit.contributions) == PARTS
        assert sum(parts) == sum(reversed(parts)) == math.fsum(parts) == hit.score
        assert hit.price == panels["15m"].planes[3, SYMBOLS.index(hit.symbol), -1]
        assert hit.side == ("flat" if abs(hit.score) < 20 else "long" if hit.score > 0 else "short")


def test_the_newest_closed_bar_is_scanned_unless_another_is_asked_for(panels: Panels) -> None:
    newest = panels["15m"].closed_bar
    result = scan(panels)

    assert result.bar == newest
    assert result.bar_open_time == panels["15m"].timeframe.open_time(newest)
    assert scan(panels, newest) == result
    assert scan(panels, newest - 1).bar_open_time == result.bar_open_time - 900_000


def test_a_score_is_the_weighted_squash_of_the_factors_on_the_right_timeframe(panels: Panels) -> None:
    result = scan(panels)
    for part, (name, weight, scale, centre) in _PARTS.items():
        frame = FRAMES[part]
        alone = Engine({"a": stock_factor(name)()}, {frame: panels[frame]}, frame, benchmark="BTCUSDT")
        r = (alone.at(panels[frame].closed_bar)["a"][:, 0] - centre) / scale
        expected = np.trunc(weight * (r / np.sqrt(1 + r * r)) * 64) / 64

        assert [
            next(hit for hit in result.results if hit.symbol == symbol).contributions[part]
            for symbol in SYMBOLS
        ] == expected.tolist()


def test_hits_are_ranked_by_the_size_of_their_score_with_ties_by_name(make: MakePanels) -> None:
    twins = {
        name: changed(panel, panel.planes[:, [0, 1, 1, 2, 3, 1]]) for name, panel in make(seed=2).items()
    }
    result = scan(twins)
    order = [(-abs(hit.score or 0.0), hit.symbol) for hit in result.results]

    assert order == sorted(order)
    alike = [name for name in named(result) if name in {"ETHUSDT", "SOLUSDT", "1000PEPEUSDT"}]
    assert alike == ["1000PEPEUSDT", "ETHUSDT", "SOLUSDT"]


def test_the_smallest_score_makes_a_hit_and_top_cuts_the_list_only(panels: Panels) -> None:
    every = scan(panels).results
    floor = abs(every[2].score or 0.0)
    result = scan(panels, min_score=floor, top=2)

    assert result.signals_found == sum(abs(hit.score or 0.0) >= floor for hit in every) == 3
    assert result.results == every[:2]
    assert result.symbols == 6
    assert scanner(panels).scan(min_score=floor)[0].results == every[:3]


def test_a_symbol_with_three_bars_is_warming_and_never_scored(panels: Panels) -> None:
    young = {name: holed(panel, 3, slice(None, -3)) for name, panel in panels.items()}
    result, clean = scan(young), scan(panels)

    assert (result.warming, result.missing, result.symbols) == (("XRPUSDT",), (), 5)
    assert result.results == tuple(hit for hit in clean.results if hit.symbol != "XRPUSDT")


@pytest.mark.parametrize("name", ["5m", "15m", "1h"])
def test_a_hole_in_any_timeframe_that_is_read_is_warming(panels: Panels, name: str) -> None:
    panels[name] = holed(panels[name], 4, slice(-100, -99))

    assert scan(panels).warming == ("DOGEUSDT",)


@pytest.mark.parametrize("weights", [None, {"trend_larger": 1.0}])
def test_a_symbol_without_the_bar_itself_is_missing_not_warming(
    panels: Panels, weights: dict[str, float] | None
) -> None:
    panels["15m"] = holed(panels["15m"], 1, slice(-1, None))
    result = scan(panels, weights=weights)

    assert (result.missing, result.warming, result.symbols) == (("ETHUSDT",), (), 5)
    assert "ETHUSDT" not in named(result)


def test_a_bar_that_nobody_has_is_missing_for_all(panels: Panels) -> None:
    result = scan(panels, panels["15m"].closed_bar + 1)

    assert (result.missing, result.results, result.symbols) == (SYMBOLS, (), 0)


def test_a_market_without_a_bar_or_a_symbol_gives_an_empty_scan(panels: Panels) -> None:
    none = {name: History(panel.timeframe, (), 0, np.empty((9, 0, 0))) for name, panel in panels.items()}
    result = scan(none, 7)

    assert (result.results, result.symbols, result.warming, result.missing) == ((), 0, (), ())


def test_parts_that_can_not_be_had_are_named_and_their_weight_is_shared(panels: Panels) -> None:
    flow = reading({"taker_base", "taker_quote"})
    bare = scan({"15m": panels["15m"]}, benchmark=None, unavailable=flow)

    assert bare.unavailable == ("trend_larger", "trend_smaller", "taker_delta", "relative_strength")
    assert {*bare.weights} == {*DEFAULT_WEIGHTS} - {*bare.unavailable}
    assert sum(bare.weights.values()) == pytest.approx(100.0, rel=1e-14)
    assert bare.weights["trend"] == pytest.approx(100 * 14 / 68)
    assert all({*hit.contributions} == {*bare.weights} for hit in bare.results)
    assert bare.symbols == 6


def test_a_hole_in_the_benchmark_leaves_its_part_out_instead_of_every_symbol(panels: Panels) -> None:
    panels["15m"] = holed(panels["15m"], 0, slice(-5, -4))
    result = scan(panels)

    assert result.unavailable == ("relative_strength",)
    assert (result.warming, result.symbols) == (("BTCUSDT",), 5)
    assert result.weights["trend"] == pytest.approx(100 * 14 / 94)
    assert all(hit.contributions["relative_strength"] == 0.0 for hit in result.results)


def test_a_benchmark_that_is_not_there_leaves_out_what_reads_it_and_nothing_else(panels: Panels) -> None:
    assert scan(panels, benchmark="BTCUSDC").unavailable == ("relative_strength",)

    ratio = Part("ratio", CLOSE / field("benchmark"), 1.0, 1.0)
    size = Part("size", CLOSE, 3.0, 1.0)
    mine = Scanner(panels, [Screen(name="a", timeframe="15m", score=(ratio, size))]).scan()[0]
    assert (mine.unavailable, mine.weights, mine.symbols) == (("ratio",), {"size": 100.0}, 6)


def test_where_no_part_counts_nobody_is_scored(panels: Panels) -> None:
    result = scan(panels, benchmark="BTCUSDC", weights={"relative_strength": 1.0})

    assert (result.symbols, result.warming, result.results) == (0, SYMBOLS, ())
    assert (result.weights, result.unavailable) == ({}, ("relative_strength",))


def test_only_the_weighted_parts_are_read(panels: Panels) -> None:
    result = scan({"15m": panels["15m"]}, weights={"rsi": 2.0, "donchian": -2.0})

    assert result.weights == {"rsi": 50.0, "donchian": -50.0}
    assert result.unavailable == ()


def test_the_bars_that_are_read_are_the_longest_warm_up_and_a_block(panels: Panels) -> None:
    assert scanner(panels).rows == {"5m": 354, "15m": 350, "1h": 351}
    assert scanner(panels, weights={"rsi": 1.0, "trend_larger": 1.0}).rows == {"15m": 236, "1h": 351}
    assert needs(("15m", "1h"), "15m", {"rsi": 1.0}) == {"15m": 236}


def test_what_is_needed_is_enough_whatever_bar_is_scanned(panels: Panels) -> None:
    """No symbol waits for more, wherever in its block the bar lies, with what was fetched beforehand."""
    rows = needs(panels)
    for back in range(0, 140, 9):
        bar = panels["15m"].closed_bar - back
        heads = until(panels, panels["15m"].timeframe.close_time(bar))
        least = {name: one.since(one.closed_bar - rows[name] + 1) for name, one in heads.items()}

        assert scan(least) == scan(panels, bar)
        assert scan(least).symbols == 6


def test_panels_with_other_rows_are_read_by_name(panels: Panels) -> None:
    expected = tuple(hit for hit in scan(panels).results if hit.symbol != "XRPUSDT")
    order, hours = [2, 0, 5, 1, 4], panels["1h"]
    panels["1h"] = History(hours.timeframe, [SYMBOLS[n] for n in order], hours.first, hours.planes[:, order])
    result = scan(panels)

    assert result.warming == ("XRPUSDT",)
    assert result.results == expected


def test_a_symbol_that_is_listed_meanwhile_is_in_the_next_scan_and_changes_no_other(panels: Panels) -> None:
    running = scanner(panels)
    before = running.scan()[0]
    for panel in panels.values():
        panel.planes = np.concatenate((panel.planes, panel.planes[:, 2:3]), axis=1)
        panel.planes[:, -1, :-4] = np.nan
        panel.symbols, panel.changes = (*SYMBOLS, "NEWUSDT"), np.zeros(7, np.int64)
    after = running.scan()[0]

    assert (after.warming, after.symbols) == (("NEWUSDT",), 6)
    assert after.results == before.results
    assert after == scan(panels)


def future_changed(panels: Panels, time: int) -> Panels:
    """Other numbers in every bar that closes after *time*."""
    rng = np.random.default_rng(9)
    other = {}
    for name, panel in panels.items():
        bars = panel.planes.copy()
        first = max(0, panel.timeframe.index(time + 1) - panel.first)
        bars[:, :, first:] *= rng.uniform(0.5, 1.5, bars[:, :, first:].shape)
        other[name] = changed(panel, bars)
    return other


def leaky(frame: Timeframe, main: Timeframe, bar: int) -> int:
    """Give the bar that holds the scan's bar, finished or not: the usual mistake."""
    return frame.index(main.open_time(bar))


@pytest.mark.parametrize("back", range(1, 9))
def test_bars_that_close_later_never_change_a_scan(panels: Panels, back: int) -> None:
    bar = panels["15m"].closed_bar - back
    time = panels["15m"].timeframe.close_time(bar)

    assert scan(future_changed(panels, time), bar) == scan(panels, bar)


def test_a_planted_look_ahead_is_caught(panels: Panels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "usable", leaky)
    caught = 0
    for back in range(1, 9):
        bar = panels["15m"].closed_bar - back
        time = panels["15m"].timeframe.close_time(bar)
        caught += scan(future_changed(panels, time), bar) != scan(panels, bar)

    # Whole hours end where their last quarter ends: only there the mistake does not show.
    assert caught == 6


def test_a_scan_while_live_is_the_scan_of_the_same_bars_later(panels: Panels) -> None:
    frame = panels["15m"].timeframe
    live = until(panels, frame.close_time(panels["15m"].closed_bar - 12))
    running = scanner(live)
    for back in range(12, 5, -1):
        bar = panels["15m"].closed_bar - back
        heads = until(panels, frame.close_time(bar))
        for name, panel in heads.items():
            live[name].planes = panel.planes

        assert running.scan()[0] == scan(panels, bar)
    late = {name: panel.since(panel.closed_bar - 399) for name, panel in live.items()}
    assert scan(late) == scan(panels, panels["15m"].closed_bar - 6)


def test_two_scans_of_the_same_bars_are_equal_and_print_as_json(panels: Panels) -> None:
    result = scan(panels)

    assert scan(panels) == result
    assert msgspec.json.decode(msgspec.json.encode(result), type=ScanResult) == result


def test_screens_on_one_scanner_share_terms_and_do_not_disturb_each_other(panels: Panels) -> None:
    rsi, larger = stock_factor("rsi"), stock_factor("trend")().on("1h")
    falling = Screen(name="falling", timeframe="15m", where=larger < 0.0, columns={"rsi": rsi()})
    weak = Screen(
        name="weak", timeframe="15m", where=rsi() < rsi().mean(), order_by=rsi(), columns={"trend": larger}
    )
    usual = default_screen(panels)
    several = Scanner(panels, [falling, usual, weak], benchmark="BTCUSDT")
    alone = [Scanner(panels, [one], benchmark="BTCUSDT") for one in (falling, usual, weak)]

    assert several.scan() == tuple(one.scan()[0] for one in alone)
    factors = [step for step in several.engine.plan.steps if step.term.op == "factor"]
    assert len(factors) == len({*factors}) == len(PARTS)
    assert repr(several) == "<Scanner 15m, falling, score, weak>"


def test_hits_come_in_the_order_that_is_asked_for_with_unknown_values_last(panels: Panels) -> None:
    dear = CLOSE.mean() < CLOSE
    by_volume = found(panels, order_by=field("volume"))
    partly = found(panels, order_by=-field("volume").where(~dear), columns={"dear": dear}, top=6)

    assert named(by_volume) == [SYMBOLS[n] for n in np.argsort(panels["15m"].planes[4, :, -1])]
    order = [name for name in reversed(named(by_volume)) if name != "1000PEPEUSDT"]
    assert named(partly) == [*order, "1000PEPEUSDT"]
    assert [hit.columns["dear"] for hit in partly.results] == [0.0] * 5 + [1.0]


def test_among_equals_and_among_unknown_ones_hits_come_by_name(panels: Panels) -> None:
    assert named(found(panels, order_by=const(3))) == sorted(SYMBOLS)
    assert named(found(panels, order_by=const(math.nan))) == sorted(SYMBOLS)


def test_without_a_score_there_is_no_side_and_nothing_to_explain(panels: Panels) -> None:
    result = found(panels, where=CLOSE > 0)
    hit = result.results[0]

    assert (hit.score, hit.side, hit.contributions, hit.columns) == (None, "flat", {}, {})
    assert (result.weights, result.unavailable, result.signals_found) == ({}, (), 6)


def test_a_side_is_that_which_the_hit_shows(panels: Panels) -> None:
    parts = (Part("z", field("volume").zscore(), 1.0, 1.0),)
    every = found(panels, score=parts).results
    for side in ("long", "short"):
        hits = found(panels, score=parts, side=side).results
        assert hits == tuple(hit for hit in every if hit.side == side)
        assert hits

    nothing = (Part("z", CLOSE - CLOSE, 1.0, 1.0),)
    assert found(panels, score=nothing, side="short", side_from=0.0).results == ()


def test_what_is_not_known_of_a_column_is_none_and_of_a_condition_is_warming(panels: Panels) -> None:
    cheap = CLOSE.mean() > CLOSE
    shown = found(panels, columns={"cheap": CLOSE.where(cheap), "price": CLOSE})
    known = found(panels, where=CLOSE.where(cheap) > 0.0)
    prices = {hit.symbol: hit.columns for hit in shown.results}

    assert prices["1000PEPEUSDT"]["cheap"] is None
    assert all(one["cheap"] == one["price"] for name, one in prices.items() if name != "1000PEPEUSDT")
    assert known.warming == ("1000PEPEUSDT",)
    assert known.signals_found == known.symbols == 5
    assert msgspec.json.decode(msgspec.json.encode(shown), type=ScanResult) == shown


@factor(window=1)
def inverse(close: Window, shift: float = 0.0) -> float:
    """One over the distance to a price; refuses negative prices."""
    if close[0] < 0.0:
        raise ValueError("a negative price")
    return float(1.0 / (close[0] - shift))


def test_an_infinite_value_of_a_factor_is_unknown(panels: Panels) -> None:
    price = float(panels["15m"].planes[3, 2, -1])
    result = found(panels, where=inverse(price).known(), columns={"sum": inverse(price) + 1})

    assert sorted({*SYMBOLS} - {*named(result)}) == ["SOLUSDT"]
    assert (result.warming, result.symbols) == ((), 6)
    assert found(panels, where=inverse(price) < math.inf).warming == ("SOLUSDT",)


def test_a_factor_that_raises_ends_the_scan_with_a_sentence_and_leaves_no_trace(panels: Panels) -> None:
    clean = panels["15m"].planes.copy()
    wanted = Screen(name="a", timeframe="15m", columns={"rsi": stock_factor("rsi")(), "inverse": inverse()})
    running = Scanner(panels, [wanted])
    running.scan(panels["15m"].closed_bar - 1)
    panels["15m"].planes[3, 3, -1] = -1.0
    for _ in range(2):
        with pytest.raises(DefinitionError, match=r"inverse\(0\) raised ValueError: a negative price"):
            running.scan()

    panels["15m"].planes[:] = clean
    assert running.scan() == Scanner(panels, [wanted]).scan()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1h", "1m", "15m", "5m"], "15m"),
        (["15m", "30m", "1h", "2h"], "30m"),
        (["1h", "4h", "1d"], "4h"),
        (["1m", "3m", "5m", "1h"], "5m"),
        (["1m", "5m", "15m"], "5m"),
        (["1m", "5m", "15m", "1h", "4h"], "15m"),
        (["5m", "15m", "1h"], "15m"),
        (["5m", "1h"], "5m"),
        (["4h"], "4h"),
    ],
)
def test_the_default_timeframe_has_a_larger_and_a_smaller_one_where_there_are(
    names: list[str], expected: str
) -> None:
    assert default_timeframe(names) == expected


def test_warm_up_compiles_all_that_a_scan_runs(panels: Panels, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scanner(panels)
    made.warm_up()
    monkeypatch.setattr("klinehub.factors.loops._made", lambda one: pytest.fail(f"{one} was not compiled"))

    assert made.scan()[0].symbols == 6


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"timeframe": "15M"}, UnknownName, r"Unknown timeframe '15M'.*'15m'"),
        ({"weights": {"momentun": 1}}, UnknownName, r"Unknown factor 'momentun'.*'momentum'"),
        ({"unavailable": ["taker"]}, UnknownName, r"Unknown factor 'taker'.*'taker_delta'"),
        ({"top": 0}, DefinitionError, "top is 0"),
        ({"weights": {"rsi": 1}, "unavailable": ["rsi"]}, DefinitionError, r"\(rsi\) can be had"),
        ({"weights": {"relative_strength": 1}, "benchmark": None}, DefinitionError, "can be had"),
    ],
)
def test_wrong_options_are_refused_at_once(
    panels: Panels, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        scan(panels, **options)


def test_a_scanner_that_could_scan_nothing_is_refused(panels: Panels) -> None:
    for none in (lambda: default_screen(()), lambda: Scanner({}, [Screen(name="a")])):
        with pytest.raises(DefinitionError, match="at least one timeframe"):
            none()
    mixed = [Screen(name="a", timeframe="15m"), Screen(name="b", timeframe="1h")]
    with pytest.raises(DefinitionError, match=r"one timeframe, not \['15m', '1h'\]"):
        Scanner(panels, mixed)
    with pytest.raises(UnknownName, match="Unknown timeframe '4h'"):
        Scanner(panels, [Screen(name="a", timeframe="4h")])
    with pytest.raises(DefinitionError, match="asked for on 4h, which is not kept"):
        Scanner(panels, [Screen(name="a", columns={"x": BY_NAME["rsi"]().on("4h")})])


def test_every_timeframe_can_be_the_scan_s_own(panels: Panels) -> None:
    assert [scan(panels, timeframe=name).symbols for name in TIMEFRAMES if name in panels] == [6, 6, 6]
    assert scan(panels, timeframe="1h").unavailable == ("trend_larger",)
    assert scan(panels, timeframe="5m").unavailable == ("trend_smaller",)
