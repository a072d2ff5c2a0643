"""The names that existing bots call, with their shapes and keys, answered by a hub.

Such a bot fills a cache of its own, subscribes streams and then scans. A hub has done the first two when it
is entered, so these names wait, count or read; none makes a request. A `client` is taken and not used.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from klinehub.errors import UnknownName
from klinehub.relay.clustered import ClusteredHub
from klinehub.scan.plain import PlainScan

if TYPE_CHECKING:
    import pandas as pd

THREE: Final = ("1h", "15m", "5m")
MIN_SCORE: Final = 70
# Where a plain function's result has its score.
_SCORES: Final = ("final_score", "score")
# How often a series that is not yet warm is looked at again, in seconds.
_LOOK_AGAIN: Final = 0.25

Stat = int | float | str
# Results, and how many symbols were skipped and failed.
_Found = tuple[list[dict[str, Any]], int, int]


class Stats(dict[str, Stat]):
    """A hub's counts, which answer the names that other caches have for some of them, too.

    Those names are not listed, so that nothing is printed twice.
    """

    def __init__(self, stats: Mapping[str, Stat], others: Mapping[str, Stat]) -> None:
        super().__init__(stats)
        self.others = others

    def __missing__(self, name: str) -> Stat:
        """Answer another cache's name."""
        return self.others[name]

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as of any dict
        """Give a count by either name, else *default*."""
        return self[name] if name in self or name in self.others else default


