"""The hub: feed into ring, ring to scanner and subscribers; the only place where they meet.

1. `start` reads the exchange's time, listing and turnover, chooses the universe, opens the streams and
   then asks REST for the history, base timeframe first.
2. From then on frames go through the core into the ring, and its closes to the subscribers.
3. Reads, scans and subscribers never wait for the network and never hold it up.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from klinehub.domain.clock import Clock
from klinehub.domain.kline import Scale
from klinehub.domain.listing import Listing
from klinehub.domain.resident import resident_bytes
from klinehub.domain.ticker import Ticker
from klinehub.domain.timeframe import Timeframe, in_order
from klinehub.errors import DefinitionError, UnknownName
from klinehub.feed.account import Account
from klinehub.feed.asking import Progress
from klinehub.feed.audit import Verified, audit
from klinehub.feed.base import Network
from klinehub.feed.budget import WeightGate
from klinehub.feed.core import GRACE, Core
from klinehub.feed.decisions import BarClosed, Correction, Decisions, Fetch
from klinehub.feed.listed import Listed
from klinehub.feed.listing_changes import changes, only, wanted
from klinehub.feed.live import Live
from klinehub.feed.rest import RestClient
from klinehub.feed.spot import Choose, Spot
from klinehub.feed.subscribers import Subscribers
from klinehub.feed.timing import Timing
from klinehub.feed.use import Use
from klinehub.feed.venue import venue_of
from klinehub.feed.warmup import Plan, Summary, deepen, deepening, plan, rows_needed, warm_up
from klinehub.panel.ahead import Ahead
from klinehub.panel.ring import Ring
from klinehub.scan.choosing import Choosing, Told, hours_of
from klinehub.scan.plain import Scans
from klinehub.scan.pools import Market, Merged, everyone
from klinehub.scan.reads import Reads
from klinehub.scan.running import Default, Scan, Scanning
from klinehub.scan.screen import Screen
from klinehub.scan.universe import benchmark, universe
from klinehub.settings import HubSettings
from klinehub.store.sealing import Stores
from klinehub.store.shelf import Shelf

# Bars kept beyond those asked for, so that a full history survives while new bars arrive.
SLACK: Final = 14
# Corrections that are kept for a look at them; all are counted.
MOST_CORRECTIONS: Final = 1_024


class Hub(Reads, Scans):
    """A whole market's klines, warmed up and kept live; use it as `async with Hub(...) as hub`.

    A bug inside ends the `async with` with its exception; a lost connection does not.
    """

    def __init__(
        self,
        settings: HubSettings,
        *,
        clock: Clock,
        network: Network,
        jitter: Callable[[], float],
        account: Account | None = None,
        on_plan: Callable[[Plan], None] = lambda _: None,
        on_progress: Callable[[Progress], None] = lambda _: None,
        on_news: Callable[[Decisions], None] = lambda _: None,
        choose: Choose | None = None,
        open_store: Callable[[], Stores | None] = lambda: None,
        make_ring: Callable[..., Ring] = Ring,
    ) -> None:
        self.settings = settings
        self.streams = settings.streams
        self.timeframes: tuple[Timeframe, ...] = in_order(settings.timeframes)
        if not self.timeframes:
            raise DefinitionError("A hub needs at least one timeframe, for example --timeframes 1m,1h.")
        self.clock = clock
        self._venue = venue_of(settings.exchange)
        self.gate = WeightGate(
            clock,
            limit=settings.weight_limit,
            share=settings.share,
            audit=settings.audit,
            forwarded=settings.forwarded,
            account=account,
            host=settings.counted_by,
        )
        self.rest = RestClient(
            settings.rest_url, network, self.gate, clock, timeout=settings.timeout, venue=self._venue
        )
        self.listed = Listed(self.rest)
        self.timing = Timing(self.rest, self.gate, clock, on_doubt=self._on_doubt)
        self.corrections: deque[Correction] = deque(maxlen=MOST_CORRECTIONS)
        self.listings: dict[str, Listing] = {}
        # Since when each symbol trades, as scanners read it.
        self._listed: dict[str, int] = {}
        self.tickers: dict[str, Ticker] = {}
        self.turnover: dict[str, float] = {}
        self.symbols: tuple[str, ...] = ()
        self.summary: Summary | None = None
        self._network, self._account, self._jitter = network, account, jitter
        self._choose_by = choose
        self._open_store, self._make_ring = open_store, make_ring
        self.shelf: Shelf
        self._on_news, self._on_plan, self._on_progress = on_news, on_plan, on_progress
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._subscribers = Subscribers()
        self.ring: Ring
        self.core: Core
        self.live: Live
        self.scanning: Scanning
        self.choosing: Choosing

    def __repr__(self) -> str:
        """Show what is held, for example `<Hub 550 symbols, 1m 5m 15m 1h, 3/3 streams up>`."""
        if not self.symbols:
            return "<Hub not started>"
        names = " ".join(tf.name for tf in self.timeframes)
        sockets = f"{self.live.seats_up}/{len(self.live.seats)} streams up"
        return f"<Hub {len(self.symbols)} symbols, {names}, {sockets}>"

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        try:
            await self._start()
        except BaseException as exc:
            await self.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        # A group wraps whatever it is given; the caller's own exception is better left as it is.
        passed = (kind, exc, trace) if isinstance(exc, asyncio.CancelledError) else (None, None, None)
        try:
            await self._group.__aexit__(*passed)
        except BaseExceptionGroup as several:
            if len(several.exceptions) == 1:
                raise several.exceptions[0] from None
            raise
        finally:
            if self.symbols and hasattr(self, "scanning"):
                self.scanning.end()
            self._subscribers.end()
            if hasattr(self, "shelf"):
                await self.shelf.close()
            await self.rest.close()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        """Start a task that lives as long as the hub."""
        self._tasks.append(self._group.create_task(work))

    async def _start(self) -> None:
        """Choose the universe, open the streams, warm up and go live."""
        await self._choose()
        self._lay_out()
        self._restore()
        if self.settings.streams:
            await self._open_streams()
        await self._warm_up()
        if self.settings.choose:
            self.choosing.begin(self.tickers or await self.listed.read_days())
        if self.settings.streams:
            self.core.go_live(self.now())
            self.live.look()
            self.live.keep(self._spawn)
            self._spawn(self._deepen())
            self._spawn(self.choosing.keep())
        else:
            await self.live.once()
        if self.spot is not None and self.settings.streams:
            self._spawn(self.spot.run())
        elif self.spot is not None:
            await self.spot.once()

    async def _open_streams(self) -> None:
        """Subscribe before history is asked for, so that no close falls between the two."""
        settings = self.settings
        self.live.start(self._spawn, settings.routes, self._followed(), per_seat=settings.streams_per_socket)
        await self.live.up()

    def _restore(self) -> None:
        """Take back what the store has, and keep in it what comes from now on."""
        self.shelf = Shelf(
            self.ring,
            self._open_store(),
            self.clock,
            days=self.settings.store_days,
            panel=self.panel,
            absent=lambda: self.core.repair.absent,
            ask=self.live.range,
        )
        restored = self.shelf.restore(self.now())
        if restored.bars:
            self.core.on_restored(restored.absent)
        for work in self.shelf.work(self.now):
            self._spawn(work)

    async def _warm_up(self) -> None:
        """Say what the warm-up costs, then carry it out; kernels compile meanwhile.

        What was restored is not asked for: what it lacks since the stop is found missing, and repaired.
        """
        settings = self.settings
        held = self.core.repair.held(self.now())
        if not held:
            await self.timing.past_proof(self.timeframes[0])
        todo = plan(
            self._followed(),
            self.timeframes,
            settings.depth,
            cap=self.gate.cap,
            used=self.gate.used,
            now=self.now(),
            venue=self._venue,
            held=held,
        )
        self._on_plan(todo)
        compiling = asyncio.get_running_loop().run_in_executor(None, self.scanning.warm_up)
        before = self.gate.spent
        summary = await warm_up(
            todo, self.live.fetch, self.clock, batch=settings.batch, progress=self._on_progress
        )
        self.summary = msgspec.structs.replace(summary, weight=self.gate.spent - before)
        await compiling

    async def _deepen(self) -> None:
        """Have the history before that of the warm-up, too, while everything goes on."""
        if self.settings.depth < self.settings.bars:
            await deepen(
                lambda: deepening(self._panels.values(), self.settings.bars, self.now(), self.live.trading),
                self.live.fetch,
            )
            self.core.deepened(self.settings.bars)

    async def _choose(self) -> None:
        """Read the exchange's time, listing and turnover and choose the symbols."""
        settings, venue = self.settings, self._venue
        listings = await self.listed.read()
        # After the first call, so that the time is read over a connection that is already there.
        await self.timing.read()
        self.listings = {listing.symbol: listing for listing in listings}
        if self._choose_by is not None:
            self.symbols = self._choose_by(listings)
            if not self.symbols:
                raise DefinitionError(f"{venue.name} has no pair of what is followed.")
            return
        if settings.symbols:
            for symbol in settings.symbols:
                if symbol not in self.listings:
                    raise UnknownName("symbol", symbol, self.listings)
            self.symbols = tuple(dict.fromkeys(settings.symbols))
            return
        self.tickers = await self.listed.read_days()
        self.turnover = {name: one.quote_volume for name, one in self.tickers.items()}
        self.symbols = universe(
            listings,
            self.turnover,
            quote=settings.quote,
            min_turnover=settings.min_turnover,
            include=settings.rules.pins if settings.choose else (),
            exclude=settings.exclude,
            limit=settings.most_symbols,
            tradifi=settings.tradifi,
        )
        if not self.symbols:
            raise DefinitionError(
                f"No trading perpetual of {settings.quote} has a turnover of {settings.min_turnover:,.0f}: "
                "lower `min_turnover` or choose another `quote`."
            )

    def _lay_out(self) -> None:
        """Make the ring, the core, the scanner and the live shell for the chosen symbols."""
        settings = self.settings
        rows = max(rows_needed(self.timeframes, settings.bars, self._venue).values())
        self.ring = self._make_ring(
            self.timeframes,
            rows=len(self.symbols) + settings.spare,
            bars=rows + SLACK,
            native=self.timeframes if settings.native else (),
            beside=settings.beside,
        )
        self._panels = {tf.name: self.ring.panel(tf.name) for tf in self.timeframes}
        for symbol in self.symbols:
            self.ring.add(symbol, Scale(0, 0, 0), self.listings[symbol].contract_size)
        grace = int(max(GRACE, GRACE * self.clock.rate / 10))
        self.core = Core(
            self.ring,
            wanted=self.settings.depth,
            grace=grace,
            pace=self.clock.rate,
            audit_weight=settings.audit * settings.weight_limit,
            dice=self._jitter,
            venue=self._venue,
        )
        self.core.watch(self._followed())
        self._lay_out_scans()
        if settings.spot and self.ring.beside is not None:
            self.spot = Spot(self.ring, self.ring.beside, self._contracts, self._open_spot)
        self.live = Live(
            self.core,
            self.rest,
            self.gate,
            self._network,
            self.clock,
            self.timing,
            sink=self._take,
            relist=self._relist,
            jitter=self._jitter,
            poll=settings.open_interest,
            listed=self.listed if settings.tickers else None,
        )

    def _followed(self) -> tuple[str, ...]:
        """Give the symbols that are followed at the exchange itself."""
        return self.symbols

    def _contracts(self) -> list[Listing]:
        return [self.listings[symbol] for symbol in self.symbols]

    def _open_spot(self, choose: Choose, on_news: Callable[[Decisions], None]) -> "Hub":
        """Make the hub that follows the spot pairs beside this one."""
        return Hub(
            self.settings.of_spot,
            clock=self.clock,
            network=self._network,
            jitter=self._jitter,
            account=self._account,
            on_news=on_news,
            choose=choose,
        )

    def _take(self, decisions: Decisions) -> None:
        """Keep corrections and pass closes on to every subscriber."""
        self.corrections.extend(decisions.corrected)
        if decisions.news:
            self.shelf.note(one.record for one in decisions.corrected)
        if self.spot is not None:
            self.spot.copy(event.timeframe for event in decisions.closed)
        self._on_news(decisions)
        self.scanning.note(decisions.closed, decisions.revised)
        self._subscribers.tell(decisions.closed)

    def _on_doubt(self, fits: bool) -> None:  # noqa: FBT001 - a callback
        """Tell the core whether the clock can be trusted, once there is a core."""
        if self.symbols and hasattr(self, "core"):
            self.core.on_clock(self.now(), fits=fits)

    async def _relist(self) -> None:
        """Read the listing: freeze what trades no more, follow what is new."""
        settings = self.settings
        fits = wanted(
            settings.quote, tradifi=settings.tradifi, symbols=settings.symbols, exclude=settings.exclude
        )
        listings = await self.listed.read(Use.CONTROL)
        if self._choose_by is not None:
            fits = only(self._choose_by(listings))
        self._relisted(listings, fits)

    def _relisted(self, listings: Sequence[Listing], fits: Callable[[Listing], bool]) -> None:
        """Take a new listing over, and follow what *fits*."""
        settings = self.settings
        found = changes(self.listings, listings, self.symbols, fits)
        self.listings = found.listings
        self._note_listed()
        come = self.core.on_listing(found, self.now())
        returned = tuple(symbol for symbol in come if symbol in self.ring.rows)
        # Nobody knows yet what is turned over of a newcomer, so that none can be chosen by it.
        most = len(come) if settings.most_symbols is None else settings.most_symbols - len(self.symbols)
        room = 0 if settings.min_turnover else max(0, most)
        added = tuple(symbol for symbol in come if symbol not in self.ring.rows)[:room]
        if returned or added:
            self._follow(returned + added)
        self.choosing.relisted()

    def _follow(self, added: tuple[str, ...]) -> None:
        """Take symbols in while the hub is live: a row, their streams, their history."""
        self._add_rows(added)
        rows = rows_needed(self.timeframes, self.settings.bars, self._venue)
        self.live.follow(
            added, [Fetch(s, tf.name, None, rows[tf.name]) for tf in self.timeframes for s in added]
        )

    def _add_rows(self, added: tuple[str, ...]) -> None:
        for symbol in added:
            self.ring.add(symbol, Scale(0, 0, 0), self.listings[symbol].contract_size)
        self.core.watch(added)
        self.symbols = tuple(dict.fromkeys((*self.symbols, *added)))

    def now(self) -> int:
        """Give the exchange time in ms UTC."""
        return self.gate.now()

    def get_stats(self) -> dict[str, int | float | str]:
        """Count what the hub holds and has done; memory in bytes as the operating system sees it."""
        return {
            **self.held(),
            **self.live.stats(),
            **self.shelf.stats(),
            **self.scanning.stats(),
            "panel_bytes": self.ring.bytes,
            "resident_bytes": resident_bytes(),
            **(self.spot.stats() if self.spot is not None else {}),
        }

    def scans(self, *screens: Screen, every: float | None = None) -> AsyncGenerator[Scan, None]:
        """Yield what each screen finds at each close of its timeframe, the hub's own score without any.

        A bar that came late, or was corrected, gives the scan again with a higher `revision`. Who takes the
        scans too slowly gets the newest; those left out are counted in `skipped`. With *every* the bars
        that are still open are scanned instead, every so many seconds of market time; such results are
        marked as `forming`.
        """
        if every is None:
            return self.scanning.scans(screens)
        return self.scanning.forming(screens, every / self.clock.rate)

    def _lay_out_scans(self) -> None:
        """Make the scanner of the settings' own score, and what others need."""
        settings = self.settings
        self._note_listed()
        self.scanning = Scanning(
            self._panels,
            Default(settings.scan_timeframe, settings.weights, settings.unavailable, settings.min_score),
            benchmark=benchmark(self.listings.values(), quote=settings.quote),
            listed=self._listed,
            now=self.now,
            monotonic=self.clock.monotonic,
            calls=lambda: self.gate.calls,
            stale=self.all_stale,
            universe=lambda: self.choosing.universe,
            ahead=lambda name, bar: Ahead(self._panels[name], bar),
            kept=lambda *asked: self.shelf.levels.kept(*asked),  # noqa: PLW0108 - there is no shelf yet
        )
        record = None if settings.record is None else Path(settings.record)
        told = Told(self.now, self._market, self.listed.read_days)
        self.choosing = Choosing(settings.rules, told, self.clock, record)

    def _note_listed(self) -> None:
        """Note since when symbols trade, those of which that is known."""
        since = {name: one.onboard_time for name, one in self.listings.items() if one.onboard_time}
        self._listed.update(since)

    def _market(self, tickers: Mapping[str, Ticker]) -> Market:
        """Give what a universe is chosen from: what is followed."""
        settings = self.settings
        hourly = self._panels.get("1h")
        return Market(
            {name: self.listings[name] for name in self.symbols},
            tickers,
            {} if hourly is None else hours_of(hourly, settings.rules.hours_read),
            quote=settings.quote,
            tradifi=settings.tradifi,
            exclude=settings.exclude,
        )

    @property
    def merged(self) -> Merged:
        """The universe that scans look at: what the rules chose, or everything that is followed."""
        settings, now = self.settings, self.now()
        rules, market = settings.rules, self._market(self.tickers)
        return self.choosing.merged or everyone(rules, market, now, named=bool(settings.symbols))

    def closes(self) -> AsyncGenerator[BarClosed, None]:
        """Yield each bar that closes from now on, larger timeframes first at one instant.

        Raises DataError when the caller falls so far behind that one would have to be left out.
        """
        return self._subscribers.closes()

    async def verify(self, progress: Callable[[Progress], None] = lambda _: None) -> Verified:
        """Compare every closed bar in memory with REST, within the budget; equal ones become verified."""
        found = await audit(
            self.ring,
            self.rest,
            [symbol for symbol in self.symbols if symbol not in self.core.roster.frozen],
            self.settings.bars,
            proof=self.timing.proof,
            batch=self.settings.batch,
            progress=progress,
        )
        counts = self.core.counts
        return msgspec.structs.replace(
            found, audited=counts.audited, found=counts.different, corrected=counts.corrections
        )
