"""Funding rates and metrics as the archive prints them."""

from decimal import Decimal

import pytest

from klinehub.errors import DataError
from klinehub.feed.archive_names import Kind
from klinehub.feed.archive_series import COLUMNS, read_series

FUNDING = "calc_time,funding_interval_hours,last_funding_rate"
METRICS = ",".join(("create_time", "symbol", *COLUMNS[Kind.METRICS]))
BEGIN = 1_769_904_000_000  # 2026-02-01


def test_funding_rates_are_exact() -> None:
    text = f"{FUNDING}\n{BEGIN},8,0.00010000\n{BEGIN + 28_800_009},4,-0.00012345\n"
    told = read_series(text.encode(), "x.zip", Kind.FUNDING)

    assert told.times == (BEGIN, BEGIN + 28_800_009)
    assert told.columns == {
        "funding_interval_hours": (Decimal(8), Decimal(4)),
        "last_funding_rate": (Decimal("0.0001"), Decimal("-0.00012345")),
    }


def test_metrics_are_exact_and_may_lack() -> None:
    row = "2026-02-01 00:05:00,BTCUSDT,91063.9100000000000000,3946042345.1234567890123456,1.5,,2.5,0.875"
    told = read_series(f"{METRICS}\r\n{row}\r\n".encode(), "x.zip", Kind.METRICS)
    values = [column[0] for column in told.columns.values()]

    assert told.times == (BEGIN + 300_000,)
    assert values[:2] == [Decimal("91063.91"), Decimal("3946042345.1234567890123456")]
    assert values[2:] == [Decimal("1.5"), None, Decimal("2.5"), Decimal("0.875")]


def test_rows_are_sorted_and_equal_ones_kept_once() -> None:
    rows = [f"{BEGIN + n},8,0.{n}" for n in (2, 1, 2)]

    assert read_series("\n".join([FUNDING, *rows]).encode(), "x", Kind.FUNDING).times == (
        BEGIN + 1,
        BEGIN + 2,
    )


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "holds no row"),
        ([f"{BEGIN},8,0.1", "x,8,0.1"], "line 3 is no row of fundingRate"),
        ([f"{BEGIN},8,0.1", f"{BEGIN},8,abc"], "line 3 is no row"),
        ([f"{BEGIN},8"], "line 2 is no row"),
        ([f"{BEGIN},8,0.1", f"{BEGIN},8,0.2"], "line 3 tells otherwise"),
    ],
)
def test_what_is_no_row_is_told_with_its_line(rows: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_series("\n".join([FUNDING, *rows]).encode(), "x", Kind.FUNDING)


@pytest.mark.parametrize("text", [b"", b"<html>", METRICS.encode(), b"\xff\xfe"])
def test_another_files_columns_are_told(text: bytes) -> None:
    with pytest.raises(DataError, match="has not the columns calc_time"):
        read_series(text, "x", Kind.FUNDING)
