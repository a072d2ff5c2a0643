"""What is told beside the klines, kept exactly: one Parquet file for each symbol and month.

A folder holds `<YYYY-MM>/<SYMBOL>.parquet` with `time` (ms UTC) and decimal columns, which DuckDB, polars and
pandas read as they are. The footer tells the CRC-32 of the file; a file is there whole or not at all.
"""

import io
import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from klinehub.errors import DataError
from klinehub.store import disk
from klinehub.store.parquet import arrow

# Digits of a value, and those behind the point: more than the archive prints of anything.
DIGITS: Final = (38, 18)
# The check as the footer tells it; it is made of the file with zeros in this place.
_CHECK: Final = re.compile(rb"crc32=[0-9a-f]{8}")
_UNCHECKED: Final = b"crc32=00000000"
Row = tuple[Decimal | None, ...]


class Table(NamedTuple):
    """Rows by time (ms UTC), oldest first, with the values of each named column; None where nothing is."""

    times: tuple[int, ...]
    columns: Mapping[str, tuple[Decimal | None, ...]]


class SeriesStore:
    """Rows by symbol and time with the decimal *columns*, kept below *folder*; needs the parquet extra."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self.folder = folder
        self.columns = tuple(columns)

    def write(
        self,
        symbol: str,
        times: Sequence[int],
        columns: Mapping[str, Sequence[Decimal | None]],
        *,
        replace: bool = False,
    ) -> int:
        """Keep rows of a symbol and say how many are new; equal ones again change nothing.

        Raises DataError, and writes nothing, for a row that differs from the one that is kept, unless
        *replace* puts it in its place.
        """
        values = zip(*(columns[name] for name in self.columns), strict=True)
        rows = sorted(zip(times, values, strict=True), key=lambda row: row[0])
        months = {month: dict(group) for month, group in groupby(rows, key=lambda row: _month(row[0]))}
        kept = {month: self._rows(self._path(month, symbol)) for month in months}
        for month, new in months.items():
            if not replace:
                _refuse_others(symbol, kept[month], new)
        with disk.alone(self.folder):
            for month, new in months.items():
                merged = dict(sorted({**kept[month], **new}.items()))
                if merged != kept[month]:
                    self._put(self._path(month, symbol), merged)
        return sum(len(new.keys() - kept[month].keys()) for month, new in months.items())

    def read(self, symbol: str, start: int, end: int) -> Table:
        """Give what is kept of a symbol in [start, end) ms UTC; raises DataError for a damaged file."""
        rows: dict[int, Row] = {}
        for path in sorted(self.folder.glob(f"*/{_file(symbol)}")):
            rows |= self._rows(path)
        times = tuple(time for time in rows if start <= time < end)
        columns = {name: tuple(rows[time][k] for time in times) for k, name in enumerate(self.columns)}
        return Table(times, columns)

    def _path(self, month: str, symbol: str) -> Path:
        return self.folder / month / _file(symbol)

    def _rows(self, path: Path) -> dict[int, Row]:
        """Read a file, nothing where there is none; raises DataError where it is damaged."""
        if not path.exists():
            return {}
        pa, body = arrow(), path.read_bytes()
        if not _CHECK.search(body) or _checked(_CHECK.sub(_UNCHECKED, body)) != body:
            raise DataError(f"{path} is damaged: remove it, and download its month again.")
        table = pa.parquet.ParquetFile(pa.BufferReader(body)).read(use_threads=False)
        columns = [table[name].to_pylist() for name in self.columns]
        return dict(zip(table["time"].to_pylist(), zip(*columns, strict=True), strict=True))

    def _put(self, path: Path, rows: Mapping[int, Row]) -> None:
        """Write a file in place of an older one."""
        pa = arrow()
        values = [pa.array(column, pa.decimal128(*DIGITS)) for column in zip(*rows.values(), strict=True)]
        told = {"klinehub": _UNCHECKED}
        table = pa.table([pa.array(rows, pa.int64()), *values], ["time", *self.columns], metadata=told)
        body = io.BytesIO()
        pa.parquet.write_table(table, body, compression="zstd")
        disk.make(path.parent)
        disk.put(path, _checked(body.getvalue()))


def _checked(body: bytes) -> bytes:
    """Put the check of a file into its footer."""
    return body.replace(_UNCHECKED, b"crc32=%08x" % zlib.crc32(body))


def _refuse_others(symbol: str, kept: Mapping[int, Row], new: Mapping[int, Row]) -> None:
    """Raise DataError for a row that differs from the one that is kept."""
    for time, values in new.items():
        if kept.get(time, values) != values:
            told = (", ".join(map(str, row)) for row in (kept[time], values))
            raise DataError(
                f"{symbol} at {time}: {' and '.join(told)}: the first is kept, nothing was written. "
                "Where the second is right, write with replace=True."
            )


def _file(symbol: str) -> str:
    # Names that are not ASCII are spelled as in the archive's own addresses.
    return f"{quote(symbol, safe='')}.parquet"


def _month(time: int) -> str:
    return datetime.fromtimestamp(time // 1000, UTC).strftime("%Y-%m")
