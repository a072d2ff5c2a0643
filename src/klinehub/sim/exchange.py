"""The simulated exchange: a market, a clock, the dialect, and what it does on its own as time goes by."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from aiohttp import web

from klinehub.dialect.board import Board
from klinehub.dialect.frames import IDS_PER_MINUTE
from klinehub.dialect.manner import COINS, FUTURES, SPOT
from klinehub.dialect.render import price_text, rows_json, volume_text
from klinehub.dialect.rest import Told
from klinehub.dialect.stream import SPOT_RULES, Rules, Streams
from klinehub.dialect.tally import Tally
from klinehub.domain.clock import Clock
from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.listing import Listing
from klinehub.domain.texts import DayTexts, MarkTexts, MiniTexts, Traded
from klinehub.domain.timeframe import MINUTE, Timeframe, timeframe
from klinehub.errors import DefinitionError
from klinehub.sim import funding
from klinehub.sim.market import Market
from klinehub.sim.pacing import Pacer
from klinehub.sim.rest import SimCoinRest, SimRest, SimSpotRest
from klinehub.sim.tellers import Tellers, contract_event
from klinehub.sim.texts import Day, Mark, day_texts, mark_texts
from klinehub.sim.truth import OPEN_TIME, TRADES, exact

# Kline updates come every quarter of a real second, whatever the speed of market time.
PULSE_SECONDS: Final = 0.25
_SLOWEST_PULSE: Final = 1.0
# A bar's end is told this many real seconds late, as on the exchange.
LATENESS_SECONDS: Final = 0.03
# A ticker takes 0.1 ms to add up; the streams that show it in the same pulse share one.
TICKER_SECONDS: Final = 0.1


class MarketSource:
    """A simulated market at its clock's time, as the dialect reads it."""

    def __init__(self, market: Market, clock: Clock) -> None:
        self.market = market
        self.clock = clock
        self._listings: tuple[Listing, ...] = ()
        self._by_symbol: dict[str, Listing] = {}
        self._as_of = -1
        self._days: dict[str, tuple[Day, DayTexts]] = {}

    def listings(self) -> tuple[Listing, ...]:
        """Give everything listed now, in the order of exchangeInfo."""
        now = self.clock.now()
        if self._as_of < 0 or self.market.changes(self._as_of, now):
            self._listings = self.market.listings(now)
            self._by_symbol = {listing.symbol: listing for listing in self._listings}
        self._as_of = now
        return self._listings

    def listing(self, symbol: str) -> Listing | None:
        """Give one listing by its symbol in capitals, None where there is none."""
        self.listings()
        return self._by_symbol.get(symbol)

    def klines(self, symbol: str, timeframe: Timeframe, first: int | None, last: int, limit: int) -> Exact:
        """Give up to *limit* bars: the oldest from *first* on, without it the newest up to *last*."""
        i = self.market.index.get(symbol)
        if i is None:
            return Exact(np.empty(0, ROW), Scale(0, 0, 0))
        return self.market.stretch(i, timeframe, first, last, limit, self.clock.now())

    def ticker(self, symbol: str) -> DayTexts | None:
        """Give the last 24 hours of a symbol, at most a tenth of a real second old; None without bars."""
        told = self._day(symbol)
        return None if told is None else told[1]

    def tickers(self) -> list[DayTexts]:
        """Give the last 24 hours of all that trade."""
        return self._all(self.ticker)

    def mini(self, symbol: str) -> MiniTexts | None:
        """Give the last 24 hours of a symbol in short."""
        return self.ticker(symbol)

    def _day(self, symbol: str) -> tuple[Day, DayTexts] | None:
        """Give the last 24 hours, at most a tenth of a real second old, in numbers and as printed."""
        told, fresh = self._days.get(symbol), TICKER_SECONDS * 1000 * self.clock.rate
        if told is not None and self.clock.now() - told[1].close_time < fresh:
            return told
        day = self._summed(symbol)
        if day is None:
            return None
        self._days[symbol] = day, day_texts(day)
        return self._days[symbol]

    def _summed(self, symbol: str) -> Day | None:
        now, i, listing = self.clock.now(), self.market.index.get(symbol), self.listing(symbol)
        if i is None or listing is None:
            return None
        bar = self.market.day(i, now)
        if bar is None:
            return None
        one = self.market.instruments[i]
        first = int(bar[OPEN_TIME]) // MINUTE * IDS_PER_MINUTE
        last = first + int(bar[TRADES]) - 1
        return Day(listing, exact(bar.reshape(1, -1), one.units, one.scale), now, first, last)

    def last_trade(self, symbol: str) -> Traded | None:
        """Give the last trade of a symbol; None where there was none in 24 hours."""
        i, listing = self.market.index.get(symbol), self.listing(symbol)
        found = self.market.last_trade(i, self.clock.now()) if i is not None else None
        if listing is None or i is None or found is None:
            return None
        one = self.market.instruments[i]
        price = found[0] * one.tick / 10**one.scale.price
        return Traded(symbol, price_text(price, one.scale.price), found[1])

    def last_trades(self) -> list[Traded]:
        """Give the last trades of all that trade."""
        return self._all(self.last_trade)

    def mark(self, symbol: str) -> MarkTexts | None:
        """Give mark price and funding: the last price, and an index that lies a seeded premium below."""
        told = self._day(symbol)
        if told is None:
            return None
        day, seed = told[0], self.market.instruments[self.market.index[symbol]].seed
        now, last = day.close_time, float(day.bar.rows[0]["close"]) * 10**8
        index = round(last / (1.0 + funding.premium(seed, now)))
        if not _funded(day.listing):
            return mark_texts(Mark(symbol, round(last), index, 0, 0), self.clock.now())
        rate = round(funding.rate(seed, now) * 10**8)
        mark = Mark(symbol, round(last), index, rate, funding.next_funding(seed, now))
        return mark_texts(mark, self.clock.now())

    def marks(self) -> list[MarkTexts]:
        """Give mark prices and funding of all that trade."""
        return self._all(self.mark)

    def funding_hours(self, symbol: str) -> int | None:
        """Give the hours between two fundings of a perpetual that trades."""
        told = self._day(symbol)
        if told is None or not _funded(told[0].listing):
            return None
        return funding.hours(self.market.instruments[self.market.index[symbol]].seed)

    def open_interest(self, symbol: str) -> str:
        """Give about a third of the last day's volume, which is what much of the real market shows."""
        told = self._day(symbol)
        if told is None:
            return "0"
        day, seed = told[0], self.market.instruments[self.market.index[symbol]].seed
        held = funding.interest(seed, int(day.bar.rows[0]["volume"]), day.close_time)
        return volume_text(held, day.bar.scale.base)

    def _all(self, one: Callable[[str], Told | None]) -> list[Told]:
        """Give what *one* gives of each symbol that trades."""
        found = (one(listing.symbol) for listing in self.listings() if listing.trading)
        return [told for told in found if told is not None]


