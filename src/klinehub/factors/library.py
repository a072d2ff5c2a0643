"""The stock factors, their weights in the default score and the table that documents them."""

from collections.abc import Collection
from typing import Final

from klinehub.errors import UnknownName
from klinehub.factors import kernels
from klinehub.factors.engine import Factor

HLC: Final = ("high", "low", "close")
ATR_UNITS: Final = "ATR(14) of its timeframe"
WILDER: Final = "Wilder, New Concepts in Technical Trading Systems (1978); seeds as TA-Lib"


def _trend(name: str, title: str, step: int, weight: float) -> Factor:
    """Make the EMA trend of one timeframe; they differ in nothing but the bars they read."""
    return Factor(
        name=name,
        title=title,
        formula="(EMA(20) - EMA(50)) / ATR(14)",
        unit=ATR_UNITS,
        range="unbounded, mostly -4 to 4",
        source="moving-average crossover; EMA seeded with its first mean as TA-Lib",
        fields=HLC,
        window=240,
        kernel=kernels.trend,
        scale=1.5,
        weight=weight,
        residue=9e-4,
        step=step,
    )


STOCK: Final[tuple[Factor, ...]] = (
    _trend("trend", "EMA trend", 0, 14.0),
    _trend("trend_larger", "EMA trend, next larger timeframe", 1, 12.0),
    _trend("trend_smaller", "EMA trend, next smaller timeframe", -1, 8.0),
    Factor(
        name="macd",
        title="MACD histogram",
        formula="(MACD(12, 26) - EMA(9) of it) / ATR(14)",
        unit=ATR_UNITS,
        range="unbounded, mostly -1 to 1",
        source="Appel's MACD; seeds as TA-Lib",
        fields=HLC,
        window=150,
        kernel=kernels.macd,
        scale=0.3,
        weight=8.0,
        residue=4e-4,
    ),
    Factor(
        name="rsi",
        title="Relative strength index",
        formula="RSI(14)",
        unit="points",
        range="0 to 100; 50 where the price never moved",
        source=WILDER,
        fields=("close",),
        window=120,
        kernel=kernels.rsi,
        centre=50.0,
        scale=15.0,
        weight=8.0,
        residue=5e-4,
    ),
    Factor(
        name="adx",
        title="ADX with direction",
        formula="ADX(14) * (DI+ - DI-) / (DI+ + DI-)",
        unit="points",
        range="-100 to 100",
        source=WILDER,
        fields=HLC,
        window=180,
        kernel=kernels.adx,
        scale=15.0,
        weight=8.0,
        residue=2e-4,
    ),
    Factor(
        name="momentum",
        title="ATR-normalised momentum",
        formula="(close - close 24 bars ago) / (ATR(14) * sqrt(24))",
        unit="ATR(14) times the root of the bars",
        range="unbounded, mostly -2 to 2",
        source="time-series momentum in units of risk",
        fields=HLC,
        window=120,
        kernel=kernels.momentum,
        scale=0.8,
        weight=10.0,
        residue=4.2e-4,
    ),
    Factor(
        name="donchian",
        title="Donchian breakout",
        formula="(close - middle) / (half the width) of the high-low channel of the 55 bars before",
        unit="half channels",
        range="unbounded; beyond -1 or 1 is a breakout",
        source="Donchian channel, the bar itself left out",
        fields=HLC,
        window=56,
        kernel=kernels.donchian,
        scale=1.0,
        weight=10.0,
    ),
    Factor(
        name="volume_z",
        title="Volume surge with direction",
        formula="max(0, (volume - mean) / deviation of the 96 bars before) * sign(close - open)",
        unit="standard deviations",
        range="unbounded; 0 below the mean, since a quiet bar has no direction",
        source="z-score, population deviation",
        fields=("open", "close", "volume"),
        window=97,
        kernel=kernels.volume_z,
        scale=2.0,
        weight=6.0,
    ),
    Factor(
        name="taker_delta",
        title="Taker-buy delta",
        formula="(taker buys - taker sells) / turnover, each summed over 20 bars",
        unit="share of the turnover",
        range="-1 to 1",
        source="the exchange's taker fields",
        fields=("quote_volume", "taker_quote"),
        window=20,
        kernel=kernels.taker_delta,
        scale=0.1,
        weight=6.0,
    ),
    Factor(
        name="relative_strength",
        title="Relative strength to BTC",
        formula="sum(d) / sqrt(sum(d * d)), d = return - BTC's return, 48 returns",
        unit="like a t statistic",
        range="-6.93 to 6.93; 0 for BTC itself",
        source="excess return in units of its own noise",
        fields=("close", "benchmark"),
        window=49,
        kernel=kernels.relative_strength,
        scale=1.5,
        weight=6.0,
    ),
    Factor(
        name="volatility",
        title="Volatility expansion with direction",
        formula="max(0, rv(20) / rv(120) - 1) * sign(close - close 20 bars ago), rv = rms of returns",
        unit="ratio less one",
        range="-1.45 to 1.45; 0 while volatility contracts",
        source="realised volatility of simple returns",
        fields=("close",),
        window=121,
        kernel=kernels.volatility,
        scale=0.4,
        weight=4.0,
    ),
)

BY_NAME: Final[dict[str, Factor]] = {item.name: item for item in STOCK}
# What an exchange records of each trade and a plain price history lacks.
FLOW_FIELDS: Final = frozenset({"trades", "taker_base", "taker_quote"})


def stock_factor(name: str) -> Factor:
    """Look a stock factor up by name; raises UnknownName with the nearest valid one."""
    try:
        return BY_NAME[name]
    except KeyError:
        raise UnknownName("factor", name, BY_NAME) from None


def reading(fields: Collection[str]) -> frozenset[str]:
    """Name the stock factors that read any of *fields*: those to leave out where a field is not real."""
    return frozenset(item.name for item in STOCK if not set(fields).isdisjoint(item.fields))


def factor_table() -> str:
    """Print the stock factors as the Markdown table of docs/scoring.md."""
    place = {0: "scan's", 1: "next larger", -1: "next smaller"}
    lines = [
        "| factor | weight | timeframe | window | formula | unit | range | scale | seed left | source |",
        "|---|---:|---|---:|---|---|---|---:|---:|---|",
    ]
    for item in STOCK:
        centre = f" around {item.centre:g}" if item.centre else ""
        cells = (f"`{item.name}`<br>{item.title}", f"{item.weight:g}", place[item.step], f"{item.window}")
        more = (item.formula, item.unit, item.range, f"{item.scale:g}{centre}", f"{item.residue:g}")
        lines.append("| " + " | ".join((*cells, *more, item.source)) + " |")
    return "\n".join(lines) + "\n"
