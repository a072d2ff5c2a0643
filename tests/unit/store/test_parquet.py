"""Segments: what goes in comes out bit for bit, for us and for any reader of Parquet, or it is an error."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.store.series import changed, exacts, plain, printed, same, symbols
from tests.unit.store.threads import counted, left

from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.timeframe import TIMEFRAMES, timeframe
from klinehub.errors import DataError, StoreError
from klinehub.store import parquet
from klinehub.store.joining import joined
from klinehub.store.parquet import DamagedSegment, checked, encode, named, opened, pieces

MINUTE: Final = timeframe("1m")
# 2026-02-28 00:00, at which a group of two days begins.
FIRST: Final = 1_772_236_800_000 // 60_000


def kept(folder: Path, runs: list[tuple[str, Exact]], name: str = "1m", generation: int = 0) -> Path:
    """Write a segment the short way."""
    file, body = encode(timeframe(name), runs, generation)
    (folder / file).write_bytes(body)
    return folder / file


def held(path: Path) -> dict[str, Exact]:
    """Read all of a segment."""
    segment = opened(path)
    found: dict[str, list[Exact]] = {}
    for symbol, exact in pieces(segment, range(len(segment.head.groups))):
        found.setdefault(symbol, []).append(exact)
    return {symbol: joined(runs) for symbol, runs in found.items()}


@given(data=st.data(), name=st.sampled_from(list(TIMEFRAMES)))
@settings(max_examples=60)
def test_every_number_comes_back_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    frame = timeframe(name)
    bars = data.draw(st.dictionaries(symbols, exacts(frame), min_size=1, max_size=4))
    path = kept(tmp_path_factory.mktemp("segment"), sorted(bars.items()), name)
    found = held(path)

    assert list(found) == sorted(bars)
    assert all(same(bars[symbol], found[symbol]) for symbol in bars)
    assert list(dict.fromkeys(symbol for symbol, _ in checked(path, frame))) == sorted(bars)
    assert (named(path).first, named(path).last) == (min(bars), max(bars))


def test_a_symbol_is_cut_at_the_same_bars_whenever_it_begins(tmp_path: Path) -> None:
    runs = [("A", plain(MINUTE, FIRST - 100, 3_000)), ("B", plain(MINUTE, FIRST, 2_880))]
    groups = opened(kept(tmp_path, runs)).head.groups

    assert [[(p.symbol, p.first // 60_000 - FIRST, p.bars) for p in g.pieces] for g in groups] == [
        [("A", -100, 100)],
        [("A", 0, 2_880)],
        [("A", 2_880, 20)],
        [("B", 0, 2_880)],
    ]


def test_small_symbols_share_a_group(tmp_path: Path) -> None:
    runs = [(f"S{n}", plain(timeframe("1d"), 20_000 + n, 31)) for n in range(100)]
    groups = opened(kept(tmp_path, runs, "1d")).head.groups

    assert [sum(piece.bars for piece in group.pieces) for group in groups] == [92 * 31, 8 * 31]


def test_only_what_was_asked_for_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept(tmp_path, [("A", plain(MINUTE, FIRST, 2_880)), ("B", plain(MINUTE, FIRST, 2_880, 2))])
    segment = opened(path)
    body = bytearray(path.read_bytes())
    first, _ = segment.head.groups
    body[first.begin : first.end] = bytes(first.end - first.begin)
    path.write_bytes(body)

    assert [symbol for symbol, _ in pieces(segment, [1])] == ["B"]
    with pytest.raises(DamagedSegment):
        list(pieces(segment, [0]))


@pytest.mark.parametrize("scale", [Scale(5, 0, 7), Scale(2, 3, 8)])
def test_a_price_that_multiplying_misses_is_found(tmp_path: Path, scale: Scale) -> None:
    mantissas = [2**53 - 1, 2**53 + 3, 9_007_199_254_740_993, 4_503_599_627_370_497, 1, 2**63 - 1025]
    rows = np.zeros(len(mantissas), ROW)
    rows["open_time"] = np.arange(len(mantissas)) * 60_000
    rows["close"] = [printed(one, scale.price) for one in mantissas]
    exact = Exact(rows, scale)

    assert same(exact, held(kept(tmp_path, [("A", exact)]))["A"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"close": 1.005}, "1.005, which 2 decimals do not print"),
        ({"open": np.nan}, "nan"),
        ({"high": np.inf}, "inf"),
        ({"low": -0.0}, "-0.0"),
        ({"close": 1e300}, "1e[+]300"),
        ({"volume": -1}, "below zero"),
        ({"trades": -1}, "below zero"),
    ],
)
def test_a_number_that_can_not_be_kept_exactly_is_refused(fields: dict[str, float], said: str) -> None:
    exact = changed(plain(MINUTE, FIRST, 3), 1, **fields)

    with pytest.raises(DataError, match=said):
        encode(MINUTE, [("A", exact)], 0)


@pytest.mark.parametrize("scale", [Scale(19, 0, 0), Scale(0, -1, 0), Scale(0, 0, 400)])
def test_decimals_that_do_not_fit_are_refused(scale: Scale) -> None:
    with pytest.raises(DataError, match="18 decimals"):
        encode(MINUTE, [("A", plain(MINUTE, FIRST, 1)._replace(scale=scale))], 0)


@pytest.mark.parametrize("symbol", ["", "X" * 101, "币" * 12])
def test_a_symbol_that_fits_no_name_is_refused(symbol: str) -> None:
    with pytest.raises(DataError, match="does not fit a file's name"):
        encode(MINUTE, [(symbol, plain(MINUTE, FIRST, 1))], 0)


@pytest.fixture(scope="module")
def small() -> tuple[str, bytes, dict[str, Exact]]:
    """Give a segment's name, bytes and what is in it."""
    bars = {
        "BTCUSDT": plain(MINUTE, FIRST, 9),
        "币安人生USDT": plain(MINUTE, FIRST + 3, 5, 2, Scale(5, 0, 7)),
    }
    return *encode(MINUTE, sorted(bars.items()), 0), bars


