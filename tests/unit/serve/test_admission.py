"""Which requests are passed on: by their shape, and in the one way in which equal ones are sent."""

from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.feed.use import Use
from klinehub.serve.admission import Declined, admit, canonical

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(st.sampled_from('aZ09_.,:+-[]"币Ж'), max_size=8)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=6)


def public(path: str, query: str = "", **headers: str) -> Any:
    return admit("GET", path, query, headers, b"", forward=True, orders=False)


def declined(path: str, query: str = "", method: str = "GET") -> tuple[str, int, int]:
    with pytest.raises(Declined) as caught:
        admit(method, path, query, {}, b"", forward=True, orders=False)
    return caught.value.kind, caught.value.status, caught.value.code


def spelled(pairs: list[tuple[str, str]], draw: Any) -> str:
    """Write pairs as a client might: each character escaped or not, in any order of different names."""
    order = draw(st.permutations(sorted({name for name, _ in pairs})))
    mixed = [pair for name in order for pair in pairs if pair[0] == name]
    parts = []
    for name, value in mixed:
        escape = draw(st.sampled_from([quote, lambda text: quote(text, safe=""), lambda text: text]))
        parts.append(f"{name}={escape(value).replace('+', '%2B')}")
    return "&".join(parts)


@given(PAIRS, st.data())
def test_however_a_query_is_spelled_it_is_sent_in_one_way(
    pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    expected = canonical(urlencode(pairs))

    assert canonical(spelled(pairs, data.draw)) == expected
    assert canonical(expected) == expected


@given(PAIRS, PAIRS)
def test_requests_that_differ_are_never_one(
    pairs: list[tuple[str, str]], others: list[tuple[str, str]]
) -> None:
    """What decides is what the exchange decodes from what it is sent."""

    def meant(some: list[tuple[str, str]]) -> list[tuple[str, str]]:
        return sorted(some, key=lambda pair: pair[0])

    one, other = canonical(urlencode(pairs)), canonical(urlencode(others))

    assert meant(parse_qsl(one, keep_blank_values=True)) == meant(pairs)
    assert (one == other) == (meant(pairs) == meant(others))


@given(st.text(max_size=30))
def test_any_text_is_a_query_or_declined_and_what_is_sent_is_plain(text: str) -> None:
    sent = ""
    with suppress(Declined):
        sent = canonical(text)

    assert sent.isascii()
    assert not set(" #<>'();") & set(sent)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/fapi/v1/depth", "/fapi/v1/depth?"),
        ("/fapi/v1/depth?limit=5", "/fapi/v1/depth?limit=50"),
        ("/fapi/v1/depth?a=1&b=2", "/fapi/v1/depth?a=1%26b=2"),
        ("/fapi/v1/depth?a=b=c", "/fapi/v1/depth?a=b%3Dc"),
        ("/fapi/v1/depth?a=1+1", "/fapi/v1/depth?a=1%2B1"),
        ("/fapi/v1/trades?symbol=BTCUSDT", "/fapi/v1/trades?symbol=btcusdt"),
        ("/fapi/v1/trades?a=1&a=2", "/fapi/v1/trades?a=2&a=1"),
        ("/fapi/v1/trades?a=1", "/fapi/v2/trades?a=1"),
    ],
)
def test_near_misses_have_keys_of_their_own_or_none(one: str, other: str) -> None:
    keys = set()
    for text in (one, other):
        path, _, query = text.partition("?")
        try:
            keys.add(public(path, query).key)
        except Declined:
            keys.add(text)

    assert len(keys) == 2 or one.rstrip("?") == other.rstrip("?")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/fapi",
        "/fapi/v1",
        "/fapi/v1/",
        "/fapi/v1/../v1/depth",
        "/fapi/v1//depth",
        "/fapi/v1/depth/",
        "/fapi/v1/%64epth",
        "/fapi/v1/depth;x",
        "/fapi/v1/dépth",
        "/fapi/v10/depth",
        "/sapi/v1/system/status",
        "/dapi/v1",
        "/eapi/v1/depth",
        "/api/v1/depth",
        "/api/v3/depth\n",
        "//fapi/v1/depth",
        "http://fapi.binance.com/fapi/v1/depth",
        f"/fapi/v1/{'x' * 100}",
    ],
)
def test_other_paths_are_none(path: str) -> None:
    assert declined(path) == ("path", 400, -5000)


def test_a_refusal_shows_a_path_without_what_could_do_harm() -> None:
    with pytest.raises(Declined) as caught:
        public("/fapi/<script>\x1b[31m\r\n")

    assert caught.value.message == "Path /fapi/?script???31m??, Method GET is invalid"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "CONNECT", "get", ""])
def test_other_methods_are_none(method: str) -> None:
    assert declined("/fapi/v1/depth", method=method) == ("path", 400, -5000)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("symbol=BTC' OR 1", -1100),
        ("symbol=<script>", -1100),
        ("symbol=a%00", -1100),
        ("symbol=%zz", -1100),
        ("symbol=%ff", -1101),
        ("=x", -1104),
        ("sym-bol=x", -1104),
        ("&".join(f"a{n}=1" for n in range(33)), -1101),
    ],
)
def test_what_could_anger_a_firewall_is_not_passed_on(query: str, code: int) -> None:
    assert declined("/fapi/v1/depth", query) == ("query", 400, code)


@pytest.mark.parametrize(
    ("path", "query", "weight", "count"),
    [
        ("/fapi/v1/depth", "symbol=BTCUSDT&limit=1000", 20, None),
        ("/fapi/v1/depth", "symbol=BTCUSDT", 10, None),
        ("/fapi/v1/premiumIndex", "", 10, None),
        ("/fapi/v1/ticker/bookTicker", "symbol=BTCUSDT", 2, None),
        ("/fapi/v1/fundingRate", "", 0, "funding"),
        ("/futures/data/topLongShortAccountRatio", "symbol=BTCUSDT&period=5m", 0, "statistics"),
        ("/api/v3/depth", "symbol=BTCUSDT&limit=5000", 250, None),
        ("/api/v3/ticker/24hr", 'symbols=["BTCUSDT","ETHUSDT"]', 80, None),
        ("/fapi/v1/somethingNew", "symbol=BTCUSDT", 20, None),
    ],
)
def test_what_everybody_may_ask_has_its_price(path: str, query: str, weight: int, count: str | None) -> None:
    asked = public(path, query)

    assert (asked.price.weight, asked.price.counted and asked.price.counted.name) == (weight, count)
    assert (asked.use, asked.signed) == (Use.FORWARDED, False)


def test_market_data_that_needs_a_key_is_no_order() -> None:
    asked = admit(
        "GET", "/fapi/v1/historicalTrades", "", {"X-MBX-APIKEY": "k"}, b"", forward=False, orders=True
    )

    assert (asked.use, asked.price.weight, asked.signed) == (Use.FORWARDED, 200, True)
    assert "'k'" not in repr(asked)
