"""Screens: what is refused before there is a market, and what changes the hash of one."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np
import pytest

from klinehub.errors import KlinehubError
from klinehub.factors.define import Bar, Factor, State, Window, factor
from klinehub.factors.expr import Expr, field
from klinehub.factors.points import Part
from klinehub.factors.stock import stock_factor
from klinehub.scan.screen import Screen

CLOSE: Final = field("close")
PART: Final = Part("a", CLOSE, 1.0, 1.0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"timeframe": "15min"}, r"Unknown timeframe '15min'.*'15m'"),
        ({"top": 0}, "top is 0; give a whole number from 1"),
        ({"top": 2.5}, r"top is 2\.5"),
        ({"cooldown": -1}, "cooldown is -1; give a whole number from 0"),
        ({"min_score": 5.0}, "no score to have a size or a side"),
        ({"side": "long"}, "no score to have a size or a side"),
        ({"side": "up", "score": (PART,)}, r"Unknown side 'up'"),
        ({"min_score": float("nan"), "score": (PART,)}, "min_score is nan"),
        ({"side_from": -1.0, "score": (PART,)}, r"side_from is -1\.0"),
        ({"where": "rsi < 30"}, "where is 'rsi < 30'; give an expression"),
        ({"where": CLOSE}, "`close` is a number, not a condition"),
        ({"where": (CLOSE > 1) & CLOSE}, "`close` is a number, not a condition"),
        ({"order_by": 3}, "order_by is 3; give an expression"),
        ({"columns": {"price": 3}}, "price is 3; give an expression"),
        ({"columns": {f"c{n}": CLOSE for n in range(201)}}, "201 columns; at most 200"),
        ({"score": (PART._replace(weight=float("inf")),)}, "a: weight inf, scale 1, centre 0 give no points"),
        ({"score": (PART._replace(scale=0.0),)}, "scale 0"),
        ({"score": (PART._replace(centre=float("nan")),)}, "centre nan"),
        ({"score": (PART._replace(weight=0.0),)}, "weigh at least one"),
        ({"score": (PART, PART._replace(expr=CLOSE + 1))}, "Two parts of a score are called a"),
        (
            {
                "score": (
                    Part("a", 1.0, 1.0, 1.0),  # type: ignore[arg-type] # it is wrong on purpose
                )
            },
            r"a is 1\.0; give an expression",
        ),
    ],
)
def test_a_screen_that_is_wrong_is_refused_in_one_sentence(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(KlinehubError, match=words) as refused:
        Screen(name="mine", **wrong)

    assert "\n" not in str(refused.value)


def hashed(**settings: Any) -> str:
    return Screen(name="mine", **settings).hash


rsi: Final = stock_factor("rsi")
BASE: Final[dict[str, Any]] = {"timeframe": "15m", "where": rsi() < 30, "score": (PART,)}


def test_the_hash_is_twelve_digits_that_do_not_know_the_name() -> None:
    wanted = Screen(name="a", **BASE)

    assert len(wanted.hash) == 12
    assert int(wanted.hash, 16) >= 0
    assert msgspec.structs.replace(wanted, name="b").hash == wanted.hash == hashed(**BASE)


@pytest.mark.parametrize(
    "other",
    [
        {"timeframe": "1h"},
        {"where": rsi() < 31},
        {"where": rsi(15) < 30},
        {"where": rsi() <= 30},
        {"where": rsi().on("1h") < 30},
        {"columns": {"a": CLOSE}},
        {"order_by": CLOSE},
        {"top": 5},
        {"min_score": 1.0},
        {"side": "long"},
        {"side_from": 10.0},
        {"score": ()},
        {"score": (PART._replace(weight=2.0),)},
        {"score": (PART._replace(scale=2.0),)},
        {"score": (PART._replace(centre=2.0),)},
        {"score": (PART._replace(expr=CLOSE + 1),)},
    ],
)
def test_the_hash_changes_with_the_text(other: dict[str, Any]) -> None:
    assert hashed(**{**BASE, **other}) != hashed(**BASE)


def test_columns_do_not_pass_for_each_other() -> None:
    one, two = field("open"), field("high")

    assert hashed(columns={"a": one, "b": two}) != hashed(columns={"a": two, "b": one})
    assert hashed(columns={"where": CLOSE > 1}) != hashed(where=CLOSE > 1)


def test_expressions_too_long_to_be_written_down_still_differ() -> None:
    def long(last: int) -> Expr:
        expr = CLOSE
        for n in range(150):
            expr = expr + rsi(2 + n) * 1.23456789012345678
        for n in range(4):
            expr = expr * expr.lag(1 + n)
        return expr + last

    assert hashed(columns={"a": long(1)}) != hashed(columns={"a": long(2)})


SOURCE: Final = """
K = {K}
TABLE = np.array([1.0, {K}])
def inner(x, k={k}):
    return x {sign} k
def f(close: Window, n: int = 3) -> float:
    return inner(close[-1]) * {by} + K + TABLE[1]
"""


def from_text(window: Any = 3, **changes: object) -> Factor:
    scope: dict[str, Any] = {"np": np, "Window": Window}
    exec(SOURCE.format(**{"K": 1, "k": 2, "sign": "+", "by": 3.0, **changes}), scope)
    return factor(window=window)(scope["f"])


def test_the_hash_changes_with_the_code_of_a_factor_and_of_what_it_calls() -> None:
    codes: list[dict[str, Any]] = [
        {},
        {"by": 4.0},
        {"sign": "-"},
        {"k": 3},
        {"K": 2},
        {"window": 4},
        {"window": lambda n: 2 * n},
    ]
    hashes = [hashed(columns={"a": from_text(**code)()}) for code in codes]

    assert len({*hashes}) == len(codes)
    assert hashed(columns={"a": from_text()()}) == hashes[0]


def scaled(by: float) -> Callable[..., float]:
    def f(close: Window) -> float:
        return float(close[-1] * by)

    return f


def test_the_hash_changes_with_what_a_factor_closes_over() -> None:
    one, two, again = (hashed(columns={"a": factor(window=1)(scaled(by))()}) for by in (1.0, 2.0, 1.0))

    assert one == again != two


def test_the_hash_changes_with_what_a_stepped_factor_keeps_and_waits_for() -> None:
    def f(state: State, close: Bar, n: int = 3) -> float:
        return close

    hashes = {
        hashed(columns={"a": factor(state=state, warmup=warmup)(f)()})
        for state, warmup in ((1, 10), (2, 10), (1, 11))
    }

    assert len(hashes) == 3


PROGRAM: Final = """
from klinehub.factors.expr import field
from klinehub.factors.points import Part
from klinehub.factors.stock import stock_factor
from klinehub.scan.screen import Screen
parts = (Part("a", field("close"), 1.0, 1.0),)
print(Screen(name="x", timeframe="15m", where=stock_factor("rsi")() < 30, score=parts).hash)
"""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_hash_is_the_same_in_every_process(seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == hashed(**BASE)


def test_a_screen_knows_what_it_reads_beside_the_klines() -> None:
    columns = {"paid": stock_factor("funding")().on("1h").rank(), "close": field("close")}

    assert Screen(name="a", columns=columns, order_by=field("open_interest")).beside == {
        "funding_rate",
        "open_interest",
    }
    assert Screen(name="b", columns={"close": field("close")}).beside == frozenset()