def test_a_flipped_bit_anywhere_is_detected_or_harmless(
    tmp_path: Path, small: tuple[str, bytes, dict[str, Exact]]
) -> None:
    name, body, bars = small
    path, silent = tmp_path / name, []
    for at in range(len(body)):
        flipped = bytearray(body)
        flipped[at] ^= 1 << at * 5 % 8
        path.write_bytes(flipped)
        with suppress(DamagedSegment):
            found = held(path)
            silent.append(at)
            assert all(same(bars[symbol], found[symbol]) for symbol in bars)

    # Nobody reads the mark at the file's beginning but a check of all of it.
    assert silent == [0, 1, 2, 3]


@given(at=st.integers(0, 10_000), cut=st.booleans(), junk=st.binary(min_size=1, max_size=40))
@settings(max_examples=150)
def test_a_check_sees_whatever_was_changed_cut_or_added(
    tmp_path_factory: pytest.TempPathFactory,
    small: tuple[str, bytes, dict[str, Exact]],
    at: int,
    *,
    cut: bool,
    junk: bytes,
) -> None:
    name, body, _ = small
    path = tmp_path_factory.getbasetemp() / name
    at %= len(body)
    spoiled = body[:at] if cut else body[:at] + junk + body[at + len(junk) :]
    path.write_bytes(spoiled)
    if spoiled == body:
        return

    with pytest.raises(DamagedSegment):
        list(checked(path, MINUTE))


def test_a_file_of_another_name_or_timeframe_is_no_segment(tmp_path: Path) -> None:
    path = kept(tmp_path, [("A", plain(MINUTE, 0, 1))])

    with pytest.raises(DamagedSegment, match="holds 1m bars"):
        list(checked(path, timeframe("1h")))
    with pytest.raises(DamagedSegment, match="its name tells no symbols"):
        opened(path.rename(tmp_path / "mine.parquet"))


def test_a_segment_of_a_newer_format_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "FORMAT", 2)
    path = kept(tmp_path, [("A", plain(MINUTE, 0, 1))])
    monkeypatch.undo()

    with pytest.raises(StoreError, match="format 2, known is 1: update klinehub"):
        opened(path)


def test_bars_out_of_order_in_a_file_are_damage(tmp_path: Path) -> None:
    bars = plain(MINUTE, FIRST, 4)
    twisted = Exact(bars.rows[[0, 2, 1, 3]], bars.scale)
    path = kept(tmp_path, [("A", twisted)])

    with pytest.raises(DamagedSegment, match="comes after"):
        list(checked(path, MINUTE))


