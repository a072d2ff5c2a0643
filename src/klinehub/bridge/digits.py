"""Digits: ccxt's float64 numbers as the shortest text that reads back as the same number."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from klinehub.domain.kline import Scale

# Volumes have no more decimals: what a float64 shows behind them is what is left of a multiplication.
MOST_DECIMALS: Final = 10
# Volumes stay below this many units of their last decimal, so that sums of many bars still fit 64 bits.
MOST_MANTISSA: Final = 10**15
# ccxt's ways to tell a precision.
DECIMAL_PLACES: Final = 2
TICK_SIZE: Final = 4


def decimals(value: float) -> int:
    """Give how many decimals it takes to print a float64 so that it is read back as the same one."""
    return max(0, -int(Decimal(repr(float(value))).normalize().as_tuple().exponent))


def plain(value: float, places: int = 0) -> str:
    """Print a float64 without an exponent, with at least so many decimals and as many as it needs."""
    text = f"{value:.{places}f}"
    return text if float(text) == value else f"{value:.{decimals(value)}f}"


def steps(market: dict[str, Any], mode: int) -> tuple[str, str]:
    """Give the steps of a market's prices and quantities as texts, "" where they are not told."""
    told = market.get("precision") or {}
    return _step(told.get("price"), mode), _step(told.get("amount"), mode)


def _step(told: float | None, mode: int) -> str:
    if told is None or mode not in {DECIMAL_PLACES, TICK_SIZE}:
        return ""
    size = float(told) if mode == TICK_SIZE else 10.0 ** -int(told)
    return plain(size) if size > 0 else ""


class Digits:
    """How many decimals a symbol's prices and volumes are printed with: the market's, or what is seen."""

    def __init__(self, tick: str, step: str) -> None:
        self.price = decimals(float(tick)) if tick else 0
        self.base = min(MOST_DECIMALS, decimals(float(step))) if step else 0

    @property
    def scale(self) -> Scale:
        """The decimals as a series keeps them; quote volumes are not told."""
        return Scale(self.price, self.base, 0)

    def learn(self, prices: Iterable[float], volumes: Iterable[float]) -> None:
        """Take more decimals where these numbers need them."""
        for price in prices:
            if float(f"{price:.{self.price}f}") != price:
                self.price = max(self.price, decimals(price))
        for volume in volumes:
            if self.base < MOST_DECIMALS and float(f"{volume:.{self.base}f}") != volume:
                self.base = max(self.base, min(MOST_DECIMALS, decimals(volume)))

    def of_price(self, price: float) -> str:
        """Print a price."""
        return f"{price:.{self.price}f}"

    def of_volume(self, volume: float) -> str:
        """Print a base volume; one that is too large for all decimals has fewer."""
        places = self.base
        while places and volume * 10**places >= MOST_MANTISSA:
            places -= 1
        return f"{volume:.{places}f}"
