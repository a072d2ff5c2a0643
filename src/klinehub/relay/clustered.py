"""A hub among others: they share a market out, each follows its part at the exchange, and all have it whole.

1. A hub's own symbols come by its streams and requests, under its own address's budget; the others are told
   by their hubs. Both go into one ring.
2. The core decides on its own symbols alone: what they closed is told to others at once. To who listens here
   a bar is announced when all symbols have closed it.
3. When a hub has gone the others take its symbols over: streams are opened, and what was missed in between
   is found missing and asked for, as after any loss. What two hubs tell of one bar closes it once.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import numpy as np

from klinehub.domain.listing import Listing
from klinehub.feed.decisions import Decisions
from klinehub.feed.roster import Roster
from klinehub.relay.cutting import Flags
from klinehub.relay.intake import Intake
from klinehub.relay.link import Link
from klinehub.relay.members import Membership, shard
from klinehub.relay.messages import Listed
from klinehub.relay.relayed import TIMER, RelayedHub

# Real seconds that a start waits for a server before it begins alone.
PATIENCE: Final = 10.0


class ClusteredHub(RelayedHub):
    """A hub that shares its market out with others where `cluster` is set; else as any other."""

    membership: Membership
    _everyone: Roster
    _mine: tuple[str, ...] = ()

    async def _start(self) -> None:
        url = self.settings.cluster
        if not url:
            await super()._start()
            return
        self._laid_out = asyncio.Event()
        self._feeding = self._make_feeding()
        self.membership = Membership(self.settings.hub_name, self.clock, self._share_out)
        self._spawn(self._linked(url, self._work))
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self.membership.looked.wait()
        await super()._start()
        if self.intake is not None:
            self.intake.closing.begin(self.now())
            self._spawn(self._look(self.intake))
        self.membership.ready = True
        self._spawn(self.membership.watch())

    async def _work(self, link: Link) -> None:
        """Keep the lease, be told, and tell, over this link."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.membership.run(link))
            await self._laid_out.wait()
            group.create_task(self._feeding.run(link))
            if self.teller is not None:
                group.create_task(self.teller.run(link))

    def _followed(self) -> tuple[str, ...]:
        return self._mine if self.settings.cluster else super()._followed()

    def _own(self) -> Flags:
        if not self.settings.cluster:
            return super()._own()
        own = np.zeros(self.ring.capacity, bool)
        own[[self.ring.rows[symbol] for symbol in self._mine]] = True
        return own

    def _lay_out(self) -> None:
        if not self.settings.cluster:
            super()._lay_out()
            return
        self._mine = self._part()
        super()._lay_out()
        self._everyone = Roster(self.ring)
        self._everyone.follow(self.symbols)
        self.teller = self._make_teller()
        self.intake = Intake(
            self.core,
            self._patient(self._everyone),
            self._own,
            pace=self.clock.rate,
            on_covered=self.teller.covered,
        )

    async def _open_streams(self) -> None:
        """Take what others have told first: what is told need not be asked for."""
        if self.settings.cluster:
            self._feeding.listed.cancel()
            self._feeding.ready.set()
            self._laid_out.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._feeding.caught_up.wait()
        await super()._open_streams()

    def _part(self) -> tuple[str, ...]:
        """Give the symbols that are this hub's by those members that are ready."""
        settings = self.settings
        return shard(self.symbols, self.membership.members, settings.hub_name, settings.copies)

    def _share_out(self, _: frozenset[str]) -> None:
        """Take over what has become this hub's, and leave what has become another's."""
        if not self._laid_out.is_set():
            return
        before, self._mine = frozenset(self._mine), self._part()
        mine = frozenset(self._mine)
        frozen = self.core.roster.frozen
        gained = tuple(symbol for symbol in self._mine if symbol not in before and symbol not in frozen)
        lost = [symbol for symbol in before - mine if self.core.roster.follows(symbol)]
        for symbol in lost:
            self.core.roster.leave(symbol)
        self.core.watch(gained)
        # Before there are streams they will be opened for what is followed then.
        if self.live.seats:
            self.live.follow(gained, [])
            self.live.emit(Decisions(left=lost))

    def _take(self, decisions: Decisions) -> None:
        intake = self.intake
        if not self.settings.cluster or intake is None:
            super()._take(decisions)
            return
        if self.teller is not None:
            self.teller.note(decisions)
        number = self.ring.number
        revised = [
            one for one in decisions.revised if intake.closing.is_announced(number[one.timeframe], one.bar)
        ]
        passed = Decisions(revised=revised, corrected=decisions.corrected)
        intake.closing.announce(self.now(), passed, patience_ends=False)
        self._pass_on(passed)

    def _on_listing(self, listed: Listed) -> None:
        """Go by what is read oneself: two who tell of a listing at other moments contradict each other."""
        if self.settings.cluster:
            self._take_firsts(listed)
        else:
            super()._on_listing(listed)

    def _relisted(self, listings: Sequence[Listing], fits: Callable[[Listing], bool]) -> None:
        super()._relisted(listings, fits)
        if not self.settings.cluster:
            return
        frozen, everyone, mine = self.core.roster.frozen, self._everyone, frozenset(self._mine)
        for symbol in self.ring.symbols:
            if symbol in frozen and symbol not in everyone.frozen:
                everyone.freeze(symbol, frozen[symbol], self.now())
            elif symbol not in frozen and symbol in everyone.frozen:
                everyone.follow([symbol])
            if symbol not in mine and self.core.roster.follows(symbol):
                self.core.roster.leave(symbol)

    def _follow(self, added: tuple[str, ...]) -> None:
        if not self.settings.cluster:
            super()._follow(added)
            return
        self.symbols = tuple(dict.fromkeys((*self.symbols, *added)))
        self._mine = self._part()
        mine = frozenset(self._mine)
        self._add_rows(added)
        self._everyone.follow(added)
        super()._follow(tuple(symbol for symbol in added if symbol in mine))
        for symbol in added:
            if symbol not in mine:
                self.core.roster.leave(symbol)

    async def _look(self, intake: Intake) -> None:
        if not self.settings.cluster:
            await super()._look(intake)
            return
        while True:
            self._pass_on(intake.on_timer(self.now()))
            for symbol in self._everyone.leaving(self.now() - 2 * self.core.grace):
                self._everyone.leave(symbol)
            await asyncio.sleep(TIMER)

    def relay_stats(self) -> dict[str, int | float | str]:
        """Say how the relay stands, and what part of the market is this hub's."""
        if not self.settings.cluster:
            return super().relay_stats()
        members = ", ".join(sorted({self.settings.hub_name, *self.membership.members}))
        return {**super().relay_stats(), "relay_members": members, "relay_own": len(self._mine)}
