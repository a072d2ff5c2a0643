"""Source: a ccxt exchange as the dialect reads a market; what ccxt does not tell is not there."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from klinehub.bridge.digits import Digits, plain
from klinehub.bridge.listing import SPOT_KIND, SWAP_KIND, has_swaps, listed
from klinehub.bridge.upstream import Bar, Upstream
from klinehub.dialect.params import Rejected
from klinehub.domain.clock import Clock
from klinehub.domain.kline import ROW, Exact
from klinehub.domain.listing import Listing
from klinehub.domain.texts import DayTexts, MarkTexts, MiniTexts, Traded
from klinehub.domain.timeframe import DAY, Timeframe
from klinehub.errors import DefinitionError

# Market time after which the listing and the tickers are read again when they are asked for.
LISTING_AGE: Final = 600_000
TICKER_AGE: Final = 5_000


class CcxtSource:
    """The markets of a *kind* of an exchange: swap or spot, "" for swaps of *quote* where there are some."""

    def __init__(self, upstream: Upstream, kind: str, quote: str) -> None:
        self.upstream = upstream
        self.clock: Clock = upstream.clock
        self.kind = kind
        self._quote = quote
        self._listed: dict[str, tuple[str, Listing]] = {}
        self._names: dict[str, str] = {}
        # Who is gone may still be followed for a while.
        self._known: dict[str, tuple[str, Listing]] = {}
        self._read_at = self._told_at = 0
        self._digits: dict[str, Digits] = {}
        self._days: dict[str, DayTexts] = {}

    async def open(self) -> None:
        """Read the markets for the first time; raises Rejected as `Upstream.ask` does."""
        if not self.kind:
            self.kind = SWAP_KIND if self.upstream.exchange.has.get("swap") else SPOT_KIND
            await self._read()
            if self.kind == SWAP_KIND and not has_swaps(self.upstream.exchange.markets, self._quote):
                self.kind = SPOT_KIND
        if not self._listed or self.kind == SPOT_KIND:
            await self._read()
        if not self._listed:
            raise DefinitionError(f"ccxt:{self.upstream.name} lists no {self.kind} market.")

    async def _read(self) -> None:
        """Read the markets of the kind, and no others where ccxt lets one choose."""
        exchange, words = self.upstream.exchange, {SWAP_KIND: {"swap", "linear"}, SPOT_KIND: {"spot"}}
        exchange.options["defaultType"] = self.kind
        if self.kind == SWAP_KIND:
            exchange.options["defaultSubType"] = "linear"
        exchange.options["fetchMarkets"] = _narrowed(exchange.options.get("fetchMarkets"), words[self.kind])
        markets = await self.upstream.ask("load_markets", True)  # noqa: FBT003 - ccxt's own order
        self._listed = listed(markets, self.kind, exchange.precisionMode)
        self._known |= self._listed
        self._names = {unified: name for name, (unified, _) in self._listed.items()}
        self._read_at = self.clock.now()

    async def renew(self) -> bool:
        """Read the markets again where that was long ago; whether anything was read."""
        if self.clock.now() - self._read_at < LISTING_AGE * max(1.0, self.clock.rate):
            return False
        await self._read()
        return True

    def unified(self, symbol: str) -> str:
        """Give ccxt's name of a symbol that is, or was, listed."""
        return self._known[symbol][0]

    def digits(self, symbol: str) -> Digits:
        """Give what is known of a symbol's decimals."""
        if symbol not in self._digits:
            one = self._known[symbol][1]
            self._digits[symbol] = Digits(one.tick_size, one.step_size)
        return self._digits[symbol]

    def learned(self, symbol: str, bars: Sequence[Bar]) -> Digits:
        """Give a symbol's decimals, at least as many as these bars need."""
        digits = self.digits(symbol)
        digits.learn((price for bar in bars for price in bar[1:5]), (bar.volume for bar in bars))
        return digits

    def listings(self) -> Sequence[Listing]:
        """Give everything listed now."""
        return tuple(listing for _, listing in self._listed.values())

    def listing(self, symbol: str) -> Listing | None:
        """Give one listing by its symbol in capitals, None where there is none."""
        return self._listed[symbol][1] if symbol in self._listed else None

    def klines(self, symbol: str, timeframe: Timeframe, first: int | None, last: int, limit: int) -> Exact:  # noqa: ARG002
        """Give no bar, only the decimals: bars are asked for, and answered when they have come."""
        return Exact(np.empty(0, ROW), self.digits(symbol).scale)

    async def read_tickers(self) -> None:
        """Ask for the last 24 hours of everything, unless that was just now."""
        now = self.clock.now()
        if now - self._told_at < TICKER_AGE or not self.upstream.has("fetchTickers"):
            return
        told = await self.upstream.ask("fetch_tickers")
        self._told_at = now
        self._days = {}
        for unified, ticker in told.items():
            if unified in self._names and ticker.get("last") is not None:
                name = self._names[unified]
                self._days[name] = day_texts(name, ticker, now)

    def ticker(self, symbol: str) -> DayTexts | None:
        """Give the last 24 hours of a symbol; None where they were not told."""
        return self._days.get(symbol)

    def tickers(self) -> Sequence[DayTexts]:
        """Give the last 24 hours of all of which they were told."""
        return tuple(self._days.values())

    def mini(self, symbol: str) -> MiniTexts | None:
        """Give the last 24 hours of a symbol in short."""
        return self._days.get(symbol)

    def last_trade(self, symbol: str) -> Traded | None:
        """Give the last price of a symbol, with the time at which it was told."""
        day = self._days.get(symbol)
        return None if day is None else Traded(symbol, day.last, day.time)

    def last_trades(self) -> Sequence[Traded]:
        """Give the last prices of all of which they were told."""
        return [Traded(day.symbol, day.last, day.time) for day in self._days.values()]

    def mark(self, symbol: str) -> MarkTexts | None:  # noqa: ARG002 - not told
        """Give nothing: marks are not asked for."""
        return None

    def marks(self) -> Sequence[MarkTexts]:
        """Give nothing: marks are not asked for."""
        return ()

    def funding_hours(self, symbol: str) -> int | None:  # noqa: ARG002 - not told
        """Give nothing: funding is not asked for."""
        return None

    def open_interest(self, symbol: str) -> str:
        """Refuse: open interest is not asked for."""
        raise Rejected(-5000, f"The open interest of {symbol} is not asked for.")


