"""Recorded bars: a panel that does not change, for notebooks, replays and tests."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np

from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import BESIDE, PLANES, WIDE, PanelView

_CLOSE: Final = PLANES.index("close")


class History:
    """Closed bars of one timeframe in memory, from absolute index *first* on.

    *planes* is float64 [9, symbols, bars] in the order of PLANES, NaN where a symbol has no bar. *beside* are
    fields that were told beside the klines, each float64 [symbols, bars], NaN where nothing was told.
    """

    def __init__(
        self,
        timeframe: Timeframe,
        symbols: Sequence[str],
        first: int,
        planes: F64,
        beside: Mapping[str, F64] | None = None,
    ) -> None:
        if planes.ndim != len(("plane", "symbol", "bar")) or planes.shape[:2] != (len(PLANES), len(symbols)):
            raise DefinitionError(
                f"Bars of {len(symbols)} symbols have the shape ({len(PLANES)}, {len(symbols)}, bars), "
                f"not {planes.shape}."
            )
        for name, values in (beside or {}).items():
            if name not in BESIDE:
                raise UnknownName("field beside the klines", name, BESIDE)
            if values.shape != planes.shape[1:]:
                raise DefinitionError(
                    f"{name} has the shape {values.shape} and the bars {planes.shape[1:]}: give one for each."
                )
        self.timeframe = timeframe
        self.symbols = tuple(symbols)
        self.first = first
        self.planes = planes
        self.told = dict(beside or {})
        self.changes: I64 = np.zeros(len(symbols), np.int64)
        # What another panel knew of these bars, and which fields it lacks, where they were copied from one.
        self.known_from: I64 | None = None
        self.lacks: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        """Show the timeframe, the symbols and the bars."""
        return f"<History {self.timeframe.name}, {len(self.symbols)} symbols, {self.bars} bars>"

    @property
    def bars(self) -> int:
        """How many bars are there."""
        return int(self.planes.shape[2])

    @property
    def closed_bar(self) -> int:
        """The absolute index of the last bar, -1 when there is none."""
        return self.first + self.bars - 1 if self.bars else -1

    @property
    def complete_from(self) -> I64:
        """From which absolute index on each row [symbols] is known: a bar that lacks since then is a hole."""
        return np.full(len(self.symbols), self.first) if self.known_from is None else self.known_from

    @property
    def beside(self) -> tuple[str, ...]:
        """Which fields are kept beside the klines."""
        return tuple(self.told)

    def cube(self, bar: int, length: int, rows: I64 | None = None, *, beside: Sequence[str] = ()) -> F64:
        """Give the *length* bars that end at index *bar*: float64 [9, rows, length], NaN for none.

        With fields of *beside* the planes are those of WIDE, NaN in those that were not asked for.
        """
        if not beside and self.first <= bar - length + 1 and bar <= self.closed_bar:
            chosen_planes = self.planes if rows is None else self.planes[:, rows]
            view = chosen_planes[:, :, bar - length + 1 - self.first : bar + 1 - self.first]
            view.flags.writeable = False
            return view
        chosen = slice(None) if rows is None else rows
        count = len(self.symbols) if rows is None else rows.size
        out = np.full((len(WIDE) if beside else len(PLANES), count, length), np.nan)
        start = bar - length + 1
        low, high = max(start, self.first), min(bar, self.closed_bar)
        if low <= high:
            here, there = slice(low - start, high - start + 1), slice(low - self.first, high - self.first + 1)
            out[: len(PLANES), :, here] = self.planes[:, chosen, there]
            for name in beside:
                out[WIDE.index(name), :, here] = self.told[name][chosen, there]
            # Where there is no kline nothing is shown beside it, as in a panel.
            out[len(PLANES) :, np.isnan(out[_CLOSE])] = np.nan
        return out

    def head(self, bar: int) -> "History":
        """Give the same bars up to absolute index *bar*, as they were known when it had closed."""
        count = max(0, min(self.bars, bar - self.first + 1))
        return self._part(self.first, slice(count))

    def since(self, bar: int) -> "History":
        """Give the same bars from absolute index *bar* on."""
        skip = max(0, min(self.bars, bar - self.first))
        return self._part(self.first + skip, slice(skip, None))

    @classmethod
    def copied(
        cls,
        panel: PanelView,
        bar: int,
        length: int,
        beside: Collection[str] = (),
        rows: I64 | None = None,
    ) -> "History":
        """Copy the *length* bars of a panel that end at index *bar*, to be read in another thread.

        Those of some *rows* alone, where they are given.
        """
        fields = [name for name in panel.beside if name in beside]
        chosen = np.arange(len(panel.symbols)) if rows is None else rows
        cube = panel.cube(bar, length, chosen, beside=fields)
        told = {name: cube[WIDE.index(name)] for name in fields}
        symbols = [panel.symbols[row] for row in chosen.tolist()]
        made = cls(panel.timeframe, symbols, bar - length + 1, cube[: len(PLANES)], told)
        made.known_from, made.changes = panel.complete_from[chosen], panel.changes[chosen]
        made.lacks = panel.lacks
        return made

    def filled(self, other: "History", since: Mapping[str, int]) -> "History":
        """Give the same bars with those that lack taken from another history of the same symbols.

        *since* is from which absolute index on symbols have bars at all, where that is known.
        """
        planes, known = self.planes.copy(), self.complete_from.copy()
        low, high = max(self.first, other.first), min(self.closed_bar, other.closed_bar)
        here, there = (
            slice(low - self.first, high - self.first + 1),
            slice(low - other.first, high - other.first + 1),
        )
        if low <= high:
            lacking = np.isnan(planes[_CLOSE, :, here])
            planes[:, :, here] = np.where(lacking, other.planes[:, :, there], planes[:, :, here])
        for row, symbol in enumerate(self.symbols):
            held = np.flatnonzero(~np.isnan(planes[_CLOSE, row]))
            first = self.first + int(held[0]) if held.size else known[row]
            known[row] = 0 if first <= since.get(symbol, -1) else min(first, known[row])
        made = History(self.timeframe, self.symbols, self.first, planes, self.told)
        made.known_from, made.changes = known, self.changes
        return made

    def _part(self, first: int, kept: slice) -> "History":
        told = {name: values[:, kept] for name, values in self.told.items()}
        return History(self.timeframe, self.symbols, first, self.planes[:, :, kept], told)
