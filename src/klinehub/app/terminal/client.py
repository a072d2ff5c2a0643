"""The client of a board: listens to a hub through its local door, or where it is served, and asks it.

What was lost is connected anew after a pause that grows from try to try, as long as somebody listens; the
pauses are jittered, so that many boards do not come back at one moment.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec

from klinehub.app.terminal.messages import Message, decode
from klinehub.dialect.stream import SUBPROTOCOL
from klinehub.errors import DataError, DefinitionError, FeedError, KlinehubError, NoHub, Unreachable
from klinehub.serve.board.clients import TOO_SLOW
from klinehub.serve.board.live import GOING_AWAY, LIVE
from klinehub.serve.board.messages import PROTOCOL, Hello, SparkAsked, ViewAsked
from klinehub.serve.local import LIVE as LOCAL_LIVE

CONNECT_WITHIN: Final = 10.0
# A hub tells of its health each second: one that says nothing for so long is gone, whatever the socket says.
QUIET: Final = 15.0
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 15.0
# A table of 5,000 symbols by 40 columns.
LARGEST: Final = 64 * 1024 * 1024
# Any name does at a door.
_DOOR: Final = "http://hub"
_NORMAL: Final = 1000
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Place(NamedTuple):
    """Where a hub is asked: at its door's file, or at an address with the secret that lets in."""

    path: Path | None = None
    url: str = ""
    token: str = ""

    @property
    def name(self) -> str:
        """What to call it, without any secret."""
        return str(self.path) if self.path is not None else urlsplit(self.url).netloc.rpartition("@")[2]


class Link(NamedTuple):
    """The line to the hub: up, or down because of this *error* and tried again in *pause* seconds."""

    up: bool
    error: KlinehubError | None = None
    pause: float = 0.0
    tries: int = 0


