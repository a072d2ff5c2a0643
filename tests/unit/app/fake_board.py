"""A hub that speaks the board's live protocol at a Unix door or a port, as a test wants it."""

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import WSCloseCode, web

MINUTE: Final = 60_000
START: Final = 1_772_712_000_000
HELLO: Final[dict[str, Any]] = {
    "type": "hello",
    "protocol": 1,
    "version": "0.1.0",
    "exchange": "simulated exchange",
    "time": START,
    "rate": 10.0,
    "tz": "UTC",
    "url": "http://127.0.0.1:8787",
    "timeframes": ["1m", "5m", "15m", "1h"],
    "base": "1m",
    "default": "15m",
    "presets": [
        {"name": "default", "where": "", "columns": ["rsi", "trend"], "order_by": None, "kind": "score"},
        {
            "name": "momentum",
            "where": "trend > 0.5 and adx > 20",
            "columns": ["momentum", "trend", "adx"],
            "order_by": "-momentum",
            "kind": "preset",
        },
    ],
    "parts": [
        {"name": "trend", "weight": 14.0, "text": "trend"},
        {"name": "rsi", "weight": 8.0, "text": "rsi"},
        {"name": "macd", "weight": 8.0, "text": "macd"},
    ],
    "can": {"alerts": True, "history": True},
}
UNKNOWN: Final = {"message": "Column 1 (`rsii < 30`): Unknown name 'rsii'. Did you mean 'rsi'?", "place": 0}


