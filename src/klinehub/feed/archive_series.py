"""Archive CSV of what is told beside the klines: funding rates, and metrics (open interest …)."""

import csv
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple

from klinehub.errors import DataError
from klinehub.feed.archive_names import Kind
from klinehub.feed.body import number

Value = Decimal | None
# The columns of each kind, in the archive's words; its own time column comes first.
_TIME: Final = {Kind.FUNDING: "calc_time", Kind.METRICS: "create_time"}
COLUMNS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.FUNDING: ("funding_interval_hours", "last_funding_rate"),
    Kind.METRICS: (
        "sum_open_interest",
        "sum_open_interest_value",
        "count_toptrader_long_short_ratio",
        "sum_toptrader_long_short_ratio",
        "count_long_short_ratio",
        "sum_taker_long_short_vol_ratio",
    ),
}


class Told(NamedTuple):
    """What was told at some times (ms UTC), oldest first; a value that the archive leaves empty is None."""

    times: tuple[int, ...]
    columns: Mapping[str, tuple[Value, ...]]


def read_series(text: bytes, name: str, kind: Kind) -> Told:
    """Read a file of funding rates or metrics; raises DataError, with the line, where it is no such file.

    Rows are sorted by time; equal ones are kept once, ones that differ at one time are a DataError.
    """
    rows: dict[int, tuple[Value, ...]] = {}
    for line, time, values in _rows(text, name, kind):
        if rows.setdefault(time, values) != values:
            raise DataError(f"{name}, line {line} tells otherwise of a time than a line before it does.")
    if not rows:
        raise DataError(f"{name} holds no row: download it again.")
    times = tuple(sorted(rows))
    columns = {column: tuple(rows[time][k] for time in times) for k, column in enumerate(COLUMNS[kind])}
    return Told(times, columns)


def _rows(text: bytes, name: str, kind: Kind) -> Iterator[tuple[int, int, tuple[Value, ...]]]:
    """Give line, time and values of each row."""
    lines = iter(csv.reader(text.decode("utf-8-sig", "replace").splitlines()))
    header = next(lines, [])
    wanted = (_TIME[kind], *COLUMNS[kind])
    if not set(wanted) <= set(header):
        raise DataError(f"{name} has not the columns {', '.join(wanted)}: download it again.")
    places = [header.index(column) for column in wanted]
    read_time: Callable[[str], int] = int if kind is Kind.FUNDING else _moment
    for line, cells in enumerate(lines, 2):
        if not cells:
            continue
        try:
            time, *values = (cells[place] for place in places)
            yield line, read_time(time), tuple(number(cell) if cell else None for cell in values)
        except (DataError, IndexError, ValueError) as error:
            raise DataError(f"{name}, line {line} is no row of {kind} ({error}).") from error


def _moment(text: str) -> int:
    """Read a time such as 2026-02-01 00:05:00 (UTC) in ms."""
    return int(datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()) * 1000
