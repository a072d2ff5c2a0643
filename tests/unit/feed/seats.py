"""A small exchange of streams and seats on it, on virtual time."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from aiohttp import WSMsgType, web

from klinehub.feed.doorman import Doorman
from klinehub.feed.seat import Seat
from klinehub.panel.memory import I64, U8
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.wire import Link, steady

PORTS: Final = (8080, 8081, 8082)
ROUTES: Final = tuple(f"ws://127.0.0.1:{port}/stream" for port in PORTS)
DELAY: Final = 0.01
NAMES: Final = tuple(f"s{n}@kline_1m" for n in range(6))


@dataclass(eq=False)
class Client:
    """One connection as the exchange sees it."""

    port: int
    ws: web.WebSocketResponse
    opened: float
    names: dict[str, None] = field(default_factory=dict)
    heard: list[tuple[float, str, tuple[str, ...]]] = field(default_factory=list)
    mute: bool = False
    without: set[str] = field(default_factory=set)
    alive: bool = True


@dataclass
class Place:
    """An exchange whose streams tell a number each, and what it does to those who ask.

    `bad` names are refused by an error frame, or by a close with 1008 if `closes`; `silent` says whether
    a new connection hears nothing although it is answered, `status` answers handshakes.
    """

    loop: SimLoop
    runners: dict[int, web.AppRunner] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    handshakes: list[tuple[float, int]] = field(default_factory=list)
    status: dict[int, int] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    most: int = 10_000
    closes: bool = False
    answers: bool = True
    silent: Callable[[Client], bool] = lambda client: False
    told: list[str] = field(default_factory=list)

    @property
    def living(self) -> list[Client]:
        return [client for client in self.clients if client.alive]

    async def open(self, port: int) -> None:
        app = web.Application()
        app.add_routes([web.get("/stream", self.serve)])
        self.runners[port] = runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        port = int(request.host.rsplit(":", 1)[1])
        self.handshakes.append((self.loop.time(), port))
        if port in self.status:
            return web.Response(status=self.status[port])
        ws = web.WebSocketResponse(max_msg_size=0, compress=False)
        await ws.prepare(request)
        client = Client(port, ws, self.loop.time())
        client.mute = self.silent(client)
        self.clients.append(client)
        try:
            async for message in ws:
                if message.type == WSMsgType.TEXT:
                    await self.hear(client, message.data)
        finally:
            client.alive = False
        return ws

    async def hear(self, client: Client, text: str) -> None:
        asked = json.loads(text)
        names = tuple(asked["params"])
        client.heard.append((self.loop.time(), asked["method"], names))
        bad = self.bad & set(names) if asked["method"] == "SUBSCRIBE" else set()
        if bad and self.closes:
            await client.ws.close(code=1008, message=b"Invalid request")
        elif bad:
            await client.ws.send_json({"error": {"code": 2, "msg": "no"}, "id": asked["id"]})
        elif asked["method"] == "SUBSCRIBE" and len(client.names | dict.fromkeys(names)) > self.most:
            await client.ws.send_json({"error": {"code": 4, "msg": "many"}, "id": asked["id"]})
            await client.ws.close(code=1008, message=b"Invalid request")
        else:
            for name in names:
                client.names[name] = None
                if asked["method"] == "UNSUBSCRIBE":
                    del client.names[name]
            if self.answers:
                await client.ws.send_json({"result": None, "id": asked["id"]})

    async def tell(self, names: Iterable[str] = NAMES) -> None:
        """Publish one numbered frame of each of these streams to all who follow it."""
        for name in names:
            number = len(self.told)
            frame = json.dumps(
                {"stream": name, "data": {"e": "kline", "k": {"n": number}}}, separators=(",", ":")
            )
            self.told.append(frame)
            for client in self.living:
                if name in client.names and not client.mute and name not in client.without:
                    with contextlib.suppress(ConnectionError):
                        await client.ws.send_str(frame)

    async def publish(self, *, every: float = 0.25) -> None:
        """Tell all streams for ever, from when all are subscribed."""
        await asyncio.sleep(1)
        while True:
            await self.tell()
            await asyncio.sleep(every)

    def links(self, port: int = PORTS[0]) -> list[Link]:
        return [link for link in self.loop.links if link.server[1] == port]


@dataclass
class Scene:
    """An exchange, seats on it, and what happened when."""

    loop: SimLoop
    place: Place
    seats: list[Seat]
    doorman: Doorman
    frames: list[str] = field(default_factory=list)
    changes: list[tuple[float, int, bool, str]] = field(default_factory=list)

    @property
    def seat(self) -> Seat:
        return self.seats[0]

    def changed(self, number: int) -> None:
        seat = self.seats[number]
        self.changes.append((self.loop.time(), number, seat.up, seat.last_loss))

    def took(self, number: int, buf: U8, ends: I64, frames: int) -> None:
        starts = [0, *(int(end) for end in ends[: frames - 1])]
        self.frames += [bytes(buf[a:b]).decode() for a, b in zip(starts, ends[:frames], strict=True)]

    @property
    def lacking(self) -> list[str]:
        """What was told and never came."""
        return sorted(set(self.place.told) - set(self.frames))


def played(
    act: Callable[[Scene], Awaitable[Any]],
    *,
    seats: int = 1,
    routes: int = 1,
    names: Iterable[str] = NAMES,
    up: bool = True,
    seed: int = 3,
    numbers: int = 0,
) -> Scene:
    """Run *act* while seats live on an exchange, and see that nothing is left when they are cancelled."""

    async def main(loop: SimLoop) -> Scene:
        rng = np.random.default_rng(seed)
        scene = Scene(loop, Place(loop), [], Doorman())
        for number in range(seats):
            made = Seat(
                number,
                SimNetwork(),
                ROUTES[:routes],
                names,
                on_batch=scene.took,
                on_change=scene.changed,
                jitter=rng.random,
                doorman=scene.doorman,
            )
            scene.seats.append(made)
        for port in PORTS[: routes if up else 0]:
            await scene.place.open(port)
        before = asyncio.all_tasks()
        living = [asyncio.create_task(seat.run()) for seat in scene.seats]
        acting = asyncio.ensure_future(act(scene))
        done, _ = await asyncio.wait([*living, acting], return_when=asyncio.FIRST_COMPLETED)
        for task in (*living, acting):
            task.cancel()
        await asyncio.wait([*living, acting])
        await asyncio.sleep(1)
        for runner in scene.place.runners.values():
            await runner.cleanup()
        await asyncio.sleep(11)
        assert not scene.loop.links, "a socket was left behind"
        assert asyncio.all_tasks() == before, "a task was left behind"
        for task in done:
            await task
        return scene

    return run(main, delay=steady(DELAY))


async def during(scene: Scene, act: Awaitable[Any], *, every: float = 0.25) -> None:
    """Do something while the exchange tells all streams; nothing is on its way any more at the end."""
    telling = asyncio.create_task(scene.place.publish(every=every))
    try:
        await act
    finally:
        failed = telling.done()
        telling.cancel()
    assert not failed, telling.result()
    await asyncio.sleep(1)
