"""Plain functions on made-up bars: what they are given, and what comes of those that fail or hang."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from klinehub.domain.kline import ROW, Exact, Klines, Scale
from klinehub.domain.stale import Stale
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.scan.plain import PlainScan, scan_with
from klinehub.sim.loop import SimLoop, run

START = 1_767_484_800_000
SYMBOLS = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")


class Held:
    """Closed bars of one timeframe; each symbol's close is its place, and 10 more with each bar."""

    def __init__(self, name: str, bars: int = 20, **fewer: int) -> None:
        self.timeframe = timeframe(name)
        self.first = self.timeframe.index(START)
        self.count = {symbol: fewer.get(symbol, bars) for symbol in SYMBOLS}

    @property
    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS

    @property
    def closed_bar(self) -> int:
        return self.first + max(self.count.values()) - 1

    def newest_closed(self, symbol: str) -> int:
        return self.first + self.count[symbol] - 1 if self.count[symbol] else -1

    def times(self, symbol: str, start: int, end: int) -> list[int]:
        indexes = range(max(start, self.first), min(end, self.newest_closed(symbol)) + 1)
        return [self.timeframe.open_time(index) for index in indexes]

    def klines(self, symbol: str, limit: int) -> Klines:
        last = self.newest_closed(symbol)
        times = self.times(symbol, last - limit + 1, last)
        out = Klines.empty(len(times))
        out["open_time"] = times
        for at, time_ in enumerate(times):
            out["close"][at] = self.close(symbol, time_)
        return out

    def exact(self, symbol: str, *, start: int, end: int) -> Exact:
        rows = np.zeros(len(times := self.times(symbol, start, end)), ROW)
        rows["open_time"] = times
        rows["close"] = [self.close(symbol, one) for one in times]
        return Exact(rows, Scale(1, 0, 0))

    def close(self, symbol: str, time_: int) -> float:
        return SYMBOLS.index(symbol) + 10.0 * (self.timeframe.index(time_) - self.first)


def held() -> dict[str, Held]:
    return {"5m": Held("5m"), "1h": Held("1h", bars=3)}


async def scan(
    function: Callable[..., Any], read: dict[str, Held] | None = None, **options: Any
) -> PlainScan:
    return await scan_with(read or held(), SYMBOLS, function, **options)


async def test_rows_are_given_as_rest_prints_them() -> None:
    def analyze(symbol: str, k1h: Any, k5m: Any) -> tuple[Any, ...]:
        return symbol, k1h[-1], len(k5m)

    found = await scan(analyze, limit=7)

    row = [START + 7_200_000, "0.0", "0.0", "0.0", "21.0", "0", START + 10_799_999, "0", 0, "0", "0", "0"]
    assert found.results["BUSDT"] == ("BUSDT", row, 7)
    assert (found.symbols, found.failures, found.skipped, found.stale) == (4, {}, {}, {})
    assert found.as_of == {"5m": START + 19 * 300_000, "1h": START + 7_200_000}


async def test_frames_are_given_alone_and_by_timeframe() -> None:
    def analyze(df_1h: pd.DataFrame, df5m: pd.DataFrame, frames: dict[str, pd.DataFrame]) -> list[float]:
        assert list(frames) == ["5m", "1h"]
        assert frames["1h"].equals(df_1h)
        return [df_1h["close"].iloc[-1], df5m["close"].iloc[0]]

    assert (await scan(analyze, limit=2)).results == {
        symbol: [20.0 + at, 180.0 + at] for at, symbol in enumerate(SYMBOLS)
    }


@pytest.mark.parametrize("name", ["frames", "klines", "data"])
async def test_all_frames_have_three_names(name: str) -> None:
    space: dict[str, Any] = {}
    exec(f"def analyze(symbol, {name}): return sorted({name})", space)

    assert (await scan(space["analyze"])).results["AUSDT"] == ["1h", "5m"]


async def test_none_is_no_hit_and_everything_else_is_kept_in_the_order_asked_for() -> None:
    given = {"AUSDT": None, "BUSDT": 0.0, "CUSDT": {"score": 1}, "DUSDT": ()}

    def slower_first(symbol: str) -> Any:
        time.sleep(0.01 * (4 - SYMBOLS.index(symbol)))
        return given[symbol]

    found = await scan(slower_first)

    assert list(found.results.items()) == [("BUSDT", 0.0), ("CUSDT", {"score": 1}), ("DUSDT", ())]


