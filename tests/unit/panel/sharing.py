"""A shared ring and its reader in one process, on a clock that the test turns."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.unit.panel.model import SCALE, exact, market

from klinehub.domain.timeframe import in_order
from klinehub.panel.attached import Attached
from klinehub.panel.shared import SharedRing

FRAMES: Final = in_order(["1m", "5m", "15m"])
START: Final = 28_333_335
LATER: Final = 10**13
NOON: Final = 1_700_000_000_000
SYMBOLS: Final = ("BTCUSDT", "币安人生USDT", "ETHUSDT")


class Machine:
    """A clock in seconds, and how often a reader has paused; *on_pause* is what happens meanwhile."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.pauses = 0
        self.on_pause: Callable[[], None] = lambda: None

    def clock(self) -> float:
        return self.seconds

    def pause(self) -> None:
        self.pauses += 1
        self.on_pause()

    def ring(
        self, path: Path, *, generation: int = 1, symbols: tuple[str, ...] = SYMBOLS, filled: int = 30
    ) -> SharedRing:
        """Make a ring of three timeframes whose first two symbols have bars, and let it beat once."""
        ring = SharedRing(FRAMES, path=path, generation=generation, rows=5, bars=40)
        for row, symbol in enumerate(symbols):
            ring.add(symbol, SCALE)
            if row < 2:
                ring.load(0, row, exact(market(FRAMES[0], START, filled, row, quiet=0.2)), LATER)
                for bar in market(FRAMES[0], START, filled, row, quiet=0.2):
                    ring.lift(0, row, bar.open_time)
        ring.beat(self.seconds, NOON, 10.0)
        return ring

    def attach(self, path: Path) -> Attached:
        return Attached(path, self.clock, self.pause)
