"""Real sockets, direct or through a proxy, and what goes wrong with them in words that help."""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

import aiohttp
import aiohttp_socks
import picows
import python_socks
from aiohttp.http_exceptions import HttpProcessingError

from klinehub.errors import Blocked, DefinitionError, FeedError, ProxyError, Unreachable

CONNECT_TIMEOUT: Final = 10.0
# Far more than a batch of requests; the gate and the caller's batches are what really bounds them.
CONNECTIONS: Final = 256
# A connection that is half open is given up after 8 silent seconds.
SOCKET_SETTINGS: Final[Mapping[str, Any]] = {
    "enable_auto_ping": True,
    "auto_ping_idle_timeout": 4.0,
    "auto_ping_reply_timeout": 4.0,
    "enable_auto_pong": True,
    "max_frame_size": 1 << 20,
    "max_redirects": 0,
    "websocket_handshake_timeout": CONNECT_TIMEOUT,
}
USER_AGENT: Final = "klinehub"
DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443, "socks5h": 1080, "socks5": 1080}
PROXY_SCHEMES: Final = ("http", "https", "socks5h", "socks5")
SOCKET_SCHEMES: Final = {"ws": "http", "wss": "https"}
DENIED: Final = 407
# What a connection that is not made, or lost again, raises; {} is the host and port.
LOST: Final[Mapping[type[OSError], str]] = {
    ConnectionRefusedError: "{} refused the connection: check that the exchange runs there, or the base URL",
    ConnectionResetError: "The connection to {} was cut: check what sits in between, and try again",
    TimeoutError: "{} did not answer in time: check the network, or set network.proxy if one is needed",
}
# A URL may carry a signature, and who sends no HTTP may send back what it got.
TELLTALES: Final = (aiohttp.ClientResponseError, aiohttp.InvalidURL, HttpProcessingError)
PROXY_FAILURES: Final = (
    aiohttp_socks.ProxyError,
    aiohttp_socks.ProxyConnectionError,
    aiohttp_socks.ProxyTimeoutError,
    python_socks.ProxyError,
    python_socks.ProxyConnectionError,
    python_socks.ProxyTimeoutError,
)


class ProxyChoice(NamedTuple):
    """A proxy and the hosts that are reached without it, as the environment names them."""

    url: str | None
    direct: tuple[str, ...]


class RealNetwork:
    """Connects through *proxy* (http, https, socks5h; None for none), except to loopback and *direct*.

    Names are resolved by the proxy; `socks5` is taken as `socks5h`, so that no name leaks. *direct* are
    hosts, domains (with all below them), addresses or networks, each with an optional port, or `*`.
    """

    def __init__(
        self, proxy: str | None = None, *, direct: Sequence[str] = (), tls: ssl.SSLContext | None = None
    ) -> None:
        self._proxy = checked_proxy(proxy) if proxy else None
        self._direct = tuple(direct)
        self._tls = tls

    def via(self, url: str) -> str | None:
        """Name the proxy that connections to *url* take, without its credentials; None if direct."""
        proxy = self.route(url)
        return redact(proxy) if proxy else None

    def session(self, url: str, *, timeout: float) -> aiohttp.ClientSession:
        """Give a new HTTP session for requests to *url* only; the caller closes it."""
        return http_session(self._connector(self.route(url)), timeout)

    async def open_socket(
        self, url: str, listener_factory: Callable[[], picows.WSListener]
    ) -> picows.WSTransport:
        """Open a WebSocket to *url*; raises `Unreachable`, `ProxyError` or `Blocked`."""
        proxy = self.route(url)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                transport, _ = await picows.ws_connect(
                    listener_factory,
                    url,
                    ssl_context=self._context() if url.startswith("wss:") else None,
                    proxy=proxy,
                    proxy_ssl_context=self._context() if proxy and proxy.startswith("https:") else None,
                    **SOCKET_SETTINGS,
                )
        except (OSError, picows.WSError, *PROXY_FAILURES) as error:
            raise explain(error, url, redact(proxy) if proxy else None) from error
        return transport

    def route(self, url: str) -> str | None:
        """Give the proxy for *url*, credentials included; None if it is reached directly."""
        if self._proxy is None:
            return None
        host, port = endpoint(url)
        return None if is_loopback(host) or is_direct(host, port, self._direct) else self._proxy

    def _connector(self, proxy: str | None) -> aiohttp.TCPConnector:
        if proxy is None:
            # The system's own resolver, whatever else is installed: it knows /etc/hosts.
            resolver = aiohttp.ThreadedResolver()
            return aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._context(), resolver=resolver)
        parts = urlsplit(proxy)
        socks = parts.scheme == "socks5"
        return aiohttp_socks.ProxyConnector(
            host=parts.hostname or "",
            port=parts.port or 0,
            proxy_type=aiohttp_socks.ProxyType.SOCKS5 if socks else aiohttp_socks.ProxyType.HTTP,
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            rdns=True,
            proxy_ssl=self._context() if parts.scheme == "https" else None,
            limit=CONNECTIONS,
            ssl=self._context(),
        )

    def _context(self) -> ssl.SSLContext:
        """Give the TLS settings: certificates are always verified."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            # Some systems set less than Python's own default.
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._tls


class _OwnAnswer(aiohttp.ClientRequest):
    """A request that goes out only where the next answer to come is its own."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Send the request, unless an answer that nobody asked for has come on this kept-alive connection."""
        if conn.protocol is not None and conn.protocol.should_close:
            raise aiohttp.ServerDisconnectedError("an answer came that belongs to no request")
        return await super().send(conn)


