"""ccxt's floats are printed so that they are read back as the same ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.bridge.digits import DECIMAL_PLACES, MOST_MANTISSA, TICK_SIZE, Digits, decimals, plain, steps


@pytest.mark.parametrize(
    ("value", "places"), [(0.1, 1), (5.0, 0), (1e-8, 8), (123.45, 2), (1e16, 0), (0.0, 0), (1.5e-11, 12)]
)
def test_a_number_needs_its_own_decimals(value: float, places: int) -> None:
    assert decimals(value) == places


@given(st.integers(1, 10**15), st.integers(0, 12))
def test_every_printed_price_is_read_back_as_the_same_float(mantissa: int, places: int) -> None:
    price = float(f"{mantissa}e-{places}")
    digits = Digits("0.1", "")
    digits.learn([price], [])

    assert float(digits.of_price(price)) == price
    assert float(plain(price)) == price
    assert "e" not in plain(price)


def test_decimals_begin_with_the_market_s_and_grow_with_what_is_seen() -> None:
    digits = Digits("0.10", "0.001")

    assert digits.scale == (1, 3, 0)
    digits.learn([100.05], [0.12345])
    assert digits.scale == (2, 5, 0)
    assert (digits.of_price(100.0), digits.of_volume(2.0)) == ("100.00", "2.00000")


def test_what_is_left_of_a_multiplication_is_no_decimal_of_a_volume() -> None:
    digits = Digits("", "")
    digits.learn([], [0.1 + 0.2])

    assert digits.of_volume(0.1 + 0.2) == "0.3000000000"


def test_a_large_volume_fits_64_bits() -> None:
    digits = Digits("", "0.00000001")

    assert digits.of_volume(12_345_678_901.5) == "12345678901.5000"
    assert int(digits.of_volume(12_345_678_901.5).replace(".", "")) < MOST_MANTISSA


def test_steps_are_told_in_either_way_or_not_at_all() -> None:
    assert steps({"precision": {"price": 0.5, "amount": 1e-05}}, TICK_SIZE) == ("0.5", "0.00001")
    assert steps({"precision": {"price": 2, "amount": 0}}, DECIMAL_PLACES) == ("0.01", "1")
    assert steps({"precision": {"price": 5, "amount": None}}, 3) == ("", "")
    assert steps({}, TICK_SIZE) == ("", "")
