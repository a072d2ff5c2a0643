"""Recorded klines through the history: exact as they were printed, and what is built is what was recorded."""

import csv
import gzip
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pytest

from klinehub.dialect.render import twelve_fields
from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.timeframe import Timeframe, timeframe
from klinehub.feed.body import parse_klines
from klinehub.sim.recordings import _decimals, read
from klinehub.sim.truth import exact
from klinehub.store.history import HistoryStore
from klinehub.store.joining import FOREVER, times_of
from klinehub.store.sources import Sources

pytestmark = pytest.mark.timeout(150)

PRICES: Final = ("open", "high", "low", "close")
# Bodies of one day bars that were asked for on 2025-06-29.
ASKED: Final = 1_751_155_200_000


def recorded(path: Path) -> tuple[Timeframe, dict[str, Exact]]:
    """Read a recording into exact bars."""
    found = read(path)
    units = {one.symbol: np.array([1, 1, 10**one.scale.price, 1]) for one in found.symbols}
    return found.timeframe, {
        one.symbol: exact(one.bars, units[one.symbol], one.scale) for one in found.symbols
    }


def kept(bars: dict[str, Exact], frame: Timeframe, folder: Path) -> HistoryStore:
    """Write bars into a history, and open it anew."""
    HistoryStore(folder).write(frame, bars)
    return HistoryStore(folder)


def hours(path: Path) -> dict[str, Exact]:
    """Read prices and volumes; what the simulator makes up beside them would not fit 64 bits of 1000PEPE.

    The last hour of each symbol was still open.
    """
    table = pl.read_parquet(path / "*.parquet").sort("symbol", "open_time")
    bars = {}
    for (symbol,), part in table.group_by("symbol", maintain_order=True):
        rows = np.zeros(len(part) - 1, ROW)
        for name in ("open_time", *PRICES):
            rows[name] = part[name][:-1]
        volume = part["volume"].to_numpy()[:-1]
        price, base = (_decimals(part[list(names)].to_numpy()[:-1]) for names in (PRICES, ["volume"]))
        rows["volume"] = np.rint(volume * 10.0**base)
        rows["quote_volume"] = np.rint(volume * rows["close"])
        rows["trades"] = volume > 0
        bars[str(symbol)] = Exact(rows, Scale(price, base, 0))
    return bars


def size(store: HistoryStore) -> int:
    return sum(store.files.size(path) for path in store.files.below())


def assert_same(expected: dict[str, Exact], found: dict[str, Exact]) -> None:
    assert expected.keys() == found.keys()
    for symbol, bars in expected.items():
        assert bars.scale == found[symbol].scale, symbol
        assert bars.rows.tobytes() == found[symbol].rows.tobytes(), symbol


def test_archives_of_twelve_fields_come_back_to_the_last_digit(realdata: Path, tmp_path: Path) -> None:
    folder = realdata / "ohlcv_1m_12field_csv"
    frame, bars = recorded(folder)
    store = kept(bars, frame, tmp_path)
    found = store.read(timeframe("1m"), None, 0, FOREVER)
    count = sum(exact.rows.size for exact in bars.values())

    assert count == 368_640
    assert_same(bars, found)
    assert size(store) / count <= 20
    assert store.verify().sound
    compared = 0
    for path in sorted(folder.glob("*.csv.gz")):
        with gzip.open(path, "rt") as lines:
            rows = {int(row[0]): row for row in list(csv.reader(lines))[1::53]}
        held = found[path.name.partition("-")[0]]
        mine = held.rows[np.isin(times_of(held), list(rows))]
        for told in twelve_fields(Exact(mine, held.scale), timeframe("1m")):
            row = rows[int(told[0])]
            assert [Decimal(text) for text in row[:11]] == [Decimal(text) for text in told[:11]]
            compared += 1
    assert compared > 6_000


def test_a_year_of_hours_of_a_market_comes_back_and_days_equal_what_rest_said(
    realdata: Path, tmp_path: Path
) -> None:
    bars = hours(realdata / "ohlcv_1h_521x365d")
    store = kept(bars, timeframe("1h"), tmp_path)
    count = sum(exact.rows.size for exact in bars.values())

    assert count == 3_359_714 - 521
    assert size(store) / count <= 24
    assert_same(bars, store.read(timeframe("1h"), None, 0, FOREVER))
    days = Sources([store]).read(timeframe("1d"), None, ASKED - 20 * 86_400_000, ASKED)
    compared = 0
    with zipfile.ZipFile(realdata / "raw_rest" / "fapi_v1_klines_1d_519sym_2025-06.zip") as archive:
        for name in archive.namelist():
            body = parse_klines(archive.read(name), timeframe("1d"))
            closed = Exact(body.rows[times_of(body) + 86_400_000 <= ASKED], body.scale)
            compared += agreed(closed, days.get(name.removesuffix(".json")))
    assert compared == 5_092


def test_quarters_of_an_hour_equal_what_another_recorder_has_in_five_minutes(
    realdata: Path, tmp_path: Path
) -> None:
    small, fives = recorded(realdata / "ohlcv_5m_80")
    frame, quarters = recorded(realdata / "ohlcv_15m_521")
    built = Sources([kept(fives, small, tmp_path / "fives")]).read(frame, None, 0, FOREVER)
    told = kept(quarters, frame, tmp_path / "quarters").read(frame, list(built), 0, FOREVER)

    # All that both have, but the last bar of each of 68 symbols, which was still open.
    assert sum(agreed(told[symbol], built[symbol]) for symbol in told) == 200_483 - 68


def agreed(one: Exact, other: Exact | None) -> int:
    """Give how many bars both have, after asserting that they are the same in prices and volume."""
    if other is None:
        return 0
    _, mine, theirs = np.intersect1d(times_of(one), times_of(other), return_indices=True)
    first, second = one.rows[mine], other.rows[theirs]
    for name in PRICES:
        assert np.array_equal(first[name], second[name]), name
    more = max(one.scale.base, other.scale.base)
    volumes = [
        exact["volume"] * 10 ** (more - scale.base)
        for exact, scale in ((first, one.scale), (second, other.scale))
    ]
    assert np.array_equal(*volumes)
    return len(mine)
