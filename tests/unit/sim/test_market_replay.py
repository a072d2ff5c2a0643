"""Replays: what was recorded comes back bar for bar, whatever file it came in."""

import builtins
import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.sim.test_market import by_decimal, sane

from klinehub.dialect.render import twelve_fields
from klinehub.domain.timeframe import DAY, MINUTE, timeframe
from klinehub.errors import DataError, DefinitionError
from klinehub.sim.market import Market
from klinehub.sim.replay import ReplayMarket, replay
from klinehub.sim.truth import OPEN_TIME, TRADES, VOLUME

pytestmark = pytest.mark.timeout(180)
BEGIN = 1_769_904_000_000  # 2026-02-01
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)


def lines(number: int, begin: int = BEGIN) -> list[str]:
    """Print *number* minutes as an archive does; every fourth has no trade."""
    found = []
    for n in range(number):
        t, price = begin + n * MINUTE, 100 + n % 7
        if n % 4 == 3:
            found.append(f"{t},{price}.00,{price}.00,{price}.00,{price}.00,0,{t + 59_999},0,0,0,0,0")
        else:
            prices = f"{price}.00,{price}.50,{price - 1}.75,{price}.25"
            found.append(f"{t},{prices},4.500,{t + 59_999},450.00000,9,1.500,150.00000,0")
    return found


def rows(market: Market, symbol: str, name: str, *, limit: int = 10_000) -> list[list[int | str]]:
    frame = timeframe(name)
    i = market.index[symbol]
    after = 2**42
    return twelve_fields(market.stretch(i, frame, 0, frame.index(after), limit, after), frame)


def texts(found: list[list[int | str]]) -> list[str]:
    return [",".join(map(str, row)) for row in found]


@pytest.mark.parametrize("kind", ["plain", "header", "gzip", "zip", "windows"])
def test_every_kind_of_archive_comes_back_as_its_text(tmp_path: Path, kind: str) -> None:
    text = "\n".join(lines(50)) + "\n"
    stem = "ABCUSDT-1m-2026-02"
    if kind == "plain":
        (tmp_path / f"{stem}.csv").write_text(text.rstrip("\n"))
    elif kind == "header":
        (tmp_path / f"{stem}.csv").write_text(f"{HEADER}\n{text}")
    elif kind == "windows":
        (tmp_path / f"{stem}.csv").write_bytes(f"{HEADER}\n{text}".replace("\n", "\r\n").encode())
    elif kind == "gzip":
        (tmp_path / f"{stem}.csv.gz").write_bytes(gzip.compress(text.encode()))
    else:
        with zipfile.ZipFile(tmp_path / f"{stem}.zip", "w") as archive:
            archive.writestr(f"{stem}.csv", text)
    market = replay(tmp_path)

    assert texts(rows(market, "ABCUSDT", "1m")) == lines(50)
    assert market.unavailable == frozenset()
    assert market.default_timeframes == ("1m", "5m", "15m", "1h")
    assert (market.begin, market.end) == (BEGIN, BEGIN + 50 * MINUTE)
    assert rows(market, "ABCUSDT", "5m") == by_decimal(rows(market, "ABCUSDT", "1m"), 5)


def test_microseconds_are_read_as_such(tmp_path: Path) -> None:
    micro = [
        line.replace(str(BEGIN + n * MINUTE), f"{BEGIN + n * MINUTE}000") for n, line in enumerate(lines(5))
    ]
    (tmp_path / "ABCUSDT-1m-2026-02.csv").write_text("\n".join(micro))

    assert [row[0] for row in rows(replay(tmp_path), "ABCUSDT", "1m")] == [
        BEGIN + n * MINUTE for n in range(5)
    ]


def test_months_are_joined_and_a_gap_stays_a_gap(tmp_path: Path) -> None:
    later = BEGIN + 28 * DAY
    (tmp_path / "ABCUSDT-1m-2026-02.csv").write_text("\n".join(lines(50)))
    (tmp_path / "ABCUSDT-1m-2026-03.csv").write_text("\n".join([*lines(30, later), lines(30, later)[-1]]))
    market = replay(tmp_path)
    frame, now = timeframe("1m"), later + 30 * MINUTE

    assert len(rows(market, "ABCUSDT", "1m")) == 80
    newest = market.stretch(0, frame, None, frame.index(now), 40, now).rows["open_time"]
    assert list(newest) == [BEGIN + n * MINUTE for n in range(40, 50)] + [
        later + n * MINUTE for n in range(30)
    ]
    assert not len(market.bars(0, frame, frame.index(BEGIN + DAY), frame.index(BEGIN + 2 * DAY), now))
    assert market.listings(now)[0].trading
    assert market.middle == BEGIN + 40 * MINUTE


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("X-1m.csv", "1769904000000,1,2\n", DataError),
        ("X-1m.csv", "open_time,open\n", DataError),
        ("X-1m.csv", f"{HEADER}\n1769904000000,a,b,c,d,e,f,g,h,i,j,k\n", DataError),
        ("X.txt", "", DefinitionError),
        ("X.parquet", "no parquet", DataError),
    ],
)
def test_what_is_no_recording_is_told(tmp_path: Path, name: str, text: str, error: type[Exception]) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(text)

    with pytest.raises(error):
        replay(tmp_path)


def test_a_path_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="no recording"):
        replay(tmp_path / "nothing")


def parquet(path: Path, columns: dict[str, list[Any]]) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    files.write_table(pa.table(columns), path)


