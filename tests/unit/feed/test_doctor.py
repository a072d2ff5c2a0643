"""The doctor in front of servers that really behave so: each verdict, its words, and what it costs."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from tests.proxies import ConnectProxy, Proxy, running
from tests.unit.feed.test_network import SilentProxy, free_port, trusted
from tests.unit.feed.wards import NOW, RESTRICTED, World, seen, serving

from klinehub.domain.clock import Clock
from klinehub.errors import DefinitionError
from klinehub.feed.diagnosis import Check, Diagnosis, Verdict, diagnose
from klinehub.feed.doctor import Elsewhere, Examination, Ward, examine, other_routes
from klinehub.feed.network import RealNetwork
from klinehub.sim.loop import SimLoop, SimNetwork, run


def test_all_is_fine() -> None:
    found = seen()

    assert found.diagnosis.verdict == Verdict.FINE
    assert found.diagnosis.advice == ""
    assert found.diagnosis.summary == "All is fine: REST answers, the clocks agree, klines arrive."
    assert [one.check for one in found.findings if one.ok] == [Check.REST, Check.CLOCK, Check.STREAM]
    assert [one.verdict for one in found.findings if not one.ok] == [Verdict.SILENT] * 2
    assert found.world.asked == ["/fapi/v1/ping", "/fapi/v1/time", "/fapi/v1/klines"]
    assert found.seconds < 5


def test_a_symbol_that_is_not_listed_is_replaced_by_one_that_is() -> None:
    found = seen(listed="AAAUSDT")

    assert found.diagnosis.verdict == Verdict.FINE
    assert "AAAUSDT" in found.of(Check.REST).detail
    assert {name for _, name in found.world.subscribed} == {"aaausdt@kline_1m"}
    assert len(found.world.asked) == 5


@pytest.mark.parametrize(
    ("reply", "verdict", "said"),
    [
        ({"status": 451, "text": RESTRICTED}, Verdict.GEO_BLOCK, "restricted location"),
        ({"status": 403, "text": "<html>Request blocked.</html>"}, Verdict.WAF, "status 403"),
        ({"status": 429, "headers": {"Retry-After": "30"}}, Verdict.BAN, "UTC"),
        (
            {"status": 418, "text": f'{{"code":-1003,"msg":"banned until {NOW + 90_000}."}}'},
            Verdict.BAN,
            "UTC",
        ),
        ({"status": 503, "text": "Service Unavailable."}, Verdict.OUTAGE, "status 503"),
        ({"status": 408}, Verdict.OUTAGE, "status 408"),
        ({"status": 200, "text": "<html>Log in to the hotel</html>"}, Verdict.FOREIGN, "hotel"),
        (
            {"status": 302, "headers": {"Location": "http://a:secret@login.test/"}},
            Verdict.FOREIGN,
            "redirect",
        ),
        ({"status": 404, "text": '{"error": "Not Found"}'}, Verdict.FOREIGN, "status 404"),
        ({"status": 200, "text": '{"ok": true}'}, Verdict.FOREIGN, "time can not be read"),
        ({"status": 407, "text": "<html>login</html>"}, Verdict.PROXY_LOGIN, "status 407"),
    ],
)
def test_each_answer_of_rest_has_its_verdict(reply: dict[str, Any], verdict: Verdict, said: str) -> None:
    found = seen(rest=reply)

    rest = found.of(Check.REST)
    assert (found.diagnosis.verdict, rest.verdict, rest.ok) == (verdict, verdict, False)
    assert said in rest.detail
    assert rest.detail in found.diagnosis.summary
    assert rest.advice == found.diagnosis.advice != ""
    assert "secret" not in repr(found.findings)
    assert len(found.world.asked) <= 2
    assert any("the live stream" in one for one in found.diagnosis.works)


def test_a_ban_says_until_when_for_programs_too() -> None:
    body = f'{{"code":-1003,"msg":"Way too many requests; IP banned until {NOW + 90_000}."}}'

    assert seen(rest={"status": 418, "text": body}).banned_until == NOW + 90_000
    assert seen(rest={"status": 429, "headers": {"Date": "Wed, 21 Jan 2026 12:00:10 GMT"}}).banned_until == (
        1_768_996_860_000
    )


def test_nothing_is_asked_by_rest_while_a_ban_is_known() -> None:
    found = seen(banned_until=NOW + 90_000)

    assert (found.diagnosis.verdict, found.banned_until) == (Verdict.BAN, NOW + 90_000)
    assert found.world.asked == []
    assert "2025-02-19 21:21:40 UTC" in found.diagnosis.summary
    assert seen(banned_until=NOW - 1).diagnosis.verdict == Verdict.FINE


@pytest.mark.parametrize(
    ("skew", "said"),
    [(-2_500, "2.5 s behind"), (3 * 3_600_000, "3 h ahead"), (-90 * 86_400_000, "90 days behind")],
)
def test_a_clock_that_is_wrong_is_told_with_its_size(skew: int, said: str) -> None:
    found = seen(skew=skew)

    assert found.diagnosis.verdict == Verdict.CLOCK_SKEW
    assert said in found.diagnosis.summary
    assert found.diagnosis.works == ("REST and the live stream",)


@pytest.mark.parametrize("skew", [-900, 0, 900])
def test_a_clock_within_a_second_is_fine(skew: int) -> None:
    assert seen(skew=skew).diagnosis.verdict == Verdict.FINE


@pytest.mark.parametrize("path", ["/stream", "/public/stream", "", "/nonsense"])
def test_a_route_without_klines_is_told_by_one_that_has_some(path: str) -> None:
    found = seen(path=path, routes=("/market/stream", "/nonsense/market/stream"))

    root = "/nonsense" if path == "/nonsense" else ""
    assert found.diagnosis.verdict == Verdict.WRONG_ROUTE
    assert f"ws://127.0.0.1:8080{root}/market/stream" in found.diagnosis.advice
    assert found.seconds < 5


def test_silence_on_every_route_is_no_wrong_route() -> None:
    found = seen(routes=())

    stream = found.of(Check.STREAM)
    assert found.diagnosis.verdict == stream.verdict == Verdict.SILENT
    assert "acknowledged the subscription and sent no kline in 10 s" in stream.detail
    assert found.diagnosis.works[0].startswith("REST")
    assert found.seconds < 15


@pytest.mark.parametrize(
    ("reply", "verdict", "said"),
    [
        ({"status": 451, "text": '{"code":0,"msg":"restricted location"}'}, Verdict.GEO_BLOCK, "451"),
        ({"status": 403}, Verdict.WAF, "403"),
        ({"status": 418}, Verdict.BAN, "UTC"),
        ({"status": 503}, Verdict.OUTAGE, "503"),
        ({"status": 200, "text": "<html>hotel</html>"}, Verdict.FOREIGN, "no WebSocket"),
        ({"status": 302, "headers": {"Location": "https://login.test/"}}, Verdict.FOREIGN, "no WebSocket"),
        ({"status": 404}, Verdict.FOREIGN, "no WebSocket"),
    ],
)
def test_each_refusal_of_a_websocket_has_its_verdict(
    reply: dict[str, Any], verdict: Verdict, said: str
) -> None:
    found = seen(upgrade=reply)

    assert (found.diagnosis.verdict, found.of(Check.STREAM).verdict) == (verdict, verdict)
    assert said in found.diagnosis.summary
    assert "(WebSocket)" in found.diagnosis.summary
    assert found.diagnosis.works[0].startswith("REST")


def test_an_exchange_that_never_answers_is_told_in_time() -> None:
    found = seen(dark=True)

    assert found.diagnosis.verdict == Verdict.OUTAGE
    assert "did not answer in time" in found.diagnosis.summary
    assert found.seconds <= 15.1


def test_an_exchange_that_stalls_is_told_in_time() -> None:
    async def stall(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(8)
        return web.json_response({"serverTime": NOW})

    found = seen(rest=stall)

    assert found.of(Check.REST).verdict == Verdict.OUTAGE
    assert found.of(Check.STREAM).ok
    assert found.seconds <= 15.1


@pytest.mark.parametrize(
    ("say", "verdict", "said"),
    [
        (lambda ws: ws.close(code=1008, message=b"Too many requests"), Verdict.OUTAGE, "code 1008 (Too many"),
        (lambda ws: ws.send_str("hello"), Verdict.FOREIGN, "'hello'"),
        (
            lambda ws: ws.send_json({"error": {"code": 2, "msg": "Invalid"}, "id": 1}),
            Verdict.OUTAGE,
            "Invalid",
        ),
        (lambda ws: ws.send_json({"method": "SUBSCRIBE", "id": 1}), Verdict.OUTAGE, "did not answer"),
    ],
)
def test_what_a_websocket_says_instead_of_klines_is_told(
    say: Callable[[web.WebSocketResponse], Awaitable[None]], verdict: Verdict, said: str
) -> None:
    class Strange(World):
        async def stream(self, request: web.Request) -> web.WebSocketResponse:
            ws = web.WebSocketResponse()
            await ws.prepare(request)
            await ws.receive()
            await say(ws)
            await ws.receive()
            return ws

    async def main(loop: SimLoop) -> Examination:
        async with serving(Strange(Clock(NOW, 1.0, loop.time)), 8080):
            ward = Ward(SimNetwork(), Clock(NOW, 1.0, loop.time))
            return await examine(ward, "http://127.0.0.1:8080", "ws://127.0.0.1:8080/market/stream")

    diagnosis = diagnose(run(main).findings)
    assert diagnosis.verdict == verdict
    assert said in diagnosis.summary


def test_findings_are_told_as_they_are_made() -> None:
    told: list[tuple[str, float]] = []

    async def main(loop: SimLoop) -> None:
        world = World(Clock(NOW, 1.0, loop.time))
        async with serving(world, 8080):
            await examine(
                Ward(SimNetwork(), world.clock),
                "http://127.0.0.1:8080",
                "ws://127.0.0.1:8080/market/stream",
                told=lambda one: told.append((one.check, loop.time())),
            )

    run(main)

    assert [name for name, _ in told[:3]] == [Check.REST, Check.CLOCK, Check.STREAM]
    assert told[0][1] < 0.5
    assert told[-1][1] > 3


def test_names_that_lead_nowhere_are_told() -> None:
    async def main(loop: SimLoop) -> tuple[Diagnosis, Diagnosis]:
        urls = ("http://fapi.test:8080", "ws://fstream.test:8080/market/stream")
        ward = Ward(SimNetwork(), Clock(NOW, 1.0, loop.time))
        unknown = diagnose((await examine(ward, *urls)).findings)
        loop.hosts |= {"fapi.test": "127.0.0.1", "fstream.test": "127.0.0.1"}
        ward = Ward(SimNetwork(), Clock(NOW, 1.0, loop.time))
        filtered = diagnose((await examine(ward, *urls)).findings)
        return unknown, filtered

    unknown, filtered = run(main)

    assert (unknown.verdict, filtered.verdict) == (Verdict.DNS, Verdict.DNS)
    assert "fapi.test does not resolve" in unknown.summary
    assert "which is this machine itself" in filtered.summary
    assert unknown.works == ()


def test_a_name_in_the_hosts_file_is_no_fault_while_all_works() -> None:
    async def main(loop: SimLoop) -> Diagnosis:
        loop.hosts |= {"fapi.test": "127.0.0.1"}
        world = World(Clock(NOW, 1.0, loop.time))
        async with serving(world, 8080):
            ward = Ward(SimNetwork(), world.clock)
            found = await examine(ward, "http://fapi.test:8080", "ws://fapi.test:8080/market/stream")
            return diagnose(found.findings)

    assert run(main).verdict == Verdict.FINE


def test_the_archive_and_spot_are_named_when_they_work() -> None:
    async def main(loop: SimLoop) -> list[Diagnosis]:
        world = World(Clock(NOW, 1.0, loop.time), rest={"status": 451})
        places = (
            Elsewhere(Check.ARCHIVE, "http://127.0.0.1:8081/x.CHECKSUM", rb"[0-9a-f]{64}\s"),
            Elsewhere(Check.SPOT, "http://127.0.0.1:8082/api/v3/ping", rb"\{\}"),
        )
        archive = World(world.clock, rest={"text": f"{'0a' * 32}  x.zip"})
        spot = World(world.clock, rest={"text": "{}"})
        found = []
        async with serving(world, 8080), serving(archive, 8081), serving(spot, 8082):
            for answer in ("{}", "<html>hotel</html>"):
                spot.rest = {"text": answer}
                ward = Ward(SimNetwork(), world.clock)
                urls = ("http://127.0.0.1:8080", "ws://127.0.0.1:1/market/stream")
                found.append(diagnose((await examine(ward, *urls, elsewhere=places)).findings))
        return found

    both, one = run(main)

    assert both.verdict == Verdict.GEO_BLOCK
    assert [name.partition(":")[0] for name in both.works] == ["the archive", "another market"]
    assert [name.partition(":")[0] for name in one.works] == ["the archive"]


def test_a_machine_without_a_network_is_told_so() -> None:
    async def main(loop: SimLoop) -> Diagnosis:
        place = Elsewhere(Check.ARCHIVE, "http://archive.test/", b"x")
        ward = Ward(SimNetwork(), Clock(NOW, 1.0, loop.time))
        found = await examine(ward, "http://fapi.test", "ws://fapi.test/market/stream", elsewhere=(place,))
        return diagnose(found.findings)

    diagnosis = run(main)

    assert diagnosis.verdict == Verdict.DNS
    assert diagnosis.advice.startswith("This machine's own network comes first")


def test_an_address_that_is_none_is_refused() -> None:
    async def main(loop: SimLoop) -> None:
        ward = Ward(SimNetwork(), Clock(NOW, 1.0, loop.time))
        await examine(ward, "fapi.binance.com", "wss://fstream.binance.com/market/stream")

    with pytest.raises(DefinitionError, match="write it like"):
        run(main)


@pytest.mark.parametrize(
    ("url", "others"),
    [
        ("wss://a.test/market/stream", ["wss://a.test/stream", "wss://a.test/public/stream"]),
        (
            "wss://a.test:9443/ws",
            [f"wss://a.test:9443{path}stream" for path in ("/market/", "/", "/public/")],
        ),
        ("wss://a.test/x/stream/", ["wss://a.test/x/market/stream", "wss://a.test/x/public/stream"]),
        ("wss://stream", [f"wss://stream{path}stream" for path in ("/market/", "/", "/public/")]),
    ],
)
def test_the_other_routes_are_those_of_the_same_host(url: str, others: list[str]) -> None:
    assert other_routes(url) == others


async def really(network: RealNetwork, rest_url: str, stream_url: str, within: float = 10.0) -> Diagnosis:
    """Examine over real sockets."""
    clock = Clock(NOW, 1.0, asyncio.get_running_loop().time)
    return diagnose((await examine(Ward(network, clock, timeout=within), rest_url, stream_url)).findings)


async def test_a_port_where_nobody_listens() -> None:
    port = free_port()

    found = await really(RealNetwork(), f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/market/stream")

    assert found.verdict == Verdict.OUTAGE
    assert "refused the connection" in found.summary


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
async def test_a_proxy_that_is_not_there(scheme: str) -> None:
    network = RealNetwork(f"{scheme}://mia:secret@127.0.0.1:{free_port()}")

    found = await really(network, "http://fapi.test", "ws://fstream.test/market/stream")

    assert found.verdict == Verdict.DEAD_PROXY
    assert "is not there (connection refused)" in found.summary
    assert found.advice.startswith("Start it, or correct network.proxy or HTTPS_PROXY. ")
    assert "secret" not in repr(found)


async def test_a_proxy_that_wants_a_login() -> None:
    async with running(ConnectProxy("mia:right")) as proxy:
        network = RealNetwork(f"http://mia:wrong@127.0.0.1:{proxy.port}")
        found = await really(network, "http://fapi.test", "ws://fstream.test/market/stream")

    assert found.verdict == Verdict.PROXY_LOGIN
    assert "wrong" not in repr(found)


async def test_a_proxy_that_is_silent() -> None:
    async with running(SilentProxy()) as proxy:
        network = RealNetwork(f"http://127.0.0.1:{proxy.port}")
        found = await really(network, "http://fapi.test", f"ws://127.0.0.1:{free_port()}/x", 0.3)

    assert found.verdict == Verdict.DEAD_PROXY
    assert "in time" in found.summary


async def test_all_is_fine_through_a_proxy_which_is_named() -> None:
    clock = Clock(NOW, 1.0, asyncio.get_running_loop().time)
    world = World(clock, routes=("/market/stream", "/stream", "/public/stream"))
    async with serving(world) as port, running(ConnectProxy()) as proxy:
        ward = Ward(RealNetwork(f"http://127.0.0.1:{proxy.port}"), clock)
        urls = (f"http://fapi.test:{port}", f"ws://fstream.test:{port}/market/stream")
        found = (await examine(ward, *urls)).findings

    assert diagnose(found).verdict == Verdict.FINE
    assert found[0].route == f"http://fapi.test:{port} via http://127.0.0.1:{proxy.port}"
    assert Check.NAME not in {one.check for one in found}


async def test_a_certificate_that_is_not_trusted_is_an_interception() -> None:
    server, _ = trusted("127.0.0.1")
    clock = Clock(NOW, 1.0, asyncio.get_running_loop().time)
    async with serving(World(clock), tls=server) as port:
        found = await really(
            RealNetwork(), f"https://127.0.0.1:{port}", f"wss://127.0.0.1:{port}/market/stream"
        )

    assert found.verdict == Verdict.INTERCEPTED
    assert "(REST and WebSocket)" in found.summary
    assert "SSL_CERT_FILE" in found.advice


async def test_a_certificate_for_another_name_is_an_interception() -> None:
    server, trusting = trusted("login.test")
    clock = Clock(NOW, 1.0, asyncio.get_running_loop().time)
    async with serving(World(clock), tls=server) as port:
        network = RealNetwork(tls=trusting)
        found = await really(network, f"https://127.0.0.1:{port}", f"wss://127.0.0.1:{port}/market/stream")

    assert found.verdict == Verdict.INTERCEPTED
    assert "login" in found.advice


@asynccontextmanager
async def saying(first: bytes) -> AsyncIterator[int]:
    """Answer the first bytes of each connection with *first*, then end it."""

    class Blunt(Proxy):
        async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1 << 16)
            writer.write(first)
            await writer.drain()

    async with running(Blunt()) as server:
        yield server.port


@pytest.mark.parametrize(
    ("first", "verdict"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", Verdict.OLD_TLS),  # alert: protocol version
        (b"\x15\x03\x03\x00\x02\x02\x28", Verdict.OLD_TLS),  # alert: handshake failure
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Verdict.FOREIGN),
        (b"", Verdict.OUTAGE),
    ],
)
async def test_what_is_said_instead_of_a_tls_handshake(first: bytes, verdict: Verdict) -> None:
    async with saying(first) as port:
        found = await really(
            RealNetwork(), f"https://127.0.0.1:{port}", f"wss://127.0.0.1:{port}/market/stream"
        )

    assert found.verdict == verdict
    assert re.search(r"127\.0\.0\.1:\d+", found.summary)
