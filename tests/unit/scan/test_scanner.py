import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest

from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors import library
from klinehub.factors.engine import evaluate
from klinehub.factors.library import STOCK
from klinehub.panel.panel import Panel
from klinehub.scan import scanner as module
from klinehub.scan.scanner import PanelView, Scanner, ScanResult, default_timeframe
from klinehub.scan.score import DEFAULT_WEIGHTS

Panels = dict[str, Any]
Make = Callable[..., Panels]

pytestmark = pytest.mark.timeout(120)

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "1000PEPEUSDT")


def scan(panels: Panels, bar: int | None = None, **options: Any) -> ScanResult:
    return Scanner(panels, **{"benchmark": "BTCUSDT", **options}).scan(bar)


def holed(panel: Any, row: int, bars: slice) -> Any:
    fields = panel.fields.copy()
    fields[:, row, bars] = np.nan
    return panel.changed(fields)


def a_panel_is_what_a_scan_reads(panel: Panel) -> PanelView:
    return panel


def test_every_symbol_is_scored_and_its_points_are_the_score(panels: Panels) -> None:
    found = scan(panels)

    assert (found.timeframe, found.symbols, found.signals_found) == ("15m", 6, 6)
    assert (found.warming, found.missing, found.unavailable) == ((), (), ())
    assert found.weights == DEFAULT_WEIGHTS
    assert {hit.symbol for hit in found.results} == set(SYMBOLS)
    for hit in found.results:
        parts = list(hit.contributions.values())
        assert list(hit.contributions) == [item.name for item in STOCK]
        assert sum(parts) == sum(reversed(parts)) == math.fsum(parts) == hit.score
        assert hit.price == panels["15m"].fields[3, SYMBOLS.index(hit.symbol), -1]
        assert hit.side == ("flat" if abs(hit.score) < 20 else "long" if hit.score > 0 else "short")


def test_the_newest_closed_bar_is_scanned_unless_another_is_asked_for(panels: Panels) -> None:
    newest = panels["15m"].closed_bar
    found = scan(panels)

    assert found.bar == newest
    assert found.bar_open_time == panels["15m"].timeframe.open_time(newest)
    assert scan(panels, newest) == found
    assert scan(panels, newest - 1).bar_open_time == found.bar_open_time - 900_000


def test_a_score_is_the_weighted_squash_of_the_factors_on_the_right_timeframe(panels: Panels) -> None:
    found = scan(panels)
    frames = {0: "15m", 1: "1h", -1: "5m"}
    for item in STOCK:
        panel = panels[frames[item.step]]
        block = panel.block(panel.closed_bar, item.window)
        opinions = item.squash(evaluate(item, block, block.close[0]))
        expected = np.trunc(item.weight * opinions * 64) / 64

        assert [
            next(hit for hit in found.results if hit.symbol == name).contributions[item.name]
            for name in SYMBOLS
        ] == expected.tolist()


def test_results_are_ranked_by_size_or_by_score_with_ties_by_name(make: Make) -> None:
    panels = make(seed=2)
    twins = {
        name: panel.changed(np.ascontiguousarray(panel.fields[:, [0, 1, 1, 2, 3, 1]]))
        for name, panel in panels.items()
    }
    by_size, by_score = scan(twins).results, scan(twins, order="score").results

    assert [(-abs(h.score), h.symbol) for h in by_size] == sorted((-abs(h.score), h.symbol) for h in by_size)
    assert [(-h.score, h.symbol) for h in by_score] == sorted((-h.score, h.symbol) for h in by_score)
    assert by_size != by_score
    alike = [hit.symbol for hit in by_size if hit.symbol in {"ETHUSDT", "SOLUSDT", "1000PEPEUSDT"}]
    assert alike == ["1000PEPEUSDT", "ETHUSDT", "SOLUSDT"]


def test_min_score_makes_a_result_and_the_limit_cuts_the_list_only(panels: Panels) -> None:
    every = scan(panels).results
    floor = abs(every[2].score)
    found = scan(panels, min_score=floor, limit=2)

    assert found.signals_found == sum(abs(hit.score) >= floor for hit in every) == 3
    assert found.results == every[:2]
    assert found.symbols == 6


def test_a_symbol_with_three_bars_is_warming_and_never_scored(panels: Panels) -> None:
    young = {name: holed(panel, 3, slice(None, -3)) for name, panel in panels.items()}
    found, clean = scan(young), scan(panels)

    assert (found.warming, found.missing, found.symbols) == (("XRPUSDT",), (), 5)
    assert found.results == tuple(hit for hit in clean.results if hit.symbol != "XRPUSDT")


