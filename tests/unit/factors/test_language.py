import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from tests.unit.factors.small_factors import CLOSE, FACTORS, decayed, macd, rsi, volume_z

from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.define import Factor, Window, factor
from klinehub.factors.expr import FIELDS, MOST_DEPTH, Expr, const, field
from klinehub.factors.functions import CONSTANTS, FUNCTIONS, RESERVED
from klinehub.factors.language import INFIX as SIGNS
from klinehub.factors.language import condition, parse
from klinehub.factors.words import DURATIONS, MOST_TEXT, PLACES

DOC: Final = (Path(__file__).parents[3] / "docs" / "language.md").read_text("utf-8")
DAY: Final = 86_400_000


def read(text: str) -> Expr:
    return parse(text, FACTORS)


def refused(text: str, call: Callable[[str], object] = read) -> str:
    with pytest.raises(DefinitionError) as raised:
        call(text)
    return str(raised.value)


# What texts mean: numbers, names, operators, functions.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3.0),
        ("-0.5", -0.5),
        (".5", 0.5),
        ("3.", 3.0),
        ("1e6", 1e6),
        ("1E+06", 1e6),
        ("2.5e-3", 0.0025),
        ("2k", 2e3),
        ("2.5M", 2.5e6),
        ("1e3B", 1e12),
        ("5%", 0.05),
        ("7.3%", 0.073),
        ("30s", 30_000.0),
        ("5m", 300_000.0),
        ("12h", 43_200_000.0),
        ("30d", 30.0 * DAY),
        ("1.5w", 10.5 * DAY),
        ("true", 1.0),
        ("false", 0.0),
        ("inf", math.inf),
        ("--3", 3.0),
        ("-inf", -math.inf),
        ("9" * 100, 1e100),
    ],
)
def test_a_number_is_what_it_says(text: str, value: float) -> None:
    assert const(value) == read(text)


def test_unknown_is_the_constant_that_is_not_a_number() -> None:
    assert const(math.nan) == read("unknown")


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("close", CLOSE),
        ("age_4h", field("age").on("4h")),
        ("rsi", rsi()),
        ("rsi()", rsi()),
        ("rsi ( 7 )", rsi(7)),
        ("rsi(n=7)", rsi(7)),
        ("macd(8, slow=21)", macd(8, 21)),
        ("macd(slow = 21, fast = 8)", macd(8, 21)),
        ("rsi_1h", rsi().on("1h")),
        ("rsi_1M", rsi().on("1M")),
        ("rsi_1h(7)", rsi(7).on("1h")),
        ("rsi(7)_1h", rsi(7).on("1h")),
        ("volume_z", volume_z()),
        ("volume_z_15m", volume_z().on("15m")),
        ("quote_volume_1d", field("quote_volume").on("1d")),
        ("decayed(-25%, seed=3)", decayed(-0.25, 3)),
        ("decayed(seed=9223372036854775807)", decayed(seed=2**63 - 1)),
        ("spread(10)", rsi(10) - rsi(10)),
        ("spread_1h", (rsi(7) - rsi(14)).on("1h")),
    ],
)
def test_a_name_is_a_field_or_a_factor_with_its_options_and_timeframe(text: str, expr: Expr) -> None:
    assert expr == read(text)


