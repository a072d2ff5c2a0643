"""Tellings: what the exchange told of its whole market - its listing, tickers and marks - told again."""

from typing import Final

from klinehub.dialect.coinm import CoinRest
from klinehub.dialect.rest import Query, Rest
from klinehub.dialect.spot import SpotRest
from klinehub.feed.listed import ListingBody
from klinehub.serve.source import HubSource

# A ticker is told every second, a mark too: what is older than this many ms of real time is not told again.
OLDEST: Final = 10_000
_TICKERS: Final = frozenset({"/fapi/v1/ticker/24hr", "/fapi/v1/ticker/price", "/fapi/v2/ticker/price"})
_MARKS: Final = "/fapi/v1/premiumIndex"
_INFO, _SPOT_INFO, _COIN_INFO = "/fapi/v1/exchangeInfo", "/api/v3/exchangeInfo", "/dapi/v1/exchangeInfo"
_SPOT_DAYS: Final = "/api/v3/ticker/24hr"
_SPOT_PRICES: Final = "/api/v3/ticker/price"
_ALWAYS: Final = frozenset(
    f"/{root}/{name}" for root in ("fapi/v1", "dapi/v1", "api/v3") for name in ("ping", "time")
)


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


class HubCoinRest(CoinRest):
    """Answers as COIN-M does; its listing byte for byte as it came, but for the time."""

    def info(self, _: Query) -> bytes:
        """List everything that is listed."""
        return _listing(self.source).at(self.clock.now())


HubRest.routes = Rest.routes | {_INFO: HubRest.info}
HubSpotRest.routes = SpotRest.routes | {_SPOT_INFO: HubSpotRest.info}
HubCoinRest.routes = CoinRest.routes | {_COIN_INFO: HubCoinRest.info}


class Tellings:
    """Says which requests can be answered from what *source* was told, at this moment."""

    def __init__(self, source: HubSource) -> None:
        self._source = source

    def tell(self, path: str, query: Query) -> bool:
        """Whether this is told again now; what is not is asked of the exchange."""
        if path in {_INFO, _SPOT_INFO, _COIN_INFO}:
            return self._source.hub.listed.body is not None
        return path in _ALWAYS or (self._is_new(path, query) and self._is_known(path, query))

    def _is_new(self, path: str, query: Query) -> bool:
        """Whether what was told is so young that it is still true."""
        tickers, clock = self._source.hub.live.tickers, self._source.clock
        if tickers is None:
            return False
        if path == _MARKS:
            as_of = tickers.marks_as_of
        elif path in _TICKERS or (path == _SPOT_DAYS and query.get("type") != "MINI"):
            as_of = tickers.days_as_of
        elif path in {_SPOT_DAYS, _SPOT_PRICES}:
            as_of = tickers.minis_as_of
        else:
            return False
        return clock.now() - as_of <= OLDEST * clock.rate

    def _is_known(self, path: str, query: Query) -> bool:
        """Whether something was told of the symbol that is asked for; one that is not listed is refused."""
        symbol = query.get("symbol", "").upper()
        if "symbols" in query and path == _SPOT_DAYS:
            return False
        if not symbol or self._source.listing(symbol) is None:
            return True
        told = self._source.mark if path == _MARKS else self._source.mini
        return told(symbol) is not None
