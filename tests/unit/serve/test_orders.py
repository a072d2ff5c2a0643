"""Signed requests and orders: never passed on unasked, then first of all, and their secrets nowhere kept."""

import asyncio
import gc
import json
import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pytest
from aiohttp import web
from tests.unit.feed.desks import exchange_error
from tests.unit.serve.brokers import BTC, DEPTH, INTEREST, NOW, ORDER, Rig, rig, told

from klinehub.domain.clock import Clock
from klinehub.errors import DefinitionError, Unanswered
from klinehub.feed.budget import MINUTE, WeightGate
from klinehub.feed.forwarded import Call, Reply
from klinehub.feed.rest import RestClient
from klinehub.feed.use import Use
from klinehub.serve.broker import Broker, Upstream
from klinehub.sim.exchange import Exchange, serve
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.synthetic import synthetic

KEY: Final = "CANARYKEYvmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju"
SIGNATURE: Final = "CANARYSIGNc8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b28"
LISTEN_KEY: Final = "CANARYLISTENpqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65"
SIGNED: Final = f"symbol=BTCUSDT&recvWindow=5000&timestamp=1791360000000&signature={SIGNATURE}"
WITH_KEY: Final = {"X-MBX-APIKEY": KEY, "User-Agent": "bot/1", "Cookie": "a=b"}


@pytest.mark.parametrize(
    ("method", "path", "query", "more"),
    [
        ("POST", ORDER, "symbol=BTCUSDT&side=BUY", {}),
        ("POST", ORDER, "", {"body": f"side=BUY&signature={SIGNATURE}".encode()}),
        ("DELETE", "/fapi/v1/allOpenOrders", SIGNED, {}),
        ("PUT", "/fapi/v1/listenKey", f"listenKey={LISTEN_KEY}", {}),
        ("POST", "/api/v3/userDataStream", "", {"headers": WITH_KEY}),
        ("GET", ORDER, BTC, {}),
        ("GET", "/fapi/v2/account", "", {}),
        ("GET", "/fapi/v3/positionRisk", "", {}),
        ("GET", "/api/v3/myTrades", BTC, {}),
        ("GET", DEPTH, SIGNED, {}),
        ("GET", DEPTH, f"{BTC}&%73ignature={SIGNATURE}", {}),
        ("GET", DEPTH, f"{BTC}&Timestamp=1", {}),
        ("GET", DEPTH, BTC, {"body": b"signature=x"}),
        ("GET", "/fapi/v1/somethingNew", BTC, {"headers": {"x-mbx-apikey": KEY}}),
        ("GET", "/fapi/v1/historicalTrades", BTC, {"headers": WITH_KEY}),
    ],
)
def test_what_is_signed_is_refused_unless_it_is_wanted(
    method: str, path: str, query: str, more: dict[str, Any]
) -> None:
    async def main(loop: SimLoop) -> tuple[Reply, list[str], dict[str, int]]:
        async with rig(loop) as made:
            reply = await made.ask("a", path, query, method=method, **more)
            return reply, made.asked, made.broker.stats().refused

    reply, asked, refused = run(main)

    assert (told(reply), asked, refused) == ((403, -1002), [], {"signed": 1})
    assert "orders = true" in json.loads(reply.body)["msg"]


def test_a_public_request_never_carries_the_key_that_a_client_shows() -> None:
    async def main(loop: SimLoop) -> list[dict[str, str]]:
        async with rig(loop) as closed:
            await closed.ask("a", DEPTH, BTC, headers=WITH_KEY)
            sent = [dict(request.headers) for request in closed.exchange.requests]
        async with rig(loop, orders=True) as opened:
            await opened.ask("a", DEPTH, BTC, headers=WITH_KEY)
            return sent + [dict(request.headers) for request in opened.exchange.requests]

    sent = run(main)

    assert len(sent) == 2
    assert [sorted(headers) for headers in sent] == [["Accept", "Accept-Encoding", "Host", "User-Agent"]] * 2
    assert {headers["User-Agent"] for headers in sent} == {"klinehub"}


