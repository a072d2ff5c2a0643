"""The two forms of a kline and their DataFrame."""

import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from klinehub.domain.kline import KLINE, KLINE_WORDS, ROW, ROW_WORDS, Klines
from klinehub.errors import DefinitionError


def two_klines() -> Klines:
    out = Klines.empty(2)
    for at, time in enumerate((1_700_000_000_000, 1_700_000_060_000)):
        out[at] = (time, 1.5, 2.0, 1.0, 1.75, 10.5, time + 59_999, 17.25, 3, 4.5, 7.25, 2)
    return out


def test_both_forms_are_made_of_words_of_eight_bytes() -> None:
    assert (ROW.itemsize, KLINE.itemsize) == (8 * ROW_WORDS, 8 * KLINE_WORDS)
    assert {ROW.fields[name][0].itemsize for name in ROW.names or () if ROW.fields} == {8}


def test_a_frame_is_indexed_by_open_time_in_utc() -> None:
    frame = two_klines().to_pandas()

    assert frame.index.name == "open_time"
    assert frame.index[0].to_pydatetime() == datetime.fromtimestamp(1_700_000_000, UTC)
    assert str(frame.index.dtype).endswith(", UTC]")
    assert list(frame.columns) == [name for name in KLINE.names or () if name != "open_time"]
    assert frame["close"].tolist() == [1.75, 1.75]
    assert frame["trades"].dtype == np.int64


def test_a_frame_keeps_its_numbers_when_the_klines_change() -> None:
    klines = two_klines()
    frame = klines.to_pandas()
    klines["close"] = 9.0

    assert frame["close"].tolist() == [1.75, 1.75]


def test_no_klines_give_an_empty_frame() -> None:
    frame = Klines.empty(0).to_pandas()

    assert len(frame) == 0
    assert "quote_volume" in frame.columns


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(DefinitionError, match=r"pip install 'klinehub\[pandas\]'"):
        two_klines().to_pandas()
