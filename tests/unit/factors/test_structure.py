"""The structure family against its definitions, each searched bar by bar in what lies before."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import talib
from tests.unit.factors.runs import Market, Series, a_market, agree, lagged, one_tick, run, windows

from klinehub.factors.stock import BY_NAME

pytestmark = pytest.mark.timeout(120)


def atr(m: Market) -> Series:
    return talib.ATR(m["high"], m["low"], m["close"], 14)


def searched(look: Callable[[int], float], bars: int, first: int = 20) -> Series:
    """What looking back from each bar finds; nothing while there are too few."""
    return np.array([math.nan if i < first else look(i) for i in range(bars)])


def position(m: Market) -> Any:
    top, bottom = windows(m["high"], 55).max(axis=1), windows(m["low"], 55).min(axis=1)
    return (m["close"] - bottom) / (top - bottom)


def breakout(m: Market) -> Any:
    top, bottom = lagged(windows(m["high"], 55).max(axis=1)), lagged(windows(m["low"], 55).min(axis=1))
    return (2 * m["close"] - top - bottom) / (top - bottom)


def breakout_age(m: Market) -> Series:
    close, high, low = m["close"], m["high"], m["low"]

    def look(i: int) -> float:
        for j in range(i, max(i - 100, 19), -1):
            if close[j] > high[j - 20 : j].max():
                return i - j + 1
            if close[j] < low[j - 20 : j].min():
                return j - i - 1
        return 0.0

    return searched(look, close.size)


def newest_swing(series: Series, n: int = 3, memory: int = 100) -> Series:
    def look(i: int) -> float:
        for j in range(i - n, max(i - memory, n - 1), -1):
            if series[j] == series[j - n : j + n + 1].max():
                return float(series[j])
        return math.nan

    return searched(look, series.size)


def gap_edge(high: Series, low: Series, memory: int = 100) -> Series:
    """The highest edge of the gaps below the price that are still open."""

    def look(i: int) -> float:
        edges = [
            low[j : i + 1].min()
            for j in range(i, max(i - memory, 1), -1)
            if low[j : i + 1].min() > high[j - 2]
        ]
        return max(edges, default=math.nan)

    return searched(look, high.size)


def fair_value_gap(m: Market) -> Any:
    above = m["close"] - gap_edge(m["high"], m["low"])
    below = m["close"] + gap_edge(-m["low"], -m["high"])
    nearer = np.where(np.nan_to_num(-below, nan=np.inf) < np.nan_to_num(above, nan=np.inf), below, above)
    return nearer / atr(m)


def block_distance(open_: Series, high: Series, low: Series, close: Series, unit: Series) -> Series:
    """How far the close is above the newest block of buyers that no close went below since."""

    def block(j: int) -> int:
        """The bar that a push at j makes a block of, or -1."""
        fallen = next((k for k in range(j - 1, max(j - 6, -1), -1) if close[k] < open_[k]), -1)
        is_push = fallen >= 0 and close[j] > high[fallen] and close[j] - open_[j] >= unit[j]
        return fallen if is_push else -1

    def look(i: int) -> float:
        for j in range(i, max(i - 100, 14), -1):
            if (k := block(j)) >= 0:
                is_gone = (close[j : i + 1] < low[k]).any()
                return math.nan if is_gone else max(float(close[i] - high[k]), 0.0)
        return math.nan

    return searched(look, close.size)


def order_block(m: Market) -> Any:
    unit = atr(m)
    above = block_distance(m["open"], m["high"], m["low"], m["close"], unit)
    below = block_distance(-m["open"], -m["low"], -m["high"], -m["close"], unit)
    nearer = np.where(np.nan_to_num(below, nan=np.inf) < np.nan_to_num(above, nan=np.inf), -below, above)
    return nearer / unit


def compression(m: Market) -> Any:
    spans = windows(m["high"] - m["low"], 7)
    widest, narrowest = spans.max(axis=1), spans.min(axis=1)
    return (widest - spans[:, -1]) / (widest - narrowest)


ORACLES: dict[str, Callable[[Market], Series]] = {
    "donchian_position": position,
    "donchian": breakout,
    "breakout_age": breakout_age,
    "swing_high_distance": lambda m: (m["close"] - newest_swing(m["high"])) / atr(m),
    "swing_low_distance": lambda m: (m["close"] + newest_swing(-m["low"])) / atr(m),
    "fair_value_gap": fair_value_gap,
    "order_block_distance": order_block,
    "range_compression": compression,
}


@pytest.mark.parametrize(("seed", "price"), [(13, 1e-5), (14, 1.0), (15, 60000.1)])
@pytest.mark.parametrize("name", ORACLES)
def test_a_structure_is_what_looking_back_finds(name: str, seed: int, price: float) -> None:
    market = a_market(seed=seed, bars=420, price=price)

    agree(run(BY_NAME[name], market), ORACLES[name](market))


@pytest.mark.parametrize(
    "name", ["breakout_age", "swing_high_distance", "swing_low_distance", "fair_value_gap"]
)
def test_a_structure_of_single_ticks_is_what_looking_back_finds(name: str) -> None:
    market = one_tick(seed=5, bars=420)
    with np.errstate(invalid="ignore"):
        expected = ORACLES[name](market)
    # Where nothing has moved at all there is no unit to measure in.
    unmoved = (atr(market) == 0.0) if name != "breakout_age" else np.zeros(420, dtype=bool)

    agree(run(BY_NAME[name], market), np.where(unmoved, 0.0, expected), within=1e-7)


def steady(level: Series) -> dict[str, Series]:
    """Bars that open at the close before, a tenth high and low of their body."""
    first = np.concatenate((level[:1], level[:-1]))
    return {
        "open": first,
        "close": level,
        "high": np.maximum(first, level) + 0.1,
        "low": np.minimum(first, level) - 0.1,
    }


def test_in_a_market_that_only_rises_nothing_was_a_swing_high_and_no_gap_is_ever_filled() -> None:
    market = steady(np.arange(100.0, 400.0))

    assert np.isnan(run(BY_NAME["swing_high_distance"], market)).all()
    assert np.isnan(run(BY_NAME["order_block_distance"], market)).all()
    assert run(BY_NAME["breakout_age"], market)[119:].tolist() == [1.0] * 181
    assert run(BY_NAME["fair_value_gap"], market)[200] == pytest.approx(1.1 / 1.2)


def test_of_many_open_gaps_eight_are_kept() -> None:
    rise, fall = np.arange(100.0, 260.0), np.arange(259.0, 240.0, -0.25)
    market = steady(np.concatenate((rise, fall)))
    values = run(BY_NAME["fair_value_gap"], market)
    fallen = [i for i in range(rise.size, values.size) if np.isnan(values[i]) or values[i] < 0.0]

    # The ninth gap from the top was dropped when a newer one came, although the price has not been there.
    assert 248.0 < market["close"][fallen[0]] < 253.0


def test_levels_and_breakouts_are_forgotten() -> None:
    level = 100.0 + np.concatenate((np.zeros(150), np.ones(200))) + np.resize([0.0, 0.01], 350)
    values = run(BY_NAME["breakout_age"], steady(level))

    assert values[150:250].tolist() == [float(k) for k in range(1, 101)]
    assert values[250] == 0.0


def test_a_swing_is_known_so_many_bars_after_its_peak() -> None:
    level = 100.0 + np.concatenate((np.arange(110.0), 109.0 - np.arange(90.0)))
    values = run(BY_NAME["swing_high_distance"], steady(level))

    assert np.isnan(values[:112]).all()
    assert (values[112:] < 0.0).all()


def test_an_order_block_holds_until_a_close_below_it() -> None:
    calm = np.resize([100.0, 100.05], 230)
    level = np.concatenate((calm, [99.0, 103.0, 104.0, 101.0, 99.5, 98.0, 98.0]))
    market = steady(level)
    values = run(BY_NAME["order_block_distance"], market)[230:]
    unit = atr(market)[230:]

    # The bar from 100.05 to 99 is the block (98.9 to 100.15), the one to 103 its push.
    assert values[1:4] == pytest.approx([2.85 / unit[1], 3.85 / unit[2], 0.85 / unit[3]])
    assert values[4] == 0.0
    # Then it is gone, and the bar from 103 to 104 is what sellers pushed away from.
    assert values[5] == pytest.approx((98.0 - 102.9) / unit[5])


def test_the_narrowest_bar_of_seven_is_one_and_the_widest_nothing() -> None:
    market = steady(np.cumsum(np.array([0.0, 5.0, 4.0, 3.0, 6.0, 2.0, 4.0, 1.0, 9.0, 9.0])) + 100.0)
    values = run(BY_NAME["range_compression"], market)

    assert values[7:9].tolist() == [1.0, 0.0]
