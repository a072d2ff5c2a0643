"""Admission: which requests may be passed on to the exchange, as whose, and what they weigh.

What the exchange tells everybody is public. What names an account, carries a signature or a key where
none is needed for an answer, or is no GET at all, is signed, and passed on only where the user wants it.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

from klinehub.dialect.documented_weights import UNKNOWN, Price, keyed_price, public_price, signed_price
from klinehub.dialect.params import Rejected
from klinehub.feed.forwarded import Call
from klinehub.feed.use import Use
from klinehub.serve.limits import MOST_BODY

KEY: Final = "X-MBX-APIKEY"
# Headers that change an answer, by their name in small letters: times in microseconds, on spot.
_UNIT: Final = "x-mbx-time-unit"
_UNITS: Final = frozenset({"MILLISECOND", "MICROSECOND"})
_KIND: Final = "content-type"
MOST_QUERY: Final = 8_192
MOST_FIELDS: Final = 32
MOST_PATH: Final = 100
ROOTS: Final[Mapping[str, str]] = {
    "/fapi/": "binance-usdm",
    "/futures/data/": "binance-usdm",
    "/api/v3/": "binance-spot",
    "/dapi/": "binance-coinm",
}
_METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE"})
_PATH: Final = re.compile(
    r"/([fd]api/v[0-9]|futures/data|api/v3)(/[A-Za-z0-9]+(-[A-Za-z0-9]+)*){1,4}", re.ASCII
)
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}", re.ASCII)
# What no value of a public request holds is not passed on: a firewall takes some of it for an attack, and
# refuses the address of everybody for that.
_VALUE: Final = re.compile(r"[\w.,:+\-\[\]\"]*")
_API_KEY: Final = re.compile(r"[!-~]{1,256}")
_SECRETS: Final = frozenset({"signature", "timestamp", "recvwindow", "listenkey", "apikey"})
_ACCOUNT_PATH: Final = re.compile(
    "order|account|listenkey|userdata|position|balance|leverage|margin|income|usertrades|mytrades"
    "|commission|adlquantile|prevented|allocation|multiassets|apitrading|algo|/pm|feeburn|convert"
)
SIGNED: Final = (
    "klinehub passes no signed request and no order on: send it to the exchange itself, or set orders = true "
    "under [serve] in the configuration."
)
OFF: Final = (
    "klinehub does not keep this, and passes nothing on to the exchange: set forward = true under [serve] in "
    "the configuration."
)


class Declined(Rejected):
    """A request that klinehub itself does not pass on: of what *kind*, and the seconds to *wait*, if any."""

    def __init__(self, kind: str, status: int, code: int, message: str, wait: int | None = None) -> None:
        self.kind, self.wait = kind, wait
        super().__init__(code, message, status)


class Admitted(NamedTuple):
    """A request that may leave for the market *venue*: how, at what price, and whether it is signed.

    *key* is what equal requests have in common; None where none is equal to another.
    """

    venue: str
    call: Call
    price: Price
    use: Use
    key: str | None

    @property
    def signed(self) -> bool:
        """Whether it is the user's own and nobody else's."""
        return self.key is None


def admit(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    forward: bool,
    orders: bool,
) -> Admitted:
    """Say how a request is passed on; *query* is as it came, percent-encoded. Raises `Declined`."""
    venue = _venue(method, path)
    if len(query) > MOST_QUERY or len(body) > MOST_BODY:
        raise Declined(
            "size", 413, -1101, "Too many parameters: the request is larger than klinehub passes on."
        )
    named = {name.lower(): value for name, value in headers.items()}
    if not _is_signed(method, path, query, named, body):
        if not forward:
            raise Declined("off", 403, -1002, OFF)
        return _public(venue, path, query, named)
    if not orders:
        raise Declined("signed", 403, -1002, SIGNED)
    return _signed(venue, method, path, query, named, body)


def canonical(query: str) -> str:
    """Give a public query in the one way in which it is sent: decoded, sorted by name, encoded again.

    Raises `Declined` for what can not be decoded, is too much, or no public request holds.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise Declined("query", 400, -1101, "Too many parameters, or parameters that are no UTF-8.") from None
    for name, value in pairs:
        if not _NAME.fullmatch(name):
            raise Declined("query", 400, -1104, "Not all sent parameters were read: one has no valid name.")
        if not _VALUE.fullmatch(value):
            raise Declined("query", 400, -1100, f"Illegal characters found in parameter '{name}'.")
    return urlencode(sorted(pairs, key=lambda pair: pair[0]))


def _venue(method: str, path: str) -> str:
    """Give the market that a path belongs to."""
    fits = len(path) <= MOST_PATH and _PATH.fullmatch(path) and method in _METHODS
    venue = next((venue for root, venue in ROOTS.items() if path.startswith(root)), None)
    if not fits or venue is None:
        shown = re.sub(r"[^\w/.-]", "?", path[:MOST_PATH], flags=re.ASCII)
        raise Declined("path", 400, -5000, f"Path {shown}, Method {method[:10]} is invalid")
    return venue


def _is_signed(method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Say whether a request is the user's own: in doubt it is.

    Some clients show their key with every request. Where the answer is everybody's it is left out instead.
    """
    names = {name.casefold() for name, _ in parse_qsl(query, keep_blank_values=True, errors="replace")}
    if method != "GET" or body or names & _SECRETS or keyed_price(path, {}) is not None:
        return True
    if public_price(path, {}) is not None:
        return False
    return KEY.lower() in headers or _ACCOUNT_PATH.search(path.casefold()) is not None


def _public(venue: str, path: str, query: str, headers: Mapping[str, str]) -> Admitted:
    """Admit what everybody may ask: nothing of the client goes with it but what changes the answer."""
    plain = canonical(query)
    unit = headers.get(_UNIT, "").upper()
    kept = {_UNIT: unit} if unit in _UNITS else {}
    key = f"{path}?{plain} {kept.get(_UNIT, '')}"
    price = public_price(path, dict(parse_qsl(plain))) or Price(UNKNOWN)
    return Admitted(venue, Call("GET", path, plain, kept), price, Use.FORWARDED, key)


def _signed(
    venue: str, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
) -> Admitted:
    """Admit a request of the user's own, byte for byte, with its key."""
    key = headers.get(KEY.lower())
    if key is not None and not _API_KEY.fullmatch(key):
        raise Declined("query", 401, -2014, "API-key format invalid.")
    if not re.fullmatch(r"[!-~]*", query) or "#" in query:
        raise Declined("query", 400, -1100, "Illegal characters found in a parameter.")
    kept = {name: headers[name] for name in (_UNIT, _KIND) if _is_plain(headers.get(name))}
    asked = dict(parse_qsl(query, errors="replace"))
    keyed = keyed_price(path, asked)
    call = Call(method, path, query, kept | ({KEY: key} if key is not None else {}), body)
    use = Use.ORDERS if keyed is None else Use.FORWARDED
    return Admitted(venue, call, keyed or signed_price(path, asked), use, None)


def _is_plain(value: str | None) -> bool:
    return value is not None and len(value) <= MOST_PATH and value.isascii() and value.isprintable()
