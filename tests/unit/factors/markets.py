"""Made-up markets for factors: gaps, late listings, delistings, two timeframes, and a live view of them."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from klinehub.domain.timeframe import TIMEFRAMES, Timeframe
from klinehub.panel.history import History
from klinehub.panel.memory import F64, I64

BASE: Final = TIMEFRAMES["15m"]
HOUR: Final = TIMEFRAMES["1h"]
# A midnight, 2026-09-21.
FIRST: Final = 1_789_948_800_000 // BASE.milliseconds


def planes(seed: int, symbols: int, bars: int) -> F64:
    """Make bars [9, symbols, bars] of prices from 1e-4 to 1e4, some flat and some without a trade."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_t(4, (symbols, bars + 1)) * 0.003
    quiet = rng.random((symbols, bars)) < 0.03
    steps[:, 1:][quiet] = 0.0
    level = np.exp(np.cumsum(steps, axis=1)) * np.logspace(-4, 4, symbols)[:, None]
    opened, close = level[:, :-1], level[:, 1:]
    wick = np.where(quiet, 0.0, rng.random((symbols, bars)) * 0.003)
    volume = np.where(quiet, 0.0, np.exp(rng.normal(5, 1, (symbols, bars))))
    bought = rng.random((symbols, bars))
    high, low = np.maximum(opened, close) * (1 + wick), np.minimum(opened, close) * (1 - wick)
    quote = volume * close
    return np.stack(
        (opened, high, low, close, volume, quote, np.ceil(volume), volume * bought, quote * bought)
    )


def names(seed: int, symbols: int) -> list[str]:
    """Give symbols names whose order is not that of their rows."""
    return [f"S{n:03d}USDT" for n in np.random.default_rng(seed).permutation(symbols)]


def spoil(bars: F64, seed: int) -> None:
    """Take bars away: short gaps, late listings and delistings; the first row and some others stay whole."""
    rng = np.random.default_rng(seed)
    symbols, count = bars.shape[1:]
    for row in range(1, symbols):
        fate = row % 5
        if fate == 1:
            for at in rng.integers(0, count, 3):
                bars[:, row, at : at + rng.integers(1, 5)] = np.nan
        elif fate == 2:
            bars[:, row, : rng.integers(count // 10, count * 3 // 4)] = np.nan
        elif fate == 3:
            bars[:, row, rng.integers(count // 4, count) :] = np.nan


def rolled(bars: F64, by: int) -> F64:
    """Build larger bars of *by* bars; one with a hole is none."""
    parts = bars.reshape(*bars.shape[:2], -1, by)
    sums = [parts[n].sum(axis=-1) for n in range(4, 9)]
    made = np.stack(
        (parts[0, ..., 0], parts[1].max(axis=-1), parts[2].min(axis=-1), parts[3, ..., -1], *sums)
    )
    made[:, np.isnan(parts[3]).any(axis=-1)] = np.nan
    return made


def histories(seed: int = 1, symbols: int = 20, bars: int = 960) -> dict[str, History]:
    """Give one market on 15m and on 1h."""
    base = planes(seed, symbols, bars)
    spoil(base, seed)
    listed = names(seed, symbols)
    hours = History(HOUR, listed, FIRST // 4, rolled(base, 4))
    return {"15m": History(BASE, listed, FIRST, base), "1h": hours}


class Live:
    """A history of which only the last *keep* bars up to `end` are known, as a hub keeps them."""

    def __init__(self, history: History, keep: int) -> None:
        self.timeframe: Timeframe = history.timeframe
        self.symbols = history.symbols
        self.bars = keep
        self.end = history.first
        self.changes: I64 = np.zeros(len(history.symbols), np.int64)
        self._history = history

    @property
    def closed_bar(self) -> int:
        return self.end

    @property
    def complete_from(self) -> I64:
        return np.full(len(self.symbols), max(self._history.first, self.end - self.bars + 1))

    @property
    def beside(self) -> tuple[str, ...]:
        return self._history.beside

    @property
    def lacks(self) -> frozenset[str]:
        return self._history.lacks

    def cube(self, bar: int, length: int, rows: I64 | None = None, *, beside: Sequence[str] = ()) -> F64:
        kept = self._history.head(self.end).since(self.end - self.bars + 1)
        return kept.cube(bar, length, rows, beside=beside)
