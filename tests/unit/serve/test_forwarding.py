"""Requests over a connection of their own: to the site, through the broker, and back."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

import aiohttp
from aiohttp import web
from multidict import MultiDict
from tests.unit.serve.brokers import DEPTH, ORDER, Rig, rig
from yarl import URL

from klinehub.dialect.rest import Rest
from klinehub.dialect.source import Source
from klinehub.dialect.tally import Tally
from klinehub.serve.forwarding import asking, forwarding
from klinehub.serve.site import Site
from klinehub.settings import ServeSettings
from klinehub.sim.loop import SimLoop, SimNetwork, run


class Timed:
    """A source of nothing but the time."""

    def __init__(self, made: Rig) -> None:
        self.clock = made.clock


class Door(NamedTuple):
    """A client's session, and where the site is."""

    session: aiohttp.ClientSession
    url: str

    async def send(self, method: str, target: str, **more: Any) -> tuple[int, str, bytes, Mapping[str, str]]:
        """Send a request as it is spelled; gives status, kind, body and headers."""
        url = URL(self.url + target, encoded=True)
        async with self.session.request(method, url, **more) as answer:
            return answer.status, answer.content_type, await answer.read(), answer.headers


@asynccontextmanager
async def site(made: Rig, *, quota: int = 2400) -> AsyncIterator[Door]:
    """Serve what the rig's broker passes on."""
    rest = Rest(cast("Source", Timed(made)), Tally(limit=quota))
    async with Site(ServeSettings(port=0, ws_port=0)) as served:
        served.open({"/": forwarding(made.broker, rest)})
        async with SimNetwork().session(served.rest_url, timeout=30.0) as session:
            yield Door(session, served.rest_url)


def test_ten_connections_that_ask_the_same_cost_one_request() -> None:
    async def late(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.5)
        return web.json_response({"bids": []}, headers={"X-MBX-USED-WEIGHT-1M": "1234"})

    async def main(loop: SimLoop) -> tuple[list[Any], int, int]:
        async with rig(loop, late) as made, site(made) as door:
            asks = (door.send("GET", f"{DEPTH}?symbol=BTCUSDT&limit=5") for _ in range(10))
            return await asyncio.gather(*asks), len(made.asked), made.gate.spent

    answers, asked, spent = run(main)

    assert [answer[:3] for answer in answers] == [(200, "application/json", b'{"bids": []}')] * 10
    assert {answer[3]["X-MBX-USED-WEIGHT-1M"] for answer in answers} == {"2"}
    assert (asked, spent) == (1, 2)


def test_an_order_goes_through_byte_for_byte() -> None:
    seen: list[Any] = []
    query = "b=%2f%2F&a=%7E~&timestamp=1&signature=ab%3D%3D"

    async def book(request: web.Request) -> web.StreamResponse:
        seen.extend([request.method, request.raw_path, await request.read(), request.headers["X-MBX-APIKEY"]])
        return web.json_response({"orderId": 1})

    async def main(loop: SimLoop) -> Any:
        async with rig(loop, book, orders=True) as made, site(made) as door:
            return await door.send("POST", f"{ORDER}?{query}", data=b"x=%2f", headers={"X-MBX-APIKEY": "k"})

    assert run(main)[:3] == (200, "application/json", b'{"orderId": 1}')
    assert seen == ["POST", f"{ORDER}?{query}", b"x=%2f", "k"]


def test_a_page_of_the_exchange_keeps_its_kind() -> None:
    async def main(loop: SimLoop) -> Any:
        reply = {"status": 404, "text": "<p>none</p>", "content_type": "text/html"}
        async with rig(loop, reply) as made, site(made) as door:
            return await door.send("GET", "/fapi/v1/what")

    assert run(main)[:3] == (404, "text/html", b"<p>none</p>")


def test_a_client_over_its_own_quota_asks_nobody() -> None:
    async def main(loop: SimLoop) -> tuple[int, Any, int]:
        async with rig(loop) as made, site(made, quota=0) as door:
            status, _, body, _ = await door.send("GET", DEPTH)
            return status, json.loads(body)["code"], len(made.asked)

    assert run(main) == (429, -1003, 0)


def test_a_body_without_end_is_refused() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 4_096

    async def main(loop: SimLoop) -> tuple[int, int]:
        async with rig(loop, orders=True) as made, site(made) as door:
            return (await door.send("POST", ORDER, data=endless()))[0], len(made.asked)

    assert run(main) == (413, 0)


def test_the_drop_in_asks_with_what_it_has_read() -> None:
    async def main(loop: SimLoop) -> tuple[int, bytes, list[str], list[str]]:
        async with rig(loop, {"text": json.dumps([1]), "content_type": "application/json"}) as made:
            query = MultiDict({"symbol": "币安人生USDT", "interval": "1m"})
            answer = await asking(made.broker)("a", "GET", "/fapi/v1/klines", query)
            return answer.status, answer.body, sorted(answer.headers), made.asked

    path = "/fapi/v1/klines?interval=1m&symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT"

    assert run(main) == (200, b"[1]", ["Date"], [path])
