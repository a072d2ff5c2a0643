"""The listing as it came: the same bytes again, but for the time and for what was not asked for."""

import gzip
import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.dialect.info import exchange_info
from klinehub.dialect.spot import spot_info
from klinehub.domain.listing import Listing
from klinehub.feed.listed import listing_body

NOW: Final = 1_795_252_512_345
NAMES: Final = ("BTCUSDT", "龙虾USDT", "1000PEPEUSDT")
LISTINGS: Final = [Listing(name, name, "PERPETUAL", "TRADING", name, "USDT", 0, 2, 3) for name in NAMES]
SPOT: Final = msgspec.json.encode(spot_info(LISTINGS, 5, 6_000))


def test_only_the_time_is_another_one() -> None:
    body = msgspec.json.encode(exchange_info(LISTINGS, 5, 2_400))
    parts = listing_body(body)

    assert parts is not None
    assert parts.at(NOW) == msgspec.json.encode(exchange_info(LISTINGS, NOW, 2_400))
    assert parts.at(5) == parts.body == body


@pytest.mark.parametrize("names", [NAMES[:1], NAMES[2:], (NAMES[2], NAMES[0]), NAMES], ids="+".join)
def test_some_symbols_are_those_that_the_exchange_would_give(names: tuple[str, ...]) -> None:
    parts = listing_body(SPOT)
    some = [one for name in names for one in LISTINGS if one.symbol == name]

    assert parts is not None
    assert parts.of(names, NOW) == msgspec.json.encode(spot_info(some, NOW, 6_000))


def test_a_symbol_that_is_not_listed_is_a_key_error() -> None:
    parts = listing_body(SPOT)

    assert parts is not None
    with pytest.raises(KeyError):
        parts.of(("BTCUSDT", "NOBODY"), NOW)


def test_it_may_be_written_in_lines_and_have_other_lists_of_symbols() -> None:
    told = {"serverTime": 7, "sors": [{"symbols": ["A"]}], "symbols": [{"symbol": "A"}, {"symbol": "B"}]}
    parts = listing_body(json.dumps(told, indent=2).encode())

    assert parts is not None
    assert json.loads(parts.at(NOW)) == told | {"serverTime": NOW}
    assert json.loads(parts.of(["B", "A"], NOW)) == told | {
        "serverTime": NOW,
        "symbols": [{"symbol": "B"}, {"symbol": "A"}],
    }


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"<html>", b"\xff", b'{"symbols":[]}', b'{"serverTime":5,"symbols":[]}',
        b'{"symbols":[{"symbol":"A"}]}', b'{"symbols":[{"symbol":"A"}],"serverTime":5}',
        b'{"serverTime":5,"symbols":[{}]}', b'{"serverTime":5,"symbols":[5]}', b"[" * 5000,
    ],
)  # fmt: skip
def test_what_is_laid_out_otherwise_has_no_parts(body: bytes) -> None:
    assert listing_body(body) is None


ENTRIES: Final = st.lists(
    st.fixed_dictionaries(
        {"symbol": st.text(max_size=5)},
        optional={"symbols": st.lists(st.text(max_size=3), max_size=2), "serverTime": st.integers(0, 9)},
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda one: str(one["symbol"]),
)


@given(ENTRIES, st.sampled_from([None, 1]), st.integers(0, 2**53), st.randoms(use_true_random=False))
def test_any_listing_comes_back_with_another_time(entries: Any, indent: Any, now: int, dice: Any) -> None:
    told = {"timezone": "UTC", "serverTime": 5, "symbols": entries, "tail": "]}"}
    parts = listing_body(json.dumps(told, indent=indent, ensure_ascii=dice.random() < 0.5).encode())
    some = dice.sample(entries, dice.randint(0, len(entries)))

    assert parts is not None
    assert json.loads(parts.at(now)) == told | {"serverTime": now}
    assert json.loads(parts.of([one["symbol"] for one in some], now)) == told | {
        "serverTime": now,
        "symbols": some,
    }


@pytest.mark.parametrize("date", ["mainnet_2021-07-21", "testnet-like_2025-12-24_660sym"])
def test_recorded_listings_have_parts(realdata: Path, date: str) -> None:
    name = f"fapi_v1_exchangeInfo_{date}.json.gz"
    body = gzip.decompress((realdata / "raw_rest" / name).read_bytes())
    parts, told = listing_body(body), json.loads(body)

    assert parts is not None
    assert parts.at(told["serverTime"]) == body
    assert list(parts.symbols) == [one["symbol"] for one in told["symbols"]]
    for one in told["symbols"]:
        assert json.loads(body[slice(*parts.symbols[one["symbol"]])]) == one
