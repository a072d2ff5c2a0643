"""Trouble: carries out a schedule of faults on a running exchange, its network and the hub's own machine."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from klinehub.sim.consumers import Consumers
from klinehub.sim.disk_trouble import DiskTrouble
from klinehub.sim.exchange import Served
from klinehub.sim.faults import ALL_KINDS, UNFELT, Fault
from klinehub.sim.kept import Kept
from klinehub.sim.line_trouble import LineTrouble
from klinehub.sim.loop import SimLoop
from klinehub.sim.market_trouble import Corrected, MarketTrouble
from klinehub.sim.mishap import Cure, Deed, Dice, nothing
from klinehub.sim.rest_trouble import RestTrouble
from klinehub.sim.skew import Skewed
from klinehub.sim.stream_trouble import StreamTrouble

# The smallest and the largest jump of a clock in seconds.
_JUMPS = (0.2, 3600.0)
_DRIFT = 500.0
# From this size on a geo-block turns WebSocket handshakes away too.
_NO_STREAMS = 0.6


class Trouble:
    """Lets faults happen to a served exchange whose market is `Amended`, and to the hub that follows it.

    *clock* is the hub's source of time, *restart* ends the hub, does something and starts it again, and
    *kept* is its store, *consumers* are the clients of its streams; without them the faults that need them do
    not fire. *on* is told of each fault as it begins (True) and is healed (False).
    `fired` counts the faults of each kind that hit something, `missed` those that found nothing to hit.
    `last_healed` is the market time (ms) at which the last fault was over that may be felt, `woken` that at
    which the machine woke up last, and `corrected` what was changed in the past.
    """

    def __init__(
        self,
        loop: SimLoop,
        served: Served,
        rng: np.random.Generator,
        *,
        clock: Skewed | None = None,
        restart: Callable[[Callable[[], None]], Awaitable[None]] | None = None,
        kept: Kept | None = None,
        consumers: Consumers | None = None,
        on: Callable[[Fault, bool], None] = lambda _, __: None,
    ) -> None:
        self.fired: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.last_healed = 0
        self.woken = 0
        self.on = on
        self._loop = loop
        self._market_clock = served.exchange.clock
        self._clock = clock
        self._restart = restart
        self._active: dict[int, Fault] = {}
        self._numbers = itertools.count()
        dice, exchange = Dice(rng), served.exchange
        lines = LineTrouble(loop, served)
        self._streams = StreamTrouble(exchange, dice, stalled=lines.stalled)
        rest = RestTrouble(exchange, dice, told=self._streams.newest_told)
        self._market = MarketTrouble(exchange, dice, hush=self._streams.hush)
        self._geo_block = rest.deeds["geo_block"]
        self._deeds: dict[str, Deed] = {**lines.deeds, **self._streams.deeds, **rest.deeds}
        self._deeds |= self._market.deeds | self._own()
        if kept is not None and restart is not None:
            self._deeds |= DiskTrouble(kept, dice, self._market_clock, restart).deeds
        if consumers is not None:
            self._deeds |= consumers.deeds

    @property
    def active(self) -> tuple[Fault, ...]:
        """The faults that have begun and are not healed, in the order of the schedule."""
        return tuple(self._active[n] for n in sorted(self._active))

    @property
    def corrected(self) -> list[Corrected]:
        """The minute bars that were changed after their close, oldest change first."""
        return self._market.corrected

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of fault that this can carry out."""
        return frozenset(self._deeds) & frozenset(ALL_KINDS)

    async def play(self, faults: Sequence[Fault]) -> None:
        """Let each fault happen at its time; returns when the last one has been healed."""
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._happen(next(self._numbers), fault))

    async def _happen(self, number: int, fault: Fault) -> None:
        """Wait for the time of a fault, let it happen and heal it."""
        clock = self._market_clock
        await asyncio.sleep(clock.seconds_until(fault.at))
        self._active[number] = fault
        deed = self._deeds.get(fault.kind, _nothing_to_hit)
        cure = deed(fault)
        if cure is None:
            del self._active[number]
            self.missed[fault.kind] += 1
            return
        self.fired[fault.kind] += 1
        self.on(fault, True)  # noqa: FBT003 - begun
        await asyncio.sleep(clock.seconds_until(fault.at + int(fault.seconds * 1000)))
        healing = cure()
        if healing is not None:
            await healing
        del self._active[number]
        if fault.kind not in UNFELT:
            self.last_healed = max(self.last_healed, clock.now())
        self.on(fault, False)  # noqa: FBT003 - healed

    def _own(self) -> dict[str, Deed]:
        """Give the faults of the hub's machine."""
        return {
            "clock_jump": self._jump,
            "clock_drift": self._drift,
            "suspend": self._suspend,
            "blocked": self._block,
            "restart": self._start_again,
            "geo_block": self._block_location,
        }

    def _jump(self, fault: Fault) -> Cure | None:
        """Set the hub's clock forth or back."""
        if self._clock is None:
            return None
        low, high = np.log(_JUMPS)
        seconds = float(np.exp(low + (high - low) * fault.size))
        self._clock.jump(seconds if fault.pick < 0.5 else -seconds)
        return nothing

    def _drift(self, fault: Fault) -> Cure | None:
        """Let the hub's clock run wrong."""
        skewed = self._clock
        if skewed is None:
            return None
        skewed.drift(_DRIFT * (2.0 * fault.size - 1.0))
        return lambda: skewed.drift(0.0)

    def _suspend(self, fault: Fault) -> Cure | None:
        """Let nothing run and the hub's clock stand still."""
        if self._clock is None:
            return None
        self._loop.block(fault.seconds / self._market_clock.rate)
        self._clock.jump(-fault.seconds / self._market_clock.rate)
        self.woken = self._market_clock.now()
        return nothing

    def _block(self, fault: Fault) -> Cure:
        """Let nothing run."""
        self._loop.block(fault.seconds / self._market_clock.rate)
        return nothing

    def _start_again(self, _: Fault) -> Cure | None:
        """End the hub and start it again."""
        restart = self._restart
        return None if restart is None else lambda: restart(nothing)

    def _block_location(self, fault: Fault) -> Cure | None:
        """Refuse the location: all of REST, in bad cases new streams too."""
        end = self._geo_block(fault)
        if end is None or fault.size < _NO_STREAMS:
            return end
        open_door = self._streams.close_door()

        def over() -> None:
            end()
            open_door()

        return over


def _nothing_to_hit(_: Fault) -> None:
    """Find nothing to hit: what the fault is of is not there."""
