"""The words of an expression in text: numbers, names and signs, each with its place."""

import re
from typing import Final, NamedTuple

from klinehub.domain.timeframe import DAY, MINUTE
from klinehub.errors import DefinitionError, UnknownName

MOST_TEXT: Final = 10_000
MOST_DIGITS: Final = 100
# What a letter after a number makes of it: so many decimal places more, or so many milliseconds.
PLACES: Final = {"%": -2, "k": 3, "M": 6, "B": 9}
DURATIONS: Final = {"s": 1_000, "m": MINUTE, "h": 60 * MINUTE, "d": DAY, "w": 7 * DAY}
SHOWN: Final = 30

WORD: Final = re.compile(
    r"(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?:%|[^\W\d]\w*)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<foreign>&&|\|\||\*\*|<>|=<|=>)"
    r"|(?P<sign><=|>=|==|!=|[-+*/<>=&|~!(),])"
    r"|(?P<space>\s+)"
    r"|(?P<strange>.)",
    re.DOTALL,
)
NUMBER: Final = re.compile(r"(?P<digits>[0-9.]+)(?:[eE](?P<places>[+-]?[0-9]+))?(?P<suffix>.*)", re.DOTALL)
# What people write who come from elsewhere, and what is written here.
INSTEAD: Final = {
    "'": "names and timeframes are written without quotes",
    '"': "names and timeframes are written without quotes",
    ".": "what is a method in Python is a function here, as `lag(close, 1)`",
    "%": "percent follows a number, as `5%`",
    "^": "there are no powers, write `x * x`",
    "**": "there are no powers, write `x * x`",
    "&&": "write `and`",
    "||": "write `or`",
    "<>": "write `!=`",
    "=<": "write `<=`",
    "=>": "write `>=`",
    "[": "all brackets are round",
    "]": "all brackets are round",
    "{": "all brackets are round",
    "}": "all brackets are round",
    "\N{MINUS SIGN}": "write `-`",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "\N{MULTIPLICATION SIGN}": "write `*`",
    "÷": "write `/`",
}


class Word(NamedTuple):
    """A number, name or sign as it was written, and how many characters are before it; or the end."""

    kind: str
    text: str
    place: int

    @property
    def end(self) -> int:
        """Where the next character is."""
        return self.place + len(self.text)


def words(text: str) -> list[Word]:
    """Split a text into its words, the end being the last; a character that means nothing is refused."""
    if len(text) > MOST_TEXT:
        raise DefinitionError(
            f"The expression has {len(text):,} characters, at most {MOST_TEXT:,} are read: split it into "
            "columns."
        )
    found = []
    for match in WORD.finditer(text):
        kind = str(match.lastgroup)
        if kind in {"foreign", "strange"}:
            raise placed(_meaningless(match.group()), text, match.start())
        if kind != "space":
            found.append(Word(kind, match.group(), match.start()))
    return [*found, Word("end", "", len(text))]


def number(text: str) -> float:
    """Give the value of a number as it is written: `3`, `1e6`, `2.5k`, `5%`, `12h` (milliseconds)."""
    if len(text) > MOST_DIGITS:
        raise DefinitionError(f"The number has {len(text):,} characters: at most {MOST_DIGITS} are read.")
    parts = NUMBER.fullmatch(text)
    if parts is None:
        raise DefinitionError(f"{text!r} is not a number: write digits with a point, as `0.5`.")
    suffix = parts["suffix"]
    if suffix and suffix not in PLACES and suffix not in DURATIONS:
        raise UnknownName("suffix of a number", suffix, [*PLACES, *DURATIONS])
    # The point is moved in the text: 7.3 / 100 is not 0.073.
    places = int(parts["places"] or 0) + PLACES.get(suffix, 0)
    value = float(f"{parts['digits']}e{places}") * DURATIONS.get(suffix, 1)
    if value == float("inf"):
        raise DefinitionError(f"{text} is too large a number: write `inf` for more than every number.")
    return value


def placed(error: DefinitionError, text: str, place: int) -> DefinitionError:
    """Say in an error where in the text it is, and begin its message with that."""
    rest = "".join(char if char.isprintable() else " " for char in text[place : place + SHOWN]).strip()
    shown = f" (`{rest}{'…' if place + SHOWN < len(text) else ''}`)" if rest else ""
    where = f"Column {place + 1}{shown}" if place < len(text) else "At the end"
    error.args = (f"{where}: {error}",)
    error.place = place
    return error


def _meaningless(sign: str) -> DefinitionError:
    """Say that a sign means nothing, and what is written instead."""
    instead = INSTEAD.get(sign, "write numbers, names, operators and round brackets")
    return DefinitionError(f"{sign!r} means nothing here: {instead}.")