def test_the_longest_name_is_taken_before_a_timeframe_is_looked_for() -> None:
    @factor(window=1)
    def rsi_1h(close: Window) -> float:
        return float(close[0])

    known = {**FACTORS, "rsi_1h": rsi_1h}

    assert parse("rsi_1h", known) == rsi_1h()
    assert parse("rsi_1h_4h", known) == rsi_1h().on("4h")
    assert parse("rsi_4h", known) == rsi().on("4h")


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("close = 3", CLOSE.eq(3)),
        ("close == 3", CLOSE.eq(3)),
        ("close != 3", CLOSE.ne(3)),
        ("1 - 2 - close", const(1) - 2 - CLOSE),
        ("8 / close / 2", 8 / CLOSE / 2),
        ("-close * 2", (-CLOSE) * 2),
        ("2 * -close", 2 * (-CLOSE)),
        ("2 - -3", const(2) - -3),
        ("- -close", Expr("neg", (-CLOSE,))),
        ("rsi < 3 OR rsi > 5 And close", (rsi() < 3) | ((rsi() > 5) & CLOSE)),
        ("rsi < 3 | rsi > 5 & close", (rsi() < 3) | ((rsi() > 5) & CLOSE)),
        ("NOT rsi < 3 and close", ~(rsi() < 3) & CLOSE),
        ("!~not close", ~~~CLOSE),
        ("1 < rsi + 2 <= 3 != close", ((const(1) < rsi() + 2) & (rsi() + 2 <= 3)) & const(3).ne(CLOSE)),
        ("1 < rsi < 3 and close", ((const(1) < rsi()) & (rsi() < 3)) & CLOSE),
        ("(1 < rsi) == (rsi < 3)", (const(1) < rsi()).eq(rsi() < 3)),
        ("((close))", CLOSE),
    ],
)
def test_operators_bind_as_documented(text: str, expr: Expr) -> None:
    assert expr == read(text)


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("abs(close)", CLOSE.abs()),
        ("sqrt(close)", CLOSE.sqrt()),
        ("known(close)", CLOSE.known()),
        ("min(close, 3)", Expr("min", (CLOSE, const(3)))),
        ("max(close, 3, rsi)", Expr("max", (Expr("max", (CLOSE, const(3))), rsi()))),
        ("where(rsi > 3, close)", CLOSE.where(rsi() > 3)),
        ("where(rsi > 3, close, -1)", CLOSE.where(rsi() > 3, -1)),
        ("clip(close, -5%, 2)", CLOSE.clip(-0.05, 2)),
        ("lag(close)", CLOSE.lag()),
        ("lag(close, 3)", CLOSE.lag(3)),
        ("lag(close, 0)", CLOSE),
        ("on(close + 1, 1M)", (CLOSE + 1).on("1M")),
        ("on(close, 5m)", CLOSE.on("5m")),
        ("rank(close)", CLOSE.rank()),
        ("rank(close, rsi > 3)", CLOSE.rank(where=rsi() > 3)),
        ("zscore(close, true)", CLOSE.zscore(where=1)),
        ("mean(close > 3)", (CLOSE > 3).mean()),
        ("winsorize(close)", CLOSE.winsorize()),
        ("winsorize(close, 1%)", CLOSE.winsorize(0.01)),
        ("winsorize(close, rsi > 3)", CLOSE.winsorize(where=rsi() > 3)),
        ("winsorize(close, rsi > 3, 1%)", CLOSE.winsorize(0.01, where=rsi() > 3)),
        ("winsorize(close, 1, 1%)", CLOSE.winsorize(0.01, where=1)),
    ],
)
def test_a_function_is_the_method_of_its_name(text: str, expr: Expr) -> None:
    assert expr == read(text)


