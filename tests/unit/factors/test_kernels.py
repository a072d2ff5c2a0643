import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import talib

from klinehub.factors import kernels
from klinehub.factors.kernels import Series
from klinehub.factors.library import STOCK
from klinehub.panel.block import Block

Market = Callable[..., Block]
Bars = tuple[Series, Series, Series]

pytestmark = pytest.mark.timeout(120)


def cuts(block: Block, length: int) -> list[Bars]:
    return [
        (h[-length:], lo[-length:], c[-length:])
        for h, lo, c in zip(block.high, block.low, block.close, strict=True)
    ]


def last(series: npt.NDArray[np.float64]) -> float:
    return float(series[-1])


def near(expected: float) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=1e-12)


def oracle_histogram(close: Series) -> float:
    return last(talib.MACD(close, 12, 26, 9)[2])


@pytest.mark.parametrize("extra", [0, 1, 37, 200])
@pytest.mark.parametrize("length", [20, 50])
def test_ema_is_talibs_on_the_same_window(market: Market, length: int, extra: int) -> None:
    for _, _, close in cuts(market(), length + extra):
        assert kernels.ema(close, length) == pytest.approx(last(talib.EMA(close, length)), rel=1e-12)


@pytest.mark.parametrize("bars", [15, 16, 120, 240])
def test_atr_is_talibs_on_the_same_window(market: Market, bars: int) -> None:
    for window in cuts(market(), bars):
        assert kernels.atr(*window, 14) == pytest.approx(last(talib.ATR(*window, 14)), rel=1e-12)


@pytest.mark.parametrize("bars", [34, 35, 150, 300])
def test_the_macd_histogram_is_talibs_on_the_same_window(market: Market, bars: int) -> None:
    for window in cuts(market(), bars):
        close = window[2]

        assert kernels.macd_histogram(close) == pytest.approx(
            oracle_histogram(close), rel=1e-9, abs=1e-13 * close[-1]
        )


@pytest.mark.parametrize("bars", [15, 16, 120])
def test_rsi_is_talibs_on_the_same_window(market: Market, bars: int) -> None:
    for _, _, close in cuts(market(), bars):
        assert kernels.rsi(close) == pytest.approx(last(talib.RSI(close, 14)), rel=1e-12)


@pytest.mark.parametrize("bars", [28, 29, 180])
def test_adx_and_both_di_are_talibs_on_the_same_window(market: Market, bars: int) -> None:
    for window in cuts(market(), bars):
        expected = [last(call(*window, 14)) for call in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI)]

        assert kernels.directional(*window, 14) == pytest.approx(expected, rel=1e-10)


def test_the_factors_made_of_them_are_what_their_formula_says(market: Market) -> None:
    for window in cuts(market(), 240):
        high, low, close = window
        unit = last(talib.ATR(high, low, close, 14))
        plus, minus = last(talib.PLUS_DI(*window, 14)), last(talib.MINUS_DI(*window, 14))
        apart = last(talib.EMA(close, 20)) - last(talib.EMA(close, 50))

        assert kernels.trend(*window) == near(apart / unit)
        assert kernels.macd(*window) == near(oracle_histogram(close) / unit)
        assert kernels.adx(*window) == near(last(talib.ADX(*window, 14)) * (plus - minus) / (plus + minus))
        assert kernels.momentum(*window) == near((close[-1] - close[-25]) / (unit * math.sqrt(24)))


def test_donchian_is_the_place_in_the_channel_of_the_bars_before(market: Market) -> None:
    for high, low, close in cuts(market(), 56):
        top, bottom = talib.MAX(high[:-1], 55)[-1], talib.MIN(low[:-1], 55)[-1]
        expected = 2 * (close[-1] - bottom) / (top - bottom) - 1

        assert kernels.donchian(high, low, close) == near(expected)


def test_a_close_above_the_channel_is_above_one_and_at_its_low_minus_one() -> None:
    high, low = np.array([10.0, 12.0, 20.0]), np.array([9.0, 8.0, 8.0])

    assert kernels.donchian(high, low, np.array([9.0, 9.0, 13.0])) == 1.5
    assert kernels.donchian(high, low, np.array([9.0, 9.0, 8.0])) == -1.0


