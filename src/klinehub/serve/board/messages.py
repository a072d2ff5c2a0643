"""Messages of the board's connection: what a page asks for, and what it is told.

Lists go by row, a symbol's place in the newest `symbols`. Rows are only added, and `layout` is how many there
were when a list was made: it may be shorter than the newest `symbols`, and is never longer. Times are ms UTC
of exchange time; what is not known is null.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from klinehub.scan.likeness import Calibration

PROTOCOL: Final = 1
MOST_COLUMNS: Final = 40
MOST_TEXT: Final = 500
MOST_SPARK: Final = 200
USUAL_SPARK: Final = 48

Number = Annotated[int, Meta(ge=0, le=2**53)]


class ViewAsked(msgspec.Struct, frozen=True, tag="view", kw_only=True, forbid_unknown_fields=True):
    """What to compute of every symbol; `at` is a past moment, 0 for what is live."""

    id: Number
    timeframe: str
    columns: tuple[str, ...] = ()
    where: str = ""
    forming: bool = False
    at: Number = 0


class SparkAsked(msgspec.Struct, frozen=True, tag="spark", kw_only=True, forbid_unknown_fields=True):
    """How many bars of each symbol to draw small, 0 for none."""

    bars: Annotated[int, Meta(ge=0, le=MOST_SPARK)] = USUAL_SPARK


decode = msgspec.json.Decoder(ViewAsked | SparkAsked).decode


class Preset(msgspec.Struct, frozen=True):
    """A look at the market by its name: a condition, columns and an order in texts.

    `kind` is score, own or preset.
    """

    name: str
    kind: str
    where: str
    columns: Sequence[str]
    order_by: str | None


class PartTold(msgspec.Struct, frozen=True):
    """A part of the score: its name, what it weighs, and its text."""

    name: str
    weight: float
    text: str


class Hello(msgspec.Struct, frozen=True, tag="hello", kw_only=True):
    """Which hub this is; `rate` is market seconds per second."""

    protocol: int = PROTOCOL
    version: str
    exchange: str
    time: int
    rate: float
    tz: str
    url: str
    timeframes: Sequence[str]
    base: str
    default: str
    presets: Sequence[Preset]
    parts: Sequence[PartTold]
    can: Mapping[str, bool]


class SymbolTold(msgspec.Struct, frozen=True):
    """A row of the board; a delivery time of 0 is none in sight."""

    symbol: str
    pair: str
    base: str
    quote: str
    status: str
    contract_type: str
    underlying_type: str
    onboard_time: int
    delivery_time: int
    price_decimals: int


class Symbols(msgspec.Struct, frozen=True, tag="symbols"):
    """The rows; they never move, and new ones come at the end."""

    layout: int
    symbols: Sequence[SymbolTold]


class Wrong(msgspec.Struct, frozen=True):
    """What is wrong with a text, and how many characters are before it."""

    message: str
    place: int | None = None


class Viewed(msgspec.Struct, frozen=True, tag="view"):
    """What becomes of a view that was asked for: what is wrong with it is left out."""

    id: int
    errors: Mapping[str, Wrong | Mapping[str, Wrong]]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """A view that is given up."""

    view: int
    message: str


class StaleTold(msgspec.Struct, frozen=True):
    """Why a symbol is not proven fresh, and since when."""

    reason: str
    since: int


class StaleRows(msgspec.Struct, frozen=True, tag="stale"):
    """All rows that are not proven fresh."""

    layout: int
    rows: Mapping[str, StaleTold]


class EvidenceTold(msgspec.Struct, frozen=True, tag="evidence"):
    """What came after scores on history, by the timeframes on which the default score was calibrated."""

    frames: Mapping[str, Calibration]


class Lag(msgspec.Struct, frozen=True):
    """Seconds of market time from a base bar's end to its announcement, over the newest `count` of them."""

    p50: float | None
    p99: float | None
    count: int


class Weight(msgspec.Struct, frozen=True):
    """Request weight that counts against this exchange minute, and what may be spent; 0 for any."""

    used: int
    limit: int


class RestTold(msgspec.Struct, frozen=True):
    """Whether the exchange may be asked now; if not why, and until when."""

    open: bool
    why: str
    until: int


class Sockets(msgspec.Struct, frozen=True):
    """The streams: how many sockets are up, why one was lost last, and when one came back last."""

    up: int
    all: int
    loss: str
    reconnects: int
    last_reconnect: int


class HealthTold(msgspec.Struct, frozen=True, tag="health", kw_only=True):
    """How well the hub's data is."""

    time: int
    symbols: int
    fresh: int
    stale: int
    reasons: Mapping[str, int]
    lag: Lag
    gaps: int
    weight: Weight
    rest: RestTold
    sockets: Sockets
    closes: int
    store_fault: str
    bytes: int
