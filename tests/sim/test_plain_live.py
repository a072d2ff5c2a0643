"""Plain functions on a live hub and virtual time: what they see is what the hub holds, and nothing newer."""

import asyncio
from typing import Any

import pytest
from tests.sim.test_hub_live import silence_streams
from tests.sim.worlds import BARS, World, play

pytestmark = pytest.mark.timeout(120)


def analyze_symbol_with_klines(symbol: str, k1h: Any, k5m: Any, k15m: Any) -> dict[str, Any] | None:
    """Judge as bots do: rows of text, an IndexError waiting for whoever has none."""
    change = float(k1h[-1][4]) / float(k1h[-2][4]) - 1
    if symbol == "BTCUSDT":
        return None
    return {"symbol": symbol, "final_score": 1_000 * change, "bars": (len(k1h), len(k5m), len(k15m))}


def test_a_function_sees_the_closed_bars_that_the_hub_holds() -> None:
    async def act(made: World) -> None:
        await asyncio.sleep(200)
        hub, calls = made.hub, made.hub.gate.calls
        found = await hub.scan(analyze_symbol_with_klines)
        assert hub.gate.calls == calls
        others = [symbol for symbol in hub.symbols if symbol != "BTCUSDT"]
        assert list(found.results) == others
        assert found.results[others[0]]["bars"] == (BARS, BARS, BARS)
        assert (found.symbols, found.failures, found.skipped, found.stale) == (len(hub.symbols), {}, {}, {})

        def everything(symbol: str, k5m: Any, df_5m: Any, frames: Any) -> bool:
            held = hub.klines(symbol, "5m", 10).to_pandas()
            same = k5m == hub.get_klines(symbol, "5m", 10) and frames["5m"].equals(df_5m)
            return bool(same and held.equals(df_5m) and list(frames) == ["1m", "5m", "15m", "1h"])

        seen = await hub.scan_with(everything, symbols=others, limit=10)
        assert seen.results == dict.fromkeys(others, True)
        assert seen.as_of["5m"] == hub.panel("5m").timeframe.open_time(hub.panel("5m").closed_bar)

    play(act, audit=0.0)


def test_all_symbols_are_judged_at_one_moment_although_bars_close_meanwhile() -> None:
    async def act(made: World) -> None:
        await asyncio.sleep(30)

        async def slowly(symbol: str, k1m: Any) -> int:
            await asyncio.sleep(61)
            return int(k1m[-1][0])

        found = await made.hub.scan_with(slowly, workers=1)
        assert found.seconds > 200
        assert set(found.results.values()) == {found.as_of["1m"]}

    play(act)


def test_a_failing_symbol_and_a_lost_stream_are_named_and_the_hub_goes_on() -> None:
    async def act(made: World) -> None:
        await asyncio.sleep(61)
        silence_streams(made)
        await asyncio.sleep(10)

        def half(symbol: str, k1m: Any) -> float:
            return 1 / made.hub.symbols.index(symbol)

        found = await made.hub.scan_with(half)
        first, *others = made.hub.symbols
        assert found.failures[first].startswith("ZeroDivisionError: division by zero (line ")
        assert list(found.results) == others
        assert "connection" in found.stale[first].reason
        await asyncio.sleep(200)
        made.assert_true()

    play(act)
