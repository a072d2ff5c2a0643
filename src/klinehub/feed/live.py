"""The live shell: carries out what the core decides - streams, requests, timers - and decides nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Final

from klinehub.domain.clock import Clock
from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DataError, FeedError
from klinehub.feed import binance
from klinehub.feed.asking import ask_klines
from klinehub.feed.base import Network
from klinehub.feed.budget import WeightGate
from klinehub.feed.core import Core
from klinehub.feed.decisions import Decisions, Fetch, Renew, Reroute, Resubscribe
from klinehub.feed.doorman import Doorman
from klinehub.feed.listed import Listed
from klinehub.feed.market_data import MarketData
from klinehub.feed.marks import MARKS
from klinehub.feed.rest import RestClient
from klinehub.feed.seat import Seat
from klinehub.feed.tickers import Tickers
from klinehub.feed.timing import Timing
from klinehub.feed.use import Use
from klinehub.panel.memory import I64, U8
from klinehub.panel.merge import proven

# Requests wait here by their use; what does not fit is found again by a later timer.
MOST_WAITING: Final = 2_048
WORKERS: Final = {Use.PROBE: 4, Use.REPAIR: 24, Use.WARM_UP: 4, Use.AUDIT: 2}
TIMER: Final = 500  # market ms between two looks at what is fresh and what is missing
SHORTEST_TIMER: Final = 0.05  # real seconds, when market time runs fast
LISTING_EVERY: Final = 45.0  # real seconds between two readings of the listing
LISTING_AGAIN: Final = 10.0  # the same after one that failed
UP_WITHIN: Final = 15.0

# Starts a task that lives as long as its hub.
Spawn = Callable[[Coroutine[object, object, None]], object]


def chunked(symbols: Sequence[str], streams: int, per_seat: int) -> list[Sequence[str]]:
    """Part *symbols* of so many streams each into seats of at most *per_seat* names, one for the listing."""
    each = max(1, (per_seat - 1) // streams)
    return [symbols[at : at + each] for at in range(0, len(symbols), each)]


class Live:
    """One exchange's REST and streams, feeding one core.

    *sink* gets every `Decisions` that holds news, in the order they were taken. *relist* reads the listing
    and follows what is new in it. Open interest, where it is kept, is asked for every *poll* seconds. With
    *listed* the tickers and marks of all that is listed are kept too.
    """

    def __init__(
        self,
        core: Core,
        rest: RestClient,
        gate: WeightGate,
        network: Network,
        clock: Clock,
        timing: Timing,
        *,
        sink: Callable[[Decisions], None],
        relist: Callable[[], Awaitable[None]],
        jitter: Callable[[], float],
        poll: float = 0.0,
        listed: Listed | None = None,
    ) -> None:
        self.core = core
        self.timing = timing
        self.seats: list[Seat] = []
        self._spawn: Spawn
        self._routes: Sequence[str] = ()
        self._per_seat = 0
        self.repaired = 0
        self.last_loss = ""
        # When a lost connection came back last, exchange time in ms.
        self.last_reconnect = 0
        self._lost = set[int]()
        # Rung at once when any series has closed a bar.
        self.bells: list[Callable[[], None]] = []
        self._closes = 0
        self._rest = rest
        self._gate = gate
        self._network = network
        self._clock = clock
        self._sink = sink
        self._relist = relist
        self._jitter = jitter
        self._doorman = Doorman()
        self._queues: dict[Use, asyncio.Queue[Fetch]] = {use: asyncio.Queue(MOST_WAITING) for use in WORKERS}
        self._asks_prices = asyncio.Event()
        self._listing_due = asyncio.Event()
        self._all_up = asyncio.Event()
        self._seat_of: dict[str, Seat] = {}
        beside, ring = core.ring.beside, core.ring
        self.tickers = None if listed is None else Tickers(listed, rest, gate, clock)
        self.market_data = (
            None
            if beside is None
            else MarketData(ring, beside, rest, gate, clock, symbols=lambda: self.trading, every=poll)
        )

    def start(self, spawn: Spawn, routes: Sequence[str], symbols: Sequence[str], *, per_seat: int) -> None:
        """Open the streams of *symbols*, at most *per_seat* names on one socket, and the listing's."""
        self._spawn, self._routes, self._per_seat = spawn, routes, per_seat
        for some in chunked(symbols, len(self.core.streamed), per_seat) or [()]:
            self._open(some)
        for work in self._beside(routes):
            spawn(work)

    def _open(self, symbols: Sequence[str]) -> None:
        """Give *symbols* a socket of their own; the first one tells of the listing too."""
        number = len(self.seats)
        news = self._rest.venue.news if number == 0 else None
        seat = Seat(
            number,
            self._network,
            self._routes,
            [*self._names(symbols), *([] if news is None else [news])],
            on_batch=self._on_frames,
            on_change=self._on_seat,
            jitter=self._jitter,
            doorman=self._doorman,
        )
        self.seats.append(seat)
        self._assign(seat, symbols)
        self._spawn(seat.run())

    def _beside(self, routes: Sequence[str]) -> list[Coroutine[object, object, None]]:
        """List what listens to the streams of the whole market: tickers and marks, on one seat for both."""
        tickers, data = self.tickers, self.market_data
        hears = data is not None and data.hears
        work: list[Coroutine[object, object, None]] = []
        seat = None
        if tickers is not None:
            frames = [tickers.on_frames, *([data.on_frames] if data is not None and hears else [])]
            seat = self._market_seat(routes, tickers.names, frames, tickers.on_seat)
            work += tickers.work(seat)
        elif data is not None and hears:
            seat = self._market_seat(routes, [MARKS], [data.on_frames], lambda: None)
        if data is not None:
            work += data.work(seat if hears else None, shared=tickers is not None)
        return work

    def _market_seat(
        self,
        routes: Sequence[str],
        names: Sequence[str],
        frames: Sequence[Callable[[int, U8, I64, int], None]],
        changed: Callable[[], None],
    ) -> Seat:
        """Make a seat which is none of those that the core judges; *frames* take what comes."""

        def on_batch(number: int, buf: U8, ends: I64, count: int) -> None:
            for take in frames:
                take(number, buf, ends, count)

        return Seat(
            len(self.seats),
            self._network,
            routes,
            names,
            on_batch=on_batch,
            on_change=lambda _: changed(),
            jitter=self._jitter,
            doorman=self._doorman,
        )

    async def once(self) -> None:
        """Ask for what is kept beside the klines one time, for a hub without streams."""
        for one in (self.tickers, self.market_data):
            if one is not None:
                await one.once()

    @property
    def trading(self) -> list[str]:
        """The symbols that are followed and trade."""
        roster = self.core.roster
        symbols = (symbol for symbol in self.core.ring.symbols if roster.follows(symbol))
        return [symbol for symbol in symbols if symbol not in roster.frozen]

    def keep(self, spawn: Spawn) -> None:
        """Begin the timer, the requests, and the readings of the exchange's time and listing."""
        for work in (self._tick(), self._read_time(), self._read_listing(), self._read_prices()):
            spawn(work)
        for use, workers in WORKERS.items():
            for _ in range(workers):
                spawn(self._ask(self._queues[use]))

    def look(self) -> None:
        """Look around once, now."""
        self.emit(self.core.on_timer(self._gate.now()))

    async def up(self) -> bool:
        """Wait until all streams are subscribed; False when they are not within a few seconds."""
        try:
            async with asyncio.timeout(UP_WITHIN):
                await self._all_up.wait()
        except TimeoutError:
            return False
        return True

    async def fetch(self, item: Fetch) -> None:
        """Ask for one range of klines and hand the answer to the core."""
        try:
            exact, answer = await ask_klines(self._rest, item)
        except DataError as exc:
            # Not even the core has seen it: a body that says nothing is no answer.
            raise FeedError(str(exc)) from exc
        self.emit(self.core.on_rest(item, exact, self.timing.proof(answer), self._gate.now()))

    async def range(self, symbol: str, name: str, start: int, bars: int) -> Exact:
        """Ask for closed bars from *start* (ms) on that somebody wants to see; the ring does not."""
        fetch = Fetch(symbol, name, start, bars, Use.FORWARDED)
        exact, answer = await ask_klines(self._rest, fetch)
        return proven(timeframe(name), exact, self.timing.proof(answer))

    def follow(self, symbols: Iterable[str], fetches: Iterable[Fetch]) -> None:
        """Subscribe symbols that have come, on the emptiest seat or a new one, and ask for their history."""
        for symbol in symbols:
            seat = min(self.seats, key=lambda one: len(one.names))
            if len(seat.names) + len(self.core.streamed) > self._per_seat:
                self._open([symbol])
                continue
            self._assign(seat, [symbol])
            seat.add(self._names([symbol]))
        self._enqueue(fetches)

    @property
    def seats_up(self) -> int:
        """How many seats are subscribed now."""
        return sum(seat.up for seat in self.seats)

    @property
    def reconnects(self) -> int:
        """How often a connection was lost, or could not be opened."""
        return sum(seat.reconnects for seat in self.seats)

    @property
    def queued(self) -> dict[Use, int]:
        """How many requests wait for a worker, by what they are for."""
        return {use: queue.qsize() for use, queue in self._queues.items()}

    def stats(self) -> dict[str, int | float | str]:
        """Count what the streams and REST have brought, what was mended and what it took."""
        core, counts, now = self.core, self.core.counts, self._gate.now()
        return {
            "updates": counts.updates,
            "closes": counts.closes,
            "late_closes": core.closing.late,
            "set_aside": counts.set_aside,
            "conflicts": counts.conflicts,
            "corrections": counts.corrections,
            "doubted_bars": len(core.doubts),
            "confirmed_gaps": len(core.repair.absent),
            "audited_bars": counts.audited,
            "audited_different": counts.different,
            "repaired": self.repaired,
            "missing_bars": sum(gap.end - gap.start + 1 for gap in core.missing(now)),
            "sockets": len(self.seats),
            "sockets_up": self.seats_up,
            "reconnects": self.reconnects,
            "clock_jumps": self.timing.jumps,
            "rest_closed": self._gate.closed(now),
            "rest_calls": self._gate.calls,
            "rest_weight": self._gate.spent,
            **({} if self.market_data is None else self.market_data.stats()),
            **({} if self.tickers is None else self.tickers.stats()),
        }

    def _names(self, symbols: Iterable[str]) -> list[str]:
        return [binance.stream_name(s, tf.name) for tf in self.core.streamed for s in symbols]

    def _assign(self, seat: Seat, symbols: Sequence[str]) -> None:
        for streamed in self.core.streamed:
            self.core.liveness.assign(seat.number, symbols, streamed.name)
        self._seat_of.update(dict.fromkeys(symbols, seat))

    def _on_frames(self, seat: int, buf: U8, ends: I64, frames: int) -> None:
        decisions = self.core.on_batch(seat, buf, ends, frames, self._gate.now())
        if self.core.told:
            self.timing.on_event(self.core.told)
        self.emit(decisions)

    def _on_seat(self, number: int) -> None:
        seat = self.seats[number]
        self.core.on_seat(number, self._gate.now(), up=seat.up, route=seat.route)
        if not seat.up:
            self._all_up.clear()
            self.last_loss = seat.last_loss
            if seat.reconnects:
                self._lost.add(number)
            return
        self._gate.nudge()
        if number in self._lost:
            self._lost.discard(number)
            self.last_reconnect = self._gate.now()
        if self.seats_up == len(self.seats):
            self._all_up.set()

    def emit(self, decisions: Decisions) -> None:
        """Carry decisions out: what waits for the network is only noted here."""
        self._enqueue(decisions.fetches)
        if decisions.prices:
            self._asks_prices.set()
        if decisions.relist:
            self._listing_due.set()
        for number in decisions.leaving:
            self.seats[number].renew("the exchange shuts it down", overlap=True)
        for symbol in decisions.left:
            self._seat_of.pop(symbol).remove(self._names([symbol]))
        for step in decisions.steps:
            self._take(step)
        if decisions.news:
            self._sink(decisions)
        self.ring_bells()

    def ring_bells(self) -> None:
        """Ring the bells if any series has closed a bar."""
        if self.core.counts.closes != self._closes:
            self._closes = self.core.counts.closes
            for ring in self.bells:
                ring()

    def _enqueue(self, fetches: Iterable[Fetch]) -> None:
        for item in fetches:
            queue = self._queues[item.use]
            if queue.full():
                self.core.on_failed(item, self._gate.now(), soon=True)
            else:
                queue.put_nowait(item)

    def _take(self, step: Resubscribe | Renew | Reroute) -> None:
        seat = self.seats[step.seat]
        if isinstance(step, Resubscribe):
            seat.resubscribe(self._names(step.symbols))
        elif isinstance(step, Renew):
            seat.renew(step.reason, overlap=step.overlap)
        else:
            seat.reroute(step.reason)

    async def _tick(self) -> None:
        """Look around at each timer, once the clock was looked at."""
        pause = max(SHORTEST_TIMER, TIMER / 1000 / self._clock.rate)
        expected, was_closed = self._clock.now(), False
        while True:
            self.timing.on_tick(self._clock.now(), expected)
            self.core.margin = self.timing.margin
            is_closed = bool(self._gate.closed(self._gate.now()))
            if was_closed and not is_closed:
                self.core.on_open()
            was_closed = is_closed
            self.look()
            expected = self._clock.now() + int(pause * 1000 * self._clock.rate)
            await asyncio.sleep(pause)

    async def _read_time(self) -> None:
        while True:
            await asyncio.sleep(SHORTEST_TIMER * 4)
            if self.timing.due:
                await self._try(self.timing.read())

    async def _read_listing(self) -> None:
        """Read the listing now and then, and when the exchange says that something has changed."""
        pause = LISTING_EVERY
        while True:
            try:
                async with asyncio.timeout(pause):
                    await self._listing_due.wait()
            except TimeoutError:
                pass
            self._listing_due.clear()
            pause = LISTING_EVERY if await self._try(self._relist()) else LISTING_AGAIN

    async def _read_prices(self) -> None:
        """Ask when each symbol last traded, one request at a time, when the core wants to know."""
        while True:
            await self._asks_prices.wait()
            await self._try(self._ask_prices())
            self._asks_prices.clear()

    async def _ask_prices(self) -> None:
        venue = self._rest.venue
        if venue.prices is None:
            return
        answer = await self._rest.ask(venue.prices, {}, weight=venue.prices_weight, use=Use.PROBE)
        self.core.on_prices(binance.parse_trade_times(answer.body), self.timing.proof(answer))

    async def _ask(self, queue: asyncio.Queue[Fetch]) -> None:
        """Carry out requests one by one; a repair that fails is found missing again by a later timer."""
        while True:
            item = await queue.get()
            try:
                await self.fetch(item)
                self.repaired += item.use is Use.REPAIR
            except FeedError as exc:
                self.last_loss = str(exc)
                now = self._gate.now()
                self.core.on_failed(item, now, soon=bool(self._gate.closed(now)))
            except DataError as exc:
                self.last_loss = str(exc)

    async def _try(self, work: Awaitable[None]) -> bool:
        """Do what is done again anyway; gives whether it was done, and why not is kept to be shown."""
        try:
            await work
        except FeedError as exc:
            self.last_loss = str(exc)
            return False
        return True
