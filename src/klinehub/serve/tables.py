"""Tables: the lists of the own API as CSV and as Arrow."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from klinehub.domain.kline import KLINE, Klines
from klinehub.errors import DefinitionError
from klinehub.scan.running import Scan

# What a spreadsheet would take for a formula; names come from an exchange that anybody may list on.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def csv_of(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> bytes:
    """Write rows with a line of these columns first; what a row lacks stays empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue().encode()


def rows_of(values: Sequence[msgspec.Struct]) -> list[dict[str, object]]:
    """Give each value's fields by name; those of a value inside it as `outer.inner`."""
    return [dict(_flat(value)) for value in values]


def columns_of(row: type[msgspec.Struct]) -> list[str]:
    """Name the columns of a row, those of a row inside it as `outer.inner`."""
    found = []
    for field in msgspec.structs.fields(row):
        inner = field.type
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            found += [f"{field.name}.{name}" for name in columns_of(inner)]
        else:
            found.append(field.name)
    return found


def scan_csv(scan: Scan) -> bytes:
    """Write a scan's hits, best first: what made the score and the screen's columns come last."""
    rows: list[dict[str, object]] = []
    extra: dict[str, None] = {}
    for place, hit in enumerate(scan.result.results, 1):
        stale = scan.stale[hit.symbol].reason if hit.symbol in scan.stale else None
        row: dict[str, object] = {"rank": place, "symbol": hit.symbol, "score": hit.score, "side": hit.side}
        more: dict[str, object] = {
            f"contributions.{name}": points for name, points in hit.contributions.items()
        }
        more |= {f"columns.{name}": value for name, value in hit.columns.items()}
        extra |= dict.fromkeys(more)
        rows.append({**row, "price": hit.price, "stale": stale, **more})
    return csv_of(rows, ["rank", "symbol", "score", "side", "price", "stale", *extra])


def klines_csv(klines: Klines) -> bytes:
    """Write bars, oldest first."""
    names = KLINE.names or ()
    return csv_of([dict(zip(names, row, strict=True)) for row in klines.tolist()], names)


def klines_arrow(klines: Klines) -> bytes:
    """Write bars as an Arrow stream of one table; needs the parquet extra."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as exc:
        raise DefinitionError("Arrow needs pyarrow: pip install 'klinehub[parquet]'.") from exc
    plain = klines.view(np.ndarray)
    table = pa.table({name: pa.array(plain[name]) for name in KLINE.names or ()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _flat(row: msgspec.Struct) -> Iterator[tuple[str, object]]:
    """Give the cells of a row: a list has blanks between its items, a mapping is JSON."""
    for name, value in msgspec.structs.asdict(row).items():
        if isinstance(value, msgspec.Struct):
            yield from ((f"{name}.{inner}", cell) for inner, cell in _flat(value))
        elif isinstance(value, Mapping) or (
            isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct)
        ):
            yield name, msgspec.json.encode(value).decode()
        else:
            yield name, " ".join(value) if isinstance(value, tuple) else value


def _cell(value: object) -> object:
    """Give a cell; text that a spreadsheet would run is marked as text."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
