"""The names that existing bots call: every name, signature, default and result key, and such code as it runs.

Those bots keep a cache that is filled by `initialize_batch`, fed by `start_batch_realtime_update`, read by
`get_klines` and judged by a function of rows; or they ask a pipeline for DataFrames of several timeframes.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, get_overloads

import pytest
from tests.sim import worlds
from tests.sim.worlds import SYMBOLS, World, play

import klinehub as kh
from klinehub.app import library
from klinehub.app.compat import KnownHub
from klinehub.scan.plain import PlainScan, Scans
from klinehub.scan.pools import Member
from klinehub.scan.running import Scan
from klinehub.scan.scanner import Hit, ScanResult

pytestmark = pytest.mark.timeout(120)
T = TypeVar("T")
NEEDED: Final = inspect.Parameter.empty
THREE: Final = ("1h", "15m", "5m")
# Each name with its parameters and their defaults, and whether it is awaited.
NAMES: Final[dict[str, tuple[dict[str, Any], bool]]] = {
    "get_klines": ({"symbol": NEEDED, "timeframe": NEEDED, "limit": 300}, False),
    "get_multi_timeframe_data": ({"symbol": NEEDED, "timeframes": THREE, "limit": 50}, True),
    "batch_get_multi_timeframe_data": ({"symbols": NEEDED, "timeframes": THREE, "limit": 50}, True),
    "initialize_batch": (
        {"symbols": None, "intervals": None, "client": None, "timeframes": None, "timeout": 60.0},
        True,
    ),
    "start_batch_realtime_update": (
        {"symbols": None, "intervals": None, "client": None, "timeframes": None},
        True,
    ),
    "is_fresh": ({"symbol": NEEDED, "max_age_seconds": 300}, False),
    "get_stats": ({}, False),
    "get_merged_universe": ({}, False),
    "run_optimized_scan": ({"min_score": 70, "max_symbols": None, "analyze": None}, True),
}
STATS: Final = {
    *(
        "symbols",
        "fresh_symbols",
        "timeframes",
        "bars",
        "closed_bars",
        "hits",
        "misses",
        "hit_rate",
        "updates",
    ),
    *("closes", "missing_bars", "stale_symbols", "sockets", "sockets_up", "rest_calls", "resident_bytes"),
}
OTHER_STATS: Final = {
    *("total_symbols", "initialized_symbols", "total_intervals", "total_klines", "total_updates"),
    *("cache_hits", "cache_misses", "memory_estimate_mb", "init_time_seconds"),
}
UNIVERSE: Final = {
    *("symbols", "metadata", "elite", "overlay", "time", "timestamp"),
    *("total_count", "elite_count", "overlay_count", "overlap_count"),
    *("elite_cache_valid", "overlay_cache_valid"),
}
OPTIMIZED: Final = [
    *("results", "total_symbols", "signals_found", "skipped", "errors", "elapsed_seconds"),
    *("symbols_per_second", "api_calls", "cache_stats"),
]
SIGNAL: Final = ["symbol", "score", "final_score", "side", "price", "contributions"]


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    found = inspect.signature(function).parameters
    return {name: one.default for name, one in found.items() if name != "self"}


@pytest.mark.parametrize("name", NAMES)
def test_each_name_has_its_parameters_and_defaults(name: str) -> None:
    function = getattr(kh.Hub, name)

    assert (defaults(function), inspect.iscoroutinefunction(function)) == NAMES[name]


def test_scan_has_its_two_forms() -> None:
    own, _, with_function = get_overloads(Scans.scan)

    assert kh.Hub.scan is Scans.scan
    assert defaults(own) == {"bar": None, "timeframe": None, "min_score": None}
    assert defaults(with_function) == {"bar": NEEDED, "symbols": None, "limit": 300, "workers": 4}
    assert (
        defaults(kh.Hub.scan_with).items() >= {"limit": 300, "workers": 4, "timeout_per_symbol": None}.items()
    )


def test_one_scan_without_a_hub_has_its_parameters() -> None:
    found = defaults(library.run_optimized_scan)

    assert found.items() >= {"min_score": 70, "max_symbols": None, "analyze": None}.items()


def test_results_have_their_fields() -> None:
    assert PlainScan.__struct_fields__ == (
        *("results", "failures", "seconds", "symbols", "skipped", "stale", "as_of"),
    )
    assert {"result", "seconds", "api_calls", "stale"} <= set(Scan.__struct_fields__)
    assert {"signals_found", "results", "min_score"} <= set(ScanResult.__struct_fields__)
    assert {"symbol", "score", "side", "price", "contributions"} <= set(Hit.__struct_fields__)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a bot's code with a hub that knows the names, on a simulated exchange and virtual time."""
    monkeypatch.setattr(worlds, "Hub", KnownHub)

    def bot(act: Callable[[Any], Awaitable[T]], **options: Any) -> T:
        async def with_hub(made: World) -> T:
            await asyncio.sleep(61)
            return await act(made.hub)

        return play(with_hub, **options)

    return bot


