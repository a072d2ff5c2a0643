"""Expressions: trees that are written, compared, refused and shared."""

import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.define import Bar, State, Window, factor
from klinehub.factors.expr import MOST_DEPTH, Expr, const, field, terms
from klinehub.factors.stock import STOCK, stock_factor


@factor(window=lambda n: n + 1)
def efficiency(close: Window, n: int = 20) -> float:
    """Net move over path length."""
    return float(close[-1] - close[0] + n)


@factor(state=1, warmup=lambda n: 4 * n)
def level(state: State, close: Bar, n: int = 10) -> float:
    """A smoothed close."""
    state[0] += (close - state[0]) / n
    return float(state[0])


def test_equal_trees_are_equal_values() -> None:
    one, two = (efficiency(n=24).on("4h").zscore() for _ in range(2))

    assert one == two
    assert hash(one) == hash(two)
    assert one is not two
    assert one != efficiency(n=25).on("4h").zscore()
    assert one != "a text"


def test_each_different_term_is_listed_once_after_its_parts() -> None:
    surge = efficiency()
    listed = terms((surge > 0.5) & (surge.lag(2) > surge))

    assert len(listed) == len(set(listed))
    assert [term.op for term in listed] == ["factor", "const", ">", "lag", ">", "&"]


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (efficiency(24).on("4h"), "on(efficiency(24), 4h)"),
        ((field("close") / level() - 1) * -2.5, "(((close / level(10)) - 1) * -2.5)"),
        (1 + field("volume"), "(1 + volume)"),
        (2 - field("volume"), "(2 - volume)"),
        (2 / field("volume") + 3 * field("open"), "((2 / volume) + (3 * open))"),
        (~(field("close").eq(1e-7)), "(not (close == 1e-07))"),
        (True & (field("close") > 1), "(1 and (close > 1))"),
        (False | (field("close").ne(0.1)), "(0 or (close != 0.1))"),
        (-field("close").abs().sqrt(), "(-sqrt(abs(close)))"),
        (field("close").clip(-1, 1).known(), "known(min(max(close, -1), 1))"),
        (field("close").where(field("age") >= 5), "where((age >= 5), close, unknown)"),
        (field("close").rank(where=field("age") <= 5), "rank(close, (age <= 5))"),
        (field("close").winsorize(0.1).mean(), "mean(winsorize(close, 0.1))"),
        (field("close").lag(3).lag(0), "lag(close, 3)"),
        (const(math.nan) < 1, "(unknown < 1)"),
    ],
)
def test_an_expression_is_shown_as_it_is_written(expr: Expr, text: str) -> None:
    assert repr(expr) == text


@pytest.mark.parametrize("wrong", [bool, lambda e: e and e, lambda e: not e, lambda e: 1 < e < 2])
def test_and_or_not_and_chains_are_refused_with_the_way_to_write_them(wrong: Callable[[Any], Any]) -> None:
    with pytest.raises(DefinitionError, match="write `&`"):
        wrong(field("close"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: field("clos"), "Did you mean 'close'"),
        (lambda: field("close").on("5x"), "Did you mean '5m'"),
        (lambda: field("close").lag(-1), "from 0 to 1,000"),
        (lambda: field("close").clip(2, 1), "smaller bound first"),
        (lambda: field("close").winsorize(0.5), "between 0 and 0.5"),
        (lambda: field("close") + "5", "can not be computed with"),
        (lambda: field("close").rank(where="x"), "can not be computed with"),
        (lambda: field("close").rank(where=field("volume")), "`volume > 0`"),
        (lambda: field("close").where(field("volume") + 1), "is a number, not a condition"),
    ],
)
def test_what_can_not_be_computed_is_refused_when_it_is_written(
    wrong: Callable[[], object], said: str
) -> None:
    with pytest.raises(DefinitionError, match=said):
        wrong()


def test_trees_that_are_too_deep_or_too_large_are_refused_at_once() -> None:
    def grown(expr: Expr, grow: Callable[[Expr], Expr]) -> Expr:
        return grown(grow(expr), grow) if expr.depth else expr

    with pytest.raises(DefinitionError, match=f"at most 10,000 and {MOST_DEPTH}"):
        grown(field("close"), lambda expr: -expr)
    with pytest.raises(DefinitionError, match="too large"):
        grown(field("close"), lambda expr: expr + expr)


def test_a_name_that_no_panel_has_is_no_definition_but_an_unknown_name() -> None:
    with pytest.raises(UnknownName):
        field("prise")


def test_another_process_has_equal_trees_of_the_same_factors() -> None:
    assert [one for one in STOCK if pickle.loads(pickle.dumps(one)) is not one] == []

    sent = (stock_factor("rsi")(7) < 30) & (field("close") > 1)
    # As in a process that hashes texts in its own way.
    sent._hash += 1
    assert pickle.loads(pickle.dumps(sent)) == (stock_factor("rsi")(7) < 30) & (field("close") > 1)
