"""Lines of twelve fields: what is printed reads back as it was, or is refused before it is written."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.store.series import changed, exacts, plain

from klinehub.app.store_files import HEADER, csv_rows
from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.timeframe import TIMEFRAMES, Timeframe, timeframe
from klinehub.errors import DataError
from klinehub.feed.archive_csv import read_klines
from klinehub.store.joining import widened

HOUR = timeframe("1h")
PRICES = ("low", "open", "close", "high")


def consistent(exact: Exact) -> Exact:
    """Put the four prices of each bar in an order that can be, none of more than 15 digits."""
    rows = exact.rows.copy()
    largest = 10 ** (15 - exact.scale.price)
    prices = np.sort(np.array([rows[name] % largest for name in PRICES]), axis=0)
    for name, column in zip(PRICES, np.round(prices, exact.scale.price), strict=True):
        rows[name] = column
    return Exact(rows, exact.scale)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), frame=st.sampled_from([*TIMEFRAMES.values()]), price=st.integers(0, 8))
def test_what_is_printed_reads_back_as_it_was(data: st.DataObject, frame: Timeframe, price: int) -> None:
    drawn = data.draw(exacts(frame))
    exact = consistent(Exact(drawn.rows, drawn.scale._replace(price=price)))
    text = HEADER + csv_rows("A", exact, frame)
    read = read_klines(text, "a.csv", frame, now=2**53)

    assert read.notes == ()
    # A volume of nothing is printed as 0, so that decimals which no other volume has are not told.
    assert all(told <= own for told, own in zip(read.exact.scale, exact.scale, strict=True))
    assert widened(read.exact, exact.scale).tolist() == widened(exact, exact.scale).tolist()


def test_prices_that_would_be_rounded_are_refused() -> None:
    wide = changed(plain(HOUR, 480_000, 1, scale=Scale(8, 3, 5)), 0, high=123_456_789.12345678)

    with pytest.raises(DataError, match="more than 15 digits: export Parquet"):
        csv_rows("A", wide, HOUR)


def test_nothing_is_no_line() -> None:
    assert csv_rows("A", Exact(np.empty(0, ROW), Scale(2, 3, 5)), HOUR) == b""