@pytest.mark.parametrize("name", ["5m", "15m", "1h"])
def test_a_hole_in_any_timeframe_that_is_read_is_warming(panels: Panels, name: str) -> None:
    panels[name] = holed(panels[name], 4, slice(-100, -99))

    assert scan(panels).warming == ("DOGEUSDT",)


def test_a_symbol_without_the_bar_itself_is_missing_not_warming(panels: Panels) -> None:
    panels["15m"] = holed(panels["15m"], 1, slice(-1, None))
    found = scan(panels)

    assert (found.missing, found.warming, found.symbols) == (("ETHUSDT",), (), 5)
    assert "ETHUSDT" not in {hit.symbol for hit in found.results}


def test_a_symbol_without_the_bar_is_missing_even_when_all_that_is_read_is_there(panels: Panels) -> None:
    panels["15m"] = holed(panels["15m"], 1, slice(-1, None))
    found = scan(panels, weights={"trend_larger": 1})

    assert (found.missing, found.warming, found.symbols, found.signals_found) == (("ETHUSDT",), (), 5, 5)
    assert "ETHUSDT" not in {hit.symbol for hit in found.results}


def test_a_bar_that_nobody_has_is_missing_for_all(panels: Panels) -> None:
    found = scan(panels, panels["15m"].closed_bar + 1)

    assert (found.missing, found.results, found.symbols, found.signals_found) == (SYMBOLS, (), 0, 0)


def test_factors_that_cannot_be_had_are_named_and_their_weight_is_shared(panels: Panels) -> None:
    bare = scan({"15m": panels["15m"]}, benchmark=None, unavailable=library.reading(library.FLOW_FIELDS))

    assert bare.unavailable == ("trend_larger", "trend_smaller", "taker_delta", "relative_strength")
    assert set(bare.weights) == set(DEFAULT_WEIGHTS) - set(bare.unavailable)
    assert sum(bare.weights.values()) == pytest.approx(100.0, rel=1e-14)
    assert bare.weights["trend"] == pytest.approx(100 * 14 / 68)
    assert all(set(hit.contributions) == set(bare.weights) for hit in bare.results)
    assert bare.symbols == 6


def test_a_hole_in_the_benchmark_leaves_its_factor_out_instead_of_every_symbol(panels: Panels) -> None:
    panels["15m"] = holed(panels["15m"], 0, slice(-5, -4))
    found = scan(panels)

    assert found.unavailable == ("relative_strength",)
    assert (found.warming, found.symbols) == (("BTCUSDT",), 5)


def test_a_benchmark_that_is_not_in_the_panel_leaves_its_factor_out(panels: Panels) -> None:
    assert scan(panels, benchmark="BTCUSDC").unavailable == ("relative_strength",)


def test_only_the_weighted_factors_are_read(panels: Panels) -> None:
    found = scan(panels, weights={"rsi": 2, "donchian": -2})

    assert found.weights == {"rsi": 50.0, "donchian": -50.0}
    assert found.unavailable == ()
    assert {bar for panel in (panels["5m"], panels["1h"]) for bar in panel.asked} == set()
    assert max(length for _, length in panels["15m"].asked) == 120


def test_the_lookback_of_each_timeframe_is_its_longest_window(panels: Panels) -> None:
    assert Scanner(panels, benchmark="BTCUSDT").lookback == {"5m": 240, "15m": 240, "1h": 240}
    assert Scanner(panels, weights={"rsi": 1, "trend_larger": 1}).lookback == {"15m": 120, "1h": 240}


def test_panels_with_other_rows_are_read_by_name(make: Make) -> None:
    panels, mixed = make(), make()
    order = [2, 0, 5, 1, 4]
    fields = np.ascontiguousarray(mixed["1h"].fields[:, order])
    mixed["1h"] = type(mixed["1h"])("1h", mixed["1h"].first, fields, tuple(SYMBOLS[i] for i in order))
    found = scan(mixed)

    assert found.warming == ("XRPUSDT",)
    assert found.results == tuple(hit for hit in scan(panels).results if hit.symbol != "XRPUSDT")


