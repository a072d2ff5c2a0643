"""Virtual time: an event loop that never waits, and an in-memory network under unmodified programs.

A seed decides every delay. Equal seeds give equal runs as long as the program takes its time from the
loop or a `Clock` on it and its randomness from an argument.
"""

import asyncio
import errno
import itertools
import selectors
import socket
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple, cast

import aiohttp
import numpy as np
import picows
from aiohttp.client_proto import ResponseHandler

from klinehub.errors import DefinitionError, KlinehubError
from klinehub.feed.network import CONNECT_TIMEOUT, CONNECTIONS, SOCKET_SETTINGS, explain, http_session
from klinehub.sim.wire import DIGITS, Address, Delay, Link, Pipe, Wire, WireSocket, between

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ANYWHERE: Final = "0.0.0.0"  # noqa: S104 - nothing is bound: it is the name of "any address" in memory
FIRST_SERVER_PORT: Final = 40_000
FIRST_CLIENT_PORT: Final = 50_000
USUAL_DELAY: Final = between(0.005, 0.025)


class Deadlock(KlinehubError):
    """Every task waits for another: on virtual time nothing can ever happen again."""


class VirtualTime(selectors.SelectSelector):
    """Lets time pass instead of waiting for it."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.now = start

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Move the time on by *timeout* seconds; raises `Deadlock` when nothing is planned at all."""
        if timeout is None:
            raise Deadlock(_stuck())
        if timeout > 0:
            # At least a nanosecond, or a wait for less would begin anew for ever.
            self.now = round(self.now + max(timeout, 10.0**-DIGITS), DIGITS)
        return []


class SimServer(asyncio.AbstractServer):
    """A listening address of the in-memory network."""

    def __init__(self, loop: "SimLoop", address: Address) -> None:
        self._loop = loop
        self._address = address
        self.sockets: tuple[WireSocket, ...] = (WireSocket(address),)

    def close(self) -> None:
        """Accept no more connections; those that are open go on."""
        self._loop.listeners.pop(self._address, None)
        self.sockets = ()

    def is_serving(self) -> bool:
        """Say whether connections are accepted."""
        return self._address in self._loop.listeners

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop it serves on."""
        return self._loop

    async def wait_closed(self) -> None:
        """Return at once: closing takes no time."""

    async def start_serving(self) -> None:
        """Do nothing: it serves since it was made."""

    async def serve_forever(self) -> None:
        """Serve until cancelled."""
        await self._loop.create_future()


class SimLoop(asyncio.SelectorEventLoop):
    """An event loop whose time begins at *start* seconds and jumps from one event to the next.

    `hosts` are the names that resolve besides localhost, `dark` the addresses that never answer a new
    connection, `links` the connections in the order they were opened; all may be changed while it runs.
    *delay* applies to connections opened later.
    """

    def __init__(self, *, seed: int = 0, start: float = 0.0, delay: Delay = USUAL_DELAY) -> None:
        self._virtual = VirtualTime(start)
        super().__init__(self._virtual)
        self.seed = seed
        self.delay = delay
        self.hosts: dict[str, str] = {}
        self.dark: set[Address] = set()
        self.listeners: dict[Address, Callable[[], asyncio.BaseProtocol]] = {}
        self.failures: list[BaseException] = []
        self._links: list[Link] = []
        self._numbers = itertools.count()
        self._ports = itertools.count(FIRST_SERVER_PORT)
        self.set_exception_handler(_keep_failure)

    @property
    def links(self) -> list[Link]:
        """The connections that are open, or being opened, in order."""
        self._links = [link for link in self._links if not link.over]
        return self._links

    def time(self) -> float:
        """Give the virtual time in seconds."""
        return self._virtual.now

    def block(self, seconds: float) -> None:
        """Let time pass inside of the callback that is running, as a long computation does."""
        self._virtual.now = round(self._virtual.now + seconds, DIGITS)

    def run_in_executor(
        self,
        executor: Executor | None,  # noqa: ARG002 - asyncio's own signature
        func: Callable[[*Ts], T],
        *args: *Ts,
    ) -> "asyncio.Future[T]":
        """Run *func* here and now: threads would make the order of things depend on the machine."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is raised where the future is awaited
            future.set_exception(error)
        return future

    async def getaddrinfo(  # type: ignore[override]
        self, host: str | bytes | None, port: int | str | None, **_: object
    ) -> list[Any]:
        """Resolve addresses, localhost and the names in `hosts`; others do not exist."""
        name = host.decode() if isinstance(host, bytes) else (host or "localhost")
        found = "127.0.0.1" if name == "localhost" else self.hosts.get(name, name)
        try:
            ip_address(found)
        except ValueError:
            raise socket.gaierror(socket.EAI_NONAME, f"{name} does not resolve") from None
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (found, int(port or 0)))]

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **settings: object,
    ) -> asyncio.Server:
        """Listen on an address of the in-memory network; port 0 takes a free one."""
        _no_tls(settings.get("ssl"))
        info = await self.getaddrinfo(host or ANYWHERE, port or next(self._ports))
        address = cast("Address", info[0][4])
        if address in self.listeners:
            raise OSError(errno.EADDRINUSE, f"address {address} is already in use")
        self.listeners[address] = protocol_factory
        return cast("asyncio.Server", SimServer(self, address))

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        **settings: object,
    ) -> tuple[Wire, asyncio.BaseProtocol]:
        """Connect over the in-memory network; takes a round trip."""
        _no_tls(settings.get("ssl"))
        info = await self.getaddrinfo(host, port)
        client, server = self._lay(cast("Address", info[0][4]))
        opened: asyncio.Future[None] = self.create_future()
        client.request(lambda: self._accept(client, server), opened)
        try:
            await opened
        except asyncio.CancelledError:
            client.abort()
            raise
        protocol = protocol_factory()
        client.connect(protocol)
        return client, protocol

    def _lay(self, server: Address) -> tuple[Wire, Wire]:
        """Lay a link from a new client address to *server*, with delays of its own seed."""
        number = next(self._numbers)
        up, down = (
            Pipe(self, np.random.default_rng([self.seed, number, way]), self.delay) for way in range(2)
        )
        client = ("127.0.0.1", FIRST_CLIENT_PORT + number)
        self.links.append(Link(number, up, down, client, server))
        return Wire(self, up, down, client, server), Wire(self, down, up, server, client)

    def _accept(self, client: Wire, server: Wire) -> None:
        """Answer a connection that reached the server's side."""
        address = cast("Address", server.get_extra_info("sockname"))
        if address in self.dark:
            return
        factory = self.listeners.get(address) or self.listeners.get((ANYWHERE, address[1]))
        if factory is None:
            refusal = ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {address}")
            server.answer(lambda: client.lose(refusal))
            server.lose(None)
        else:
            server.answer(client.admit)
            server.connect(factory())


