"""What a new listing means for a hub: which symbols come, which stand still and which trade again.

A symbol is known by its name alone: one that is renamed stops under the old name and comes under the new
one, as two series.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from klinehub.domain.listing import Listing
from klinehub.errors import DataError

# The status of a symbol that the exchange has stopped to list; the exchange's own are upper case.
GONE: Final = "gone"


class Changes(NamedTuple):
    """What is different: `added` and `thawed` symbols by name, `frozen` ones with their new status.

    `listings` is what is known from now on: all that is listed, and followed symbols that are gone.
    """

    added: tuple[str, ...]
    frozen: tuple[tuple[str, str], ...]
    thawed: tuple[str, ...]
    listings: dict[str, Listing]


def only(symbols: Collection[str]) -> Callable[[Listing], bool]:
    """Give the test of whether a listing is one of *symbols*."""
    chosen = frozenset(symbols)
    return lambda item: item.symbol in chosen


def wanted(
    quote: str, *, tradifi: bool, symbols: Collection[str] = (), exclude: Collection[str] = ()
) -> Callable[[Listing], bool]:
    """Give the test of whether a hub should follow a listing, once that trades.

    It follows just *symbols* where there are any, else the perpetuals of *quote* but those in *exclude*.
    """
    left_out = frozenset(exclude)
    if symbols:
        return only(symbols)
    return lambda item: item.symbol not in left_out and item.fits(quote, tradifi=tradifi)


def changes(
    known: Mapping[str, Listing],
    fresh: Sequence[Listing],
    followed: Collection[str],
    wanted: Callable[[Listing], bool],
) -> Changes:
    """Compare what is listed now with what was *known*, by symbol; each change is told once.

    A followed symbol that is not known yet counts as one that traded: it is frozen if it does not. Raises
    DataError for a listing of nothing, which would freeze a whole market.
    """
    if not fresh:
        raise DataError("The exchange's listing holds no symbols: it is left as it was and read again.")
    following = frozenset(followed)
    listings = {item.symbol: item for item in fresh}
    listings |= {
        symbol: replace(known[symbol], status=GONE)
        for symbol in sorted(following)
        if symbol in known and symbol not in listings
    }
    added, frozen, thawed = [], [], []
    for symbol, item in sorted(listings.items()):
        before = known.get(symbol)
        if symbol not in following:
            if item.trading and wanted(item):
                added.append(symbol)
        elif item.trading:
            if before is not None and not before.trading:
                thawed.append(symbol)
        elif before is None or item.status != before.status:
            frozen.append((symbol, item.status))
    return Changes(tuple(added), tuple(frozen), tuple(thawed), listings)
