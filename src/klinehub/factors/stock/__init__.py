"""The stock factors: one module a family, each factor written as a user would write it."""

from typing import Final

from klinehub.errors import UnknownName
from klinehub.factors.define import Factor
from klinehub.factors.stock import trend

# The order of the catalogue: trend, momentum, volatility, volume, structure, cross; in each as it is taught.
STOCK: Final[tuple[Factor, ...]] = (
    trend.ema_distance,
    trend.sma_distance,
    trend.kama_distance,
    trend.ema_slope,
    trend.sma_slope,
    trend.trend,
    trend.macd_line,
    trend.macd,
    trend.ppo,
    trend.adx,
    trend.adx_direction,
    trend.di_spread,
    trend.aroon_oscillator,
    trend.supertrend,
    trend.ichimoku_distance,
    trend.linreg_slope,
    trend.linreg_r2,
)

BY_NAME: Final[dict[str, Factor]] = {item.name: item for item in STOCK}


def stock_factor(name: str) -> Factor:
    """Look a stock factor up by name; raises UnknownName with the nearest valid one."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise UnknownName("factor", name, BY_NAME) from None