def http_session(connector: aiohttp.BaseConnector, timeout: float) -> aiohttp.ClientSession:
    """Give a session that does just what it is asked: no cookies, no proxy of its own, no retries."""
    session = aiohttp.ClientSession(
        connector=connector,
        request_class=_OwnAnswer,
        # A silent proxy is told apart from a silent exchange by being given up on first.
        timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=timeout * 0.8),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
    # A request that aiohttp repeats on its own would reach the exchange without being counted.
    session._retry_connection = False  # noqa: SLF001 - there is no public way
    return session


def proxy_from_env(environ: Mapping[str, str], scheme: str = "https") -> ProxyChoice:
    """Read the proxy for *scheme* (http, https, ws, wss) from HTTPS_PROXY, ALL_PROXY and NO_PROXY.

    Lower case names win. For plain http only lower case `http_proxy` counts, because a web server
    lets strangers set HTTP_PROXY.
    """
    scheme = SOCKET_SCHEMES.get(scheme, scheme)
    names = ["http_proxy"] if scheme == "http" else ["https_proxy", "HTTPS_PROXY"]
    values = (environ.get(name, "").strip() for name in [*names, "all_proxy", "ALL_PROXY"])
    url = next((value for value in values if value), None)
    excluded = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return ProxyChoice(url, tuple(part.strip() for part in excluded.split(",") if part.strip()))


def checked_proxy(url: str) -> str:
    """Give *url* as the libraries below take it, or say what is wrong with it."""
    shown = redact(url)
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise DefinitionError(f"The proxy {shown!r} has no valid port. {_example()}") from error
    if parts.scheme not in PROXY_SCHEMES:
        raise DefinitionError(
            f"The proxy {shown!r} has the scheme {parts.scheme!r}; supported are http, https and socks5h. "
            f"{_example()}"
        )
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise DefinitionError(f"The proxy {shown!r} is not a host and a port. {_example()}")
    return _rebuilt(parts, port or DEFAULT_PORTS[parts.scheme])


def _rebuilt(parts: SplitResult, port: int) -> str:
    """Write a proxy url with its port, its credentials escaped, and socks5h as socks5.

    Both libraries resolve names at a socks5 proxy already, but do not know the name socks5h.
    """
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    scheme = "socks5" if parts.scheme.startswith("socks5") else parts.scheme
    login = ""
    if parts.username is not None:
        user, password = (quote(unquote(text or ""), safe="") for text in (parts.username, parts.password))
        login = f"{user}:{password}@"
    return f"{scheme}://{login}{host}:{port}"


def _example() -> str:
    return "Write it like http://127.0.0.1:8080 or socks5h://user:password@127.0.0.1:1080."


def redact(url: str) -> str:
    """Give *url* without its user name and password, however badly it is written."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", r"\1***@", url, flags=re.DOTALL)


def endpoint(url: str) -> tuple[str, int]:
    """Give the host and port that *url* connects to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        text = f"{redact(url)!r} is no address of an exchange"
        raise DefinitionError(f"{text}: write it like https://fapi.binance.com or ws://127.0.0.1:9001.")
    return parts.hostname, port or DEFAULT_PORTS[parts.scheme]


