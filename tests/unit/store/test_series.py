"""Funding rates and metrics on disk: exact, the same at each writing, and readable by others."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.unit.store.threads import counted, left

from klinehub.errors import DataError
from klinehub.store.series import SeriesStore

pytest.importorskip("pyarrow")
JANUARY, FEBRUARY = 1_769_904_000_000 - 28_800_000, 1_769_904_000_000
TIMES = (JANUARY, FEBRUARY, FEBRUARY + 28_800_000)
COLUMNS = {
    "hours": (Decimal(8), Decimal(8), None),
    "rate": (Decimal("0.00010000"), Decimal("-0.000000000000000001"), Decimal("12345678901234567890.5")),
}


def written(folder: Path, symbol: str = "BTCUSDT") -> SeriesStore:
    store = SeriesStore(folder, ("hours", "rate"))
    assert store.write(symbol, TIMES, COLUMNS) == 3
    return store


@pytest.mark.parametrize("symbol", ["BTCUSDT", "币安人生USDT"])
def test_values_come_back_exactly(tmp_path: Path, symbol: str) -> None:
    written(tmp_path, symbol)
    found = SeriesStore(tmp_path, ("hours", "rate")).read(symbol, 0, 2**53)

    assert found == (TIMES, COLUMNS)
    assert len(list(tmp_path.glob("*/*.parquet"))) == 2


def test_a_range_is_half_open(tmp_path: Path) -> None:
    found = written(tmp_path).read("BTCUSDT", FEBRUARY, TIMES[2])

    assert found == (TIMES[1:2], {name: column[1:2] for name, column in COLUMNS.items()})
    assert written(tmp_path / "other").read("ETHUSDT", 0, 2**53).times == ()


def test_equal_rows_again_change_nothing(tmp_path: Path) -> None:
    store = written(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}

    assert store.write("BTCUSDT", TIMES, COLUMNS) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before


def test_a_row_that_differs_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    store = written(tmp_path)
    other = {"hours": (Decimal(8), Decimal(4)), "rate": (Decimal(1), Decimal(2))}
    with pytest.raises(DataError, match="the first is kept, nothing was written"):
        store.write("BTCUSDT", (JANUARY - 1, FEBRUARY), other)

    assert store.read("BTCUSDT", 0, 2**53).times == TIMES


def test_a_row_that_differs_replaces_when_asked(tmp_path: Path) -> None:
    store = written(tmp_path)
    store.write("BTCUSDT", (FEBRUARY,), {"hours": (Decimal(4),), "rate": (Decimal(2),)}, replace=True)

    assert store.read("BTCUSDT", 0, 2**53).columns["hours"] == (Decimal(8), Decimal(4), None)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    store = written(tmp_path)
    path = next(tmp_path.glob("2026-02/*.parquet"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(DataError, match="is damaged"):
        store.read("BTCUSDT", 0, 2**53)


@pytest.mark.timeout(120)
def test_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    store = written(tmp_path)
    path = next(tmp_path.glob("2026-02/*.parquet"))
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(DataError, match="is damaged"):
            store.read("BTCUSDT", FEBRUARY, 2**53)


@counted
def test_it_is_read_without_a_thread_of_arrows(tmp_path: Path) -> None:
    written(tmp_path)

    found = left(
        "from klinehub.store.series import SeriesStore",
        'print(len(SeriesStore(path, ("hours", "rate")).read("BTCUSDT", 0, 2**53).times))',
        tmp_path,
    )

    # One that is still there when the process ends may abort it.
    assert found == ["3", "0"]


def test_others_read_it_as_decimals(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    written(tmp_path)
    query = f"select time, rate from '{tmp_path}/*/*.parquet' where hours = 8 order by time"

    assert duckdb.sql(query).fetchall() == list(zip(TIMES[:2], COLUMNS["rate"][:2], strict=True))
