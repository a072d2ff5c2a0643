"""Recorded bars in files: Parquet or CSV with a row for each bar, read into one panel.

1. Columns go by name: symbol, open_time, open, high, low, close, volume, and quote_volume, trades, taker_base
   and taker_quote where they are there. A file without `symbol` is of the one that its name begins with.
2. Times are ms or µs UTC, or timestamps. The timeframe is the smallest step between two bars.
3. Turnover that nobody recorded is estimated: volume times the mean of high, low and close. What else lacks
   is unknown.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from klinehub.domain.timeframe import TIMEFRAMES, Timeframe
from klinehub.errors import DataError, DefinitionError
from klinehub.panel.history import History
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import PLANES
from klinehub.store.parquet import parquet_at

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES: Final = (".parquet", ".csv", ".csv.gz")
_NEEDED: Final = ("open_time", "open", "high", "low", "close", "volume")
_PLANE: Final = {name: plane for plane, name in enumerate(PLANES)}
# Later than any time in ms, and earlier than any in µs.
_MICROSECONDS: Final = 10**14


class Recorded(NamedTuple):
    """The bars of some files, the fields that nobody recorded, and those that are estimated from others."""

    bars: History
    unavailable: frozenset[str]
    estimated: frozenset[str]


class _Rows(NamedTuple):
    """Rows of one file: the symbol's number in *symbols*, the time in ms, and fields by name."""

    symbols: list[str]
    codes: I64
    times: I64
    fields: Mapping[str, F64]


def files_of(path: Path) -> list[Path]:
    """List the files of a path that can be read, by name; none where it holds no recording."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if file.name.endswith(SUFFIXES)]


def recorded(path: Path) -> Recorded:
    """Read a file, or all files of a folder.

    Raises DefinitionError where there is none that can be read, DataError where the rows are no bars.
    """
    files = files_of(path)
    if not files:
        raise DefinitionError(f"{path} holds no {', '.join(SUFFIXES)} files: name what was recorded.")
    parts = [_rows(file) for file in files]
    names = sorted({name for part in parts for name in part.symbols})
    place = {name: row for row, name in enumerate(names)}
    rows = np.concatenate([np.array([place[name] for name in one.symbols])[one.codes] for one in parts])
    times = np.concatenate([one.times for one in parts])
    frame = _timeframe(path, rows, times)
    first = int(times.min()) // frame.milliseconds
    bars = times // frame.milliseconds - first
    planes = np.full((len(PLANES), len(names), int(bars.max()) + 1), np.nan)
    fields = [name for name in PLANES if all(name in one.fields for one in parts)]
    for name in fields:
        planes[_PLANE[name], rows, bars] = np.concatenate([one.fields[name] for one in parts])
    lacking = frozenset(PLANES) - frozenset(fields)
    estimated = lacking & {"quote_volume"}
    if estimated:
        prices = planes[_PLANE["high"]] + planes[_PLANE["low"]] + planes[_PLANE["close"]]
        planes[_PLANE["quote_volume"]] = planes[_PLANE["volume"]] * prices / 3.0
    return Recorded(History(frame, names, first, planes), lacking - estimated, estimated)


def _timeframe(path: Path, rows: I64, times: I64) -> Timeframe:
    """Find which timeframe the bars of any symbol are of."""
    order = np.lexsort((times, rows))
    steps = np.diff(times[order])[np.diff(rows[order]) == 0]
    if not steps.size:
        raise DefinitionError(f"{path} has one bar of each symbol: name files with more.")
    step = int(steps.min())
    if not step:
        at = int(times[order][1:][(np.diff(times[order]) == 0) & (np.diff(rows[order]) == 0)][0])
        raise DataError(f"{path} has a bar twice, at {at}: keep one of them.")
    for frame in TIMEFRAMES.values():
        if frame.milliseconds == step and not frame.monthly and not (times % step).any():
            return frame
    raise DefinitionError(f"{path} has bars {step} ms apart, which is no timeframe: resample them before.")


def _rows(file: Path) -> _Rows:
    """Read one file."""
    table = _table(file)
    lacking = [name for name in _NEEDED if name not in table.column_names]
    if lacking:
        raise DataError(
            f"{file.name} has no column {', '.join(lacking)}: it has {', '.join(table.column_names)}."
        )
    column: Any = table["open_time"]
    if str(column.type).startswith("timestamp"):
        column = column.cast("timestamp[ms]").cast("int64")
    times = np.asarray(column).astype(np.int64)
    if times.size and int(times[0]) > _MICROSECONDS:
        times = times // 1_000
    fields: dict[str, F64] = {
        name: np.asarray(table[name]).astype(np.float64) for name in PLANES if name in table.column_names
    }
    return _Rows(*_symbols(file, table), times, fields)


def _symbols(file: Path, table: "pa.Table") -> tuple[list[str], I64]:
    """Give the symbols of a file, and which of them each row is of."""
    if "symbol" not in table.column_names:
        return [file.name.split(".")[0].split("-")[0].split("_")[0]], np.zeros(table.num_rows, np.int64)
    column: Any = table["symbol"].combine_chunks()
    if not str(column.type).startswith("dictionary"):
        column = column.dictionary_encode()
    return column.dictionary.to_pylist(), np.asarray(column.indices).astype(np.int64)


def _table(file: Path) -> "pa.Table":
    """Read a file as Arrow has it."""
    try:
        from pyarrow import csv  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as exc:
        raise DefinitionError(f"{file.name} needs pyarrow: pip install 'klinehub[parquet]'.") from exc
    try:
        if file.suffix == ".parquet":
            read: pa.Table = parquet_at(file).read(use_threads=False)
            return read
        return csv.read_csv(file, csv.ReadOptions(use_threads=False))
    except (OSError, ValueError) as exc:
        raise DataError(f"{file} can not be read: {exc}") from exc
