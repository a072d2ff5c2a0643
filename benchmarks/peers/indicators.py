"""Indicators: ten that all know, over a thousand bars of 550 symbols; thirty, of those that know them."""

import time
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
from benchmarks.peers.work import Contestant, Differs, Kind

from klinehub.bench.evidence import market
from klinehub.bench.peers import THIRTY, pandas_symbol, talib_symbol
from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.factors.engine import Engine
from klinehub.factors.expr import Expr
from klinehub.factors.stock import stock_factor
from klinehub.panel.history import History
from klinehub.panel.memory import F64

SYMBOLS: Final = 550
BARS: Final = 1_000
# What the first of these bars needs before it; peers are given it too where they must not differ.
BEFORE: Final = 500
FRAME: Final = "15m"
# Of these symbols alone, and the figure is multiplied: as many take minutes.
FEW: Final = 20
# klinehub lets an exponential average begin anew with each block of bars, less a warm-up.
NEAR: Final = 1e-4
TEN: Final = (
    *("ema_distance", "sma_distance", "trend", "macd_line", "rsi", "atr_percent"),
    *("bollinger_b", "bollinger_width", "stochastic_k", "roc"),
)
# A function of open, high, low, close, volume... [9, symbols, bars]: each of the ten [symbols, bars].
Work = Callable[[F64], list[Any]]


def prepare(folder: Path, seed: int) -> None:
    """Write bars of a made-up market."""
    np.save(folder / "bars.npy", market(seed, SYMBOLS, BEFORE + BARS, FRAME).planes)


def ours(folder: Path) -> Mapping[str, float]:
    """Compute both sets with klinehub, and keep the last values for the others to be held against."""
    planes = np.load(folder / "bars.npy")
    names = [f"S{number:03d}" for number in range(SYMBOLS)]
    history = History(TIMEFRAMES[FRAME], names, 0, planes)

    def values(factors: tuple[str, ...]) -> dict[str, F64]:
        exprs: dict[str, Expr] = {name: stock_factor(name)() for name in factors}
        engine = Engine(exprs, {FRAME: history}, FRAME, bars=BARS, benchmark=names[0])
        return engine.at(history.closed_bar)

    found = values(TEN)
    np.save(folder / "last.npy", np.stack([found[name][:, -1] for name in TEN]))
    values(THIRTY)
    return {**timed("ten", lambda: values(TEN)), **timed("thirty", lambda: values(THIRTY))}


def timed(name: str, work: Callable[[], object]) -> dict[str, float]:
    """Give the ms of CPU and of real time of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return {
        f"{name}_cpu": (time.process_time() - cpu) * 1e3,
        f"{name}_wall": (time.perf_counter() - wall) * 1e3,
    }


def peer(make: Callable[[], Work], more: Callable[[F64], Mapping[str, float]] | None = None) -> Contestant:
    """Give the contestant that computes the ten another way, and *more* besides."""

    def contestant(folder: Path) -> Mapping[str, float]:
        bars = np.ascontiguousarray(np.load(folder / "bars.npy")[:, :, -BARS:])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work = make()
            check(np.stack([np.asarray(one)[:, -1] for one in work(bars)]), np.load(folder / "last.npy"))
            found = timed("ten", lambda: work(bars))
            return {**found, **(more(bars) if more else {})}

    return contestant


def check(found: F64, expected: F64) -> None:
    """Hold last values against klinehub's; raises Differs."""
    for name, one, other in zip(TEN, found, expected, strict=True):
        apart = float(np.abs(one - other).max() / np.abs(other).max())
        if not apart < NEAR:
            raise Differs(f"{name} differs from klinehub's by {apart:.1e} of the largest.")


