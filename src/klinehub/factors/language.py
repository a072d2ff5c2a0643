"""The language of the filter box: `rsi_1h < 30 and volume_z > 2 and age > 30d` becomes an expression.

1. The text is split into words; nothing of it is ever run as Python.
2. Words are read once, from left to right, into the innermost bracket that is open (the text itself is the
   outermost). There values and operators wait; an operator is applied when a looser one, a comma or the end
   of the bracket comes. Nothing calls itself, so that no text is too deep to be answered.
3. Operators, functions and factors make the nodes that they make in Python and refuse what they refuse
   there; the reader adds the place in the text.

The grammar is in docs/language.md.
"""

import operator
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from klinehub.domain.timeframe import TIMEFRAMES, timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.define import Factor, Number
from klinehub.factors.expr import COMPARISONS, FIELDS, MOST_DEPTH, Expr, const, decisive, field
from klinehub.factors.functions import CONSTANTS, FUNCTIONS, made
from klinehub.factors.words import Word, number, placed, words


class Level(IntEnum):
    """How tightly operators bind, the loosest first."""

    OR = 1
    AND = 2
    NOT = 3
    COMPARE = 4
    SUM = 5
    PRODUCT = 6
    MINUS = 7


INFIX: Final[dict[str, tuple[Level, Callable[[Expr, Expr], Expr]]]] = {
    "or": (Level.OR, operator.or_),
    "|": (Level.OR, operator.or_),
    "and": (Level.AND, operator.and_),
    "&": (Level.AND, operator.and_),
    "<": (Level.COMPARE, operator.lt),
    "<=": (Level.COMPARE, operator.le),
    ">": (Level.COMPARE, operator.gt),
    ">=": (Level.COMPARE, operator.ge),
    "==": (Level.COMPARE, Expr.eq),
    "=": (Level.COMPARE, Expr.eq),
    "!=": (Level.COMPARE, Expr.ne),
    "+": (Level.SUM, operator.add),
    "-": (Level.SUM, operator.sub),
    "*": (Level.PRODUCT, operator.mul),
    "/": (Level.PRODUCT, operator.truediv),
}
PREFIX: Final = {"not": Level.NOT, "~": Level.NOT, "!": Level.NOT, "-": Level.MINUS}
ORDERS: Final = frozenset({"<", "<=", ">", ">="})
# Longer names are cut in messages; a whole number up to this is given to a factor as it is.
LONGEST_NAME: Final = 40
MOST_WHOLE: Final = 2**63


def parse(text: str, factors: Mapping[str, Factor]) -> Expr:
    """Read an expression of fields, numbers and *factors* by name.

    Raises DefinitionError, for a name UnknownName, with the place in the text and the way out.
    """
    reader = _Reader(words(text), factors)
    try:
        return reader.read()
    except DefinitionError as exc:
        placed(exc, text, reader.place)
        raise


def condition(text: str, factors: Mapping[str, Factor]) -> Expr:
    """Read an expression that holds or does not, as a filter needs; a number is refused."""
    return decisive(parse(text, factors))


class _Waiting(NamedTuple):
    """An operator that waits for its right side; *before* is what a chain of comparisons gave so far."""

    word: Word
    sign: str
    level: Level
    before: Expr | None = None


class _Bracket(NamedTuple):
    """What is read between two brackets: of which function, its arguments so far, and what waits."""

    word: Word
    function: str
    args: list[Expr]
    values: list[Expr]
    waiting: list[_Waiting]


