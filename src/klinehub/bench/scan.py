"""`scan`: thirty factors of a whole market at a bar's close, over a whole history, and as others do it."""

import time
import warnings
from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

import numpy as np

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.peers import THIRTY, numpy_market, pandas_symbol, talib_symbol
from klinehub.bench.stage import NOON, SYMBOLS, Stage, with_hub
from klinehub.domain.kline import Exact, Scale
from klinehub.domain.timeframe import MINUTE, TIMEFRAMES
from klinehub.factors.engine import Engine
from klinehub.factors.expr import Expr
from klinehub.factors.points import score
from klinehub.factors.stock import stock_factor
from klinehub.feed.core import Core
from klinehub.panel.history import History
from klinehub.panel.memory import F64
from klinehub.panel.ring import Ring
from klinehub.panel.view import PLANES
from klinehub.scan.scanner import default_screen
from klinehub.settings import HubSettings
from klinehub.sim.synthetic import synthetic

FRAMES: Final = ("5m", "15m", "1h")
BARS: Final = 300
CLOSES: Final = 200
# Closes of a live hub, the first of which is not counted.
ROUNDS: Final = 21
# Peers that take this long are measured on fewer symbols, and their figure is extrapolated.
FEW: Final = 20
# How many times the market a larger one is, to see whether a symbol costs the same there.
LARGER: Final = 4
GOALS: Final = {
    "bar_close_us_p50": 500.0,
    "close_to_result_ms_p99": 20.0,
    "talib_x": 5.0,
    "pandas_ta_x": 150.0,
}


