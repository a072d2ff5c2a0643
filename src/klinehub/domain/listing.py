"""Listings: what trades on an exchange, in which steps, since and until when."""

from datetime import UTC, datetime
from typing import Final

import msgspec

PERPETUAL_KINDS: Final = frozenset({"PERPETUAL", "TRADIFI_PERPETUAL"})
# What stands in place of a contract's kind on a spot market, which prints none.
SPOT: Final = "SPOT"
# The delivery date that the exchange prints for a perpetual with no end in sight (2100-12-25).
NO_DELIVERY: Final = 4_133_404_800_000


class Listing(msgspec.Struct, frozen=True):
    """One instrument as the exchange lists it; times are ms UTC, decimals those of printed text.

    An onboard time of 0 is not known: spot does not print any. A contract that is margined in its coin is one
    of so many dollars, its `contract_size`; what is margined in dollars has none.
    """

    symbol: str
    pair: str
    contract_type: str
    status: str
    base_asset: str
    quote_asset: str
    onboard_time: int
    price_decimals: int
    quantity_decimals: int
    delivery_time: int = NO_DELIVERY
    tick_size: str = ""
    step_size: str = ""
    underlying_type: str = "COIN"
    contract_size: int = 0

    @property
    def perpetual(self) -> bool:
        """Whether the contract has no settlement date by design."""
        return self.contract_type in PERPETUAL_KINDS

    @property
    def trading(self) -> bool:
        """Whether orders are matched now, so that klines move."""
        return self.status == "TRADING"

    @property
    def unified(self) -> str:
        """The name that ccxt and freqtrade know it by, for example BTC/USDT:USDT; spot has no settlement."""
        pair = f"{self.base_asset}/{self.quote_asset}"
        if self.contract_type == SPOT:
            return pair
        settled = f"{pair}:{self.base_asset if self.contract_size else self.quote_asset}"
        # One that is about to be delisted has a date too, and is no dated contract for that.
        if self.contract_type == "PERPETUAL" or self.delivery_time == NO_DELIVERY:
            return settled
        ends = datetime.fromtimestamp(self.delivery_time / 1000, UTC)
        return f"{settled}-{ends:%y%m%d}"

    def fits(self, quote: str, *, tradifi: bool) -> bool:
        """Whether this is a perpetual, or a pair, of the *quote* asset; on stocks only with *tradifi*."""
        return self.quote_asset == quote and (
            self.contract_type in {"PERPETUAL", SPOT} or (tradifi and self.perpetual)
        )