def analyze_symbol_with_klines(symbol: str, k1h: Any, k5m: Any, k15m: Any) -> dict[str, Any]:
    """Score as bots do, from rows of 12 fields with numbers as text."""
    closes = [float(row[4]) for row in k1h]
    assert all(len(row) == 12 for rows in (k1h, k5m, k15m) for row in rows)
    assert all(isinstance(value, str) for value in k1h[-1][1:6])
    score = max(-100.0, min(100.0, 10_000 * (closes[-1] / closes[-2] - 1)))
    return {"symbol": symbol, "final_score": score, "confidence": abs(score)}


def test_a_bot_with_a_cache_of_its_own_and_a_scanner(live: Callable[..., Any]) -> None:
    async def bot(cache: KnownHub) -> None:
        client = object()
        symbols, metadata = cache.get_merged_universe()
        assert (len(symbols), metadata["elite_count"], metadata["overlay_count"]) == (SYMBOLS, 0, 0)
        await cache.initialize_batch(symbols=symbols, intervals=["1h", "15m"], client=client)
        await cache.start_batch_realtime_update(symbols=symbols, intervals=["1h"], client=client)
        results, skipped = [], 0
        for symbol in symbols:
            assert cache.is_fresh(symbol)
            k1h, k15m = cache.get_klines(symbol, "1h", 300), cache.get_klines(symbol, "15m", 200)
            if not k1h or len(k1h) < 20:
                skipped += 1
                continue
            result = analyze_symbol_with_klines(symbol, k1h=k1h, k5m=k15m, k15m=k15m)
            if abs(result.get("final_score", 0)) >= 0:
                results.append(result)
        stats = cache.get_stats()
        assert (len(results), skipped) == (SYMBOLS, 0)
        assert f"{stats['hit_rate']} {stats['memory_estimate_mb']:.1f}MB".endswith("0.5MB")
        scan = await cache.run_optimized_scan(min_score=0, analyze=analyze_symbol_with_klines)
        assert sorted(scan["results"], key=str) == sorted(results, key=str)

    live(bot)


def test_a_bot_with_a_pipeline_of_dataframes(live: Callable[..., Any]) -> None:
    async def bot(pipeline: KnownHub) -> None:
        symbols, _ = pipeline.get_merged_universe()
        for at in range(0, len(symbols), 64):
            data = await pipeline.batch_get_multi_timeframe_data(symbols[at : at + 64], timeframes=["1h"])
            assert all(len(one.get("1h", [])) for one in data.values())
        one = await pipeline.get_multi_timeframe_data(symbols[0])
        assert list(one) == ["1h", "15m", "5m"]
        h1 = one["1h"]
        mean = h1["close"].rolling(20).mean().iloc[-1]
        assert mean > 0
        assert {"open", "high", "low", "close", "volume"} <= set(h1.columns)
        assert h1.index.is_monotonic_increasing
        assert (await pipeline.batch_get_multi_timeframe_data(symbols[:1]))[symbols[0]]["5m"].equals(
            one["5m"]
        )

    live(bot)


def test_scores_are_asked_for_by_their_size(live: Callable[..., Any]) -> None:
    async def bot(hub: KnownHub) -> None:
        every = hub.scan(min_score=0).result
        assert every.signals_found == len(every.results) == SYMBOLS
        sizes = sorted(abs(hit.score or 0.0) for hit in every.results)
        some = hub.scan(min_score=sizes[2]).result
        assert [abs(hit.score or 0.0) for hit in some.results] == sizes[:1:-1]
        # This market has fallen.
        assert all((hit.score or 0.0) < 0 for hit in some.results)

    live(bot, bars=400, seed=5)