def test_a_signed_request_is_passed_on_byte_for_byte_with_its_key() -> None:
    seen: list[Any] = []
    query = f"symbol=BTCUSDT&side=BUY&newClientOrderId=x%2Dy&b=2&a=1&signature={SIGNATURE}%3D"
    body = b"quantity=0.001&type=MARKET"
    headers = {**WITH_KEY, "content-type": "application/x-www-form-urlencoded"}

    async def book(request: web.Request) -> web.StreamResponse:
        seen.extend([request.method, request.raw_path, await request.read(), dict(request.headers)])
        return web.json_response({"orderId": 7}, headers={"X-MBX-ORDER-COUNT-10S": "3", "X-Other": "4"})

    async def main(loop: SimLoop) -> Reply:
        async with rig(loop, book, orders=True) as made:
            return await made.ask("a", ORDER, query, method="POST", headers=headers, body=body)

    reply = run(main)
    method, path, sent, given = seen

    assert (method, path, sent) == ("POST", f"{ORDER}?{query}", body)
    assert given["X-MBX-APIKEY"] == KEY
    assert given["Content-Type"] == "application/x-www-form-urlencoded"
    assert not {"Cookie", "X-Forwarded-For"} & set(given)
    assert (reply.status, json.loads(reply.body)) == (200, {"orderId": 7})
    assert sorted(reply.headers) == ["Content-Type", "Date", "X-MBX-ORDER-COUNT-10S"]


def test_signed_requests_are_never_one_request_though_they_look_the_same() -> None:
    async def main(loop: SimLoop) -> int:
        async with rig(loop, orders=True) as made:
            asking = (made.ask("a", "/fapi/v1/openOrders", SIGNED, headers=WITH_KEY) for _ in range(3))
            await asyncio.gather(*asking)
            return len(made.asked)

    assert run(main) == 3


def test_an_order_leaves_at_once_when_all_that_klines_may_spend_is_spent() -> None:
    """The exchange is the simulated one and counts for itself; orders stand in front of it."""

    async def main(loop: SimLoop) -> tuple[list[int], float, float, int, int]:
        clock = Clock(NOW, 1.0, loop.time)
        exchange = Exchange(synthetic(3, 1, start=NOW), clock)
        served = await serve(exchange, port=0, ws_port=0)
        most = 0

        async def desk(
            request: web.Request, answer: Callable[[web.Request], web.Response]
        ) -> web.StreamResponse:
            nonlocal most
            if request.path == ORDER:
                exchange.tally.spend(request.remote or "", 1, clock.now())
                return web.json_response({"orderId": 1})
            response = answer(request)
            most = max(most, *(one.used for one in exchange.tally.accounts.values()))
            return response

        exchange.rest.tap = desk
        gate = WeightGate(clock)
        rest = RestClient(served.rest_url, SimNetwork(), gate, clock)
        broker = Broker(lambda: [Upstream(rest, gate)], orders=True)
        tickers = "/fapi/v1/ticker/24hr"
        asking = [asyncio.create_task(rest.get(tickers, {}, weight=40)) for _ in range(100)]
        await asyncio.sleep(2)
        before, used = loop.time(), gate.used
        order: dict[str, Any] = {"method": "POST", "path": ORDER, "query": SIGNED, "headers": WITH_KEY}
        replies = [await broker.forward("a", **order) for _ in range(480)]
        after = loop.time()
        over = await broker.forward("a", **order)
        await asyncio.gather(*asking)
        await rest.close()
        await served.close()
        return [reply.status for reply in (*replies, over)], before, after, used, most

    statuses, before, after, used, most = run(main)

    assert statuses[:480] == [200] * 480
    # The last one found the exchange's own limit reached, and was held until the next minute could be seen.
    assert statuses[480] == 429
    assert used == 1920
    assert after - before < 480 * 0.1
    assert most <= 2400


