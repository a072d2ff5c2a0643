"""The volatility family against TA-Lib on the same bars, and against its formulas where TA-Lib has none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import talib
from tests.unit.factors.runs import (
    Market,
    Series,
    a_market,
    agree,
    changes,
    lagged,
    one_tick,
    run,
    scaled,
    windows,
)

from klinehub.factors.stock import BY_NAME

pytestmark = pytest.mark.timeout(120)


def bars(m: Market) -> tuple[Series, Series, Series]:
    return m["high"], m["low"], m["close"]


def bands(m: Market) -> tuple[Series, Series, Series]:
    upper, middle, lower = talib.BBANDS(m["close"], 20, 2.0, 2.0)
    return upper, middle, lower


def rms(series: Series, n: int) -> Any:
    return np.sqrt((windows(series, n) ** 2).mean(axis=1))


def garman_klass(m: Market) -> Any:
    spans, moves = np.log(m["high"] / m["low"]), np.log(m["close"] / m["open"])
    return np.sqrt(windows(spans**2 / 2 - (2 * np.log(2) - 1) * moves**2, 20).mean(axis=1))


def unsteadiness(m: Market) -> Any:
    levels = windows(rms(changes(m["close"]), 20), 96)
    return levels.std(axis=1) / levels.mean(axis=1)


def expansion(m: Market) -> Any:
    steps = changes(m["close"])
    grown = np.maximum(0.0, rms(steps, 20) / rms(steps, 120) - 1)
    return grown * np.sign(m["close"] - lagged(m["close"], 20))


ORACLES: dict[str, Callable[[Market], Series]] = {
    "atr_percent": lambda m: talib.NATR(*bars(m), 14),
    "bollinger_b": lambda m: (m["close"] - bands(m)[2]) / (bands(m)[0] - bands(m)[2]),
    "bollinger_width": lambda m: (bands(m)[0] - bands(m)[2]) / bands(m)[1],
    "keltner_squeeze": lambda m: 2 * talib.STDDEV(m["close"], 20) / (1.5 * talib.ATR(*bars(m), 20)),
    "realised": lambda m: rms(changes(m["close"]), 20),
    "parkinson": lambda m: rms(np.log(m["high"] / m["low"]), 20) / np.sqrt(4 * np.log(2)),
    "garman_klass": garman_klass,
    "volatility_of_volatility": unsteadiness,
    "volatility": expansion,
}


@pytest.mark.parametrize("price", [1e-5, 1.0, 60000.1])
@pytest.mark.parametrize("name", ORACLES)
def test_a_volatility_is_its_oracles(name: str, price: float) -> None:
    market = a_market(seed=11, bars=420, price=price)
    # TA-Lib takes variances below 1e-14 for zero: it gets the same market in a smaller unit.
    oracle = ORACLES[name](scaled(market, 2.0 ** round(np.log2(1e5 / price))))

    agree(run(BY_NAME[name], market), oracle)


@pytest.mark.parametrize(("price", "tick"), [(60000.1, 0.1), (0.0000123, 1e-9)])
@pytest.mark.parametrize("name", ["bollinger_width", "realised", "parkinson", "volatility_of_volatility"])
def test_a_volatility_of_single_ticks_keeps_its_digits(name: str, price: float, tick: float) -> None:
    market = one_tick(bars=420, price=price, tick=tick)
    apart = windows(market["close"] - price, 20)
    width = 4 * apart.std(axis=1) / (price + apart.mean(axis=1))
    with np.errstate(invalid="ignore"):
        expected = width if name == "bollinger_width" else ORACLES[name](market)

    agree(run(BY_NAME[name], market), np.where(np.isnan(expected), 0.0, expected), within=1e-8)


def test_a_squeeze_is_below_one_and_a_run_above() -> None:
    market = one_tick(bars=400)
    level = np.concatenate((np.full(200, 100.0), 100.0 + np.arange(200.0)))
    market |= {"close": level, "high": level + 0.5, "low": level - 0.5}
    values = run(BY_NAME["keltner_squeeze"], market)

    assert values[199] == 0.0
    assert (values[220:] > 2.0).all()


def test_an_expansion_has_the_sign_of_its_move_and_a_contraction_none() -> None:
    values = np.concatenate([run(BY_NAME["volatility"], a_market(seed))[120:] for seed in range(5)])

    assert values.min() < -0.1
    assert values.max() > 0.1
    assert 0.2 < (values == 0.0).mean() < 0.8
