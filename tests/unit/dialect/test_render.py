"""Klines in print: the exchange's digits, held against its own recorded bodies."""

import json
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.dialect.render import rows_json, twelve_fields
from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.timeframe import TIMEFRAMES, timeframe

pytestmark = pytest.mark.timeout(120)
SYMBOLS_RECORDED = 519


def decimals(text: str) -> int:
    return len(text.partition(".")[2])


def as_exact(rows: list[list[str | int]]) -> Exact:
    """Keep a body's rows in the exact form, with `float` and `Decimal` alone."""
    texts = [[str(cell) for cell in row] for row in rows]
    groups = ((1, 2, 3, 4), (5, 9), (7, 10))
    scale = Scale(*(max(decimals(row[k]) for row in texts for k in cells) for cells in groups))
    kept = np.zeros(len(texts), ROW)
    for n, row in enumerate(texts):
        volumes = [int(Decimal(row[k]) * 10**digits) for k, digits in ((5, scale.base), (7, scale.quote))]
        takers = [int(Decimal(row[k]) * 10**digits) for k, digits in ((9, scale.base), (10, scale.quote))]
        kept[n] = (int(row[0]), *map(float, row[1:5]), *volumes, int(row[8]), *takers)
    return Exact(kept, scale)


def test_recorded_bodies_print_back_byte_for_byte(realdata: Path) -> None:
    bodies = 0
    with zipfile.ZipFile(realdata / "raw_rest" / "fapi_v1_klines_1d_519sym_2025-06.zip") as archive:
        for name in archive.namelist():
            rows = json.loads(archive.read(name))
            if not rows:
                continue
            # The recorder re-indented the bodies; the exchange sends them compact.
            sent = json.dumps(rows, separators=(",", ":")).encode()
            exact = as_exact(rows)
            assert rows_json(exact, timeframe("1d")) == sent, name
            assert twelve_fields(exact, timeframe("1d")) == rows, name
            bodies += 1

    assert bodies == SYMBOLS_RECORDED


def row(**cells: float) -> Exact:
    kept = np.zeros(1, ROW)
    for name, value in cells.items():
        kept[name] = value
    return Exact(kept, Scale(2, 3, 5))


def test_zero_volumes_print_0_and_prices_are_padded() -> None:
    found = rows_json(row(open_time=60_000, open=5.0, high=5.1, low=0.0, close=5.0), timeframe("1m"))

    assert found == b'[[60000,"5.00","5.10","0.00","5.00","0",119999,"0",0,"0","0","0"]]'


def test_no_rows_are_an_empty_list() -> None:
    assert rows_json(Exact(np.empty(0, ROW), Scale(1, 1, 2)), timeframe("1m")) == b"[]"


def test_volumes_past_float64_keep_every_digit() -> None:
    whole = row(open_time=0, open=1.0, volume=9_007_199_254_740_993, quote_volume=2**63 - 1, trades=3)

    assert b'"9007199254740.993"' in rows_json(whole, timeframe("1m"))
    assert b'"92233720368547.75807"' in rows_json(whole, timeframe("1m"))


@pytest.mark.parametrize("name", sorted(TIMEFRAMES))
def test_close_times_are_the_last_millisecond(name: str) -> None:
    frame = timeframe(name)
    opens = frame.open_time(frame.index(1_795_252_512_345))
    found = json.loads(rows_json(row(open_time=opens, open=1.0), frame))

    assert found[0][6] == frame.close_time(frame.index(opens))


@given(mantissa=st.integers(0, 10**15), digits=st.integers(0, 8))
def test_any_printed_price_survives_float64(mantissa: int, digits: int) -> None:
    text = f"{Decimal(mantissa).scaleb(-digits):f}"
    kept = np.zeros(1, ROW)
    kept["open"] = float(text)
    exact = Exact(kept, Scale(digits, 0, digits))

    assert json.loads(rows_json(exact, timeframe("1m")))[0][1] == text
    assert twelve_fields(exact, timeframe("1m"))[0][1] == text
