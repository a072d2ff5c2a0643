"""Plain rows: every bar of the slices to the last digit, and only what is new."""

import json
import re
import struct
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.postgres import Server

from klinehub.app.cli import main
from klinehub.domain.kline import CLOSED, ROW, ROW_WORDS, Scale
from klinehub.domain.timeframe import Timeframe, timeframe
from klinehub.errors import StoreError
from klinehub.store.base import Change, key_of
from klinehub.store.hot import HotStore, Slice
from klinehub.store.plain_rows import copied_rows, refresh, set_up
from klinehub.store.postgres import PostgresTables
from klinehub.store.slices import ABSENT, Lines

MINUTE: Final = timeframe("1m")
MONTH: Final = timeframe("1M")
# 2026-10-05 10:20 as a minute; the first of its hour is 20 before.
BAR: Final = MINUTE.index(1_791_195_600_000)
HOST: Final = "fapi.binance.com"
WIDE: Final = Scale(2, 3, 5)
MOST: Final = 2**63 - 1


def opened(url: str, *, writing: bool) -> PostgresTables:
    return PostgresTables(url, market="binance-usdm", origin=HOST, writing=writing)


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.url(postgres.database())


@pytest.fixture
def store(url: str) -> Iterator[HotStore]:
    """A store as its hub has it, open all the while."""
    made = HotStore(opened(url, writing=True))
    yield made
    made.tables.close()


@pytest.fixture
def reader(url: str, store: HotStore) -> Iterator[PostgresTables]:
    made = opened(url, writing=False)
    yield made
    made.close()


def told(
    store: HotStore, frame: Timeframe, index: int, /, *, scale: Scale = WIDE, **bars: tuple[Any, ...] | None
) -> Slice:
    """Give a slice: by symbol open, high, low, close and five mantissas; None is a bar that is not."""
    numbers = np.array([store.number(name, scale) for name in bars], np.int64)
    states = np.array([ABSENT if bar is None else CLOSED for bar in bars.values()], np.int64)
    rows = np.zeros(len(bars), ROW)
    for place, bar in enumerate(bars.values()):
        if bar is not None:
            rows[place] = (frame.open_time(index), *bar)
    order = np.argsort(numbers)
    words = rows.view(np.int64).reshape(-1, ROW_WORDS)
    return Slice(frame, index, Lines(numbers[order], states[order], words[order]))


def asked(tables: PostgresTables, query: str) -> list[tuple[Any, ...]]:
    with tables.session("read") as db:
        return list(db.execute(query).fetchall())


BTC: Final = (67_123.5, 67_130.25, 67_101.0, 67_102.01, 123_456, 8_284_012_345, 2_011, 61_728, MOST)


def test_rows_have_every_digit(store: HotStore, reader: PostgresTables) -> None:
    store.commit([told(store, MINUTE, BAR, BTCUSDT=BTC, GONEUSDT=None)])

    assert refresh(reader) == (1, 1, (), False)
    assert asked(reader, "SELECT * FROM klines") == [
        (
            "BTCUSDT",
            "1m",
            datetime(2026, 10, 5, 10, 20, tzinfo=UTC),
            *BTC[:4],
            Decimal("123.456"),
            Decimal("82840.12345"),
            2_011,
            Decimal("61.728"),
            Decimal("92233720368547.75807"),
        )
    ]
    assert asked(reader, "SELECT close::text, volume::text FROM klines") == [("67102.01", "123.456")]


def test_only_what_is_new_or_changed_is_copied_again(store: HotStore, reader: PostgresTables) -> None:
    bar = (1.0, 2.0, 0.5, 1.5, 1, 2, 3, 4, 5)
    store.commit([told(store, MINUTE, BAR + n, A=bar, B=bar) for n in range(70)])
    assert refresh(reader)[:2] == (70, 140)
    assert refresh(reader)[:2] == (0, 0)

    store.commit([told(store, MINUTE, BAR + 3, A=(1.0, 2.0, 0.5, 1.75, 1, 2, 3, 4, 5))])
    store.commit([told(store, MINUTE, BAR + 70, A=bar, C=bar)])
    assert refresh(reader)[:2] == (2, 3)
    closes = "SELECT symbol, close FROM klines WHERE open_time = TIMESTAMPTZ '2026-10-05 10:23Z' ORDER BY 1"
    assert asked(reader, closes) == [("A", 1.75), ("B", 1.5)]


def test_rows_outlive_their_slices(store: HotStore, reader: PostgresTables) -> None:
    store.commit([told(store, MINUTE, BAR + n, A=(1.0, 2.0, 0.5, 1.5, 1, 2, 3, 4, 5)) for n in range(3)])
    refresh(reader)
    store.drop(MINUTE, BAR + 2)

    assert refresh(reader)[:2] == (0, 0)
    assert asked(reader, "SELECT count(*) FROM klines") == [(3,)]


