"""Watching: what is told of held symbols, and when."""

import numpy as np
import pytest
from tests.unit.factors.markets import BASE, FIRST

from klinehub.errors import DefinitionError
from klinehub.factors.engine import Engine
from klinehub.factors.expr import Expr, field
from klinehub.panel.history import History
from klinehub.scan.scanner import compute
from klinehub.scan.watch import crossing, stop_within, trend_flip, turned, watch


def market(*closes: float, rows: int = 1) -> History:
    """Bars that close where they are told to, with a range of one."""
    close = np.tile(np.array(closes, dtype=float), (rows, 1))
    volume = np.ones_like(close)
    planes = np.stack((close, close + 0.5, close - 0.5, close, *[volume] * 5))
    return History(BASE, [f"S{n}USDT" for n in range(rows)], FIRST, planes)


def told(expr: Expr, history: History) -> list[int]:
    """Number the bars at which a condition holds."""
    bars = history.bars
    values = Engine({"a": expr}, {"15m": history}, "15m", bars=bars).at(history.closed_bar)["a"][0]
    return np.flatnonzero(values == 1.0).tolist()


def test_a_level_is_told_when_it_is_crossed_either_way() -> None:
    assert told(crossing(field("close"), 10.0), market(9, 11, 12, 10, 9, 11)) == [1, 3, 5]


def test_a_condition_that_goes_on_is_told_once() -> None:
    assert told(turned(field("close") > 10.0), market(9, 11, 12, 9, 11, 11)) == [1, 4]


def test_a_stop_is_told_when_it_is_near_in_ranges() -> None:
    closes = [*np.full(250, 100.0), 99.0, 97.5, 96.0, 100.0]

    assert told(stop_within(95.0, 2.0), market(*closes)) == [252]


def test_a_trend_is_told_when_it_turns() -> None:
    closes = [*np.linspace(100, 130, 400), *np.linspace(130, 100, 200)]
    turns = told(trend_flip(), market(*closes))

    assert len(turns) == 1
    assert 400 < turns[0] < 450


def test_only_the_watched_symbols_are_looked_at() -> None:
    rule = watch("up", ["S2USDT"], field("close") > 10.0)
    result = compute(rule, market(9, 11, rows=4))

    assert [hit.symbol for hit in result.results] == ["S2USDT"]
    assert (result.symbols, result.missing, result.warming) == (1, (), ())
    assert rule.hash != watch("up", ["S1USDT"], field("close") > 10.0).hash


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: watch("a", [], field("close") > 1), "give a list of symbols"),
        (lambda: watch("a", "BTCUSDT", field("close") > 1), "give a list of symbols"),
        (lambda: stop_within(0.0, 1.0), "a price and a distance above 0"),
        (lambda: stop_within(1.0, float("nan")), "a price and a distance above 0"),
    ],
)
def test_rules_that_watch_nothing_are_refused(wrong: object, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        wrong()  # type: ignore[operator] # one of the functions above