class _Reader:
    """Reads one text; *place* is where in the text it is."""

    def __init__(self, found: list[Word], factors: Mapping[str, Factor]) -> None:
        self.place = 0
        self._words = found
        self._next = 0
        self._factors = factors
        self._known = {*FIELDS, *factors}
        self._brackets = [_Bracket(found[0], "", [], [], [])]
        self._is_value_next = True

    def read(self) -> Expr:
        """Read word by word until the end; the value that is left is the expression."""
        while True:
            word = self._take()
            if self._is_value_next:
                self._value(word)
            elif word.kind == "end":
                return self._finish()
            else:
                self._after_value(word)

    def _take(self) -> Word:
        word = self._words[self._next]
        self._next = min(self._next + 1, len(self._words) - 1)
        self.place = word.place
        return word

    def _is_next(self, sign: str) -> bool:
        return self._words[self._next].text == sign

    def _push(self, value: Expr) -> None:
        self._brackets[-1].values.append(value)
        self._is_value_next = False

    def _value(self, word: Word) -> None:
        """Read what stands where a value has to."""
        sign = _operator(word)
        if sign in PREFIX:
            self._prefix(word, sign)
        elif word.text == "(":
            self._open(word, "")
        elif word.kind == "number":
            self._push(const(number(word.text)))
        elif word.kind == "name" and not sign:
            self._name(word)
        else:
            raise self._nothing(word)

    def _after_value(self, word: Word) -> None:
        """Read what stands after a value."""
        sign = _operator(word)
        if sign in INFIX:
            self._infix(word, sign)
        elif word.text == ")":
            self._close(word)
        elif word.text == ",":
            self._comma(word)
        elif word.text.startswith("_"):
            raise DefinitionError("Only a factor or field takes its timeframe as `_1h`: write `on(x, 1h)`.")
        else:
            raise DefinitionError("Two values without an operator: write `and`, `<` or another between them.")

    def _nothing(self, word: Word) -> DefinitionError:
        """Say that a value is missing, and where."""
        if len(self._words) == 1:
            return DefinitionError("Nothing to compute: write an expression, as `rsi < 30`.")
        where = f"before {word.text!r}" if word.text else f"after {self._words[-2].text[:LONGEST_NAME]!r}"
        return DefinitionError(f"A value is missing {where}: write a number, a field or a factor.")

    def _prefix(self, word: Word, sign: str) -> None:
        waiting = self._brackets[-1].waiting
        if waiting and waiting[-1].level > PREFIX[sign]:
            before = waiting[-1].word.text
            raise DefinitionError(f"{word.text!r} binds looser than {before!r} before it: write `(not …)`.")
        waiting.append(_Waiting(word, sign, PREFIX[sign]))

    def _infix(self, word: Word, sign: str) -> None:
        level = INFIX[sign][0]
        _, _, _, values, waiting = self._brackets[-1]
        chain = None
        self._settle(level + (level == Level.COMPARE))
        if level == Level.COMPARE and waiting and waiting[-1].level == Level.COMPARE:
            # The right side of the comparison before is the left side of this one.
            middle = values[-1]
            self._settle(Level.COMPARE)
            chain, values[-1] = values[-1], middle
        waiting.append(_Waiting(word, sign, level, chain))
        self._is_value_next = True

    def _settle(self, level: int) -> None:
        """Apply the operators that wait and bind at least as tightly as *level*."""
        _, _, _, values, waiting = self._brackets[-1]
        while waiting and waiting[-1].level >= level:
            last = waiting.pop()
            self.place = last.word.place
            right = values.pop()
            alone = last.level in {Level.NOT, Level.MINUS}
            values.append(_before(last, right) if alone else _between(last, values.pop(), right))

    def _finish(self) -> Expr:
        self._settle(Level.OR)
        last = self._brackets[-1]
        if len(self._brackets) > 1:
            self.place = last.word.place
            raise DefinitionError("This bracket is never closed: add a `)`.")
        return last.values.pop()

    def _open(self, word: Word, function: str) -> None:
        if len(self._brackets) > MOST_DEPTH:
            raise DefinitionError(
                f"More than {MOST_DEPTH} brackets inside each other: split the expression into columns."
            )
        self._brackets.append(_Bracket(word, function, [], [], []))
        self._is_value_next = True

    def _close(self, word: Word) -> None:
        self._settle(Level.OR)
        self.place = word.place
        if len(self._brackets) == 1:
            raise DefinitionError("This bracket closes nothing: leave it out, or open one before.")
        self._end(self._brackets[-1].values)

    def _end(self, last: list[Expr]) -> None:
        """Leave the innermost bracket, with its last argument if it has one."""
        bracket = self._brackets.pop()
        if not bracket.function:
            self._push(last[0])
            return
        self.place = bracket.word.place
        self._push(made(bracket.function, [*bracket.args, *last]))

    def _comma(self, word: Word) -> None:
        self._settle(Level.OR)
        self.place = word.place
        _, function, args, values, _ = self._brackets[-1]
        if not function:
            raise DefinitionError(
                "A comma stands only inside a function: write `10000` or `10k` for numbers."
            )
        args.append(values.pop())
        self._is_value_next = True
        if function == "on" and len(args) == 1:
            self._timeframe()

    def _timeframe(self) -> None:
        """Read the timeframe of `on` and its closing bracket."""
        name = self._take()
        if name.kind not in {"number", "name"}:
            raise DefinitionError("on() needs a timeframe: write `on(x, 4h)`.")
        frame = timeframe(name.text[:LONGEST_NAME]).name
        if self._take().text != ")":
            raise DefinitionError("on() ends after its timeframe: write `on(x, 4h)`.")
        self._push(self._brackets.pop().args[0].on(frame))

    def _name(self, word: Word) -> None:
        """Read a name and what belongs to it: brackets of a function, options and timeframe of a factor."""
        if word.text in CONSTANTS:
            self._push(const(CONSTANTS[word.text]))
        elif word.text in FUNCTIONS:
            self._function(word)
        else:
            name, frame = self._resolved(word)
            if name in FIELDS:
                value = self._field(name)
            else:
                value = self._factor(word, name)
                frame = self._frame_after(frame)
            self._push(value.on(frame) if frame else value)

    def _function(self, word: Word) -> None:
        if not self._is_next("("):
            raise DefinitionError(f"{word.text} is a function: write `{FUNCTIONS[word.text].usage}`.")
        self._take()
        self._open(word, word.text)
        if self._is_next(")"):
            self._take()
            self._end([])

    def _resolved(self, word: Word) -> tuple[str, str]:
        """Split a name into that of a factor or field, the longest there is, and a timeframe."""
        known = self._known
        if word.text in known:
            return word.text, ""
        text = word.text[:LONGEST_NAME]
        name, _, frame = text.rpartition("_")
        if frame in TIMEFRAMES:
            if name in known and text == word.text:
                return name, frame
            raise UnknownName("name", text, [f"{one}_{frame}" for one in known])
        if name in known and frame[:1].isdigit():
            raise UnknownName("timeframe", frame, TIMEFRAMES)
        raise UnknownName("name", text, [*known, *FUNCTIONS, *CONSTANTS])

    def _field(self, name: str) -> Expr:
        if self._is_next("("):
            raise DefinitionError(f"{name} is a field and has no options: leave the brackets out.")
        return field(name)

    def _factor(self, word: Word, name: str) -> Expr:
        """Read the options of a factor, if there are any, and make it."""
        factor = self._factors[name]
        values, named = self._options(factor) if self._is_next("(") else ([], {})
        self.place = word.place
        return factor(*values, **named)

    def _frame_after(self, frame: str) -> str:
        """Read the timeframe that follows a factor's closing bracket, as in `rsi(7)_1h`."""
        bracket, word = self._words[self._next - 1], self._words[self._next]
        if not (bracket.text == ")" and word.text.startswith("_") and word.place == bracket.end):
            return frame
        self._take()
        if frame:
            raise DefinitionError(f"The timeframe is given twice: keep `_{frame}` or `{word.text}`.")
        return timeframe(word.text[1:LONGEST_NAME]).name

    def _options(self, factor: Factor) -> tuple[list[Number], dict[str, Number]]:
        """Read options from their opening bracket to the closing one: values, and those given by name."""
        values: list[Number] = []
        named: dict[str, Number] = {}
        sign = self._take().text
        while sign != ")":
            if sign == "(" and self._is_next(")"):
                self._take()
                break
            option, value = self._option(factor)
            if option in named:
                raise DefinitionError(f"{factor.name}() got its option {option} twice: keep one of them.")
            if option:
                named[option] = value
            elif named:
                raise DefinitionError("An option without a name follows one with a name: give it first.")
            else:
                values.append(value)
            sign = self._take().text
            if sign not in {",", ")"}:
                raise DefinitionError(f"The options of {factor.name}() go on or end here: write `,` or `)`.")
        return values, named

    def _option(self, factor: Factor) -> tuple[str, Number]:
        """Read one option: its name, empty if it has none, and its value."""
        option = ""
        word = self._take()
        if word.kind == "name" and self._is_next("="):
            option = word.text
            self._take()
            word = self._take()
        sign = -1 if word.text == "-" else 1
        if sign < 0:
            word = self._take()
        if word.kind != "number":
            usage = ", ".join(f"{name}={value}" for name, value in factor.options.items())
            raise DefinitionError(f"An option is a number: write `{factor.name}({usage})`.")
        value: Number = number(word.text)
        if word.text.isdecimal() and int(word.text) < MOST_WHOLE:
            value = int(word.text)
        return option, sign * value


def _operator(word: Word) -> str:
    """Give the operator that a word is, or nothing; the case of `and`, `or` and `not` does not matter."""
    if word.kind == "sign":
        return word.text
    folded = word.text.lower()
    return folded if folded in {"and", "or", "not"} else ""


def _before(last: _Waiting, value: Expr) -> Expr:
    """Apply an operator that stands before its value; the minus of a number is a part of it."""
    if last.level == Level.NOT:
        return ~value
    return -value


def _between(last: _Waiting, left: Expr, right: Expr) -> Expr:
    """Apply an operator that stands between its values."""
    if last.sign in ORDERS and (left.op in COMPARISONS or right.op in COMPARISONS):
        raise DefinitionError(
            "A comparison has no size to compare: write `20 < rsi < 80` for a chain, `and` between two."
        )
    value = INFIX[last.sign][1](left, right)
    return value if last.before is None else last.before & value
