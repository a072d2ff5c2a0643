"""Listings: ccxt's markets as a hub lists them, under plain names beside ccxt's own.

1. One kind of market is followed: linear perpetual swaps, or spot pairs.
2. `BTC/USDT:USDT` is BTCUSDT. What has no name of letters, digits, dots and dashes is left out, and of two
   that would have the same one the second.
3. What ccxt does not tell stays unknown: since when something trades, where `created` is not there.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from klinehub.bridge.digits import steps
from klinehub.domain.listing import SPOT, Listing

SWAP_KIND: Final = "swap"
SPOT_KIND: Final = "spot"
KINDS: Final = (SWAP_KIND, SPOT_KIND)
_NAME: Final = re.compile(r"[\w.-]{1,40}")
# The word for a market that exists and does not trade.
_HALTED: Final = "BREAK"

Markets = Mapping[str, Mapping[str, Any]]


def is_of(kind: str, market: Mapping[str, Any]) -> bool:
    """Whether a market is a linear perpetual swap, or a spot pair, as asked for."""
    if kind == SPOT_KIND:
        return bool(market.get("spot"))
    return bool(market.get("swap") and market.get("linear"))


def has_swaps(markets: Markets, quote: str) -> bool:
    """Whether there is any linear perpetual swap of the *quote* asset."""
    return any(is_of(SWAP_KIND, one) and one.get("quote") == quote for one in markets.values())


def listed(markets: Markets, kind: str, mode: int) -> dict[str, tuple[str, Listing]]:
    """List the markets of a *kind* by plain name, with ccxt's names; *mode* is how precisions are told."""
    found: dict[str, tuple[str, Listing]] = {}
    for unified, market in _in_order(markets, kind):
        name = f"{market['base']}{market['quote']}".upper()
        if _NAME.fullmatch(name) and name not in found:
            found[name] = (unified, _listing(name, kind, market, mode))
    return found


def _in_order(markets: Markets, kind: str) -> Iterable[tuple[str, Any]]:
    """Give the markets of a kind, those that trade first: they keep the name where two have the same."""
    those = [(name, one) for name, one in markets.items() if is_of(kind, one)]
    return sorted(those, key=lambda one: (one[1].get("active") is False, one[0]))


def _listing(name: str, kind: str, market: Mapping[str, Any], mode: int) -> Listing:
    tick, step = steps(dict(market), mode)
    return Listing(
        symbol=name,
        pair=name,
        contract_type="PERPETUAL" if kind == SWAP_KIND else SPOT,
        status=_HALTED if market.get("active") is False else "TRADING",
        base_asset=str(market["base"]),
        quote_asset=str(market["quote"]),
        onboard_time=int(market.get("created") or 0),
        price_decimals=len(tick.partition(".")[2]),
        quantity_decimals=len(step.partition(".")[2]),
        tick_size=tick,
        step_size=step,
    )
