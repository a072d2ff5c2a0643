"""The cells of a table: how numbers become JSON, and lines heights."""

from base64 import b64decode

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from klinehub.serve.board.cells import heights, percent, rounded, spark, written

VALUES = st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20)


@given(VALUES)
def test_values_are_rounded_as_python_writes_seven_digits(values: list[float]) -> None:
    for value, told in zip(values, rounded(np.array(values)).tolist(), strict=True):
        if 1e-16 <= abs(value) < 1e29:
            # Of two neighbours at the same distance either will do.
            assert abs(told - value) <= abs(float(f"{value:.6e}") - value) * (1 + 1e-9) + abs(value) * 1e-15
            assert float(f"{told:.6e}") == told
        else:
            assert told == value or (np.isnan(told) and np.isnan(value))


def test_what_is_not_known_is_null_and_other_values_are_short() -> None:
    values = np.array([0.1 + 0.2, np.nan, np.inf, -0.0, 12345678.9, 1 / 3, 1e-9 / 7])

    assert written(rounded(values)) == b"[0.3,null,null,-0.0,12345680.0,0.3333333,1.428571e-10]"


def test_a_change_without_a_beginning_is_not_known() -> None:
    assert msgspec.json.decode(
        written(percent(np.array([110.0, 1.0, np.nan]), np.array([100.0, 0.0, 1.0])))
    ) == [10.000000000000009, None, None]


def test_lines_reach_from_their_lowest_to_their_highest_and_holes_are_marked() -> None:
    values = np.array([[1.0, 2.0, np.nan, 3.0], [5.0, 5.0, 5.0, 5.0], [np.nan] * 4])

    found = list(heights(values, np.array([1.0, 5.0, np.inf])))

    assert [list(b64decode(line)) for line in found] == [[0, 127, 255, 254], [0, 0, 0, 0], []]


def test_volumes_begin_at_nothing() -> None:
    told = msgspec.json.decode(b"{" + spark(np.array([[1.0, 2.0]]), np.array([[50.0, 100.0]])))

    assert (told["layout"], told["bars"]) == (1, 2)
    assert list(b64decode(told["closes"][0])) == [0, 254]
    assert list(b64decode(told["volumes"][0])) == [127, 254]
