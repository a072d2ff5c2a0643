"""What the own API answers with: its documents."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

Time = Annotated[int, Meta(description="ms UTC of exchange time")]


class Failure(msgspec.Struct, frozen=True):
    """What went wrong, and what to do about it."""

    error: str
    message: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub follows, whether it can be relied on, and what it counts.

    `alerts_failure` says why alerts can not be written down, and are not sent.
    """

    exchange: str
    time: Time
    ready: bool
    reasons: tuple[str, ...]
    timeframes: tuple[str, ...]
    symbols: int
    universe_time: Time
    universe_failure: str
    alerts_failure: str
    counts: Mapping[str, bool | int | float | str]


class Done(msgspec.Struct, frozen=True):
    """A change was made to what has this name."""

    name: str


class Close(msgspec.Struct, frozen=True):
    """An event: a bar of a timeframe is final, for all live symbols or for all but the missing ones."""

    timeframe: str
    bar: int
    open_time: Time
    complete: bool
    missing: tuple[str, ...]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Expressions of one symbol bar by bar, oldest first, by their texts; null where not known."""

    symbol: str
    timeframe: str
    open_time: Sequence[Time]
    values: Mapping[str, Sequence[float | None]]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a text can be read; if not what is wrong, and how many characters are before it.

    `hits` are the symbols that a condition lets in now, null where that is not known.
    """

    ok: bool
    message: str = ""
    place: int | None = None
    hits: int | None = None


class Health(msgspec.Struct, frozen=True):
    """The process is alive."""

    status: str = "ok"


class Readiness(msgspec.Struct, frozen=True):
    """Whether the hub can be relied on now, and why not."""

    ready: bool
    reasons: tuple[str, ...] = ()


class Pairlist(msgspec.Struct, frozen=True):
    """What freqtrade's RemotePairList reads: pairs, and the least seconds between two askings."""

    pairs: list[str]
    refresh_period: int
