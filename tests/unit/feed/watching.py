"""A liveness that watches a few symbols, and the minutes that go by for it."""

from collections.abc import Iterable, Sequence
from typing import Final

from tests.unit.feed.frames import a_ring
from tests.unit.feed.telling import FRAMES, NAMES, START
from tests.unit.panel.model import SCALE

from klinehub.domain.stale import Reason
from klinehub.feed.decisions import Decisions, Fetch, Step
from klinehub.feed.liveness import BY_PRICES, Liveness, Patience
from klinehub.feed.roster import Roster
from klinehub.panel.ring import Ring

TICK: Final = 500
HOUR: Final = 3_600_000
LONG_AGO: Final = START - HOUR


class Watch:
    """Streams of some symbols on seats, and when each symbol last traded."""

    def __init__(
        self,
        seats: Sequence[Sequence[str]] = (NAMES,),
        *,
        pace: float = 1.0,
        up: bool = True,
        ring: Ring | None = None,
        patience: Patience = BY_PRICES,
    ) -> None:
        self.names = [name for seat in seats for name in seat]
        self.ring = a_ring(self.names, SCALE, FRAMES[:1]) if ring is None else ring
        self.roster = Roster(self.ring)
        self.roster.follow(self.names)
        self.liveness = Liveness(self.ring, self.roster, patience, pace=pace)
        self.seat_of = {name: number for number, seat in enumerate(seats) for name in seat}
        self.now = START
        self.steps: list[tuple[int, Step]] = []
        self.fetches: list[tuple[int, Fetch]] = []
        self.asked: list[int] = []
        self.traded = dict.fromkeys(self.names, LONG_AGO)
        for number, seat in enumerate(seats):
            for timeframe in self.ring.streamed:
                self.liveness.assign(number, seat, timeframe.name)
            if up:
                self.liveness.on_seat(number, self.now, up=True)

    def hear(self, *names: str, late: int = 0) -> None:
        """Let streams tell a kline, some of them late by so much."""
        for name in names:
            row = self.ring.rows[name]
            for timeframe in self.ring.streamed:
                heard = self.ring.memory.heard[self.ring.number[timeframe.name]]
                heard[row] = max(heard[row], self.now - late)
            self.liveness.heard(self.seat_of[name], self.now - late, self.now)

    def check(self, gaps: Iterable[str] = ()) -> Decisions:
        """Look around now."""
        decisions = Decisions()
        self.liveness.check(self.now, [self.ring.rows[name] for name in gaps], decisions)
        self.steps += [(self.now, step) for step in decisions.steps]
        self.fetches += [(self.now, fetch) for fetch in decisions.fetches]
        if decisions.prices:
            self.asked.append(self.now)
        return decisions

    def prices(self, *, ago: int = 0, without: Iterable[str] = ()) -> None:
        """Answer when each symbol last traded, as it was some ms ago."""
        asked = self.now - ago
        traded = {name: time for name, time in self.traded.items() if name not in set(without)}
        self.liveness.on_prices(traded, asked)

    def trade(self, *names: str) -> None:
        """Let symbols trade now."""
        self.traded.update(dict.fromkeys(names, self.now))

    def load(self, *names: str) -> None:
        """Let REST bring all that was traded until now."""
        for name in names:
            for timeframe in self.ring.streamed:
                self.liveness.loaded(self.ring.number[timeframe.name], self.ring.rows[name], self.now)

    def go(self, ms: int, *, talking: Iterable[str] = (), priced: bool = False, step: int = TICK) -> None:
        """Let time go by, look at each tick, let some talk and, if *priced*, answer what is asked."""
        for _ in range(ms // step):
            self.now += step
            self.hear(*talking)
            if self.check().prices and priced:
                self.prices()

    def begin(self) -> None:
        """Hear everybody, so that all are fresh."""
        self.now += 1
        self.trade(*self.names)
        self.hear(*self.names)
        self.check()

    def reason(self, name: str) -> Reason:
        """Give what is written of a symbol."""
        return Reason(int(self.ring.memory.stale[self.ring.rows[name], 0]))

    def since(self, name: str) -> int:
        """Give since when a symbol is stale."""
        return int(self.ring.memory.stale[self.ring.rows[name], 1])

    def reasons(self) -> list[Reason]:
        """Give what is written of all symbols."""
        return [self.reason(name) for name in self.names]


FRESH: Final = [Reason.FRESH] * 3