async def test_what_one_raises_is_its_own_failure_and_short() -> None:
    def analyze(symbol: str, k1h: Any) -> int:
        if symbol == "AUSDT":
            raise ValueError("x" * 10_000)
        if symbol == "BUSDT":
            raise SystemExit(3)
        if symbol == "CUSDT":
            raise StopIteration
        return 1

    found = await scan(analyze)

    assert found.results == {"DUSDT": 1}
    assert list(found.failures) == ["AUSDT", "BUSDT", "CUSDT"]
    assert found.failures["AUSDT"].startswith("ValueError: xxx")
    assert len(found.failures["AUSDT"]) < 340
    line = analyze.__code__.co_firstlineno + 4
    assert found.failures["BUSDT"] == f"SystemExit: 3 (line {line})"


async def test_a_failure_whose_message_fails_is_told_by_its_kind() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def analyze(symbol: str) -> None:
        raise Odd

    assert (await scan(analyze)).failures["AUSDT"].startswith("Odd (line ")


def later(symbol: str, k1h: Any, threshold: float = 0.5, *more: Any, k4h: Any = None, **rest: Any) -> Any:
    return symbol, threshold, k4h, more, rest


async def test_what_has_a_default_keeps_it_where_nothing_is_known_or_kept() -> None:
    assert (await scan(later)).results["AUSDT"] == ("AUSDT", 0.5, None, (), {})


async def test_anything_that_can_be_called_can_be_scanned_with() -> None:
    class Strategy:
        def method(self, symbol: str) -> str:
            return symbol

        def __call__(self, symbol: str, k1h: Any) -> int:
            return len(k1h)

    assert (await scan(Strategy().method)).results["AUSDT"] == "AUSDT"
    assert (await scan(Strategy())).results["AUSDT"] == 3
    assert (await scan(functools.partial(later, threshold=2.0))).results["AUSDT"][1] == 2.0
    assert (await scan(lambda symbol, k_5m: len(k_5m))).results["DUSDT"] == 20


def unknown(symbol: str, candles: Any) -> None: ...
def not_kept(symbol: str, k4h: Any) -> None: ...
def no_timeframe(symbol: str, k7h: Any) -> None: ...
def nothing() -> None: ...
def anything(*args: Any, **kwargs: Any) -> None: ...
def yields(symbol: str) -> Iterable[str]:
    yield symbol


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (
            unknown,
            r"give to 'candles' of unknown\. Possible are `symbol`, rows .* \(k5m, k1h\), DataFrames \(df_5m",
        ),
        (not_kept, r"asks for k4h, and the bars kept are 5m 1h: add 4h to `timeframes`"),
        (no_timeframe, r"'k7h'"),
        (nothing, r"nothing takes nothing of a symbol"),
        (anything, r"takes nothing of a symbol"),
        (yields, r"yields yields: give its result with `return`"),
        (dict, r"can not be read|takes nothing"),
    ],
)
async def test_a_function_that_cannot_be_called_is_refused_at_once(function: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        await scan(function)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"limit": 0}, "limit of 0"),
        ({"workers": 0}, "`workers` is 0"),
        ({"workers": 1_000}, "from 1 to 64"),
        ({"timeout_per_symbol": 0.0}, "seconds above 0"),
    ],
)
async def test_numbers_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        await scan(lambda symbol: symbol, **options)


async def test_symbols_are_a_list_of_known_ones() -> None:
    def analyze(symbol: str) -> str:
        return symbol

    with pytest.raises(DefinitionError, match="give a list"):
        await scan_with(held(), "AUSDT", analyze)
    with pytest.raises(UnknownName, match="Did you mean 'AUSDT'"):
        await scan_with(held(), ["AUSD"], analyze)
    assert (await scan_with(held(), ["BUSDT", "BUSDT"], analyze)).symbols == 1
    assert (await scan_with(held(), [], analyze)).results == {}


async def test_a_symbol_without_bars_is_skipped_and_named() -> None:
    def rows(symbol: str, k1h: Any) -> int:
        return len(k1h)

    def all_frames(frames: Any) -> int:
        return len(frames["1h"])

    read = {"5m": Held("5m"), "1h": Held("1h", BUSDT=0)}

    found = await scan(rows, read)
    assert found.skipped == {"BUSDT": "no closed 1h bar yet"}
    assert "BUSDT" not in found.results
    assert (await scan(all_frames, read)).results["BUSDT"] == 0
    read["5m"] = Held("5m", BUSDT=0)
    assert (await scan(all_frames, read)).skipped == {"BUSDT": "no closed 5m or 1h bar yet"}


async def test_a_bar_that_closes_meanwhile_is_seen_by_nobody() -> None:
    read = {"5m": Held("5m"), "1h": Held("1h", bars=3)}

    async def analyze(symbol: str, k1h: Any, df_1h: pd.DataFrame) -> tuple[Any, ...]:
        for one in read.values():
            one.count = dict.fromkeys(SYMBOLS, 25)
        return k1h[-1][0], df_1h["close"].iloc[-1], len(k1h), len(df_1h)

    found = await scan(analyze, read, limit=2, workers=1)

    assert found.results == {
        symbol: (START + 7_200_000, 20.0 + at, 2, 2) for at, symbol in enumerate(SYMBOLS)
    }


