"""Klines in their two forms: exact rows as kept, and float rows as read."""

from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from klinehub.domain.stale import Stale
from klinehub.errors import DefinitionError

if TYPE_CHECKING:
    import pandas as pd

# A bar is nothing, then forming, then closed, then verified (audited against a second answer).
EMPTY: Final = 0
FORMING: Final = 1
CLOSED: Final = 2
VERIFIED: Final = 3

# The exact form: prices are the float64 nearest to the exchange's text, the four volumes are
# integer mantissas, because float64 cannot hold every printed volume. 10 words of 8 bytes.
ROW: Final = np.dtype(
    [
        ("open_time", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<i8"),
        ("quote_volume", "<i8"),
        ("trades", "<i8"),
        ("taker_base", "<i8"),
        ("taker_quote", "<i8"),
    ],
)
ROW_WORDS: Final = 10

# The form users read: the same bars with float volumes in units of the asset, 12 words.
KLINE: Final = np.dtype(
    [
        ("open_time", "<i8"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<f8"),
        ("close_time", "<i8"),
        ("quote_volume", "<f8"),
        ("trades", "<i8"),
        ("taker_base", "<f8"),
        ("taker_quote", "<f8"),
        ("state", "<i8"),
    ],
)
KLINE_WORDS: Final = 12

Rows = npt.NDArray[np.void]


class Scale(NamedTuple):
    """How many decimals the exchange prints for a symbol's prices, base and quote volumes."""

    price: int
    base: int
    quote: int


class Exact(NamedTuple):
    """Exact rows (dtype ROW, oldest first) with the decimals of their mantissas."""

    rows: Rows
    scale: Scale


class Klines(np.ndarray[tuple[int], np.dtype[np.void]]):
    """A structured array of klines, oldest first (dtype KLINE); a copy, safe to keep.

    `stale` says why they are not proven to be the newest, and since when; it is None when they are.
    """

    stale: Stale | None = None

    @classmethod
    def empty(cls, size: int) -> Self:
        """Give an array for *size* klines whose cells are not yet set."""
        return np.empty(size, KLINE).view(cls)

    def to_pandas(self) -> "pd.DataFrame":
        """Give a DataFrame indexed by tz-aware open time (UTC); needs the pandas extra."""
        try:
            import pandas as pd  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as exc:
            raise DefinitionError("DataFrames need pandas: pip install 'klinehub[pandas]'.") from exc
        plain = self.view(np.ndarray)
        frame = pd.DataFrame({name: plain[name] for name in KLINE.names or () if name != "open_time"})
        frame.index = pd.to_datetime(plain["open_time"], unit="ms", utc=True)
        frame.index.name = "open_time"
        return frame
