"""`power`: whether a store survives a loss of power at every write, on a disk that loses what is not synced.

1. A trace of commits is written to a simulated disk: closes, late bars, new symbols, first bars, records,
   damage moved aside, old slices deleted; every step that SQLite takes is recorded.
2. The steps are played again, and before each of them the power fails: what was not synced is there or not,
   sector by sector. The store is opened on what is left.
3. Each commit that was acknowledged has to be there bit for bit, the one under way whole or not at all, and
   the next commit has to work.
"""

import time
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from klinehub.bench.catalogue import Measurement
from klinehub.bench.tape import FRAMES, Tape
from klinehub.domain.kline import Scale
from klinehub.domain.timeframe import MINUTE, Timeframe
from klinehub.errors import StoreError
from klinehub.sim.disk import Disk, Step
from klinehub.store.base import Change, First, key_of
from klinehub.store.hot import HotStore, Slice
from klinehub.store.slices import Lines
from klinehub.store.sqlite import SqliteTables

CUTS: Final = 10_000
COMMITS: Final = 1_000
SYMBOLS: Final = 8
PATH: Final = Path("/data/hot.sqlite3")
# Small, so that the log is moved into the file every few dozen commits.
LONG_WAL: Final = 200
# Shares of the commits that do what is rare in life.
_LATE, _NEW, _TOLD, _DAMAGED, _DROPPED, _SEALED = 0.15, 0.03, 0.1, 0.02, 0.02, 0.02
_LAST: Final = 2**62

# Everything that a database holds: a name for each line, and what it says.
State = dict[str, object]


class Trace(NamedTuple):
    """The steps of a disk; by commit how many there were when it was acknowledged, and its change."""

    steps: list[Step]
    marks: list[int]
    changes: list[Change]


class _Recorded(SqliteTables):
    """Tables that remember each change, once it is acknowledged."""

    def __init__(self, disk: Disk, trace: Trace) -> None:
        self._trace = trace
        super().__init__(PATH, origin="simulated", vfs=disk.vfs, replace=disk.replace, long_wal=LONG_WAL)

    def commit(self, change: Change) -> None:
        """Write a change and remember it."""
        super().commit(change)
        self._trace.changes.append(change)
        self._trace.marks.append(len(self._trace.steps))


def measure(seed: int, *, n: int = CUTS, commits: int = COMMITS) -> Measurement:
    """Give the cuts, of *n* or one before every step, after which a store is not what it has to be."""
    begun = time.monotonic()
    trace = written(commits, seed)
    cuts = min(n, len(trace.steps))
    dice = np.random.default_rng([seed, 23])
    chosen = frozenset(dice.choice(len(trace.steps), cuts, replace=False).tolist())
    found = survived(trace, chosen, dice)
    detail = {
        "cuts": cuts,
        **found,
        "boundaries": len(trace.steps),
        "commits": commits,
        "log_bytes": sum(len(step.data) for step in trace.steps),
        "seconds": round(time.monotonic() - begun, 1),
        "goal": 0,
        "how": "the power fails before a step; sectors that are not synced are there or not, by chance",
    }
    return Measurement(sum(found.values()), "cuts", detail)


def written(commits: int, seed: int) -> Trace:
    """Write a trace of commits on a disk that never fails."""
    trace, disk = Trace([], [], []), Disk()
    disk.log = trace.steps.append
    store = HotStore(_Recorded(disk, trace))
    tape, dice = Tape(SYMBOLS, seed), np.random.default_rng([seed, 24])
    base = FRAMES[0].index(tape.start)
    while len(trace.changes) < commits:
        _commit(store, tape, base + len(trace.changes), base, dice)
        store.tables.tidy()
    store.tables.close()
    disk.forget()
    return trace