class SimConnector(aiohttp.TCPConnector):
    """aiohttp's connector without the sockets that it insists on opening itself."""

    async def _wrap_create_connection(
        self,
        *args: object,
        addr_infos: list[Any],
        req: aiohttp.ClientRequest,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
        client_error: type[Exception] = aiohttp.ClientConnectorError,
        **kwargs: object,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        host, port = addr_infos[0][4][:2]
        try:
            async with asyncio.timeout(timeout.sock_connect):
                settings: dict[str, Any] = {"host": host, "port": port, "ssl": kwargs.get("ssl")}
                factory = cast("Callable[[], ResponseHandler]", args[0])
                return await self._loop.create_connection(factory, **settings)
        except TimeoutError:
            raise
        except OSError as error:
            raise client_error(req.connection_key, error) from error


class SimNetwork:
    """The network of a `SimLoop`, for everything that takes a `Network`."""

    def via(self, url: str) -> str | None:  # noqa: ARG002 - the same for every url
        """Name no proxy: there is none."""
        return None

    def session(self, url: str, *, timeout: float) -> aiohttp.ClientSession:  # noqa: ARG002 - as above
        """Give a new HTTP session on virtual time; the caller closes it."""
        resolver = aiohttp.ThreadedResolver()
        return http_session(SimConnector(limit=CONNECTIONS, resolver=resolver, use_dns_cache=False), timeout)

    async def open_socket(
        self, url: str, listener_factory: Callable[[], picows.WSListener]
    ) -> picows.WSTransport:
        """Open a WebSocket to *url*; raises `Unreachable` or `Blocked`."""
        # picows measures idleness by the machine's clock; pings at fixed intervals need no clock.
        settings = {**SOCKET_SETTINGS, "auto_ping_strategy": picows.WSAutoPingStrategy.PING_PERIODICALLY}
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                transport, _ = await picows.ws_connect(
                    listener_factory, url, use_aiofastnet=False, **settings
                )
        except (OSError, picows.WSError) as error:
            raise explain(error, url, None) from error
        return transport


def run(
    main: Callable[[SimLoop], Coroutine[Any, Any, T]],
    *,
    seed: int = 0,
    start: float = 0.0,
    delay: Delay = USUAL_DELAY,
) -> T:
    """Run *main* on a new `SimLoop` and give its result; what fails in the background is raised too."""
    with asyncio.Runner(loop_factory=lambda: SimLoop(seed=seed, start=start, delay=delay)) as runner:
        loop = cast("SimLoop", runner.get_loop())
        result = runner.run(main(loop))
    if loop.failures:
        raise loop.failures[0]
    return result


def _keep_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Keep an error that nothing awaits, so that `run` can raise it."""
    error = context.get("exception") or RuntimeError(context.get("message", "unknown failure"))
    cast("SimLoop", loop).failures.append(error)


def _no_tls(ssl: object) -> None:
    if ssl:
        raise DefinitionError("The in-memory network speaks no TLS: use http:// and ws:// addresses.")


def _stuck() -> str:
    """Describe who waits where."""
    tasks = sorted(asyncio.all_tasks(), key=lambda task: (len(task.get_name()), task.get_name()))
    lines = [f"  {task.get_name()} waits in {_place(task)}" for task in tasks]
    return "\n".join(["Nothing is planned and these tasks wait for ever:", *lines])


def _place(task: "asyncio.Task[Any]") -> str:
    frames = task.get_stack(limit=1)
    if not frames:
        return "nothing that Python can show"
    code = frames[0].f_code
    return f"{code.co_qualname} ({Path(code.co_filename).name}:{frames[0].f_lineno})"
