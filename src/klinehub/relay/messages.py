"""Messages: what hubs tell each other, as MessagePack maps that a JSON Schema describes.

Numbers are integers, times are exchange time in ms UTC. Bars are a slice as a store keeps it (exact, some
25 bytes a symbol), whose line numbers count the message's own `symbols`, so that each can be read alone.
"""

import sys
from typing import Final, TypeVar

import msgspec

from klinehub.domain.listing import Listing
from klinehub.errors import DataError

# Part of every subject: who writes another version talks past this one, and is not misread.
VERSION: Final = 1


class Fix(msgspec.Struct, frozen=True):
    """A closed bar that was corrected: what it is now (ten words, decimals), why, and when."""

    symbol: str
    row: tuple[int, ...]
    scale: tuple[int, int, int]
    cause: str
    time: int


class Bars(msgspec.Struct, frozen=True):
    """A bar of a timeframe of all symbols that a hub follows: told at its close, and again when it changed.

    `bar` is its absolute index. `missing` are symbols without it, which the hub did not wait for any longer.
    `scales` are three bytes a symbol, the decimals of price, base and quote volume.
    """

    hub: str
    timeframe: str
    bar: int
    open_time: int
    time: int
    symbols: tuple[str, ...]
    scales: bytes
    slice: bytes
    missing: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()


class Pulse(msgspec.Struct, frozen=True):
    """Told every second: the bars that are open in the smallest timeframe, and what is proved fresh.

    `symbols` are those with an open bar, `pending` how many bars are yet to be told as they are. `heard` are
    eight bytes for each symbol that the hub `follows`, little-endian: up to when its stream has told. `stale`
    gives for those that are not proved fresh the number of the reason and since when.
    """

    hub: str
    timeframe: str
    bar: int
    time: int
    rate: float
    follows: tuple[str, ...]
    heard: bytes
    symbols: tuple[str, ...]
    scales: bytes
    slice: bytes
    pending: int = 0
    stale: dict[str, tuple[int, int]] = {}


class Listed(msgspec.Struct, frozen=True):
    """What a market lists and a hub follows of it, in which timeframes and how deep.

    `firsts` are by timeframe and symbol the first bars (absolute index) that there are at all, of those of
    which that is known.
    """

    market: str
    quote: str
    timeframes: tuple[str, ...]
    bars: int
    symbols: tuple[str, ...]
    listings: tuple[Listing, ...]
    firsts: dict[str, dict[str, int]] = {}


Message = Bars | Pulse | Listed
M = TypeVar("M", Bars, Pulse, Listed)
_encoder = msgspec.msgpack.Encoder()
_DECODERS: Final = {kind: msgspec.msgpack.Decoder(kind) for kind in (Bars, Pulse, Listed)}
# As other programs are told.
KINDS: Final = (Bars, Pulse, Listed)


def encode(message: Message) -> bytes:
    """Give a message as bytes."""
    return _encoder.encode(message)


def decode(data: bytes, kind: type[M]) -> M:
    """Read a message; raises DataError for one that this version cannot read."""
    try:
        found = _DECODERS[kind].decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise DataError(
            f"A message of another hub could not be read ({exc}): run one version of klinehub everywhere."
        ) from exc
    if not isinstance(found, kind):
        raise TypeError(kind)
    return found


def schema() -> bytes:
    """Give the JSON Schema of all messages; `bytes` are binary in MessagePack, not base64."""
    kinds, parts = msgspec.json.schema_components(KINDS, ref_template="#/$defs/{name}")
    told = {"$schema": "https://json-schema.org/draft/2020-12/schema", "oneOf": list(kinds), "$defs": parts}
    return msgspec.json.format(msgspec.json.encode(told), indent=2)


if __name__ == "__main__":
    sys.stdout.write(schema().decode() + "\n")
