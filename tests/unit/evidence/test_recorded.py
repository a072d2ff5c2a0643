"""Recorded files: Parquet and CSV as people have them become one panel, and what is no recording is told."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pyarrow import csv, parquet

from klinehub.errors import DataError, DefinitionError
from klinehub.evidence.recorded import files_of, recorded
from klinehub.panel.view import PLANES

HOUR = 3_600_000
FIRST = 1_735_689_600_000


def table(symbol: str | None = "AAAUSDT", bars: int = 5, start: int = 0, **more: Any) -> pa.Table:
    times = FIRST + HOUR * np.arange(start, start + bars)
    price = np.arange(1.0, bars + 1.0)
    columns: dict[str, Any] = {
        **({} if symbol is None else {"symbol": [symbol] * bars}),
        "open_time": times,
        **dict.fromkeys(("open", "high", "low", "close"), price),
        "volume": price * 10,
    }
    return pa.table({**columns, **more})


def test_parquet_of_several_symbols_is_one_panel_by_name(tmp_path: Path) -> None:
    both = pa.concat_tables([table("BBBUSDT", 3, start=2), table("AAAUSDT", 5)])
    parquet.write_table(both, tmp_path / "all.parquet")
    found = recorded(tmp_path)

    assert (found.bars.timeframe.name, found.bars.symbols, found.bars.bars) == (
        "1h",
        ("AAAUSDT", "BBBUSDT"),
        5,
    )
    assert found.bars.timeframe.open_time(found.bars.first) == FIRST
    assert np.isnan(found.bars.planes[3, 1, :2]).all()
    assert_array_equal(found.bars.planes[3, 0], [1, 2, 3, 4, 5])
    assert found.estimated == {"quote_volume"}
    assert found.unavailable == {"trades", "taker_base", "taker_quote"}
    assert_allclose(found.bars.planes[PLANES.index("quote_volume"), 0], np.arange(1, 6) ** 2 * 10.0)


def test_a_csv_for_each_symbol_is_named_by_its_file_and_may_be_packed(tmp_path: Path) -> None:
    csv.write_csv(table(None), tmp_path / "AAAUSDT-1h-2025-01.csv")
    packed = tmp_path / "plain.csv"
    csv.write_csv(table(None), packed)
    (tmp_path / "龙USDT_1h.csv.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()

    assert recorded(tmp_path).bars.symbols == ("AAAUSDT", "龙USDT")


def test_microseconds_and_timestamps_are_times_too(tmp_path: Path) -> None:
    plain = table()
    times = plain["open_time"].to_numpy()
    for name, column in (
        ("us", pa.array(times * 1_000)),
        ("ts", pa.array(times).cast(pa.timestamp("ms", "UTC"))),
    ):
        parquet.write_table(plain.set_column(1, "open_time", column), tmp_path / f"{name}.parquet")
        assert (
            recorded(tmp_path / f"{name}.parquet").bars.timeframe.open_time(
                recorded(tmp_path / f"{name}.parquet").bars.first
            )
            == FIRST
        )


def test_what_was_recorded_of_turnover_is_taken_as_it_is(tmp_path: Path) -> None:
    parquet.write_table(table(quote_volume=np.full(5, 7.0)), tmp_path / "a.parquet")
    found = recorded(tmp_path / "a.parquet")

    assert found.estimated == frozenset()
    assert_array_equal(found.bars.planes[PLANES.index("quote_volume"), 0], np.full(5, 7.0))


def test_what_is_no_recording_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"holds no \.parquet"):
        recorded(tmp_path)
    assert files_of(tmp_path) == []
    path = tmp_path / "a.parquet"
    parquet.write_table(table().drop_columns(["close"]), path)
    with pytest.raises(DataError, match="no column close"):
        recorded(path)
    parquet.write_table(pa.concat_tables([table(), table(bars=1)]), path)
    with pytest.raises(DataError, match="a bar twice"):
        recorded(path)
    parquet.write_table(table(bars=1), path)
    with pytest.raises(DefinitionError, match="one bar of each"):
        recorded(path)
    parquet.write_table(table().set_column(1, "open_time", pa.array(FIRST + 7_000 * np.arange(5))), path)
    with pytest.raises(DefinitionError, match="7000 ms apart"):
        recorded(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="can not be read"):
        recorded(path)
