"""An exchange that only ccxt knows: a class of its own on ccxt's base, with a market that is a formula.

Every bar is a function of its symbol and index, so that a test knows what each had to be in the end.
"""

import asyncio
from typing import Any, Final

from ccxt.async_support.base.exchange import Exchange
from ccxt.base.decimal_to_precision import TICK_SIZE
from ccxt.base.errors import ExchangeNotAvailable, NotSupported, RateLimitExceeded

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import timeframe

START: Final = 1_795_252_512_345
BASES: Final = ("BTC", "ETH", "PEPE")


def truth(base: str, name: str, index: int) -> list[float]:
    """Give the closed bar of an index as ccxt does."""
    frame, seed = timeframe(name), sum(base.encode())
    opened = 100.0 + (index * 7919 + seed) % 97 / 10
    close = 100.0 + ((index + 1) * 7919 + seed) % 97 / 10
    low, high = min(opened, close) - 0.1 * (index % 3), max(opened, close) + 0.1 * (index % 5)
    volume = (index * 104_729 + seed) % 100_003 / 1000
    return [frame.open_time(index), opened, round(high, 1), round(low, 1), close, volume]


class StandIn(Exchange):  # type: ignore[misc] # ccxt ships no types
    """Spot or swaps, as *kinds* says; *absent* are (base, index) of 1m bars that it does not have.

    `gone` are not listed any more, `failing` is what the next requests raise, `most` how many rows one answer
    holds at most. `asked` counts what was asked for.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        kinds: tuple[str, ...] = ("swap",),
        tells_time: bool = True,
        absent: frozenset[tuple[str, int]] = frozenset(),
        most: int = 300,
    ) -> None:
        self.market_clock = clock
        self.kinds, self.tells_time = kinds, tells_time
        self.absent, self.most = absent, most
        self.failing: list[Exception] = []
        self.gone: frozenset[str] = frozenset()
        self.asked: dict[str, int] = {}
        super().__init__({"enableRateLimit": True})

    def describe(self) -> Any:
        return self.deep_extend(
            super().describe(),
            {
                "id": "standin",
                "rateLimit": 5,
                "has": {
                    "fetchOHLCV": True,
                    "fetchTime": self.tells_time,
                    "fetchTickers": True,
                    "swap": "swap" in self.kinds,
                    "spot": "spot" in self.kinds,
                    "fetchCurrencies": False,
                },
                "timeframes": {"1m": "1m", "5m": "5m", "15m": "15m", "1h": "1h"},
                "precisionMode": TICK_SIZE,
                "features": {},
            },
        )

    def note(self, what: str) -> None:
        self.asked[what] = self.asked.get(what, 0) + 1
        if self.failing:
            raise self.failing.pop(0)

    async def fetch_markets(self, params: Any = None) -> Any:
        self.note("markets")
        return [
            self.safe_market_structure(
                {
                    "id": f"{base}-{kind}",
                    "symbol": f"{base}/USDT:USDT" if kind == "swap" else f"{base}/USDT",
                    "base": base,
                    "quote": "USDT",
                    "settle": "USDT" if kind == "swap" else None,
                    "type": kind,
                    "spot": kind == "spot",
                    "swap": kind == "swap",
                    "contract": kind == "swap",
                    "linear": True if kind == "swap" else None,
                    "active": True,
                    "precision": {"price": 0.1, "amount": 0.001},
                }
            )
            for kind in self.kinds
            for base in BASES
            if base not in self.gone
        ]

    async def fetch_time(self, params: Any = None) -> int:
        await self.throttle(1)
        return self.market_clock.now()

    async def fetch_tickers(self, symbols: Any = None, params: Any = None) -> Any:
        await self.throttle(1)
        self.note("tickers")
        return {
            market["symbol"]: {"symbol": market["symbol"], "last": 100.5, "baseVolume": 10.0 + n}
            for n, market in enumerate(self.markets.values())
        }

    async def fetch_ohlcv(
        self,
        symbol: str,
        timeframe: str = "1m",
        since: int | None = None,
        limit: int | None = None,
        params: Any = None,
    ) -> Any:
        await self.throttle(1)
        self.note("klines")
        count = min(limit or self.most, self.most)
        return self.rows(symbol.partition("/")[0], timeframe, since, count)

    def rows(self, base: str, name: str, since: int | None, count: int) -> list[list[float]]:
        """Give what the exchange has now: closed bars, and the open one as far as it is over."""
        frame, now = timeframe(name), self.market_clock.now()
        newest = frame.index(now)
        first = newest - count + 1 if since is None else -(-(since - frame.offset) // frame.milliseconds)
        found = []
        for index in range(first, min(first + count, newest + 1)):
            if name == "1m" and (base, index) in self.absent:
                continue
            row = truth(base, name, index)
            if index == newest:
                part = (now - frame.open_time(index)) / frame.milliseconds
                row = [row[0], row[1], row[1], row[1], row[1], round(row[5] * part, 3)]
            found.append(row)
        return found


class Watching(StandIn):
    """The same with a watch: of many series, or of one; `broken` is what it raises."""

    def __init__(self, clock: Clock, *, many: bool = True) -> None:
        self.many = many
        self.broken: Exception | None = None
        super().__init__(clock)

    def describe(self) -> Any:
        has = {"watchOHLCVForSymbols": self.many, "watchOHLCV": True}
        return self.deep_extend(super().describe(), {"has": has})

    async def watch_ohlcv_for_symbols(self, pairs: list[list[str]]) -> dict[str, Any]:
        return {symbol: {name: await self.watch_ohlcv(symbol, name)} for symbol, name in pairs}

    async def watch_ohlcv(self, symbol: str, name: str) -> list[list[float]]:
        await asyncio.sleep(0.02)
        if self.broken is not None:
            raise self.broken
        return self.rows(symbol.partition("/")[0], name, None, 1)


def too_many() -> Exception:
    error: Exception = RateLimitExceeded("standin 429 slow down")
    return error


def away() -> Exception:
    error: Exception = ExchangeNotAvailable("standin 503")
    return error


def unknown() -> Exception:
    error: Exception = NotSupported("standin watches nothing")
    return error
