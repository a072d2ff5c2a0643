"""The library's front door: what it refuses, before anything is asked of an exchange."""

from typing import Any

import pytest

import klinehub as kh
from klinehub.app.config import defaults, load

NUMBERS = [
    key for key, value in defaults().items() if isinstance(value, int | float) and not isinstance(value, bool)
]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"exchange": "binance-usdn"}, "Did you mean 'binance-usdm'?"),
        ({"timeframes": "1m"}, "give a list"),
        ({"timeframes": ["1m", "5x"]}, "Did you mean '5m'?"),
        ({"timeframes": []}, "at least one timeframe"),
        ({"bars": "x"}, "bars"),
        ({"barz": 3}, "Did you mean 'bars'?"),
        ({"share": 0}, "`share` is 0"),
        ({"proxy": "ftp://x"}, "socks5h"),
    ],
)
def test_a_hub_that_cannot_be_is_refused_in_words(options: dict[str, Any], said: str) -> None:
    with pytest.raises(kh.DefinitionError) as caught:
        kh.Hub(**options)

    assert said in str(caught.value)


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", ["-1", "nan", "1e300"])
def test_every_number_has_bounds(key: str, value: str) -> None:
    with pytest.raises(kh.DefinitionError):
        load(None, {f"KLINEHUB_{key.replace('.', '_').upper()}": value})


def test_public_names_load_when_asked_for() -> None:
    assert all(getattr(kh, name) is not None for name in kh.__all__)
    with pytest.raises(AttributeError, match="nothing_such"):
        kh.nothing_such  # noqa: B018 - the look-up is the test