def test_klines_never_take_what_is_kept_for_orders() -> None:
    async def main(loop: SimLoop) -> tuple[int, int, int]:
        async with rig(loop, limit=100, orders=True) as made:
            for use, weight in ((Use.WARM_UP, 60), (Use.CONTROL, 20)):
                await made.spend(weight, use)
            waiting = asyncio.create_task(made.gate.take(1, Use.CONTROL))
            await asyncio.sleep(1)
            for _ in range(20):
                await made.ask("a", ORDER, SIGNED, method="POST", headers=WITH_KEY)
            used, passed = made.gate.used, waiting.done()
            minute = await waiting // MINUTE
            return used, passed, minute

    assert run(main) == (100, False, NOW // MINUTE + 1)


def test_reading_an_account_is_held_to_a_part_and_orders_are_not() -> None:
    async def main(loop: SimLoop) -> tuple[list[int], list[int]]:
        async with rig(loop, limit=400, orders=True) as made:
            reads = [await made.ask("a", "/fapi/v1/openOrders", "timestamp=1") for _ in range(4)]
            orders = [await made.ask("a", ORDER, SIGNED, method="POST") for _ in range(8)]
            return [one.status for one in reads], [one.status for one in orders]

    assert run(main) == ([200, 200, 429, 429], [200] * 8)


def test_too_many_orders_of_one_account_ban_nobody() -> None:
    text = exchange_error(-1015, "Too many new orders; current limit is 300 orders per TEN_SECONDS.")

    async def main(loop: SimLoop) -> tuple[Reply, Reply]:
        async with rig(loop, {"status": 429, "text": text}, {"text": "{}"}, orders=True) as made:
            first = await made.ask("a", ORDER, SIGNED, method="POST", headers=WITH_KEY)
            return first, await made.ask("b", DEPTH, BTC)

    first, second = run(main)

    assert (told(first), first.body) == ((429, -1015), text.encode())
    assert second.status == 200


@pytest.mark.parametrize("answer", [{"status": 504, "text": "<html>"}, "cut"])
def test_an_order_that_nobody_answered_is_told_as_in_doubt_and_not_sent_again(answer: Any) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def main(loop: SimLoop) -> tuple[Reply, int]:
        async with rig(loop, cut if answer == "cut" else answer, orders=True) as made:
            reply = await made.ask("a", ORDER, SIGNED, method="POST", headers=WITH_KEY)
            return reply, len(made.asked)

    reply, asked = run(main)

    assert (told(reply), asked) == ((504, -1007), 1)
    assert "Execution status unknown" in json.loads(reply.body)["msg"]


def test_an_order_that_never_left_is_told_as_refused() -> None:
    async def main(loop: SimLoop) -> tuple[Reply, int]:
        async with rig(loop, orders=True) as made:
            for second in range(5):
                made.gate.failed(NOW + second)
            return await made.ask("a", ORDER, SIGNED, method="POST"), len(made.asked)

    reply, asked = run(main)

    assert (told(reply), asked) == ((503, -1001), 0)


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        (SIGNED, {"X-MBX-APIKEY": "no\nkey"}, 401, -2014),
        (f"a=b c&signature={SIGNATURE}", WITH_KEY, 400, -1100),
        (f"a=b#c&signature={SIGNATURE}", WITH_KEY, 400, -1100),
        (f"a={'x' * 9_000}&signature={SIGNATURE}", WITH_KEY, 413, -1101),
    ],
)
def test_what_no_request_can_hold_is_refused(
    query: str, headers: dict[str, str], status: int, code: int
) -> None:
    async def main(loop: SimLoop) -> tuple[Reply, int]:
        async with rig(loop, orders=True) as made:
            return await made.ask("a", ORDER, query, method="POST", headers=headers), len(made.asked)

    reply, asked = run(main)

    assert (told(reply), asked) == ((status, code), 0)


def test_a_body_that_is_too_large_is_refused() -> None:
    async def main(loop: SimLoop) -> Reply:
        async with rig(loop, orders=True) as made:
            return await made.ask("a", ORDER, SIGNED, method="POST", body=b"x" * 70_000)

    assert told(run(main)) == (413, -1101)


async def _echo(request: web.Request) -> web.StreamResponse:
    """Send everything back that came, as a proxy's error page may."""
    page = f"<html>{request.raw_path} {dict(request.headers)} {(await request.read())!r}"
    return web.Response(status=502, text=page, content_type="text/html")


async def _parrot(request: web.Request) -> web.StreamResponse:
    """Answer with what is no HTTP: with what was asked."""
    assert request.transport is not None
    request.transport.write(f"{request.method} {request.raw_path} {KEY}\r\n\r\n".encode())
    request.transport.close()
    return web.Response()