def _narrowed(told: Any, wanted: set[str]) -> Any:  # noqa: ANN401 - whatever ccxt keeps there
    """Choose among the types of markets that ccxt reads, where it keeps a list of them."""
    types = told.get("types") if isinstance(told, dict) else None
    if not isinstance(types, list) or not wanted & set(types):
        return told
    return {**told, "types": [one for one in types if one in wanted]}


def day_texts(symbol: str, ticker: Mapping[str, Any], now: int) -> DayTexts:
    """Give ccxt's ticker in the exchange's texts; numbers that were not told print as 0.

    A turnover that was not told is the base volume at the last price.
    """
    volume, last = _number(ticker, "baseVolume"), _number(ticker, "last")
    money = _number(ticker, "quoteVolume") or volume * (_number(ticker, "vwap") or last)
    return DayTexts(
        symbol=symbol,
        pair=symbol,
        time=now,
        last=plain(last),
        open=plain(_number(ticker, "open")),
        high=plain(_number(ticker, "high")),
        low=plain(_number(ticker, "low")),
        volume=plain(volume),
        quote_volume=plain(money),
        change=plain(_number(ticker, "change")),
        percent=plain(_number(ticker, "percentage")),
        average=plain(_number(ticker, "vwap")),
        quantity="0",
        open_time=max(0, now - DAY),
        close_time=now,
        first_id=0,
        last_id=0,
        trades=0,
    )


def _number(ticker: Mapping[str, Any], name: str) -> float:
    told = ticker.get(name)
    return float(told) if isinstance(told, int | float) and abs(told) < float("inf") else 0.0