QUARTER = 15 * MINUTE


def made(path: Path) -> ReplayMarket:
    """Record two symbols for four days, the second delisted after one."""
    names = ("symbol", "open_time", "open", "high", "low", "close", "volume")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for symbol, number in (("BBBUSDT", 4 * 96), ("AAAUSDT", 96)):
        for n in range(number):
            low, high = (0.0, 0.0) if n % 3 == 0 else (0.05, 0.07)
            price, volume = 1.25 + n % 5 / 100, float(n % 3) * 1234.5
            close = price + (0.01 if volume else 0.0)
            bar = (symbol, BEGIN + n * QUARTER, price, price + high, price - low, close, volume)
            for name, value in zip(columns, bar, strict=True):
                columns[name].append(value)
    parquet(path / "two.parquet", columns)
    return replay(path)


def test_parquet_is_completed_and_says_what_it_lacks(tmp_path: Path) -> None:
    market = made(tmp_path)

    assert market.grain.name == "15m"
    assert market.default_timeframes == ("15m", "30m", "1h", "2h")
    assert market.unavailable == {"trades", "taker_base", "taker_quote"}
    assert list(market.index) == ["AAAUSDT", "BBBUSDT"]
    assert tuple(market.instruments[0].scale) == (2, 1, 3)
    found = rows(market, "BBBUSDT", "15m")
    # The last row of a symbol that still traded may have been a forming bar.
    assert len(found) == 4 * 96 - 1
    assert len(rows(market, "AAAUSDT", "15m")) == 96
    assert found[1][1:6] == ["1.26", "1.33", "1.21", "1.27", "1234.5"]
    # The typical price: (1.33 + 1.21 + 1.27) / 3 = 1.27.
    assert found[1][7] == "1567.815"
    for row in found:
        assert (row[8] != 0) == (row[5] != "0")
    bars = market.coarse(1, 0, 2**40)
    sane(bars)
    assert (bars[:, TRADES] > 0).sum() == (bars[:, VOLUME] > 0).sum()


def test_finer_and_larger_bars_of_a_recording_agree_with_it(tmp_path: Path) -> None:
    market = made(tmp_path)
    minutes = rows(market, "BBBUSDT", "1m")

    assert len(minutes) == 15 * (4 * 96 - 1)
    assert by_decimal(minutes, 15) == rows(market, "BBBUSDT", "15m")
    assert by_decimal(rows(market, "BBBUSDT", "15m"), 60) == rows(market, "BBBUSDT", "1h")
    assert by_decimal(minutes, 5) == rows(market, "BBBUSDT", "5m")
    sane(market.minutes(1, BEGIN, BEGIN + DAY), takers=False)


def test_recorded_symbols_come_with_their_first_and_go_with_their_last_bar(tmp_path: Path) -> None:
    market = made(tmp_path)

    assert market.listings(BEGIN - 1) == ()
    assert [one.status for one in market.listings(BEGIN)] == ["TRADING", "TRADING"]
    assert [one.status for one in market.listings(BEGIN + DAY)] == ["SETTLING", "TRADING"]
    assert [change.listing.symbol for change in market.changes(BEGIN, BEGIN + 2 * DAY)] == ["AAAUSDT"]
    assert market.listings(BEGIN)[0].tick_size == "0.01"
    assert market.listings(BEGIN)[0].step_size == "1234.5"


def test_without_pyarrow_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.parquet").write_bytes(b"")
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DefinitionError, match=r"klinehub\[parquet\]"):
        replay(tmp_path)


def test_the_nine_archives_come_back_as_their_text_and_roll_up_in_decimal(realdata: Path) -> None:
    folder = realdata / "ohlcv_1m_12field_csv"
    market = replay(folder)
    recorded: dict[str, list[str]] = {}
    for file in sorted(folder.iterdir()):
        with gzip.open(file, "rt") as text:
            recorded.setdefault(file.name.split("-")[0], []).extend(text.read().split("\n")[1:-1])

    assert sum(map(len, recorded.values())) == 368_640
    for symbol, archive in recorded.items():
        minutes = rows(market, symbol, "1m", limit=100_000)
        assert texts(minutes) == archive
        for name, length in (("5m", 5), ("15m", 15), ("1h", 60)):
            assert rows(market, symbol, name, limit=100_000) == by_decimal(minutes, length)


def test_the_521_symbols_of_the_crash_are_all_there(realdata: Path) -> None:
    market = replay(realdata / "ohlcv_15m_521")
    now = 1_760_131_800_000  # 2025-10-10 21:30
    trading = [one for one in market.listings(now) if one.trading]
    worst = []
    for i in range(len(market.instruments)):
        bars = market.klines(i, market.grain, market.grain.index(now) - 20, market.grain.index(now), now).rows
        if len(bars):
            worst.append(float((bars["low"] / bars["open"]).min() - 1.0))

    assert len(trading) > 500
    assert -0.65 < np.median(worst) < -0.5
    assert market.unavailable
    assert (market.coarse(0, 0, 2**40)[:, OPEN_TIME] % market.grain.milliseconds == 0).all()


def test_parquet_without_a_column_is_no_recording(tmp_path: Path) -> None:
    parquet(tmp_path / "X.parquet", {"open_time": [BEGIN], "open": [1.0], "close": [1.0]})

    with pytest.raises(DataError, match="no recording with columns symbol, open_time"):
        replay(tmp_path)
