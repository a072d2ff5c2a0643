"""The guard: who may come in, and under which name."""

import hmac
import re
from typing import Final, NamedTuple

from aiohttp import web

from klinehub.errors import DefinitionError
from klinehub.settings import ServeSettings

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
# Where a client that can send no headers puts its secret.
_SECRET_PATH: Final = re.compile(r"/c/(?P<token>[^/]{1,200})(?P<path>/.*)")
_BEARER: Final = "Bearer "


class Caller(NamedTuple):
    """Who asks, by a name that is no secret, and the path without any."""

    name: str
    path: str


class Guard:
    """Lets in who may come; raises DefinitionError for settings that would let in everybody."""

    def __init__(self, settings: ServeSettings) -> None:
        self._tokens = dict(settings.clients)
        if settings.token:
            self._tokens["token"] = settings.token
        if settings.host not in LOOPBACK and not self._tokens:
            raise DefinitionError(
                f"Serving at {settings.host} would let everybody in who can reach this machine: set "
                "`serve.token` to a secret of at least 22 characters, or leave `serve.host` at 127.0.0.1."
            )

    def admit(self, request: web.BaseRequest) -> Caller | web.Response:
        """Give who asks, or the answer to somebody who may not."""
        path, token = request.path, request.headers.get("Authorization", "").removeprefix(_BEARER)
        secret = _SECRET_PATH.fullmatch(path)
        if secret is not None:
            path, token = secret["path"], secret["token"]
        if self._tokens:
            name = self._name(token)
            if name is None:
                return web.Response(status=401, text="Unauthorized")
            return Caller(name, path)
        peer = request.transport.get_extra_info("peername") if request.transport else None
        return Caller(f"{peer[0]}:{peer[1]}" if peer else "local", path)

    def _name(self, token: str) -> str | None:
        found = None
        for name, secret in self._tokens.items():
            if hmac.compare_digest(secret.encode(), token.encode()):
                found = name
        return found
