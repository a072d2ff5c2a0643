"""The trend family against TA-Lib on the same bars, and against its formulas where TA-Lib has none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import talib
from tests.unit.factors.runs import Market, Series, a_market, agree, lagged, one_tick, run, scaled, windows

from klinehub.factors.stock import BY_NAME

pytestmark = pytest.mark.timeout(120)

# TA-Lib's number for exponential averages.
EMAS: Any = 1


def distance(close: Series, mean: Series) -> Series:
    return (close - mean) / mean


def slope(mean: Series) -> Series:
    return (mean - lagged(mean, 5)) / (5 * lagged(mean, 5))


def directed(m: Market) -> Series:
    strength, plus, minus = (
        call(m["high"], m["low"], m["close"], 14) for call in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI)
    )
    return strength * (plus - minus) / (plus + minus)


def atr(m: Market, n: int = 14) -> Series:
    return talib.ATR(m["high"], m["low"], m["close"], n)


def r2(close: Series, n: int = 20) -> Series:
    place = np.arange(n) - (n - 1) / 2
    apart = windows(close, n) - windows(close, n).mean(axis=1, keepdims=True)
    squared: Series = (apart @ place) ** 2 / ((apart**2).sum(axis=1) * (place @ place))
    return squared


def cloud_distance(m: Market) -> Series:
    fast, slow, long = ((talib.MAX(m["high"], n) + talib.MIN(m["low"], n)) / 2 for n in (9, 26, 52))
    edges = np.array([lagged((fast + slow) / 2, 26), lagged(long, 26)])
    top, bottom, close = edges.max(axis=0), edges.min(axis=0), m["close"]
    return np.where(close > top, close - top, np.where(close < bottom, close - bottom, 0.0)) / close


def supertrend(m: Market) -> Series:
    """The usual recipe: bands, then the final bands, then the line that is in force."""
    close, unit = m["close"], atr(m, 10)
    middle = (m["high"] + m["low"]) / 2
    basic_upper, basic_lower = middle + 3 * unit, middle - 3 * unit
    upper, lower, line = basic_upper.copy(), basic_lower.copy(), basic_upper.copy()
    for i in range(11, close.size):
        if not (basic_upper[i] < upper[i - 1] or close[i - 1] > upper[i - 1]):
            upper[i] = upper[i - 1]
        if not (basic_lower[i] > lower[i - 1] or close[i - 1] < lower[i - 1]):
            lower[i] = lower[i - 1]
        was_down = line[i - 1] == upper[i - 1]
        is_down = close[i] <= upper[i] if was_down else close[i] < lower[i]
        line[i] = upper[i] if is_down else lower[i]
    return (close - line) / unit


ORACLES: dict[str, Callable[[Market], Series]] = {
    "ema_distance": lambda m: distance(m["close"], talib.EMA(m["close"], 50)),
    "sma_distance": lambda m: distance(m["close"], talib.SMA(m["close"], 50)),
    "kama_distance": lambda m: distance(m["close"], talib.KAMA(m["close"], 10)),
    "ema_slope": lambda m: slope(talib.EMA(m["close"], 20)),
    "sma_slope": lambda m: slope(talib.SMA(m["close"], 20)),
    "trend": lambda m: (talib.EMA(m["close"], 20) - talib.EMA(m["close"], 50)) / atr(m),
    "macd_line": lambda m: talib.MACD(m["close"], 12, 26, 9)[0] / m["close"],
    "macd": lambda m: talib.MACD(m["close"], 12, 26, 9)[2] / atr(m),
    "ppo": lambda m: talib.PPO(m["close"], 12, 26, EMAS),
    "adx": lambda m: talib.ADX(m["high"], m["low"], m["close"], 14),
    "adx_direction": directed,
    "di_spread": lambda m: (
        talib.PLUS_DI(m["high"], m["low"], m["close"], 14)
        - talib.MINUS_DI(m["high"], m["low"], m["close"], 14)
    ),
    "aroon_oscillator": lambda m: talib.AROONOSC(m["high"], m["low"], 25),
    "supertrend": supertrend,
    "ichimoku_distance": cloud_distance,
    "linreg_slope": lambda m: talib.LINEARREG_SLOPE(m["close"], 20) / m["close"],
    "linreg_r2": lambda m: r2(m["close"]),
}


@pytest.mark.parametrize("price", [1e-5, 1.0, 60000.1])
@pytest.mark.parametrize("name", ORACLES)
def test_a_trend_is_its_oracles(name: str, price: float) -> None:
    market = a_market(seed=7, bars=420, price=price)
    # TA-Lib takes differences below 1e-14 for zero: it gets the same market in a smaller unit.
    oracle = ORACLES[name](scaled(market, 2.0 ** round(np.log2(1e5 / price))))

    agree(run(BY_NAME[name], market), oracle)


@pytest.mark.parametrize(
    "name", ["ema_distance", "kama_distance", "adx", "aroon_oscillator", "ichimoku_distance"]
)
def test_a_trend_of_single_ticks_is_its_oracles(name: str) -> None:
    market = one_tick(bars=420)
    values, expected = run(BY_NAME[name], market), ORACLES[name](scaled(market, 2.0**10))
    # Where nothing moves at all the formula has no value, and the factor its neutral one.
    expected = np.where(np.isnan(expected), 0.0, expected)

    agree(values, expected, within=1e-7)


@pytest.mark.parametrize(
    ("name", "options", "oracle"),
    [
        ("ema_distance", {"n": 1}, lambda m: m["close"] * 0.0),
        ("ema_distance", {"n": 9}, lambda m: distance(m["close"], talib.EMA(m["close"], 9))),
        ("kama_distance", {"n": 30}, lambda m: distance(m["close"], talib.KAMA(m["close"], 30))),
        (
            "macd",
            {"fast": 5, "slow": 13, "signal": 4, "n": 7},
            lambda m: talib.MACD(m["close"], 5, 13, 4)[2] / atr(m, 7),
        ),
        ("adx", {"n": 7}, lambda m: talib.ADX(m["high"], m["low"], m["close"], 7)),
        ("aroon_oscillator", {"n": 14}, lambda m: talib.AROONOSC(m["high"], m["low"], 14)),
        ("linreg_slope", {"n": 100}, lambda m: talib.LINEARREG_SLOPE(m["close"], 100) / m["close"]),
        ("linreg_r2", {"n": 3}, lambda m: r2(m["close"], 3)),
    ],
)
def test_other_options_too(name: str, options: dict[str, float], oracle: Callable[[Market], Series]) -> None:
    market = a_market(seed=9)

    agree(run(BY_NAME[name], market, **options), oracle(market))