def measure(
    seed: int, *, symbols: int = SYMBOLS, closes: int = CLOSES, bars: int = BARS, live: int = ROUNDS
) -> Measurement:
    """Give the µs of CPU of a bar's close, and everything beside it."""
    market = synthetic(symbols, seed, start=NOON)
    names = [one.symbol for one in market.instruments if one.onboard < NOON - 40 * 24 * 60 * MINUTE][:symbols]
    closing = _spread(_closing(market, names, closes), 1e6)
    larger = _spread(_closing(market, names, max(closes // 4, 10), LARGER), 1e6)
    recompute, cubes = _recomputed(market, names, bars)
    talib = _talib(cubes)
    pandas_ta = _pandas(cubes)
    numpy_ms = _cpu_ms(lambda: [numpy_market(cube) for cube in cubes]) * len(THIRTY) / 10
    detail = {
        "bar_close_us": closing,
        "larger": {
            "symbols": len(names) * LARGER,
            "bar_close_us": larger,
            "a_symbol_x": rounded(larger["p50"] / closing["p50"] / LARGER),
        },
        "recompute_ms": rounded(recompute),
        "talib_loop_ms": talib,
        "numpy_ms": rounded(numpy_ms),
        "pandas_ta_ms": pandas_ta,
        "symbols": len(names),
        "timeframes": len(FRAMES),
        "factors": len(THIRTY),
        "bars": bars,
        "close_to_result_ms": _spread(_close_to_result(seed, symbols, live), 1e3),
        "talib_x": None if talib is None else rounded(talib / recompute),
        "pandas_ta_x": None if pandas_ta is None else rounded(pandas_ta / recompute),
        "extrapolated": {"numpy": "from 10 of 30 factors", "pandas_ta": f"from {FEW} symbols"},
        "time": "CPU",
        "goals": GOALS,
    }
    return Measurement(closing["p50"], "us", detail)


def terms() -> dict[str, Expr]:
    """Give the thirty factors, the z-score of each, the default score and its rank."""
    found: dict[str, Expr] = {}
    for name in THIRTY:
        found[name] = stock_factor(name)()
        found[f"{name} z"] = found[name].zscore()
    found["score"] = score(default_screen(("15m",), benchmark=True).score)
    found["rank"] = found["score"].rank()
    return found


def _closing(market: Any, names: list[str], closes: int, copies: int = 1) -> list[float]:  # noqa: ANN401 - any Market
    """Let bars of each symbol and its *copies* close one by one in a ring; gives the CPU seconds of each."""
    frame = TIMEFRAMES["15m"]
    last = frame.index(NOON) - 1
    ring = Ring((frame,), rows=len(names) * copies, bars=512)
    first = last - 498 - closes
    told = [market.klines(market.index[name], frame, first, last, NOON) for name in names] * copies
    symbols = [f"{name}{'~' * copy}" for copy in range(copies) for name in names]
    for name, exact in zip(symbols, told, strict=True):
        ring.load(0, ring.add(name, Scale(0, 0, 0)), Exact(exact.rows[:-closes], exact.scale), NOON + 10**7)
    engine = Engine(terms(), {"15m": ring.panel("15m")}, "15m", benchmark=names[0])
    engine.compile()
    engine.at(last - closes)
    taken = []
    for close in range(closes):
        for row, exact in enumerate(told):
            at = len(exact.rows) - closes + close
            ring.load(0, row, Exact(exact.rows[at : at + 1], exact.scale), NOON + 10**7)
        begun = time.process_time()
        engine.at(last - closes + close + 1)
        taken.append(time.process_time() - begun)
    return taken[closes // 10 :]


def _recomputed(market: Any, names: list[str], bars: int) -> tuple[float, list[F64]]:  # noqa: ANN401 - as above
    """Compute every bar of three timeframes anew; gives the ms of CPU, and the bars [9, symbols, bars]."""
    exprs = {name: stock_factor(name)() for name in THIRTY}
    histories, cubes = [], []
    for frame_name in FRAMES:
        frame = TIMEFRAMES[frame_name]
        last = frame.index(NOON) - 1
        before = Engine(exprs, {frame_name: _empty(frame_name)}, frame_name).plan.rows[frame_name]
        history = _history(market, names, frame_name, last, bars + before)
        histories.append(history)
        cubes.append(np.ascontiguousarray(history.planes[:, :, -bars:]))

    def work() -> None:
        for history in histories:
            frame_name = history.timeframe.name
            engine = Engine(exprs, {frame_name: history}, frame_name, bars=bars, benchmark=names[0])
            engine.at(history.closed_bar)

    return _cpu_ms(work), cubes


def _history(market: Any, names: list[str], frame_name: str, last: int, bars: int) -> History:  # noqa: ANN401
    frame = TIMEFRAMES[frame_name]
    ring = Ring((frame,), rows=len(names), bars=bars)
    for name in names:
        exact = market.klines(market.index[name], frame, last - bars + 1, last, NOON)
        ring.load(0, ring.add(name, Scale(0, 0, 0)), exact, NOON + 10**7)
    return History(frame, names, last - bars + 1, ring.panel(frame_name).cube(last, bars))


def _empty(frame_name: str) -> History:
    return History(TIMEFRAMES[frame_name], (), 0, np.empty((len(PLANES), 0, 0)))


def _talib(cubes: list[F64]) -> float | None:
    """Give the ms of CPU of a loop over all symbols; None where TA-Lib is not installed."""
    try:
        work = talib_symbol()
    except ImportError:
        return None

    def run() -> None:
        for cube in cubes:
            for row in range(cube.shape[1]):
                work(cube[:, row], cube[3, 0])

    return rounded(_cpu_ms(run))


def _pandas(cubes: list[F64]) -> float | None:
    """Give the same for pandas-ta-classic, from a few symbols."""
    try:
        import pandas as pd  # noqa: PLC0415 - an extra, and slow to import

        work = pandas_symbol()
    except ImportError:
        return None
    frames = [
        pd.DataFrame({name: cube[n, row] for n, name in enumerate(PLANES)})
        for cube in cubes
        for row in range(min(FEW, cube.shape[1]))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        taken = _cpu_ms(lambda: [work(frame) for frame in frames], rounds=1)
    return rounded(taken * cubes[0].shape[1] / min(FEW, cubes[0].shape[1]))


def _close_to_result(seed: int, symbols: int, live: int) -> list[float]:
    """Give the CPU seconds from the last frames of a close to the ranked result, in a live hub."""

    async def work(stage: Stage) -> list[float]:
        hub, taken, begun = stage.hub, [], [0.0]
        plain = Core.on_batch

        def timed(core: Core, *given: Any) -> Any:  # noqa: ANN401 - passes on what it is given
            begun[0] = time.process_time()
            return plain(core, *given)

        with patch.object(Core, "on_batch", timed):
            async for scan in hub.scans():
                if not scan.late and not scan.revision:
                    taken.append(time.process_time() - begun[0])
                if len(taken) == live:
                    break
        return taken[1:]

    settings = HubSettings(bars=430, timeframes=("1m", "5m", "15m"), scan_timeframe="1m")
    return with_hub(work, settings, symbols=symbols, seed=seed)


def _cpu_ms(work: Callable[[], object], rounds: int = 3) -> float:
    """Give the least CPU ms of some calls; the first is not counted."""
    taken = []
    for _ in range(rounds + 1):
        begun = time.process_time()
        work()
        taken.append((time.process_time() - begun) * 1e3)
    return min(taken[1:])


def _spread(seconds: list[float], unit: float) -> dict[str, float]:
    return {f"p{share}": rounded(float(np.percentile(seconds, share)) * unit) for share in (50, 99)}
