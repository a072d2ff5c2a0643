"""`store`: what it takes to keep a market's closed bars on disk, and to come back with them.

1. Appends of one bar of all symbols, each beside a plain write and sync of as many bytes in the same folder.
2. Restoring a ring from a store, and what a bar takes on disk.
3. A hub in a new process, ten minutes after another was stopped, against an exchange 100 ms away.
4. A year of one symbol and a day of all symbols from the history.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.neighbour import Neighbour
from klinehub.bench.returner import Task
from klinehub.bench.stage import NOON, REQUEST_SECONDS, SYMBOLS
from klinehub.bench.tape import FRAMES, Tape
from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import DAY, MINUTE
from klinehub.errors import FeedError
from klinehub.sim.synthetic import synthetic
from klinehub.store.base import Tables
from klinehub.store.files import Files, Folder
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore, Slice
from klinehub.store.keeping import Keeping
from klinehub.store.objects import files_at
from klinehub.store.slices import Lines
from klinehub.store.sqlite import SqliteTables

GOALS: Final = {
    "append_over_floor": 1.5,
    "restore_s": 0.3,
    "restart_to_serving_s": 3.0,
    "restart_to_fresh_s": 15.0,
    "scan_symbol_year_s": 0.3,
    "scan_market_day_s": 0.5,
}
DEPTHS: Final = (300, 1_500)
APPENDS: Final = 300
AWAY: Final = 10 * MINUTE
YEAR: Final = 365 * DAY
MONTH: Final = 30 * DAY
# Symbols whose whole year is there; the others have the day that is read.
OF_A_YEAR: Final = 4
ROUNDS: Final = 5
# The address of a PostgreSQL server to be measured too.
SERVER: Final = "KLINEHUB_BENCH_POSTGRES"
# The address of a place of history to be measured too.
PLACE: Final = "KLINEHUB_BENCH_HISTORY"
_SPARE: Final = 32
_SLACK: Final = 14
_AT_ONCE: Final = 64
_LONGEST: Final = 180.0


def measure(
    seed: int,
    *,
    symbols: int = SYMBOLS,
    appends: int = APPENDS,
    depths: tuple[int, ...] = DEPTHS,
    days: int = YEAR // DAY,
    away: int = AWAY,
) -> Measurement:
    """Give the ms of an append at its median, and everything beside it."""
    tape = Tape(symbols, seed)
    with tempfile.TemporaryDirectory(prefix="klinehub-bench-") as name:
        folder = Path(name)
        restored = {depth: _restored(tape, folder / str(depth), depth) for depth in depths}
        detail = {
            **appended(tape, _hot(folder / "append"), folder, appends),
            "restore_s": restored[depths[0]]["seconds"],
            **_restarted(folder / "restart", seed, symbols, depths[0], away),
            "bytes_per_bar": restored[depths[0]]["bytes_per_bar"],
            **_scanned(folder / "history", seed, symbols, days),
            "postgres": _server(tape, folder, appends, depths[0]),
            "by_depth": {str(depth): found for depth, found in restored.items()},
            "symbols": len(tape.symbols),
            "timeframes": [frame.name for frame in FRAMES],
            "goals": GOALS,
            "time": "wall, on real files and processes: a busy machine makes all of it longer",
        }
    return Measurement(detail["append_ms"]["p50"], "ms", detail)


def _hot(folder: Path) -> HotStore:
    return HotStore(SqliteTables(folder / "hot.sqlite3", origin="bench"))


def _lines(tape: Tape, store: HotStore) -> Callable[[int, int], Slice]:
    """Give what makes the slice of a timeframe (by number) and bar."""
    numbers = np.array([store.number(*pair) for pair in zip(tape.symbols, tape.scales, strict=True)])
    states = np.full(numbers.size, 2)

    def made(t: int, bar: int) -> Slice:
        return Slice(FRAMES[t], bar, Lines(numbers, states, tape.words(FRAMES[t], bar)))

    return made


def appended(tape: Tape, store: HotStore, folder: Path, appends: int) -> dict[str, Any]:
    """Commit one bar of all symbols again and again, a plain write and sync of as many bytes in between."""
    made, base = _lines(tape, store), FRAMES[0].index(NOON)
    store.commit([made(0, base)])
    junk = os.urandom(len(next(iter(store.tables.scan(0, 2**62)))[1]))
    fd = os.open(folder / "floor", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    kept, floor = [], []
    try:
        for at in range(1, appends + 1):
            kept.append(_seconds(partial(store.commit, [made(0, base + at)])))
            floor.append(_seconds(partial(_written, fd, junk)))
            store.tables.tidy()
    finally:
        os.close(fd)
        store.tables.close()
    median = float(np.median(floor))
    return {
        "append_ms": {f"p{p}": rounded(float(np.percentile(kept, p)) * 1e3) for p in (50, 99)},
        "fsync_floor_ms": rounded(median * 1e3),
        "append_over_floor": rounded(float(np.median(kept)) / median),
        "slice_bytes": len(junk),
    }


def _written(fd: int, junk: bytes) -> None:
    os.write(fd, junk)
    os.fdatasync(fd)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _restored(tape: Tape, folder: Path, bars: int) -> dict[str, float]:
    """Fill a store with so many bars of each timeframe and restore a ring from it, again and again."""
    now = _filled(tape, _hot(folder), bars)
    size = (folder / "hot.sqlite3").stat().st_size
    taken, cpu = [], []
    for _ in range(ROUNDS + 1):
        store = _hot(folder)
        seconds, spent = _restore(tape, store, bars, now)
        taken.append(seconds)
        cpu.append(spent)
        store.tables.close()
    return {
        "seconds": rounded(float(np.median(taken[1:]))),
        "cpu_seconds": rounded(float(np.median(cpu[1:]))),
        "bytes_per_bar": rounded(size / (bars * len(FRAMES) * len(tape.symbols))),
        "mb": rounded(size / 1e6),
    }


def _filled(tape: Tape, store: HotStore, bars: int) -> int:
    """Keep so many bars of each timeframe; gives the time (ms) at which the last of them have ended."""
    made, now = _lines(tape, store), NOON + bars * FRAMES[-1].milliseconds
    for t, frame in enumerate(FRAMES):
        last = frame.index(now) - 1
        for first in range(last - bars + 1, last + 1, _AT_ONCE):
            store.commit([made(t, bar) for bar in range(first, min(first + _AT_ONCE, last + 1))])
            store.tables.tidy()
    store.tables.close()
    return now


def _restore(tape: Tape, store: HotStore, bars: int, now: int) -> tuple[float, float]:
    """Restore a new ring; gives the seconds that took, and those of CPU."""
    ring = tape.ring(bars + _SLACK, spare=_SPARE)
    # A ring of a hub that has begun: its memory is there.
    ring.memory.cells[:] = 0
    keeping = Keeping(ring, store)
    begun, cpu = time.perf_counter(), time.process_time()
    found = keeping.restore(now).bars
    taken = time.perf_counter() - begun, time.process_time() - cpu
    if found != bars * len(FRAMES) * len(tape.symbols):
        raise FeedError(f"{found} bars were restored: this is a bug.")
    return taken


def _restarted(folder: Path, seed: int, symbols: int, bars: int, away: int) -> dict[str, Any]:
    """Let a hub fill a store and end; after *away* ms start another, and give what that took."""
    exchange = _start("klinehub.bench.distance", str(symbols), str(seed), str(REQUEST_SECONDS))
    try:
        where = msgspec.json.decode(_line(exchange), type=Neighbour)
        task = Task(where.rest_url, where.stream_url, str(folder), bars)
        cold = _lived(task)
        _tell(exchange, f"{away}\n")
        _line(exchange)
        warm = _lived(msgspec.structs.replace(task, ahead=away, share=0.8))
    finally:
        exchange.communicate()
    if warm["stale"]:
        raise FeedError(f"{warm['stale']} symbols were still stale at the end: this is a bug.")
    return {
        "restart_to_serving_s": warm["serving_s"],
        "restart_to_fresh_s": warm["fresh_s"],
        "restart": {name: warm[name] for name in ("restored", "weight", "requests")},
        "cold_start": cold,
    }


def _lived(task: Task) -> dict[str, Any]:
    """Run a hub in a new process until everything is fresh; gives the seconds since its start, its words."""
    begun = time.perf_counter()
    hub = _start("klinehub.bench.returner")
    try:
        _tell(hub, msgspec.json.encode(task).decode() + "\n")
        served = msgspec.json.decode(_line(hub))
        serving = time.perf_counter() - begun
        fresh = msgspec.json.decode(_line(hub))
        found = {**served, **fresh, "serving_s": rounded(serving)}
        found["fresh_s"] = rounded(time.perf_counter() - begun)
        hub.communicate(timeout=_LONGEST)
    finally:
        hub.kill()
    return found


def _start(module: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - our own modules
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _tell(process: "subprocess.Popen[str]", text: str) -> None:
    if process.stdin is not None:
        process.stdin.write(text)
        process.stdin.flush()


def _line(process: "subprocess.Popen[str]") -> str:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise FeedError("A process of the benchmark ended too soon; its words are above.")
    return line


def _scanned(folder: Path, seed: int, symbols: int, days: int) -> dict[str, Any]:
    """Write minutes of a year of a few symbols and of a day of all, and read them again."""
    market = synthetic(symbols, seed, start=NOON, churn_hours=0)
    frame, end = FRAMES[0], NOON // DAY * DAY
    there = [one.symbol for one in market.listings(NOON) if one.trading and one.perpetual]
    bars, newest = 0, {}
    for symbol in there[:OF_A_YEAR]:
        first, last = frame.index(end - days * DAY), frame.index(end) - 1
        exact = market.klines(market.index[symbol], frame, first, last, NOON)
        HistoryStore(folder / "year").write(frame, {symbol: exact})
        newest[symbol] = Exact(exact.rows[-MONTH // frame.milliseconds :], exact.scale)
        bars += len(exact.rows)
    day = {
        symbol: market.klines(market.index[symbol], frame, frame.index(end - DAY), frame.index(end) - 1, NOON)
        for symbol in there
    }
    HistoryStore(folder / "day").write(frame, day)
    months = HistoryStore(folder / "year")
    for month in months.months(frame):
        months.compact(frame, month)
    size = sum(path.stat().st_size for path in (folder / "year").rglob("*.parquet"))
    year, market_day = (there[:1], end - days * DAY), (None, end - DAY)
    return {
        "scan_symbol_year_s": _read(folder / "year", *year, end),
        "scan_market_day_s": _read(folder / "day", *market_day, end),
        "places": _places(folder, day, newest),
        "history": {
            "bytes_per_bar": rounded(size / bars),
            "days": days,
            "symbols_of_a_day": len(day),
            "how": f"{OF_A_YEAR} symbols in the year's segments; a new reader each time, files in memory",
        },
    }


def _places(folder: Path, day: dict[str, Exact], month: dict[str, Exact]) -> dict[str, Any] | str:
    """Give the seconds of writing a day of all and of reading a month of one, here and where PLACE says."""
    address = os.environ.get(PLACE)
    if not address:
        return f"not measured: name a place for history in {PLACE}"
    frame, found = FRAMES[0], {}
    places: dict[str, Files] = {"folder": Folder(folder / "place"), "place": files_at(address, "bench")}
    for name, files in places.items():
        sealed = _seconds(partial(HistoryStore(files).write, frame, day))
        HistoryStore(files).write(frame, month)
        first, *_ = month
        end = int(month[first].rows["open_time"][-1]) + 1
        read = [
            _seconds(partial(HistoryStore(files).read, frame, [first], end - MONTH, end))
            for _ in range(ROUNDS)
        ]
        found[name] = {"seal_day_s": rounded(sealed), "read_symbol_month_s": rounded(float(np.median(read)))}
    return found


def _read(folder: Path, symbols: list[str] | None, start: int, end: int) -> float:
    """Give the median seconds of reading minutes from a history."""

    def read() -> object:
        return HistoryStore(folder).read(FRAMES[0], symbols, start, end)

    read()
    return rounded(float(np.median([_seconds(read) for _ in range(ROUNDS)])))


def _server(tape: Tape, folder: Path, appends: int, bars: int) -> dict[str, Any] | str:
    """Give the same of a PostgreSQL server, or why it was not measured."""
    url = os.environ.get(SERVER)
    if not url:
        return f"not measured: name a PostgreSQL server in {SERVER}"
    from klinehub.store.postgres import PostgresTables  # noqa: PLC0415 - needs the driver

    def store(market: str) -> HotStore:
        tables: Tables = PostgresTables(url, market=market, origin="bench")
        return HotStore(tables)

    found = appended(tape, store("bench_append"), folder, appends)
    now = _filled(tape, store("bench_restore"), bars)
    taken = [_restore(tape, store("bench_restore"), bars, now)[0] for _ in range(2)]
    return {**found, "restore_s": rounded(taken[-1])}
