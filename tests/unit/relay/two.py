"""Two hubs without a network: the core of one that tells, and of one that is told."""

import numpy as np
from tests.unit.panel.model import SCALE, Bar, exact, market

from klinehub.domain.timeframe import in_order
from klinehub.feed.closing import Closing
from klinehub.feed.core import Core
from klinehub.panel.ring import Ring
from klinehub.relay.cutting import Cutter
from klinehub.relay.intake import Intake
from klinehub.relay.messages import Bars, Fix

FRAMES = in_order(["1m", "5m"])
START = 28_333_335
COUNT = 20
SYMBOLS = ("BBB", "AAA", "CCC")
LATER = 10**13
MINUTE = 60_000


def bars_of(seed: int, count: int = COUNT) -> list[Bar]:
    return market(FRAMES[0], START, count, seed, quiet=0.2)


def core_of(symbols: tuple[str, ...] = SYMBOLS, bars: int = 40) -> Core:
    ring = Ring(FRAMES, rows=len(symbols) + 1, bars=bars)
    for symbol in symbols:
        ring.add(symbol, SCALE)
    core = Core(ring, wanted=4)
    core.watch(symbols)
    return core


def loaded(symbols: tuple[str, ...] = SYMBOLS, count: int = COUNT) -> Core:
    """Give a core that has all bars of its symbols."""
    core = core_of(symbols)
    for symbol in symbols:
        row, bars = core.ring.rows[symbol], bars_of(sum(symbol.encode()), count)
        core.ring.load(0, row, exact(bars), LATER)
        for bar in bars:
            core.ring.lift(0, row, bar.open_time)
    return core


class Told:
    """One that is told: its core, what it announces with, and its intake; own are the *mine* of its rows."""

    def __init__(
        self, symbols: tuple[str, ...] = SYMBOLS, mine: tuple[str, ...] = (), since: int = START
    ) -> None:
        self.core = core_of(symbols)
        self.closing = Closing(self.core.ring, self.core.roster, 4_500)
        self.covered: list[tuple[int, int]] = []
        own = np.zeros(self.core.ring.capacity, bool)
        own[[self.core.ring.rows[symbol] for symbol in mine]] = True
        self.intake = Intake(
            self.core,
            self.closing,
            own.copy,
            on_covered=lambda t, bar: self.covered.append((t, bar)),
        )
        self.closing.begin(since * MINUTE)


def told(
    core: Core,
    bar: int,
    symbols: tuple[str, ...] | None = None,
    *,
    t: int = 0,
    hub: str = "one",
    missing: tuple[str, ...] = (),
    fixes: tuple[Fix, ...] = (),
) -> Bars:
    """Give what a hub tells of a bar of *symbols*."""
    ring = core.ring
    own = np.zeros(ring.capacity, bool)
    own[[ring.rows[symbol] for symbol in symbols or ring.symbols]] = True
    cut = Cutter(ring, lambda: core.repair.absent).closed(t, bar, own)
    frame = ring.timeframes[t]
    return Bars(hub, frame.name, bar, frame.open_time(bar), frame.close_time(bar) + 100, *cut, missing, fixes)


def same(one: Core, other: Core, t: int = 0) -> bool:
    """Whether two have the same closed bars of the symbols of both."""
    for symbol in set(one.ring.rows) & set(other.ring.rows):
        mine, its = (
            core.ring.panel(FRAMES[t].name).exact(symbol, start=0, end=START * 10) for core in (one, other)
        )
        if mine.scale != its.scale or mine.rows.tobytes() != its.rows.tobytes():
            return False
    return True
