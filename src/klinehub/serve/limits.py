"""The limits of who comes in: how many, how large, how slow; and what every answer says to browsers.

1. A connection is taken while there are not too many of them, in all and from its address.
2. A request's head has to be there 10 s after it has begun, its body 10 s after its head; between two
   requests there are 75 s, and as many for taking an answer.
3. A head has at most 8 KiB, a body 64 KiB.
Times are those of the event loop. All of this leans on five methods of aiohttp's connection and one of its
requests; tests/security holds each of them to what is needed here.
"""

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, cast

import aiohttp
from aiohttp import http_parser, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

from klinehub.errors import DefinitionError

try:
    import resource
except ImportError:  # on Windows the number of files is not limited in this way
    resource = None  # type: ignore[assignment]

HEAD_WITHIN: Final = 10.0
BODY_WITHIN: Final = 10.0
IDLE: Final = 75.0
MOST_HEAD: Final = 8 * 1024
MOST_BODY: Final = 64 * 1024
MOST_HEADERS: Final = 64
# One address leaves a quarter of all connections to the others.
SHARE: Final = 0.75
# Files that a hub needs beside the connections of others: its own sockets, its store, its compiled kernels.
OWN_FILES: Final = 256
# What came before is wrong about chunks, multipart bodies and what it unpacks.
LEAST_AIOHTTP: Final = (3, 13, 3)
# Nothing of a page is taken from elsewhere, nothing here is shown inside of another page or read by one.
FOR_BROWSERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Not which versions of what.
    "Server": "klinehub",
}
_FULL: Final = "\r\n".join(
    (
        "HTTP/1.1 503 Service Unavailable",
        "Connection: close",
        "Content-Length: 0",
        "Retry-After: 1",
        *(f"{name}: {value}" for name, value in FOR_BROWSERS.items()),
        "\r\n",
    )
).encode()
_log: Final = logging.getLogger("klinehub.serve")

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Request(web.BaseRequest):
    """A request whose answer, whatever it is, says to browsers what they may do with it."""

    def __repr__(self) -> str:
        """Name no path: there may be a secret in it."""
        return f"<Request {self.method}>"

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.update(FOR_BROWSERS)


