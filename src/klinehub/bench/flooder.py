"""The other end of `attach`: a process that writes into a shared ring as fast as it can, until stdin ends.

Each word of a bar follows from its row, its index and its version, so that any mixture of two shows.
"""

import select
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from klinehub.domain.kline import CLOSED, FORMING, ROW_WORDS, Scale
from klinehub.domain.timeframe import in_order
from klinehub.panel.memory import F64, I64, Memory, bar_index, bar_open, kernel
from klinehub.panel.merge import merge_closed, merge_forming
from klinehub.panel.shared import SharedRing

FRAMES: Final = in_order(("1m", "5m", "15m", "1h"))
# Versions of a bar: the last one is its close.
VERSIONS: Final = 8
CHUNK: Final = 20_000
FIRST: Final = 480_000


class Orders(msgspec.Struct, frozen=True):
    """What to write: the file to share, how many symbols and bars, and how many bars of each at the start."""

    path: str
    symbols: int
    bars: int
    filled: int
    seed: int


class Told(msgspec.Struct, frozen=True):
    """What was written, in how many seconds."""

    bars: int
    seconds: float


def seconds() -> float:
    """Count the machine's seconds, from the same moment in every process."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


@kernel
def told(row: int, index: int, version: int, opened: int, out: I64, out_f: F64) -> None:
    """Fill *out* [10] with the bar of a row and index in a version of it."""
    base = version * 1_000_003 + row * 1_009 + index % 997
    out[0] = opened
    out_f[1] = float(base) + 0.5
    out_f[2], out_f[3], out_f[4] = float(base) + 0.75, float(base) + 0.25, float(base) + 0.5
    out[5], out[6], out[7], out[8], out[9] = base, base + 1, version, base - 1, base - 2


@kernel
def flood(mem: Memory, rows: int, at: I64, chance: int, count: int, words: I64, words_f: F64) -> int:
    """Write *count* bars into rows drawn by *chance*, whose indexes and versions *at* [T, S, 2] keeps."""
    for _ in range(count):
        chance = (chance * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
        draw = chance >> 8
        t, row = draw % at.shape[0], (draw // 4) % rows
        index, version = at[t, row, 0], at[t, row, 1]
        told(row, index, version, bar_open(index, mem.grid[t, 0], mem.grid[t, 1]), words, words_f)
        if version < VERSIONS:
            merge_forming(mem, t, row, words, version)
            at[t, row, 1] = version + 1
        else:
            merge_closed(mem, t, row, words)
            at[t, row, 0], at[t, row, 1] = index + 1, 1
    return chance


@kernel
def is_untorn(mem: Memory, t: int, row: int, got: I64, got_f: F64, words: I64, words_f: F64) -> bool:
    """Whether klines [n, 12] are bars in a row, each of one version, closed ones of the last.

    *words* and *words_f* are scratch, two views of [10].
    """
    fine, before = True, got[0, 0]
    for at in range(got.shape[0]):
        index, version = bar_index(got[at, 0], mem.grid[t, 0], mem.grid[t, 1]), got[at, 8]
        told(row, index, version, bar_open(index, mem.grid[t, 0], mem.grid[t, 1]), words, words_f)
        closed, is_last = got[at, 11] >= CLOSED, at == got.shape[0] - 1
        fine = fine and (version == VERSIONS if closed else is_last and got[at, 11] == FORMING)
        fine = fine and got[at, 0] == words[0] == (before + mem.grid[t, 0] if at else before)
        before = got[at, 0]
        for price in range(1, 5):
            fine = fine and got_f[at, price] == words_f[price]
        fine = fine and got_f[at, 5] == float(words[5]) and got_f[at, 7] == float(words[6])
        fine = fine and got_f[at, 9] == float(words[8]) and got_f[at, 10] == float(words[9])
    return bool(fine)


def write(orders: Orders) -> Told:
    """Fill a ring, say so on stdout, and write into it until stdin ends."""
    ring = SharedRing(
        FRAMES, path=Path(orders.path), generation=1, rows=orders.symbols, bars=orders.bars, native=FRAMES
    )
    for number in range(orders.symbols):
        ring.add(f"S{number}", Scale(2, 0, 0))
    words, chance, written = np.zeros(ROW_WORDS, np.int64), orders.seed, 0
    at = np.ones((len(FRAMES), orders.symbols, 2), np.int64)
    at[:, :, 0] = FIRST
    filled, started = False, time.perf_counter()
    while not filled or not select.select([sys.stdin], [], [], 0)[0]:
        ring.beat(seconds(), 0, 1.0)
        chance = flood(ring.memory, orders.symbols, at, chance, CHUNK, words, words.view(np.float64))
        written += CHUNK
        if not filled and at[:, :, 0].min() > FIRST + orders.filled:
            _say("filled")
            filled, written, started = True, 0, time.perf_counter()
    taken = Told(written, time.perf_counter() - started)
    ring.end()
    return taken


def main() -> None:
    """Write what the one argument orders."""
    _say(msgspec.json.encode(write(msgspec.json.decode(sys.argv[1], type=Orders))).decode())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
