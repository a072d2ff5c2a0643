"""Symptoms: what a refused connection, a status or a body says about the way to the exchange."""

import socket
import ssl
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

import picows

from klinehub.domain.moment import utc
from klinehub.errors import FeedError, ProxyError
from klinehub.feed.diagnosis import Verdict
from klinehub.feed.forwarded import Reply
from klinehub.feed.network import causes_of, printable, redact, wants_login
from klinehub.feed.rest import ban_end, date_of, error_of

JSON_STARTS: Final = (b"{", b"[")
TOO_MANY: Final = -1003
# OpenSSL's names for two sides that have no version or cipher in common ...
OLD: Final = ("PROTOCOL", "HANDSHAKE_FAILURE", "INSUFFICIENT_SECURITY", "CIPHER", "KEY_TOO_SMALL", "LEGACY")
# ... and for something that does not speak TLS at all.
NO_TLS: Final = (
    "WRONG_VERSION_NUMBER",
    "PACKET_LENGTH",
    "RECORD_LAYER",
    "HTTP_REQUEST",
    "UNEXPECTED_MESSAGE",
)
EXPIRED: Final = (9, 10)
OTHER_NAME: Final = (62, 64)

AT_ANOTHER_PLACE: Final = (
    "Run klinehub where the exchange serves clients, or reach it from there: set network.proxy (--proxy)."
)
KEEP_AWAY: Final = (
    "Ask nothing until then, for asking makes a ban longer: stop other programs that use this address. "
    "A hub waits on its own."
)
ASK_LESS: Final = (
    "Stop other programs that ask much from this address and wait some minutes; if it stays, use another "
    "network or set network.proxy (--proxy)."
)
LOG_IN: Final = (
    "Open any page in a browser here: a hotel's or company's network may want a login first. "
    "Otherwise correct exchange.rest_url and exchange.stream_url."
)
WITHOUT_TLS: Final = (
    "Write http:// and ws:// for an exchange without TLS. In the place of the real one it may be a network's "
    "login page: open any page in a browser here."
)
WITHOUT_PROXY: Final = "`klinehub doctor --proxy ''` looks at the way without it."
WAIT: Final = "Wait and try again; a hub does so on its own. The exchange tells of maintenance beforehand."
NOBODY: Final = "Check that the exchange runs at this address, or correct exchange.rest_url or stream_url."
SWALLOWED: Final = (
    "Something on the way, or the exchange, is silent: check the network and its firewall, or set "
    "network.proxy (--proxy) if connections need one here."
)
CUT: Final = (
    "A firewall on the way may do this: try another network or set network.proxy (--proxy). "
    "If it comes and goes, it is the line."
)
NAMES: Final = (
    "Check the network and its name server, and the address for a typing error; a proxy with socks5h "
    "or http resolves names itself."
)
NEWER_TLS: Final = (
    "The exchange speaks TLS 1.2 and 1.3: something old in between, or an old OpenSSL here, does not. "
    "Update Python, or go around the device in between."
)
WHOSE_CERTIFICATE: Final = (
    "A company's proxy or a virus scanner may sign anew: have its root certificate added and name the file "
    "in SSL_CERT_FILE. If every site fails, this Python has no root certificates at all."
)
ON_WHICH_DATE: Final = "Check this machine's date first, then what sits in between."
FILTERED: Final = (
    "A provider's filter, an ad blocker or the hosts file answers for it: use another name server."
)
SET_THE_CLOCK: Final = (
    "Have the clock set by NTP (`timedatectl set-ntp true`). A hub goes by the exchange's time, so its bars "
    "are right all the same."
)

# Below so many ms, a span is written in units of so many, with so many decimals.
SPANS: Final = (
    (1_000, 1, 0, "ms"),
    (120_000, 1_000, 1, "s"),
    (7_200_000, 60_000, 0, "min"),
    (172_800_000, 3_600_000, 0, "h"),
    (1 << 62, 86_400_000, 0, "days"),
)


class Symptom(NamedTuple):
    """What was seen, in words, and what it says; *until* is the end of a ban (ms), else 0."""

    verdict: Verdict
    detail: str
    advice: str = ""
    until: int = 0


def of_ban(until: int, says: str) -> Symptom:
    """Give the symptom of a ban until *until* (ms of exchange time); *says* is where that is known from."""
    return Symptom(Verdict.BAN, f"{says} until {utc(until)}", KEEP_AWAY, until)


def of_reply(reply: Reply, now: int) -> Symptom:
    """Judge an answer over HTTP that came at *now* (ms UTC); a JSON body with status 200 is fine.

    The exchange's own `Date` goes before *now*.
    """
    code, text = error_of(reply.body)
    says = f"status {reply.status}{f': {text}' if text else ''}"
    if reply.status in {418, 429} or code == TOO_MANY:
        told = date_of(reply.headers.get("Date"))
        until = ban_end(reply, now if told is None else told)
        return of_ban(until, f"it answered with {says}, which holds")
    known = _STATUSES.get(reply.status)
    if known is not None:
        return Symptom(known[0], f"it answered with {says}", known[1])
    if reply.status == HTTPStatus.REQUEST_TIMEOUT or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Symptom(Verdict.OUTAGE, f"it answered with {says}", WAIT)
    if reply.status == HTTPStatus.OK and reply.body.lstrip()[:1] in JSON_STARTS:
        return Symptom(Verdict.FINE, "it answers")
    return Symptom(Verdict.FOREIGN, f"it answered with {says}{_looks(reply)}", LOG_IN)


