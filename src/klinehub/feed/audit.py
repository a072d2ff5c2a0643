"""The audit: closed bars held against a second answer of the exchange, within the budget."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from klinehub.domain.kline import Exact
from klinehub.errors import Banned, Blocked, DataError, FeedError, ProxyError
from klinehub.feed import binance
from klinehub.feed.body import parse_klines
from klinehub.feed.rest import RestClient
from klinehub.feed.warmup import Progress
from klinehub.panel.merge import PROOF
from klinehub.panel.ring import Ring


class Difference(NamedTuple):
    """A closed bar that the exchange now tells otherwise; `open_time` in ms UTC."""

    symbol: str
    timeframe: str
    open_time: int


class Verified(msgspec.Struct, frozen=True):
    """How the cache compares with REST: bars compared, those that differ, and requests that failed."""

    checked: int
    different: tuple[Difference, ...]
    failed: dict[str, str]


async def audit(
    ring: Ring,
    rest: RestClient,
    symbols: Sequence[str],
    bars: int,
    *,
    batch: int = 64,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Verified:
    """Ask for the last *bars* bars of every series again and compare each closed one, all ten fields.

    Bars that are equal count as verified from then on; a ban or a block is raised at once.
    """
    series = [(symbol, tf.name) for tf in ring.timeframes for symbol in symbols]
    remaining = iter(series)
    checked, done = 0, 0
    different: list[Difference] = []
    failed: dict[str, str] = {}

    async def work() -> None:
        nonlocal checked, done
        for symbol, name in remaining:
            try:
                count, wrong = await _compare(ring, rest, symbol, name, bars)
            except (Banned, Blocked, ProxyError):
                raise
            except (FeedError, DataError) as exc:
                failed[f"{symbol} {name}"] = str(exc)
            else:
                checked += count
                different.extend(Difference(symbol, name, time) for time in wrong)
            done += 1
            progress(Progress(done, len(series), len(failed), name))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(batch, len(series))):
                group.create_task(work())
    except* FeedError as several:
        raise several.exceptions[0] from several
    return Verified(checked, tuple(sorted(different)), failed)


async def _compare(ring: Ring, rest: RestClient, symbol: str, name: str, bars: int) -> tuple[int, list[int]]:
    """Compare one series: how many closed bars were compared, and the open times that differ."""
    limit = min(bars + 1, binance.MOST_ROWS)
    params: dict[str, str | int] = {"symbol": symbol, "interval": name, "limit": limit}
    answer = await rest.ask(binance.KLINES, params, weight=binance.klines_weight(limit))
    exact = parse_klines(answer.body)
    timeframe, row = ring.timeframes[ring.number[name]], ring.rows[symbol]
    closes = np.array(
        [timeframe.close_time(timeframe.index(int(t))) for t in exact.rows["open_time"]], np.int64
    )
    proven = exact.rows[closes + PROOF <= answer.asked] if exact.rows.size else exact.rows
    return ring.verify(ring.number[name], row, Exact(proven, exact.scale))
