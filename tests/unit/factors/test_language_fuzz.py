import math
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.factors.small_factors import CLOSE, FACTORS, decayed, macd, rsi, volume_z

from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.errors import DefinitionError
from klinehub.factors.expr import FIELDS, INFIX, MOST_DEPTH, MOST_LAG, Expr, const, field
from klinehub.factors.functions import RESERVED
from klinehub.factors.language import INFIX as SIGNS
from klinehub.factors.language import Level, parse
from klinehub.factors.words import MOST_TEXT


def read(text: str) -> Expr:
    return parse(text, FACTORS)


# What an expression writes is read back to it.


def number_of(kind: Callable[..., st.SearchStrategy[float]]) -> st.SearchStrategy[Expr]:
    return kind().map(const)


LEAVES: Final = st.one_of(
    st.sampled_from(FIELDS).map(field),
    number_of(st.floats),
    number_of(lambda: st.integers(-1000, 1000).map(float)),
    st.integers(1, 99_999).map(rsi),
    st.tuples(st.integers(1, 500), st.integers(1, 500)).map(lambda both: macd(*both)),
    st.builds(decayed, st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**53), 2**53)),
    st.just(volume_z()),
)
# Sizes of comparisons are refused in text, and the minus of a number is a part of it: see docs/language.md.
OF_TWO: Final = st.sampled_from(sorted({*INFIX, "min", "max"} - {"<", "<=", ">", ">="}))
COMPARED: Final = frozenset({"<", "<=", ">", ">=", "eq", "ne"})


def grown(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    ordered = inner.filter(lambda one: one.op not in COMPARED)
    holds = inner.map(Expr.known) | st.builds(Expr.eq, inner, inner)
    where = st.none() | holds
    shares = st.floats(0, 0.5, exclude_min=True, exclude_max=True)
    frames = st.sampled_from(sorted(TIMEFRAMES))
    return st.one_of(
        st.builds(lambda op, one, other: Expr(op, (one, other)), OF_TWO, inner, inner),
        st.builds(
            lambda op, one, other: Expr(op, (one, other)),
            st.sampled_from(["<", "<=", ">", ">="]),
            ordered,
            ordered,
        ),
        inner.filter(lambda one: one.op != "const").map(lambda one: -one),
        inner.map(lambda one: ~one),
        st.builds(lambda how, one: how(one), st.sampled_from([Expr.abs, Expr.sqrt, Expr.known]), inner),
        st.builds(Expr.lag, inner, st.integers(0, MOST_LAG)),
        st.builds(Expr.on, inner, frames),
        st.builds(Expr.where, inner, holds, inner),
        st.builds(
            lambda how, one, cond: how(one, cond), st.sampled_from([Expr.rank, Expr.zscore]), inner, where
        ),
        st.builds(Expr.mean, inner, where),
        st.builds(Expr.winsorize, inner, shares, where),
        st.builds(lambda one, low: one.clip(low, math.inf), inner, st.floats(allow_nan=False)),
    )


TREES: Final = st.recursive(LEAVES, grown, max_leaves=40)


@given(TREES)
def test_what_an_expression_writes_is_read_back_to_it(expr: Expr) -> None:
    assert expr == read(repr(expr))


def test_the_deepest_expression_is_read_back() -> None:
    expr = CLOSE.rank(CLOSE.known())
    for level in range(MOST_DEPTH - expr.depth):
        expr = (expr + 1, expr.abs(), ~expr)[level % 3]

    assert expr.depth == MOST_DEPTH
    assert expr == read(repr(expr))


# The same expression with as few brackets as the grammar needs, in every spelling.


class Written(NamedTuple):
    text: str
    expr: Expr
    level: int

    def at(self, level: int) -> str:
        return self.text if self.level >= level else f"({self.text})"


ATOM: Final = Level.MINUS + 1
SIMPLE: Final = st.sampled_from(
    [
        Written("close", CLOSE, ATOM),
        Written("rsi_4h", rsi().on("4h"), ATOM),
        Written("rsi(7)_1h", rsi(7).on("1h"), ATOM),
        Written("macd(slow=21)", macd(12, 21), ATOM),
        Written("2.5k", const(2500), ATOM),
        Written("5%", const(0.05), ATOM),
        Written("-12h", const(-43_200_000), Level.MINUS),
        Written("unknown", const(math.nan), ATOM),
        Written("true", const(1), ATOM),
    ]
)
SPELLINGS: Final = {
    "not": ["not ", "NOT ", "~", "!"],
    "or": [" or ", "|", " OR\n"],
    "and": [" and ", "&", " And "],
    "==": ["==", " = "],
}


@st.composite
def between(draw: st.DrawFn, inner: st.SearchStrategy[Written]) -> Written:
    left, right = draw(inner), draw(inner)
    sign = draw(st.sampled_from(["or", "and", "==", "!=", "<", ">=", "+", "-", "*", "/"]))
    level, make = SIGNS[sign]
    is_ordered = level == Level.COMPARE and sign[0] in "<>"
    if is_ordered and (left.expr.op in COMPARED or right.expr.op in COMPARED):
        return left
    # Comparisons side by side would be a chain.
    at_left = left.at(level + (level == Level.COMPARE))
    spelling = draw(st.sampled_from(SPELLINGS.get(sign, [sign, f" {sign} "])))
    return Written(at_left + spelling + right.at(level + 1), make(left.expr, right.expr), level)


@st.composite
def chained(draw: st.DrawFn, inner: st.SearchStrategy[Written]) -> Written:
    parts = [draw(inner.filter(lambda one: one.expr.op not in COMPARED)) for _ in range(3)]
    one, two = (draw(st.sampled_from(["<", "<=", ">", ">=", "!="])) for _ in range(2))
    a, b, c = (part.at(Level.SUM) for part in parts)
    left = SIGNS[one][1](parts[0].expr, parts[1].expr)
    return Written(
        f"{a} {one} {b}{two}{c}", left & SIGNS[two][1](parts[1].expr, parts[2].expr), Level.COMPARE
    )


@st.composite
def before(draw: st.DrawFn, inner: st.SearchStrategy[Written]) -> Written:
    value = draw(inner)
    if draw(st.booleans()) and value.expr.op != "const":
        return Written(f"-{value.at(Level.MINUS)}", -value.expr, Level.MINUS)
    return Written(draw(st.sampled_from(SPELLINGS["not"])) + value.at(Level.NOT), ~value.expr, Level.NOT)


@st.composite
def called(draw: st.DrawFn, inner: st.SearchStrategy[Written]) -> Written:
    x, y = draw(inner), draw(inner)
    return draw(
        st.sampled_from(
            [
                Written(f"abs({x.text})", x.expr.abs(), ATOM),
                Written(f"on({x.text}, 1M)", x.expr.on("1M"), ATOM),
                Written(f"lag({x.text})", x.expr.lag(), ATOM),
                Written(f"rank( {x.text},known({y.text}) )", x.expr.rank(y.expr.known()), ATOM),
                Written(f"where(known({x.text}), {y.text})", y.expr.where(x.expr.known()), ATOM),
                Written(f"winsorize({x.text}, 1%)", x.expr.winsorize(0.01), ATOM),
                Written(f"(({x.text}))", x.expr, ATOM),
            ]
        )
    )


WRITTEN: Final = st.recursive(
    SIMPLE, lambda inner: between(inner) | chained(inner) | before(inner) | called(inner), max_leaves=25
)


@given(WRITTEN)
def test_a_text_with_few_brackets_is_what_python_makes(written: Written) -> None:
    assert written.expr == read(written.text)


# Whatever is written, the answer is an expression or one sentence, at once.

VOCABULARY: Final = st.sampled_from(
    [
        *RESERVED,
        *FACTORS,
        *TIMEFRAMES,
        *SIGNS,
        *"()_,.~!$%\"'",
        "rsi_1h",
        "rsi(7)",
        "_4h",
        "(",
        ")",
        "(",
        ")",
        "n=",
        "3",
        "-0.5",
        "5%",
        "30d",
        "1e400",
        "rsy",
        "é",
        "٣",
        "\x00",
        "1M",
        ", 4h)",
        "abs(",
        "on(",
        "lag(",
    ]
)
SOUP: Final = st.lists(st.tuples(VOCABULARY, st.sampled_from(["", " ", " "]))).map(
    lambda found: "".join(word + gap for word, gap in found)
)


def answered(text: str) -> None:
    """Give an expression that is read back, or a refusal in one line."""
    try:
        expr = read(text)
    except DefinitionError as exc:
        said = str(exc)
    else:
        assert repr(expr).endswith("…") or expr == read(repr(expr))
        return

    assert re.fullmatch(r"(Column \d+|At the end|The expression).*[.?]", said)


@given(st.text())
def test_any_characters_are_answered(text: str) -> None:
    answered(text)


@given(SOUP)
def test_any_words_are_answered(text: str) -> None:
    answered(text)


@given(WRITTEN, st.data())
def test_a_text_with_a_piece_lost_moved_or_doubled_is_answered(written: Written, data: st.DataObject) -> None:
    text = written.text
    cuts = sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 3)))
    a, b, c = text[: cuts[0]], text[cuts[0] : cuts[1]], text[cuts[1] : cuts[2]]
    rest = text[cuts[2] :]

    answered(data.draw(st.sampled_from([a + c + rest, a + b + b + c + rest, a + c + b + rest])))