class Visit(web.RequestHandler):
    """One connection, watched: how long it takes and how much it sends."""

    __slots__ = ("_address", "_at_work", "_begun", "_door", "_more", "_telling", "_timer", "_unread")

    def __init__(self, door: "Door") -> None:
        super().__init__(
            door,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # none, as aiohttp's own servers are told too
            keepalive_timeout=IDLE,
            lingering_time=BODY_WITHIN,
            max_line_size=MOST_HEAD - 2,
            max_field_size=MOST_HEAD - 2,
            max_headers=MOST_HEADERS,
        )
        self._door = door
        self._address: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        # When the head that is not there yet began, and when the answer that is not taken yet.
        self._begun: float | None = None
        self._telling: float | None = None
        self._at_work = self._more = False
        self._unread = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or say that there are too many."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._door.take(address):
            refused = cast("asyncio.Transport", transport)
            refused.write(_FULL)
            refused.close()
            return
        self._address = address
        super().connection_made(transport)
        self._begun = self._loop.time()
        self._watch()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget a connection."""
        if self._address is not None:
            self._door.leave(self._address)
            self._address = None
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, as long as it is not more than one request may have."""
        if not data:
            # aiohttp itself goes on reading what it has.
            super().data_received(data)
            return
        if self._at_work:
            self._more = True
        else:
            if self._begun is None:
                self._begun = self._loop.time()
            if self._unread > MOST_HEAD + MOST_BODY:
                self.force_close()
                return
            self._unread += len(data)
        super().data_received(data)

    def start_work(self) -> None:
        """Count no time while a request is answered."""
        self._at_work, self._begun, self._unread = True, None, 0

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, and count again."""
        self._telling = self._loop.time()
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._begun = self._loop.time() if self._more else None
            self._telling, self._at_work, self._more = None, False, False

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats what was sent
    ) -> web.StreamResponse:
        """Answer what went wrong without repeating anything of the request."""
        if status >= 500:
            self.log_exception("", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("An answer was begun already.")
        answer = web.Response(status=status, text="Bad Request" if status == 400 else "Failed")
        answer.force_close()
        return answer

    def log_exception(self, *_: object, exc_info: object = None, **__: object) -> None:
        """Say what failed and where; neither path nor message, for these may have a secret in them."""
        trace = exc_info.__traceback__ if isinstance(exc_info, BaseException) else None
        where = traceback.extract_tb(trace)[-1:]
        place = "".join(f" at {Path(frame.filename).name}:{frame.lineno}" for frame in where)
        _log.error("A request could not be answered: %s%s", type(exc_info).__name__, place)

    def _watch(self) -> None:
        """Look again when something may be late: one timer a connection, none a request."""
        now = self._loop.time()
        soonest = now + HEAD_WITHIN
        for since, within in ((self._begun, HEAD_WITHIN), (self._telling, IDLE)):
            if since is not None and now >= since + within:
                if self.transport is not None:
                    self.transport.abort()
                self.force_close()
                return
            if since is not None:
                soonest = min(soonest, since + within)
        self._timer = self._loop.call_at(soonest, self._watch)


class Door(web.Server):
    """Makes the connections of all ports, at most *most* at a time.

    Raises DefinitionError for an aiohttp that is too old for strangers.
    """

    def __init__(self, answer: Answer, most: int) -> None:
        check_parser(aiohttp.__version__, compiled=is_compiled())
        # What nobody waits for any more is given up, above all an order that has not left yet.
        super().__init__(answer, request_factory=self._request, handler_cancellation=True)
        self.most = _affordable(most)
        self.refused = 0
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many connections there are."""
        return self._open.total()

    def __call__(self) -> Visit:
        """Make the next connection."""
        return Visit(self)

    def take(self, address: str) -> bool:
        """Whether one more connection from an address is taken, and count it."""
        if self.open >= self.most or self._open[address] >= max(1, int(self.most * SHARE)):
            self.refused += 1
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count a connection no more."""
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> Request:
        cast("Visit", protocol).start_work()
        loop = asyncio.get_running_loop()
        return Request(message, payload, protocol, writer, task, loop, client_max_size=MOST_BODY)


async def oversize(request: web.BaseRequest) -> web.Response | None:
    """Read a request's body; gives the answer to one that is too large or too slow, None if it is fine."""
    head = len(request.raw_path) + sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    status = 431 if head > MOST_HEAD else await _body(request) if request.body_exists else 0
    if not status:
        return None
    answer = web.Response(status=status)
    answer.force_close()
    return answer


async def _body(request: web.BaseRequest) -> int:
    """Read a body; gives the status of what is wrong with it, 0 for nothing."""
    if (request.content_length or 0) > MOST_BODY:
        return 413
    try:
        async with asyncio.timeout(BODY_WITHIN):
            await request.read()
    except web.HTTPRequestEntityTooLarge:
        return 413
    except web.RequestPayloadError:
        return 400
    except TimeoutError:
        return 408
    return 0


def check_parser(version: str, *, compiled: bool) -> None:
    """Refuse an aiohttp that reads requests wrongly, or slowly."""
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())
    if numbers < LEAST_AIOHTTP:
        raise DefinitionError(
            f"aiohttp {version} lets requests through that it should not: install 3.13.3 or newer."
        )
    if not compiled:
        raise DefinitionError(
            "aiohttp has no compiled parser here, and its other one is no match for what strangers send: "
            "install its wheel (pip install --only-binary aiohttp aiohttp), and unset AIOHTTP_NO_EXTENSIONS."
        )


def is_compiled() -> bool:
    """Whether requests are read by aiohttp's compiled parser."""
    return http_parser.HttpRequestParser is not http_parser.HttpRequestParserPy


def _affordable(most: int) -> int:
    """Give how many connections there are files for, after asking for more of these."""
    if resource is None:
        return most
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + OWN_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= most + OWN_FILES:
        return most
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return max(1, min(most, max(soft, wanted) - OWN_FILES))
