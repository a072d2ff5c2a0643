"""The warm-up: a plan with its price first, then batches of requests in parallel under one gate."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import FeedError
from klinehub.feed.asking import Progress, in_parallel
from klinehub.feed.budget import MINUTE
from klinehub.feed.decisions import Fetch
from klinehub.feed.use import Use
from klinehub.feed.venue import USDM, Venue
from klinehub.panel.panel import Panel

# Requests under way for history beyond the warm-up, and seconds until what failed is asked for again.
DEEPENING: Final = 4
DEEPEN_AGAIN: Final = 5.0


class Plan(NamedTuple):
    """What a warm-up will ask for, base timeframe first, and what that costs."""

    fetches: tuple[Fetch, ...]
    weight: int
    seconds: float

    @property
    def requests(self) -> int:
        """How many requests it takes."""
        return len(self.fetches)


class Summary(msgspec.Struct, frozen=True):
    """How a warm-up went; `seconds` are real ones, `failures` say why by symbol and timeframe."""

    requests: int
    weight: int
    seconds: float
    succeeded: int
    failed: int
    ms_per_symbol: float
    failures: dict[str, str]


def rows_needed(timeframes: Sequence[Timeframe], bars: int, venue: Venue = USDM) -> dict[str, int]:
    """Give the rows to ask of each timeframe: *bars* closed ones, the open one, and a larger bar's parts."""
    needed = {tf.name: bars + 1 for tf in timeframes}
    for at, larger in enumerate(timeframes):
        held = [tf for tf in timeframes[:at] if larger.holds(tf)]
        if held:
            parts = larger.milliseconds // held[-1].milliseconds + 1
            needed[held[-1].name] = max(needed[held[-1].name], parts)
    return {name: min(rows, venue.most_rows) for name, rows in needed.items()}


def plan(
    symbols: Sequence[str],
    timeframes: Sequence[Timeframe],
    bars: int,
    *,
    cap: int | None,
    used: int,
    now: int,
    venue: Venue = USDM,
    held: Collection[tuple[str, str]] = (),
) -> Plan:
    """Plan the warm-up of *symbols* from exchange time *now*, with *used* weight gone of *cap* a minute.

    Series (symbol, timeframe) that are *held* already are left out.
    """
    rows = rows_needed(timeframes, bars, venue)
    series = ((symbol, tf.name) for tf in timeframes for symbol in symbols)
    fetches = tuple(Fetch(*one, None, rows[one[1]]) for one in series if one not in held)
    weight = sum(venue.klines_weight(fetch.limit) for fetch in fetches)
    seconds = 0.0
    if cap is not None and used + weight > cap:
        minutes = -(-(used + weight) // cap)
        seconds = ((minutes - 1) * MINUTE - now % MINUTE) / 1000
    return Plan(fetches, weight, seconds)


def deepening(panels: Iterable[Panel], bars: int, now: int, symbols: Sequence[str]) -> list[Fetch]:
    """List what brings histories to *bars* bars, each up to the oldest bar that is there."""
    found = []
    for panel in panels:
        frame, known = panel.timeframe, panel.complete_from
        oldest = frame.index(now) - bars
        lacks = [(symbol, int(known[panel.row(symbol)]) - oldest) for symbol in symbols]
        start = frame.open_time(oldest)
        found += [Fetch(symbol, frame.name, start, count, Use.DEEPEN) for symbol, count in lacks if count > 0]
    return found


async def deepen(todo: Callable[[], list[Fetch]], fetch: Callable[[Fetch], Awaitable[None]]) -> None:
    """Fetch what *todo* lists, few at a time, and then what of it failed, until nothing is left."""
    while some := todo():
        with suppress(FeedError):  # a ban ends; what failed is listed again
            await in_parallel(some, fetch, batch=DEEPENING)
        await asyncio.sleep(DEEPEN_AGAIN)


async def warm_up(
    todo: Plan,
    fetch: Callable[[Fetch], Awaitable[None]],
    clock: Clock,
    *,
    batch: int = 64,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Summary:
    """Carry out a plan with *batch* requests under way at a time; a failed one stops no other.

    A ban, a block and a dead proxy concern every request, so these are raised at once.
    """
    started = clock.monotonic()
    failures = await in_parallel(todo.fetches, fetch, batch=batch, progress=progress)
    seconds = clock.monotonic() - started
    symbols = len({item.symbol for item in todo.fetches}) or 1
    return Summary(
        requests=todo.requests,
        weight=todo.weight,
        seconds=seconds,
        succeeded=todo.requests - len(failures),
        failed=len(failures),
        ms_per_symbol=seconds * 1000 / symbols,
        failures=failures,
    )