def test_decimals_that_grow_change_the_text_of_new_rows_alone(
    store: HotStore, reader: PostgresTables
) -> None:
    bar = (1.0, 2.0, 0.5, 1.5, 1_000, 2, 3, 4, 5)
    store.commit([told(store, MINUTE, BAR, A=bar)])
    store.commit([told(store, MINUTE, BAR + 1, scale=Scale(2, 5, 5), A=bar)])
    refresh(reader)

    assert asked(reader, "SELECT volume::text FROM klines ORDER BY open_time") == [("1.000",), ("0.01000",)]


def test_every_timeframe_has_its_rows(store: HotStore, reader: PostgresTables) -> None:
    bar = (1.0, 2.0, 0.5, 1.5, 1, 2, 3, 4, 5)
    frames = [timeframe(name) for name in ("1m", "1h", "1w", "1M")]
    store.commit([told(store, frame, frame.index(MINUTE.open_time(BAR)), A=bar) for frame in frames])
    refresh(reader)

    assert asked(reader, "SELECT timeframe, open_time FROM klines ORDER BY open_time") == [
        ("1M", datetime(2026, 10, 1, tzinfo=UTC)),
        ("1w", datetime(2026, 10, 5, tzinfo=UTC)),
        ("1h", datetime(2026, 10, 5, 10, tzinfo=UTC)),
        ("1m", datetime(2026, 10, 5, 10, 20, tzinfo=UTC)),
    ]


def test_hours_add_up_to_the_last_digit_and_say_of_how_many_bars(
    store: HotStore, reader: PostgresTables
) -> None:
    start = BAR - 20
    bars = {
        start + n: (100.0 + n, 200.0 + n, 50.0 - n / 2, 101.0 + n, 2**50 + n, 7, n, 1, 2) for n in range(70)
    }
    store.commit([told(store, MINUTE, index, A=bar) for index, bar in bars.items()])
    refresh(reader)
    whole = sum(2**50 + n for n in range(60))

    query = "SELECT hour, open, high, low, close, volume, trades, bars FROM hours ORDER BY hour"
    assert asked(reader, query) == [
        (datetime(2026, 10, 5, 10, tzinfo=UTC), 100.0, 259.0, 20.5, 160.0, Decimal(whole) / 1_000, 1_770, 60),
        (
            datetime(2026, 10, 5, 11, tzinfo=UTC),
            160.0,
            269.0,
            15.5,
            170.0,
            Decimal(sum(2**50 + n for n in range(60, 70))) / 1_000,
            645,
            10,
        ),
    ]


def test_a_damaged_slice_is_named_and_left_out_and_the_others_are_copied(
    store: HotStore, reader: PostgresTables
) -> None:
    store.commit([told(store, MINUTE, BAR + n, A=(1.0, 2.0, 0.5, 1.5, 1, 2, 3, 4, 5)) for n in range(3)])
    store.tables.commit(
        Change(slices=((key_of(MINUTE, BAR + 1), b"KS\1\0junk-junk"), (key_of(MONTH, 2**31 - 1), b"")))
    )

    for rows in (2, 0):
        done = refresh(reader)
        assert done.rows == rows
        assert [one.split(":")[0] for one in done.damaged] == [f"1m {BAR + 1}", f"1M {2**31 - 1}"]
    again = told(store, MINUTE, BAR + 1, A=(1.0, 2.0, 0.5, 1.5, 1, 2, 3, 4, 5))
    store.tables.commit(Change(slices=((key_of(MINUTE, BAR + 1), store._encoded(again)),)))
    assert refresh(reader).rows == 1


def test_two_refreshes_at_a_time_are_refused(url: str, store: HotStore, reader: PostgresTables) -> None:
    refresh(reader)
    other = opened(url, writing=False)
    with pytest.raises(StoreError, match="are being refreshed by klinehub binance-usdm, reader"):
        refresh(other)
    reader.close()

    assert refresh(other).rows == 0
    other.close()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**31),
            *[st.floats(allow_nan=False)] * 4,
            *[st.integers(0, MOST)] * 5,
            st.booleans(),
        ),
        max_size=5,
    ),
    st.integers(0, 2**42),
)
def test_every_word_of_a_copied_row_is_its_bar(bars: list[tuple[Any, ...]], opened_at: int) -> None:
    rows = np.array([(opened_at, *bar[1:10]) for bar in bars], ROW)
    lines = Lines(
        np.array([bar[0] for bar in bars], np.int64),
        np.array([CLOSED if bar[10] else ABSENT for bar in bars], np.int64),
        rows.view(np.int64).reshape(-1, ROW_WORDS),
    )
    layout = struct.Struct(">h" + "iq" * 2 + "id" * 4 + "iq" * 5)

    read = list(layout.iter_unpack(copied_rows(lines, opened_at)))
    micros = (opened_at - 946_684_800_000) * 1_000
    assert [row[2::2] for row in read] == [(bar[0], micros, *bar[1:10]) for bar in bars if bar[10]]
    assert all(row[0] == 11 and set(row[1::2]) == {8} for row in read)