def test_volume_z_is_the_z_score_with_the_bars_direction_and_nothing_for_a_quiet_bar(market: Market) -> None:
    block = market(symbols=40)
    for row in range(40):
        first, close, volume = (field[row, -97:] for field in (block.open, block.close, block.volume))
        z = (volume[-1] - volume[:-1].mean()) / volume[:-1].std()
        expected = max(0.0, z) * np.sign(close[-1] - first[-1])

        assert kernels.volume_z(first, close, volume) == near(expected)


def test_volume_of_one_size_is_no_surge_although_its_mean_is_rounded() -> None:
    price, volume = np.linspace(1.0, 2.0, 97), np.full(97, 0.1)

    assert kernels.volume_z(price, price + 0.1, volume) == 0.0


def test_taker_delta_is_the_share_of_the_net_buys(market: Market) -> None:
    block = market()
    for quote, bought in zip(block.quote_volume[:, -20:], block.taker_quote[:, -20:], strict=True):
        sold = quote - bought
        expected = (bought.sum() - sold.sum()) / quote.sum()

        assert kernels.taker_delta(quote, bought) == near(expected)


def test_relative_strength_is_the_excess_return_over_its_root_sum_of_squares(market: Market) -> None:
    closes = market().close[:, -49:]
    for close in closes[1:]:
        excess = np.diff(close) / close[:-1] - np.diff(closes[0]) / closes[0][:-1]
        expected = excess.sum() / np.sqrt((excess**2).sum())

        assert kernels.relative_strength(close, closes[0]) == pytest.approx(expected, rel=1e-8, abs=1e-10)


def test_the_benchmark_is_as_strong_as_itself_at_any_price_unit(market: Market) -> None:
    close = market().close[3, -49:]

    assert kernels.relative_strength(close, close) == 0.0
    assert kernels.relative_strength(close * 1000, close) == 0.0


def test_volatility_is_the_expansion_with_the_moves_sign_and_nothing_for_a_contraction(
    market: Market,
) -> None:
    values = []
    for close in market(symbols=40).close[:, -121:]:
        steps = np.diff(close) / close[:-1]
        ratio = np.sqrt((steps[-20:] ** 2).mean() / (steps**2).mean())
        values.append(kernels.volatility(close))

        assert values[-1] == pytest.approx(
            max(0.0, ratio - 1) * np.sign(close[-1] - close[-21]), rel=1e-8, abs=1e-11
        )
    assert min(values) < 0.0 < max(values)


@pytest.mark.parametrize(
    ("call", "fields", "least"),
    [
        (kernels.trend, 3, 50),
        (kernels.macd, 3, 34),
        (kernels.rsi, 1, 15),
        (kernels.adx, 3, 28),
        (kernels.momentum, 3, 25),
        (kernels.donchian, 3, 2),
        (kernels.volume_z, 3, 3),
        (kernels.relative_strength, 2, 2),
        (kernels.volatility, 1, 21),
    ],
)
def test_a_kernel_below_its_least_bars_gives_nan(call: Callable[..., float], fields: int, least: int) -> None:
    bars = np.linspace(1.0, 2.0, 60)

    assert math.isfinite(call(*[bars[:least]] * fields))
    assert math.isnan(call(*[bars[: least - 1]] * fields))


@pytest.mark.parametrize(
    ("call", "fields", "seed_bars"),
    [
        (kernels.trend, 3, 50),
        (kernels.macd, 3, 34),
        (kernels.rsi, 1, 15),
        (kernels.adx, 3, 28),
        (kernels.momentum, 3, 25),
    ],
)
def test_what_is_left_of_the_seed_is_at_most_what_the_library_states(
    market: Market,
    call: Callable[..., float],
    fields: int,
    seed_bars: int,
) -> None:
    stated = next(item for item in STOCK if item.kernel is call)
    one, other = (
        market(seed=5, symbols=200, bars=stated.window),
        market(seed=6, symbols=200, bars=stated.window),
    )
    early = late = 0.0
    for row in range(200):
        a = [field[row] for field in (one.high, one.low, one.close)][-fields:]
        scale = a[-1][seed_bars - 1] / other.close[row, seed_bars - 1]
        seeds = [field[row, :seed_bars] * scale for field in (other.high, other.low, other.close)][-fields:]
        b = [np.concatenate((seed, bars[seed_bars:])) for seed, bars in zip(seeds, a, strict=True)]
        early += abs(call(*(x[:seed_bars] for x in a)) - call(*(x[:seed_bars] for x in b)))
        late += abs(call(*a) - call(*b))

    assert late > 0.0
    assert late <= stated.residue * early
