from collections.abc import Callable
from typing import Self

import numpy as np
import pytest

from klinehub.domain.timeframe import Timeframe, timeframe
from klinehub.panel.block import Block

# A Sunday; 5m bars from here make whole 15m, 1h and 1d bars.
START = 1_767_484_800_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "1000PEPEUSDT")
# 250 hours of 5m bars: enough for the longest window on 1h.
BARS = 12 * 250


class BarsPanel:
    """Closed bars of one timeframe in plain arrays [9 fields, symbols, bars]; the first is bar `first`."""

    def __init__(self, name: str, first: int, fields: np.ndarray, symbols: tuple[str, ...] = SYMBOLS) -> None:
        self.timeframe: Timeframe = timeframe(name)
        self.first, self.fields, self.names = first, fields, symbols
        self.asked: list[tuple[int, int]] = []

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.names

    @property
    def closed_bar(self) -> int:
        return self.first + int(self.fields.shape[2]) - 1

    def block(self, bar: int, length: int) -> Block:
        self.asked.append((bar, length))
        out = np.full((9, len(self.names), length), np.nan)
        for place, index in enumerate(range(bar - length + 1, bar + 1)):
            if 0 <= index - self.first < self.fields.shape[2]:
                out[:, :, place] = self.fields[:, :, index - self.first]
        return Block(*out)

    def changed(self, fields: np.ndarray) -> Self:
        return type(self)(self.timeframe.name, self.first, fields, self.names)


def rolled(base: np.ndarray, count: int) -> np.ndarray:
    parts = base.reshape(9, base.shape[1], -1, count)
    out = parts.sum(axis=3)
    out[0], out[3] = parts[0, :, :, 0], parts[3, :, :, -1]
    out[1], out[2] = parts[1].max(axis=2), parts[2].min(axis=2)
    return np.asarray(out)


def make_panels(seed: int = 1, symbols: tuple[str, ...] = SYMBOLS) -> dict[str, BarsPanel]:
    """Panels of 5m, 15m and 1h bars of one made-up market."""
    rng = np.random.default_rng(seed)
    level = np.exp(np.cumsum(rng.normal(0, 0.003, (len(symbols), BARS + 1)), axis=1)) * 100.0
    first, close = level[:, :-1], level[:, 1:]
    high, low = np.maximum(first, close) * 1.001, np.minimum(first, close) * 0.999
    volume, bought = rng.random((2, len(symbols), BARS))
    base = np.stack(
        [
            first,
            high,
            low,
            close,
            volume,
            volume * close,
            volume * 10,
            volume * bought,
            volume * close * bought,
        ]
    )
    steps = {"5m": 1, "15m": 3, "1h": 12}
    return {
        name: BarsPanel(name, timeframe(name).index(START), rolled(base, count), symbols)
        for name, count in steps.items()
    }


MakePanels = Callable[..., dict[str, BarsPanel]]


@pytest.fixture
def panels() -> dict[str, BarsPanel]:
    return make_panels()


@pytest.fixture
def make() -> MakePanels:
    return make_panels
