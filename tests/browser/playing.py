"""A hub that a test plays: the page's live connection is taken over, and told what the test wants to see."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from playwright.sync_api import Page, WebSocketRoute

from klinehub.serve.board import messages as told

NOW: Final = 1_790_000_100_000
DAY: Final = 86_400_000
FRAME: Final = 900_000
PARTS: Final = {"trend": 14.0, "macd": 8.0, "rsi": 8.0}


def symbol(name: str, **more: Any) -> told.SymbolTold:
    """Make a listing that has nothing special."""
    usual: dict[str, Any] = {
        "symbol": name,
        "pair": f"{name.removesuffix('USDT')}/USDT:USDT",
        "base": name.removesuffix("USDT"),
        "quote": "USDT",
        "status": "TRADING",
        "contract_type": "PERPETUAL",
        "underlying_type": "COIN",
        "onboard_time": NOW - 400 * DAY,
        "delivery_time": 0,
        "price_decimals": 2,
    }
    return told.SymbolTold(**{**usual, **more})


def health(count: int, **more: Any) -> told.HealthTold:
    """Make a report of a hub that lacks nothing."""
    usual: dict[str, Any] = {
        "time": NOW,
        "symbols": count,
        "fresh": count,
        "stale": 0,
        "reasons": {},
        "lag": told.Lag(0.2, 0.9, 2048),
        "gaps": 0,
        "weight": told.Weight(120, 2400),
        "rest": told.RestTold(open=True, why="", until=0),
        "sockets": told.Sockets(3, 3, "", 2, NOW - 65_000),
        "closes": 10,
        "store_fault": "",
        "bytes": 1,
    }
    return told.HealthTold(**{**usual, **more})


class Played:
    """One hub, told by a test: answers each view with a table of its `symbols`.

    Set what it should say before the page is opened; `say` tells it something more.
    """

    def __init__(self, symbols: Iterable[told.SymbolTold], **hello: Any) -> None:
        self.symbols = list(symbols)
        self.views: list[dict[str, Any]] = []
        self.sparks: list[int] = []
        self.first: list[Any] = []
        self.warming: list[int] = []
        self.missing: list[int] = []
        self.passes: list[int] | None = None
        self.tables = 0
        # How many of the symbols were listed since the last table was made.
        self.newcomers = 0
        # Whether nobody answers who connects.
        self.away = False
        self._hello = hello
        self._lines: list[WebSocketRoute] = []

    def take_over(self, page: Page) -> None:
        """Answer in place of the hub of the page."""
        page.route_web_socket("**/board/live", self._open)

    def _open(self, line: WebSocketRoute) -> None:
        if self.away:
            line.close(code=1001, reason="")
            return
        self._lines.append(line)
        line.on_message(self._asked)
        self.say(hello(**self._hello))
        self.say(told.Symbols(len(self.symbols), self.symbols))
        for message in self.first:
            self.say(message)

    def _asked(self, text: str | bytes) -> None:
        told.decode(text)
        asked = msgspec.json.decode(text)
        if asked["type"] == "spark":
            self.sparks.append(asked["bars"])
        else:
            self.views.append(asked)
            self.say(told.Viewed(asked["id"], {}))
            self.table()

    def say(self, message: Any) -> None:
        """Tell the page something: one of the hub's messages, or a mapping."""
        if self._lines:
            self._lines[-1].send(msgspec.json.encode(message).decode())

    def hang_up(self) -> None:
        """End the connection, and take no other until `away` is unset."""
        self.away = True
        self._lines.pop().close(code=1001, reason="")

    def table(self, **more: Any) -> None:
        """Tell the values of a bar: row r has the score 90 - r, and r in each column, more at each bar."""
        self.tables += 1
        count, view = len(self.symbols) - self.newcomers, self.views[-1]
        unknown = {*self.warming, *self.missing}
        scores = [None if row in unknown else max(-90.0, 90.0 - row) for row in range(count)]
        bar = NOW // FRAME + self.tables
        self.say(
            {
                "type": "table",
                "layout": count,
                "view": view["id"],
                "timeframe": view["timeframe"],
                "bar": bar,
                "open_time": bar * FRAME,
                "close_time": (bar + 1) * FRAME,
                "forming": False,
                "revision": 0,
                "seconds": 0.001,
                "close": [100.0 + row for row in range(count)],
                "change": [0.5] * count,
                "score": scores,
                "parts": split(scores),
                "values": {text: [row + self.tables / 4 for row in range(count)] for text in view["columns"]},
                "passes": self.passes,
                "warming": self.warming,
                "missing": self.missing,
                **more,
            }
        )

    def prices(self, prices: Mapping[int, float]) -> None:
        """Tell the newest prices of some rows."""
        rows = list(prices)
        self.say(
            {
                "type": "prices",
                "layout": len(self.symbols),
                "time": NOW,
                "rows": rows,
                "price": list(prices.values()),
                "change": [1.0] * len(rows),
                "day": [-2.0] * len(rows),
                "turnover": [1e6] * len(rows),
            }
        )

    def spark(self, closes: bytes, volumes: bytes) -> None:
        """Tell the same small picture for every row."""
        count = len(self.symbols)
        coded = [b64encode(one).decode() for one in (closes, volumes)]
        self.say(
            {
                "type": "spark",
                "layout": count,
                "view": self.views[-1]["id"],
                "bars": len(closes),
                "closes": [coded[0]] * count,
                "volumes": [coded[1]] * count,
            }
        )


def split(scores: list[float | None]) -> dict[str, list[float | None]]:
    """Divide scores among the parts by weights that add up exactly."""
    shares = {"trend": 0.5, "macd": -0.25, "rsi": 0.75}
    return {
        name: [None if score is None else score * share for score in scores] for name, share in shares.items()
    }


def hello(**more: Any) -> told.Hello:
    """Make what a hub says first."""
    usual: dict[str, Any] = {
        "version": "1",
        "exchange": "binance-usdm",
        "time": NOW,
        "rate": 1.0,
        "tz": "UTC",
        "url": "",
        "timeframes": ["1m", "15m", "1h"],
        "base": "1m",
        "default": "15m",
        "presets": [told.Preset("score", "score", "", ["rsi"], None)],
        "parts": [told.PartTold(name, weight, name) for name, weight in PARTS.items()],
        "can": {"alerts": True, "history": True},
    }
    return told.Hello(**{**usual, **more})
