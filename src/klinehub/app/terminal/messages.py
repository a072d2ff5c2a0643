"""What a hub tells the board, read: the kinds that it writes as values, and those that it writes row by row.

A row is an index into the newest list of symbols; what is told of rows carries that list's number, `layout`.
Times are ms UTC of the exchange, None stands for what is not known.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from klinehub.errors import DataError
from klinehub.serve.board.messages import EvidenceTold, Failed, HealthTold, Hello, StaleRows, Symbols, Wrong

Figures = Sequence[float | None]


class Errors(msgspec.Struct, frozen=True):
    """What of a view is not computed, and why."""

    where: Wrong | None = None
    columns: Mapping[str, Wrong] = {}
    timeframe: Wrong | None = None
    at: Wrong | None = None


class Answered(msgspec.Struct, frozen=True, tag="view"):
    """What becomes of the view that was asked for."""

    id: int
    errors: Errors = Errors()


class Table(msgspec.Struct, frozen=True, kw_only=True, tag="table"):
    """The values of a view at one bar, a number for each row."""

    layout: int
    view: int
    timeframe: str
    open_time: int
    close_time: int
    close: Figures
    change: Figures
    score: Figures
    parts: Mapping[str, Figures]
    values: Mapping[str, Figures]
    passes: Sequence[int] | None = None
    warming: tuple[int, ...] = ()


class Spark(msgspec.Struct, frozen=True, kw_only=True, tag="spark"):
    """The last closes and volumes of each row: base64 of a byte a bar, 255 for none."""

    layout: int
    view: int
    bars: int
    closes: Sequence[str]
    volumes: Sequence[str]


class Prices(msgspec.Struct, frozen=True, kw_only=True, tag="prices"):
    """What changed of some rows since it was told last; changes are in percent."""

    layout: int
    time: int
    rows: Sequence[int]
    price: Figures
    change: Figures
    day: Figures
    turnover: Figures


class Alert(msgspec.Struct, frozen=True):
    """Something of which the user wanted to be told, as far as it is shown here."""

    symbol: str
    timeframe: str
    price: float | None = None
    rule: str = ""
    screen: str = ""


class Alerted(msgspec.Struct, frozen=True, tag="alert"):
    """A new entry of the log of alerts."""

    alert: Alert


_Rows = Symbols | Table | Spark | Prices | StaleRows
Message = Hello | Answered | HealthTold | EvidenceTold | Alerted | Failed | _Rows
KINDS: Final = frozenset(
    {
        *("hello", "symbols", "view", "table", "spark", "prices"),
        *("stale", "health", "evidence", "alert", "failed"),
    }
)
_MESSAGE: Final = msgspec.json.Decoder(Message)


class _Kind(msgspec.Struct):
    type: str = ""


_KIND: Final = msgspec.json.Decoder(_Kind)


def decode(text: str | bytes) -> Message | None:
    """Read a message; None for a kind that is not known here. Raises DataError for what is none."""
    try:
        if _KIND.decode(text).type not in KINDS:
            return None
        told: Message = _MESSAGE.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DataError(
            f"The hub told something that is not of this protocol ({exc}): use the same version of klinehub "
            "here and there."
        ) from exc
    return told
