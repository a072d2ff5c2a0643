"""`kill`: whether what a store has acknowledged is there after its writer was killed at a random moment.

1. A process restores what is there, repairs it, and writes the closes of a whole market, minute by minute;
   it prints each slice (a timeframe's bar of all symbols) once it counts as kept, late bars included.
2. It is killed, after some slices or even before the first, at a random microsecond.
3. The store is opened anew: every line in it has to be the truth, what was acknowledged has to be there, a
   larger bar has to be there with the minute that ended it, and nothing may be damaged. Then it goes on.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np

from klinehub.bench.catalogue import Measurement
from klinehub.bench.stage import SYMBOLS
from klinehub.bench.tape import FRAMES, Tape
from klinehub.bench.victim import opened
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import FeedError
from klinehub.store.hot import HotStore

KILLS: Final = 200
# A life ends after up to so many acknowledged slices and so many seconds more.
_MOST_SLICES: Final = 12
_LONGEST: Final = 0.02
# This share of the lives ends within their first tenth of a second, opening and restoring.
_YOUNG: Final = 0.2
_YOUTH: Final = 0.1
_HOUR: Final = 60

Slices = dict[tuple[str, int], int]


def measure(seed: int, *, n: int = KILLS, symbols: int = SYMBOLS) -> Measurement:
    """Give the bars that were acknowledged and are not there, or not as they were, after *n* kills."""
    begun = time.monotonic()
    tape, dice = Tape(symbols, seed), np.random.default_rng([seed, 21])
    with tempfile.TemporaryDirectory(prefix="klinehub-bench-") as name:
        check = Check(tape, Path(name))
        line = Line(Path(name), symbols, seed)
        try:
            for life in range(n):
                check.acknowledged(line.live(check.next_minute, life, dice))
                check.recent()
        finally:
            line.close()
        check.everything()
    detail = {
        "kills": n,
        "acknowledged": sum(check.kept.values()),
        "lost": check.lost,
        "torn": check.torn,
        "slices": len(check.kept),
        "minutes": check.next_minute - FRAMES[0].index(tape.start),
        "symbols": len(tape.symbols),
        "timeframes": [frame.name for frame in FRAMES],
        "seconds": round(time.monotonic() - begun, 1),
        "goal": 0,
        "how": "SIGKILL of a process that writes; acknowledged, lost and torn are bars of one symbol",
    }
    return Measurement(check.lost + check.torn, "bars", detail)


class Line:
    """The writer's parent, and the line to what it prints."""

    def __init__(self, folder: Path, symbols: int, seed: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "klinehub.bench.victim", str(folder), str(symbols), str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._read()

    def live(self, minute: int, life: int, dice: np.random.Generator) -> Slices:
        """Let a writer live from *minute* on, kill it, and give what it has acknowledged."""
        kept: Slices = {}
        stdin = self._process.stdin
        if stdin is not None:
            stdin.write(f"{minute} {life}\n".encode())
            stdin.flush()
        pid = int(self._read()[1])
        young = dice.random() < _YOUNG
        slices = 0 if young else int(dice.integers(1, _MOST_SLICES + 1))
        while len(kept) < slices:
            self._note(self._read(), kept)
        time.sleep(float(dice.uniform(0, _YOUTH if young else _LONGEST)))
        os.kill(pid, signal.SIGKILL)
        while (words := self._read())[0] != "over":
            self._note(words, kept)
        return kept

    def _note(self, words: list[str], kept: Slices) -> None:
        """Take an acknowledgement; raises FeedError when the writer has ended without being killed."""
        if words[0] != "kept":
            raise FeedError("The benchmark's writer ended by itself; its words are above.")
        kept[words[1], int(words[2])] = int(words[3])

    def _read(self) -> list[str]:
        line = self._process.stdout.readline() if self._process.stdout is not None else b""
        if not line:
            raise FeedError("The benchmark's writer did not start; its words are above.")
        return line.decode().split()

    def close(self) -> None:
        """Let the parent end; a writer that still lives ends with its minutes."""
        self._process.communicate()


class Check:
    """Holds the store against the tape and against what was acknowledged; counts bars of one symbol."""

    def __init__(self, tape: Tape, folder: Path) -> None:
        self.tape = tape
        self._folder = folder
        self.kept: Slices = {}
        self.lost = self.torn = 0
        self.next_minute = FRAMES[0].index(tape.start)

    def acknowledged(self, slices: Slices) -> None:
        """Note what a writer has acknowledged."""
        self.kept.update(slices)

    def recent(self) -> None:
        """Look at the last two hours, and at which minute to go on."""
        self._look(self.next_minute - 2 * _HOUR)

    def everything(self) -> None:
        """Look at all that was ever acknowledged."""
        self._look(FRAMES[0].index(self.tape.start))

    def _look(self, since: int) -> None:
        store = opened(self._folder)
        try:
            start = max(FRAMES[0].open_time(since), self.tape.start)
            found = {frame.name: self._lines(store, frame, frame.index(start)) for frame in FRAMES}
            self.torn += len(store.set_aside) * len(self.tape.symbols)
        finally:
            store.tables.close()
        for frame in FRAMES:
            lines = found[frame.name]
            first = frame.index(start)
            wanted = {bar: n for (name, bar), n in self.kept.items() if name == frame.name and bar >= first}
            self.lost += sum(max(0, n - lines.get(bar, 0)) for bar, n in wanted.items())
            if frame is not FRAMES[0]:
                self.torn += self._parted(frame, lines, found[FRAMES[0].name], first)
        self.next_minute = max(found[FRAMES[0].name], default=self.next_minute - 1) + 1

    def _lines(self, store: HotStore, frame: Timeframe, first: int) -> dict[int, int]:
        """Count the lines of each slice that are the truth; the others are torn."""
        rows = {symbol: row for row, symbol in enumerate(self.tape.symbols)}
        of = np.array([-1 if entry is None else rows[entry.symbol] for entry in store.entries], np.int64)
        found = {}
        for bar, lines in store.slices(frame, first, frame.index(2**42)):
            true = self.tape.words(frame, bar)[of[lines.numbers]]
            right = (lines.words == true).all(axis=1)
            self.torn += int((~right).sum())
            found[bar] = int(right.sum())
        return found

    def _parted(self, frame: Timeframe, larger: dict[int, int], minutes: dict[int, int], first: int) -> int:
        """Count the bars of a larger timeframe that lack, though all their minutes are there."""
        symbols, lack = len(self.tape.symbols), 0
        base = FRAMES[0]
        for bar in range(first, frame.index(base.open_time(max(minutes, default=0))) + 1):
            parts = range(base.index(frame.open_time(bar)), base.index(frame.open_time(bar + 1)))
            if all(minutes.get(minute, 0) == symbols for minute in parts):
                lack += symbols - larger.get(bar, 0)
        return lack