async def _redirect(request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": f"http://elsewhere.test{request.raw_path}"})


async def _silence(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def _listen_key(_: web.Request) -> web.StreamResponse:
    return web.json_response({"listenKey": LISTEN_KEY})


async def _banned(request: web.Request) -> web.StreamResponse:
    return web.Response(status=418, text=exchange_error(-1003, f"No more of {request.raw_path} from {KEY}"))


SERVERS: Final = (_echo, _parrot, _redirect, _silence, _listen_key, _banned)


@pytest.mark.parametrize("orders", [True, False])
@pytest.mark.parametrize("server", SERVERS, ids=lambda one: one.__name__[1:])
def test_secrets_are_in_no_text_that_klinehub_makes(
    server: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], *, orders: bool
) -> None:
    """Whatever answers, and however it ends: only the body that the exchange sent back may hold them."""
    caplog.set_level(logging.DEBUG)
    found: list[str] = []

    async def main(loop: SimLoop) -> None:
        loop.set_debug(enabled=True)
        async with rig(loop, server, orders=orders, seconds=2.0) as made:
            asks = [
                ("POST", ORDER, SIGNED, b""),
                ("POST", ORDER, "", f"a=1&signature={SIGNATURE}".encode()),
                ("GET", "/fapi/v2/account", SIGNED, b""),
                ("PUT", "/fapi/v1/listenKey", f"listenKey={LISTEN_KEY}", b""),
                ("GET", DEPTH, BTC, b""),
                ("GET", f"/fapi/v1/{'x' * 100}", SIGNED, b""),
            ]
            for method, path, query, body in asks:
                more: dict[str, Any] = {"method": method, "headers": WITH_KEY, "body": body}
                asking = asyncio.create_task(made.ask("a", path, query, **more))
                await asyncio.sleep(0.05)
                found.extend(map(repr, asyncio.all_tasks()))
                reply = await asking
                found.extend([repr(reply), repr(made.broker.stats()), repr(asking)])
                if reply.status != 200 and server is not _banned:
                    found.append(reply.body.decode())
                found.append(made.gate.closed(made.gate.now()))
                await asyncio.sleep(400)
            given_up = asyncio.create_task(made.ask("a", ORDER, SIGNED, method="POST", headers=WITH_KEY))
            await asyncio.sleep(0.02)
            given_up.cancel()
            with suppress(asyncio.CancelledError):
                await given_up
            found.extend(_reprs(made))

    run(main)
    gc.collect()
    found.extend([*(f"{record!r} {record.getMessage()} {record.exc_text}" for record in caplog.records)])
    found.extend(capfd.readouterr())

    assert [text for text in found if "CANARY" in text] == []


def _reprs(made: Rig) -> list[str]:
    return [repr(part) for part in (made.broker, made.rest, made.gate, vars(made.broker), vars(made.gate))]


def test_secrets_are_in_no_exception_and_not_in_what_caused_it() -> None:
    async def main(loop: SimLoop) -> list[str]:
        found = []
        async with rig(loop, _parrot, _redirect, seconds=2.0) as made:
            call = Call("POST", ORDER, SIGNED, WITH_KEY, SIGNATURE.encode())
            for _ in range(2):
                with pytest.raises(Unanswered) as caught:
                    await made.rest.forward(call, weight=1, use=Use.ORDERS)
                causes = (caught.value.__cause__, caught.value.__context__)
                found.append(f"{''.join(traceback.format_exception(caught.value))} {causes}")
            await made.rest.close()
            found.extend(map(repr, (call, made.rest)))
        return found

    found = run(main)

    assert len(found) == 4
    assert "BadStatusLine" in found[0]
    assert "(None, None)" in found[0]
    assert [text for text in found if "CANARY" in text] == []


def test_a_crash_repeats_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(*_: object) -> None:
        raise RuntimeError("out of paper")

    monkeypatch.setattr(RestClient, "_request", crash)

    async def main(loop: SimLoop) -> tuple[str, Any]:
        async with rig(loop, orders=True) as made:
            with pytest.raises(RuntimeError, match="out of paper") as caught:
                await made.ask("a", ORDER, SIGNED, method="POST", headers=WITH_KEY)
            with pytest.raises(RuntimeError, match="out of paper"):
                await asyncio.gather(*(made.ask("a", INTEREST) for _ in range(3)))
            return "".join(traceback.format_exception(caught.value)), made.broker.stats()

    text, stats = run(main)

    assert "CANARY" not in text
    assert (stats.flying, stats.waiting) == (0, 0)


@pytest.mark.parametrize(
    "parts",
    [
        ("GET", "/fapi/v1/de pth", ""),
        ("GET", "/fapi/v1/depth?a", ""),
        ("GET", "/fapi/v1/depth", f"{SIGNATURE}\r\nX: y"),
        ("GET", "/fapi/v1/depth", "a", {"X-MBX-APIKEY": f"{KEY}\r\nX: y"}),
        ("GET", "/fapi/v1/depth", "a", {"": "x"}),
    ],
)
def test_a_call_that_would_break_out_of_its_line_is_none(parts: Any) -> None:
    with pytest.raises(DefinitionError, match="percent-encode") as caught:
        Call(*parts)

    assert "CANARY" not in str(caught.value)


def test_no_more_orders_are_on_their_way_than_there_is_room_for() -> None:
    async def late(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1)
        return web.json_response({})

    async def main(loop: SimLoop) -> tuple[list[int], int]:
        async with rig(loop, late, orders=True) as made:
            asking = (made.ask("a", ORDER, f"{SIGNED}&n={n}", method="POST") for n in range(66))
            replies = await asyncio.gather(*asking)
            return [reply.status for reply in replies], made.broker.stats().flying

    statuses, flying = run(main)

    assert (statuses.count(200), statuses.count(429), flying) == (64, 2, 0)
