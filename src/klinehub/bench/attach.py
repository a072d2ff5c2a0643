"""`attach`: what a read of another process's panel takes, and whether one is ever torn.

1. A process of its own writes forming and closed bars into a shared ring, row after row, as fast as it can.
2. Here an attachment reads random rows, and each read is checked word by word.
3. Reads without a second look at the sequence are checked too: they have to show what is looked for.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from klinehub.bench.catalogue import rounded
from klinehub.bench.flooder import FRAMES, Orders, Told, is_untorn, seconds
from klinehub.domain.kline import KLINE_WORDS, ROW_WORDS, Klines
from klinehub.errors import DataError, KlinehubError
from klinehub.panel.attached import Attached
from klinehub.panel.memory import I64
from klinehub.panel.read import copy_klines

SYMBOLS: Final = 550
# A row of so few is written again while it is read, as often as not.
HOT: Final = 8
BARS: Final = 512
LIMIT: Final = 300
PAUSE: Final = 0.0005
LONGEST: Final = 200.0
_WRITER: Final = "from klinehub.bench.flooder import main; main()"


class Tally(NamedTuple):
    """What reads took in us, and how many were torn or given up."""

    us: list[float]
    torn: int
    gave_up: int


def measure(
    seed: int = 1, *, reads: int = 1_000_000, hot_reads: int = 100_000, symbols: int = SYMBOLS
) -> dict[str, Any]:
    """Give us per `attach()[timeframe].klines(symbol, 300)`, torn reads, and those given up as too busy.

    `hot` is the same on 8 symbols alone, which the writer writes that much more often. `unchecked` counts the
    reads without the second look at the sequence. All ends after some minutes, even if not all reads
    were done; `reads` says how many were.
    """
    return {
        **_measured(seed, reads, hot_reads, symbols),
        "hot": _measured(seed + 1, hot_reads, hot_reads, HOT),
    }


def _measured(seed: int, reads: int, unchecked: int, symbols: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="klinehub-bench-") as folder:
        path = Path(folder) / "panel"
        with writing(Orders(str(path), symbols, BARS, LIMIT, seed)) as told:
            attached = Attached(path, seconds, lambda: time.sleep(PAUSE))
            found = _read(attached, seed, reads, Reads(attached).checked)
            raw = _read(attached, seed, unchecked, Reads(attached).unchecked)
    # The first reads of each timeframe meet cold pages.
    taken = found.us[min(1_000, len(found.us) // 2) :]
    return {
        "attach_us": {"p50": rounded(np.percentile(taken, 50)), "p99": rounded(np.percentile(taken, 99))},
        "reads": len(found.us),
        "torn_reads": found.torn,
        "gave_up": found.gave_up,
        "unchecked": {"reads": len(raw.us), "torn_reads": raw.torn},
        "writes_per_second": round(told[0].bars / told[0].seconds),
    }


@contextmanager
def writing(orders: Orders) -> Iterator[list[Told]]:
    """Let a process write while the block runs; afterwards the list has what it wrote."""
    text = msgspec.json.encode(orders).decode()
    told: list[Told] = []
    with subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-c", _WRITER, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdout is None or process.stdin is None or process.stdout.readline() != "filled\n":
            raise KlinehubError("The writer of the benchmark ended early: see its own output.")
        yield told
        process.stdin.close()
        told.append(msgspec.json.decode(process.stdout.read(), type=Told))


class Reads:
    """The two ways to read: as a program does, and without a second look at the sequence."""

    def __init__(self, attached: Attached) -> None:
        self._panels = [attached[frame.name] for frame in FRAMES]
        self._memory = attached.run.memory

    def checked(self, t: int, row: int, name: str) -> Klines:
        """Read as a program does."""
        del row
        return self._panels[t].klines(name, LIMIT, forming=True)

    def unchecked(self, t: int, row: int, name: str) -> Klines:
        """Read the row once, whatever its sequence says."""
        del name
        out = Klines.empty(LIMIT + 1)
        words = out.view(np.int64).reshape(-1, KLINE_WORDS)
        count = copy_klines(self._memory, t, row, LIMIT, 1, words, words.view(np.float64))
        kept: Klines = out[LIMIT + 1 - count :]  # type: ignore[assignment] # a slice keeps its class
        return kept


def _read(attached: Attached, seed: int, count: int, read: Callable[[int, int, str], Klines]) -> Tally:
    """Read *count* random rows, and check each word of what comes."""
    memory, names = attached.run.memory, attached.symbols
    dice = np.random.default_rng(seed)
    us: list[float] = []
    torn = gave_up = 0
    words: I64 = np.zeros(ROW_WORDS, np.int64)
    ends = time.perf_counter() + LONGEST
    while len(us) + gave_up < count and time.perf_counter() < ends:
        some = min(10_000, count - len(us) - gave_up)
        for t, row in dice.integers(0, (len(FRAMES), len(names)), (some, 2)).tolist():
            name = names[row]
            started = time.perf_counter_ns()
            try:
                got = read(t, row, name)
            except DataError:
                gave_up += 1
                continue
            us.append((time.perf_counter_ns() - started) / 1000)
            lines = got.view(np.int64).reshape(-1, KLINE_WORDS)
            untorn = is_untorn(memory, t, row, lines, lines.view(np.float64), words, words.view(np.float64))
            torn += not (untorn and LIMIT <= len(lines) <= LIMIT + 1)
    return Tally(us, torn, gave_up)
