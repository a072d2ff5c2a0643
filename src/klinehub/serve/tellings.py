"""Tellings: what the exchange told of its whole market - its listing, tickers and marks - told again."""

from collections.abc import Mapping
from typing import ClassVar, Final

from klinehub.dialect.rest import Answer, Query, Rest
from klinehub.dialect.spot import SpotRest
from klinehub.feed.listed import ListingBody
from klinehub.serve.source import HubSource

# A ticker is told every second, a mark too: what is older than this many ms of real time is not told again.
OLDEST: Final = 10_000
_TICKERS: Final = frozenset({"/fapi/v1/ticker/24hr", "/fapi/v1/ticker/price", "/fapi/v2/ticker/price"})
_MARKS: Final = frozenset({"/fapi/v1/premiumIndex"})
_SPOT_DAYS: Final = "/api/v3/ticker/24hr"
_SPOT_PRICES: Final = "/api/v3/ticker/price"
_ALWAYS: Final = frozenset({"/fapi/v1/ping", "/fapi/v1/time", "/api/v3/ping", "/api/v3/time"})


def _listing(source: object) -> ListingBody:
    body = source.hub.listed.body if isinstance(source, HubSource) else None
    if body is None:
        raise TypeError("Without a listing as it came this is asked of the exchange.")
    return body


class HubRest(Rest):
    """Answers as the futures market does; its listing byte for byte as it came, but for the time."""

    def info(self, _: Query) -> bytes:
        """List everything that is listed."""
        return _listing(self.source).at(self.clock.now())


class HubSpotRest(SpotRest):
    """Answers as the spot market does; its listing byte for byte as it came, but for the time."""

    def info(self, query: Query) -> bytes:
        """List everything that is listed, or what is named."""
        body, named = _listing(self.source), self.named(query)
        if named is None:
            return body.at(self.clock.now())
        return body.of([one.symbol for one in named], self.clock.now())


HubRest.routes = Rest.routes | {"/fapi/v1/exchangeInfo": HubRest.info}
HubSpotRest.routes = SpotRest.routes | {"/api/v3/exchangeInfo": HubSpotRest.info}


class Tellings:
    """Says which requests can be answered from what *source* was told, at this moment."""

    infos: ClassVar[Mapping[str, Answer]] = {
        path: kind.routes[path]
        for kind, path in ((HubRest, "/fapi/v1/exchangeInfo"), (HubSpotRest, "/api/v3/exchangeInfo"))
    }

    def __init__(self, source: HubSource) -> None:
        self._source = source

    def tell(self, path: str, query: Query) -> bool:
        """Whether this is told again now; what is not is asked of the exchange."""
        if path in self.infos:
            return self._source.hub.listed.body is not None
        return path in _ALWAYS or (self._is_new(path, query) and self._is_known(path, query))

    def _is_new(self, path: str, query: Query) -> bool:
        """Whether what was told is so young that it is still true."""
        tickers = self._source.hub.live.tickers
        if tickers is None:
            return False
        as_of = {
            **dict.fromkeys(_TICKERS, tickers.days_as_of),
            **dict.fromkeys(_MARKS, tickers.marks_as_of),
            _SPOT_DAYS: tickers.minis_as_of if query.get("type") == "MINI" else tickers.days_as_of,
            _SPOT_PRICES: tickers.minis_as_of,
        }.get(path)
        clock = self._source.clock
        return as_of is not None and clock.now() - as_of <= OLDEST * clock.rate

    def _is_known(self, path: str, query: Query) -> bool:
        """Whether something was told of the symbol that is asked for; one that is not listed is refused."""
        symbol = query.get("symbol", "").upper()
        if "symbols" in query and path == _SPOT_DAYS:
            return False
        if not symbol or self._source.listing(symbol) is None:
            return True
        told = self._source.mark if path in _MARKS else self._source.mini
        return told(symbol) is not None
