"""Definitions: what makes a factor, and what is refused the moment it is written."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.define import Bar, Factor, State, Window, factor
from klinehub.factors.expr import Expr, field


@factor(window=lambda n, share: n + int(share), unit="share", span="-1 to 1", family="trend")
def efficiency(close: Window, open_: Window, n: int = 20, share: float = 0.5) -> float:
    """Net move over path length.

    Zero is noise.
    """
    return float(close[-1] - open_[0] + n + share)


@factor
def spread(n: int = 3) -> Expr:
    """An expression of others."""
    return efficiency(n) - efficiency(2 * n)


def plain(close: Window, n: int = 3) -> float:
    """A function of a window."""
    return float(close[-1] * n)


def test_a_definition_reads_the_function() -> None:
    assert (efficiency.name, efficiency.kind, efficiency.fields) == (
        "efficiency",
        "window",
        ("close", "open"),
    )
    assert efficiency.options == {"n": 20, "share": 0.5}
    assert efficiency.title == "Net move over path length."
    assert (efficiency.unit, efficiency.span, efficiency.family) == ("share", "-1 to 1", "trend")
    assert efficiency.lookback((20, 2.0)) == 21
    assert repr(efficiency) == "<Factor efficiency(n=20, share=0.5)>"


def test_options_may_be_given_by_place_and_by_name_in_the_type_of_their_default() -> None:
    assert efficiency(24) == efficiency(n=24) == efficiency(n=24.0, share=0.5)
    assert efficiency(24, 1) == efficiency(share=1.0, n=24)
    assert isinstance(efficiency(24, 1).params[2], float)


def test_a_factor_of_options_alone_is_an_expression_of_others() -> None:
    assert spread.kind == "expression"
    assert spread(5) == efficiency(5) - efficiency(10)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: efficiency(m=3), "Unknown option of efficiency"),
        (lambda: efficiency(1, 2, 3), "takes 2 options, not 3"),
        (lambda: efficiency(3, n=3), "twice"),
        (lambda: efficiency(n=2.5), "give a whole number"),
        (lambda: efficiency(n=True), "give a whole number"),
        (lambda: efficiency(share=float("nan")), "give a finite number"),
        (lambda: efficiency(n=-5), "from 1 to"),
        (lambda: efficiency(n=10**6), "from 1 to"),
    ],
)
def test_wrong_options_are_refused_where_they_are_written(wrong: Callable[[], object], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        wrong()


def made(source: str) -> Callable[..., Any]:
    """Define a function from its text, so that each wrong one fits a line."""
    scope: dict[str, Any] = {"Window": Window, "State": State, "Bar": Bar, "Expr": Expr, "field": field}
    exec(source, scope)
    function: Callable[..., Any] = scope["f"]
    return function


@pytest.mark.parametrize(
    ("source", "settings", "said"),
    [
        ("def f(clos: Window): ...", {"window": 3}, "Did you mean 'close'"),
        ("def f(close: Window): ...", {}, r"@factor\(window=20\)"),
        ("def f(close): ...", {"window": 3}, "'close' has no default"),
        ("def f(close: Window, n='x'): ...", {"window": 3}, "not a number"),
        ("def f(close: Window, *, n=3): ...", {"window": 3}, "without"),
        ("def f(n=3, close: Window=None): ...", {"window": 3}, "then the options"),
        ("def f(close: Bar): ...", {"window": 3}, "one `State`"),
        ("def f(state: State, close: Bar): ...", {"state": 3}, r"warmup=100"),
        ("def f(state: State, close: Window): ...", {"window": 3}, "one `State`"),
        (
            "def f(state: State, close: Bar, open_: Window): ...",
            {"window": 3},
            "options alone|then the fields",
        ),
    ],
)
def test_a_function_that_makes_no_factor_is_refused(source: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        factor(**settings)(made(source))


@pytest.mark.parametrize("rule", [lambda n: n / 0, lambda n: n * 1.5, lambda n: "x"])
def test_a_length_that_can_not_be_worked_out_is_told_with_the_options(rule: Any) -> None:
    broken = factor(window=rule)(plain)
    with pytest.raises(DefinitionError, match=r"The window of plain\(n=3\)"):
        broken()


def test_an_expression_factor_has_to_give_an_expression() -> None:
    number = factor(made("def f(n=3): return n"))
    with pytest.raises(DefinitionError, match="return an expression"):
        number()


def test_an_unknown_field_is_an_unknown_name() -> None:
    with pytest.raises(UnknownName):
        factor(window=3)(made("def f(prices: Window): ..."))


def test_a_decorated_function_is_the_one_that_was_written() -> None:
    assert isinstance(efficiency, Factor)
    assert inspect.getdoc(efficiency.function) == "Net move over path length.\n\nZero is noise."
