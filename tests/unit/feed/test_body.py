"""REST kline bodies against `json` and `Decimal`: equal, or refused with a reason."""

import json
import re
import struct
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klinehub.domain.kline import Exact, Scale
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DataError
from klinehub.feed.body import nearest_float, number, parse_klines, whole

TIME: Final = 1_751_155_200_000
PRICES: Final = (("open", 1), ("high", 2), ("low", 3), ("close", 4))
VOLUMES: Final = (("volume", 5, 1), ("quote_volume", 7, 2), ("taker_base", 9, 1), ("taker_quote", 10, 2))
Row = list[Any]


def row(time: int = TIME, **changes: Any) -> Row:
    """Give a row of a body; changes by field number, as `f5="1"`."""
    cells: Row = [
        time,
        "1.50",
        "2.00",
        "1.25",
        "1.75",
        "10.5",
        time + 59_999,
        "17.250",
        3,
        "4.5",
        "7.125",
        "0",
    ]
    for key, value in changes.items():
        cells[int(key[1:])] = value
    return cells


def rows(count: int) -> list[Row]:
    return [row(TIME + 60_000 * n) for n in range(count)]


def body(*lines: Row) -> bytes:
    return json.dumps(lines, separators=(",", ":")).encode()


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def assert_equal(exact: Exact, text: bytes) -> None:
    """Hold exact rows against the text they came from, bit for bit."""
    table = json.loads(text, parse_float=str)
    assert len(exact.rows) == len(table)
    for kept, line in zip(exact.rows, table, strict=True):
        assert (kept["open_time"], kept["trades"]) == (Decimal(line[0]), Decimal(line[8]))
        for name, field in PRICES:
            assert bits(kept[name]) == bits(float(line[field]))
        for name, field, part in VOLUMES:
            assert Decimal(int(kept[name])).scaleb(-exact.scale[part]) == Decimal(line[field])


def test_a_plain_body_is_read() -> None:
    exact = parse_klines(body(*rows(3)))

    assert exact.scale == Scale(2, 1, 3)
    assert exact.rows[2].tolist() == (TIME + 120_000, 1.5, 2.0, 1.25, 1.75, 105, 17250, 3, 45, 7125)


@pytest.mark.parametrize("text", [b"[]", b" [ ] \n", b"[\n]"])
def test_no_rows_are_no_rows(text: bytes) -> None:
    assert len(parse_klines(text).rows) == 0


def test_white_space_changes_nothing() -> None:
    plain = rows(4)
    for text in (json.dumps(plain), json.dumps(plain, indent=2), " \n" + json.dumps(plain) + "\n"):
        assert parse_klines(text.encode()).rows.tolist() == parse_klines(body(*plain)).rows.tolist()


def test_a_trade_less_row_prints_zeros_and_has_no_decimals() -> None:
    flat = row(TIME + 60_000, f5="0", f7="0", f8=0, f9="0", f10="0")

    exact = parse_klines(body(row(), flat))
    assert exact.scale == Scale(2, 1, 3)
    assert exact.rows[1]["volume"] == 0
    assert parse_klines(body(flat)).scale == Scale(2, 0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"f5": "1.25e3", "f9": "1E-1"},
        {"f5": "9007199254740993.5"},
        {"f7": "1331523861.604236012", "f10": "0"},
        {"f1": "1.5000000000000000000001"},
        {"f1": 1.5, "f5": 10.5},
        {"f5": "10.50", "f9": "4.5"},
        {"f0": "1751155200000"},
        {"f8": "3"},
        {"f8": "3.00"},
    ],
)
def test_rows_of_another_form_are_read_all_the_same(changes: dict[str, Any]) -> None:
    text = body(row(**changes), row(TIME + 60_000))

    assert_equal(parse_klines(text), text)


def test_bare_numbers_keep_all_of_their_digits() -> None:
    text = body(row(f7="@", f10="1E1")).replace(b'"@"', b"1331523861.6042361")

    exact = parse_klines(text)
    assert exact.rows["quote_volume"].tolist() == [13315238616042361]


