"""The momentum family against TA-Lib on the same bars, and against its formulas where TA-Lib has none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import talib
from tests.unit.factors.runs import Market, Series, a_market, agree, lagged, one_tick, run, scaled, windows

from klinehub.factors.stock import BY_NAME

pytestmark = pytest.mark.timeout(120)


def bars(m: Market) -> tuple[Series, Series, Series]:
    return m["high"], m["low"], m["close"]


def stochastic(m: Market, n: int, smooth: int, signal: int) -> Series:
    """Slow %D, or with a signal of one bar slow %K, of simple averages: what TA-Lib takes if not told."""
    return talib.STOCH(*bars(m), n, smooth, slowd_period=signal)[1]


def after_first(call: Callable[[Series], Series], series: Series) -> Series:
    """Apply an average to a series whose first values are unknown."""
    known = int(np.flatnonzero(~np.isnan(series))[0])
    return np.concatenate((series[:known], call(series[known:])))


def tsi(close: Series) -> Series:
    moves = close - lagged(close)
    twice = [
        after_first(lambda x: talib.EMA(x, 13), after_first(lambda x: talib.EMA(x, 25), series))
        for series in (moves, np.abs(moves))
    ]
    return 100 * twice[0] / twice[1]


def cmo(close: Series, n: int = 14) -> Any:
    moves = windows(close - lagged(close), n)
    return 100 * moves.sum(axis=1) / np.abs(moves).sum(axis=1)


ORACLES: dict[str, Callable[[Market], Series]] = {
    "roc": lambda m: talib.ROCP(m["close"], 10),
    "momentum": lambda m: (m["close"] - lagged(m["close"], 24)) / (talib.ATR(*bars(m), 14) * np.sqrt(24)),
    "rsi": lambda m: talib.RSI(m["close"], 14),
    "stochastic_k": lambda m: stochastic(m, 14, 3, 1),
    "stochastic_d": lambda m: stochastic(m, 14, 3, 3),
    "stoch_rsi": lambda m: talib.STOCHRSI(m["close"], 14, 14, 3)[1],
    "cci": lambda m: talib.CCI(*bars(m), 20),
    "williams_r": lambda m: talib.WILLR(*bars(m), 14),
    "tsi": lambda m: tsi(m["close"]),
    "cmo": lambda m: cmo(m["close"]),
    "ultimate_oscillator": lambda m: talib.ULTOSC(*bars(m), 7, 14, 28),
}


@pytest.mark.parametrize("price", [1e-5, 1.0, 60000.1])
@pytest.mark.parametrize("name", ORACLES)
def test_a_momentum_is_its_oracles(name: str, price: float) -> None:
    market = a_market(seed=8, bars=420, price=price)
    # TA-Lib takes differences below 1e-14 for zero: it gets the same market in a smaller unit.
    oracle = ORACLES[name](scaled(market, 2.0 ** round(np.log2(1e5 / price))))

    agree(run(BY_NAME[name], market), oracle)


def test_where_nothing_moves_the_place_in_the_channel_is_its_middle() -> None:
    market = one_tick(bars=420)
    top, bottom = windows(market["high"], 14).max(axis=1), windows(market["low"], 14).min(axis=1)
    span = np.where(top > bottom, top - bottom, 1.0)
    place = np.where(top > bottom, 100 * (market["close"] - bottom) / span, 50.0)

    assert (top == bottom).any()
    agree(run(BY_NAME["williams_r"], market)[13:], place[13:] - 100)
    agree(run(BY_NAME["stochastic_k"], market)[15:], windows(place, 3).mean(axis=1)[15:])


def test_the_rsi_of_single_ticks_is_talibs() -> None:
    market = one_tick(bars=420)

    agree(run(BY_NAME["rsi"], market), talib.RSI(market["close"] * 2.0**10, 14))


@pytest.mark.parametrize(
    ("name", "options", "oracle"),
    [
        ("rsi", {"n": 2}, lambda m: talib.RSI(m["close"], 2)),
        (
            "stochastic_d",
            {"n": 5, "smooth": 1, "signal": 4},
            lambda m: stochastic(m, 5, 1, 4),
        ),
        ("stoch_rsi", {"n": 7, "span": 5, "smooth": 2}, lambda m: talib.STOCHRSI(m["close"], 7, 5, 2)[1]),
        ("cci", {"n": 7}, lambda m: talib.CCI(*bars(m), 7)),
        ("cci", {"n": 40}, lambda m: talib.CCI(*bars(m), 40)),
        (
            "ultimate_oscillator",
            {"fast": 3, "middle": 5, "slow": 9},
            lambda m: talib.ULTOSC(*bars(m), 3, 5, 9),
        ),
        ("cmo", {"n": 3}, lambda m: cmo(m["close"], 3)),
    ],
)
def test_other_options_too(name: str, options: dict[str, float], oracle: Callable[[Market], Series]) -> None:
    market = a_market(seed=10)

    agree(run(BY_NAME[name], market, **options), oracle(market))


def test_an_rsi_that_only_decays_has_no_stochastic() -> None:
    market = a_market(seed=3, bars=400)
    market["close"][200:] = market["close"][199]

    assert run(BY_NAME["stoch_rsi"], market)[220:].tolist() == [50.0] * 180