def _commit(store: HotStore, tape: Tape, minute: int, base: int, dice: np.random.Generator) -> None:
    """Keep the bars that end with a minute, or do one of the rarer things."""
    numbers = np.array([store.number(*pair) for pair in zip(tape.symbols, tape.scales, strict=True)])
    frame, chance = FRAMES[0], iter(dice.random(8).tolist())
    old = int(dice.integers(base, minute)) if minute > base else base
    if next(chance) < _DAMAGED:
        store.tables.commit(Change(damaged=((key_of(frame, old), b"damaged", "a test"),)))
        return
    if next(chance) < _DROPPED:
        store.drop(frame, old - 200)
        return
    if next(chance) < _SEALED:
        store.tables.commit(Change(sealed=(old,), opened=(old - 7,)))
        return
    if next(chance) < _NEW:
        store.number(f"NEW{minute}USDT", Scale(2, 3, 5))
    words = [(one, bar, tape.words(one, bar)) for one, bar in _ended(frame.open_time(minute + 1))]
    if next(chance) < _LATE:
        words.append((frame, old, tape.words(frame, old)))
    rows = slice(1, None) if next(chance) < _LATE else slice(None)
    slices = [
        Slice(one, bar, Lines(numbers[rows], np.full(numbers[rows].size, 2), told[rows]))
        for one, bar, told in words
    ]
    firsts = [First(MINUTE, f"S{minute}", old)] if next(chance) < _TOLD else []
    store.commit(slices, firsts=firsts, records=[f"{minute} was corrected"] * (next(chance) < _TOLD))


def _ended(time_: int) -> list[tuple[Timeframe, int]]:
    """Give the bars that end at a time (ms)."""
    return [(frame, frame.index(time_ - 1)) for frame in FRAMES if time_ % frame.milliseconds == 0]


def survived(trace: Trace, chosen: frozenset[int], dice: np.random.Generator) -> dict[str, int]:
    """Cut the power before each of the *chosen* steps; gives the cuts that lost, tore or closed the store."""
    disk, state, done = Disk(), State(damaged=0), 0
    found = {"lost": 0, "torn": 0, "unopened": 0}
    for at, step in enumerate(trace.steps):
        while done < len(trace.marks) and trace.marks[done] <= at:
            apply(state, trace.changes[done])
            done += 1
        if at in chosen:
            following = trace.changes[done] if done < len(trace.changes) else None
            verdict = judged(disk.cut(dice), state, following)
            if verdict:
                found[verdict] += 1
        disk.play(step)
    return found


def judged(disk: Disk, state: State, following: Change | None) -> str:
    """Say what a store on *disk* lacks that has to be in *state*, or in it and the *following* change."""
    try:
        tables = SqliteTables(PATH, origin="simulated", vfs=disk.vfs, replace=disk.replace)
        there = whole(tables)
        tables.commit(Change(slices=((1, b"the next"),)))
        resumed = dict(tables.scan(0, 1)) == {1: b"the next"} and not tables.salvaged
        tables.close()
        disk.forget()
    except StoreError:
        return "unopened"
    if not resumed:
        return "torn"
    if there == state:
        return ""
    if following is not None:
        after = dict(state)
        apply(after, following)
        if there == after:
            return ""
    return "lost" if any(there.get(name) != value for name, value in state.items()) else "torn"


def whole(tables: SqliteTables) -> State:
    """Read everything that a database holds."""
    kept = tables.kept()
    state: State = {f"slice {key}": body for key, body in tables.scan(0, _LAST)}
    state |= {f"symbol {one.number}": one for one in kept.entries}
    state |= {f"first {one.timeframe} {one.symbol}": one for one in kept.firsts}
    state |= {f"record {text}": text for text in tables.records(10**6)}
    state |= {f"sealed {day}": day for day in tables.sealed()}
    state["damaged"] = len(tables.damaged())
    return state


def apply(state: State, change: Change) -> None:
    """Bring a state up to date with a change."""
    state |= {f"symbol {one.number}": one for one in change.entries}
    state |= {f"slice {key}": body for key, body in change.slices}
    state |= {f"first {one.timeframe} {one.symbol}": one for one in change.firsts}
    state |= {f"record {text}": text for text in change.records}
    state["damaged"] = int(str(state["damaged"])) + len(change.damaged)
    gone = [*change.gone, *((key, key) for key, _, _ in change.damaged)]
    for name in [name for name in state if name.startswith("slice ")] if gone else []:
        if any(low <= int(name[6:]) <= high for low, high in gone):
            del state[name]
    for day in change.opened:
        state.pop(f"sealed {day}", None)
    state |= {f"sealed {day}": day for day in change.sealed}
