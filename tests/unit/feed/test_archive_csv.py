"""Archive CSV against csv and Decimal, what an archive may do to it, and what is refused."""

import csv
import gzip
import io
import json
import struct
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import MINUTE, timeframe
from klinehub.errors import DataError
from klinehub.feed.archive_csv import MICROSECONDS, KlineFile, read_klines, read_numbers
from klinehub.feed.body import parse_klines

pytestmark = pytest.mark.timeout(120)
BEGIN = 1_769_904_000_000  # 2026-02-01
LATER = 2**52
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)
# Spot's own CSVs were once published with names like these.
OTHER_HEADER = (
    "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades,"
    "Taker buy base asset volume,Taker buy quote asset volume,Ignore"
)
PRICES, VOLUMES = ("open", "high", "low", "close"), {5: "volume", 7: "quote_volume", 9: "taker_base"}


def line(n: int = 0, **changes: Any) -> str:
    """Print the minute number *n*; a change names its field as f0 to f11."""
    opened = BEGIN + n * MINUTE
    cells = [
        opened,
        "10.50",
        "11.00",
        "10.25",
        "10.75",
        "4.5",
        opened + MINUTE - 1,
        "47.25",
        9,
        "1.5",
        "15.75",
        0,
    ]
    for name, value in changes.items():
        cells[int(name[1:])] = value
    return ",".join(map(str, cells))


