"""Lines: what one attempt at a messenger goes over, so that it takes the right way and its answer is known.

Plugins of apprise call `requests.post` and say afterwards only whether that went well. What they take for
`requests` is replaced: while a line is open in a thread, their requests go over it, by the proxy that is set,
with no other of the environment and no password file. The line keeps what was answered. Outside of an open
line nothing is changed, for any other use of apprise.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Final, NamedTuple

import requests

# Of an answer no more is looked at.
_MOST_BODY: Final = 4_096
# What may be given without a name to each of these.
_METHODS: Final = {
    "get": ("params",),
    "options": (),
    "head": (),
    "post": ("data", "json"),
    "put": ("data",),
    "patch": ("data",),
    "delete": (),
}
# Who writes addresses into logs, and with them the tokens that they hold.
_TALKERS: Final = (
    "apprise",
    "requests",
    "urllib3.connectionpool",
    "urllib3.connection",
    "urllib3.util.retry",
)

# Gives the proxy that an address is reached by, None for none.
Route = Callable[[str], str | None]


class Heard(NamedTuple):
    """What one request got, by which proxy: a status, how a body begins, the seconds to wait; or an error."""

    via: str | None
    status: int = 0
    body: bytes = b""
    pause: float = 0.0
    error: requests.RequestException | None = None


class Line(requests.Session):
    """A session that asks nobody but who it is told to, and keeps what it heard."""

    def __init__(self, route: Route, trusted: str | None = None) -> None:
        super().__init__()
        self.heard: list[Heard] = []
        self.trust_env = False
        self._route, self._trusted = route, trusted

    def request(self, method: str, url: str, **given: Any) -> requests.Response:  # type: ignore[override] # noqa: ANN401 - as requests has it
        """Ask, and keep what came of it."""
        proxy = self._route(url)
        given["proxies"] = (
            {} if proxy is None else {"http": _named_there(proxy), "https": _named_there(proxy)}
        )
        if self._trusted is not None and given.get("verify", True) is True:
            given["verify"] = self._trusted
        try:
            response = super().request(method, url, **given)
            pause = _seconds(response.headers.get("Retry-After", ""))
            self.heard.append(Heard(proxy, response.status_code, response.content[:_MOST_BODY], pause))
        except requests.RequestException as exc:
            self.heard.append(Heard(proxy, error=exc))
            raise
        return response


_open: ContextVar[Line | None] = ContextVar("line", default=None)


@contextmanager
def over(line: Line) -> Iterator[None]:
    """Have plugins of apprise go over *line*, and keep silent, in this thread while the block runs."""
    token = _open.set(line)
    try:
        with line:
            yield
    finally:
        _open.reset(token)


class _StandIn(ModuleType):
    """`requests` as a plugin sees it."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever requests has
        return getattr(requests, name)

    @staticmethod
    def request(method: str, url: str, **given: Any) -> requests.Response:  # noqa: ANN401
        """Ask over the line that is open, or as always where none is."""
        line = _open.get()
        asking = requests.request if line is None else line.request
        return asking(method, url, **given)


def _method(name: str, unnamed: tuple[str, ...]) -> Callable[..., requests.Response]:
    def ask(url: str, *body: Any, **given: Any) -> requests.Response:  # noqa: ANN401
        return _StandIn.request(name, url, **dict(zip(unnamed, body, strict=False)), **given)

    return ask


def _made() -> _StandIn:
    made = _StandIn("requests")
    for name, unnamed in _METHODS.items():
        setattr(made, name, _method(name, unnamed))
    return made


_STAND_IN: Final = _made()


class _Silence(logging.Filter):
    """Lets nothing through that is said while a line is open."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - logging's own signature
        """Say whether a record is let through."""
        return _open.get() is None


_SILENCE: Final = _Silence()


def silence() -> None:
    """Have those who write addresses into logs keep silent over open lines."""
    for name in _TALKERS:
        logging.getLogger(name).addFilter(_SILENCE)


def led(module: str) -> bool:
    """Lead the requests of a plugin, of this module or package, over lines; False where it makes none."""
    package = ".".join(module.split(".")[:3])
    found = [
        one
        for name, one in list(sys.modules.items())
        if (name == package or name.startswith(f"{package}.")) and hasattr(one, "requests")
    ]
    for one in found:
        one.requests = _STAND_IN  # type: ignore[attr-defined]
    return bool(found)


def _named_there(proxy: str) -> str:
    """Have a SOCKS proxy resolve names, so that none leaks."""
    return proxy.replace("socks5://", "socks5h://", 1)


def _seconds(text: str) -> float:
    """Read how long to wait; a date, or nothing, is no number of seconds."""
    return float(text) if text.isdecimal() else 0.0
