"""ccxt's markets under plain names."""

from typing import Any

import pytest

from klinehub.bridge.digits import TICK_SIZE
from klinehub.bridge.listing import has_swaps, listed


def market(symbol: str, **more: Any) -> dict[str, Any]:
    base, _, rest = symbol.partition("/")
    quote, _, settle = rest.partition(":")
    kind = {"swap": True, "linear": settle == quote} if settle else {"spot": True}
    return (
        {"base": base, "quote": quote, "active": True, "precision": {"price": 0.01, "amount": 1.0}}
        | kind
        | more
    )


MARKETS = {
    name: market(name)
    for name in (
        "BTC/USDT",
        "BTC/USDT:USDT",
        "BTC/USD:BTC",
        "kPEPE/USDC:USDC",
        "币安/USDT:USDT",
        "A B/USDT:USDT",
    )
}


def test_linear_swaps_have_plain_names_beside_ccxt_s() -> None:
    found = listed(MARKETS, "swap", TICK_SIZE)
    btc = found["BTCUSDT"][1]

    assert {name: unified for name, (unified, _) in found.items()} == {
        "BTCUSDT": "BTC/USDT:USDT",
        "KPEPEUSDC": "kPEPE/USDC:USDC",
        "币安USDT": "币安/USDT:USDT",
    }
    assert (btc.unified, btc.contract_type, btc.trading) == ("BTC/USDT:USDT", "PERPETUAL", True)
    assert (btc.price_decimals, btc.quantity_decimals, btc.onboard_time) == (2, 0, 0)


def test_spot_pairs_are_listed_as_spot() -> None:
    ((unified, listing),) = listed(MARKETS, "spot", TICK_SIZE).values()

    assert (unified, listing.unified, listing.fits("USDT", tradifi=True)) == ("BTC/USDT", "BTC/USDT", True)


def test_of_two_with_one_name_the_one_that_trades_keeps_it() -> None:
    two = {"a": market("ABC/USDT", active=False), "b": market("ABC/USDT"), "c": market("ABCU/SDT")}

    assert listed(two, "spot", TICK_SIZE)["ABCUSDT"][0] == "b"


@pytest.mark.parametrize(("quote", "there"), [("USDT", True), ("USD", False), ("EUR", False)])
def test_swaps_are_looked_for_in_the_quote(quote: str, there: bool) -> None:  # noqa: FBT001
    assert has_swaps(MARKETS, quote) is there
