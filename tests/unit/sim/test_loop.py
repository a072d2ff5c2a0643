"""The contract of virtual time: unmodified clients and servers, equal seeds, no waiting."""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from klinehub.errors import DefinitionError, Unreachable
from klinehub.sim.loop import Deadlock, SimLoop, SimNetwork, run
from klinehub.sim.wire import WINDOW, between, heavy, steady

PORT = 8080
HTTP = f"http://127.0.0.1:{PORT}"
WS = f"ws://127.0.0.1:{PORT}/ws"


async def hello(request: web.Request) -> web.Response:
    return web.json_response({"symbol": request.query.get("symbol", "")})


async def tick(ws: web.WebSocketResponse, count: int, pause: float) -> None:
    for number in range(count):
        if ws.closed:
            return
        with contextlib.suppress(ConnectionResetError):
            await ws.send_str(str(number))
        await asyncio.sleep(pause)


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send back every text; `tick N S` sends N numbered frames S seconds apart."""
    ws = web.WebSocketResponse()
    await ws.prepare(request)
    async with asyncio.TaskGroup() as group:
        async for message in ws:
            if message.data.startswith("tick"):
                _, count, pause = message.data.split()
                group.create_task(tick(ws, int(count), float(pause)))
            else:
                await ws.send_str(message.data)
    return ws


@asynccontextmanager
async def served(*routes: web.RouteDef, port: int = PORT) -> AsyncIterator[web.AppRunner]:
    app = web.Application()
    app.add_routes([web.get("/", hello), web.get("/ws", echo), *routes])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield runner
    finally:
        await runner.cleanup()


class Recorder(WSListener):
    def __init__(self) -> None:
        self.texts: list[tuple[float, str]] = []
        self.ended: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            now = asyncio.get_running_loop().time()
            self.texts.append((now, frame.get_payload_as_utf8_text()))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.ended.set_result(asyncio.get_running_loop().time())


async def opened() -> tuple[WSTransport, Recorder]:
    recorders: list[Recorder] = []

    def listener() -> Recorder:
        recorders.append(Recorder())
        return recorders[0]

    transport = await SimNetwork().open_socket(WS, listener)
    return transport, recorders[0]


def test_time_jumps_and_is_exact() -> None:
    async def main(loop: SimLoop) -> list[float]:
        times = [loop.time()]
        for _ in range(30):
            await asyncio.sleep(0.1)
        times.append(loop.time())
        await asyncio.sleep(86_400 * 30)
        return [*times, loop.time()]

    assert run(main) == [0.0, 3.0, 3.0 + 86_400 * 30]
    assert run(main, start=5.0)[0] == 5.0


def test_http_takes_the_configured_delay() -> None:
    async def main(loop: SimLoop) -> list[float]:
        times = []
        async with served(), SimNetwork().session(HTTP, timeout=10) as session:
            for _ in range(2):
                before = loop.time()
                async with session.get(f"{HTTP}/", params={"symbol": "币安人生USDT"}) as response:
                    assert await response.json() == {"symbol": "币安人生USDT"}
                times.append(loop.time() - before)
        return times

    connecting, kept_alive = run(main, delay=steady(0.05))

    assert connecting == pytest.approx(0.2)
    assert kept_alive == pytest.approx(0.1)


def test_an_aiohttp_websocket_talks() -> None:
    async def main(loop: SimLoop) -> list[str]:
        async with served(), SimNetwork().session(HTTP, timeout=10) as session, session.ws_connect(WS) as ws:
            await ws.send_str("x" * 100_000)
            await ws.send_str("tick 3 1")
            return [(await ws.receive_str())[:3] for _ in range(4)]

    assert run(main) == ["xxx", "0", "1", "2"]


def test_a_picows_client_gets_every_frame_in_order() -> None:
    async def main(loop: SimLoop) -> list[str]:
        async with served():
            transport, seen = await opened()
            loop.links[0].down.chunk = 7
            transport.send(WSMsgType.TEXT, "y" * 70_000)
            transport.send(WSMsgType.TEXT, "tick 1000 0.001")
            await asyncio.sleep(10)
            transport.disconnect()
            await transport.wait_disconnected()
        return [text for _, text in seen.texts]

    texts = run(main, delay=heavy(0.01))

    assert texts == ["y" * 70_000, *map(str, range(1000))]


def test_a_thousand_seconds_are_not_waited_for() -> None:
    async def main(loop: SimLoop) -> tuple[int, float]:
        async with served():
            transport, seen = await opened()
            transport.send(WSMsgType.TEXT, "tick 1000 1")
            await asyncio.sleep(1_002)
            transport.disconnect()
            await transport.wait_disconnected()
        return len(seen.texts), loop.time()

    frames, seconds = run(main)

    # Whoever waited would be stopped after thirty.
    assert frames == 1_000
    assert seconds > 1_000


def trace(seed: int) -> str:
    """Hash what happens when when two clients and a ticking socket share a network."""
    digest = hashlib.sha256()

    async def ask(loop: SimLoop, name: str) -> None:
        async with SimNetwork().session(HTTP, timeout=10) as session:
            for number in range(20):
                async with session.get(f"{HTTP}/", params={"symbol": f"{name}{number}"}) as response:
                    digest.update(repr((loop.time(), await response.text())).encode())

    async def main(loop: SimLoop) -> None:
        async with served():
            transport, seen = await opened()
            transport.send(WSMsgType.TEXT, "tick 200 0.25")
            await asyncio.gather(*(ask(loop, name) for name in "abc"))
            await asyncio.sleep(60)
            transport.disconnect()
            await transport.wait_disconnected()
            digest.update(repr(seen.texts).encode())
            digest.update(repr(loop.time()).encode())

    run(main, seed=seed, delay=heavy(0.02))
    return digest.hexdigest()


def test_equal_seeds_give_equal_runs() -> None:
    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


def test_a_deadlock_names_who_waits() -> None:
    async def waits_for_nobody() -> None:
        await asyncio.get_running_loop().create_future()

    async def main(loop: SimLoop) -> None:
        await asyncio.create_task(waits_for_nobody(), name="the-feed")

    with pytest.raises(Deadlock, match=r"the-feed waits in .*waits_for_nobody \(test_loop.py:\d+\)"):
        run(main)


def test_what_fails_in_the_background_is_raised() -> None:
    def broken() -> None:
        raise ArithmeticError("nobody awaits this")

    async def main(loop: SimLoop) -> None:
        loop.call_later(1, broken)
        await asyncio.sleep(2)

    with pytest.raises(ArithmeticError, match="nobody awaits"):
        run(main)


def later(loop: SimLoop, seconds: float, fault: str) -> None:
    """Inject a fault into the first link, which need not be there yet."""

    def inject() -> None:
        getattr(loop.links[0], fault)()

    loop.call_later(seconds, inject)


async def ended_after(loop: SimLoop, fault: str) -> float:
    """Open a socket that is sent a frame a second, inject a fault after 3 s; give the seconds to its end."""
    async with served():
        transport, seen = await opened()
        transport.send(WSMsgType.TEXT, "tick 100 1")
        await asyncio.sleep(3)
        getattr(loop.links[0], fault)()
        at = loop.time()
        ended = await seen.ended
        await transport.wait_disconnected()
        return ended - at


@pytest.mark.parametrize("name", ["reset", "cut"])
def test_a_broken_connection_is_seen_at_once(name: str) -> None:
    async def main(loop: SimLoop) -> float:
        return await ended_after(loop, name)

    assert run(main) < 0.1


def test_a_stalled_connection_is_given_up_after_two_pings() -> None:
    async def main(loop: SimLoop) -> float:
        return await ended_after(loop, "stall")

    assert 4.0 <= run(main) <= 12.1


def test_a_short_stall_only_delays() -> None:
    async def main(loop: SimLoop) -> list[tuple[float, str]]:
        async with served():
            transport, seen = await opened()
            transport.send(WSMsgType.TEXT, "tick 5 1")
            await asyncio.sleep(2.5)
            loop.links[0].stall()
            await asyncio.sleep(5)
            loop.links[0].resume()
            await asyncio.sleep(5)
            transport.disconnect()
            await transport.wait_disconnected()
        return seen.texts

    texts = run(main, delay=steady(0.1))

    assert [text for _, text in texts] == ["0", "1", "2", "3", "4"]
    assert [round(at, 3) for at, _ in texts][3:] == [7.9, 7.9]


def test_a_reset_fails_the_request_on_its_way() -> None:
    async def main(loop: SimLoop) -> None:
        async with served(), SimNetwork().session(HTTP, timeout=10) as session:
            later(loop, 0.14, "reset")
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"{HTTP}/")
        assert loop.links == []

    run(main, delay=steady(0.05))


def test_nobody_there_and_no_such_name() -> None:
    async def main(loop: SimLoop) -> None:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:8080 refused the connection"):
            await SimNetwork().open_socket(WS, WSListener)
        with pytest.raises(Unreachable, match=r"name fstream\.test does not resolve"):
            await SimNetwork().open_socket("ws://fstream.test/ws", WSListener)
        async with SimNetwork().session(HTTP, timeout=10) as session:
            with pytest.raises(aiohttp.ClientConnectorDNSError):
                await session.get("http://fapi.test/")
            loop.hosts["fapi.test"] = "127.0.0.1"
            with pytest.raises(aiohttp.ClientConnectorError, match="Connect call failed"):
                await session.get("http://fapi.test/")
        assert loop.links == []

    run(main)


def test_a_connection_that_is_never_answered_times_out() -> None:
    async def main(loop: SimLoop) -> float:
        async with served():
            later(loop, 0.01, "stall")
            with pytest.raises(Unreachable, match="did not answer in time"):
                await SimNetwork().open_socket(WS, WSListener)
            return loop.time()

    assert run(main, delay=steady(0.05)) == pytest.approx(10.0)


def test_a_connection_reset_while_it_opens_fails() -> None:
    async def main(loop: SimLoop) -> None:
        async with served():
            later(loop, 0.01, "reset")
            with pytest.raises(Unreachable, match="was cut"):
                await SimNetwork().open_socket(WS, WSListener)
        assert loop.links == []

    run(main, delay=steady(0.05))


def test_a_slow_reader_is_felt_by_the_writer() -> None:
    size = 4 * WINDOW
    sent_at: list[float] = []

    async def flood(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(writer_limit=1 << 16)
        await ws.prepare(request)
        await ws.send_bytes(b"z" * size)
        sent_at.append(asyncio.get_running_loop().time())
        return ws

    async def main(loop: SimLoop) -> int:
        async with served(web.get("/flood", flood)):
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            writer.write(
                b"GET /flood HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            await asyncio.sleep(60)
            assert sent_at == []
            body = await reader.read()
            writer.close()
            await writer.wait_closed()
            return len(body)

    got = run(main, delay=between(0.01, 0.02))

    assert got > size
    assert sent_at[0] >= 60


def test_threads_become_plain_calls() -> None:
    async def main(loop: SimLoop) -> list[Any]:
        first = await asyncio.to_thread(lambda: 41 + 1)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return [first]

    assert run(main) == [42]


def test_an_address_is_taken_once_and_port_zero_is_free() -> None:
    async def main(loop: SimLoop) -> list[int]:
        ports = []
        async with served(), served(port=0) as one, served(port=0) as two:
            ports = [one.addresses[0][1], two.addresses[0][1]]
            with pytest.raises(OSError, match="already in use"):
                await loop.create_server(asyncio.Protocol, "127.0.0.1", PORT)
        async with served():
            return ports

    assert run(main) == [40_000, 40_001]


def test_tls_is_refused_in_words() -> None:
    async def main(loop: SimLoop) -> None:
        await SimNetwork().open_socket("wss://127.0.0.1/ws", WSListener)

    with pytest.raises(DefinitionError, match="speaks no TLS"):
        run(main)


def test_the_machine_is_not_asked_for_names() -> None:
    async def main(loop: SimLoop) -> None:
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("example.com", 80)

    run(main)