async def test_stale_symbols_are_scanned_and_named() -> None:
    old = Stale("its stream is silent", START)
    found = await scan(
        lambda symbol: symbol, stale=lambda asked: {one: old for one in asked if one == "CUSDT"}
    )

    assert found.stale == {"CUSDT": old}
    assert "CUSDT" in found.results


async def test_no_more_threads_work_than_asked_for_and_none_is_left() -> None:
    active: set[str] = set()
    most = []

    def analyze(symbol: str) -> str:
        active.add(symbol)
        most.append(len(active))
        time.sleep(0.01)
        active.discard(symbol)
        return threading.current_thread().name

    found = await scan(analyze, workers=2)

    assert max(most) == 2
    assert set(found.results.values()) == {"klinehub-plain"}
    await gone()


async def gone() -> None:
    """Wait until no thread of a scan is left."""
    async with asyncio.timeout(5):
        # Nobody tells of a thread's end.
        while any(one.name == "klinehub-plain" for one in threading.enumerate()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_the_loop_goes_on_while_a_function_works() -> None:
    waiting = asyncio.create_task(scan(lambda symbol: time.sleep(0.05)))
    turns = 0
    while not waiting.done():
        await asyncio.sleep(0.001)
        turns += 1

    assert turns > 10


async def test_progress_is_told_after_each_symbol_and_what_it_raises_ends_the_scan() -> None:
    told: list[tuple[int, int]] = []
    await scan(lambda symbol: symbol, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]

    def broken(done: int, total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await scan(lambda symbol: symbol, progress=broken)


async def test_a_symbol_that_takes_too_long_fails_and_the_others_go_on() -> None:
    stop = threading.Event()

    def analyze(symbol: str) -> str:
        if symbol == "BUSDT":
            stop.wait(20)
        return symbol

    found = await scan(analyze, workers=2, timeout_per_symbol=0.2)
    stop.set()

    assert found.failures == {"BUSDT": "it took longer than 0.2 seconds"}
    assert list(found.results) == ["AUSDT", "CUSDT", "DUSDT"]
    await gone()


async def test_threads_that_never_end_are_not_piled_up() -> None:
    stop = threading.Event()

    found = await scan(lambda symbol: stop.wait(20), workers=1, timeout_per_symbol=0.05)
    stop.set()

    assert list(found.failures) == ["AUSDT"]
    assert found.skipped["DUSDT"] == "1 calls before it have not ended"
    await gone()


async def test_a_cancelled_scan_ends_at_once_and_calls_nothing_more() -> None:
    stop, called, ended = threading.Event(), [], []

    def analyze(symbol: str) -> None:
        called.append(symbol)
        stop.wait(20)
        ended.append(symbol)

    scanning = asyncio.create_task(scan(analyze, workers=2))
    while len(called) < 2:  # noqa: ASYNC110 - it is called in threads
        await asyncio.sleep(0.005)
    scanning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scanning

    assert ended == []
    stop.set()
    await gone()
    assert sorted(called) == sorted(ended) == ["AUSDT", "BUSDT"]


async def test_an_async_function_is_awaited_here_few_at_a_time() -> None:
    active: set[str] = set()
    most = []

    async def analyze(symbol: str, k1h: Any) -> int:
        active.add(symbol)
        most.append(len(active))
        await asyncio.sleep(0.01)
        active.discard(symbol)
        assert threading.current_thread() is threading.main_thread()
        if symbol == "BUSDT":
            raise TimeoutError("its own")
        if symbol == "CUSDT":
            raise asyncio.CancelledError
        if symbol == "DUSDT":
            await asyncio.sleep(20)
        return len(k1h)

    found = await scan(analyze, workers=3, timeout_per_symbol=0.2)

    assert max(most) == 3
    assert found.results == {"AUSDT": 3}
    assert found.failures["BUSDT"].startswith("TimeoutError: its own (line ")
    assert found.failures["CUSDT"].startswith("CancelledError")
    assert found.failures["DUSDT"] == "it took longer than 0.2 seconds"


async def test_a_coroutine_from_a_plain_function_is_a_failure_in_words() -> None:
    async def analyze(symbol: str) -> None: ...

    assert "async def" in (await scan(lambda symbol: analyze(symbol))).failures["AUSDT"]  # noqa: PLW0108


def test_on_virtual_time_there_are_no_threads_and_equal_results() -> None:
    async def main(loop: SimLoop) -> PlainScan:
        return await scan(lambda symbol, k1h: (threading.current_thread().name, len(k1h)))

    assert set(run(main).results.values()) == {("MainThread", 3)}
