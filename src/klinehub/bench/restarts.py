"""Restarts: scores of a ring that was restored from its store, beside those of one that never stopped."""

import asyncio
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from klinehub.bench.stage import NOON
from klinehub.domain.kline import Scale
from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.factors.engine import Engine
from klinehub.factors.expr import Expr, terms
from klinehub.panel.memory import F64
from klinehub.panel.ring import Ring
from klinehub.panel.view import BESIDE
from klinehub.sim.synthetic import SyntheticMarket, synthetic
from klinehub.store.hot import HotStore
from klinehub.store.keeping import Keeping
from klinehub.store.sqlite import SqliteTables

FRAMES: Final = (TIMEFRAMES["15m"], TIMEFRAMES["1h"])
BASE: Final = FRAMES[0]
# Enough for the longest run of a recursive value, and for the bars that follow the last restart.
BARS: Final = 1_100
FIRST: Final = NOON // BASE.milliseconds
# Bars that both go on for after a restart.
ON: Final = 3


def restart_cuts(
    exprs: Mapping[str, Expr], seed: int, *, symbols: int, cuts: Iterable[int]
) -> tuple[int, int]:
    """Restart after each of *cuts* bars and go on; gives the values compared, and those that differ."""
    # What is told beside the klines begins with a hub: a store keeps klines.
    kept = {name: one for name, one in exprs.items() if BESIDE.keys().isdisjoint(_read(one))}
    market = synthetic(symbols, seed, start=NOON)
    names = list(market.index)
    compared = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        ring = _ring(names)
        store = HotStore(SqliteTables(Path(folder) / "hot.sqlite3", origin="bench"))
        keeping = Keeping(ring, store)
        loaded = FIRST - BARS
        stepping = _engine(kept, ring)
        for cut in sorted(cuts):
            bar = FIRST - BARS + cut
            _load(market, ring, loaded, bar)
            loaded = bar + 1
            asyncio.run(keeping.flush())
            # Another order of rows, as another day's turnover gives it.
            again = _ring(names[::-1])
            Keeping(again, store).restore(BASE.open_time(bar + 1))
            fresh = _engine(kept, again)
            for _ in range(ON):
                compared, wrong = _compared(stepping.at(bar), fresh.at(bar), (compared, wrong))
                bar += 1
                for one in (ring, again):
                    _load(market, one, bar, bar)
            loaded = bar + 1
        store.tables.close()
    return compared, wrong


def _read(expr: Expr) -> set[str]:
    """Give the fields that an expression reads."""
    return {name for term in terms(expr) for name in term.reads}


def _ring(names: list[str]) -> Ring:
    ring = Ring(FRAMES, rows=len(names), bars=BARS, native=FRAMES)
    for name in names:
        ring.add(name, Scale(0, 0, 0))
    return ring


def _engine(exprs: Mapping[str, Expr], ring: Ring) -> Engine:
    panels = {frame.name: ring.panel(frame.name) for frame in FRAMES}
    return Engine(
        exprs, panels, BASE.name, benchmark=min(ring.symbols), listed=dict.fromkeys(ring.symbols, 0)
    )


def _load(market: SyntheticMarket, ring: Ring, first: int, last: int) -> None:
    """Load the bars of both timeframes that close in bars *first* to *last* of the smaller one."""
    now = BASE.open_time(last + 1) + 60_000
    for t, frame in enumerate(FRAMES):
        low, high = frame.index(BASE.open_time(first)), frame.index(BASE.open_time(last + 1)) - 1
        for symbol, row in ring.rows.items():
            if low <= high:
                ring.load(t, row, market.klines(market.index[symbol], frame, low, high, now), now)


def _compared(one: Mapping[str, F64], two: Mapping[str, F64], so_far: tuple[int, int]) -> tuple[int, int]:
    compared, wrong = so_far
    for name, values in one.items():
        turned = two[name][::-1]
        compared += values.size
        wrong += int(np.count_nonzero(~((values == turned) | (np.isnan(values) & np.isnan(turned)))))
    return compared, wrong
