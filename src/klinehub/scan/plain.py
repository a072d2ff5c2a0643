"""Plain functions: what somebody already has, run on every symbol beside the event loop.

1. The names of a function's parameters say what it wants to see of a symbol; a name that means nothing is
   refused before anything runs.
2. A symbol's bars are copied on the event loop, all timeframes at one moment and none newer than when the
   scan began. Rows of text and DataFrames are made of the copies in a thread, where the function runs too.
3. A bounded number of symbols is under way. What a function raises is the failure of that symbol alone.

A thread can not be stopped from outside: when a scan is cancelled, or a symbol takes too long, the calls that
are running go on to their end unheard. They do not keep the program from ending.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, ParamSpec, TypeVar, overload

import msgspec

from klinehub.domain.clock import Clock
from klinehub.domain.stale import Stale
from klinehub.errors import DefinitionError, UnknownName
from klinehub.panel.panel import Panel
from klinehub.scan.plain_function import Bars, Copied, Function, Plain
from klinehub.scan.running import Scan, Scanning
from klinehub.scan.screen import Screen

P = ParamSpec("P")
T = TypeVar("T")
MOST_WORKERS: Final = 64
LIMIT: Final = 300
WORKERS: Final = 4


class PlainScan(msgspec.Struct, frozen=True):
    """What a function gave for each of *symbols* symbols, in the order in which they were asked for.

    `results` are as the function gave them, without those that were None; `failures` say what it raised;
    `skipped` why it was not called. `stale` says of symbols that were scanned although they are not proven
    fresh why, and since when. `seconds` are real ones. `as_of` is the open time (ms UTC) of the newest bar
    that anybody saw, by timeframe.
    """

    results: dict[str, Any]
    failures: dict[str, str]
    seconds: float
    symbols: int
    skipped: dict[str, str]
    stale: dict[str, Stale] = {}
    as_of: dict[str, int] = {}


class Hand(Executor):
    """One thread, called *name*, that does one thing after the other and that no program waits for."""

    def __init__(self, name: str = "klinehub-plain") -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self.last: Future[Any] | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have something done."""
        if self._thread is None:
            # The pools of the standard library are waited for, for ever where a function never ends.
            self._thread = Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self.last = future = Future[T]()
        self._jobs.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Let the thread end after what it is doing."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as exc:  # noqa: BLE001 - whoever waits for it is told
                    future.set_exception(exc)


class _Run:
    """One scan that is under way."""

    def __init__(
        self, plain: Plain, copy: Callable[[str], Copied], seconds: float | None, workers: int
    ) -> None:
        self._plain, self._copy, self._seconds, self._workers = plain, copy, seconds, workers
        self._left: list[Hand] = []
        self.results: dict[str, Any] = {}
        self.failures: dict[str, str] = {}
        self.skipped: dict[str, str] = {}

    async def work(self, remaining: Iterator[str], done: Callable[[str], None]) -> None:
        """Take one symbol after the other, until none is left."""
        hand = Hand()
        try:
            for symbol in remaining:
                self._left = [one for one in self._left if one.last is not None and not one.last.done()]
                if len(self._left) >= self._workers:
                    self.skipped[symbol] = f"{len(self._left)} calls before it have not ended"
                elif not await self._one(symbol, hand):
                    self._left.append(hand)
                    hand.shutdown()
                    hand = Hand()
                done(symbol)
        finally:
            hand.shutdown()

    async def _one(self, symbol: str, hand: Hand) -> bool:
        """Call the function for a symbol and keep what came of it; whether the thread is free again."""
        copied = self._copy(symbol)
        if lacking := self._plain.lacking(copied):
            self.skipped[symbol] = lacking
            return True
        failure, result = "", None
        try:
            async with asyncio.timeout(self._seconds):
                failure, result = await self._called(symbol, copied, hand)
        except TimeoutError:
            failure = f"it took longer than {self._seconds:g} seconds"
        if failure:
            self.failures[symbol] = failure
        elif result is not None:
            self.results[symbol] = result
        return hand.last is None or hand.last.done()

    async def _called(self, symbol: str, copied: Copied, hand: Hand) -> tuple[str, Any]:
        """Run the function in the thread, or make its arguments there and await it here."""
        loop, plain, context = asyncio.get_running_loop(), self._plain, copy_context()
        if not plain.awaited:
            return await loop.run_in_executor(hand, context.run, plain.run, symbol, copied)
        bound = await loop.run_in_executor(hand, context.run, plain.bound, symbol, copied)
        try:
            return "", await plain.function(*bound.args, **bound.kwargs)
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return plain.said(exc), None
        except Exception as exc:  # noqa: BLE001 - whatever it raises is this symbol's failure
            return plain.said(exc), None


