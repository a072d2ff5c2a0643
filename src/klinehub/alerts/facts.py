"""Facts: what an alert tells of a symbol beside what its rule looked at, read from the bars that are held."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from klinehub.domain.timeframe import DAY
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import PLANES, PanelView
from klinehub.scan.alerts import Facts

_OPEN, _CLOSE, _TURNOVER = (PLANES.index(name) for name in ("open", "close", "quote_volume"))
_PERCENT: Final = 100.0


def facts_of(
    views: Mapping[str, PanelView], timeframe: str, bar: int, symbols: Sequence[str], end: int
) -> dict[str, Facts]:
    """Give what is known of *symbols* at bar *bar* of a timeframe, at the time *end* (ms).

    The 24 hours are those of the smallest timeframe that holds as many, up to its last bar that has closed
    by then; where a bar of them lacks, they are not known.
    """
    panel = views[timeframe]
    known = {symbol: row for row, symbol in enumerate(panel.symbols)}
    rows = np.array([known[symbol] for symbol in symbols], np.int64)
    here = panel.cube(bar, 1, rows)[:, :, 0]
    change = (here[_CLOSE] / here[_OPEN] - 1.0) * _PERCENT
    day, turnover = _day(views, end, rows)
    return {
        symbol: Facts(*(_known(values[n]) for values in (change, day, turnover)))
        for n, symbol in enumerate(symbols)
    }


def _day(views: Mapping[str, PanelView], end: int, rows: I64) -> tuple[F64, F64]:
    """Give the change in percent and the turnover of the 24 hours until *end*, NaN where not known."""
    unknown = np.full(rows.size, np.nan)
    for view in sorted(views.values(), key=lambda one: one.timeframe.milliseconds):
        frame = view.timeframe
        count = DAY // frame.milliseconds
        if not count or count * frame.milliseconds != DAY or count >= view.bars:
            continue
        cube = view.cube(frame.index(end) - 1, count + 1, rows)
        # The close before the first of these bars is the price of 24 hours ago.
        change = (cube[_CLOSE, :, -1] / cube[_CLOSE, :, 0] - 1.0) * _PERCENT
        return change, cube[_TURNOVER, :, 1:].sum(axis=1)
    return unknown, unknown


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
