"""The WebSocket routes and the control protocol of one connection."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from aiohttp import WSMsgType, web

from klinehub.dialect.board import Board
from klinehub.dialect.digits import U8
from klinehub.dialect.wire import PING, frame
from klinehub.domain.clock import Clock

_PATH: Final = re.compile(r"(?:/(?P<route>market|public|private))?/(?P<kind>ws|stream)(?:/(?P<names>.*))?")
_METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_MOST_ID: Final = 2**64
_LONGEST_ID: Final = 36
_POLICY: Final = 1008
# What a page calls the protocol when it has to name one.
SUBPROTOCOL: Final = "klinehub"
MOST_MESSAGE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of a connection; seconds are real seconds.

    `burst` messages may come at once, after that `rate` a second. `backlog` is how many unsent bytes a
    connection may hold before it is cut. `legacy_silent` mutes everything that is not on /market, and with
    `any_id` the id of a request need not be a number.
    """

    streams: int = 1024
    burst: int = 15
    rate: float = 10.0
    ping_every: float = 180.0
    pong_within: float = 600.0
    lifetime: float = 86_400.0
    backlog: int = 8 * 2**20
    legacy_silent: bool = True
    any_id: bool = False


# Spot: no routes, and the ids of requests may be text or null.
SPOT_RULES: Final = Rules(
    burst=5, rate=5.0, ping_every=20.0, pong_within=60.0, legacy_silent=False, any_id=True
)


class _Fault(Exception):
    """A request that is answered with an error frame."""

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message
        super().__init__(message)


class _End(Exception):
    """A connection that the exchange ends after what it has sent."""


class Tap(Protocol):
    """Something between the exchange and its connections that may change what they get."""

    def admit(self, request: web.BaseRequest) -> web.Response | None:
        """Give the answer to a handshake that is turned away, None to let it in."""

    def passed(self, connection: "Connection", data: bytes) -> bytes:
        """Give what a connection gets in place of these frames; nothing is fine."""

    def pongs(self, connection: "Connection") -> bool:
        """Say whether a connection's ping is answered."""

    def refusal(self, connection: "Connection", names: Sequence[str]) -> str:
        """Say why a subscription with these names is refused, nothing to take it."""


class Streams:
    """The WebSocket side of an exchange: connections that follow streams of a board, or of a `tap` on it."""

    def __init__(self, board: Board, clock: Clock, rules: Rules) -> None:
        self.board = board
        self.clock = clock
        self.rules = rules
        self.connections: set[Connection] = set()
        self.cut_for_backlog = 0
        self.tap: Tap | None = None

    def application(self) -> web.Application:
        """Make the aiohttp application with every route."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._connect)
        app.on_shutdown.append(self._close_all)
        return app

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        return await self.connect(request, request.path)

    async def connect(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Serve one connection at *path* until it ends."""
        match = _PATH.fullmatch(path.rstrip("/"))
        if match is None:
            return web.Response(status=404, text="Not Found")
        turned_away = None if self.tap is None else self.tap.admit(request)
        if turned_away is not None:
            return turned_away
        socket = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=MOST_MESSAGE, protocols=(SUBPROTOCOL,)
        )
        await socket.prepare(request)
        transport = request.transport
        if transport is None:
            return socket
        connection = self.connection(socket, transport, match["route"], combined=match["kind"] == "stream")
        self.connections.add(connection)
        try:
            await connection.run(_names(match["names"] or "", request.query.get("streams", "")))
        finally:
            self.connections.discard(connection)
            self.board.leave(connection)
        return socket

    def connection(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        route: str | None,
        *,
        combined: bool,
    ) -> "Connection":
        """Make the connection of a client that was let in."""
        return Connection(self, socket, transport, route, combined=combined)

    async def _close_all(self, _: web.Application) -> None:
        await asyncio.gather(*(connection.close(1001, "Going away") for connection in list(self.connections)))


def _names(path: str, query: str) -> list[str]:
    """Give the stream names of a URL; a bare number in the path is a client's own counter."""
    names = [name for name in path.split("/") if name and not name.isdecimal()]
    return names + [name for name in query.split("/") if name]


