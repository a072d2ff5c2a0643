"""The recorded crash of October 2025, scanned bar by bar as by a hub and over the history: the same bits."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest

from klinehub.domain.kline import Exact, Scale
from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.factors.engine import Engine, usable
from klinehub.factors.points import score
from klinehub.panel.history import History
from klinehub.panel.memory import F64
from klinehub.panel.ring import Ring
from klinehub.scan.scanner import Scanner, default_screen
from klinehub.sim.replay import ReplayMarket, replay

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow]

QUARTER, HOUR = TIMEFRAMES["15m"], TIMEFRAMES["1h"]
SYMBOLS: Final = 24
CLOSES: Final = 2_000
KEPT: Final = 500
# Long after the last bar, so that every row proves its close.
LATE: Final = 10**13


@pytest.fixture(scope="module")
def market() -> ReplayMarket:
    folder = Path(__file__).parents[3] / "shared" / "realdata" / "ohlcv_15m_521"
    if not folder.is_dir():
        pytest.skip(f"the recorded market is not here: {folder}")
    return replay(folder)


def rows_of(market: ReplayMarket, names: list[str], first: int, last: int) -> dict[str, Exact]:
    """Give the recorded bars of each symbol that has any."""
    found = {name: market.klines(market.index[name], QUARTER, first, last, LATE) for name in names}
    return {name: exact for name, exact in found.items() if exact.rows.size}


def loaded(rows: dict[str, Exact], bars: int) -> Ring:
    """Make a ring of so many bars, of 15m as recorded and of 1h as built here.

    It knows which symbols were listed meanwhile, as a hub does from a page of REST shorter than asked for.
    """
    ring = Ring((QUARTER, HOUR), rows=len(rows), bars=bars)
    begun = min(int(exact.rows["open_time"][0]) for exact in rows.values())
    for name, exact in rows.items():
        row = ring.add(name, Scale(0, 0, 0))
        listed = int(exact.rows["open_time"][0])
        if listed == begun:
            continue
        ring.memory.first[0, row], ring.memory.first[1, row] = QUARTER.index(listed), HOUR.index(listed)
    return ring


def feed(ring: Ring, rows: dict[str, Exact], low: int, high: int) -> None:
    """Close the bars of indices low to high of every symbol, and the hours that are whole with them."""
    for row, (name, exact) in enumerate(rows.items()):
        opens = exact.rows["open_time"]
        part = exact.rows[(opens >= QUARTER.open_time(low)) & (opens < QUARTER.open_time(high + 1))]
        ring.load(0, row, Exact(part, exact.scale), LATE)
        for time in part["open_time"].tolist():
            ring.settle(0, ring.rows[name], time)


def recorded(ring: Ring, name: str, first: int, bars: int) -> History:
    panel = ring.panel(name)
    return History(panel.timeframe, panel.symbols, first, panel.cube(first + bars - 1, bars))


def test_a_scan_at_each_of_2000_closes_is_that_of_the_history(market: ReplayMarket) -> None:
    names = ["BTCUSDT", *sorted({*market.index} - {"BTCUSDT"})[:: len(market.index) // SYMBOLS]][:SYMBOLS]
    first = QUARTER.index(1_758_326_400_000)  # 2025-09-20
    last = first + KEPT + CLOSES
    rows = rows_of(market, names, first, last)
    deep = loaded(rows, KEPT + CLOSES + 8)
    feed(deep, rows, first, last)
    histories = {
        "15m": recorded(deep, "15m", first, KEPT + CLOSES),
        "1h": recorded(deep, "1h", first // 4, (KEPT + CLOSES) // 4),
    }
    screen = default_screen(("15m", "1h"), "15m")
    exprs = {**screen.exprs, "score": score(screen.score)}
    whole = Engine(exprs, histories, "15m", bars=CLOSES, benchmark="BTCUSDT").at(first + KEPT + CLOSES - 1)

    live = loaded(rows, KEPT)
    feed(live, rows, first, first + KEPT - 1)
    panels = {name: live.panel(name) for name in ("15m", "1h")}
    stepping = Engine(exprs, panels, "15m", benchmark="BTCUSDT")
    wrong: list[tuple[str, int]] = []
    scored = 0
    for close in range(CLOSES):
        bar = first + KEPT + close
        feed(live, rows, bar, bar)
        values = stepping.at(bar)
        wrong += [(name, close) for name in whole if not _same(values[name][:, 0], whole[name][:, close])]
        scored += int(np.isfinite(values["score"]).sum())
    assert wrong == []
    assert scored > CLOSES * SYMBOLS / 2

    found = Scanner(panels, (screen,), benchmark="BTCUSDT").scan()[0]
    assert found.bar == first + KEPT + CLOSES - 1
    assert usable(HOUR, QUARTER, found.bar) == panels["1h"].closed_bar


def _same(one: F64, two: F64) -> bool:
    return bool(((one == two) | (np.isnan(one) & np.isnan(two))).all())
