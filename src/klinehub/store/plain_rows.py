"""Plain rows: the bars of a store on PostgreSQL as a table that SQL and Grafana read.

1. A slice is decoded here and copied as a row for each bar; what was copied is remembered by the slice's
   checksum, so that a refresh takes just the slices that are new or changed, and may be cut at any time.
2. Rows stay when the store drops their slices: the table is a history of its own.
3. With the extension timescaledb the table is a compressed hypertable and the hours are a continuous
   aggregate; otherwise they are an ordinary table and a view.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from klinehub.domain.timeframe import MINUTE, TIMEFRAMES, Timeframe
from klinehub.errors import StoreError
from klinehub.panel.memory import I64, OPEN, QUOTE, TAKER_BASE, TAKER_QUOTE, TRADES, VOLUME
from klinehub.store.base import BAR_BITS, key_of
from klinehub.store.postgres import PostgresTables
from klinehub.store.postgres_session import lock
from klinehub.store.slices import ABSENT, Lines, decode

if TYPE_CHECKING:
    from klinehub.store.postgres_session import Session

HOUR: Final = 60 * MINUTE
_LAST: Final = (1 << BAR_BITS) - 1
# Slices of one transaction.
PAGE: Final = 64
# Prices are the float64 that klinehub itself has, which prints as the exchange's text. Volumes are numeric:
# float64 can not hold all of them, and only exact ones add up to the exchange's own larger bars.
_TABLE: Final = """
CREATE TABLE klines (
    symbol text COLLATE "C" NOT NULL, timeframe text COLLATE "C" NOT NULL, open_time timestamptz NOT NULL,
    open double precision NOT NULL, high double precision NOT NULL, low double precision NOT NULL,
    close double precision NOT NULL, volume numeric NOT NULL, quote_volume numeric NOT NULL,
    trades bigint NOT NULL, taker_base numeric NOT NULL, taker_quote numeric NOT NULL,
    PRIMARY KEY (symbol, timeframe, open_time))
"""
_INDEX: Final = "CREATE INDEX klines_by_time ON klines (timeframe, open_time)"
_COPIED: Final = "CREATE TABLE klines_copied (key bigint PRIMARY KEY, sum bytea NOT NULL)"
_COMPRESSED: Final = (
    "ALTER TABLE klines SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol, timeframe', "
    "timescaledb.compress_orderby = 'open_time')"
)
_EACH_HOUR: Final = (
    "add_continuous_aggregate_policy('hours', start_offset => NULL, end_offset => INTERVAL '1 hour', "
    "schedule_interval => INTERVAL '1 hour')"
)
_SUMS: Final = ("volume", "quote_volume", "trades", "taker_base", "taker_quote")
# What a COPY of one row holds: how many fields, then the bytes and the value of each, all big-endian.
_FIELDS: Final = (
    ("number", ">i8"),
    ("open_time", ">i8"),
    *((name, ">f8") for name in ("open", "high", "low", "close")),
    *((name, ">i8") for name in _SUMS),
)
_COPY_ROW: Final = np.dtype(
    [("count", ">i2"), *(pair for name, kind in _FIELDS for pair in ((f"{name}_bytes", ">i4"), (name, kind)))]
)
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"
# PostgreSQL counts microseconds from 2000-01-01.
_EPOCH: Final = 946_684_800_000
_STAGE: Final = """
CREATE TEMP TABLE IF NOT EXISTS stage (number bigint, open_time timestamptz, open double precision,
    high double precision, low double precision, close double precision, volume bigint, quote_volume bigint,
    trades bigint, taker_base bigint, taker_quote bigint) ON COMMIT DELETE ROWS
"""
# An equal row is left as it is: a late bar of one symbol rewrites one row, not the row of every symbol.
_TAKE: Final = """
WITH units AS MATERIALIZED (SELECT number, symbol, ('1e-' || base)::numeric AS base,
    ('1e-' || quote)::numeric AS quote FROM symbols)
