from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from tests.unit.factors.markets import FIRST, planes, rolled

from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.panel.history import History

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT", "1000PEPEUSDT")
# Enough for the longest warm-up on 1h, and whole days.
HOURS: Final = 20 * 24
STEPS: Final = {"5m": 1, "15m": 3, "1h": 12}

Panels = dict[str, History]
MakePanels = Callable[..., Panels]


def make_panels(seed: int = 1) -> Panels:
    """One made-up market on 5m, 15m and 1h, without a hole."""
    base = planes(seed, len(SYMBOLS), 12 * HOURS)
    return {
        name: History(TIMEFRAMES[name], SYMBOLS, FIRST * 3 // count, rolled(base, count))
        for name, count in STEPS.items()
    }


def changed(panel: History, bars: np.ndarray) -> History:
    return History(panel.timeframe, panel.symbols, panel.first, bars)


def holed(panel: History, row: int, bars: slice) -> History:
    """The panel without some bars of one symbol."""
    fields = panel.planes.copy()
    fields[:, row, bars] = np.nan
    return changed(panel, fields)


def until(panels: Panels, time: int) -> Panels:
    """What had closed by *time* (ms)."""
    return {name: panel.head(panel.timeframe.index(time + 1) - 1) for name, panel in panels.items()}


@pytest.fixture
def panels() -> Panels:
    return make_panels()


@pytest.fixture
def make() -> MakePanels:
    return make_panels