def test_more_fields_than_twelve_are_left_alone() -> None:
    text = body([*row(), "new"], [*row(TIME + 60_000), "new"])

    assert_equal(parse_klines(text), text)


BROKEN: Final = {
    "nothing": b"",
    "an object": b'{"code":-1121,"msg":"Invalid symbol."}',
    "a page": b"<html><body>403</body></html>",
    "null": b"null",
    "no table": b"[1,2,3]",
    "cut off in a row": body(*rows(3))[:-30] + b"]",
    "cut off between rows": body(*rows(3))[:-1],
    "cut off in a number": body(row())[:-20],
    "eleven fields": body(row()[:-1]),
    "a short row among others": body(row(), row(TIME + 60_000)[:6], row(TIME + 60_000)[6:]),
    "rows that only add up to twelve": body([*row(), TIME + 60_000], row(TIME + 60_000)[1:]),
    "two halves of a row": body(row()[:6], row()[6:]),
    "a nested row": b"[" + body(row()) + b"]",
    "an empty row": b"[[]]",
    "one bracket": b"[" + body(row())[2:],
    "rows without commas": body(*rows(2)).replace(b"],[", b"] x ["),
    "not a number": body(row(f1="NaN")),
    "infinite": body(row(f2="Infinity")),
    "beyond all floats": body(row(f2="1e400")),
    "hundreds of decimals": body(row(f5="1e-400")),
    "a monstrous exponent": body(row(f5="1e999999999")),
    "an empty number": body(row(f5="")),
    "underscores": body(row(f5="1_0")),
    "digits of another script": body(row(f5="\u0661")),
    "a word": body(row(f5="many")),
    "null for a number": body(row(f5=None)),
    "true for a number": body(row(f8=True)),
    "a list for a number": body(row(f5=["1"])),
    "a negative volume": body(row(f5="-1")),
    "a negative price": body(row(f3="-1")),
    "a negative count": body(row(f8=-3)),
    "a fraction of a trade": body(row(f8=1.5)),
    "a time beyond 64 bits": body(row(f0=2**70)),
    "a fraction of a time": body(row(f0="1751155200000.5")),
    "a volume beyond 64 bits": body(row(f5="9223372036854775808")),
    "no UTF-8": body(row(f5="@")).replace(b"@", b"\xff\xfe"),
    "high below low": body(row(f2="1.00")),
    "open above high": body(row(f1="2.01")),
    "out of order": body(row(TIME + 60_000), row()),
    "a row twice": body(row(), row()),
    "something behind it": body(row()) + b",",
    "two bodies": body(row()) + body(row(TIME + 60_000)),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=[name.replace(" ", "-") for name in BROKEN])
def test_a_malformed_body_is_refused(text: bytes) -> None:
    with pytest.raises(DataError):
        parse_klines(text)


numerals = st.one_of(
    st.tuples(st.integers(0, 2**60), st.integers(0, 8)).map(lambda n: f"{Decimal(n[0]).scaleb(-n[1]):f}"),
    st.tuples(st.integers(0, 10**6), st.integers(-9, 9)).map(lambda n: f"{n[0]}e{n[1]}"),
    st.just("0"),
)