# What is refused, and how.


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "At the end: Nothing to compute: write an expression"),
        (" \n", "At the end: Nothing to compute"),
        ("rsi <", "At the end: A value is missing after '<'"),
        ("rsi and", "A value is missing after 'and'"),
        ("(", "A value is missing after '('"),
        ("()", "Column 2 (`)`): A value is missing before ')'"),
        ("abs(close,)", "Column 11 (`)`): A value is missing before ')'"),
        ("* rsi", "Column 1 (`* rsi`): A value is missing before '*'"),
        ("+3", "A value is missing before '+'"),
        ("rsi < 30\tvolume", "Column 10 (`volume`): Two values without an operator"),
        ("rsi (7) (8)", "Column 9 (`(8)`): Two values without an operator"),
        ("((rsi)", "Column 1 (`((rsi)`): This bracket is never closed"),
        ("abs(rsi", "Column 1 (`abs(rsi`): This bracket is never closed"),
        ("rsi))", "Column 4 (`))`): This bracket closes nothing"),
        ("rsi, 3", "Column 4 (`, 3`): A comma stands only inside a function"),
        ("rsi $ 3", "Column 5 (`$ 3`): '$' means nothing here"),
        ("rsi \ud800", "Column 5: '\\ud800' means nothing here"),
        ("on(rsi, '4h')", "means nothing here: names and timeframes are written without quotes"),
        ("rsi && rsi", "'&&' means nothing here: write `and`"),
        ("rsi ≥ 3", "means nothing here: write `>=`"),
        ("3 + not rsi", "Column 5 (`not rsi`): 'not' binds looser than '+' before it"),
        ("-~rsi", "'~' binds looser than '-' before it"),
        ("abs rsi", "Column 1 (`abs rsi`): abs is a function: write `abs(x)`"),
        ("abs()", "Column 1 (`abs()`): abs() can not take 0 arguments: write `abs(x)`"),
        ("abs(1, 2)", "abs() can not take 2 arguments"),
        ("1 + min(rsi)", "Column 5 (`min(rsi)`): min() can not take 1 arguments: write `min(x, y, …)`"),
        ("on(rsi)", "on() can not take 1 arguments: write `on(x, 4h)`"),
        ("on(rsi, )", "Column 9 (`)`): on() needs a timeframe"),
        ("on(rsi, 4h, 3)", "Column 11 (`, 3)`): on() ends after its timeframe"),
        ("clip(rsi, close, 3)", "clip() needs a number, not `close`"),
        ("clip(rsi, 3, 2)", "clip(3.0, 2.0) keeps nothing"),
        ("lag(rsi, unknown)", "lag() needs a number, not `unknown`"),
        ("lag(rsi, 2.5)", "lag(2.5): give a whole number"),
        ("lag(rsi, inf)", "lag(inf): give a whole number"),
        ("lag(rsi, -1)", "lag(-1): give a whole number"),
        ("winsorize(rsi, 60%)", "winsorize(0.6): give a share"),
        ("winsorize(rsi, rsi > 3, close)", "winsorize() needs a number, not `close`: write the share last"),
        ("(1 < rsi) < 3", "Column 11 (`< 3`): A comparison has no size to compare"),
        ("3 >= (close == 2)", "Column 3 (`>= (close == 2)`): A comparison has no size"),
        ("close(3)", "Column 1 (`close(3)`): close is a field and has no options"),
        ("close_4h()", "close is a field and has no options"),
        ("rsi(close)", "Column 5 (`close)`): An option is a number: write `rsi(n=14)`"),
        ("macd(fast=)", "An option is a number: write `macd(fast=12, slow=26)`"),
        ("rsi(", "At the end: An option is a number"),
        ("rsi(7", "At the end: The options of rsi() go on or end here"),
        ("rsi(7,)", "Column 7 (`)`): An option is a number"),
        ("rsi(7, 8)", "Column 1 (`rsi(7, 8)`): rsi() takes 1 options, not 2"),
        ("rsi(7.5)", "rsi(n=7.5): give a whole number"),
        ("rsi(7, n=7)", "rsi() got its option n twice"),
        ("rsi(n=7, n=8)", "Column 12 (`8)`): rsi() got its option n twice"),
        ("macd(slow=8, 9)", "Column 14 (`9)`): An option without a name follows one with a name"),
        ("rsi(1M)", "has to be a whole number from 1 to 100,000"),
        ("spread(0)", "Column 1 (`spread(0)`): spread() could not be worked out: "),
        ("rsi_1h(7)_4h", "Column 10 (`_4h`): The timeframe is given twice: keep `_1h` or `_4h`"),
        ("abs(rsi)_1h", "Column 9 (`_1h`): Only a factor or field takes its timeframe as `_1h`"),
        ("rsi _1h", "Only a factor or field takes its timeframe"),
        ("1e999", "1e999 is too large a number"),
        ("1e308k", "1e308k is too large a number"),
        ("9" * 101, "The number has 101 characters"),
        ("x" * 10_001, "The expression has 10,001 characters, at most 10,000 are read"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_the_way_out(text: str, answer: str) -> None:
    assert answer in refused(text)


@pytest.mark.parametrize(
    ("text", "kind", "name", "nearest"),
    [
        ("rsy", "name", "rsy", "rsi"),
        ("RSI", "name", "RSI", "rsi"),
        ("3 + rsy_1h", "name", "rsy_1h", "rsi_1h"),
        ("rsy(7)_1h", "name", "rsy", "rsi"),
        ("volumez_4h", "name", "volumez_4h", "volume_z_4h"),
        ("zscores(rsi)", "name", "zscores", "zscore"),
        ("True", "name", "True", "true"),
        ("rsi_1h_4h", "name", "rsi_1h_4h", "rsi_4h"),
        ("rsi_45m", "timeframe", "45m", "5m"),
        ("rsi_1H", "timeframe", "1H", "1h"),
        ("rsi(7)_1H", "timeframe", "1H", "1h"),
        ("on(rsi, 45m)", "timeframe", "45m", "5m"),
        ("on(rsi, H4)", "timeframe", "H4", "8h"),
        ("macd(fats=3)", "option of macd()", "fats", "fast"),
        ("5K", "suffix of a number", "K", "k"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(text: str, kind: str, name: str, nearest: str) -> None:
    with pytest.raises(UnknownName, match=rf"Did you mean '{nearest}'\?") as raised:
        read(text)

    assert (raised.value.kind, raised.value.name) == (kind, name)


def test_a_long_name_is_not_repeated_in_full() -> None:
    assert len(refused("x" * MOST_TEXT)) < 300
    assert len(refused("rsi_" + "1" * 9_000)) < 300
    assert len(refused("x" * 9_000 + "_1h")) < 300
    assert len(refused("on(rsi, " + "1" * 9_000 + ")")) < 300


@pytest.mark.parametrize("opening", ["(", "abs(", "min(1, "])
def test_brackets_are_read_to_the_depth_of_expressions_and_refused_beyond(opening: str) -> None:
    def nested(levels: int) -> str:
        return opening * levels + "close" + ")" * levels

    assert read(nested(MOST_DEPTH - 1)).depth <= MOST_DEPTH
    assert "200" in refused(nested(MOST_DEPTH + 1))
    assert "200" in refused(nested(1_000))


def test_an_expression_too_deep_for_its_nodes_is_refused_at_its_place() -> None:
    assert "inside each other" in refused("+".join(["close"] * 1_000))
    assert "inside each other" in refused("not " * 1_000 + "close")


# Filters.


@pytest.mark.parametrize(
    "text",
    [
        "rsi < 30",
        "20 < rsi < 80",
        "rsi != 30",
        "not rsi < 30 and known(funding) or true",
        "false",
        "on(rsi < 30, 4h) and lag(close > open)",
    ],
)
def test_a_condition_is_read(text: str) -> None:
    assert read(text) == condition(text, FACTORS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rsi + 1", "(rsi(14) + 1)"),
        ("rsi", "rsi(14)"),
        ("3", "3"),
        ("unknown", "unknown"),
        ("rank(rsi > 3)", "rank((rsi(14) > 3))"),
        ("rsi < 30 and volume_z", "volume_z"),
        ("not on(close, 4h)", "close"),
    ],
)
def test_a_number_is_no_condition(text: str, shown: str) -> None:
    message = refused(text, lambda one: condition(one, FACTORS))

    assert f"`{shown}` is a number, not a condition" in message
    assert message.endswith(f"as `{shown} > 0`.")


# What is documented is what is read.


def rows(title: str) -> list[list[str]]:
    """The cells of the tables under a heading of the page, without the first row."""
    section = DOC.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells[2:] if row]


@pytest.mark.parametrize(("text", "full"), [row[:2] for row in rows("By example")])
def test_each_example_of_the_page_is_what_it_says(text: str, full: str) -> None:
    assert read(full.strip("`")) == read(text.strip("`"))
    assert text != full


@pytest.mark.parametrize(("text", "answer"), rows("What is refused, and how"))
def test_each_refusal_of_the_page_is_what_is_answered(text: str, answer: str) -> None:
    assert answer == refused(text.strip("`"))


@pytest.mark.parametrize("row", rows("Numbers"), ids=lambda row: row[0] + row[2])
def test_each_suffix_of_the_page_is_read(row: list[str]) -> None:
    for suffix, times in (row[:2], row[2:]):
        assert not suffix or const(float(times)) == read(f"1{suffix.strip('`')}")


def test_the_page_names_all_there_is() -> None:
    written = [row[0].strip("`") for row in rows("Functions")]
    grammar = set(re.findall('"([^"]+)"', DOC.split("```ebnf")[1]))

    assert [function.usage for function in FUNCTIONS.values()] == written
    assert {*FUNCTIONS, *CONSTANTS, *TIMEFRAMES, *PLACES, *DURATIONS, *SIGNS} <= grammar
    assert all(f"`{name}`" in DOC for name in FIELDS)


def test_no_stock_name_is_reserved_but_words_fields_functions_and_constants_are() -> None:
    assert {"and", "or", "not", "true", "close", "age", "rank"} <= RESERVED
    assert not RESERVED & set(FACTORS)


def test_a_factor_is_looked_up_where_it_is_given() -> None:
    other: dict[str, Factor] = {"mine": rsi}

    assert parse("mine(7)", other) == rsi(7)
    assert "Unknown name 'rsi'" in refused("rsi", lambda text: parse(text, other))
