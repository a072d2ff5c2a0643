"""ccxt, the library that knows the exchanges: one of them made ready, and its errors in our words."""

import re
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from klinehub.dialect.params import Rejected, invalid_symbol
from klinehub.dialect.tally import Refused
from klinehub.errors import Banned, Blocked, DefinitionError, FeedError, UnknownName, Unreachable
from klinehub.feed.network import printable
from klinehub.feed.venue import CCXT

# What an exchange does not say with a refusal for too many requests: seconds to stay away.
AWAY: Final = 10
_LONGEST_SAID: Final = 300
_LOGIN: Final = re.compile(r"//[^/@\s]*@")
_SOCKET_SCHEMES: Final = frozenset({"ws", "wss"})


def exchange_of(name: str, *, rest_url: str = "", stream_url: str = "", proxy: str | None = None) -> Any:  # noqa: ANN401 - ccxt is untyped
    """Make ccxt's exchange of this *name*, throttled and without keys, with what streams it can.

    The hosts of its addresses are replaced by those of *rest_url* and *stream_url* where these are given.
    Raises UnknownName for one that ccxt does not have, DefinitionError where ccxt is not installed, and for
    an exchange that gives no klines.
    """
    try:
        streaming, asking = import_module("ccxt.pro"), import_module("ccxt.async_support")
    except ImportError as exc:
        raise DefinitionError(f"{CCXT}{name} needs ccxt: pip install 'klinehub[ccxt]'.") from exc
    if name not in asking.exchanges:
        raise UnknownName("exchange", f"{CCXT}{name}", [f"{CCXT}{one}" for one in asking.exchanges])
    kind = getattr(streaming if name in streaming.exchanges else asking, name)
    exchange = kind({"enableRateLimit": True, "newUpdates": True, **_through(proxy)})
    # What is kept of a series for who watches it: the open bar is all that is read here.
    exchange.options["OHLCVLimit"] = 5
    exchange.options["fetchCurrencies"] = False
    if exchange.has.get("fetchOHLCV") is not True:
        raise DefinitionError(f"{CCXT}{name} gives no klines of its own, so nothing could be proved by them.")
    exchange.urls["api"] = moved(exchange.urls.get("api"), rest_url, stream_url)
    _read_one_by_one(exchange)
    return exchange


def _read_one_by_one(exchange: Any) -> None:  # noqa: ANN401 - ccxt is untyped
    """Have each message read through aiohttp.

    ccxt takes waiting ones out of aiohttp's queue behind its back, and gives back less room than each took
    there since 3.14.5: after some two thousand messages of a burst nothing was read any more, for good.
    """
    usual = exchange.client

    class OneByOne(import_module("ccxt.async_support.base.ws.client").Client):  # type: ignore[misc]
        buffer = None

    def client(url: str) -> Any:  # noqa: ANN401 - ccxt is untyped
        made = usual(url)
        made.__class__ = OneByOne
        return made

    exchange.client = client


def _through(proxy: str | None) -> dict[str, str]:
    """Give ccxt's settings for a proxy."""
    if proxy is None:
        return {}
    if proxy.startswith("socks"):
        # Names are resolved by the proxy, so that none leaks.
        named = proxy.replace("socks5://", "socks5h://")
        return {"socksProxy": named, "wsSocksProxy": named}
    return {"httpsProxy": proxy, "wssProxy": proxy}


def moved(urls: Any, rest_url: str, stream_url: str) -> Any:  # noqa: ANN401 - texts in mappings of any depth
    """Give addresses with the host of *rest_url*, or of *stream_url*, in place of their own."""
    if isinstance(urls, dict):
        return {name: moved(one, rest_url, stream_url) for name, one in urls.items()}
    if not isinstance(urls, str):
        return urls
    parts = urlsplit(urls)
    other = urlsplit(stream_url if parts.scheme in _SOCKET_SCHEMES else rest_url)
    if not other.netloc:
        return urls
    return urlunsplit((other.scheme, other.netloc, parts.path, parts.query, ""))


class Trouble:
    """What ccxt raises, told apart."""

    def __init__(self) -> None:
        errors = import_module("ccxt.base.errors")
        self.any: type[Exception] = errors.BaseError
        self._refused: type[Exception] = errors.ExchangeError
        self._too_many = (errors.RateLimitExceeded, errors.DDoSProtection)
        self._place = (errors.RestrictedLocation, errors.PermissionDenied)
        self._login: type[Exception] = errors.AuthenticationError
        self._symbol: type[Exception] = errors.BadSymbol
        self._again: type[Exception] = errors.OperationFailed

    def lasts(self, error: Exception) -> bool:
        """Whether what was asked for will be refused again, unlike what a lost connection raises."""
        return isinstance(error, self._refused)

    def refusal(self, error: Exception, name: str, away: int) -> Rejected:
        """Give the answer that a request gets for what ccxt raised; *away* are seconds after a refusal."""
        said = says(error, name)
        if isinstance(error, self._too_many):
            return Refused(429, said, away)
        if isinstance(error, self._place):
            return Rejected(-1002, said, 451)
        if isinstance(error, self._login):
            return Rejected(-2015, f"{said}; klinehub asks without keys", 401)
        if isinstance(error, self._symbol):
            return invalid_symbol()
        if isinstance(error, self._again) or not isinstance(error, self.any):
            return Rejected(-1001, said, 503)
        return Rejected(-1000, said)

    def failure(self, error: Exception, name: str, until: int) -> FeedError:
        """Give the same as an error of ours, for who asks at the start; a ban ends at *until* (ms)."""
        said = says(error, name)
        if isinstance(error, self._too_many):
            return Banned(f"{said}: wait before asking again.", until)
        if isinstance(error, self._place):
            return Blocked(f"{said}: set network.proxy or use another exchange.")
        if isinstance(error, self._again):
            return Unreachable(f"{said}: check the network, or set network.proxy if one is needed.")
        return FeedError(f"{said}: ccxt or the exchange may have changed; try a newer ccxt.")


def says(error: Exception, name: str) -> str:
    """Say what ccxt raised, in one line and without the password of an address."""
    text = printable(_LOGIN.sub("//***@", str(error)).removeprefix(name).strip())[:_LONGEST_SAID]
    return f"ccxt:{name} raised {type(error).__name__}{f' ({text})' if text else ''}"
