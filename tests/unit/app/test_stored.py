"""kh.open: what is kept on disk, in every form that notebooks want, by dates as people write them."""

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from tests.unit.store.series import plain, same

import klinehub as kh
from klinehub.app.stored import Stored
from klinehub.domain.kline import Exact, Scale
from klinehub.domain.timeframe import timeframe
from klinehub.factors.stock.momentum import rsi
from klinehub.store.history import HistoryStore

HOUR: Final = timeframe("1h")
# 2025-03-01, 00:00 UTC.
BEGIN: Final = 1_740_787_200_000
FIRST: Final = BEGIN // 3_600_000
BARS: Final = {
    "BTCUSDT": plain(HOUR, FIRST, 72),
    "ETHUSDT": plain(HOUR, FIRST + 24, 48, 2, Scale(4, 1, 6)),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    HistoryStore(folder / "binance-usdm" / "history").write(HOUR, BARS)
    return folder


@pytest.fixture(scope="module")
def stored(root: Path) -> Stored:
    return kh.open(root)


def test_a_data_folder_or_that_of_a_market_is_opened(root: Path) -> None:
    assert repr(kh.open(str(root))) == "<Stored binance-usdm, 1h>"
    assert kh.open(root / "binance-usdm").market == "binance-usdm"
    assert kh.open(root, "binance-usdm").timeframes == ("1h",)


def test_what_can_not_be_opened_says_why(tmp_path: Path, root: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "history").mkdir(parents=True)

    with pytest.raises(kh.DefinitionError, match="keeps no klines: name the folder"):
        kh.open(tmp_path / "nowhere")
    with pytest.raises(kh.DefinitionError, match="keeps a, b: name one, market='a'"):
        kh.open(tmp_path)
    with pytest.raises(kh.DefinitionError, match="Did you mean 'binance-usdm'"):
        kh.open(root, "binance-usd")
    assert kh.open(tmp_path, "b").market == "b"


def hours(stored: Stored, start: Any, end: Any) -> tuple[int, int]:
    """Give the first hour and how many there are of a range, counted from BEGIN."""
    times = stored.klines("BTCUSDT", "1h", start, end)["open_time"]
    return (int(times[0]) - BEGIN) // 3_600_000, len(times)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, (0, 72)),
        ("2025-03-02", "2025-03-02", (24, 24)),
        (date(2025, 3, 1), date(2025, 3, 2), (0, 48)),
        ("2025-03-02", "2025-03-02T00:00", None),
        ("2025-03-02T05:30", "2025-03-02T08:00Z", (30, 2)),
        ("2025-03-02 05:00+02:00", None, (27, 45)),
        (datetime.fromisoformat("2025-03-02T05:00"), datetime(2025, 3, 2, 7, tzinfo=UTC), (29, 2)),
        (datetime(2025, 3, 2, 5, tzinfo=timezone(timedelta(hours=5))), BEGIN + 30 * 3_600_000, (24, 6)),
        (pd.Timestamp("2025-03-02"), pd.Timestamp("2025-03-03", tz="UTC"), (24, 24)),
        (BEGIN + 1, BEGIN + 3_600_001, (1, 1)),
    ],
)
def test_times_are_written_in_many_ways_and_a_date_as_the_end_is_its_whole_day(
    stored: Stored, start: Any, end: Any, expected: tuple[int, int] | None
) -> None:
    if expected is None:
        assert len(stored.klines("BTCUSDT", "1h", start, end)) == 0
        return
    assert hours(stored, start, end) == expected


def test_what_is_asked_wrongly_is_answered_with_the_way_out(stored: Stored) -> None:
    with pytest.raises(kh.DefinitionError, match="'yesterday' is not a time"):
        stored.panel("1h", "yesterday")
    strange: list[Any] = [np.datetime64("2025-03-02"), 1.5]
    for moment in strange:
        with pytest.raises(kh.DefinitionError, match="give a date, a datetime"):
            stored.panel("1h", moment)
    with pytest.raises(kh.DefinitionError, match="exchange them"):
        stored.panel("1h", "2025-03-02", "2025-02-02")
    with pytest.raises(kh.DefinitionError, match="of which 5m bars can not be built: download 5m"):
        stored.panel("5m")
    with pytest.raises(kh.DefinitionError, match="Did you mean '1h'"):
        stored.panel("1hr")
    with pytest.raises(kh.DefinitionError, match="Did you mean 'BTCUSDT'"):
        stored.panel("1h", symbols=["BTCUSD"])
    with pytest.raises(kh.DefinitionError, match="give a list"):
        stored.panel("1h", symbols="BTCUSDT")
    with pytest.raises(kh.DefinitionError, match="Did you mean 'close'"):
        stored.frame("closed", "1h")
    with pytest.raises(kh.DefinitionError, match="Did you mean 'pandas'"):
        stored.frame("close", "1h", to="panda")  # type: ignore[call-overload]


def test_exact_bars_have_every_digit(stored: Stored) -> None:
    found = stored.exact("1h")

    assert stored.symbols("1h") == ("BTCUSDT", "ETHUSDT")
    assert stored.symbols("4h", end="2025-03-01") == ("BTCUSDT",)
    assert all(same(BARS[symbol], found[symbol]) for symbol in BARS)


