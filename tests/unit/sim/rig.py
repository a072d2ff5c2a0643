"""A simulated exchange with trouble, and plain clients that note what they get of it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import numpy as np
from aiohttp import WSMsgType
from tests.unit.dialect.virtual import START, Scene, on_exchange

from klinehub.domain.timeframe import MINUTE
from klinehub.sim.amended import Amended
from klinehub.sim.faults import KINDS, Fault
from klinehub.sim.line_trouble import with_names
from klinehub.sim.loop import SimLoop
from klinehub.sim.skew import Skewed
from klinehub.sim.synthetic import synthetic
from klinehub.sim.trouble import Trouble

T = TypeVar("T")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")


@dataclass
class Got:
    """What a WebSocket client got: (exchange time, text) of each frame, and the code it was closed with."""

    frames: list[tuple[int, str]] = field(default_factory=list)
    code: int | None = None
    pings: int = 0

    def events(self, symbol: str = "", *, after: int = 0) -> list[dict[str, Any]]:
        """Give the kline events, those of one symbol, that came after a time."""
        told = [json.loads(text) for time, text in self.frames if time >= after]
        plain = [one.get("data", one) for one in told]
        return [one for one in plain if one.get("e") == "kline" and one["s"].startswith(symbol)]


class Rig:
    """The exchange, its trouble, and clients of it."""

    def __init__(self, scene: Scene) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        self.loop, self.scene, self.clock = loop, scene, scene.clock
        self.market = scene.served.exchange.market
        self.skewed = Skewed(loop.time)
        self.restarts = 0
        self.log: list[tuple[str, bool, int]] = []
        self.rest_url, self.ws_url = with_names(loop, scene.served)
        self.trouble = Trouble(
            loop,
            scene.served,
            np.random.default_rng(3),
            clock=self.skewed,
            restart=self.restart,
            on=lambda fault, begun: self.log.append((fault.kind, begun, self.clock.now())),
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def restart(self, meanwhile: Callable[[], None]) -> None:
        meanwhile()
        self.restarts += 1
        await asyncio.sleep(2.0)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def to_minute(self, offset: float = 0.0) -> int:
        """Wait until *offset* seconds after the next minute opens that is at least a second away."""
        minute = (self.clock.now() + 1000) // MINUTE * MINUTE + MINUTE
        await asyncio.sleep(self.clock.seconds_until(minute) + offset)
        return minute

    def begin(self, kind: str, seconds: float | None = None, *, pick: float = 0.0, size: float = 0.0) -> Any:
        """Let a fault happen now; gives its task."""
        lasting = KINDS[kind].shortest if seconds is None else seconds
        fault = Fault(kind, self.clock.now(), lasting, pick, size)
        return asyncio.ensure_future(self.trouble.play([fault]))

    async def follow(
        self, *symbols: str, frames: str = "1m", path: str = "/market/stream", pong: bool = True
    ) -> Got:
        """Open a WebSocket on kline streams (all symbols where none is named) and note what comes."""
        names = [f"{s.lower()}@kline_{f}" for s in symbols or SYMBOLS for f in frames.split()]
        url = f"{self.ws_url}{path}?streams={'/'.join(names)}"
        socket = await self.scene.session.ws_connect(url, autoping=False, max_msg_size=0)
        got = Got()
        self._tasks.append(asyncio.ensure_future(self._note(socket, got, pong=pong)))
        return got

    async def _note(self, socket: aiohttp.ClientWebSocketResponse, got: Got, *, pong: bool) -> None:
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.PING:
                got.pings += 1
                if pong:
                    await socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                got.frames.append((self.clock.now(), message.data))
            else:
                got.code = int(message.data) if message.type is WSMsgType.CLOSE else -1
                return

    async def ask(self, path: str = "/fapi/v1/ping", **params: Any) -> tuple[int, bytes, dict[str, str]]:
        """Ask REST by name; gives status, body and headers."""
        async with self.scene.session.get(self.rest_url + path, params=params) as answer:
            return answer.status, await answer.read(), {k.lower(): v for k, v in answer.headers.items()}

    async def klines(self, symbol: str = "BTCUSDT", interval: str = "1m", limit: int = 5) -> list[list[Any]]:
        """Ask REST for the newest bars."""
        status, body, _ = await self.ask("/fapi/v1/klines", symbol=symbol, interval=interval, limit=limit)
        assert status == 200, body
        rows: list[list[Any]] = json.loads(body)
        return rows


def rigged(act: Callable[[Rig], Awaitable[T]], *, hidden: int = 1, **settings: Any) -> T:
    """Run *act* against an exchange in trouble on virtual time."""
    inner = synthetic(len(SYMBOLS) + hidden, 1, start=START, churn_hours=0)
    names = [one.symbol for one in inner.instruments[len(SYMBOLS) : len(SYMBOLS) + hidden]]

    async def main(scene: Scene) -> T:
        return await act(Rig(scene))

    return on_exchange(main, market=Amended(inner, names), **{"pulse": 1.0} | settings)