def _funded(listing: Listing) -> bool:
    return listing.perpetual and listing.trading


class Exchange:
    """A simulated exchange: serves *market* at *clock*'s time in the dialect of the real one.

    *limits* switches weight counting's refusals, *flat_closes* the closed bars of trade-less minutes on
    the WebSocket, *pulse* is the seconds between two kline updates (at most 1). `unavailable` names
    fields (of dtype ROW) that the market's truth lacks; `default_timeframes` suit it.
    """

    def __init__(
        self,
        market: Market,
        clock: Clock,
        *,
        limits: bool = True,
        rules: Rules | None = None,
        flat_closes: bool = True,
        weight_limit: int | None = None,
        pulse: float = PULSE_SECONDS,
    ) -> None:
        if not 0 < pulse <= _SLOWEST_PULSE:
            raise DefinitionError(f"A pulse of {pulse:g} s is none: give more than 0 and at most 1 s.")
        self.market = market
        self.clock = clock
        self.source = MarketSource(market, clock)
        self.manner = SPOT if market.spot else COINS if market.coins else FUTURES
        self.tally = Tally(limits, self.manner.weight_limit if weight_limit is None else weight_limit)
        kind = SimSpotRest if market.spot else SimCoinRest if market.coins else SimRest
        self.rest = kind(market, self.source, self.tally)
        self.board = Board(self.source, self.manner)
        usual = SPOT_RULES if market.spot else Rules(legacy_silent=not market.coins)
        self.streams = Streams(self.board, clock, rules or usual)
        self.unavailable = market.unavailable
        self.default_timeframes = market.default_timeframes
        self.pulse = pulse
        self.pacer = Pacer(market, self.board, flat_closes=flat_closes)
        # A kline is told once in so many pulses.
        self._every = max(1, round(self.manner.kline_every / pulse))
        self._tellers = Tellers(self.source, self.board, second=round(1.0 / pulse))

    def prepare(self) -> None:
        """Compile and load every kernel, so that nothing waits for that while the exchange is live."""
        now = self.clock.now()
        symbol = self.market.instruments[0].symbol
        frame = timeframe("1m")
        rows = self.source.klines(symbol, frame, None, frame.index(now), 2)
        rows_json(rows, frame, bare_zero=self.manner.bare_zero)
        self.source.ticker(symbol)
        board, follower = Board(self.source, self.manner), _Nobody()
        board.follow(follower, f"{symbol.lower()}@kline_1m")
        board.follow(follower, f"{symbol.lower()}@kline_5m")
        pacer = Pacer(self.market, board, flat_closes=True)
        minute = now // MINUTE * MINUTE
        for time in (minute + MINUTE // 2, minute + MINUTE - 1):
            pacer.pulse(time)
        pacer.close(minute, now)

    async def live(self) -> None:
        """Let the exchange do what it does on its own - update, close, list - until cancelled."""
        loop = asyncio.get_running_loop()
        minute = self.clock.now() // MINUTE * MINUTE
        pulse, pulses = loop.time() + self.pulse, 0
        late = LATENESS_SECONDS / max(1.0, self.clock.rate / 10.0)
        while True:
            boundary = self.clock.seconds_until(minute + MINUTE) + late
            await asyncio.sleep(max(0.0, min(pulse - loop.time(), boundary)))
            while self.clock.now() >= minute + MINUTE + int(late * 1000 * self.clock.rate):
                self._turn(minute)
                minute += MINUTE
                await asyncio.sleep(0)
            if loop.time() >= pulse:
                now = self.clock.now()
                if now // MINUTE * MINUTE == minute and pulses % self._every == 0:
                    self.pacer.pulse(now)
                pulses += 1
                self._tellers.tell(now, pulses)
                pulse = max(pulse + self.pulse, loop.time())

    def _turn(self, minute: int) -> None:
        """Close the minute that opened at *minute* and announce what is listed and delisted at its end."""
        self.pacer.close(minute, self.clock.now())
        changes = self.market.changes(minute, minute + MINUTE)
        if changes:
            self.board.relist()
            self.board.publish("!contractInfo", [contract_event(one, self.clock.now()) for one in changes])


class _Nobody:
    """A follower that frames are made for, but never sent to."""

    def __init__(self) -> None:
        self.combined = True
        self.wanted = np.zeros(64, np.uint8)

    def deliver(self, data: bytes) -> None:
        """Take frames and drop them."""


@dataclass(slots=True)
class Served:
    """A running exchange; `wait` returns when it fails or is closed, `close` ends it."""

    exchange: Exchange
    rest_url: str
    ws_url: str
    _runners: list[web.AppRunner]
    _life: "asyncio.Task[None]"

    async def wait(self) -> None:
        """Wait until the exchange ends; raises what ended it."""
        await asyncio.wait([self._life])
        if not self._life.cancelled():
            self._life.result()

    async def close(self) -> None:
        """End all connections and stop listening."""
        self._life.cancel()
        await asyncio.wait([self._life])
        for runner in self._runners:
            await runner.cleanup()
        if not self._life.cancelled():
            self._life.result()


async def serve(exchange: Exchange, *, host: str = "127.0.0.1", port: int, ws_port: int) -> Served:
    """Serve REST on *port* and WebSocket on *ws_port* (0: any free one).

    Raises DefinitionError when a port is taken.
    """
    exchange.prepare()
    rest, rest_port = await listen(exchange.rest.application(), host, port)
    try:
        stream, stream_port = await listen(exchange.streams.application(), host, ws_port)
    except BaseException:
        await rest.cleanup()
        raise
    life = asyncio.create_task(exchange.live(), name="simulated exchange")
    life.add_done_callback(_tell)
    return Served(exchange, f"http://{host}:{rest_port}", f"ws://{host}:{stream_port}", [rest, stream], life)


def _tell(life: "asyncio.Task[None]") -> None:
    """Tell at once when the exchange stops on its own, though `wait` and `close` raise it too."""
    error = None if life.cancelled() else life.exception()
    if error is not None:
        context = {"message": "The simulated exchange stopped", "exception": error, "task": life}
        life.get_loop().call_exception_handler(context)


async def listen(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Serve an application and give the port that it got; raises DefinitionError when *port* is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise DefinitionError(
            f"Port {port} on {host} cannot be used ({error.strerror}): choose another one, or 0 for any.",
        ) from error
    return runner, int(runner.addresses[0][1])