INSERT INTO klines AS old
SELECT symbol, %s, open_time, open, high, low, close, volume * base, quote_volume * quote, trades,
    taker_base * base, taker_quote * quote
FROM stage JOIN units USING (number)
ON CONFLICT (symbol, timeframe, open_time) DO UPDATE SET
    (open, high, low, close, volume, quote_volume, trades, taker_base, taker_quote) =
    (EXCLUDED.open, EXCLUDED.high, EXCLUDED.low, EXCLUDED.close, EXCLUDED.volume, EXCLUDED.quote_volume,
        EXCLUDED.trades, EXCLUDED.taker_base, EXCLUDED.taker_quote)
WHERE old.* IS DISTINCT FROM EXCLUDED.*
"""
# A slice's own checksum, from its head.
_DUE: Final = """
SELECT key, body FROM slices LEFT JOIN klines_copied AS copied USING (key)
WHERE key BETWEEN %s AND %s AND copied.sum IS DISTINCT FROM substring(body FROM 5 FOR 4)
ORDER BY key LIMIT %s
"""
_DONE: Final = """
INSERT INTO klines_copied VALUES (%s, %s) ON CONFLICT (key) DO UPDATE SET sum = EXCLUDED.sum
"""


class Refreshed(NamedTuple):
    """What a refresh did: slices that were read, rows written or changed, and slices that do not add up."""

    slices: int
    rows: int
    damaged: tuple[str, ...]
    timescale: bool


def set_up(base: Timeframe, timescale: str = "") -> tuple[str, ...]:
    """Give the statements that make the table and the hours; *base* are the bars that hours are made of.

    *timescale* is the schema of the extension timescaledb, if it is there.
    """
    if not timescale:
        return (_TABLE, _INDEX, _COPIED, f"CREATE VIEW hours AS {_hours(base, 'date_bin', '')}")
    ext = f"{timescale}."
    hours = _hours(base, f"{ext}time_bucket", ext)
    return (
        _TABLE,
        _INDEX,
        _COPIED,
        f"SELECT {ext}create_hypertable('klines', 'open_time', chunk_time_interval => INTERVAL '7 days')",
        _COMPRESSED,
        f"SELECT {ext}add_compression_policy('klines', INTERVAL '14 days')",
        f"CREATE MATERIALIZED VIEW hours WITH (timescaledb.continuous) AS {hours} WITH NO DATA",
        f"SELECT {ext}{_EACH_HOUR}",
    )


def _hours(base: Timeframe, bucket: str, ext: str) -> str:
    """Give the query of the hours; `bars` tells how many bars each is made of."""
    origin = "" if ext else ", TIMESTAMPTZ 'epoch'"
    first = f"{ext}first(open, open_time)" if ext else "(array_agg(open ORDER BY open_time))[1]"
    last = f"{ext}last(close, open_time)" if ext else "(array_agg(close ORDER BY open_time DESC))[1]"
    sums = ", ".join(f"sum({name}) AS {name}" for name in _SUMS)
    return (
        f"SELECT symbol, {bucket}(INTERVAL '1 hour', open_time{origin}) AS hour, {first} AS open, "  # noqa: S608
        f"max(high) AS high, min(low) AS low, {last} AS close, {sums}, count(*) AS bars FROM klines "
        f"WHERE timeframe = '{base.name}' GROUP BY 1, 2"
    )


def refresh(tables: PostgresTables) -> Refreshed:
    """Copy the slices that are new or changed into the table `klines`, which is made where it is not there.

    Raises StoreError, also while another refresh is under way; what was copied until then stays.
    """
    slices, rows = 0, 0
    damaged: list[str] = []
    with tables.session("written") as db:
        timescale = _made(db, tables)
    for timeframe in TIMEFRAMES.values():
        first, last = _keys(timeframe)
        while first <= last:
            with tables.session("written") as db:
                page = db.execute(_DUE, (first, last, PAGE), binary=True).fetchall()
                # Read after the slices, so that it names all symbols that these tell of.
                rows += _copy(db, timeframe, page, _decimals(tables), damaged) if page else 0
            slices += len(page)
            first = page[-1][0] + 1 if page else last + 1
    return Refreshed(slices, rows, tuple(damaged), timescale)


def _made(db: "Session", tables: PostgresTables) -> bool:
    """Take the lock of a refresh and make the table where it is not there; gives if TimescaleDB has it."""
    if holder := lock(db, f"{tables.schema}.klines"):
        raise StoreError(f"The rows of {tables.where} are being refreshed by {holder}: wait for it.")
    if db.execute("SELECT to_regclass('klines')").fetchone() == (None,):
        with db.transaction():
            for statement in planned(db):
                db.execute(statement)
    db.execute(_STAGE)
    return bool(_timescale(db))


def planned(db: "Session") -> tuple[str, ...]:
    """Give the statements that make the table in this database."""
    query = "SELECT EXISTS (SELECT FROM slices WHERE key BETWEEN %s AND %s)"
    for timeframe in TIMEFRAMES.values():
        if timeframe.milliseconds < HOUR and db.execute(query, _keys(timeframe)).fetchone() == (True,):
            return set_up(timeframe, _timescale(db))
    return set_up(TIMEFRAMES["1m"], _timescale(db))


def _keys(timeframe: Timeframe) -> tuple[int, int]:
    """Give the first and the last key that slices of a timeframe may have."""
    return key_of(timeframe, 0), key_of(timeframe, _LAST)


def _decimals(tables: PostgresTables) -> I64:
    """Give the price decimals by number, -1 for numbers that the index has lost."""
    entries = tables.kept().entries
    decimals = np.full(max((entry.number for entry in entries), default=-1) + 1, -1, np.int64)
    for entry in entries:
        decimals[entry.number] = entry.scale.price
    return decimals


def _timescale(db: "Session") -> str:
    """Give the schema of the extension timescaledb, "" where it is not there."""
    query = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'timescaledb'"
    found = db.execute(query).fetchone()
    return str(found[0]) if found else ""


def _copy(
    db: "Session", timeframe: Timeframe, page: Sequence[tuple[int, bytes]], decimals: I64, damaged: list[str]
) -> int:
    """Copy slices in one transaction; gives how many rows are new or changed."""
    bodies, done = [], []
    for key, body in page:
        bar = key & _LAST
        try:
            lines = decode(timeframe.milliseconds, bar, timeframe.open_time(bar), body, decimals)
        except (StoreError, ValueError, OverflowError) as exc:
            damaged.append(f"{timeframe.name} {bar}: {exc}")
            continue
        bodies.append(copied_rows(lines, timeframe.open_time(bar)))
        done.append((key, body[4:8]))
    with db.transaction(), db.cursor() as cursor:
        with cursor.copy("COPY stage FROM STDIN (FORMAT binary)") as copy:
            copy.write(b"".join((_COPY_HEAD, *bodies, _COPY_END)))
        cursor.execute(_TAKE, (timeframe.name,))
        rows = cursor.rowcount
        cursor.executemany(_DONE, done)
    return rows


def copied_rows(lines: Lines, opened: int) -> bytes:
    """Give the bars of a slice that opens at *opened* (ms) as the rows of a binary COPY."""
    there = lines.states != ABSENT
    words = np.ascontiguousarray(lines.words[there])
    rows = np.zeros(words.shape[0], _COPY_ROW)
    rows["count"] = len(_FIELDS)
    for name, _ in _FIELDS:
        rows[f"{name}_bytes"] = 8
    rows["number"], rows["open_time"] = lines.numbers[there], (opened - _EPOCH) * 1_000
    floats: Any = words.view(np.float64)
    for column, name in enumerate(("open", "high", "low", "close"), OPEN):
        rows[name] = floats[:, column]
    columns = (VOLUME, QUOTE, TRADES, TAKER_BASE, TAKER_QUOTE)
    for column, name in zip(columns, _SUMS, strict=True):
        rows[name] = words[:, column]
    return rows.tobytes()
