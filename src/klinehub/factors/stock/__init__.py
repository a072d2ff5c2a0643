"""The stock factors: one module a family, each factor written as a user would write it."""

from typing import Final

from klinehub.errors import UnknownName
from klinehub.factors.define import Factor
from klinehub.factors.stock import cross, market, momentum, spot, structure, trend, volatility, volume

# The order of the catalogue; in each family as it is taught.
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
    momentum.roc,
    momentum.momentum,
    momentum.rsi,
    momentum.stochastic_k,
    momentum.stochastic_d,
    momentum.stoch_rsi,
    momentum.cci,
    momentum.williams_r,
    momentum.tsi,
    momentum.cmo,
    momentum.ultimate_oscillator,
    volatility.atr_percent,
    volatility.bollinger_b,
    volatility.bollinger_width,
    volatility.keltner_squeeze,
    volatility.realised,
    volatility.parkinson,
    volatility.garman_klass,
    volatility.volatility_of_volatility,
    volatility.volatility,
    volume.volume_z,
    volume.volume_surge,
    volume.obv_slope,
    volume.cvd_slope,
    volume.mfi,
    volume.chaikin_money_flow,
    volume.vwap_distance,
    volume.taker_ratio,
    volume.taker_delta,
    volume.trade_size,
    volume.amihud,
    structure.donchian_position,
    structure.donchian,
    structure.breakout_age,
    structure.swing_high_distance,
    structure.swing_low_distance,
    structure.fair_value_gap,
    structure.order_block_distance,
    structure.range_compression,
    structure.day_open_distance,
    structure.week_open_distance,
    cross.relative_strength,
    cross.beta,
    cross.correlation,
    cross.residual_momentum,
    cross.relative_strength_rank,
    cross.breadth,
    market.funding,
    market.funding_annual,
    market.funding_z,
    market.funding_rank,
    market.basis,
    market.open_interest_change,
    market.turnover,
    market.open_interest_turnover,
    spot.spot_basis,
    spot.spot_volume_share,
    spot.spot_led_volume,
)

BY_NAME: Final[dict[str, Factor]] = {item.name: item for item in STOCK}


def stock_factor(name: str) -> Factor:
    """Look a stock factor up by name; raises UnknownName with the nearest valid one."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise UnknownName("factor", name, BY_NAME) from None
