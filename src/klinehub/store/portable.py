"""Bars as Arrow tables that leave klinehub and come back exactly: integers, and the decimals beside them.

The columns are those of a segment (see parquet.py); which market and timeframe they are of stands in the
table's own metadata.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.timeframe import TIMEFRAMES, Timeframe
from klinehub.errors import DataError
from klinehub.panel.memory import CLOSE, OPEN
from klinehub.store.joining import of_words
from klinehub.store.parquet import arrow, priced, schema, table_of, words_in

_TIMEFRAME: Final = b"klinehub.timeframe"
_MARKET: Final = b"klinehub.market"
_DECIMALS: Final = ("price_decimals", "base_decimals", "quote_decimals")
_MOST_DECIMALS: Final = 18


def columns(market: str, timeframe: Timeframe) -> Any:  # noqa: ANN401 - a pyarrow.Schema
    """Give the columns of a table of *market*; symbols are plain text, which every reader takes."""
    pa = arrow()
    plain = schema().set(0, pa.field("symbol", pa.string()))
    return plain.with_metadata({_TIMEFRAME: timeframe.name, _MARKET: market})


def table(group: Sequence[tuple[str, Exact]], wanted: Any) -> Any:  # noqa: ANN401 - of pyarrow
    """Give bars by symbol as a pyarrow Table of the *wanted* columns."""
    return table_of(group, schema()).cast(wanted)


def told(name: str, found: Any) -> tuple[str, Timeframe]:  # noqa: ANN401 - a pyarrow.Schema
    """Read of which market and timeframe the columns *found* in a file are; raises DataError."""
    said = found.metadata or {}
    if _TIMEFRAME not in said or found.names != schema().names:
        raise DataError(
            f"{name} is no export of klinehub: its columns have to be {', '.join(schema().names)}, "
            "as `klinehub store export` writes them."
        )
    frame = said[_TIMEFRAME].decode("utf-8", "replace")
    if frame not in TIMEFRAMES:
        raise DataError(f"{name} holds bars of {frame!r}, which is no timeframe.")
    return said.get(_MARKET, b"").decode("utf-8", "replace"), TIMEFRAMES[frame]


def bars(name: str, found: Any) -> Iterator[tuple[str, Exact]]:  # noqa: ANN401 - a pyarrow.Table
    """Give the bars of a table in runs of one symbol with the same decimals; raises DataError."""
    pa = arrow()
    numbers = [one for one in found.column_names if one in (ROW.names or ())]
    try:
        plain = found.cast(pa.schema([*columns("", TIMEFRAMES["1m"])]))
    except pa.ArrowException as exc:
        raise DataError(f"{name} holds other columns than an export: {exc}.") from exc
    if any(column.null_count for column in plain.columns):
        raise DataError(f"{name} lacks values: it is no export of klinehub, or was changed.")
    words = words_in(plain.select(numbers))
    scales = np.column_stack([plain[one].to_numpy() for one in _DECIMALS]).astype(np.int64)
    if words.size and (words[:, OPEN : CLOSE + 1].min() < 0 or not 0 <= scales.min() <= scales.max() <= 18):
        raise DataError(f"{name} holds a price below zero, or more than {_MOST_DECIMALS} decimals.")
    coded = plain["symbol"].combine_chunks().dictionary_encode()
    codes, symbols = coded.indices.to_numpy(), coded.dictionary.to_pylist()
    keys = np.column_stack([codes, scales])
    cuts = np.flatnonzero(np.any(keys[1:] != keys[:-1], axis=1)) + 1
    for low, high in zip([0, *cuts], [*cuts, len(words)], strict=True):
        if high > low:
            scale = Scale(*scales[low].tolist())
            yield symbols[codes[low]], of_words(priced(words[low:high], scale), scale)
