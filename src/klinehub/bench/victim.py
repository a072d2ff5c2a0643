"""The writer of `kill`: told on stdin where to go on, it becomes a process that writes until it is killed.

What it prints: `began PID`, then `kept TIMEFRAME BAR LINES` for each slice once the hub would call it kept,
and `over` when the process has ended. A process ends by itself after MOST minutes.
"""

import asyncio
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from klinehub.bench.tape import FRAMES, Tape
from klinehub.domain.kline import ROW, Exact
from klinehub.domain.timeframe import MINUTE
from klinehub.panel.ring import Ring
from klinehub.store.hot import HotStore
from klinehub.store.keeping import Keeping
from klinehub.store.sqlite import SqliteTables

ORIGIN: Final = "simulated"
BARS: Final = 130
MOST: Final = 240
# The share of minutes in which one symbol closes a minute later than the others.
_LATE: Final = 0.3


def opened(folder: Path) -> HotStore:
    """Open the store that is written."""
    return HotStore(SqliteTables(folder / "hot.sqlite3", origin=ORIGIN))


class Writer:
    """One life: restore, repair what the one before did not get to, then close minute after minute."""

    def __init__(self, tape: Tape, folder: Path, dice: np.random.Generator) -> None:
        self._tape = tape
        self._dice = dice
        self.ring = tape.ring(BARS)
        self.keeping = Keeping(self.ring, opened(folder), on_kept=self._tell)
        self._kept = asyncio.Event()

    async def live(self, minute: int) -> None:
        """Close minutes from *minute* on."""
        frame = FRAMES[0]
        self.keeping.restore(frame.open_time(minute) + MINUTE)
        repair(self._tape, self.ring, minute)
        keeping = asyncio.create_task(self.keeping.keep())
        late: tuple[int, int] | None = None
        for now in range(minute, minute + MOST):
            without = int(self._dice.integers(len(self._tape.symbols))) if self._dice.random() < _LATE else -1
            if late is not None:
                load(self._tape, self.ring, *late)
            self._tape.close(self.ring, now, without)
            late = (now, without) if without >= 0 else None
            self._kept.clear()
            self.keeping.note()
            await self._kept.wait()
        keeping.cancel()
        await self.keeping.close()

    def _tell(self, slices: Iterable[tuple[str, int]]) -> None:
        """Acknowledge slices with the number of symbols in each."""
        lines = []
        for name, bar in slices:
            t = self.ring.number[name]
            held = self.ring.closed(t, np.arange(len(self.ring.symbols)), bar)
            lines.append(f"kept {name} {bar} {int(held.sum())}\n")
        _print("".join(lines))
        self._kept.set()


def load(tape: Tape, ring: Ring, minute: int, row: int) -> None:
    """Close one symbol's minute, and the larger bars that waited for it."""
    frame = FRAMES[0]
    words, opened_at = tape.words(frame, minute)[row], frame.open_time(minute)
    ring.load(0, row, Exact(words.view(ROW), tape.scales[row]), opened_at + 2 * MINUTE)
    ring.settle(0, row, opened_at)


def repair(tape: Tape, ring: Ring, upto: int) -> None:
    """Load what lacks of the minutes before *upto*, as REST would bring it."""
    rows = np.arange(len(ring.symbols))
    begun = FRAMES[0].index(tape.start)
    for minute in range(max(begun, upto - BARS + 10), upto):
        for row in rows[~ring.closed(0, rows, minute)].tolist():
            load(tape, ring, minute, row)


def _print(text: str) -> None:
    os.write(sys.stdout.fileno(), text.encode())


def main(folder: Path, symbols: int, seed: int) -> None:
    """Become a writer again for each line `MINUTE LIFE` on stdin."""
    tape = Tape(symbols, seed)
    # Compiled before the first fork, so that no life is spent on it.
    ring = tape.ring(BARS)
    tape.close(ring, FRAMES[0].index(tape.start))
    load(tape, ring, FRAMES[0].index(tape.start), 0)
    _print("ready\n")
    for line in sys.stdin:
        minute, life = map(int, line.split())
        pid = os.fork()
        if pid == 0:
            _print(f"began {os.getpid()}\n")
            writer = Writer(tape, folder, np.random.default_rng([seed, life]))
            asyncio.run(writer.live(minute))
            os._exit(0)
        os.waitpid(pid, 0)
        _print("over\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
