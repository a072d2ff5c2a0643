"""The files of the board: both languages say all there is, and what is not ours is what it says.

Keys of texts are found in the sources: each literal in a call of t(), tOr() or textButton() is to be one, and
a template such as `part.${name}` stands for every key that begins and ends like it.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from klinehub.domain.stale import Reason
from klinehub.errors import DefinitionError
from klinehub.factors.language import parse
from klinehub.factors.stock import BY_NAME
from klinehub.scan.presets import PRESETS
from klinehub.scan.score import DEFAULT_WEIGHTS
from klinehub.serve.api import factor_rows

STATIC: Final = Path(__file__).parents[3] / "src" / "klinehub" / "serve" / "static"
VENDOR: Final = STATIC / "vendor"
LONGEST: Final = 500
LITERAL: Final = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')
CALL: Final = re.compile(r"\b(?:t|tOr|textButton)\(")
IMPORT: Final = re.compile(r'^(?:import|export) [^"]*from "\./(\w+\.js)";', re.MULTILINE)
# Where a key is kept until it is said: the label of a key's list, the title of a view.
KEPT: Final = re.compile(r'\b(?:label|title|group): "([a-z]+\.[\w.]+)"')


@cache
def sources() -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in sorted((STATIC / "js").glob("*.js"))}


@cache
def texts(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((STATIC / "lang" / f"{language}.json").read_text("utf-8"))
    return found


def first_argument(source: str, start: int) -> str:
    """Give what stands from *start* to the comma or bracket that ends an argument."""
    depth, at = 0, start
    while depth or source[at] not in ",)":
        literal = LITERAL.match(source, at)
        if literal is None:
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(source[at], 0)
        at = literal.end() if literal else at + 1
    return source[start:at]


def patterns(code: str) -> Iterator[str]:
    """Give each literal of some code, but what is compared, as a pattern of the keys that it stands for."""
    for literal in LITERAL.finditer(re.sub(r'[!=]== "[^"]*"', "", code)):
        plain, template = literal.groups()
        if plain is not None:
            yield re.escape(plain)
        else:
            yield ".+".join(re.escape(part) for part in re.split(r"\$\{[^}]*\}", template))


def said() -> set[str]:
    """Give patterns of all keys that are said."""
    found = set[str]()
    for source in sources().values():
        for call in CALL.finditer(source):
            found.update(patterns(first_argument(source, call.end())))
        found.update(map(re.escape, KEPT.findall(source)))
    return found


def test_both_languages_have_the_same_texts() -> None:
    assert texts("en").keys() == texts("zh").keys()
    for key, text in texts("en").items():
        other = texts("zh")[key]
        assert text.strip(), key
        assert other.strip(), key
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", other)), key


def test_texts_are_sorted_by_their_keys() -> None:
    for language in ("en", "zh"):
        assert list(texts(language)) == sorted(texts(language))


def test_every_text_that_is_said_is_there() -> None:
    keys = texts("en")
    # An empty text is no key: something is left out then.
    missing = [one for one in said() if one and not any(re.fullmatch(one, key) for key in keys)]

    assert missing == []


def test_every_text_that_is_there_is_said() -> None:
    # Some keys are chosen first and said later.
    named = {key for source in sources().values() for key in re.findall(r'"([a-z]+\.[\w.]+)"', source)}
    known = said()
    keys = [key for key in texts("en") if key.removesuffix(".one") not in named]
    unsaid = [key for key in keys if not any(re.fullmatch(one, key.removesuffix(".one")) for one in known)]

    assert unsaid == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('t("a.b")', {r"a\.b"}),
        ('t(now === "open" ? "a.b" : "a.c")', {r"a\.b", r"a\.c"}),
        ('x(t(on ? "a.b" : "a.c", { n: f("x") }))', {r"a\.b", r"a\.c"}),
        ("tOr(`part.${name}`, name)", {r"part\..+"}),
        ('h("b", {}, t("a"), "c")', {"a"}),
    ],
)
def test_keys_are_found_in_calls(code: str, found: set[str]) -> None:
    calls = [first_argument(code, call.end()) for call in CALL.finditer(code)]

    assert {pattern for call in calls for pattern in patterns(call)} == found


def test_what_the_hub_says_in_english_has_a_text() -> None:
    keys = texts("en")

    assert {f"stale.{one.text}" for one in Reason if one} <= keys.keys()
    assert {f"part.{name}" for name in DEFAULT_WEIGHTS} <= keys.keys()
    assert {f"preset.{name}" for name in PRESETS} <= keys.keys()
    assert {f"family.{row.family}" for row in factor_rows()} <= keys.keys()


def test_factors_are_called_as_the_catalogue_calls_them() -> None:
    told = {
        key.removeprefix("factor."): text for key, text in texts("en").items() if key.startswith("factor.")
    }

    assert told == {row.name: row.title.removesuffix(".") for row in factor_rows()}


def test_the_words_that_are_offered_are_words_of_the_language() -> None:
    source = sources()["catalogue.js"]
    fields = re.search(r"const FIELDS = \[(.*?)\];", source, re.DOTALL)
    functions = re.search(r"const FUNCTIONS = \[(.*?)\];", source, re.DOTALL)
    assert fields is not None
    assert functions is not None
    given = {"x": "close", "y": "open", "condition": "close > 1", "bars": "3", "low": "1", "high": "2"}
    for literal in LITERAL.findall(fields[1]):
        assert repr(parse(literal[0], BY_NAME)) == literal[0]
    for literal in LITERAL.findall(functions[1]):
        name, _, arguments = literal[0].removesuffix(")").partition("(")
        parse(f"{name}({', '.join(given.get(one, one) for one in arguments.split(', '))})", BY_NAME)
    with pytest.raises(DefinitionError):
        parse("nothing(close)", BY_NAME)


def test_sets_of_columns_can_be_computed() -> None:
    sets = re.search(r"export const SETS = \{(.*?)\n\};", sources()["chosen.js"], re.DOTALL)
    assert sets is not None

    for literal in LITERAL.findall(sets[1]):
        parse(literal[0], BY_NAME)


def test_files_stay_short() -> None:
    lengths = {
        str(path.relative_to(STATIC)): path.read_text("utf-8").count("\n")
        for path in STATIC.rglob("*")
        if path.is_file() and not path.is_relative_to(VENDOR) and path.parent.name != "lang"
    }

    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_what_is_not_ours_is_what_it_is_told_to_be() -> None:
    told: list[dict[str, Any]] = json.loads((VENDOR / "versions.json").read_text("utf-8"))
    texts = {text for one in told for text in one["texts"]}
    named = {"versions.json", *(one["file"] for one in told), *texts}

    assert {path.name for path in VENDOR.iterdir()} == named
    for one in told:
        assert hashlib.sha256((VENDOR / one["file"]).read_bytes()).hexdigest() == one["sha256"]
        assert all(one[fact] for fact in ("name", "version", "licence", "made_of", "texts"))


def test_what_the_first_look_needs_is_asked_for_at_once() -> None:
    page = (STATIC / "index.html").read_text("utf-8")
    needed, left = set[str](), ["main.js", "table.js"]
    while left:
        name = left.pop()
        if name not in needed:
            needed.add(name)
            left += IMPORT.findall(sources()[name])

    asked = re.findall(r'rel="modulepreload" href="board/js/(\w+\.js)"', page)
    assert sorted(asked) == sorted(needed - {"main.js"})


def test_no_text_becomes_markup_and_none_is_run() -> None:
    markup = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    assert [name for name, source in sources().items() if markup.search(source)] == []