def talib() -> Work:
    """Compute the ten with TA-Lib, symbol by symbol."""
    ta: Any = import_module("talib")

    def symbol(high: F64, low: F64, close: F64) -> list[F64]:
        ema50, atr = ta.EMA(close, 50), ta.ATR(high, low, close, 14)
        upper, middle, lower = ta.BBANDS(close, 20, 2.0, 2.0)
        slow_k, _ = ta.STOCH(high, low, close, 14, 3, 0, 3, 0)
        return [
            *(close / ema50 - 1, close / ta.SMA(close, 50) - 1, (ta.EMA(close, 20) - ema50) / atr),
            *((ta.EMA(close, 12) - ta.EMA(close, 26)) / close, ta.RSI(close, 14), 100 * atr / close),
            *((close - lower) / (upper - lower), (upper - lower) / middle, slow_k, ta.ROCP(close, 10)),
        ]

    def work(bars: F64) -> list[Any]:
        rows = [symbol(bars[1, row], bars[2, row], bars[3, row]) for row in range(bars.shape[1])]
        return list(np.stack(rows, axis=1))

    return work


def talib_thirty(bars: F64) -> Mapping[str, float]:
    """Compute the thirty with TA-Lib."""
    symbol = talib_symbol()
    return timed("thirty", lambda: [symbol(bars[:, row], bars[3, 0]) for row in range(bars.shape[1])])


def pandas_ta() -> Work:
    """Compute the ten with pandas-ta-classic's own Python, symbol by symbol."""
    pd, ta = import_module("pandas"), import_module("pandas_ta_classic")

    def symbol(bars: F64) -> list[Any]:
        high, low, close = (pd.Series(bars[at]) for at in (1, 2, 3))
        ema50, atr = ta.ema(close, 50, talib=False), ta.atr(high, low, close, 14, talib=False)
        bands = ta.bbands(close, 20, 2, talib=False)
        lower, middle, upper = (bands.iloc[:, at] for at in range(3))
        stoch = ta.stoch(high, low, close, 14, 3, 3)
        return [
            *(close / ema50 - 1, close / ta.sma(close, 50, talib=False) - 1),
            (ta.ema(close, 20, talib=False) - ema50) / atr,
            (ta.ema(close, 12, talib=False) - ta.ema(close, 26, talib=False)) / close,
            *(ta.rsi(close, 14, talib=False), 100 * atr / close),
            *((close - lower) / (upper - lower), (upper - lower) / middle),
            *(stoch.iloc[:, 0], ta.roc(close, 10, talib=False) / 100),
        ]

    def work(bars: F64) -> list[Any]:
        rows = [np.stack([one.to_numpy() for one in symbol(bars[:, row])]) for row in range(bars.shape[1])]
        return list(np.stack(rows, axis=1))

    return work


def pandas_ta_thirty(bars: F64) -> Mapping[str, float]:
    """Compute those of the thirty that pandas-ta-classic has, of a few symbols; gives what all would take."""
    pd, symbol = import_module("pandas"), pandas_symbol()
    names = ("open", "high", "low", "close", "volume")
    frames = [pd.DataFrame(dict(zip(names, bars[:5, row], strict=True))) for row in range(FEW)]
    found = timed("thirty", lambda: [symbol(frame) for frame in frames])
    return {name: value * bars.shape[1] / FEW for name, value in found.items()}


