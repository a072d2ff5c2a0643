"""Asking by REST: one range of klines, or many at once where one that fails stops no other."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import timeframe
from klinehub.errors import Banned, Blocked, DataError, FeedError, ProxyError
from klinehub.feed.body import parse_klines
from klinehub.feed.decisions import Fetch
from klinehub.feed.rest import Answer, RestClient


class Progress(NamedTuple):
    """Where a run of requests stands."""

    done: int
    total: int
    failed: int
    timeframe: str


async def ask_klines(rest: RestClient, fetch: Fetch) -> tuple[Exact, Answer]:
    """Give the bars of one range, and the answer that they were read from.

    Raises DataError for bars of another length, range or number than were asked for: HTTP does not say which
    question an answer belongs to, and where one was answered twice the next gets the second answer.
    """
    params: dict[str, str | int] = {
        "symbol": fetch.symbol,
        "interval": fetch.timeframe,
        "limit": fetch.limit,
    }
    if fetch.start is not None:
        params["startTime"] = fetch.start
    if fetch.start is not None and rest.venue.from_end:
        frame = timeframe(fetch.timeframe)
        params["endTime"] = frame.open_time(frame.index(fetch.start) + fetch.limit) - 1
    weight = rest.venue.klines_weight(fetch.limit)
    answer = await rest.ask(rest.venue.klines, params, weight=weight, use=fetch.use)
    exact = parse_klines(answer.body, timeframe(fetch.timeframe))
    times = exact.rows["open_time"]
    if times.size > fetch.limit or (times.size and fetch.start is not None and times[0] < fetch.start):
        raise DataError(f"An answer holds other {fetch.timeframe} klines than asked for; it is set aside.")
    return exact, answer


async def in_parallel(
    fetches: Sequence[Fetch],
    work: Callable[[Fetch], Awaitable[None]],
    *,
    batch: int,
    progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, str]:
    """Carry out *work* for each fetch, in order, *batch* at a time; gives why by what failed.

    A ban, a block and a dead proxy concern every request, so these end the run and are raised.
    """
    remaining = iter(fetches)
    failures: dict[str, str] = {}
    done = 0

    async def worker() -> None:
        nonlocal done
        for item in remaining:
            try:
                await work(item)
            except (Banned, Blocked, ProxyError):
                raise
            except (FeedError, DataError) as exc:
                failures[f"{item.symbol} {item.timeframe}"] = str(exc)
            done += 1
            progress(Progress(done, len(fetches), len(failures), item.timeframe))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(batch, len(fetches))):
                group.create_task(worker())
    except ExceptionGroup as several:
        # Not `except*`, which would wrap what is raised here in a group again.
        refusals, bugs = several.split(FeedError)
        if refusals is None or bugs is not None:
            raise
        raise refusals.exceptions[0] from several
    return failures
