"""The cross family against TA-Lib on the same bars, and against its formulas where TA-Lib has none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import talib
from tests.unit.factors.runs import Market, Series, a_market, agree, changes, run, still, windows

from klinehub.factors.stock import BY_NAME

pytestmark = pytest.mark.timeout(120)


def relative_strength(m: Market) -> Any:
    excess = windows(changes(m["close"]) - changes(m["benchmark"]), 48)
    return excess.sum(axis=1) / np.sqrt((excess**2).sum(axis=1))


def correlation(m: Market) -> Series:
    returns = talib.CORREL(changes(m["close"])[1:], changes(m["benchmark"])[1:], 96)
    return np.concatenate(([np.nan], returns))


def residual_momentum(m: Market) -> Series:
    values = np.full(m["close"].size, np.nan)
    ours, theirs = windows(changes(m["close"]), 96), windows(changes(m["benchmark"]), 96)
    for i in range(96, values.size):
        design = np.column_stack((np.ones(96), theirs[i]))
        fit, *_ = np.linalg.lstsq(design, ours[i])
        values[i] = np.sqrt(96) * fit[0] / np.std(ours[i] - design @ fit)
    return values


ORACLES: dict[str, Callable[[Market], Series]] = {
    "relative_strength": relative_strength,
    "beta": lambda m: talib.BETA(m["benchmark"], m["close"], 96),
    "correlation": correlation,
    "residual_momentum": residual_momentum,
}


@pytest.mark.parametrize("price", [1e-5, 1.0, 60000.1])
@pytest.mark.parametrize("name", ORACLES)
def test_a_symbol_with_the_benchmark_is_its_oracles(name: str, price: float) -> None:
    market = a_market(seed=16, bars=300, price=price)

    agree(run(BY_NAME[name], market), ORACLES[name](market))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("relative_strength", 0.0), ("beta", 1.0), ("correlation", 1.0), ("residual_momentum", 0.0)],
)
@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_the_benchmark_is_itself_in_any_unit(name: str, expected: float, unit: float) -> None:
    market = a_market(seed=17, bars=300)
    market["close"] = market["benchmark"] * unit
    values = run(BY_NAME[name], market)[97:]

    assert values == pytest.approx(np.full(values.size, expected), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("name", ["beta", "correlation"])
def test_a_benchmark_that_stands_still_says_nothing(name: str) -> None:
    market = a_market(seed=17, bars=300) | {"benchmark": still(300)["benchmark"]}

    assert not run(BY_NAME[name], market)[97:].any()


def test_the_expressions_of_all_symbols_are_what_they_say() -> None:
    written = {name: repr(BY_NAME[name]()) for name in ("relative_strength_rank", "breadth")}

    assert written == {"relative_strength_rank": "rank(roc(96))", "breadth": "mean((ema_distance(50) > 0))"}
    assert repr(BY_NAME["relative_strength_rank"](n=24)) == "rank(roc(24))"