def balanced(levels: int) -> str:
    return "a" if levels == 0 else f"({balanced(levels - 1)}+{balanced(levels - 1)})"


LONG: Final = {
    "brackets": "(" * 10_000,
    "closed brackets": "(" * 5_000 + ")" * 5_000,
    "functions": "abs(" * 2_500,
    "minus": "-" * 9_999 + "3",
    "not": "not " * 2_499 + "rsi",
    "signs": "~" * 9_997 + "rsi",
    "sum": "+".join(["rsi"] * 2_500),
    "chain": "<".join(["3"] * 5_000),
    "balanced": balanced(11).replace("a", "3"),
    "factors": balanced(9).replace("a", "rsi(n=7)_4h"),
    "arguments": f"min({','.join('3' * 4_990)})",
    "options": f"macd({','.join('3' * 4_990)})",
    "name": "x" * 10_000,
    "parts": "rsi_" * 2_500,
    "names": "rsi_1h " * 1_400,
    "digits": "9" * 10_000,
    "points": "1." * 5_000,
    "exponents": "1e" * 5_000,
    "commas": "," * 10_000,
    "spaces": " " * 10_000,
    "nulls": "\x00" * 10_000,
    "too long": "(" * 10_000_000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_ten_thousand_characters_are_answered_at_once(text: str) -> None:
    # 58 a character are the most of these; what looks at each pair of characters takes thousands.
    assert calls(lambda: read(text)) < 100 * MOST_TEXT


def calls(act: Callable[[], object]) -> int:
    """Count the calls and returns of what may refuse a text: no machine is too busy for that."""
    seen = 0

    def noted(*_: object) -> None:
        nonlocal seen
        seen += 1

    sys.setprofile(noted)
    try:
        with suppress(DefinitionError):
            act()
    finally:
        sys.setprofile(None)
    return seen
