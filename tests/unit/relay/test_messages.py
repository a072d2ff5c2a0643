"""Messages: what is written is read again, other bytes are refused, the schema is as documented."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.errors import DataError
from klinehub.relay.messages import Bars, Fix, Listed, Pulse, decode, encode, schema

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "relay-schema.json"
NAMES = st.lists(st.text(max_size=12), max_size=4).map(tuple)
WORDS = st.integers(-(2**63), 2**63 - 1)
FIXES = st.builds(
    Fix,
    st.text(max_size=8),
    st.tuples(*[WORDS] * 10),
    st.tuples(*[st.integers(0, 18)] * 3),
    st.text(max_size=20),
    WORDS,
)


@given(
    st.builds(
        Bars,
        st.text(max_size=8),
        st.sampled_from(["1m", "1M"]),
        WORDS,
        WORDS,
        WORDS,
        NAMES,
        st.binary(max_size=30),
        st.binary(max_size=30),
        NAMES,
        st.lists(FIXES, max_size=2).map(tuple),
    )
)
def test_a_message_is_read_as_it_was_written(message: Bars) -> None:
    assert decode(encode(message), Bars) == message


@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_raise_nothing_but_a_data_error(data: bytes) -> None:
    reads: list[Callable[[], object]] = [
        lambda: decode(data, Bars),
        lambda: decode(data, Pulse),
        lambda: decode(data, Listed),
    ]
    for read in reads:
        with pytest.raises(DataError, match="run one version of klinehub everywhere"):
            read()


def test_what_a_later_version_adds_is_passed_over() -> None:
    import msgspec

    told = Listed("binance-usdm", "USDT", ("1m",), 499, ("BTCUSDT",), ())
    later = msgspec.msgpack.encode({**msgspec.to_builtins(told), "added": 1})

    assert decode(later, Listed) == told


def test_the_schema_in_the_documentation_is_that_of_the_messages() -> None:
    assert DOCUMENT.read_bytes().strip() == schema().strip(), (
        "make it anew: python -m klinehub.relay.messages > docs/relay-schema.json"
    )
