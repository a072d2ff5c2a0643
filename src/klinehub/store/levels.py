"""Levels: one range of bars from where it is nearest - memory, disk, the exchange - and what each gave.

1. The first level is the panel, and blocks that were promoted to it: what was read from disk or asked for
   lately. Blocks that nobody read for a while, and the oldest of too many, expire.
2. The second level is on disk. What it gives is promoted.
3. The exchange is asked for what no level has, within the budget; its closed bars are written to history,
   if there is one, and promoted.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import numpy as np

from klinehub.domain.kline import Exact, Scale
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import StoreError
from klinehub.panel.panel import Panel
from klinehub.store.files import Away
from klinehub.store.history import HistoryStore
from klinehub.store.joining import joined, of_words, times_of, words_of
from klinehub.store.sources import Sources

# Real seconds that a promoted block stays after it was read last, and bars in all of them together.
EXPIRES: Final = 600.0
MOST_BARS: Final = 2_000_000
# Real seconds between two looks at what expires.
LOOK: Final = 10.0
# Real seconds for which a history that does not answer is left alone: a reader would wait for it each time.
RESTS: Final = 30.0
# Bars that one request can bring.
MOST_ASKED: Final = 1_500

# Asks the exchange for so many bars from a time (ms) on: symbol, timeframe, start, bars.
Ask = Callable[[str, str, int, int], Awaitable[Exact]]


@dataclass(slots=True)
class Counts:
    """How often each level gave what was asked for, and what moved between them."""

    memory: int = 0
    store: int = 0
    exchange: int = 0
    promoted: int = 0
    expired: int = 0


@dataclass(slots=True)
class _Block:
    """Bars of one series that open in [start, end) ms, all that there are, and when they were read last."""

    start: int
    end: int
    exact: Exact
    read: float


class Levels:
    """Ranges of closed bars; *panel* gives the memory of a timeframe, *monotonic* counts real seconds.

    *hand* is whose threads read and write history. `fault` says why what was asked for could not be written.
    """

    def __init__(
        self,
        panel: Callable[[str], Panel],
        sources: Sources,
        history: HistoryStore | None,
        ask: Ask,
        *,
        monotonic: Callable[[], float],
        hand: Executor | None = None,
    ) -> None:
        self.counts = Counts()
        self.fault = ""
        self._hand = hand
        self._rests_until = monotonic()
        self._panel = panel
        self._sources = sources
        self._history = history
        self._ask = ask
        self._monotonic = monotonic
        self._blocks: OrderedDict[tuple[str, str], _Block] = OrderedDict()
        self._held = 0
        self._looked = monotonic()

    async def read(self, symbol: str, timeframe: Timeframe, start: int, end: int) -> Exact:
        """Give the closed bars that open in [start, end) ms UTC, oldest first.

        Raises a FeedError where the exchange has to be asked and can not be.
        """
        first, last = timeframe.index(start - 1) + 1, timeframe.index(end - 1)
        held = self._panel(timeframe.name).exact(symbol, start=first, end=last)
        oldest = timeframe.index(int(held.rows["open_time"][0])) if held.rows.size else last + 1
        if oldest <= first or self._is_first(symbol, timeframe, oldest):
            self.counts.memory += 1
            return held
        older = await self._older(symbol, timeframe, timeframe.open_time(first), timeframe.open_time(oldest))
        return joined([one for one in (older, held) if one.rows.size] or [held])

    async def kept(
        self, timeframe: Timeframe, symbols: Sequence[str], start: int, end: int
    ) -> dict[str, Exact]:
        """Give the bars that open in [start, end) ms UTC and are on disk; the exchange is not asked.

        Raises StoreError where they cannot be read.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._hand, self._sources.read, timeframe, symbols, start, end)

    def _is_first(self, symbol: str, timeframe: Timeframe, index: int) -> bool:
        """Say whether a symbol has no bar before this one."""
        panel = self._panel(timeframe.name)
        return int(panel.complete_from[panel.row(symbol)]) == 0 and index <= panel.newest_closed(symbol)

    async def _older(self, symbol: str, timeframe: Timeframe, start: int, end: int) -> Exact:
        """Give bars that memory does not have: promoted, from disk, or asked for."""
        self._expire()
        block = self._blocks.get((symbol, timeframe.name))
        if block is not None and block.start <= start and end <= block.end:
            self.counts.memory += 1
            block.read = self._monotonic()
            return _cut(block.exact, start, end)
        found = await self._stored(symbol, timeframe, start, end)
        if found.rows.size == timeframe.index(end) - timeframe.index(start):
            self.counts.store += 1
        else:
            self.counts.exchange += 1
            found = await self._asked(symbol, timeframe, start, end)
        self._promote(symbol, timeframe, _Block(start, end, found, self._monotonic()))
        return found

    async def _stored(self, symbol: str, timeframe: Timeframe, start: int, end: int) -> Exact:
        if self._monotonic() < self._rests_until:
            return _NONE
        try:
            read = await self.kept(timeframe, [symbol], start, end)
        except Away:
            self._rests_until = self._monotonic() + RESTS
            return _NONE
        except StoreError:
            return _NONE  # what is damaged is asked for
        return read.get(symbol, _NONE)

    async def _asked(self, symbol: str, timeframe: Timeframe, start: int, end: int) -> Exact:
        """Ask for a range, and keep what came; holes in it are the exchange's own."""
        parts = []
        first, behind = timeframe.index(start), timeframe.index(end)
        for index in range(first, behind, MOST_ASKED):
            count = min(MOST_ASKED, behind - index)
            got = await self._ask(symbol, timeframe.name, timeframe.open_time(index), count)
            parts.append(_cut(got, timeframe.open_time(index), timeframe.open_time(index + count)))
        found = joined([one for one in parts if one.rows.size] or [_NONE])
        if self._history is not None and found.rows.size:
            await self._written(self._history, timeframe, {symbol: found})
        return found

    async def _written(self, history: HistoryStore, timeframe: Timeframe, bars: dict[str, Exact]) -> None:
        """Write what was asked for; where that can not be it is asked for again another time."""
        if self._monotonic() < self._rests_until:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._hand, history.write, timeframe, bars)
            self.fault = ""
        except StoreError as exc:
            self.fault = str(exc)
            self._rests_until = self._monotonic() + RESTS

    def _promote(self, symbol: str, timeframe: Timeframe, block: _Block) -> None:
        self.counts.promoted += 1
        self._let_go((symbol, timeframe.name))
        self._blocks[symbol, timeframe.name] = block
        self._held += block.exact.rows.size
        while len(self._blocks) > 1 and self._held > MOST_BARS:
            self._let_go(next(iter(self._blocks)))
            self.counts.expired += 1

    def _let_go(self, key: tuple[str, str]) -> None:
        block = self._blocks.pop(key, None)
        self._held -= 0 if block is None else block.exact.rows.size

    def _expire(self) -> None:
        """Let go, now and then, of what was not read for a while."""
        now = self._monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        old = [key for key, one in self._blocks.items() if now - one.read > EXPIRES]
        for key in old:
            self._let_go(key)
        self.counts.expired += len(old)

    def stats(self) -> dict[str, int | float]:
        """Count what each level gave, and the share that neither needed the exchange."""
        counts = self.counts
        total = counts.memory + counts.store + counts.exchange
        return {
            "range_memory_hits": counts.memory,
            "range_store_hits": counts.store,
            "range_exchange_reads": counts.exchange,
            "range_promoted": counts.promoted,
            "range_expired": counts.expired,
            "range_hit_rate": (counts.memory + counts.store) / total if total else 0.0,
        }


_NONE: Final = of_words(np.empty((0, 10), np.int64), Scale(0, 0, 0))


def _cut(exact: Exact, start: int, end: int) -> Exact:
    """Give the bars that open in [start, end) ms."""
    times = times_of(exact)
    return of_words(words_of(exact)[(times >= start) & (times < end)], exact.scale)
