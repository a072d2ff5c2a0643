"""Judging: rules together find what each screen alone finds, and refuse what can not be had."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
import pytest
from tests.unit.factors.markets import histories

from klinehub.alerts.conditions import Cells, Conditions
from klinehub.alerts.judging import Judge, asked_of, condition_of
from klinehub.alerts.rule import Rule, RuleText, rule_of
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.engine import Engine
from klinehub.factors.language import condition
from klinehub.factors.stock import BY_NAME
from klinehub.panel.history import History
from klinehub.scan.copies import Ground
from klinehub.scan.running import Default, Scanning
from klinehub.scan.scanner import Scanner, Universe, default_screen
from klinehub.scan.screen import Screen

pytestmark = pytest.mark.timeout(120)
PANELS: Final = histories(symbols=12, bars=3200)
GROUND: Final = Ground(PANELS, None, {})
BARS: Final = (2800, 2801, 2805, 3100)
WANTED: Final = (
    "rsi < 45",
    "rsi < 40 and volume_surge > 1",
    "rsi_1h > 50 or close < 1",
    "rank(close) > 0.5 and not (roc > 0)",
    "close > lag(close, 2) and clip(rsi, 20, 80) >= 30.5",
    "score > 10",
    "age > 30d or known(rsi)",
    "close > 1e2",
    "close > 1e-2",
)


def base(frame: str | None) -> Screen:
    return default_screen(PANELS, frame or "15m", benchmark=False)


def rule(name: str, where: str = "", **more: Any) -> Rule:
    return rule_of(name, RuleText(where=where, **more), base, {})


def first(bar: int) -> int:
    return PANELS["15m"].first + bar


@pytest.mark.parametrize("bar", BARS)
def test_many_conditions_hold_where_each_alone_does(bar: int) -> None:
    exprs = [condition(text, {**BY_NAME}) for text in WANTED if "score" not in text]
    alone = Engine({str(n): one for n, one in enumerate(exprs)}, PANELS, "15m").at(first(bar))
    together = Conditions(exprs)
    symbols = len(PANELS["15m"].symbols)
    rows = np.tile(np.arange(symbols), len(exprs))
    together.lay_out(Cells(np.repeat(np.arange(len(exprs)), symbols), rows))
    leaves = Engine(together.leaves, PANELS, "15m").at(first(bar))

    found = together.holds({name: values[:, 0] for name, values in leaves.items()})

    wanted = np.concatenate([alone[str(n)][:, 0] for n in range(len(exprs))])
    np.testing.assert_array_equal(found, wanted)
    assert {0.0, 1.0} <= set(found.tolist())


def test_rules_of_one_shape_take_as_many_steps_as_one() -> None:
    exprs = [condition(f"rsi < {n} and volume > {n * 2}", BY_NAME) for n in range(1, 50)]
    together = Conditions(exprs)
    together.lay_out(Cells(np.arange(49), np.zeros(49, np.int64)))

    assert len(together.leaves) == 2
    assert len(together._groups) == 1


@pytest.mark.parametrize("bar", BARS)
@pytest.mark.parametrize("asked", [{}, {"min_score": 15.0}, {"side": "long"}, {"side": "short"}])
def test_a_rule_holds_for_those_that_its_screen_finds(bar: int, asked: Mapping[str, Any]) -> None:
    rules = [rule(text, text, **asked) for text in WANTED] + [rule("all", screen="score", **asked)]
    judge = Judge(rules, GROUND)
    universe = Universe(5, PANELS["15m"].symbols[2:])
    found = judge.seen(first(bar), universe)
    screens = [msgspec.structs.replace(one.screen, top=None) for one in rules]
    if not asked:
        # A symbol whose score is not known yet can be told of by a rule that does not ask for it.
        screens = [msgspec.structs.replace(one, score=()) for one in screens]

    for number, result in enumerate(Scanner(PANELS, screens).scan(first(bar), universe=universe)):
        holds = (judge.cells.condition == number) & (found.holds == 1.0)
        told = {judge.symbols[row] for row in judge.cells.row[holds]}
        assert told == {hit.symbol for hit in result.results}, rules[number].name


def test_what_is_told_of_who_fires_is_what_the_scanner_tells() -> None:
    rules = [rule("close", "close > 1"), rule("rsi", "rsi > 0", symbols=("S003USDT",), screen="momentum")]
    judge = Judge(rules, GROUND)
    judge.seen(first(3100))
    scan = Scanner(PANELS, [rules[0].screen]).scan(first(3100))[0]

    fires = judge.fires(np.flatnonzero(judge.cells.condition == 0))

    by_symbol = {fire.hit.symbol: fire.hit for fire in fires}
    assert scan.results
    for hit in scan.results:
        assert by_symbol[hit.symbol] == hit
        assert sum(hit.contributions.values()) == hit.score
        assert hit.columns == {"close": hit.price}
    sizes = [abs(fire.hit.score or 0.0) for fire in fires]
    assert sizes == sorted(sizes, reverse=True)
    (last,) = judge.fires(np.flatnonzero(judge.cells.condition == 1))
    assert (last.rule.name, last.hit.symbol) == ("rsi", "S003USDT")
    assert {"rsi", "momentum", "trend", "adx"} <= set(last.hit.columns)


def test_a_copy_goes_on_where_the_bars_that_it_was_copied_from_go_on() -> None:
    rules = [rule(text, text) for text in WANTED]
    copied = {
        name: panel.head(panel.first + n - 1)
        for (name, panel), n in zip(PANELS.items(), (2800, 700), strict=True)
    }
    judge, straight = Judge(rules, Ground(copied, None, {})), Judge(rules, GROUND)
    judge.seen(first(2799))
    judge.go_on(PANELS)

    for bar in (2800, 2801, 2802):
        np.testing.assert_array_equal(judge.seen(first(bar)).holds, straight.seen(first(bar)).holds)


def test_symbols_that_a_rule_names_are_looked_at_outside_of_the_universe_too() -> None:
    name = PANELS["15m"].symbols[0]
    judge = Judge([rule("held", "close > 0", symbols=(name, "GONEUSDT")), rule("all", "close > 0")], GROUND)
    found = judge.seen(first(3100), Universe(1, PANELS["15m"].symbols[1:]))

    assert found.holds[judge.cells.condition == 0].tolist() == [1.0]
    assert np.isnan(found.holds[(judge.cells.condition == 1) & (judge.cells.row == 0)]).all()


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        ({"where": "rsi <"}, DefinitionError, "At the end"),
        ({"where": "rsii < 3"}, UnknownName, "rsi"),
        ({"where": "rsi"}, DefinitionError, "not a condition"),
        ({"where": "rsi < 3", "clear": "rsi"}, DefinitionError, "not a condition"),
        ({"screen": "momentun"}, UnknownName, "momentum"),
        ({}, DefinitionError, "looks for nothing"),
        ({"where": "rsi < 3", "timeframe": "7m"}, UnknownName, "timeframe"),
        ({"where": "rsi_4h < 3"}, DefinitionError, "4h, which is not kept"),
        ({"where": "lag(close, 999) > 1"}, DefinitionError, "are kept: raise `market.bars`"),
        ({"where": "funding > 0"}, DefinitionError, r"switch `market\.marks` on"),
    ],
)
def test_a_rule_that_can_not_be_judged_is_refused_with_the_way_out(
    more: dict[str, Any], kind: type[Exception], said: str
) -> None:
    small = {name: panel.head(panel.first + 500) for name, panel in PANELS.items()}
    scanning = Scanning(
        small,
        Default(),
        benchmark=None,
        listed={},
        now=lambda: 0,
        monotonic=lambda: 0.0,
        calls=lambda: 0,
        stale=lambda _: {},
    )

    def check() -> None:
        for expr in asked_of(rule("wrong", **more)):
            scanning.check(expr, "15m")

    with pytest.raises(kind, match=said):
        check()


def test_a_rule_is_another_one_when_what_it_looks_for_changes_and_the_same_when_it_does_not() -> None:
    plain = rule("one", "rsi < 30", to=("phone",), cooldown=3)

    assert plain.hash == rule("one", "(rsi) < 30.0", cooldown=5).hash
    others = [
        rule("one", "rsi < 31"),
        rule("one", "rsi < 30", clear="rsi > 40"),
        rule("one", "rsi < 30", timeframe="1h"),
        rule("one", "rsi < 30", forming=True),
        rule("one", "rsi < 30", min_score=20),
        rule("one", "rsi < 30", symbols=("S001USDT",)),
    ]
    assert len({plain.hash, *(one.hash for one in others)}) == 7


def test_the_whole_condition_of_a_screen_is_decisive() -> None:
    found = condition_of(rule("one", "rsi < 30", min_score=20, side="short").screen)

    assert repr(found).count(" and ") >= 3


def test_a_history_that_was_copied_counts_changes_on_from_where_they_stood() -> None:
    panel = PANELS["15m"].head(first(20))
    panel.changes[:] = 3

    assert History.copied(panel, first(20), 10).changes.tolist() == [3] * len(panel.symbols)
