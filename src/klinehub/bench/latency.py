"""How soon a close is told, kept and in another process's panel: the first half of `cluster`.

1. This process holds a ring of a whole market; minute after minute is closed in it, and told by what a hub
   tells with, to a real server on loopback.
2. Another process is fed by it and notes when each minute closed in its panel, by the clock of the machine.
3. The same is done with nine more who listen, one of which is stopped and reads nothing.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import msgspec
import numpy as np

from klinehub.bench.catalogue import rounded
from klinehub.bench.fed import Task
from klinehub.bench.process import Process, in_loop
from klinehub.bench.tape import FRAMES, Tape
from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import MINUTE
from klinehub.feed.core import Core
from klinehub.feed.decisions import Decisions
from klinehub.panel.carry import merge_bar
from klinehub.relay.link import connected
from klinehub.relay.messages import Listed
from klinehub.relay.subjects import Subjects
from klinehub.relay.telling import Teller

BARS: Final = 64
# Real seconds between two closes, and for which what was told last may be on its way.
PAUSE: Final = 0.1
SETTLE: Final = 3.0
LISTENERS: Final = 8


class Market:
    """A hub's inside without an exchange: each `close` ends one more minute of all symbols."""

    def __init__(self, tape: Tape) -> None:
        self.minute = FRAMES[0].index(tape.start)
        self.ring = tape.ring(BARS)
        self.core = Core(self.ring, wanted=BARS)
        self.core.watch(self.ring.symbols)
        self.core.go_live(tape.start)
        self._tape = tape
        self._rows = np.arange(len(self.ring.symbols))
        self._factors = np.ones((self._rows.size, 2), np.int64)

    def now(self) -> int:
        """Give the moment soon after the last minute's end."""
        return self.minute * MINUTE + 100

    def close(self) -> Decisions:
        """Close a minute, and what ends with it."""
        words = self._tape.words(FRAMES[0], self.minute)
        flags = np.empty(self._rows.size, np.int64)
        closed = np.empty((self._rows.size, len(FRAMES)), np.int64)
        merge_bar(self.ring.memory, 0, self._rows, words, self._factors, flags, closed)
        self.minute += 1
        decisions = Decisions()
        self.core.closing.announce(self.now(), decisions, patience_ends=False)
        return decisions


def latencies(url: str, seed: int, *, symbols: int, closes: int) -> dict[str, Any]:
    """Give what closes took, alone and with others who listen; raises RelayError without a server."""
    tape = Tape(symbols, seed)
    alone = in_loop(_told(url, tape, seed, closes, "alone", 0))
    crowd = in_loop(_told(url, tape, seed, closes, "crowd", LISTENERS))
    return {**alone, "crowd": {**crowd, "listeners": LISTENERS + 2, "stalled": 1}}


async def _told(url: str, tape: Tape, seed: int, closes: int, name: str, others: int) -> dict[str, Any]:
    market, subjects = Market(tape), Subjects(name, "bench")
    clock = Clock(market.now(), 1.0, time.monotonic)
    own = np.ones(market.ring.capacity, bool)
    listed = Listed("bench", "USDT", tuple(tf.name for tf in FRAMES), BARS, tuple(tape.symbols), ())
    teller = Teller(
        "bench", market.core, clock, now=market.now, own=lambda: own, listed=lambda: listed, bars=BARS
    )
    task = Task(url, subjects, len(tape.symbols), seed, BARS, market.now())
    async with connected(url, subjects, "bench") as link:
        telling = asyncio.create_task(teller.run(link))
        await asyncio.sleep(0.5)
        with ExitStack() as stack:
            fed = stack.enter_context(_fed(task))
            light = msgspec.structs.replace(task, panel=False)
            for _ in range(others):
                stack.enter_context(_fed(light))
            if others:
                stalled = stack.enter_context(_fed(light))
                stalled.pause()
                stack.callback(stalled.kill)
            at = await _closed(market, teller, closes)
            told = await asyncio.to_thread(fed.asked)
        telling.cancel()
        await asyncio.wait([telling])
    there = msgspec.json.decode(told, type=dict[int, float])
    missing = [bar for bar in at if bar not in there]
    took = {bar: (there[bar] - began) * 1e3 for bar, began in at.items() if bar in there}
    by_closes: dict[str, list[float]] = {}
    for bar, lag in took.items():
        by_closes.setdefault(str(_ending(bar)), []).append(lag)
    return {
        "publish_ms": _spread([lag * 1e3 for lag in teller.lags]),
        "kept_ms": _spread([lag * 1e3 for lag in teller.kept_lags]),
        "subscriber_ms": _spread([*took.values()]),
        "subscriber_by_closes_ms": {count: _spread(lags) for count, lags in sorted(by_closes.items())},
        "lost": len(missing),
    }


def _ending(minute: int) -> int:
    """Count the timeframes of which a bar ends with a minute."""
    end = FRAMES[0].open_time(minute + 1)
    return sum(frame.open_time(frame.index(end)) == end for frame in FRAMES)


async def _closed(market: Market, teller: Teller, closes: int) -> dict[int, float]:
    """Close so many minutes and give when (monotonic seconds) each was announced."""
    at: dict[int, float] = {}
    for _ in range(closes):
        await asyncio.sleep(PAUSE)
        decisions = market.close()
        at[market.minute - 1] = time.monotonic()
        teller.note(decisions)
    await asyncio.sleep(SETTLE)
    return at


@contextmanager
def _fed(task: Task) -> Iterator[Process]:
    """Have somebody who is fed, once that one has all that was kept."""
    with Process("klinehub.bench.fed") as process:
        process.asked(msgspec.json.encode(task).decode())
        yield process


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {f"p{q}": rounded(float(np.percentile(values, q))) for q in (50, 99)}
