"""The universe: which symbols a hub keeps and scans, and which one they are measured against."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from klinehub.domain.listing import Listing
from klinehub.errors import DefinitionError, UnknownName

BENCHMARK_ASSET: Final = "BTC"


def universe(
    listings: Iterable[Listing],
    turnover: Mapping[str, float],
    *,
    quote: str,
    min_turnover: float,
    include: Collection[str] = (),
    exclude: Collection[str] = (),
    limit: int | None = None,
    tradifi: bool = False,
) -> tuple[str, ...]:
    """Choose the trading perpetuals of a *quote* asset, those with the largest turnover first.

    *turnover* is that of the last 24 hours in the quote asset; a symbol without a figure counts as 0,
    and equal turnovers go by name. *include* adds trading symbols of any kind and turnover, and they stay
    when *limit* cuts the rest; *exclude* wins over all. Perpetuals on stocks and the like come only with
    *tradifi*. Raises UnknownName for an included symbol that the exchange does not list.
    """
    by_name = {item.symbol: item for item in listings}
    for symbol in include:
        if symbol not in by_name:
            raise UnknownName("symbol", symbol, by_name)
    if limit is not None and limit < 1:
        raise DefinitionError(
            f"A universe of {limit} symbols holds nothing: set a limit of 1 or more, or none."
        )
    amounts = {symbol: _amount(turnover.get(symbol)) for symbol in by_name}
    pinned = frozenset(include)
    chosen = [
        item.symbol
        for item in by_name.values()
        if item.trading and item.symbol not in exclude
        if item.symbol in pinned
        or (item.fits(quote, tradifi=tradifi) and amounts[item.symbol] >= min_turnover)
    ]
    chosen.sort(key=lambda symbol: (symbol not in pinned, -amounts[symbol], symbol))
    return tuple(sorted(chosen[:limit], key=lambda symbol: (-amounts[symbol], symbol)))


def benchmark(listings: Iterable[Listing], *, quote: str) -> str | None:
    """Name the symbol that others are measured against: the trading BTC perpetual of *quote*, if any."""
    for item in listings:
        if item.base_asset == BENCHMARK_ASSET and item.trading and item.fits(quote, tradifi=False):
            return item.symbol
    return None


def _amount(turnover: float | None) -> float:
    """Give a turnover that can be compared: 0 where the exchange gave none."""
    return 0.0 if turnover is None or math.isnan(turnover) else turnover