def of_failure(error: FeedError, now: int) -> Symptom:
    """Judge a connection that failed at *now* (ms UTC); *error* is what `explain` made of its cause."""
    causes = list(causes_of(error))
    fact, _, way_out = str(error).removesuffix(".").rpartition(": ")
    fact = f"{fact[:1].lower()}{fact[1:]}" if fact.startswith("The ") else fact
    if isinstance(error, ProxyError):
        verdict = Verdict.PROXY_LOGIN if wants_login(causes) else Verdict.DEAD_PROXY
        return Symptom(verdict, fact, f"{way_out[:1].upper()}{way_out[1:]}. {WITHOUT_PROXY}")
    for cause in causes:
        if isinstance(cause, picows.WSHandshakeError) and cause.response is not None:
            return _of_upgrade(cause.response, now)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Symptom(Verdict.INTERCEPTED, fact, _about_certificate(cause))
        if isinstance(cause, ssl.SSLError):
            return _of_tls(cause, fact)
    return _of_line(causes, fact)


def of_stranger(fact: str, body: bytes) -> Symptom:
    """Judge a body with status 200 that is not what was asked for."""
    return Symptom(Verdict.FOREIGN, f"{fact}{_looks(Reply(200, {}, body))}", LOG_IN)


def in_words(ms: int) -> str:
    """Write a span of *ms* so that its size is seen: 40 ms, 2.5 s, 3 min, 5 h, 60 days."""
    _, size, digits, unit = next(row for row in SPANS if ms < row[0])
    return f"{ms / size:,.{digits}f} {unit}"


def _of_upgrade(answer: picows.WSUpgradeResponse, now: int) -> Symptom:
    """Judge an answer that did not open the WebSocket; whatever it is, it is not fine."""
    reply = Reply(int(answer.status), answer.headers, bytes(answer.body or b""))
    symptom = of_reply(reply, now)
    if symptom.verdict in {Verdict.FINE, Verdict.FOREIGN}:
        looks = _looks(reply) if reply.body or _location(reply.headers) else ""
        there = f"there is no WebSocket: it answered with status {reply.status}{looks}"
        return Symptom(Verdict.FOREIGN, there, LOG_IN)
    return symptom


def _of_tls(error: ssl.SSLError, fact: str) -> Symptom:
    """Tell an old TLS from a server without any, and from a line that was cut in between."""
    reason = (error.reason or str(error)).upper()
    if any(word in reason for word in NO_TLS):
        return Symptom(Verdict.FOREIGN, f"{fact}; what listens there speaks no TLS", WITHOUT_TLS)
    if any(word in reason for word in OLD):
        return Symptom(Verdict.OLD_TLS, fact, NEWER_TLS)
    return Symptom(Verdict.OUTAGE, fact, CUT)


def _about_certificate(error: ssl.SSLCertVerificationError) -> str:
    """Say what helps with a certificate that is out of date, for another name, or signed by a stranger."""
    code = getattr(error, "verify_code", 0)
    if code in EXPIRED:
        return ON_WHICH_DATE
    return LOG_IN if code in OTHER_NAME else WHOSE_CERTIFICATE


def _of_line(causes: Sequence[BaseException], fact: str) -> Symptom:
    """Judge what happened below TLS."""
    for kinds, verdict, advice in _BELOW:
        if any(isinstance(cause, kinds) for cause in causes):
            return Symptom(verdict, fact, advice)
    return Symptom(Verdict.OUTAGE, fact, CUT)


def _looks(reply: Reply) -> str:
    """Say what a body that is none of the exchange's looks like."""
    location = _location(reply.headers)
    if location:
        return f", a redirect to {printable(redact(location))}"
    start = printable(reply.body.strip()[:60].decode("utf-8", "replace"))
    return f", beginning {start!r}" if start else ", an empty page"


def _location(headers: Mapping[str, str]) -> str:
    return headers.get("Location", "")


_STATUSES: Final[Mapping[int, tuple[Verdict, str]]] = {
    403: (Verdict.WAF, ASK_LESS),
    407: (Verdict.PROXY_LOGIN, "Correct the user name and password in network.proxy or HTTPS_PROXY."),
    451: (Verdict.GEO_BLOCK, AT_ANOTHER_PLACE),
}
# The first kind that fits; what is none of these was cut.
_BELOW: Final[Sequence[tuple[type[BaseException], Verdict, str]]] = (
    (socket.gaierror, Verdict.DNS, NAMES),
    (ConnectionRefusedError, Verdict.OUTAGE, NOBODY),
    (TimeoutError, Verdict.OUTAGE, SWALLOWED),
)