class Bar(msgspec.Struct, frozen=True):
    """A closed bar of one symbol."""

    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class BoardClient:
    """A line to the hub at *place* for the `async with` block; *jitter* gives numbers in [0, 1).

    Entering connects, and raises NoHub or Unreachable where nobody answers, DefinitionError for an address
    or a secret that is wrong, and FeedError for what answers and is no board.
    """

    def __init__(self, place: Place, jitter: Callable[[], float], *, quiet: float = QUIET) -> None:
        self._place = place
        self._jitter = jitter
        self._quiet = quiet
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> Self:
        path = self._place.path
        connector = None if path is None else aiohttp.UnixConnector(str(path))
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=CONNECT_WITHIN)
        )
        try:
            self._socket = await self._connected()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._session is not None:
            await self._session.close()

    async def heard(self) -> AsyncIterator[Message | Link]:
        """Give what the hub tells and what becomes of the line, for ever."""
        tries = 0
        while True:
            try:
                if self._socket is None:
                    self._socket = await self._connected()
                yield Link(up=True)
                async for message in self._told(self._socket):
                    tries = 0
                    yield message
                error = _ended(self._socket)
            except KlinehubError as exc:
                error = exc
            finally:
                await self._drop()
            tries += 1
            pause = self._pause(tries)
            yield Link(up=False, error=error, pause=pause, tries=tries)
            await asyncio.sleep(pause)

    async def send(self, wish: ViewAsked | SparkAsked) -> None:
        """Ask for something; while the line is down it is left out, and to be asked after the next hello."""
        if self._socket is not None and not self._socket.closed:
            with suppress(ConnectionError):
                await self._socket.send_str(msgspec.json.encode(wish).decode())

    async def bars(self, symbol: str, timeframe: str, limit: int) -> list[Bar]:
        """Ask for the newest closed bars of a symbol, oldest first; raises what entering does."""
        local = self._place.path is not None
        params = {"symbol": symbol, "timeframe": timeframe, "limit": str(limit)}
        body = await self._get("/klines" if local else "/api/v1/klines", params)
        if local:
            rows = msgspec.json.decode(body, type=list[list[str | int]])
            return [Bar(int(row[0]), *(float(cell) for cell in row[1:6])) for row in rows]
        return msgspec.json.decode(body, type=_Bars).klines

    async def _told(self, socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[Message]:
        """Give what comes until the line ends; raises Unreachable for one that has gone quiet."""
        while True:
            try:
                frame = await socket.receive(timeout=self._quiet)
            except TimeoutError as exc:
                raise Unreachable(f"Nothing was heard for {self._quiet:g} s.") from exc
            if frame.type is not aiohttp.WSMsgType.TEXT:
                return
            message = decode(frame.data)
            if isinstance(message, Hello) and message.protocol != PROTOCOL:
                raise DataError(
                    f"The hub speaks protocol {message.protocol} of the board and this is {PROTOCOL}: use "
                    "the same version of klinehub here and there."
                )
            if message is not None:
                yield message

    async def _connected(self) -> aiohttp.ClientWebSocketResponse:
        if self._session is None:
            raise RuntimeError("a client is used inside its `async with` block")
        # What crosses a network is worth packing, what stays in the machine is not.
        local = self._place.path is not None
        try:
            return await self._session.ws_connect(
                self._at(LOCAL_LIVE if self._place.path is not None else LIVE),
                headers=self._shown(),
                protocols=() if local else (SUBPROTOCOL,),
                max_msg_size=LARGEST,
                compress=0 if local else 15,
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
            )
        except aiohttp.WSServerHandshakeError as exc:
            raise self._refused(exc.status) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise self._away(exc) from exc

    async def _get(self, path: str, params: dict[str, str]) -> bytes:
        if self._session is None:
            raise RuntimeError("a client is used inside its `async with` block")
        try:
            async with self._session.get(self._at(path), params=params, headers=self._shown()) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError) as exc:
            raise self._away(exc) from exc
        if answer.status == 200:
            return body
        with suppress(msgspec.DecodeError):
            raise DefinitionError(msgspec.json.decode(body, type=_Refusal).message)
        raise self._refused(answer.status)

    def _at(self, path: str) -> str:
        return f"{_DOOR if self._place.path is not None else self._place.url.rstrip('/')}{path}"

    def _shown(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._place.token}"} if self._place.token else {}

    def _away(self, exc: Exception) -> KlinehubError:
        """Say that nobody answers."""
        if self._place.path is not None:
            return NoHub(f"No hub is running here ({self._place.path}): start one with `klinehub run`.")
        said = type(exc).__name__ if isinstance(exc, TimeoutError) or not str(exc) else str(exc)
        return Unreachable(
            f"{self._place.name} does not answer ({said}): see that the hub runs and is served."
        )

    def _refused(self, status: int) -> KlinehubError:
        """Say what an answer that is not the wanted one means."""
        name = self._place.name
        if status == 401:
            return DefinitionError(
                f"{name} lets nobody in without the hub's secret: give it as "
                "KLINEHUB_SERVE_TOKEN, `serve.token` or --token."
            )
        if status == 421:
            return DefinitionError(
                f"{name} is no name that the hub answers to: add it to the hub's `serve.allowed_hosts`."
            )
        if status == 503:
            return FeedError(f"The hub at {name} is still warming up, or has no room for another line.")
        return FeedError(
            f"What answers at {name} (status {status}) serves no board: is it klinehub's address?"
        )

    def _pause(self, tries: int) -> float:
        """Give how long to wait before the next try, in seconds."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries - 1, 10))
        return longest * (0.5 + 0.5 * self._jitter())

    async def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()


class _Bars(msgspec.Struct):
    klines: list[Bar]


class _Refusal(msgspec.Struct):
    message: str


def place_of(url: str, token: str) -> Place:
    """Give the place of an address such as http://127.0.0.1:8787; raises DefinitionError for what is none."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, fits = urlsplit(""), False
    if not fits:
        raise DefinitionError(
            "--url is where a hub is served, written like http://127.0.0.1:8787 or https://hub.example/c/SECRET."
        )
    return Place(None, parts._replace(scheme=_SCHEMES[parts.scheme], query="", fragment="").geturl(), token)


def _ended(socket: aiohttp.ClientWebSocketResponse) -> KlinehubError:
    """Say in words how a line ended."""
    if socket.close_code == TOO_SLOW:
        return Unreachable("What was told was not taken in time: the line or this machine is too slow.")
    if socket.close_code in {_NORMAL, GOING_AWAY}:
        return Unreachable("The hub has gone away.")
    return Unreachable("The line broke.")
