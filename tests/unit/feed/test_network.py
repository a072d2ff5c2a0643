"""Real sockets, direct and through local proxies: what they reach and what they say when they fail."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp import web
from picows import WSFrame, WSListener, WSMsgType, WSTransport
from tests.proxies import ConnectProxy, Proxy, SocksProxy, running

from klinehub.domain.clock import Clock
from klinehub.errors import Blocked, DefinitionError, ProxyError, Unreachable
from klinehub.feed.budget import WeightGate
from klinehub.feed.network import (
    RealNetwork,
    checked_proxy,
    is_direct,
    is_loopback,
    proxy_from_env,
    redact,
)
from klinehub.feed.rest import RestClient

KINDS: list[Callable[..., Proxy]] = [ConnectProxy, SocksProxy]
SCHEMES = {ConnectProxy: "http", SocksProxy: "socks5h"}
LOGIN = "mia:p@ss:w/rd"
ESCAPED = "mia:p%40ss%3Aw%2Frd"


async def time_of_day(request: web.Request) -> web.Response:
    return web.json_response({"serverTime": 1})


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(message.data)
    return ws


async def forbidden(request: web.Request) -> web.Response:
    return web.Response(status=451)


@asynccontextmanager
async def exchange(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve /time, /ws and /forbidden on a free port of loopback."""
    app = web.Application()
    app.add_routes([web.get("/time", time_of_day), web.get("/ws", echo), web.get("/forbidden", forbidden)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def trusted(*names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Give the TLS settings of a server with a certificate for *names*, and of a client that trusts it."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(*names).configure_cert(server)
    authority.configure_trust(client)
    return server, client


def client(network: RealNetwork, url: str, *, timeout: float = 3.0) -> RestClient:
    clock = Clock(1_791_360_000_000 + 10_000, 1.0, asyncio.get_running_loop().time)
    return RestClient(url, network, WeightGate(clock), clock, timeout=timeout)


async def ask(network: RealNetwork, url: str) -> bytes:
    rest = client(network, url)
    try:
        return await rest.get("/time", {}, weight=1)
    finally:
        await rest.close()


class Echoed(WSListener):
    def __init__(self) -> None:
        self.text: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, "kline")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self.text.set_result(frame.get_payload_as_utf8_text())
            transport.disconnect()


async def talk(network: RealNetwork, url: str) -> str:
    """Send a word over a new WebSocket and give what comes back."""
    made: list[Echoed] = []

    def listener() -> Echoed:
        made.append(Echoed())
        return made[0]

    transport = await network.open_socket(url, listener)
    await transport.wait_disconnected()
    return await made[0].text


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_rest_and_websocket_without_a_proxy() -> None:
    async with exchange() as port:
        network = RealNetwork()

        assert await ask(network, f"http://127.0.0.1:{port}") == b'{"serverTime": 1}'
        assert await talk(network, f"ws://127.0.0.1:{port}/ws") == "kline"
        assert network.via(f"http://127.0.0.1:{port}") is None


@pytest.mark.parametrize("kind", KINDS)
async def test_rest_and_websocket_go_through_a_proxy_that_resolves_names(kind: type[Proxy]) -> None:
    async with exchange() as port, running(kind()) as proxy:
        network = RealNetwork(f"{SCHEMES[kind]}://127.0.0.1:{proxy.port}")

        assert await ask(network, f"http://fapi.test:{port}") == b'{"serverTime": 1}'
        assert await talk(network, f"ws://fstream.test:{port}/ws") == "kline"
        assert proxy.asked == [("fapi.test", port), ("fstream.test", port)]


@pytest.mark.parametrize("kind", KINDS)
async def test_tls_is_verified_through_a_proxy(kind: type[Proxy]) -> None:
    server, trusting = trusted("fapi.test", "fstream.test")
    async with exchange(server) as port, running(kind()) as proxy:
        url = f"{SCHEMES[kind]}://127.0.0.1:{proxy.port}"
        network = RealNetwork(url, tls=trusting)

        assert await ask(network, f"https://fapi.test:{port}") == b'{"serverTime": 1}'
        assert await talk(network, f"wss://fstream.test:{port}/ws") == "kline"
        for target in (f"https://other.test:{port}", f"wss://other.test:{port}/ws"):
            with pytest.raises(Unreachable, match="certificate that is not valid"):
                await (ask(network, target) if target.startswith("https") else talk(network, target))
        with pytest.raises(Unreachable, match="certificate that is not valid"):
            await ask(RealNetwork(url), f"https://fapi.test:{port}")


async def test_a_self_signed_exchange_is_refused_without_a_proxy_too() -> None:
    server, trusting = trusted("127.0.0.1")
    async with exchange(server) as port:
        assert await talk(RealNetwork(tls=trusting), f"wss://127.0.0.1:{port}/ws") == "kline"
        with pytest.raises(Unreachable, match="certificate that is not valid"):
            await ask(RealNetwork(), f"https://127.0.0.1:{port}")
        with pytest.raises(Unreachable, match="certificate that is not valid"):
            await talk(RealNetwork(), f"wss://127.0.0.1:{port}/ws")


@pytest.mark.parametrize("kind", KINDS)
async def test_loopback_and_excluded_hosts_never_go_through_a_proxy(kind: type[Proxy]) -> None:
    async with exchange() as port, running(kind()) as proxy:
        network = RealNetwork(f"{SCHEMES[kind]}://127.0.0.1:{proxy.port}", direct=["10.0.0.0/8"])

        await ask(network, f"http://127.0.0.1:{port}")
        await talk(network, f"ws://localhost:{port}/ws")
        assert proxy.asked == []
        assert network.via("http://10.1.2.3/") is None
        assert network.via("http://11.1.2.3/") is not None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_login_is_sent_and_a_wrong_one_is_said_so(kind: type[Proxy]) -> None:
    async with exchange() as port, running(kind(LOGIN)) as proxy:
        scheme, where = SCHEMES[kind], f"127.0.0.1:{proxy.port}"
        right = RealNetwork(f"{scheme}://{ESCAPED}@{where}")

        await ask(right, f"http://fapi.test:{port}")
        assert await talk(right, f"ws://fapi.test:{port}/ws") == "kline"
        for wrong in (f"{scheme}://mia:secret@{where}", f"{scheme}://{where}"):
            for attempt in (
                ask(RealNetwork(wrong), f"http://fapi.test:{port}"),
                talk(RealNetwork(wrong), f"ws://fapi.test:{port}/ws"),
            ):
                with pytest.raises(ProxyError, match=r"refused the user name and password") as caught:
                    await attempt
                assert "secret" not in str(caught.value)
                assert where in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
async def test_a_proxy_that_is_not_there_is_named(scheme: str) -> None:
    where = f"127.0.0.1:{free_port()}"
    network = RealNetwork(f"{scheme}://mia:secret@{where}")
    for attempt in (ask(network, "http://fapi.test:80"), talk(network, "ws://fapi.test:80/ws")):
        with pytest.raises(ProxyError, match=r"is not there \(connection refused\)") as caught:
            await attempt
        assert where in str(caught.value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_can_not_reach_the_exchange_is_told_apart(kind: type[Proxy]) -> None:
    port = free_port()
    async with running(kind()) as proxy:
        network = RealNetwork(f"{SCHEMES[kind]}://127.0.0.1:{proxy.port}")
        for attempt in (ask(network, f"http://fapi.test:{port}"), talk(network, f"ws://fapi.test:{port}/ws")):
            with pytest.raises(ProxyError, match=f"failed on the way to fapi.test:{port}"):
                await attempt


class SilentProxy(Proxy):
    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_silent_proxy_is_told_apart_from_a_silent_exchange(scheme: str) -> None:
    async with running(SilentProxy()) as proxy:
        rest = client(RealNetwork(f"{scheme}://127.0.0.1:{proxy.port}"), "http://fapi.test", timeout=0.3)
        with pytest.raises(ProxyError, match=r"opened no way to fapi\.test:80 in time"):
            await rest.get("/time", {}, weight=1)
        await rest.close()


async def test_nobody_there_and_no_such_name_are_told_apart() -> None:
    port = free_port()
    for attempt in (
        ask(RealNetwork(), f"http://127.0.0.1:{port}"),
        talk(RealNetwork(), f"ws://127.0.0.1:{port}/ws"),
    ):
        with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{port} refused the connection"):
            await attempt
    for attempt in (
        ask(RealNetwork(), "http://no-such-name.invalid"),
        talk(RealNetwork(), "ws://no-such-name.invalid/ws"),
    ):
        with pytest.raises(Unreachable, match=r"no-such-name\.invalid does not resolve"):
            await attempt


async def test_tls_with_a_plain_port_is_said_so() -> None:
    async with exchange() as port:
        for attempt in (
            ask(RealNetwork(), f"https://127.0.0.1:{port}"),
            talk(RealNetwork(), f"wss://127.0.0.1:{port}/ws"),
        ):
            with pytest.raises(Unreachable, match=f"TLS with 127.0.0.1:{port} failed"):
                await attempt


async def test_a_refused_websocket_says_why() -> None:
    async with exchange() as port:
        with pytest.raises(Blocked, match="status 451; the exchange refuses this location"):
            await talk(RealNetwork(), f"ws://127.0.0.1:{port}/forbidden")
        with pytest.raises(Unreachable, match="status 404"):
            await talk(RealNetwork(), f"ws://127.0.0.1:{port}/nothing")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://mia:secret@proxy:80", "http://***@proxy:80"),
        ("mia:secret@proxy:80", "***@proxy:80"),
        ("socks5h://mia:s/e@c:ret@proxy", "socks5h://***@proxy"),
        ("http://proxy:80", "http://proxy:80"),
    ],
)
def test_credentials_are_redacted(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("proxy:8080", "http://proxy:8080"),
        ("http://proxy", "http://proxy:80"),
        ("socks5h://a:b@proxy", "socks5://a:b@proxy:1080"),
        ("socks5://proxy:9050", "socks5://proxy:9050"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_a_proxy_may_be_written_shortly(url: str, checked: str) -> None:
    assert checked_proxy(url) == checked


@pytest.mark.parametrize(
    "url",
    ["ftp://a:secret@proxy", "socks4://proxy", "http://a:secret@proxy:port", "http://", "http://proxy/path"],
)
def test_a_proxy_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError, match=r"Write it like http://127\.0\.0\.1:8080") as caught:
        RealNetwork(url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "scheme", "url"),
    [
        ({"HTTPS_PROXY": "http://a", "ALL_PROXY": "http://b"}, "https", "http://a"),
        ({"https_proxy": "http://c", "HTTPS_PROXY": "http://a"}, "wss", "http://c"),
        ({"ALL_PROXY": "socks5h://b"}, "https", "socks5h://b"),
        ({"all_proxy": "socks5h://b", "HTTP_PROXY": "http://a"}, "http", "socks5h://b"),
        ({"http_proxy": "http://a"}, "ws", "http://a"),
        ({"HTTPS_PROXY": " "}, "https", None),
        ({}, "https", None),
    ],
)
def test_the_environment_names_the_proxy(environ: dict[str, str], scheme: str, url: str | None) -> None:
    assert proxy_from_env(environ, scheme).url == url


def test_the_environment_names_what_needs_no_proxy() -> None:
    assert proxy_from_env({"NO_PROXY": "a.test, 10.0.0.0/8,"}).direct == ("a.test", "10.0.0.0/8")


@pytest.mark.parametrize(
    ("rule", "direct"),
    [
        ("*", True),
        ("binance.com", True),
        (".binance.com", True),
        ("*.binance.com", True),
        ("fapi.binance.com:443", True),
        ("fapi.binance.com:80", False),
        ("nance.com", False),
        ("10.0.0.0/8", False),
    ],
)
def test_no_proxy_rules(rule: str, direct: bool) -> None:  # noqa: FBT001 - a table of cases
    assert is_direct("FAPI.binance.com", 443, [rule]) is direct


def test_no_proxy_networks() -> None:
    assert is_direct("10.1.2.3", 80, ["192.168.0.0/16", "10.0.0.0/8"])
    assert is_direct("fd00::1", 80, ["fd00::/8"])
    assert not is_direct("11.1.2.3", 80, ["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("localhost", True), ("127.9.8.7", True), ("::1", True), ("a.localhost.", True), ("10.0.0.1", False)],
)
def test_loopback(host: str, loopback: bool) -> None:  # noqa: FBT001 - a table of cases
    assert is_loopback(host) is loopback
