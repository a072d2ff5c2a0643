"""Whether the hot store and history say the same of the days that both have."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from klinehub.domain.kline import Exact
from klinehub.domain.moment import utc
from klinehub.domain.timeframe import DAY, Timeframe
from klinehub.errors import StoreError
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore
from klinehub.store.joining import disagreement, held_against, pair

# Two stores that differ in a whole day are told by a few of its bars.
MOST_A_DAY: Final = 5


def disagreements(hot: HotStore, history: HistoryStore, frame: Timeframe) -> Iterator[str]:
    """Say which bars of a timeframe the two tell otherwise, and which history lacks that it should have.

    A day that was corrected after it was moved, and waits to be moved again, may differ.
    """
    low, high = hot.span(frame)
    for day in range(low // DAY * DAY, high, DAY):
        if hot.was_sealed(frame, day):
            continue
        mine = hot.read(frame, None, day, day + DAY)
        try:
            kept = history.read(frame, None, day, day + DAY)
        except StoreError as exc:
            yield f"{frame.name} {utc(day)}: history and the hot store can not be compared: {exc}"
            continue
        yield from _different(frame, mine, kept)
        if hot.is_sealed(frame, day):
            yield from _lacking(frame, day, mine, kept)


def _different(frame: Timeframe, mine: dict[str, Exact], kept: dict[str, Exact]) -> Iterator[str]:
    for symbol in sorted(mine.keys() & kept.keys()):
        places = np.flatnonzero(held_against(kept[symbol], mine[symbol]).different)
        for at in places[:MOST_A_DAY].tolist():
            two = pair(kept[symbol], mine[symbol], at)
            yield f"{disagreement(symbol, frame, two)} (history and the hot store)"
        if places.size > MOST_A_DAY:
            yield f"{symbol} {frame.name}: and {places.size - MOST_A_DAY} more bars of that day"


def _lacking(frame: Timeframe, day: int, mine: dict[str, Exact], kept: dict[str, Exact]) -> Iterator[str]:
    for symbol, exact in sorted(mine.items()):
        fresh = exact.rows.size
        if symbol in kept:
            fresh = int(held_against(kept[symbol], exact).fresh.sum())
        if fresh:
            yield f"{symbol} {frame.name} {utc(day)}: history lacks {fresh} bars that were moved to it"
