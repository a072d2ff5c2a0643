"""What is told beside the klines, kept exactly: one Parquet file for each month and symbol.

A folder holds `<YYYY-MM>/<SYMBOL>.parquet` with `time` (ms UTC) and decimal columns, which DuckDB, polars and
pandas read as they are. Pages carry checksums; a file is written beside its place and then renamed.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from klinehub.errors import DataError, DefinitionError

# Digits of a value, and those behind the point: more than the archive prints of anything.
DIGITS: Final = (38, 18)
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
        self, symbol: str, times: Sequence[int], columns: Mapping[str, Sequence[Decimal | None]]
    ) -> None:
        """Keep rows of a symbol; equal ones again change nothing, one that differs is a DataError."""
        rows = list(zip(times, zip(*(columns[name] for name in self.columns), strict=True), strict=True))
        for month, group in groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: _month(row[0])):
            path = self._path(month, symbol)
            kept = self._rows(path)
            merged = dict(kept)
            for time, values in group:
                if merged.setdefault(time, values) != values:
                    raise DataError(
                        f"{symbol} at {time}: {_told(merged[time])} is kept, and {_told(values)} was read. "
                        f"Remove {path} to read the month again."
                    )
            if merged != kept:
                self._replace(path, dict(sorted(merged.items())))

    def read(self, symbol: str, start: int, end: int) -> Table:
        """Give what is kept of a symbol in [start, end) ms UTC."""
        rows: dict[int, Row] = {}
        for month in sorted(self.folder.glob("*")):
            rows |= self._rows(self._path(month.name, symbol))
        times = tuple(time for time in rows if start <= time < end)
        columns = {name: tuple(rows[time][k] for time in times) for k, name in enumerate(self.columns)}
        return Table(times, columns)

    def _path(self, month: str, symbol: str) -> Path:
        # Names that are not ASCII are written as in the archive's own addresses.
        return self.folder / month / f"{quote(symbol, safe='')}.parquet"

    def _rows(self, path: Path) -> dict[int, Row]:
        """Read a file, nothing where there is none; raises DataError where it is damaged."""
        if not path.exists():
            return {}
        pa, parquet = _pyarrow()
        try:
            table = parquet.read_table(path, partitioning=None, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path} is damaged ({error}): remove it, and download its month again."
            ) from error
        columns = [table[name].to_pylist() for name in self.columns]
        return dict(zip(table["time"].to_pylist(), zip(*columns, strict=True), strict=True))

    def _replace(self, path: Path, rows: Mapping[int, Row]) -> None:
        """Write a file in place of an older one, whole or not at all."""
        pa, parquet = _pyarrow()
        values = [pa.array(column, pa.decimal128(*DIGITS)) for column in zip(*rows.values(), strict=True)]
        table = pa.table([pa.array(rows, pa.int64()), *values], names=["time", *self.columns])
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            parquet.write_table(table, file, compression="zstd", write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _pyarrow() -> Any:  # noqa: ANN401 - two modules
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise DefinitionError(
            "Funding and metrics are kept as Parquet: pip install 'klinehub[parquet]'."
        ) from None
    return pa, parquet


def _month(time: int) -> str:
    return datetime.fromtimestamp(time // 1000, UTC).strftime("%Y-%m")


def _told(values: Row) -> str:
    return ", ".join(str(value) for value in values)