def polars() -> Work:
    """Compute the ten with polars' expressions, over groups of symbols, on all cores."""
    pl: Any = import_module("polars")
    high, low, close = pl.col("high"), pl.col("low"), pl.col("close")

    def ema(expr: Any, n: int) -> Any:  # noqa: ANN401 - an expression of polars
        return expr.ewm_mean(span=n, adjust=False)

    def wilder(expr: Any) -> Any:  # noqa: ANN401 - as above
        return expr.ewm_mean(alpha=1 / 14, adjust=False)

    before, step = close.shift(1), close.diff()
    atr = wilder(pl.max_horizontal(high - low, (high - before).abs(), (low - before).abs()))
    gain, loss = (
        wilder(step.clip(lower_bound=0).fill_null(0)),
        wilder((-step).clip(lower_bound=0).fill_null(0)),
    )
    mean, deviation = close.rolling_mean(20), close.rolling_std(20, ddof=0)
    top, bottom = high.rolling_max(14), low.rolling_min(14)
    exprs = [
        *(close / ema(close, 50) - 1, close / close.rolling_mean(50) - 1),
        *((ema(close, 20) - ema(close, 50)) / atr, (ema(close, 12) - ema(close, 26)) / close),
        *(100 * gain / (gain + loss), 100 * atr / close),
        *((close - mean + 2 * deviation) / (4 * deviation), 4 * deviation / mean),
        *((100 * (close - bottom) / (top - bottom)).rolling_mean(3), close / close.shift(10) - 1),
    ]

    def work(bars: F64) -> list[Any]:
        symbols, length = bars.shape[1:]
        names = ("high", "low", "close")
        frame = pl.DataFrame(
            {"symbol": np.repeat(np.arange(symbols), length)}
            | {name: bars[at].ravel() for name, at in zip(names, (1, 2, 3), strict=True)}
        )
        named = [expr.over("symbol").alias(name) for name, expr in zip(TEN, exprs, strict=True)]
        found = frame.lazy().select(named).collect()
        return [found[name].to_numpy().reshape(symbols, length) for name in TEN]

    return work


def vectorbt() -> Work:
    """Compute the ten with vectorbt's indicators, a column for each symbol."""
    pd, vbt = import_module("pandas"), import_module("vectorbt")

    def work(bars: F64) -> list[Any]:
        high, low, close = (pd.DataFrame(bars[at].T) for at in (1, 2, 3))

        def ema(n: int) -> Any:  # noqa: ANN401 - a DataFrame's values
            return vbt.MA.run(close, n, ewm=True).ma.to_numpy()

        # Its exponential windows are spans: one of 27 is Wilder's of 14.
        atr = vbt.ATR.run(high, low, close, 27, ewm=True).atr.to_numpy()
        rsi = vbt.RSI.run(close, 27, ewm=True).rsi.to_numpy()
        bands = vbt.BBANDS.run(close, 20, alpha=2)
        stoch = vbt.STOCH.run(high, low, close, 14, 3)
        plain, ema50 = close.to_numpy(), ema(50)
        found = [
            *(plain / ema50 - 1, plain / vbt.MA.run(close, 50).ma.to_numpy() - 1),
            *((ema(20) - ema50) / atr, (ema(12) - ema(26)) / plain, rsi, 100 * atr / plain),
            *(bands.percent_b.to_numpy(), bands.bandwidth.to_numpy(), stoch.percent_d.to_numpy()),
            plain / np.roll(plain, 10, axis=0) - 1,
        ]
        return [one.T for one in found]

    return work


KIND: Final = Kind(
    "Indicators",
    f"Ten that all of them know ({', '.join(TEN)}), each over {BARS:,} bars of {SYMBOLS} symbols of one "
    "timeframe, from arrays to arrays, ms; and the thirty of `scan`, where a library has them. One call "
    "before is not counted. klinehub and TA-Lib (a loop over symbols) use one core, polars all of them. "
    f"The last value of each of the ten, of each symbol, is within {NEAR:.0e} of the largest of "
    "klinehub's, whose averages begin anew with each block of bars (docs/live-and-history.md). "
    f"pandas-ta-classic's thirty are twenty-odd, of {FEW} symbols, multiplied.",
    {
        "ten_cpu": "ten, CPU ms",
        "ten_wall": "ten, real ms",
        "thirty_cpu": "thirty, CPU ms",
        "thirty_wall": "thirty, real ms",
    },
    prepare,
    {
        "klinehub": ours,
        "TA-Lib": peer(talib, talib_thirty),
        "pandas-ta-classic": peer(pandas_ta, pandas_ta_thirty),
        "polars": peer(polars),
        "vectorbt": peer(vectorbt),
    },
)
