"""Frames that are no klines, or klines that cannot be; whoever takes one for a kline is wrong.

The one exception is a frame with unknown fields beside true ones: the exchange may add some any day.
"""

import copy
from collections.abc import Callable
from typing import Any, Final

import msgspec
import numpy as np

from klinehub.sim.mishap import one_of

Event = dict[str, Any]
_YEARS: Final = 10 * 365 * 86_400_000
_NUMERALS: Final[tuple[Any, ...]] = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1.5",
    "",
    "0x1p3",
    "1,5",
    None,
    True,
    [],
    {},
)
_NOT_JSON: Final = (
    *(b"", b"hello", b"null", b"42", b"[]", b"{}", b"\xff\xfe\x00", b'"kline"', b'{"e":"kline"', b"[" * 400),
    *(b'{"result":null,"id":987654}', b'{"e":"aggTrade","s":"BTCUSDT","p":"1"}', b'{"e":"kline","k":[]}'),
)


def _text(event: Event) -> bytes:
    return msgspec.json.encode(event)


def _junk(_: Event, rng: np.random.Generator) -> bytes:
    return one_of(_NOT_JSON, rng.random())


def _truncated(event: Event, rng: np.random.Generator) -> bytes:
    text = _text(event)
    return text[: 1 + int(rng.random() * (len(text) - 2))]


def _bad_number(event: Event, rng: np.random.Generator) -> bytes:
    event["k"][one_of("ohlcvqVQ", rng.random())] = one_of(_NUMERALS, rng.random())
    return _text(event)


def _bare_word(event: Event, rng: np.random.Generator) -> bytes:
    """Write a price as JSON does not know it, but many parsers do."""
    name = one_of("ohlc", rng.random())
    old = f'"{name}":"{event["k"][name]}"'.encode()
    word = one_of((b"NaN", b"Infinity", b"-Infinity"), rng.random())
    return _text(event).replace(old, f'"{name}":'.encode() + word)


def _crossed(event: Event, _: np.random.Generator) -> bytes:
    """Put the high below the low."""
    bar = event["k"]
    bar["h"] = _halved(bar["l"])
    return _text(event)


def _outside(event: Event, rng: np.random.Generator) -> bytes:
    """Put open or close below the low."""
    bar = event["k"]
    bar[one_of("oc", rng.random())] = _halved(bar["l"])
    return _text(event)


def _halved(price: str) -> str:
    whole, point, part = price.partition(".")
    digits = str(int(whole + part) // 2).rjust(len(part) + 1, "0")
    return f"{digits[: len(digits) - len(part)]}{point}{digits[len(digits) - len(part) :]}"


def _wrong_type(event: Event, rng: np.random.Generator) -> bytes:
    name, value = one_of(
        (("t", "soon"), ("t", 1.5), ("T", None), ("x", "true"), ("x", 1), ("n", "7"), ("n", -3), ("i", 1)),
        rng.random(),
    )
    event["k"][name] = value
    return _text(event)


def _lacking(event: Event, rng: np.random.Generator) -> bytes:
    del event["k"][one_of("tohlcvxq", rng.random())]
    return _text(event)


def _off_grid(event: Event, _: np.random.Generator) -> bytes:
    event["k"]["t"] += 1
    return _text(event)


def _far_off(event: Event, _: np.random.Generator) -> bytes:
    """Move a bar to a time that is years away."""
    event["k"]["t"] += _YEARS
    event["k"]["T"] += _YEARS
    return _text(event)


def _foreign(event: Event, _: np.random.Generator) -> bytes:
    event["s"] = event["k"]["s"] = "NOSUCHUSDT"
    return _text(event)


_SPOILERS: Final[tuple[Callable[[Event, np.random.Generator], bytes], ...]] = (
    *(_junk, _truncated, _bad_number, _bad_number, _bare_word, _crossed, _outside, _wrong_type),
    *(_lacking, _off_grid, _far_off, _foreign),
)


def spoiled(event: Event, rng: np.random.Generator) -> bytes:
    """Give the payload of a kline event made wrong in one of many ways."""
    return one_of(_SPOILERS, rng.random())(copy.deepcopy(event), rng)


def with_more_fields(event: Event) -> bytes:
    """Give the payload of a kline event with fields that nobody knows, before and among those it has."""
    bar = {"zz": [1, {"t": 0}], **event["k"], "y": {"c": "0"}, "N": None}
    return _text({"st": 2, **event, "k": bar, "v2": "x"})