def read(text: str | bytes, name: str = "1m", *, now: int = LATER) -> KlineFile:
    data = text if isinstance(text, bytes) else text.encode()
    return read_klines(data, "BTCUSDT-1m-2026-02.zip", timeframe(name), now=now)


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def assert_equal(exact: Exact, text: str) -> None:
    """Hold rows against the csv module, float() and Decimal."""
    lines = [cells for cells in csv.reader(io.StringIO(text)) if cells and cells[0][:1].isdigit()]
    assert len(exact.rows) == len(lines)
    for row, cells in zip(exact.rows, lines, strict=True):
        time = int(cells[0])
        assert row["open_time"] == (time // 1000 if time >= MICROSECONDS else time)
        assert row["trades"] == int(cells[8])
        for field, name in enumerate(PRICES, 1):
            assert bits(row[name]) == bits(float(cells[field]))
        scales = {5: exact.scale.base, 9: exact.scale.base, 7: exact.scale.quote, 10: exact.scale.quote}
        for field, name in (*VOLUMES.items(), (10, "taker_quote")):
            assert Decimal(int(row[name])).scaleb(-scales[field]) == Decimal(cells[field])


def numerals(most: int = 10**12) -> st.SearchStrategy[str]:
    """Give texts of numbers as an exchange prints them: any decimals, zeros at the end kept."""
    whole = st.integers(0, most).map(str)
    return st.builds(lambda w, d: f"{w}.{d}" if d else w, whole, st.text("0123456789", max_size=6))


@st.composite
def files(draw: st.DrawFn) -> str:
    """Draw a whole file: header or none, ms or µs, any line ends."""
    micro = draw(st.booleans())
    lines = []
    for n in range(draw(st.integers(1, 5))):
        cells = sorted(draw(st.lists(numerals(), min_size=4, max_size=4)), key=Decimal)
        low, opened, close, high = cells
        times = [BEGIN + n * MINUTE, BEGIN + (n + 1) * MINUTE - 1]
        first, last = (f"{times[0]}000", f"{times[1]}999") if micro else map(str, times)
        volumes = draw(st.lists(numerals(), min_size=4, max_size=4))
        trades = draw(st.integers(0, 10**9))
        tail = [volumes[0], last, volumes[1], str(trades), volumes[2], volumes[3], draw(numerals())]
        lines.append(",".join([first, opened, high, low, close, *tail]))
    head = draw(st.sampled_from([[], [HEADER], [OTHER_HEADER]]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return end.join([*head, *lines]) + draw(st.sampled_from(["", end, end * 2]))


@given(files())
def test_a_file_equals_csv_and_decimal(text: str) -> None:
    found = read(text)

    assert found.notes == ()
    assert_equal(found.exact, text)


def test_scales_are_the_most_decimals_printed() -> None:
    text = "\n".join([line(0, f5="4", f9="0"), line(1, f5="0.000", f9="0.12", f7="0", f10="0.0")])

    assert read(text).exact.scale == (2, 2, 2)


def test_a_file_is_the_rest_answer_of_the_same_bars() -> None:
    lines = [line(n) for n in range(5)]
    cells = [text.split(",") for text in lines]
    body = json.dumps([[int(c) if k in {0, 6, 8} else c for k, c in enumerate(one)] for one in cells])
    by_rest, by_file = parse_klines(body.encode()), read("\n".join(lines)).exact

    assert by_file.scale == by_rest.scale
    assert by_file.rows.tolist() == by_rest.rows.tolist()


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_no_row_is_taken_for_a_header(mark: bytes) -> None:
    assert len(read(mark + line(0).encode()).exact.rows) == 1


@pytest.mark.parametrize(
    "junk",
    [
        line(2, f1="x"),
        line(2, f1=""),
        line(2, f1="."),
        line(2, f1="1."),
        line(2, f1=".5"),
        line(2, f1="1.2.3"),
        line(2, f1="-1"),
        line(2, f1="1e5"),
        line(2, f1=" 1"),
        line(2, f8="1.0"),
        line(2, f0=f"{BEGIN}.0"),
        line(2) + ",1",
        line(2).rpartition(",")[0],
        "open_time,open",
        "<html>",
        "\x00\xff",
    ],
)
def test_junk_is_told_with_its_line(junk: str) -> None:
    text = "\n".join([HEADER, line(0), "", line(1), junk, line(3)])

    with pytest.raises(DataError, match="line 5 is not 12 numbers"):
        read(text)


@given(st.binary(max_size=300), st.integers(0, 60))
def test_no_bytes_are_read_as_anything_else(junk: bytes, at: int) -> None:
    """What was damaged is refused, or reads as csv reads it."""
    whole = f"{HEADER}\n{line(0)}\n".encode()
    text = whole[:at] + junk + whole[at:]
    try:
        numbers = read_numbers(text, "x.csv")
    except DataError:
        return
    kept = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert [int(kept[n - 1].split(b",")[8]) for n in numbers.lines] == numbers.mantissas[:, 8].tolist()


@pytest.mark.parametrize("text", ["", HEADER, "\n\n", f"{HEADER}\r\n"])
def test_a_file_without_rows_is_told(text: str) -> None:
    with pytest.raises(DataError, match="holds no 12 numbers"):
        read(text)


@pytest.mark.parametrize("field", ["f1", "f5", "f7"])
@pytest.mark.parametrize("number", ["9223372036854775808", "123456789012.1234567890", f"0.{'0' * 18}1"])
def test_a_number_of_more_than_64_bits_is_told(field: str, number: str) -> None:
    with pytest.raises(DataError, match="line 2 has a number that does not fit 64 bits"):
        read("\n".join([line(0), line(1, **{field: number})]))


def test_a_volume_that_fits_only_alone_is_told() -> None:
    with pytest.raises(DataError, match="line 1: a volume does not fit 64 bits with the decimals"):
        read("\n".join([line(0, f5="9223372036854775807"), line(1, f5="0.1")]))


def test_the_largest_volume_is_kept() -> None:
    assert read(line(0, f5="9223372036.854775807", f9="1")).exact.rows["volume"].tolist() == [2**63 - 1]


def test_disorder_is_sorted_and_told() -> None:
    found = read("\n".join([line(0), line(3), line(1), line(2)]))

    assert found.exact.rows["open_time"].tolist() == [BEGIN + n * MINUTE for n in range(4)]
    assert found.notes == (
        "BTCUSDT-1m-2026-02.zip: line 3 is older than the one before; the rows were sorted",
    )


def test_a_bar_that_is_there_twice_is_kept_once() -> None:
    found = read("\n".join([line(0), line(1), line(1), line(2)]))

    assert len(found.exact.rows) == 3
    assert found.notes == ("BTCUSDT-1m-2026-02.zip: line 3 is a bar that is there twice",)


def test_of_a_bar_told_in_two_ways_neither_is_kept() -> None:
    found = read("\n".join([line(0), line(1), line(1, f4="10.80"), line(2)]))

    assert found.exact.rows["open_time"].tolist() == [BEGIN, BEGIN + 2 * MINUTE]
    assert "told in two ways" in found.notes[-1]


@pytest.mark.parametrize(
    "changes",
    [
        {"f0": BEGIN + MINUTE + 1},
        {"f6": BEGIN + 2 * MINUTE},
        {"f6": BEGIN + 6 * MINUTE - 1},
        {"f2": "10.00"},
        {"f3": "10.60"},
        {"f0": (BEGIN + MINUTE) // 1000},
    ],
)
def test_what_is_no_bar_is_left_out_alone(changes: dict[str, Any]) -> None:
    found = read("\n".join([HEADER, line(0), line(1, **changes), line(2)]))

    assert found.exact.rows["open_time"].tolist() == [BEGIN, BEGIN + 2 * MINUTE]
    assert found.notes == ("BTCUSDT-1m-2026-02.zip: line 3 is no 1m bar",)


def test_a_bar_that_is_open_is_left_out() -> None:
    found = read("\n".join([line(0), line(1)]), now=BEGIN + MINUTE + 30_000)

    assert found.exact.rows["open_time"].tolist() == [BEGIN]
    assert found.notes == ("BTCUSDT-1m-2026-02.zip: line 2 is a bar that is still open",)


def test_months_have_their_own_lengths() -> None:
    february, march = (BEGIN, 1_772_323_200_000)

    assert len(read(line(0, f6=march - 1), "1M").exact.rows) == 1
    assert read(line(0, f6=february + 31 * 86_400_000 - 1), "1M").exact.rows.size == 0


@pytest.mark.timeout(120)
def test_recorded_archives_equal_csv_and_decimal(realdata: Path) -> None:
    found = sorted((realdata / "ohlcv_1m_12field_csv").glob("*.csv.gz"))
    assert len(found) == 9
    for path in found[:3]:
        text = gzip.decompress(path.read_bytes()).decode()
        read_file = read_klines(text.encode(), path.name, timeframe("1m"), now=LATER)
        part = "".join(text.splitlines(keepends=True)[:4_000])

        assert read_file.notes == ()
        assert np.all(np.diff(read_file.exact.rows["open_time"]) == MINUTE)
        assert_equal(read_klines(part.encode(), path.name, timeframe("1m"), now=LATER).exact, part)


def test_recorded_spot_answers_are_read_alike_as_archives(realdata: Path) -> None:
    with zipfile.ZipFile(next((realdata / "spot_12field_json").glob("*.zip"))) as recorded:
        for name in recorded.namelist()[::13]:
            body, frame = recorded.read(name), timeframe(name.split("/")[1])
            by_rest = parse_klines(body, frame)
            micro = "\n".join(
                ",".join(map(str, [f"{row[0]}000", *row[1:6], f"{row[6]}999", *row[7:]]))
                for row in json.loads(body)
            )
            by_file = read_klines(micro.encode(), name, frame, now=LATER)

            assert by_file.notes == ()
            assert by_file.exact.scale == by_rest.scale
            assert by_file.exact.rows.tolist() == by_rest.rows.tolist()
