"""A handful of small factors to name in texts; nothing of them is computed."""

from typing import Final

from klinehub.factors.define import Bar, State, Window, factor
from klinehub.factors.expr import Expr, field


@factor(window=lambda n: n + 1)
def rsi(close: Window, n: int = 14) -> float:
    return float(close[0])


@factor(window=max)
def macd(close: Window, fast: int = 12, slow: int = 26) -> float:
    return float(close[0])


@factor(window=20)
def volume_z(volume: Window) -> float:
    return float(volume[0])


@factor(state=1, warmup=20)
def decayed(state: State, close: Bar, share: float = 0.5, seed: int = 0) -> float:
    return close


@factor(window=1)
def funding(close: Window) -> float:
    return float(close[0])


@factor
def spread(n: int = 7) -> Expr:
    return rsi(n) - rsi(100 // n)


FACTORS: Final = {one.name: one for one in (rsi, macd, volume_z, decayed, funding, spread)}
CLOSE: Final = field("close")
