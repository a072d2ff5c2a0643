"""`flip`: whether a store ever serves a wrong value after one bit of one of its files has changed.

Each flip goes into a fresh copy of the files. The copy is opened and everything is read from it that a
program could ask for. What comes out is the truth (harmless), or less than it with a fault told or with bars
that are visibly missing (detected), or something that is not the truth (served).
"""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from klinehub.bench.catalogue import Measurement
from klinehub.bench.tape import FRAMES, Tape
from klinehub.domain.timeframe import MINUTE
from klinehub.errors import KlinehubError
from klinehub.store.base import First
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore, Slice
from klinehub.store.slices import ABSENT, Lines
from klinehub.store.sqlite import SqliteTables

FLIPS: Final = 1_000
SYMBOLS: Final = 12
MINUTES: Final = 240
# What a store says, as lines of text or bytes: a name for each thing, and its value.
Facts = dict[str, object]
_VERDICTS: Final = ("detected", "harmless", "served")


class Kind(NamedTuple):
    """A kind of store: how its files are made in a folder, and how all of it is read.

    `read` gives what it says and whether it told of a fault; a KlinehubError is a fault told too.
    """

    make: Callable[[Path, Tape], None]
    read: Callable[[Path], tuple[Facts, bool]]


def measure(seed: int, *, n: int = FLIPS, symbols: int = SYMBOLS) -> Measurement:
    """Give how many of *n* flips made a store serve what is not true."""
    begun = time.monotonic()
    tape, dice = Tape(symbols, seed), np.random.default_rng([seed, 22])
    found: Counter[str] = Counter(dict.fromkeys(_VERDICTS, 0))
    by_file: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory(prefix="klinehub-bench-") as name:
        for kind, share in zip(KINDS, _shares(n), strict=True):
            for file, verdict in _flipped(kind, share, Path(name), tape, dice):
                found[verdict] += 1
                by_file.setdefault(file, Counter())[verdict] += 1
    detail = {
        "flips": n,
        **found,
        "by_file": {name: dict(counts) for name, counts in by_file.items()},
        "symbols": len(tape.symbols),
        "seconds": round(time.monotonic() - begun, 1),
        "goal": 0,
    }
    return Measurement(found["served"], "flips", detail)


def _shares(n: int) -> list[int]:
    """Share the flips out evenly among the kinds of store."""
    return [n // len(KINDS) + (at < n % len(KINDS)) for at in range(len(KINDS))]


def _flipped(
    kind: Kind, n: int, folder: Path, tape: Tape, dice: np.random.Generator
) -> list[tuple[str, str]]:
    """Flip *n* bits of a store, each in a copy of its own; gives the file's kind and the verdict of each."""
    whole, copy = folder / "whole", folder / "copy"
    kind.make(whole, tape)
    shutil.copytree(whole, copy)
    true, _ = kind.read(copy)
    files = sorted(path for path in whole.rglob("*") if path.is_file() and path.stat().st_size)
    found = []
    for _ in range(n):
        shutil.rmtree(copy)
        shutil.copytree(whole, copy)
        path = files[int(dice.integers(len(files)))]
        flip(copy / path.relative_to(whole), int(dice.integers(path.stat().st_size * 8)))
        found.append((path.name if path.name.startswith("hot") else path.suffix, verdict(kind, copy, true)))
    shutil.rmtree(whole)
    shutil.rmtree(copy)
    return found


def flip(path: Path, bit: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << bit % 8)]))


def verdict(kind: Kind, folder: Path, true: Facts) -> str:
    """Say what a store that may be damaged makes of it."""
    try:
        facts, told = kind.read(folder)
    except KlinehubError:
        return "detected"
    if any(true.get(name) != value for name, value in facts.items()):
        return "served"
    return "detected" if told or len(facts) < len(true) else "harmless"