def test_without_timescaledb_the_hours_are_a_view_of_the_base_bars() -> None:
    statements = set_up(timeframe("5m"))

    assert [one.split()[:3] for one in statements] == [
        ["CREATE", "TABLE", "klines"],
        ["CREATE", "INDEX", "klines_by_time"],
        ["CREATE", "TABLE", "klines_copied"],
        ["CREATE", "VIEW", "hours"],
    ]
    assert "WHERE timeframe = '5m' GROUP BY 1, 2" in statements[-1]
    assert "timescale" not in " ".join(statements)


TIMESCALE: Final = """
SELECT public.create_hypertable('klines', 'open_time', chunk_time_interval => INTERVAL '7 days');
ALTER TABLE klines SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol, timeframe',
timescaledb.compress_orderby = 'open_time');
SELECT public.add_compression_policy('klines', INTERVAL '14 days');
CREATE MATERIALIZED VIEW hours WITH (timescaledb.continuous) AS
SELECT symbol, public.time_bucket(INTERVAL '1 hour', open_time) AS hour,
public.first(open, open_time) AS open, max(high) AS high, min(low) AS low,
public.last(close, open_time) AS close, sum(volume) AS volume, sum(quote_volume) AS quote_volume,
sum(trades) AS trades, sum(taker_base) AS taker_base, sum(taker_quote) AS taker_quote, count(*) AS bars
FROM klines WHERE timeframe = '1m' GROUP BY 1, 2 WITH NO DATA;
SELECT public.add_continuous_aggregate_policy('hours', start_offset => NULL,
end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '1 hour')
"""


def test_with_timescaledb_they_are_a_compressed_hypertable_and_a_continuous_aggregate() -> None:
    """The text alone: no TimescaleDB was there to run it."""
    statements = set_up(MINUTE, "public")

    assert statements[:3] == set_up(MINUTE)[:3]
    assert "; ".join(statements[3:]) == " ".join(TIMESCALE.split())


def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str]:
    """Run the command line; gives its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["klinehub", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(str(ended.value.code)), said.out + said.err


def test_the_command_copies_beside_a_running_hub(
    store: HotStore, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store.commit([told(store, MINUTE, BAR, BTCUSDT=BTC)])
    monkeypatch.setenv("KLINEHUB_STORE_PATH", url)

    code, said = typed(monkeypatch, capsys, "store", "sql")
    assert (code, said.splitlines()[0]) == (0, "CREATE TABLE klines (")
    code, said = typed(monkeypatch, capsys, "store", "sql", "--rows")
    assert (code, said.split(" are")[0]) == (0, "1 rows of 1 slices")
    code, said = typed(monkeypatch, capsys, "store", "sql", "--rows", "--json")
    told_again = json.loads(said)
    assert (code, told_again["rows"], told_again["table"]) == (0, 0, "klinehub_binance_usdm.klines")


def test_the_sql_of_the_guide_runs(
    postgres: Server, store: HotStore, reader: PostgresTables, url: str
) -> None:
    """Its queries and grants, with Grafana's own words replaced by what these become."""
    store.commit([told(store, MINUTE, BAR, BTCUSDT=BTC)])
    refresh(reader)
    database = url.rpartition("/test_")[2].partition("?")[0]
    page = (Path(__file__).resolve().parents[3] / "docs" / "postgres.md").read_text("utf-8")
    blocks = re.findall(r"^```sql\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4

    for statement in (one for block in blocks for one in f"{block};".split(";\n") if one.strip(";\n ")):
        text = statement.replace("$__timeFilter(open_time)", "open_time > 'epoch'").replace("$", "")
        postgres.ask(f"test_{database}", text.replace("'…'", "'x'"))
    postgres.ask(f"test_{database}", "DROP OWNED BY grafana; DROP ROLE grafana")
    postgres.ask("postgres", "DROP DATABASE klines")
    postgres.ask("postgres", "DROP ROLE klines")


def test_the_command_wants_a_store_on_postgresql(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = typed(monkeypatch, capsys, "store", "sql", "--rows")

    assert code == 2
    assert "KLINEHUB_STORE_PATH, to postgresql://user@host/database" in said
