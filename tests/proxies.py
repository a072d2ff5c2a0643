"""Small proxies on loopback that take every host name for this machine and note what they were asked."""

import asyncio
import base64
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

BUFFER = 1 << 16


class Proxy:
    """A running proxy: where it listens and the (host, port) pairs it was asked for, in order."""

    def __init__(self, login: str | None = None) -> None:
        self.login = login
        self.port = 0
        self.asked: list[tuple[str, int]] = []
        self.tunnels: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tunnels.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.greet(reader, writer)
        finally:
            self.tunnels.discard(task)
            writer.close()

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    async def tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, opened: bytes
    ) -> None:
        """Say *opened* and pass bytes both ways until one side ends."""
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(opened)
        ways = [
            asyncio.ensure_future(copy(reader, there_writer)),
            asyncio.ensure_future(copy(there_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            # First of all: the end of the test may cancel what comes after it.
            there_writer.close()
            await asyncio.gather(*ways, return_exceptions=True)


class ConnectProxy(Proxy):
    """An HTTP proxy that knows CONNECT only."""

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split("\r\n")[0].split(" ")
        wanted = f"Basic {base64.b64encode((self.login or '').encode()).decode()}"
        if self.login is not None and f"Proxy-Authorization: {wanted}".lower() not in head.lower():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if method != "CONNECT":
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = target.rpartition(":")
        self.asked.append((host, int(port)))
        try:
            await self.tunnel(reader, writer, int(port), b"HTTP/1.1 200 Connection established\r\n\r\n")
        except ConnectionRefusedError:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")


class SocksProxy(Proxy):
    """A SOCKS5 proxy that takes names and addresses, with or without a login (RFC 1928, 1929)."""

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 0 if self.login is None else 2
        if method not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, method]))
        if method and not await self.log_in(reader, writer):
            return
        _, _, _, kind = await reader.readexactly(4)
        host = await self.host(reader, kind)
        (port,) = struct.unpack("!H", await reader.readexactly(2))
        self.asked.append((host, port))
        try:
            await self.tunnel(reader, writer, port, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        except ConnectionRefusedError:
            writer.write(b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00")

    async def log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, size = await reader.readexactly(2)
        user = (await reader.readexactly(size)).decode()
        (size,) = await reader.readexactly(1)
        password = (await reader.readexactly(size)).decode()
        right = f"{user}:{password}" == self.login
        writer.write(b"\x01\x00" if right else b"\x01\x01")
        return right

    async def host(self, reader: asyncio.StreamReader, kind: int) -> str:
        if kind == 1:
            return ".".join(str(byte) for byte in await reader.readexactly(4))
        assert kind == 3, "no test needs IPv6"
        (size,) = await reader.readexactly(1)
        return (await reader.readexactly(size)).decode()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(BUFFER):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def running(proxy: Proxy) -> AsyncIterator[Proxy]:
    """Run *proxy* on a free port of loopback; its open tunnels are closed at the end."""
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for tunnel in list(proxy.tunnels):
            tunnel.cancel()
        await asyncio.gather(*proxy.tunnels, return_exceptions=True)
        await server.wait_closed()
