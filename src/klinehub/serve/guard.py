"""The guard: who may come in, and under which name.

1. The Host has to be this machine's own name or one that the user allowed, so that no web page gets in whose
   own name was made to point here.
2. What a browser sends has to come from a page of this hub.
3. Where there are secrets one of them has to be shown: in the path, as a bearer, or as a sub-protocol. Only
   the files of the page, which hold nothing secret, are shown to everybody.
"""

import hmac
import os
import re
import stat
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

from klinehub.dialect.stream import SUBPROTOCOL
from klinehub.errors import DefinitionError
from klinehub.settings import ServeSettings

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
# What makes a secret of 144 bits.
MAKE_ONE: Final = 'python -c "import secrets; print(secrets.token_urlsafe(24))"'
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{22,200}")
# Fewer different characters are no accident in a secret that was drawn.
_LEAST_VARIED: Final = 8
# Where a client that can send no headers puts its secret.
_SECRET_PATH: Final = re.compile(r"/c/(?P<token>[^/]{1,200})(?P<path>/.*)", re.DOTALL)
_BEARER: Final = "Bearer "
# How it is offered by a page, whose sockets can send no headers either.
_OFFERED: Final = "bearer."
_HOST: Final = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9_.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE | re.ASCII,
)
_PORTS: Final = {"http": 80, "https": 443}
_OPEN_TO_OTHERS: Final = 0o077


class Caller(NamedTuple):
    """Who asks, by a name that is no secret, and the path without any."""

    name: str
    path: str


