"""The volume family against TA-Lib on the same bars, and against its formulas where TA-Lib has none."""

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


def summed(series: Series, n: int) -> Any:
    return windows(series, n).sum(axis=1)


def volume_z(m: Market) -> Any:
    before = windows(lagged(m["volume"]), 96)
    z = (m["volume"] - before.mean(axis=1)) / before.std(axis=1)
    return np.maximum(0.0, z) * np.sign(m["close"] - m["open"])


def cvd_slope(m: Market) -> Any:
    delta = np.cumsum(2 * m["taker_quote"] - m["quote_volume"])
    return talib.LINEARREG_SLOPE(delta, 20) / talib.SMA(m["quote_volume"], 20)


def money_flow(m: Market) -> Any:
    flow = np.diff(talib.AD(m["high"], m["low"], m["close"], m["volume"]), prepend=0.0)
    return summed(flow, 20) / summed(m["volume"], 20)


def vwap_distance(m: Market) -> Any:
    mean = summed(m["quote_volume"], 96) / summed(m["volume"], 96)
    return (m["close"] - mean) / mean


def trade_size(m: Market) -> Series:
    mean = summed(lagged(m["quote_volume"]), 96) / summed(lagged(m["trades"]), 96)
    with np.errstate(invalid="ignore"):
        sizes = m["quote_volume"] / m["trades"] / mean
    return np.where(m["trades"] == 0.0, 1.0, sizes)


def amihud(m: Market) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        impact = 1e6 * np.abs(changes(m["close"])) / m["quote_volume"]
    impact[m["quote_volume"] == 0.0] = 0.0
    counts = summed((m["quote_volume"] > 0.0).astype(float), 96)
    return np.divide(summed(impact, 96), counts, out=np.full(counts.size, np.nan), where=counts > 0.0)


ORACLES: dict[str, Callable[[Market], Series]] = {
    "volume_z": volume_z,
    "volume_surge": lambda m: m["quote_volume"] / lagged(talib.SMA(m["quote_volume"], 96)),
    "obv_slope": lambda m: (
        talib.LINEARREG_SLOPE(talib.OBV(m["close"], m["volume"]), 20) / talib.SMA(m["volume"], 20)
    ),
    "cvd_slope": cvd_slope,
    "mfi": lambda m: talib.MFI(m["high"], m["low"], m["close"], m["volume"], 14),
    "chaikin_money_flow": money_flow,
    "vwap_distance": vwap_distance,
    "taker_ratio": lambda m: summed(m["taker_quote"], 5) / summed(m["quote_volume"], 5),
    "taker_delta": lambda m: (
        summed(2 * m["taker_quote"] - m["quote_volume"], 20) / summed(m["quote_volume"], 20)
    ),
    "trade_size": trade_size,
    "amihud": amihud,
}


@pytest.mark.parametrize("price", [1e-5, 1.0, 60000.1])
@pytest.mark.parametrize("name", ORACLES)
def test_a_flow_is_its_oracles(name: str, price: float) -> None:
    market = a_market(seed=12, bars=420, price=price)
    # TA-Lib takes flows below 1 for none: it gets the same market in a smaller unit, which amihud minds.
    unit = 1.0 if name == "amihud" else 2.0 ** round(np.log2(1e5 / price))

    agree(run(BY_NAME[name], market), ORACLES[name](scaled(market, unit)))


NEUTRAL = {"taker_ratio": 0.5, "volume_surge": 1.0, "trade_size": 1.0, "mfi": 50.0}


@pytest.mark.parametrize("name", ["taker_ratio", "taker_delta", "vwap_distance", "chaikin_money_flow"])
def test_where_nothing_was_traded_a_flow_is_neutral_and_elsewhere_its_oracles(name: str) -> None:
    market = one_tick(bars=420)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = ORACLES[name](market)
    idle = ~np.isfinite(expected)
    assert idle[30:].any() or name == "vwap_distance"

    agree(run(BY_NAME[name], market), np.where(idle, NEUTRAL.get(name, 0.0), expected), within=1e-7)


def test_nobody_knows_how_liquid_a_market_is_that_does_not_trade() -> None:
    market = a_market(seed=2, bars=300)
    market["quote_volume"][100:250] = 0.0
    values = run(BY_NAME["amihud"], market)

    assert np.flatnonzero(np.isnan(values[96:])).tolist() == list(range(195 - 96, 250 - 96))


def test_volume_of_one_size_is_no_surge() -> None:
    market = a_market(seed=2, bars=300)
    market["volume"] = np.full(300, 0.1)

    assert not run(BY_NAME["volume_z"], market)[96:].any()


def test_the_slope_of_obv_is_one_and_a_half_at_most() -> None:
    market = a_market(seed=2, bars=300)
    market |= {"close": np.arange(1.0, 301.0), "volume": np.full(300, 7.0)}
    market["volume"][200:] = 0.0
    market["volume"][250] = 1.0
    values = run(BY_NAME["obv_slope"], market)

    assert values[100] == pytest.approx(1.0)
    assert values[230] == 0.0
    assert 1.5 < values[250:270].max() < 1.51