def test_a_symbol_listed_while_the_scan_reads_waits_for_the_next(panels: Panels) -> None:
    expected = scan(panels)
    for panel in panels.values():
        panel.fields = np.concatenate((panel.fields, panel.fields[:, :1]), axis=1)
        whole = panel.fields

        def grown(bar: int, length: int, panel: Any = panel, whole: np.ndarray = whole) -> Any:
            return type(panel)(panel.timeframe.name, panel.first, whole, (*SYMBOLS, "NEWUSDT")).block(
                bar, length
            )

        panel.block = grown

    assert scan(panels) == expected


def future_changed(panels: Panels, time: int) -> Panels:
    """Other numbers in every bar that closes after *time*."""
    rng = np.random.default_rng(9)
    changed = {}
    for name, panel in panels.items():
        fields = panel.fields.copy()
        first = next(
            at for at in range(fields.shape[2] + 1) if panel.timeframe.close_time(panel.first + at) > time
        )
        fields[:, :, first:] *= rng.uniform(0.5, 1.5, fields[:, :, first:].shape)
        changed[name] = panel.changed(fields)
    return changed


def leaky(frame: Timeframe, main: Timeframe, bar: int) -> int:
    """Give the bar that holds the scan's bar, finished or not: the usual mistake."""
    return frame.index(main.open_time(bar))


@pytest.mark.parametrize("back", range(1, 9))
def test_bars_that_close_later_never_change_a_scan(panels: Panels, back: int) -> None:
    bar = panels["15m"].closed_bar - back
    time = panels["15m"].timeframe.close_time(bar)

    assert scan(future_changed(panels, time), bar) == scan(panels, bar)


def test_a_planted_look_ahead_is_caught(panels: Panels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable", leaky)
    caught = 0
    for back in range(1, 9):
        bar = panels["15m"].closed_bar - back
        time = panels["15m"].timeframe.close_time(bar)
        caught += scan(future_changed(panels, time), bar) != scan(panels, bar)

    # Whole hours end where their last quarter ends: only there the mistake does not show.
    assert caught == 6


def test_a_scan_while_live_is_the_scan_of_the_same_bars_later(panels: Panels) -> None:
    bar = panels["15m"].closed_bar - 6
    time = panels["15m"].timeframe.close_time(bar)
    live = {}
    for name, panel in panels.items():
        kept = sum(
            panel.timeframe.close_time(panel.first + at) <= time for at in range(panel.fields.shape[2])
        )
        live[name] = panel.changed(panel.fields[:, :, :kept])
    late_start = {name: panel.changed(panel.fields) for name, panel in live.items()}
    for panel in late_start.values():
        cut = panel.fields.shape[2] - 240
        panel.first, panel.fields = panel.first + cut, panel.fields[:, :, cut:]

    expected = scan(panels, bar)
    assert expected.symbols == 6
    assert scan(live) == expected
    assert scan(late_start) == expected


def test_two_scans_of_the_same_bars_are_equal_and_print_as_json(panels: Panels) -> None:
    found = scan(panels)

    assert scan(panels) == found
    assert msgspec.json.decode(msgspec.json.encode(found), type=ScanResult) == found


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


def test_warm_up_compiles_all_that_a_scan_runs(panels: Panels) -> None:
    Scanner(panels, benchmark="BTCUSDT").warm_up()
    assert all(panel.asked == [(panel.closed_bar, 1)] for panel in panels.values())

    kernels: list[Any] = [item.kernel for item in STOCK]
    before = [list(kernel.signatures) for kernel in kernels]
    scan(panels)

    assert all(len(signatures) == 1 for signatures in before)
    assert before == [list(kernel.signatures) for kernel in kernels]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"timeframe": "15M"}, UnknownName, r"Unknown timeframe '15M'.*'15m'"),
        ({"weights": {"momentun": 1}}, UnknownName, r"Unknown factor 'momentun'.*'momentum'"),
        ({"unavailable": ["taker"]}, UnknownName, r"Unknown factor 'taker'.*'taker_delta'"),
        ({"order": "scores"}, UnknownName, r"Unknown order 'scores'.*'score'"),
        ({"limit": 0}, DefinitionError, "set 1 or more"),
        ({"weights": {"rsi": 1}, "unavailable": ["rsi"]}, DefinitionError, r"\(rsi\) can be had"),
        ({"weights": {"relative_strength": 1}, "benchmark": None}, DefinitionError, "can be had"),
    ],
)
def test_wrong_options_are_refused_at_once(
    panels: Panels,
    options: Mapping[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    with pytest.raises(error, match=words):
        scan(panels, **options)


def test_a_scan_of_no_timeframe_is_refused() -> None:
    with pytest.raises(DefinitionError, match="at least one timeframe"):
        Scanner({})
