"""Made-up markets, and runs of stepped factors over them in plain Python, where a division by zero raises."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from klinehub.factors.define import Factor
from klinehub.panel.view import PLANES

Series = npt.NDArray[np.float64]
Market = Mapping[str, Series]

PRICES: Final = ("open", "high", "low", "close")
TURNOVERS: Final = ("quote_volume", "taker_quote")
_GUARD: Final = 8


def a_market(seed: int = 1, bars: int = 500, price: float = 100.0) -> dict[str, Series]:
    """One symbol's bars, some without a trade, some in a row, and a benchmark that it half follows."""
    rng = np.random.default_rng(seed)
    common, own = rng.standard_t(4, (2, bars + 1)) * 0.004
    quiet = rng.random(bars) < 0.05
    steps = own + 0.5 * common
    steps[1:][quiet] = 0.0
    level = np.exp(np.cumsum(steps)) * price
    first, close = level[:-1].copy(), level[1:].copy()
    wick = np.where(quiet, 0.0, rng.random((2, bars)) * 0.004)
    volume = np.where(quiet, 0.0, np.exp(rng.normal(5, 1, bars)))
    bought = rng.random(bars)
    return {
        "open": first,
        "high": np.maximum(first, close) * (1 + wick[0]),
        "low": np.minimum(first, close) * (1 - wick[1]),
        "close": close,
        "volume": volume,
        "quote_volume": volume * close,
        "trades": np.ceil(volume / 3),
        "taker_base": volume * bought,
        "taker_quote": volume * close * bought,
        "benchmark": np.exp(np.cumsum(common[1:])) * 60000.1,
    }


def still(bars: int = 500, price: float = 60000.1, volume: float = 0.0) -> dict[str, Series]:
    """One symbol whose price never moves."""
    fields = {name: np.full(bars, price) for name in (*PRICES, "benchmark")}
    return {name: np.full(bars, volume) for name in PLANES} | fields


def scaled(market: Market, factor: float) -> dict[str, Series]:
    """The market with its symbol quoted in another unit."""
    return {
        name: series * factor if name in PRICES or name in TURNOVERS else series
        for name, series in market.items()
    }


def run(item: Factor, market: Market, **options: float) -> Series:
    """The values of one run from the first bar on; NaN where they do not count yet."""
    chosen = tuple(item._chosen((), options).values())
    size, need = item.size(chosen), item.lookback(chosen)
    state = np.zeros(size + _GUARD)
    columns = zip(*(market[name].tolist() for name in item.fields), strict=True)
    values = np.array([item.function(state, *row, *chosen) for row in columns], dtype=np.float64)
    assert not state[size:].any(), f"{item.name} writes beyond its state"
    values[:need] = np.nan
    return values


def one_tick(seed: int = 1, bars: int = 300, price: float = 60000.1, tick: float = 0.1) -> dict[str, Series]:
    """One symbol that moves a tick at most, with long stretches in which nothing is traded."""
    rng = np.random.default_rng(seed)
    market = a_market(seed, bars, price)
    traded = np.repeat(rng.random(bars // 30 + 1) < 0.6, 30)[:bars]
    steps = np.concatenate(([0], np.where(traded, rng.integers(-1, 2, bars), 0)))
    level = price + tick * np.cumsum(steps)
    wick = np.where(traded, rng.integers(0, 2, (2, bars)), 0) * tick
    first, close = level[:-1], level[1:]
    moved = {"open": first, "close": close}
    moved |= {"high": np.maximum(first, close) + wick[0], "low": np.minimum(first, close) - wick[1]}
    counted = {name: np.where(traded, market[name], 0.0) for name in PLANES[4:]}
    return {**moved, **counted, "benchmark": market["benchmark"]}


def windows(series: Series, n: int) -> Series:
    """The last n values of each bar, [bars, n]; NaN where there are fewer."""
    padded = np.concatenate((np.full(n - 1, np.nan), series))
    return np.lib.stride_tricks.sliding_window_view(padded, n)


def lagged(series: Series, bars: int = 1) -> Series:
    return np.concatenate((np.full(bars, np.nan), series[:-bars]))


def changes(series: Series) -> Series:
    """Simple returns, NaN at first."""
    before = lagged(series)
    return (series - before) / before


def agree(values: Series, expected: Series, within: float = 1e-9) -> None:
    """Both are known at the same bars once the values count, and the same but for rounding."""
    counted = slice(int(np.flatnonzero(~np.isnan(values))[0]), None)
    ours, theirs = values[counted], expected[counted]
    assert np.isnan(ours).tolist() == np.isnan(theirs).tolist()
    size = np.maximum(np.abs(theirs), np.nanmean(np.abs(theirs)))
    assert np.nanmax(np.abs(ours - theirs) / np.where(size > 0.0, size, 1.0)) <= within