class Connection:
    """One client: what it follows, its pace, and the way frames reach it."""

    def __init__(
        self,
        streams: Streams,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        route: str | None,
        *,
        combined: bool,
    ) -> None:
        self.combined = combined
        self.route = route
        self.wanted: U8 = np.zeros(64, np.uint8)
        self.names: dict[str, None] = {}
        self._streams = streams
        self._socket = socket
        self._transport = transport
        self._silent = streams.rules.legacy_silent and route != "market"
        self._loop = asyncio.get_running_loop()
        self._tokens = float(streams.rules.burst)
        self._refilled = self.heard = self._loop.time()

    @property
    def peer(self) -> tuple[str, int]:
        """The client's address."""
        return tuple(self._transport.get_extra_info("peername")[:2])

    def deliver(self, data: bytes) -> None:
        """Send ready frames of streams, as far as the tap lets them through."""
        tap = self._streams.tap
        if tap is not None:
            data = tap.passed(self, data)
        self.send(data)

    def send(self, data: bytes) -> None:
        """Send ready frames, or cut the connection when it has stopped reading."""
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > self._streams.rules.backlog:
            self._streams.cut_for_backlog += 1
            self._transport.abort()
            return
        self._transport.write(data)

    async def close(self, code: int, reason: str) -> None:
        """End the connection with a close frame."""
        await self._socket.close(code=code, message=reason.encode())

    async def run(self, names: Sequence[str]) -> None:
        """Serve the connection until either side ends it."""
        rules = self._streams.rules
        born = self._loop.time()
        beat = self._loop.create_task(self._beat(born))
        try:
            self._subscribe(names)
            while not self._socket.closed:
                message = await self._socket.receive()
                if message.type in {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR}:
                    break
                self._pace(rules)
                await self._hear(message.type, message.data)
        except _End as end:
            await self.close(_POLICY, str(end))
        except ConnectionError:
            # The client went away while it was answered: there is nobody to tell.
            self.abort()
        except _Fault:
            # Only a URL with too many names comes here: a control message gets its error frame.
            await self.close(_POLICY, "Invalid request")
        finally:
            beat.cancel()

    async def _beat(self, born: float) -> None:
        """Ping now and then, and end a connection that is too old or has stopped answering."""
        rules = self._streams.rules
        while True:
            left = born + rules.lifetime - self._loop.time()
            await asyncio.sleep(min(rules.ping_every, max(left, 0.0)))
            if self._loop.time() >= born + rules.lifetime:
                await self.close(1001, "Connection lifetime is over")
                return
            if self._loop.time() - self.heard > rules.pong_within:
                self.abort()
                return
            self.ping()

    def ping(self) -> None:
        """Ask the client for a sign of life; whatever it says next is one."""
        self.send(frame(str(self._streams.clock.now()).encode(), PING))

    def abort(self) -> None:
        """End the connection without a word."""
        self._transport.abort()

    def _pace(self, rules: Rules) -> None:
        """Count a message against the connection's allowance."""
        now = self._loop.time()
        self._tokens = min(self._tokens + (now - self._refilled) * rules.rate, float(rules.burst))
        self._refilled = self.heard = now
        self._tokens -= 1.0
        if self._tokens < 0.0:
            raise _End("Too many requests")

    async def _hear(self, kind: WSMsgType, data: Any) -> None:  # noqa: ANN401 - text or bytes, as it came
        if kind is WSMsgType.PING:
            if self._streams.tap is None or self._streams.tap.pongs(self):
                await self._socket.pong(data)
        elif kind in {WSMsgType.TEXT, WSMsgType.BINARY}:
            self._control(data)

    def _control(self, text: str | bytes) -> None:
        """Answer one control message."""
        request: Any = None
        try:
            request = _parsed(text, any_id=self._streams.rules.any_id)
            answer = {"result": self._obey(request), "id": request["id"]}
        except _Fault as fault:
            answer = {"error": {"code": fault.code, "msg": fault.message}}
            if isinstance(request, dict) and _is_id(request.get("id"), any_id=self._streams.rules.any_id):
                answer["id"] = request["id"]
            self.send(frame(msgspec.json.encode(answer)))
            if fault.code == 4:
                raise _End("Invalid request") from None
            return
        self.send(frame(msgspec.json.encode(answer)))

    def _obey(self, request: dict[str, Any]) -> Any:  # noqa: ANN401 - the result is whatever JSON the method has
        method, params = request["method"], request.get("params", [])
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.names)
        if method == "GET_PROPERTY":
            _property(params, 1)
            return self.combined
        if method == "SET_PROPERTY":
            _property(params, 2)
            if not isinstance(params[1], bool):
                raise _Fault(1, "Invalid value type: expected Boolean")
            self.combined = params[1]
            return None
        if not isinstance(params, list) or not all(isinstance(name, str) for name in params):
            raise _Fault(2, "Invalid request: params must be an array of strings")
        refusal = "" if self._streams.tap is None else self._streams.tap.refusal(self, params)
        if method == "SUBSCRIBE" and refusal:
            raise _Fault(2, refusal)
        self._subscribe(params) if method == "SUBSCRIBE" else self._unsubscribe(params)
        return None

    def _subscribe(self, names: Sequence[str]) -> None:
        """Follow names, known or not; one stream too many costs the whole connection."""
        for name in names:
            self.names[name] = None
            if len(self.names) > self._streams.rules.streams:
                raise _Fault(4, "Too many subscriptions")
            if not self._silent:
                self._streams.board.follow(self, name)

    def _unsubscribe(self, names: Sequence[str]) -> None:
        for name in names:
            self.names.pop(name, None)
            self._streams.board.unfollow(self, name)


def _is_id(value: object, *, any_id: bool) -> bool:
    if any_id and (value is None or (isinstance(value, str) and len(value) <= _LONGEST_ID)):
        return True
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_ID


def _parsed(text: str | bytes, *, any_id: bool) -> dict[str, Any]:
    """Read a control message; raises the fault that the exchange would name."""
    try:
        request = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _Fault(3, f"Invalid JSON: {error}") from None
    if not isinstance(request, dict) or "method" not in request:
        raise _Fault(2, "Invalid request: missing field `method`")
    if request["method"] not in _METHODS:
        known = ", ".join(f"`{name}`" for name in _METHODS)
        raise _Fault(2, f"Invalid request: unknown variant `{request['method']}`, expected one of {known}")
    if not _is_id(request.get("id"), any_id=any_id):
        raise _Fault(2, "Invalid request: request ID must be an unsigned integer")
    return request


def _property(params: object, size: int) -> None:
    if not isinstance(params, list) or len(params) != size:
        raise _Fault(2, "Invalid request: wrong number of parameters")
    if params[0] != "combined":
        raise _Fault(0, f"Unknown property: {params[0]}")