class FakeHub:
    """Tells of *names*; `asked` is what came in, `told` sends something to all who listen."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.asked: list[dict[str, Any]] = []
        self.hello = dict(HELLO)
        self.listed: dict[str, dict[str, Any]] = {}
        self.rejected: set[str] = set()
        self.full = ""
        self.status = 0
        # Whoever comes while it is cleared waits at the door.
        self.lets_in = asyncio.Event()
        self.lets_in.set()
        self.lines: list[web.WebSocketResponse] = []
        self.headers: list[dict[str, str]] = []
        self._time = START

    @property
    def symbols(self) -> dict[str, Any]:
        usual = {
            "base": "X",
            "quote": "USDT",
            "status": "TRADING",
            "contract_type": "PERPETUAL",
            "underlying_type": "COIN",
            "onboard_time": 0,
            "delivery_time": 0,
            "price_decimals": 4,
        }
        rows = [{**usual, "symbol": name, "pair": name, **self.listed.get(name, {})} for name in self.names]
        return {"type": "symbols", "layout": len(rows), "symbols": rows}

    def table(self, view: dict[str, Any], seed: int = 1) -> dict[str, Any]:
        """Give a table of a view: with a filter the even rows pass."""
        dice, count = random.Random(seed), len(self.names)
        score = [round(dice.gauss(0, 30), 2) for _ in self.names]
        return {
            "type": "table",
            "layout": len(self.names),
            "view": view["id"],
            "timeframe": view["timeframe"],
            "bar": seed,
            "open_time": START - 15 * MINUTE,
            "close_time": START - 1,
            "forming": False,
            "revision": 0,
            "seconds": 0.0007,
            "close": [round(dice.lognormvariate(1, 3), 4) for _ in self.names],
            "change": [round(dice.gauss(0, 1), 3) for _ in self.names],
            "score": score,
            "parts": {
                "trend": [one * 0.5 for one in score],
                "rsi": [one * 0.3 for one in score],
                "macd": [one * 0.2 for one in score],
            },
            "values": {
                text: [round(dice.uniform(0, 100), 3) for _ in self.names]
                for text in view["columns"]
                if text not in self.rejected
            },
            "passes": [1 - row % 2 for row in range(count)] if view["where"] else None,
            "warming": [],
            "missing": [],
        }

    def prices(self, rows: Sequence[int], price: Sequence[float]) -> dict[str, Any]:
        """Give new prices of some rows."""
        return {
            "type": "prices",
            "layout": len(self.names),
            "time": START + 1000,
            "rows": list(rows),
            "price": list(price),
            "change": [1.5] * len(rows),
            "day": [-2.5] * len(rows),
            "turnover": [12_345_678.0] * len(rows),
        }

    def spark(self, view: dict[str, Any]) -> dict[str, Any]:
        """Give sparklines that rise."""
        drawn = base64.b64encode(bytes(4 * at for at in range(60))).decode()
        lines = [drawn] * len(self.names)
        return {
            "type": "spark",
            "layout": len(self.names),
            "view": view["id"],
            "bars": 60,
            "closes": lines,
            "volumes": lines,
        }

    def stale(self, rows: dict[int, str]) -> dict[str, Any]:
        """Give which rows are stale, and why."""
        told = {str(row): {"reason": reason, "since": START} for row, reason in rows.items()}
        return {"type": "stale", "layout": len(self.names), "rows": told}

    def health(self, **changes: Any) -> dict[str, Any]:
        """Give the hub's health."""
        return {
            "type": "health",
            "time": START + 5_000,
            "symbols": len(self.names),
            "fresh": len(self.names),
            "stale": 0,
            "reasons": {},
            "lag": {"p50": 0.21, "p99": 0.9, "count": 2_048},
            "gaps": 0,
            "weight": {"used": 320, "limit": 2_400},
            "rest": {"open": True, "why": "", "until": 0},
            "sockets": {"up": 3, "all": 3, "loss": "", "reconnects": 0, "last_reconnect": 0},
            "closes": 12,
            "store_fault": "",
            "bytes": 200_000_000,
            **changes,
        }

    async def tell(self, message: dict[str, Any]) -> None:
        """Send a message to all who listen."""
        for line in self.lines:
            await line.send_json(message)

    async def cut(self) -> None:
        """Close all lines as a hub does that ends."""
        for line in [*self.lines]:
            await line.close(code=WSCloseCode.GOING_AWAY)

    async def live(self, request: web.Request) -> web.StreamResponse:
        """Answer somebody who wants to listen."""
        self.headers.append(dict(request.headers))
        if self.status:
            return web.Response(status=self.status)
        await self.lets_in.wait()
        line = web.WebSocketResponse(protocols=("klinehub",))
        await line.prepare(request)
        self.lines.append(line)
        for message in (self.hello, self.symbols, self.stale({}), self.health()):
            await line.send_json(message)
        async for frame in line:
            asked = frame.json()
            self.asked.append(asked)
            if asked["type"] == "view":
                await self._answer(line, asked)
        self.lines.remove(line)
        return line

    async def _answer(self, line: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        errors: dict[str, Any] = {}
        if asked["where"] in self.rejected:
            errors["where"] = UNKNOWN
        bad = {text: UNKNOWN for text in asked["columns"] if text in self.rejected}
        if bad:
            errors["columns"] = bad
        await line.send_json({"type": "view", "id": asked["id"], "errors": errors})
        if self.full:
            await line.send_json({"type": "failed", "view": asked["id"], "message": self.full})
            return
        told = self.table({**asked, "where": "" if "where" in errors else asked["where"]})
        rows = range(len(self.names))
        for message in (told, self.spark(asked), self.prices(rows, told["close"])):
            await line.send_json(message)

    async def klines(self, request: web.Request) -> web.Response:
        """Give closed bars as the local door does."""
        count = int(request.query["limit"])
        rows = [
            [START + at * MINUTE, "1.0", "1.2", "0.9", "1.1", "100", 0, "0", 1, "0", "0", "0"]
            for at in range(count)
        ]
        return web.json_response(rows)

    async def api_klines(self, request: web.Request) -> web.Response:
        """Give closed bars as the API does."""
        names = ("open_time", "open", "high", "low", "close", "volume")
        rows = [
            dict(zip(names, (START + at * MINUTE, 1.0, 1.2, 0.9, 1.1, 100.0), strict=True)) for at in range(3)
        ]
        return web.json_response({"symbol": request.query["symbol"], "stale": None, "klines": rows})


def _app(hub: FakeHub) -> web.Application:
    app = web.Application()
    app.router.add_get("/live", hub.live)
    app.router.add_get("/klines", hub.klines)
    for before in ("", "/c/secret"):
        app.router.add_get(f"{before}/board/live", hub.live)
        app.router.add_get(f"{before}/api/v1/klines", hub.api_klines)
    return app


@asynccontextmanager
async def at_door(hub: FakeHub, path: Path) -> AsyncIterator[None]:
    """Let the hub answer at a Unix door while the block runs."""
    runner = web.AppRunner(_app(hub), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def at_port(hub: FakeHub) -> AsyncIterator[str]:
    """Let the hub answer at a free port while the block runs; gives its address."""
    runner = web.AppRunner(_app(hub), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
