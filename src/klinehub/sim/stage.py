"""The stage of a soak: a simulated exchange, and a hub as a user runs it, started and started again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

import numpy as np

from klinehub.domain.clock import Clock
from klinehub.errors import KlinehubError
from klinehub.feed.account import Account
from klinehub.feed.decisions import BarClosed
from klinehub.hub import Hub
from klinehub.settings import HubSettings
from klinehub.sim.exchange import Exchange, Served, serve
from klinehub.sim.kept import Kept
from klinehub.sim.line_trouble import with_names
from klinehub.sim.loop import SimLoop
from klinehub.sim.oracle import Remembering
from klinehub.sim.scene import Scene
from klinehub.sim.skew import Skewed
from klinehub.sim.spending import Spending, WatchedNetwork

# A hub that cannot start is started again after this many seconds, as a supervisor would.
START_AGAIN: Final = 5.0


class Stage:
    """An exchange and the hub on it; `hub` is None while there is none that is up.

    *corrected* says that bars are corrected in this run, so that the audit has more to do than usually.
    *kept* is the hub's store.
    *on_up* is told each hub once it is up, *on_close* each bar it announces, *on_news* what happens to it.
    *attend* is done beside each hub that is up.
    """

    def __init__(
        self,
        loop: SimLoop,
        scene: Scene,
        folder: Path,
        market: Remembering,
        *,
        corrected: bool,
        kept: Kept | None,
        on_up: Callable[[Hub], None],
        on_close: Callable[[BarClosed], None],
        on_news: Callable[[str], None],
        attend: Callable[[Hub], Coroutine[object, object, None]] | None = None,
    ) -> None:
        self.scene = scene
        self.clock = Clock(scene.start, 1.0, loop.time)
        self.market = market
        self.cap = int(scene.limit * scene.share)
        self.spending = Spending(scene.limit, self.cap)
        self.skewed = Skewed(loop.time)
        self.hub: Hub | None = None
        self.crash: BaseException | None = None
        self.served: Served
        self._loop = loop
        self._account = folder / "account"
        self._corrected = corrected
        self._kept = kept
        self._on_up = on_up
        self._on_close = on_close
        self._on_news = on_news
        self._attend = attend
        self._starts = 0
        self._life: asyncio.Task[None] | None = None
        self._between = asyncio.Lock()
        self._up = asyncio.Event()
        self._urls = ("", "")
        self._local = Clock(scene.start + scene.skew, 1.0, self.skewed)

    async def open(self) -> None:
        """Start the exchange and the hub, and wait until the hub is up."""
        scene = self.scene
        exchange = Exchange(
            self.market,
            self.clock,
            flat_closes=scene.flat_closes,
            weight_limit=scene.limit,
            pulse=scene.pulse,
        )
        exchange.tally = exchange.rest.tally = self.spending
        self.served = await serve(exchange, port=0, ws_port=0)
        self._urls = with_names(self._loop, self.served)
        self._begin()
        await self._up.wait()

    async def close(self) -> None:
        """End the hub and then the exchange."""
        await self._end()
        await self.served.close()

    async def restart(self, meanwhile: Callable[[], None]) -> None:
        """End the hub, do something, and start a new one at once; it may fail to come up for a while."""
        async with self._between:
            await self._end()
            meanwhile()
            self._begin()

    def _begin(self) -> None:
        self._life = asyncio.create_task(self._live(), name="hub")

    async def _end(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            await asyncio.wait([life])

    async def _live(self) -> None:
        """Run hubs until cancelled; what ends one that was up is a bug, kept in `crash`."""
        while True:
            hub, was_up = self._hub(), False
            try:
                async with hub, self._attended(hub), aclosing(hub.closes()) as closes:
                    was_up = True
                    self.hub = hub
                    self._on_news("the hub is up")
                    self._on_up(hub)
                    self._up.set()
                    async for event in closes:
                        self._on_close(event)
            except KlinehubError as exc:
                if was_up:
                    self.crash = exc
                self._on_news(f"the hub {'ended' if was_up else 'did not start'}: {exc}")
            except Exception as exc:  # noqa: BLE001 - whatever it is, it is a finding of this run
                self.crash = exc
                self._on_news(f"the hub failed: {exc!r}")
            finally:
                self.hub = None
            if self.crash is not None:
                self._up.set()
                return
            await asyncio.sleep(START_AGAIN)

    @asynccontextmanager
    async def _attended(self, hub: Hub) -> AsyncIterator[None]:
        """Do beside a hub what is done beside hubs, if anything."""
        if self._attend is None:
            yield
            return
        beside = asyncio.create_task(self._attend(hub), name="beside the hub")
        try:
            yield
        finally:
            beside.cancel()
            await asyncio.wait([beside])
        if not beside.cancelled():
            beside.result()

    def _hub(self) -> Hub:
        """Make a hub as it would be in a new process; only the account's file and the store are left."""
        self._starts += 1
        jitter = np.random.default_rng([self.scene.seed, 7, self._starts]).random
        kept = self._kept
        hub = Hub(
            self._settings(),
            clock=self._local,
            network=WatchedNetwork(self.clock, self.spending),
            jitter=jitter,
            account=Account(self._account),
            on_plan=lambda _: None if kept is None else kept.came_up(hub),
            open_store=lambda: None if kept is None else kept.open(),
        )
        return hub

    def _settings(self) -> HubSettings:
        scene = self.scene
        rest, stream = self._urls
        # Where bars are corrected, the audit has to see every series twice in the quiet at the end.
        series = len(scene.roles) * len(scene.timeframes)
        return HubSettings(
            rest_url=rest,
            stream_url=f"{stream}/market/stream",
            timeframes=scene.timeframes,
            native=scene.native,
            bars=scene.bars,
            weight_limit=scene.limit,
            share=scene.share,
            streams_per_socket=scene.per_socket,
            spare=8,
            audit=min(0.5, max(0.02, series / scene.limit)) if self._corrected else 0.02,
        )
