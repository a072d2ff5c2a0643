"""What every feed stands on: the network it is given."""

from collections.abc import Callable
from typing import Protocol

import aiohttp
from picows import WSListener, WSTransport


class Network(Protocol):
    """The only way out: real sockets in production, in-memory ones in tests and benchmarks."""

    def session(self, url: str, *, timeout: float) -> aiohttp.ClientSession:
        """Give a new HTTP session for requests to *url* only; the caller closes it."""
        ...

    async def open_socket(self, url: str, listener_factory: Callable[[], WSListener]) -> WSTransport:
        """Open a WebSocket to *url*; raises `Unreachable`, `ProxyError` or `Blocked`."""
        ...

    def via(self, url: str) -> str | None:
        """Name the proxy that connections to *url* take, without its credentials; None if direct."""
        ...