async def scan_with(
    read: Mapping[str, Bars],
    symbols: Sequence[str],
    function: Function,
    *,
    limit: int = LIMIT,
    workers: int = WORKERS,
    timeout_per_symbol: float | None = None,
    stale: Callable[[Iterable[str]], Mapping[str, Stale]] = lambda _: {},
    monotonic: Callable[[], float] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PlainScan:
    """Run *function* on each of *symbols*, *workers* at a time, on the last *limit* closed bars of *read*.

    *read* has the bars by timeframe name. A function is run in threads, an `async` one is awaited here. After
    *timeout_per_symbol* seconds a symbol has failed. *progress* is told how many of how many are done.
    Raises DefinitionError for a function that can not be called, UnknownName for a symbol that is not held.
    """
    plain = Plain(function, read)
    asked = _checked(read, symbols, limit, workers, timeout_per_symbol)
    now = monotonic or asyncio.get_running_loop().time
    ends = {name: bars.closed_bar for name, bars in read.items()}
    named: dict[str, Stale] = {}

    def copy(symbol: str) -> Copied:
        named.update(stale((symbol,)))
        return plain.copied(read, symbol, limit, ends)

    finished: list[str] = []

    def done(symbol: str) -> None:
        finished.append(symbol)
        progress(len(finished), len(asked))

    begun, run, remaining = now(), _Run(plain, copy, timeout_per_symbol, workers), iter(asked)
    await _together([run.work(remaining, done) for _ in range(min(workers, len(asked)))])
    return PlainScan(
        results={symbol: run.results[symbol] for symbol in asked if symbol in run.results},
        failures={symbol: run.failures[symbol] for symbol in asked if symbol in run.failures},
        seconds=now() - begun,
        symbols=len(asked),
        skipped={symbol: run.skipped[symbol] for symbol in asked if symbol in run.skipped},
        stale=named,
        as_of={name: read[name].timeframe.open_time(bar) for name, bar in ends.items() if bar >= 0},
    )


def _checked(
    read: Mapping[str, Bars], symbols: Sequence[str], limit: int, workers: int, seconds: float | None
) -> list[str]:
    """Give each symbol once; refuse what can not be done."""
    if isinstance(symbols, str):
        raise DefinitionError(f"symbols is {symbols!r}: give a list, for example [{symbols!r}].")
    if limit < 1:
        raise DefinitionError(f"A limit of {limit} bars shows nothing: give 1 or more.")
    if not 1 <= workers <= MOST_WORKERS:
        raise DefinitionError(f"`workers` is {workers}: it has to be from 1 to {MOST_WORKERS}.")
    if seconds is not None and not seconds > 0:
        raise DefinitionError(f"`timeout_per_symbol` is {seconds}: give seconds above 0, or None.")
    known = set(next(iter(read.values())).symbols)
    for symbol in symbols:
        if symbol not in known:
            raise UnknownName("symbol", symbol, known)
    return list(dict.fromkeys(symbols))


async def _together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Run all; what one raises ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


class Scans:
    """The scans of a hub: by its own score, or by a function that somebody brings."""

    scanning: Scanning
    symbols: tuple[str, ...]
    clock: Clock
    _panels: dict[str, Panel]

    def all_stale(self, symbols: Iterable[str]) -> dict[str, Stale]:
        """Give why and since when by symbol, of those that are stale."""
        raise NotImplementedError

    @overload
    def scan(
        self, bar: int | None = None, *, timeframe: str | None = None, min_score: float | None = None
    ) -> Scan: ...

    @overload
    def scan(self, bar: Screen) -> Scan: ...

    @overload
    def scan(
        self,
        bar: Function,
        *,
        symbols: Sequence[str] | None = None,
        limit: int = LIMIT,
        workers: int = WORKERS,
    ) -> Coroutine[Any, Any, PlainScan]: ...

    def scan(
        self, bar: int | Screen | Function | None = None, **how: Any
    ) -> Scan | Coroutine[Any, Any, PlainScan]:
        """Rank the market at a closed bar (by default the newest) from memory alone.

        *timeframe* and *min_score* (the least size of a score, whatever its side) stand in for those of the
        settings.
        With a screen in place of the bar the market is held against that. With a function it is run on every
        symbol, as `scan_with` does; await that.
        """
        if isinstance(bar, Screen):
            return self.scanning.screened(bar, **how)
        if callable(bar):
            return self.scan_with(bar, **how)
        return self.scanning.scan(bar, **how)

    async def scan_with(
        self,
        function: Function,
        *,
        symbols: Sequence[str] | None = None,
        limit: int = LIMIT,
        workers: int = WORKERS,
        timeout_per_symbol: float | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> PlainScan:
        """Run an ordinary *function* on *symbols* (by default all), beside the event loop.

        Its parameters are given by their names: `symbol`; `k1h`, `k5m` for the last *limit* closed bars as
        rows of 12 fields like REST's; `df_1h` for a DataFrame; `frames` for all DataFrames by timeframe. What
        it raises fails that symbol alone, and None is no hit. Raises DefinitionError for other parameters.
        """
        return await scan_with(
            self._panels,
            self.symbols if symbols is None else symbols,
            function,
            limit=limit,
            workers=workers,
            timeout_per_symbol=timeout_per_symbol,
            stale=self.all_stale,
            monotonic=self.clock.monotonic,
            progress=progress,
        )
