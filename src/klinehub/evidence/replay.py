"""Replay: a screen over history, by the engine that scans live, as fast as the bars can be read.

1. The range is parted in time among the workers of a pool, which come to the same bits as one alone.
2. A worker goes through its part in portions: factors for all bars of a portion, then what is computed over
   all symbols of a bar, as the engine does at a close.
3. Nothing later than a bar is asked for its values: a larger timeframe counts with its last bar that had
   closed by then.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from klinehub.errors import DataError, DefinitionError
from klinehub.evidence.pools import ALONE, Job, Pool, Progress, Values
from klinehub.evidence.tape import Tape
from klinehub.factors.engine import Engine
from klinehub.factors.expr import Expr
from klinehub.factors.points import score
from klinehub.factors.section import Flags
from klinehub.panel.history import History
from klinehub.panel.memory import F64
from klinehub.panel.view import PLANES
from klinehub.scan.screen import Screen


class Replayed(NamedTuple):
    """A screen at each bar of a range, [bars, symbols]: *values* are its score, NaN where not known.

    Of a screen without a score they are what it sorts by, the first ones highest, or 1 where it holds.
    *hits* are as a live scan of each bar would have them, of the symbols *judged*: those with the bar whose
    values were known. *first* is the absolute index of the first bar.
    """

    screen: Screen
    timeframe: str
    first: int
    symbols: tuple[str, ...]
    values: F64
    hits: Flags
    judged: Flags

    @property
    def bars(self) -> int:
        """How many bars were replayed."""
        return int(self.values.shape[0])


def asked_of(screen: Screen) -> dict[str, Expr]:
    """Give what is computed for a replay, by name: `value`, and `where` if the screen has a condition."""
    asked = {}
    if screen.score:
        asked["value"] = score(screen.score)
    elif screen.order_by is not None:
        asked["value"] = -screen.order_by
    if screen.where is not None:
        asked["where"] = screen.where
    if not asked:
        raise DefinitionError(f"{screen.name} has neither a score, an order nor a condition to be judged by.")
    return asked


def replay(
    screen: Screen,
    tape: Tape,
    start: int,
    end: int,
    *,
    pool: Pool = ALONE,
    progress: Progress = lambda _: None,
) -> Replayed:
    """Hold a screen against each bar that opens in [start, end) ms UTC; *progress* is told of bars done.

    Raises DataError where the tape has no bars in that time.
    """
    if screen.timeframe is None or screen.timeframe not in tape.panels:
        raise DefinitionError(f"{screen.name} needs a timeframe of the data: {', '.join(tape.panels)}.")
    panel = tape.panels[screen.timeframe]
    first, last = range_of(panel, start, end)
    if first > last:
        raise DataError(f"There are no {screen.timeframe} bars in the time that was asked for.")
    asked = asked_of(screen)
    found = values_of(asked, tape, screen.timeframe, first, last, pool=pool, progress=progress)
    where = found.get("where")
    values = found["value"] if "value" in asked else found["where"].copy()
    return _judged(screen, panel, first, values, where)


def values_of(
    asked: Mapping[str, Expr],
    tape: Tape,
    timeframe: str,
    first: int,
    last: int,
    *,
    pool: Pool = ALONE,
    progress: Progress = lambda _: None,
) -> Values:
    """Give the values of expressions at each bar from *first* to *last*, each [bars, symbols]."""
    # Compiled before the workers begin: two that compile the same one would both wait.
    Engine(asked, tape.panels, timeframe).compile()
    shape = (last - first + 1, len(tape.panels[timeframe].symbols))
    values = {name: np.full(shape, np.nan) for name in asked}
    pool.compute(Job(asked, timeframe, first, last + 1), tape, values, progress)
    return values


def _judged(screen: Screen, panel: History, first: int, values: F64, where: F64 | None) -> Replayed:
    """Say of each bar who was judged, and who was a hit."""
    there = np.isfinite(plane(panel, "close", first, values.shape[0]))
    judged = there & np.isfinite(values)
    if where is not None:
        judged &= np.isfinite(where)
    if screen.symbols:
        judged &= np.isin(panel.symbols, list(screen.symbols))
    hits = screen.passing(where, values, judged)
    return Replayed(screen, panel.timeframe.name, first, panel.symbols, values, hits, judged)


def range_of(panel: History, start: int, end: int) -> tuple[int, int]:
    """Give the first and the last bar of a panel that open in [start, end) ms UTC."""
    frame = panel.timeframe
    return max(panel.first, frame.index(start - 1) + 1), min(panel.closed_bar, frame.index(end - 1))


def plane(panel: History, name: str, first: int, bars: int) -> F64:
    """Give one field of *bars* bars from absolute index *first* on: float64 [bars, symbols]."""
    values: Sequence[F64] | F64 = panel.cube(first + bars - 1, bars)[PLANES.index(name)]
    return np.ascontiguousarray(np.asarray(values).T)