@settings(max_examples=150)
@given(st.lists(st.lists(numerals, min_size=8, max_size=8), max_size=4), st.sampled_from([None, 1]))
def test_any_body_of_numerals_is_read_bit_for_bit_or_refused(
    table: list[list[str]], indent: int | None
) -> None:
    lines = []
    for n, texts in enumerate(table):
        low, first, last, high = sorted(texts[:4], key=Decimal)
        lines.append(
            row(
                TIME + n,
                f1=first,
                f2=high,
                f3=low,
                f4=last,
                f5=texts[4],
                f7=texts[5],
                f9=texts[6],
                f10=texts[7],
            ),
        )
    text = json.dumps(lines, indent=indent).encode()
    try:
        exact = parse_klines(text)
    except DataError as refused:
        assert "does not fit 64 bits" in str(refused)  # noqa: PT017 - most bodies are not refused
        return
    assert_equal(exact, text)


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_body_is_refused_or_says_what_json_says(data: st.DataObject) -> None:
    damaged = bytearray(body(*rows(3)))
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(["cut", "set", "drop", "add"])):
            case "cut":
                del damaged[max(at, 1) :]
            case "set":
                damaged[at] = data.draw(st.sampled_from(b'"[],{} 0\\\xff.-'))
            case "drop":
                del damaged[at : at + data.draw(st.integers(1, 60))]
            case _:
                damaged[at:at] = data.draw(st.sampled_from([b'"', b"],[", b",", b"[", b"0", b"]"]))
    text = bytes(damaged)
    try:
        exact = parse_klines(text)
    except DataError:
        return
    try:
        assert_equal(exact, text)
    except (ValueError, ArithmeticError):
        # Commas, quotes and blanks beside the numbers are not looked at; each number is one of the text.
        told = re.findall(r"[0-9.]+", text.decode("latin-1"))
        numerals = [one for one in told if one.strip(".") and one.count(".") < 2]
        assert set(exact.rows["open_time"].tolist()) <= {Decimal(one) for one in numerals}
        for name, _ in PRICES:
            assert set(exact.rows[name].tolist()) <= {float(one) for one in numerals}


@given(st.binary(max_size=80))
def test_any_bytes_are_refused(junk: bytes) -> None:
    if junk.split() not in ([b"[]"], [b"[", b"]"]):
        with pytest.raises(DataError):
            parse_klines(junk)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, places=6), st.integers(0, 12))
def test_whole_is_exact_or_refuses(value: Decimal, places: int) -> None:
    scaled = value * 10**places if value < 10**20 else None
    if scaled is not None and scaled == int(scaled) and scaled < 2**63:
        assert whole(value, places) == scaled
    else:
        with pytest.raises(DataError, match="does not fit"):
            whole(value, places)


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "+", "1e", "1e1234", "0x1", "1_0", "nan", "\u0661", "1" * 41]
)
def test_what_is_no_numeral_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="is not a number"):
        number(text)


def test_a_price_is_the_nearest_float_of_its_text() -> None:
    for text in ("0.1", "1e-7", "9007199254740993", "123456789.123456789123456789", "-0"):
        assert bits(nearest_float(number(text))) == bits(float(text))


@pytest.mark.timeout(60)
def test_all_recorded_bodies_equal_json_and_decimal(realdata: Path) -> None:
    with zipfile.ZipFile(realdata / "raw_rest" / "fapi_v1_klines_1d_519sym_2025-06.zip") as recorded:
        names = recorded.namelist()
        assert len(names) == 519
        for name in names:
            text = recorded.read(name)
            assert_equal(parse_klines(text), text)
            compact = json.dumps(json.loads(text), separators=(",", ":")).encode()
            assert parse_klines(compact).rows.tolist() == parse_klines(text).rows.tolist()


@pytest.mark.parametrize(("name", "length"), [("1m", 60_000), ("5m", 300_000)])
@pytest.mark.parametrize("changes", [{}, {"f1": "1.5e0"}])
def test_only_rows_of_the_asked_length_are_taken(name: str, length: int, changes: dict[str, Any]) -> None:
    text = body(row(TIME, f6=TIME + length - 1, **changes))

    assert len(parse_klines(text, timeframe(name)).rows) == 1
    with pytest.raises(DataError, match="no 15m klines"):
        parse_klines(text, timeframe("15m"))


def test_rows_between_the_bars_of_the_grid_are_refused() -> None:
    with pytest.raises(DataError, match="no 1m klines"):
        parse_klines(body(row(TIME + 1, f6=TIME + 60_000)), timeframe("1m"))


def test_months_have_their_own_lengths() -> None:
    june, july, august = 1_748_736_000_000, 1_751_328_000_000, 1_754_006_400_000
    text = body(row(june, f6=july - 1), row(july, f6=august - 1))

    assert len(parse_klines(text, timeframe("1M")).rows) == 2
    with pytest.raises(DataError, match="no 1M klines"):
        parse_klines(body(row(june, f6=july)), timeframe("1M"))
