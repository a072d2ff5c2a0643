"""A hub on a relay: it tells its market to others, or is fed by them in place of the exchange."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Final

import aiohttp
import numpy as np
from picows import WSListener, WSTransport

from klinehub.errors import DefinitionError, RelayError, UnknownName, Unreachable
from klinehub.feed.asking import Progress
from klinehub.feed.audit import Verified
from klinehub.feed.closing import Closing
from klinehub.feed.decisions import Decisions
from klinehub.feed.listing_changes import only
from klinehub.feed.roster import Roster
from klinehub.hub import Hub
from klinehub.relay.cutting import Flags
from klinehub.relay.feeding import Feeding
from klinehub.relay.intake import Intake
from klinehub.relay.link import Link, connected
from klinehub.relay.messages import Bars, Listed, Pulse
from klinehub.relay.subjects import Subjects
from klinehub.relay.telling import Teller

# Real seconds after a link that broke, and between two looks at what is overdue.
AGAIN: Final = 2.0
TIMER: Final = 0.25
# Market ms (of real time) for which a bar is waited for longer than by the hub that follows it.
LONGER: Final = 1_500
# Real seconds that a start waits for those who tell to have told all.
PATIENCE: Final = 30.0
# Pulses of which the one that came quickest tells the time.
OFFSETS: Final = 20


class NoExchange:
    """The network of a hub that is fed by others: it leads nowhere."""

    def session(self, url: str, *, timeout: float) -> aiohttp.ClientSession:  # noqa: ARG002 - as any network
        """Refuse."""
        raise self._refusal()

    async def open_socket(self, url: str, listener_factory: Callable[[], WSListener]) -> WSTransport:  # noqa: ARG002
        """Refuse."""
        raise self._refusal()

    def via(self, url: str) -> str | None:  # noqa: ARG002 - as any network
        """Name no proxy."""
        return None

    def _refusal(self) -> Unreachable:
        return Unreachable(
            "This hub is fed by others and asks no exchange: ask the hub that publishes, or share its store."
        )


class RelayedHub(Hub):
    """A hub that tells others of its market where `publish` is set, and is fed by them where `subscribe` is.

    Without either it is a hub as any other. `relay_fault` says what keeps it from its relay.
    """

    teller: Teller | None = None
    intake: Intake | None = None
    relay_fault = ""
    _offsets: tuple[int, ...] = ()
    _listing: Listed | None = None
    _listing_of: tuple[object, ...] = ()

    @property
    def subjects(self) -> Subjects:
        """What the messages of this hub's market are called."""
        return Subjects(self.settings.relay_prefix, self.settings.exchange)

    async def _start(self) -> None:
        if self.settings.subscribe:
            await self._start_fed(self.settings.subscribe)
            return
        await super()._start()
        if self.settings.publish:
            self.teller = self._make_teller()
            self._spawn(self._linked(self.settings.publish, self.teller.run))

    def _make_teller(self) -> Teller:
        return Teller(
            self.settings.hub_name,
            self.core,
            self.clock,
            now=self.now,
            own=self._own,
            listed=self._told_listing,
            bars=self.settings.bars,
        )

    def _own(self) -> Flags:
        """Mark the rows that this hub follows at the exchange itself."""
        return np.full(self.ring.capacity, not self.settings.subscribe)

    def _take(self, decisions: Decisions) -> None:
        # Others wait for it; what is done with it here takes a moment.
        if self.teller is not None:
            self.teller.note(decisions)
        super()._take(decisions)

    def _told_listing(self) -> Listed:
        """Give what is listed and followed, the same object until something of it changes."""
        state = self.listings, self.symbols, self.ring.memory.first.tobytes()
        if self._listing is None or state != self._listing_of:
            self._listing, self._listing_of = self._listing_now(), state
        return self._listing

    def _listing_now(self) -> Listed:
        names = tuple(tf.name for tf in self.timeframes)
        settings = self.settings
        listings = tuple(self.listings[name] for name in sorted(self.listings))
        firsts = {name: self._firsts(t) for t, name in enumerate(names)}
        return Listed(settings.exchange, settings.quote, names, settings.bars, self.symbols, listings, firsts)

    def _firsts(self, t: int) -> dict[str, int]:
        """Give by symbol the first bar that there is of a timeframe, where that is known."""
        first, symbols = self.ring.memory.first[t], self.ring.symbols
        return {symbols[row]: int(first[row]) for row in np.flatnonzero(first >= 0).tolist()}

    def _take_firsts(self, listed: Listed) -> None:
        """Take over since when there are bars at all: older ones are not missed."""
        ring, own = self.ring, self._own()
        for name, firsts in listed.firsts.items():
            for symbol, bar in firsts.items():
                row = ring.rows.get(symbol, -1)
                if name in ring.number and row >= 0 and not own[row]:
                    ring.memory.first[ring.number[name], row] = bar

    async def _linked(self, url: str, work: Callable[[Link], Coroutine[object, object, None]]) -> None:
        """Do *work* over a link, and again over the next one when it breaks, until cancelled."""
        while True:
            try:
                async with connected(url, self.subjects, self.settings.hub_name) as link:
                    self._relay_says("")
                    await work(link)
            except RelayError as exc:
                self._relay_says(str(exc))
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # A task group whose link breaks while it is cancelled raises why it broke alone.
                    raise asyncio.CancelledError from exc
            await asyncio.sleep(AGAIN)

    def _relay_says(self, fault: str) -> None:
        """Keep why there is no relay, or that there is one again; a hub goes on alone meanwhile."""
        self.relay_fault = fault

    async def _start_fed(self, url: str) -> None:
        """Wait for the listing, lay the ring out by it, take all that is kept, and go live."""
        self._refuse_what_is_not_told()
        feeding = self._make_feeding()
        self._spawn(self._linked(url, feeding.run))
        listed = await feeding.listed
        self._adopt(listed)
        self._lay_out()
        self.intake = Intake(self.core, self._patient(self.core.roster), self._own, pace=self.clock.rate)
        self._restore()
        self._take_firsts(listed)
        feeding.ready.set()
        compiling = asyncio.get_running_loop().run_in_executor(None, self.scanning.warm_up)
        await self._caught_up(feeding, self.intake)
        await compiling
        self.intake.closing.begin(self.now())
        self._spawn(self._look(self.intake))

    def _patient(self, roster: Roster) -> Closing:
        """Wait for bars longer than the hubs that tell of them."""
        return Closing(self.ring, roster, self.core.grace + int(LONGER * max(1.0, self.clock.rate)))

    async def _caught_up(self, feeding: Feeding, intake: Intake) -> None:
        """Wait for all that is kept, and for what those who tell have yet to tell of the past."""
        await feeding.caught_up.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                # Pulses tell, once a second.
                while not intake.is_whole:  # noqa: ASYNC110
                    await asyncio.sleep(TIMER)

    def _make_feeding(self) -> Feeding:
        return Feeding(
            self.settings.hub_name,
            bars=self.settings.bars,
            on_bars=self._on_bars,
            on_pulse=self._on_pulse,
            on_listing=self._on_listing,
            aside=lambda why: None if self.intake is None else self.intake.aside(why),
            on_wait=self._relay_says,
        )

    def _refuse_what_is_not_told(self) -> None:
        settings = self.settings
        asked = {
            "market.marks": settings.marks,
            "market.spot": settings.spot,
            "market.open_interest": settings.open_interest,
            "universe.choose": settings.choose,
        }
        for name, wanted in asked.items():
            if wanted:
                raise DefinitionError(
                    f"`{name}` needs the exchange, which a hub that is fed by others has not."
                )

    def _adopt(self, listed: Listed) -> None:
        """Take over what is listed and followed; raises UnknownName for what is not told."""
        for frame in self.timeframes:
            if frame.name not in listed.timeframes:
                raise UnknownName("timeframe of this relay", frame.name, listed.timeframes)
        for symbol in self.settings.symbols:
            if symbol not in listed.symbols:
                raise UnknownName("symbol of this relay", symbol, listed.symbols)
        self.listings = {one.symbol: one for one in listed.listings}
        self.symbols = self.settings.symbols or listed.symbols

    async def _look(self, intake: Intake) -> None:
        """Announce what is overdue, and say what is stale."""
        while True:
            self._pass_on(intake.on_timer(self.now()))
            self.core.liveness.judged(self.now())
            await asyncio.sleep(TIMER)

    def _pass_on(self, decisions: Decisions) -> None:
        """Tell who listens here of what others have told."""
        if decisions.news:
            super()._take(decisions)
        self.live.ring_bells()

    def _on_bars(self, told: Bars) -> None:
        if self.intake is not None:
            self._pass_on(self.intake.on_bars(told, self.now()))

    def _on_pulse(self, told: Pulse) -> None:
        if self.intake is not None:
            self._set_clock(told.time)
            self.intake.on_pulse(told, self.now())

    def _set_clock(self, told: int) -> None:
        """Go by the exchange time that others tell; of the newest pulses by the one that came quickest."""
        self._offsets = (*self._offsets, told - self.clock.now())[-OFFSETS:]
        self.gate.offset = max(self._offsets)

    def _on_listing(self, listed: Listed) -> None:
        """Follow what is new, and freeze what trades no more."""
        self._relisted(listed.listings, only(self.settings.symbols or listed.symbols))
        self._take_firsts(listed)

    def _follow(self, added: tuple[str, ...]) -> None:
        if not self.settings.subscribe:
            super()._follow(added)
            return
        self._add_rows(added)

    async def verify(self, progress: Callable[[Progress], None] = lambda _: None) -> Verified:
        """Compare every closed bar in memory with REST; raises DefinitionError where nobody can be asked."""
        if self.settings.subscribe:
            raise DefinitionError("This hub asks no exchange: verify at the hub that feeds it.")
        return await super().verify(progress)

    def relay_stats(self) -> dict[str, int | float | str]:
        """Say how the relay stands; nothing for a hub that is on none."""
        stats: dict[str, int | float | str] = {}
        if self.teller is not None:
            stats |= {"relay_told": self.teller.told, "relay_pending": self.teller.pending}
        if self.intake is not None:
            stats |= {"relay_bars": self.intake.bars, "relay_hubs": len(self.intake.peers)}
            stats |= {
                "relay_set_aside": self.intake.set_aside,
                "relay_last_set_aside": self.intake.last_fault,
            }
        return stats | {"relay_fault": self.relay_fault} if stats or self.relay_fault else {}

    def get_stats(self) -> dict[str, int | float | str]:
        """Count what the hub holds and has done, what it told and what it was told."""
        return {**super().get_stats(), **self.relay_stats()}