def test_a_scan_at_once_has_its_keys(live: Callable[..., Any]) -> None:
    async def bot(hub: KnownHub) -> None:
        calls = hub.gate.calls
        found = await hub.run_optimized_scan(min_score=0)
        assert list(found) == OPTIMIZED
        assert all(list(signal) == SIGNAL for signal in found["results"])
        assert (found["total_symbols"], found["signals_found"], found["api_calls"]) == (SYMBOLS, SYMBOLS, 0)
        assert {one["symbol"]: one["score"] for one in found["results"]} == {
            one.symbol: one.score for one in hub.scan(min_score=0).result.results
        }
        first = await hub.run_optimized_scan(0, 2)
        assert {one["symbol"] for one in first["results"]} == set(hub.symbols[:2])
        assert (await hub.run_optimized_scan(101))["results"] == []

        def number(symbol: str, k1h: Any) -> float:
            if symbol == hub.symbols[1]:
                raise KeyError(symbol)
            return {hub.symbols[0]: -80.0, hub.symbols[2]: 75.0}.get(symbol, float("nan"))

        own = await hub.run_optimized_scan(analyze=number)
        assert [one["score"] for one in own["results"]] == [-80.0, 75.0]
        assert (own["errors"], own["skipped"], own["total_symbols"]) == (1, 0, SYMBOLS)
        assert hub.gate.calls == calls

    live(bot, bars=400, audit=0.0)


def test_what_is_warm_and_live_is_counted(live: Callable[..., Any]) -> None:
    async def bot(hub: KnownHub) -> None:
        done = {"symbols": 2, "timeframes": 2, "series": 4, "warm": 4, "missing": 0}
        assert await hub.initialize_batch(hub.symbols[:2], ["1h", "5m"]) == done
        assert await hub.initialize_batch(hub.symbols[:2], timeframes=["1h", "5m"]) == done
        assert (await hub.initialize_batch())["series"] == 4 * SYMBOLS
        assert await hub.start_batch_realtime_update(hub.symbols, ["1h"]) == 1
        with pytest.raises(kh.DefinitionError, match="Did you mean"):
            await hub.initialize_batch(["BTCUSD"])
        with pytest.raises(kh.DefinitionError, match="4h"):
            await hub.start_batch_realtime_update(hub.symbols, ["4h"])
        row, memory = hub.ring.rows[hub.symbols[0]], hub.ring.memory
        number = hub.ring.number["1h"]
        state = memory.state[number, row].copy()
        memory.state[number, row] = 0
        waiting = asyncio.create_task(hub.initialize_batch(hub.symbols[:1], ["1h"]))
        await asyncio.sleep(5)
        assert not waiting.done()
        memory.state[number, row] = state
        assert (await waiting)["warm"] == 1
        memory.state[number, row] = 0
        assert (await hub.initialize_batch(hub.symbols[:1], ["1h"], timeout=3))["missing"] == 1
        memory.state[number, row] = state

    live(bot)


def test_counts_and_universe_have_their_keys(live: Callable[..., Any]) -> None:
    async def bot(hub: KnownHub) -> None:
        stats = hub.get_stats()
        assert set(stats) >= STATS
        assert not OTHER_STATS & set(stats)
        assert all(stats[name] == stats.get(name) for name in STATS | OTHER_STATS)
        assert (stats["total_intervals"], stats["initialized_symbols"]) == (4 * SYMBOLS, SYMBOLS)
        assert stats.get("nothing such", 7) == 7
        with pytest.raises(KeyError):
            stats["nothing such"]
        symbols, metadata = hub.get_merged_universe()
        assert set(metadata) == UNIVERSE
        assert metadata["symbols"] == symbols == list(hub.symbols) == list(metadata["metadata"])
        assert all(set(one) == set(Member.__struct_fields__) for one in metadata["metadata"].values())
        turnover = [metadata["metadata"][symbol]["turnover"] for symbol in symbols]
        assert turnover == sorted(turnover, reverse=True)

    live(bot)
