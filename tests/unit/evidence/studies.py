"""Small markets of which it is known what can be found in them, and studies of them."""

from typing import Any

import numpy as np

from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.evidence.members import Listed
from klinehub.evidence.portfolio import Costs
from klinehub.evidence.study import Asked, Study, study
from klinehub.evidence.tape import Tape, tape_of
from klinehub.evidence.trials import Trial
from klinehub.factors.expr import field
from klinehub.panel.history import History
from klinehub.panel.memory import F64
from klinehub.scan.screen import Screen

HOUR = TIMEFRAMES["1h"]
# A midnight, 2025-01-01.
FIRST = 1_735_689_600_000 // HOUR.milliseconds
FOREVER = 2**60
FREE = Costs(0.0, 0.0)
# A field that a score can be made of, without any factor in between.
TOLD = field("taker_base")
SCREEN = Screen(name="told", timeframe="1h", order_by=-TOLD)


def planes(bars: int, symbols: int, seed: int = 1, *, edge: float = 0.0) -> F64:
    """Make bars whose `taker_base` knows *edge* of the return from the next open to the one after it."""
    rng = np.random.default_rng(seed)
    moves = rng.standard_t(5, (symbols, bars)) * 0.01 + rng.normal(0.0, 0.01, bars)
    opens = 100.0 * np.exp(np.cumsum(moves, axis=1))
    closes = np.concatenate((opens[:, 1:], opens[:, -1:]), axis=1)
    told = rng.normal(size=(symbols, bars))
    told[:, :-2] = edge * moves[:, 2:] / 0.01 + told[:, :-2]
    volume = np.full(opens.shape, 1_000.0)
    high, low = np.maximum(opens, closes), np.minimum(opens, closes)
    return np.stack((opens, high, low, closes, volume, volume * closes, volume, told, volume))


def tape_for(bars: F64, **more: Any) -> Tape:
    names = ["BTCUSDT", *(f"S{number:02d}USDT" for number in range(1, bars.shape[1]))]
    return tape_of([History(HOUR, names, FIRST, bars)], [], "store")._replace(**more)


def spoiled(kind: str) -> F64:
    bars = planes(400, 12)
    if kind == "gaps":
        rng = np.random.default_rng(2)
        bars[:, rng.random((12, 400)) < 0.3] = np.nan
    elif kind == "constant":
        bars[7] = 1.0
    elif kind == "zero":
        bars[:4, 3, 100:200] = 0.0
    elif kind == "crash":
        bars[:4, :, 200:] *= 0.43
        bars[2, :, 199] *= 1e-3
    elif kind == "infinite":
        bars[:4, 2, 150], bars[:4, 2, 151] = 1e-310, 1e300
    elif kind == "alone":
        return bars[:, :1]
    elif kind == "short":
        return bars[:, :, :3]
    elif kind == "unknown":
        bars[7] = np.nan
    return bars


def studied(tape: Tape, screen: Screen = SCREEN, *, log: tuple[Trial, ...] = (), **asked: Any) -> Study:
    wanted = Asked(**{"horizons": (1, 4), "headline": 1, "costs": FREE, **asked})
    return study(screen, tape, 0, FOREVER, wanted, members=Listed(), code="1", log=log)