def test_the_same_bars_make_the_same_file() -> None:
    runs = [("A", plain(MINUTE, FIRST, 3_000))]

    assert encode(MINUTE, runs, 0) == encode(MINUTE, runs, 0)
    assert encode(MINUTE, runs, 0)[0] != encode(MINUTE, runs, 1)[0]


def truth(bars: dict[str, Exact]) -> list[tuple[Any, ...]]:
    """Give symbol, open time, close, volume and trades as anybody would print them."""
    rows = [(symbol, row, 10**exact.scale.base) for symbol, exact in bars.items() for row in exact.rows]
    return [
        (symbol, int(row["open_time"]), float(row["close"]), int(row["volume"]) / power, int(row["trades"]))
        for symbol, row, power in rows
    ]


@pytest.fixture
def shared(tmp_path: Path) -> tuple[Path, list[tuple[Any, ...]]]:
    """Give a folder with two segments, symbols printed with other decimals each, and what is in it."""
    bars = {"BTCUSDT": plain(MINUTE, FIRST, 30), "币安人生USDT": plain(MINUTE, FIRST, 20, 2, Scale(5, 0, 7))}
    for symbol, exact in bars.items():
        kept(tmp_path, [(symbol, exact)])
    return tmp_path, truth(bars)


def test_duckdb_reads_the_same_numbers(shared: tuple[Path, list[tuple[Any, ...]]]) -> None:
    folder, expected = shared
    found = duckdb.sql(
        "SELECT symbol, epoch_ms(open_time), close / 10.0::DOUBLE ** price_decimals, "
        f"volume / 10.0::DOUBLE ** base_decimals, trades FROM '{folder}/*.parquet' ORDER BY ALL"
    )

    assert found is not None
    assert found.fetchall() == expected


def test_polars_reads_the_same_numbers(shared: tuple[Path, list[tuple[Any, ...]]]) -> None:
    folder, expected = shared
    rows = pl.scan_parquet(folder / "*.parquet").select(
        pl.col("symbol").cast(pl.String),
        pl.col("open_time").dt.epoch("ms"),
        pl.col("close") / 10.0 ** pl.col("price_decimals"),
        pl.col("volume") / 10.0 ** pl.col("base_decimals"),
        "trades",
    )

    assert sorted(rows.collect().rows()) == expected


def test_pandas_reads_the_same_numbers(shared: tuple[Path, list[tuple[Any, ...]]]) -> None:
    folder, expected = shared
    frame = pd.read_parquet(folder)
    close = frame["close"] / 10.0 ** frame["price_decimals"]
    volume = frame["volume"] / 10.0 ** frame["base_decimals"]
    times = frame["open_time"].astype("int64")
    rows = zip(frame["symbol"].astype(str), times, close, volume, frame["trades"], strict=True)

    assert str(frame["open_time"].dt.tz) == "UTC"
    assert sorted(rows) == expected


def test_a_reader_can_skip_what_it_does_not_want(tmp_path: Path) -> None:
    path = kept(tmp_path, [("A", plain(MINUTE, FIRST, 2_880)), ("B", plain(MINUTE, FIRST, 2_880))])
    found = pyarrow.parquet.read_metadata(io.BytesIO(path.read_bytes()))

    known = [found.row_group(group).column(column).statistics for group in (0, 1) for column in (0, 1)]
    assert [one is not None and one.has_min_max for one in known] == [True] * 4
    assert {found.row_group(0).column(c).compression for c in range(found.num_columns)} == {"ZSTD"}


@counted
def test_segments_are_read_without_a_thread_of_arrows(tmp_path: Path) -> None:
    path = kept(tmp_path, [(symbol, plain(MINUTE, FIRST, 3_000)) for symbol in ("BTCUSDT", "ETHUSDT")])

    found = left(
        "from klinehub.store.parquet import opened, parquet_at, pieces",
        """
segment = opened(path)
print(sum(exact.rows.size for _, exact in pieces(segment, range(len(segment.head.groups)))))
print(sum(len(batch) for batch in parquet_at(path).iter_batches(500, use_threads=False)))
""",
        path,
    )

    # One that is still there when the process ends may abort it.
    assert found == ["6000", "6000", "0"]
