"""The same thirty factors as others compute them: a TA-Lib loop, numpy over the market, pandas-ta-classic.

TA-Lib and pandas-ta-classic come with the development environment; where one is not installed, its figure is
left out and said so.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import numpy as np

from klinehub.panel.memory import F64

# Each is known to TA-Lib, directly or as one more operation on what it gives.
THIRTY: Final = (
    *(
        "ema_distance",
        "sma_distance",
        "kama_distance",
        "ema_slope",
        "sma_slope",
        "trend",
        "macd_line",
        "macd",
    ),
    *("ppo", "adx", "di_spread", "aroon_oscillator", "linreg_slope", "roc", "rsi", "stochastic_k"),
    *("stochastic_d", "stoch_rsi", "cci", "williams_r", "cmo", "ultimate_oscillator", "atr_percent"),
    *("bollinger_b", "bollinger_width", "mfi", "obv_slope", "donchian_position", "beta", "correlation"),
)


def talib_symbol() -> Callable[[F64, F64], list[F64]]:
    """Give a function of one symbol's bars [9, bars] and the benchmark's closes; raises ImportError."""
    ta: Any = import_module("talib")

    def work(bars: F64, benchmark: F64) -> list[F64]:
        _, high, low, close, volume, *_ = bars
        ema20, ema50, atr = ta.EMA(close, 20), ta.EMA(close, 50), ta.ATR(high, low, close, 14)
        line, _, histogram = ta.MACD(close)
        upper, middle, lower = ta.BBANDS(close, 20, 2.0, 2.0)
        slow_k, slow_d = ta.STOCH(high, low, close, 14, 3, 0, 3, 0)
        fast_k, _ = ta.STOCHRSI(close, 14, 14, 3, 0)
        short, sma = ta.SMA(close, 20), ta.SMA(close, 50)
        top, bottom = ta.MAX(high, 55), ta.MIN(low, 55)
        up, down = ta.PLUS_DI(high, low, close, 14), ta.MINUS_DI(high, low, close, 14)
        returns, common = ta.ROCP(close, 1), ta.ROCP(benchmark, 1)
        return [
            *(close / ema50 - 1, close / sma - 1, close / ta.KAMA(close, 10) - 1),
            *(
                (ema20 / np.roll(ema20, 5) - 1) / 5,
                (short / np.roll(short, 5) - 1) / 5,
                (ema20 - ema50) / atr,
            ),
            *(line / close, histogram / atr, ta.PPO(close, 12, 26, 1)),
            *(ta.ADX(high, low, close, 14), up - down, ta.AROONOSC(high, low, 25)),
            *(ta.LINEARREG_SLOPE(close, 20) / close, ta.ROC(close, 10), ta.RSI(close, 14)),
            *(slow_k, slow_d, fast_k, ta.CCI(high, low, close, 20), ta.WILLR(high, low, close, 14)),
            *(ta.CMO(close, 14), ta.ULTOSC(high, low, close), atr / close),
            *((close - lower) / (upper - lower), (upper - lower) / middle),
            *(ta.MFI(high, low, close, volume, 14), ta.LINEARREG_SLOPE(ta.OBV(close, volume), 20)),
            *(
                (close - bottom) / (top - bottom),
                ta.BETA(common, returns, 48),
                ta.CORREL(returns, common, 48),
            ),
        ]

    return work


def numpy_market(cube: F64) -> list[F64]:
    """Compute ten of the thirty for all symbols [9, symbols, bars] at once."""
    _, high, low, close, volume, *_ = cube
    ema12, ema26, ema20, ema50 = (_ema(close, n) for n in (12, 26, 20, 50))
    before = np.concatenate((close[:, :1], close[:, :-1]), axis=1)
    span = np.maximum(high - low, np.maximum(abs(high - before), abs(low - before)))
    atr = _smoothed(span, 1 / 14)
    step = close - before
    gain, loss = _smoothed(np.maximum(step, 0), 1 / 14), _smoothed(np.maximum(-step, 0), 1 / 14)
    windows = np.lib.stride_tricks.sliding_window_view(close, 20, axis=1)
    mean, deviation = windows.mean(axis=2), windows.std(axis=2)
    tops = np.lib.stride_tricks.sliding_window_view(high, 55, axis=1).max(axis=2)
    bottoms = np.lib.stride_tricks.sliding_window_view(low, 55, axis=1).min(axis=2)
    tail = close[:, 19:]
    with np.errstate(all="ignore"):
        return [
            *(close / ema50 - 1, (ema20 - ema50) / atr, (ema12 - ema26) / close, atr / close),
            *(100 * gain / (gain + loss), tail / mean - 1, 4 * deviation / mean),
            *((tail - mean + 2 * deviation) / (4 * deviation), (close[:, 54:] - bottoms) / (tops - bottoms)),
            np.cumsum(np.sign(step) * volume, axis=1),
        ]


def pandas_symbol() -> Callable[[Any], list[Any]]:
    """Give a function of one symbol's DataFrame, the thirty less five that it lacks; raises ImportError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ta: Any = import_module("pandas_ta_classic")

    def work(frame: Any) -> list[Any]:  # noqa: ANN401 - a DataFrame, and pandas is an extra
        high, low, close, volume = (frame[name] for name in ("high", "low", "close", "volume"))
        return [
            *(ta.ema(close, 20, talib=False), ta.ema(close, 50, talib=False), ta.sma(close, 20, talib=False)),
            *(
                ta.kama(close, 10),
                ta.slope(close, 5),
                ta.macd(close, talib=False),
                ta.ppo(close, talib=False),
            ),
            *(ta.adx(high, low, close), ta.aroon(high, low, 25, talib=False), ta.linreg(close, 20)),
            *(ta.roc(close, 10, talib=False), ta.rsi(close, 14, talib=False), ta.stoch(high, low, close)),
            *(ta.stochrsi(close), ta.cci(high, low, close, 20, talib=False)),
            *(ta.willr(high, low, close, talib=False), ta.cmo(close, talib=False)),
            *(ta.uo(high, low, close, talib=False), ta.atr(high, low, close, 14, talib=False)),
            *(ta.bbands(close, 20, talib=False), ta.mfi(high, low, close, volume, 14, talib=False)),
            *(ta.obv(close, volume, talib=False), ta.donchian(high, low, 55, 55)),
        ]

    return work


def _ema(values: F64, n: int) -> F64:
    return _smoothed(values, 2 / (n + 1))


def _smoothed(values: F64, share: float) -> F64:
    """Smooth each row, bar by bar for all symbols."""
    out = np.empty_like(values)
    out[:, 0] = values[:, 0]
    for t in range(1, values.shape[1]):
        out[:, t] = out[:, t - 1] + share * (values[:, t] - out[:, t - 1])
    return out