def is_loopback(host: str) -> bool:
    """Say whether *host* is this machine: localhost, 127.0.0.0/8 or ::1."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_direct(host: str, port: int, rules: Sequence[str]) -> bool:
    """Say whether one of the NO_PROXY *rules* names *host* and *port*."""
    return any(_names(rule.lower(), host.rstrip(".").lower(), port) for rule in rules)


def _names(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    name, colon, wanted = rule.rpartition(":")
    if colon and wanted.isdigit() and (":" not in name or name.endswith("]")):
        if int(wanted) != port:
            return False
        rule = name
    try:
        return ip_address(host) in ip_network(rule.strip("[]"), strict=False)
    except ValueError:
        domain = rule.removeprefix("*").strip(".")
        return host == domain or host.endswith(f".{domain}")


def explain(error: BaseException, url: str, via: str | None) -> FeedError:
    """Turn a failed connection to *url* into the error a user can act on; *via* is the redacted proxy."""
    host, port = endpoint(url)
    where = f"{host}:{port}"
    causes = list(causes_of(error))
    refusal = next((cause for cause in causes if isinstance(cause, picows.WSHandshakeError)), None)
    if refusal is not None and refusal.response is not None:
        return _refused_upgrade(refusal, where)
    if via is not None and _is_proxy_failure(causes):
        return _proxy_failure(causes, where, via)
    through = f" (through the proxy {via})" if via else ""
    return Unreachable(f"{_reason(causes, host, where)}{through}.")


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from what caused *error* up to it: the first is the most exact."""
    if error is not None:
        yield from causes_of(error.__cause__)
        yield error


def _refused_upgrade(error: picows.WSHandshakeError, where: str) -> FeedError:
    """Say what a status other than 101 means for a WebSocket."""
    status = int(error.response.status) if error.response is not None else 0
    kind = Blocked if status in {403, 451} else Unreachable
    way_out = {
        403: "a firewall refuses this address: try another network or set network.proxy",
        451: "the exchange refuses this location: set network.proxy or use another exchange",
    }.get(status, "check the WebSocket base URL, or wait and try again")
    return kind(f"{where} refused a WebSocket with status {status}; {way_out}.")


def _is_proxy_failure(causes: Sequence[BaseException]) -> bool:
    """Say whether the proxy, not the exchange behind it, failed: nothing else is connected to."""
    if any(isinstance(cause, PROXY_FAILURES) for cause in causes):
        return True
    return not any(isinstance(cause, ssl.SSLError | TimeoutError | picows.WSError) for cause in causes)


def wants_login(causes: Sequence[BaseException]) -> bool:
    """Say whether a proxy refused for want of the right user name and password."""
    texts = " ".join(str(cause) for cause in causes)
    codes = {getattr(cause, "error_code", None) for cause in causes}
    return DENIED in codes or bool(re.search(rf"status {DENIED}|[Aa]uthentica|No acceptable", texts))


def _proxy_failure(causes: Sequence[BaseException], where: str, via: str) -> ProxyError:
    """Say whether the proxy is not there, wants other credentials, or can not reach the exchange."""
    if wants_login(causes):
        why = "refused the user name and password: correct them in network.proxy or HTTPS_PROXY"
    elif any(isinstance(cause, TimeoutError | aiohttp_socks.ProxyTimeoutError) for cause in causes):
        why = f"opened no way to {where} in time: check that the proxy is up and has a network"
    elif any(isinstance(cause, socket.gaierror) for cause in causes):
        why = "has a name that does not resolve: correct network.proxy or HTTPS_PROXY"
    elif any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        why = "is not there (connection refused): start it, or correct network.proxy or HTTPS_PROXY"
    elif any(isinstance(cause, aiohttp_socks.ProxyConnectionError) for cause in causes):
        why = f"is out of reach ({_detail(causes)}): check the network and network.proxy"
    else:
        why = f"failed on the way to {where} ({_detail(causes)}): check its log and its rules"
    return ProxyError(f"The proxy {via} {why}.")


def _reason(causes: Sequence[BaseException], host: str, where: str) -> str:
    """Say why a direct connection failed, the most telling cause first."""
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = getattr(cause, "verify_message", None) or "not trusted"
            shown = f"{where} shows a certificate that is not valid ({detail})"
            return f"{shown}: check the clock, the base URL and what sits in between"
        if isinstance(cause, ssl.SSLError):
            detail = getattr(cause, "reason", None) or str(cause)
            return f"TLS with {where} failed ({detail}): check the URL's scheme and port"
        if isinstance(cause, socket.gaierror):
            return f"The name {host} does not resolve: check the network, the DNS and the base URL"
        for kind, says in LOST.items():
            if isinstance(cause, kind):
                return says.format(where)
    return f"The connection to {where} failed ({_detail(causes)}): check the network and try again"


def _detail(causes: Sequence[BaseException]) -> str:
    """Give the first cause's own words, unless they may repeat a URL or what the other side has sent."""
    if isinstance(causes[0], TELLTALES):
        return type(causes[0]).__name__
    return printable(str(causes[0]).strip()) or type(causes[0]).__name__


def printable(text: str) -> str:
    """Make text from outside safe for a terminal and a log line."""
    return "".join(char if char.isprintable() else "?" for char in text[:300])
