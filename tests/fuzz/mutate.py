"""Mutations: what happens to bytes on their way, or in the hands of who sends them."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from tests.fuzz.dice import Dice
from tests.fuzz.numerals import adversarial

# Longer inputs only repeat what shorter ones show.
LONGEST: Final = 4096
BYTES: Final = b'"{}[],:\\ \t\n\r\x00\x0b\x1f\x7f\x80\xbf\xc3\xe5\xed\xff0123456789.-+eEtfnux/k'
TOKENS: Final = (
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"{}", b"[]", b"null", b"true", b"false", b"NaN",
    b"-Infinity", b"1", b"0", b"-1", b"01", b"1.5", b'"x":true', b'"o":"7"', b'"k":5', b'"k":{}', b'"k":{',
    b'"data":5', b'"data":{', b'"data":null', b'"e":"kline"', b'"E":5', b'"error":1', b'"error":null',
    b'"ps":3', b'"d\\u0061ta":1', b'\\"', b"\\u0000", b"\\ud800", b"\\n", b"\\q", b"\xef\xbb\xbf",
    b"\xff\xfe", b"\xe5\xb8", b"\xed\xa0\x80", b"\xe5\xb8\x81", b"\x00", b"\x0c", b" \n\t\r ", b"/* */",
    b'"stream":"x"', b'"":0', b'"kk":1', b'"i":"5m"', b'"s":"\\u0042TCUSDT"', b'"B":[[1,{"o":"7"}]]',
    b'"y":{"o":"7","k":{"o":1}}', b'"y":1e999', b'"y":-0.5e-7',
)  # fmt: skip
KEYS: Final[tuple[str, ...]] = (
    *"eEsktTiofclhLvnxqVQBCaZ",
    "data",
    "stream",
    "error",
    "id",
    "ps",
    "ct",
    "cs",
    "",
    "kline",
    "币",
)
_NUMERAL: Final = re.compile(rb"-?[0-9][0-9.eE+-]*")
_KEY: Final = re.compile(rb'"([^"\\]{0,12})"\s*:')
_PAIR: Final = re.compile(rb'"[^"\\]{0,12}"\s*:\s*(?:"[^"\\]*"|[^\s"{}\[\],:]+)')
_TEXT: Final = re.compile(rb'"[^"\\]*"')
_JOINT: Final = re.compile(rb"[{}\[\],:]")


def _span(dice: Dice, data: bytes, most: int) -> tuple[int, int]:
    start = dice.below(len(data) + 1)
    return start, min(len(data), start + 1 + dice.below(most))


def _found(dice: Dice, pattern: re.Pattern[bytes], data: bytes) -> re.Match[bytes] | None:
    """Find one place of *pattern*, counted from a byte drawn."""
    at = dice.below(len(data) + 1)
    return pattern.search(data, at) or pattern.search(data)


def flip(dice: Dice, data: bytes) -> bytes:
    if not data:
        return data
    at = dice.below(len(data))
    return b"%b%c%b" % (data[:at], data[at] ^ 1 << dice.below(8), data[at + 1 :])


def put(dice: Dice, data: bytes) -> bytes:
    at = dice.below(len(data) + 1)
    return b"%b%c%b" % (data[:at], dice.pick(BYTES), data[at + 1 :])


def insert(dice: Dice, data: bytes) -> bytes:
    at = dice.below(len(data) + 1)
    return data[:at] + dice.pick(TOKENS) + data[at:]


def join_in(dice: Dice, data: bytes) -> bytes:
    """Insert a token or a pair right behind a bracket, comma or colon."""
    joint = _found(dice, _JOINT, data)
    if joint is None:
        return data
    at = joint.end() if dice.below(4) else joint.start()
    comma = b"," if dice.below(3) else b""
    before = dice.one_in(4)
    return data[:at] + comma * before + dice.pick(TOKENS) + comma * (not before) + data[at:]


def drop(dice: Dice, data: bytes) -> bytes:
    start, end = _span(dice, data, 12)
    return data[:start] + data[end:]


def repeat(dice: Dice, data: bytes) -> bytes:
    start, end = _span(dice, data, 40)
    return data[:end] + data[start:end] * (1 + dice.below(3)) + data[end:]


def truncate(dice: Dice, data: bytes) -> bytes:
    return data[: dice.below(len(data) + 1)]


def numeral(dice: Dice, data: bytes) -> bytes:
    found = _found(dice, _NUMERAL, data)
    if found is None:
        return data
    return data[: found.start()] + adversarial(dice).encode() + data[found.end() :]


def rename(dice: Dice, data: bytes) -> bytes:
    found = _found(dice, _KEY, data)
    if found is None:
        return data
    return data[: found.start(1)] + dice.pick(KEYS).encode() + data[found.end(1) :]


def escape(dice: Dice, data: bytes) -> bytes:
    """Write one byte of a text as its escape, which changes its spelling and not its meaning."""
    found = _found(dice, _TEXT, data)
    if found is None or len(found[0]) < 3:
        return data
    at = found.start() + 1 + dice.below(len(found[0]) - 2)
    return data[:at] + b"\\u%04x" % data[at] + data[at + 1 :]


def remove_pair(dice: Dice, data: bytes) -> bytes:
    found = _found(dice, _PAIR, data)
    if found is None:
        return data
    comma = data[found.end() : found.end() + 1] == b"," and dice.below(8) > 0
    return data[: found.start()] + data[found.end() + comma :]


def double_pair(dice: Dice, data: bytes) -> bytes:
    """Write a pair once more elsewhere, perhaps with another value."""
    found, into = _found(dice, _PAIR, data), _found(dice, _JOINT, data)
    if found is None or into is None:
        return data
    pair = numeral(dice, found[0]) if dice.one_in(2) else found[0]
    return data[: into.end()] + pair + b"," + data[into.end() :]


def swap_pairs(dice: Dice, data: bytes) -> bytes:
    pairs = sorted({_span_of(_found(dice, _PAIR, data)) for _ in range(2)})
    if len(pairs) < 2 or pairs[0][1] > pairs[1][0]:
        return data
    (a, b), (c, d) = pairs
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _span_of(found: re.Match[bytes] | None) -> tuple[int, int]:
    return found.span() if found else (0, 0)


def retype(dice: Dice, data: bytes) -> bytes:
    """Turn a text into a bare value, a bare number into a text, or either into a list or an object."""
    found = _found(dice, _TEXT if dice.one_in(2) else _NUMERAL, data)
    if found is None:
        return data
    value = found[0]
    bare = value.strip(b'"')
    ways = (bare, b'"' + bare + b'"', b"[" + value + b"]", b'{"a":' + value + b"}", b"null", b"true", b'""')
    return data[: found.start()] + dice.pick(ways) + data[found.end() :]


def nest(dice: Dice, data: bytes) -> bytes:
    """Put a value, or all of it, into brackets; seldom into more than a reader can follow."""
    depth = 3000 if dice.one_in(200) else dice.pick((1, 1, 1, 2, 2, 5, 40))
    left, right = dice.pick(((b"[", b"]"), (b'{"a":', b"}"), (b'{"data":', b"}"), (b'{"k":', b"}")))
    start, end = _span_of(_found(dice, _TEXT, data)) if dice.below(4) else (0, len(data))
    right = right * depth if dice.below(4) else right
    return data[:start] + left * depth + data[start:end] + right + data[end:]


def space(dice: Dice, data: bytes) -> bytes:
    """Put white space, real or what some take for it, beside a bracket, comma or colon."""
    joint = _found(dice, _JOINT, data)
    at = joint.end() - dice.below(2) if joint else 0
    return data[:at] + dice.pick((b" ", b"\t", b"\n", b"\r", b"\x00", b"\x0b", b"\x0c", b"\xa0")) + data[at:]


MUTATIONS: Final[Sequence[Callable[[Dice, bytes], bytes]]] = (
    flip, put, insert, join_in, drop, repeat, truncate, numeral, numeral, rename, escape, remove_pair,
    double_pair, swap_pairs, retype, nest, space,
)  # fmt: skip


def mutated(dice: Dice, data: bytes) -> bytes:
    """Change *data* in one to four ways."""
    for _ in range(dice.pick((1, 1, 1, 2, 3, 4))):
        data = dice.pick(MUTATIONS)(dice, data)
    return data if len(data) <= LONGEST else data[: LONGEST * 3]


def spliced(dice: Dice, one: bytes, other: bytes) -> bytes:
    """Join the beginning of one input to the end of another, at brackets or commas if they have some."""
    a, b = _found(dice, _JOINT, one), _found(dice, _JOINT, other)
    return one[: a.start() if a else len(one)] + other[b.start() if b else 0 :]