class KnownHub(ClusteredHub):
    """A hub that answers the names that existing bots call."""

    async def get_multi_timeframe_data(
        self, symbol: str, timeframes: Sequence[str] = THREE, limit: int = 50
    ) -> "dict[str, pd.DataFrame]":
        """Give one symbol's closed bars as a DataFrame per timeframe; needs the pandas extra."""
        return await super().get_multi_timeframe_data(symbol, timeframes, limit)

    async def batch_get_multi_timeframe_data(
        self, symbols: Sequence[str], timeframes: Sequence[str] = THREE, limit: int = 50
    ) -> "dict[str, dict[str, pd.DataFrame]]":
        """Give DataFrames as {symbol: {timeframe: frame}}; needs the pandas extra."""
        return await super().batch_get_multi_timeframe_data(symbols, timeframes, limit)

    def get_stats(self) -> dict[str, Stat]:
        """Count what the hub holds and has done; memory in bytes as the operating system sees it."""
        stats = super().get_stats()
        lacking = {row for _, row in self._lacking()}
        others = {
            "total_symbols": len(self.symbols),
            "initialized_symbols": sum(self.ring.rows[symbol] not in lacking for symbol in self.symbols),
            "total_intervals": len(self.symbols) * len(self.timeframes),
            "total_klines": stats["bars"],
            "total_updates": stats["updates"],
            "cache_hits": stats["hits"],
            "cache_misses": stats["misses"],
            "memory_estimate_mb": self.ring.bytes / 2**20,
            "init_time_seconds": 0.0 if self.summary is None else self.summary.seconds,
        }
        return Stats(stats, others)

    async def initialize_batch(
        self,
        symbols: Sequence[str] | None = None,
        intervals: Sequence[str] | None = None,
        client: object = None,  # noqa: ARG002 - existing calls pass it
        *,
        timeframes: Sequence[str] | None = None,
        timeout: float = 60.0,  # noqa: ASYNC109 - what is not warm by then is counted, nothing is raised
    ) -> dict[str, int]:
        """Wait until the series of *symbols* and *intervals* (or *timeframes*; all by default) lack no bar.

        It gives up after *timeout* seconds. Gives how many `symbols`, `timeframes` and `series` there are,
        and how many series are `warm` and `missing`. Raises UnknownName for what the hub does not keep.
        """
        names, frames = self._kept(symbols, timeframes if intervals is None else intervals)
        series = {(self.ring.number[frame], self.ring.rows[name]) for frame in frames for name in names}
        by = self.clock.monotonic() + timeout
        # A bar that was missing comes by stream, repair or hand-over, and none of them tells.
        while (missing := len(series & self._lacking())) and self.clock.monotonic() < by:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_AGAIN)
        return {
            "symbols": len(names),
            "timeframes": len(frames),
            "series": len(series),
            "warm": len(series) - missing,
            "missing": missing,
        }

    async def start_batch_realtime_update(
        self,
        symbols: Sequence[str] | None = None,
        intervals: Sequence[str] | None = None,
        client: object = None,  # noqa: ARG002 - existing calls pass it
        *,
        timeframes: Sequence[str] | None = None,
    ) -> int:
        """Do nothing, the streams run since the hub was entered; gives how many connections are up.

        Raises UnknownName for a symbol or timeframe that the hub does not keep.
        """
        self._kept(symbols, timeframes if intervals is None else intervals)
        return self.live.seats_up

    def get_merged_universe(self) -> tuple[list[str], dict[str, Any]]:
        """Give the symbols that scans look at, largest turnover first, and what is known of them.

        The latter has `symbols`, `metadata` by symbol, `elite`, `overlay` and `time` (ms UTC), and the counts
        `total_count`, `elite_count`, `overlay_count` and `overlap_count`. The caches are always valid.
        """
        merged = self.merged
        both = set(merged.elite) & set(merged.overlay)
        metadata = {
            **merged.as_dict(),
            "total_count": len(merged.symbols),
            "elite_count": len(merged.elite),
            "overlay_count": len(merged.overlay),
            "overlap_count": len(both),
            "elite_cache_valid": True,
            "overlay_cache_valid": True,
            "timestamp": merged.time // 1000,
        }
        return list(merged.symbols), metadata

    async def run_optimized_scan(
        self,
        min_score: float = MIN_SCORE,
        max_symbols: int | None = None,
        *,
        analyze: Callable[..., Any] | None = None,
    ) -> dict[str, Any]:
        """Scan the first *max_symbols* symbols once; keep those with a score of at least *min_score* in size.

        `results` are dicts of symbol, score, final_score (the same), side, price and contributions, largest
        first. With *analyze*, a function as for `scan_with`, they are what it gave, and the score is its
        `final_score`, else its `score`, else the number itself. The other keys are total_symbols,
        signals_found, skipped, errors, elapsed_seconds, symbols_per_second, api_calls and cache_stats.
        """
        symbols = self.symbols[:max_symbols] if max_symbols else self.symbols
        begun = self.clock.monotonic()
        if analyze is None:
            results, skipped, errors = self._scored(symbols, min_score)
        else:
            results, skipped, errors = _analyzed(await self.scan_with(analyze, symbols=symbols), min_score)
        seconds = self.clock.monotonic() - begun
        return {
            "results": results,
            "total_symbols": len(symbols),
            "signals_found": len(results),
            "skipped": skipped,
            "errors": errors,
            "elapsed_seconds": seconds,
            "symbols_per_second": len(symbols) / seconds if seconds > 0 else 0.0,
            # Not the difference of the hub's calls: what it asks for meanwhile is not the scan's.
            "api_calls": 0,
            "cache_stats": self.get_stats(),
        }

    def _scored(self, symbols: Sequence[str], min_score: float) -> _Found:
        """Scan by the hub's own score."""
        result = self.scan(min_score=min_score).result
        chosen = {*symbols}
        hits = [
            {
                "symbol": hit.symbol,
                "score": hit.score,
                "final_score": hit.score,
                "side": hit.side,
                "price": hit.price,
                "contributions": hit.contributions,
            }
            for hit in result.results
            if hit.symbol in chosen
        ]
        return hits, len(chosen & {*result.warming, *result.missing}), 0

    def _lacking(self) -> set[tuple[int, int]]:
        """Give the series that lack bars, or have none yet: number of the timeframe, row of the symbol."""
        rows = {self.ring.rows[symbol]: symbol for symbol in self.symbols}
        none = {
            (number, row)
            for name, number in self.ring.number.items()
            for row, symbol in rows.items()
            if self.panel(name).newest_closed(symbol) < 0
        }
        return none | {(gap.timeframe, gap.row) for gap in self.core.missing(self.now())}

    def _kept(
        self, symbols: Sequence[str] | None, timeframes: Sequence[str] | None
    ) -> tuple[list[str], list[str]]:
        """Give the symbols and timeframes, each once; raises UnknownName for what is not kept."""
        names = list(dict.fromkeys(self.symbols if symbols is None else symbols))
        for name in names:
            if name not in self.ring.rows:
                raise UnknownName("symbol", name, self.ring.rows)
        frames = list(dict.fromkeys(self.ring.number if timeframes is None else timeframes))
        for frame in frames:
            if frame not in self.ring.number:
                raise UnknownName("timeframe", frame, self.ring.number)
        return names, frames


def _analyzed(found: PlainScan, min_score: float) -> _Found:
    """Give what a plain function found, largest score first."""
    sized = [(symbol, result, _size(result)) for symbol, result in found.results.items()]
    kept = sorted((one for one in sized if one[2] >= min_score), key=lambda one: -one[2])
    results = [
        {
            "symbol": symbol,
            **(result if isinstance(result, Mapping) else {"score": result, "final_score": result}),
        }
        for symbol, result, _ in kept
    ]
    return results, len(found.skipped), len(found.failures)


def _size(result: object) -> float:
    """Give the size of a result's score, 0 where it has none."""
    if isinstance(result, Mapping):
        result = next((result[name] for name in _SCORES if name in result), 0.0)
    return abs(float(result)) if isinstance(result, int | float | np.integer | np.floating) else 0.0