def values(exact: Exact, field: str) -> list[float]:
    """Give one field as users read it."""
    places = {"volume": 1, "taker_base": 1, "quote_volume": 2, "taker_quote": 2}
    power = 10 ** exact.scale[places[field]] if field in places else 1
    return [float(value) / power for value in exact.rows[field]]


@pytest.mark.parametrize(
    "field", ["open", "close", "volume", "quote_volume", "trades", "taker_base", "taker_quote"]
)
def test_a_frame_has_a_row_for_each_bar_and_a_column_for_each_symbol(stored: Stored, field: str) -> None:
    frame = stored.frame(field, "1h")

    assert list(frame.columns) == ["BTCUSDT", "ETHUSDT"]
    assert (frame.columns.name, frame.index.name, str(frame.index.tz)) == ("symbol", "open_time", "UTC")  # type: ignore[attr-defined]
    assert frame.index.equals(pd.date_range("2025-03-01", periods=72, freq="h", tz="UTC", unit="ms"))
    assert frame["BTCUSDT"].tolist() == values(BARS["BTCUSDT"], field)
    assert frame["ETHUSDT"].isna().tolist() == [True] * 24 + [False] * 48
    assert frame["ETHUSDT"].dropna().tolist() == values(BARS["ETHUSDT"], field)


def test_polars_has_the_time_as_a_column_and_nulls(stored: Stored) -> None:
    frame = stored.frame("close", "1h", to="polars")

    assert frame.schema == {
        "open_time": pl.Datetime("ms", "UTC"),
        "BTCUSDT": pl.Float64,
        "ETHUSDT": pl.Float64,
    }
    assert frame["open_time"].dt.epoch("ms").to_list()[:2] == [BEGIN, BEGIN + 3_600_000]
    assert frame["ETHUSDT"].null_count() == 24


def test_a_series_is_of_the_shape_that_alphalens_takes(stored: Stored) -> None:
    series = stored.series("close", "1h", "2025-03-02", "2025-03-02")

    assert series.index.names == ["date", "asset"]
    assert str(series.index.levels[0].tz) == "UTC"  # type: ignore[attr-defined]
    assert len(series) == 48
    assert series.index.is_monotonic_increasing
    wide = stored.frame("close", "1h", "2025-03-02", "2025-03-02")
    assert series.tolist() == [value for row in wide.to_numpy().tolist() for value in row]
    assert len(stored.series("close", "1h")) == 72 + 48


def test_a_table_has_a_row_for_each_kline(stored: Stored) -> None:
    table = stored.arrow("1h", symbols=["ETHUSDT", "BTCUSDT"])

    assert table.num_rows == 72 + 48
    assert table["symbol"].to_pylist()[:1] == ["ETHUSDT"]
    assert str(table.schema.field("open_time").type) == "timestamp[ms, tz=UTC]"
    assert table["close"].to_pylist()[48:] == values(BARS["BTCUSDT"], "close")
    assert table["trades"].to_pylist()[:48] == BARS["ETHUSDT"].rows["trades"].tolist()
    assert table["close_time"].cast(pa.int64()).to_pylist()[0] == BEGIN + 25 * 3_600_000 - 1
    assert stored.arrow("1h", "2020-01-01", "2020-01-01").num_rows == 0


def test_klines_are_those_of_a_hub(stored: Stored) -> None:
    klines = stored.klines("ETHUSDT", "1d", "2025-03-02")

    assert klines.to_pandas().index.tolist() == [
        pd.Timestamp("2025-03-02", tz="UTC"),
        pd.Timestamp("2025-03-03", tz="UTC"),
    ]
    assert klines["close_time"].tolist() == [BEGIN + 2 * 86_400_000 - 1, BEGIN + 3 * 86_400_000 - 1]
    assert klines["volume"][0] == int(BARS["ETHUSDT"].rows["volume"][:24].sum()) / 10
    assert set(klines["state"].tolist()) == {2}


def test_a_panel_is_what_a_screen_is_computed_on(stored: Stored) -> None:
    panel = stored.panel("1h", "2025-03-02", symbols=["ETHUSDT", "BTCUSDT"])
    last = panel.cube(panel.closed_bar, 1)

    assert panel.symbols == ("ETHUSDT", "BTCUSDT")
    assert (panel.first, panel.bars) == (FIRST + 24, 48)
    assert last[3, :, 0].tolist() == [values(BARS[s], "close")[-1] for s in panel.symbols]
    assert np.isnan(stored.panel("1h").planes[:, 1, :24]).all()
    assert stored.panel("1h", "2020-01-01", "2020-01-01").bars == 0


def test_a_screen_of_what_is_kept_is_computed(stored: Stored) -> None:
    up = rsi(n=2)
    result = kh.compute(kh.Screen(name="up", timeframe="1h", columns={"rsi": up}), stored.panel("1h"))

    assert {hit.symbol for hit in result.results} == {"BTCUSDT", "ETHUSDT"}
    assert result.bar_open_time == BEGIN + 71 * 3_600_000