class Guard:
    """Lets in who may come; raises DefinitionError for settings that would let in everybody.

    What is at the paths *shown* needs no secret. `ports` are those at which the hub listens: a page of
    another port of this machine is a stranger.
    """

    def __init__(self, settings: ServeSettings, shown: Collection[str] = ()) -> None:
        self._shown = frozenset(shown)
        self.ports: set[int] = {settings.port, settings.ws_port}
        self._secrets = _secrets(settings)
        self._names = frozenset(
            {*LOOPBACK, _bare(settings.host), *(_allowed(name) for name in settings.allowed_hosts)}
        )
        if not is_loopback(settings.host) and not self._secrets:
            raise DefinitionError(
                f"Serving at {settings.host or 'every address'} would let everybody in who can reach this "
                f"machine: set `serve.token` to a secret ({MAKE_ONE} makes one), or leave `serve.host` at "
                "127.0.0.1."
            )

    def admit(self, request: web.BaseRequest) -> Caller | web.Response:
        """Give who asks, or the answer to somebody who may not."""
        refusal = self._misdirected(request) or self._foreign(request)
        if refusal is not None:
            return refusal
        secret = _SECRET_PATH.fullmatch(request.path)
        path = request.path if secret is None else secret["path"]
        offered = [one.strip() for one in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if offered != [""] and SUBPROTOCOL not in offered:
            return web.Response(status=400, text=f"The only sub-protocol is {SUBPROTOCOL}.")
        if self._secrets and (secret is not None or path not in self._shown):
            name = self._name(_shown(request, offered) if secret is None else secret["token"])
            if name is None:
                return web.Response(status=401, text="Unauthorized", headers={"WWW-Authenticate": "Bearer"})
            return Caller(name, path)
        peer = request.transport.get_extra_info("peername") if request.transport else None
        return Caller(f"{peer[0]}:{peer[1]}" if peer else "local", path)

    def _name(self, token: str) -> str | None:
        """Give whose secret this is; all are compared, whichever it is."""
        found, shown = None, token.encode("utf-8", "surrogateescape")
        for name, secret in self._secrets:
            if hmac.compare_digest(secret, shown):
                found = name
        return found

    def _misdirected(self, request: web.BaseRequest) -> web.Response | None:
        """Turn away what names no host, several, or one that is not this machine's."""
        told = request.headers.getall("Host", [])
        name = _name_of(told[0]) if len(told) == 1 else None
        if name is None or not request.raw_path.startswith("/"):
            return web.Response(status=400, text="Bad Request")
        if name in self._names or name == _own_address(request):
            return None
        return web.Response(status=421, text="Misdirected Request: see `serve.allowed_hosts`.")

    def _foreign(self, request: web.BaseRequest) -> web.Response | None:
        """Turn away what a browser sends for a page that is not this hub's; no other program says so."""
        origins = request.headers.getall("Origin", [])
        site, mode = (request.headers.get(f"Sec-Fetch-{name}", "") for name in ("Site", "Mode"))
        # Following a link from elsewhere is what people do; such a page cannot read what it leads to.
        strange = site == "cross-site" and not (mode == "navigate" and request.method == "GET")
        if strange or any(not self._is_own(origin, request.headers["Host"]) for origin in origins):
            return web.Response(status=403, text="Forbidden: this page is not the hub's own.")
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether an origin is a page of the hub: at the Host itself, or at its other port."""
        scheme, _, place = origin.partition("://")
        match = _HOST.fullmatch(place)
        if scheme not in _PORTS or match is None:
            return False
        if place.lower() == host.lower():
            return True
        return _bare(match["name"]) in self._names and int(match["port"] or _PORTS[scheme]) in self.ports


def is_loopback(host: str) -> bool:
    """Whether a host to listen at is reached from this machine alone."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


@lru_cache(maxsize=256)
def _name_of(host: str) -> str | None:
    """Give the name in a Host, None where it is none; a client says the same one every time."""
    match = _HOST.fullmatch(host)
    if match is None or int(match["port"] or 0) > 65_535:
        return None
    return _bare(match["name"])


def _shown(request: web.BaseRequest, offered: Sequence[str]) -> str:
    """Give the secret that a request's headers show, nothing for none."""
    told = request.headers.get("Authorization", "")
    if told.startswith(_BEARER):
        return told.removeprefix(_BEARER)
    return next((one.removeprefix(_OFFERED) for one in offered if one.startswith(_OFFERED)), "")


def _bare(name: str) -> str:
    """Give a host's name in the one way it is compared."""
    text = name.strip("[]").lower()
    with suppress(ValueError):
        return str(ip_address(text))
    return text


def _own_address(request: web.BaseRequest) -> str:
    """Give the address of this machine that a connection came to."""
    own = request.transport.get_extra_info("sockname") if request.transport else None
    if not own or not isinstance(own, tuple):
        return ""
    with suppress(ValueError):
        address = ip_address(own[0])
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return str(mapped or address)
    return str(own[0])


def _allowed(name: str) -> str:
    match = _HOST.fullmatch(name)
    if match is None or match["port"]:
        raise DefinitionError(
            f"`serve.allowed_hosts` has {name!r}: give names or addresses such as klinehub or 192.168.1.5, "
            "without a scheme, a port or a star."
        )
    return _bare(match["name"])


def _secrets(settings: ServeSettings) -> tuple[tuple[str, bytes], ...]:
    """Give each client's secret by the client's name; the shared one is called "token"."""
    told = [("token", settings.token), ("token", _of_file(settings.token_file)), *settings.clients.items()]
    found = [(name, secret) for name, secret in told if secret]
    for name, secret in found:
        if not _TOKEN.fullmatch(secret) or len(set(secret)) < _LEAST_VARIED:
            raise DefinitionError(
                f"The secret of {name!r} in [serve] can be guessed, or has other characters than letters, "
                f"digits, - and _: give 22 to 200 of these that were drawn ({MAKE_ONE} does)."
            )
    if any(not secret for secret in settings.clients.values()):
        raise DefinitionError("`serve.clients` has a client without a secret: give it one, or leave it out.")
    if len({secret for _, secret in found}) < len(found):
        raise DefinitionError("Two clients in [serve] have the same secret: give each one of its own.")
    return tuple((name, secret.encode()) for name, secret in found)


def secret_of(settings: ServeSettings) -> str:
    """Give the secret that lets in here, as its owner keeps it; nothing where there is none."""
    return settings.token or _of_file(settings.token_file)


def _of_file(name: str) -> str:
    """Read a secret from a file that nobody else may read."""
    if not name:
        return ""
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(1_000).decode("ascii", "replace").strip()
    except OSError as exc:
        raise DefinitionError(f"`serve.token_file` {path} cannot be read ({exc.strerror}).") from exc
    if os.name != "nt" and (not stat.S_ISREG(found.st_mode) or found.st_mode & _OPEN_TO_OTHERS):
        raise DefinitionError(
            f"`serve.token_file` {path} can be read by others: chmod 600 {path}, and give it a new secret."
        )
    if not text:
        raise DefinitionError(f"`serve.token_file` {path} is empty: {MAKE_ONE} > {path} fills it.")
    return text