def make_closed(folder: Path, tape: Tape) -> None:
    """Write a hot store and close it: all is in its one file."""
    store = HotStore(SqliteTables(folder / "hot.sqlite3", origin="simulated"))
    _commit(store, tape, range(MINUTES))
    store.tables.close()
    (folder / "hot.sqlite3.lock").unlink()


def make_killed(folder: Path, tape: Tape) -> None:
    """Write a hot store whose newer half is still in the write-ahead log, as a kill leaves it."""
    live = folder.with_name("live")
    store = HotStore(SqliteTables(live / "hot.sqlite3", origin="simulated", long_wal=1))
    _commit(store, tape, range(MINUTES // 2))
    store.tables.tidy()
    _commit(store, tape, range(MINUTES // 2, MINUTES))
    folder.mkdir()
    for end in ("", "-wal"):
        shutil.copy(live / f"hot.sqlite3{end}", folder)
    store.tables.close()
    shutil.rmtree(live)


def _commit(store: HotStore, tape: Tape, minutes: range) -> None:
    """Keep the bars that end with each minute, now and then an absence, a first bar and a record."""
    numbers = np.array([store.number(*pair) for pair in zip(tape.symbols, tape.scales, strict=True)])
    base = FRAMES[0].index(tape.start)
    for at in minutes:
        ended = FRAMES[0].open_time(base + at + 1)
        slices = []
        for frame in FRAMES:
            if ended % frame.milliseconds == 0:
                bar = frame.index(ended - 1)
                words, states = tape.words(frame, bar), np.full(numbers.size, 2)
                states[at % numbers.size] = ABSENT if at % 7 == 0 else 3
                words[states == ABSENT] = 0
                slices.append(Slice(frame, bar, Lines(numbers, states, words)))
        symbol = tape.symbols[at % numbers.size]
        store.commit(
            slices, firsts=[First(MINUTE, symbol, base)], records=[f"{symbol} was corrected in minute {at}"]
        )


def read_hot(folder: Path) -> tuple[Facts, bool]:
    """Read all of a hot store: bars, absences, first bars and records."""
    tables = SqliteTables(folder / "hot.sqlite3", origin="simulated")
    try:
        store = HotStore(tables)
        facts: Facts = {}
        for frame in FRAMES:
            for bar, lines in store.slices(frame, 0, 2**31 - 1):
                for number, state, words in zip(*(part.tolist() for part in lines), strict=True):
                    entry = store.entries[number]
                    if entry is not None:
                        facts[f"{frame.name} {bar} {entry.symbol}"] = (state, entry.scale, words)
        facts |= {f"first {timeframe} {symbol}": bar for (timeframe, symbol), bar in store.firsts.items()}
        facts |= {f"record {text}": text for text in tables.records(10**6)}
        return facts, bool(store.set_aside or tables.salvaged)
    finally:
        tables.close()


def make_history(folder: Path, tape: Tape) -> None:
    """Write a history of two segments a timeframe, the second of them written later."""
    history = HistoryStore(folder / "history")
    for part in range(2):
        for frame in FRAMES:
            first = frame.index(tape.start + part * MINUTES * MINUTE // 2)
            last = frame.index(tape.start + (part + 1) * MINUTES * MINUTE // 2) - 1
            if first <= last:
                bars = {name: tape.exact(frame, at, first, last) for at, name in enumerate(tape.symbols)}
                history.write(frame, bars)
    for lock in folder.rglob(".lock"):
        lock.unlink()


def read_history(folder: Path) -> tuple[Facts, bool]:
    """Read all of a history."""
    history, facts, told = HistoryStore(folder / "history"), Facts(), False
    for frame in FRAMES:
        try:
            found = history.read(frame, None, 0, 2**42)
        except KlinehubError:
            told = True
            continue
        for symbol, exact in found.items():
            for row in exact.rows.tolist():
                facts[f"{frame.name} {row[0]} {symbol}"] = (exact.scale, row)
    return facts, told


KINDS: Final = (Kind(make_closed, read_hot), Kind(make_killed, read_hot), Kind(make_history, read_history))
