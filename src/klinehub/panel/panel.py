"""The panel: the read side of one timeframe."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from klinehub.domain.kline import CLOSED, EMPTY, KLINE_WORDS, ROW, ROW_WORDS, Exact, Klines
from klinehub.domain.stale import Reason, Stale
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import UnknownName
from klinehub.panel.ledger import Gap, gaps
from klinehub.panel.memory import F64, I64
from klinehub.panel.read import closed_bar, complete_from, copy_block, copy_klines, copy_open, newest_closed
from klinehub.panel.view import PLANES, WIDE

if TYPE_CHECKING:
    from klinehub.panel.ring import Ring

# Each volume among the planes, and what was paid for it.
_VOLUMES: Final = tuple(
    (PLANES.index(volume), PLANES.index(paid))
    for volume, paid in (("volume", "quote_volume"), ("taker_base", "taker_quote"))
)


class Panel:
    """All symbols' bars of one timeframe, read from the ring without a copy of it."""

    def __init__(self, ring: "Ring", number: int) -> None:
        self._ring = ring
        self._mem = ring.memory
        self._t = number
        self.timeframe: Timeframe = ring.timeframes[number]

    def __repr__(self) -> str:
        """Show the timeframe, the symbols and the newest closed bar's open time."""
        return f"<Panel {self.timeframe.name}, {len(self.symbols)} symbols, closed to {self.closed_bar}>"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in row order; a symbol keeps its row for as long as the ring lives."""
        return tuple(self._ring.symbols)

    @property
    def closed_bar(self) -> int:
        """The newest absolute bar index that any symbol has closed, -1 when there is none."""
        return int(closed_bar(self._mem, self._t, len(self._ring.symbols)))

    def row(self, symbol: str) -> int:
        """Give the row of *symbol*; raises UnknownName with the nearest symbol held."""
        try:
            return self._ring.rows[symbol]
        except KeyError:
            raise UnknownName("symbol", symbol, self._ring.rows) from None

    def klines(self, symbol: str, limit: int, *, forming: bool = False) -> Klines:
        """Copy a symbol's last *limit* closed bars, oldest first; with *forming* the open bar is added."""
        out = Klines.empty(limit + 1)
        words = out.view(np.int64).reshape(-1, KLINE_WORDS)
        mem, row = self._mem, self.row(symbol)
        count = copy_klines(mem, self._t, row, limit, int(forming), words, words.view(np.float64))
        kept: Klines = out[limit + 1 - count :]  # type: ignore[assignment] # a slice keeps its class
        return kept

    def exact(self, symbol: str, *, start: int, end: int, forming: bool = False) -> Exact:
        """Copy a symbol's bars from index *start* to *end* (inclusive) in the exact form (dtype ROW)."""
        row, t = self.row(symbol), self._t
        newest, bars = int(self._mem.newest[t, row]), self._ring.bars
        indexes = np.arange(max(start, newest - bars + 1), min(end, newest) + 1)
        least = EMPTY + 1 if forming else CLOSED
        kept = indexes[self._mem.state[t, row, indexes % bars] >= least]
        words = np.ascontiguousarray(self._mem.cells[t, row, kept % bars]).reshape(-1, ROW_WORDS)
        return Exact(words.view(ROW).reshape(-1), self._ring.scale(row))

    @property
    def bars(self) -> int:
        """How many bars of a symbol are kept at most."""
        return self._ring.bars

    @property
    def changes(self) -> I64:
        """How often each row [symbols] was changed other than by a bar at its end."""
        count, beside = len(self._ring.symbols), self._ring.beside
        changes = self._mem.changes[self._t, :count].copy()
        return changes if beside is None else changes + beside.kept.changes[self._t, :count]

    @property
    def beside(self) -> tuple[str, ...]:
        """Which fields are kept beside the klines."""
        return () if self._ring.beside is None else self._ring.beside.fields

    @property
    def lacks(self) -> frozenset[str]:
        """Which fields of klines the exchange does not tell."""
        return self._ring.lacks

    @property
    def complete_from(self) -> I64:
        """From which absolute index on each row [symbols] is known: a bar that lacks since then is a hole."""
        out = np.empty(len(self._ring.symbols), np.int64)
        complete_from(self._mem, self._t, out)
        return out

    def _value(self, cube: F64, rows: I64) -> None:
        """Have volumes mean what they do elsewhere, where they are counted in contracts of so many dollars.

        The exchange tells the contracts and the coins that they are worth: the coins are the volume, and the
        dollars what was paid.
        """
        if self._ring.contracts is None:
            return
        dollars = self._ring.contracts[rows].reshape(-1, *(1,) * (cube.ndim - 2))
        for volume, paid in _VOLUMES:
            cube[volume], cube[paid] = cube[paid].copy(), cube[volume] * dollars

    def cube(self, bar: int, length: int, rows: I64 | None = None, *, beside: Sequence[str] = ()) -> F64:
        """Copy the *length* bars that end at index *bar*: float64 [9, rows, length], NaN for none.

        With fields of *beside* the planes are those of WIDE, NaN in those that were not asked for.
        """
        chosen = np.arange(len(self._ring.symbols), dtype=np.int64) if rows is None else rows
        out = np.empty((len(WIDE) if beside else len(PLANES), chosen.size, length))
        copy_block(self._mem, self._t, chosen, bar, out)
        out[len(PLANES) :] = np.nan
        self._blank(out)
        if self._ring.beside is not None:
            for name in beside:
                self._ring.beside.read(self._t, name, chosen, bar, out[WIDE.index(name)])
        self._value(out, chosen)
        return out

    def open_cube(self, bar: int, length: int, rows: I64 | None = None, *, beside: Sequence[str] = ()) -> F64:
        """Copy the same bars with the last one as it stands, closed or still open; for a look ahead alone."""
        chosen = np.arange(len(self._ring.symbols), dtype=np.int64) if rows is None else rows
        before = self.cube(bar - 1, length - 1, chosen, beside=beside)
        last = np.full((before.shape[0], chosen.size), np.nan)
        copy_open(self._mem, self._t, chosen, bar, last[: len(PLANES)])
        self._blank(last)
        if self._ring.beside is not None:
            for name in beside:
                last[WIDE.index(name)] = self._ring.beside.open(self._t, name, chosen, bar)
        self._value(last, chosen)
        return np.concatenate((before, last[:, :, None]), axis=2)

    def _blank(self, planes: F64) -> None:
        """Let nothing be taken for a number that the exchange does not tell."""
        for name in self._ring.lacks:
            planes[PLANES.index(name)] = np.nan

    def stale(self, symbol: str) -> Stale | None:
        """Give why *symbol* is not proven fresh and since when; None when it is fresh."""
        reason, since = (int(word) for word in self._mem.stale[self.row(symbol)])
        return Stale(Reason(reason).text, since) if reason else None

    def newest_closed(self, symbol: str) -> int:
        """Give the absolute index of a symbol's newest closed bar, -1 when it has none."""
        return int(newest_closed(self._mem, self._t, self.row(symbol)))

    def gaps(self, rows: I64, *, wanted: int, upto: int) -> list[Gap]:
        """List the runs of missing bars of these rows among the *wanted* bars up to index *upto*."""
        return gaps(self._mem, self._t, rows, wanted=wanted, upto=upto)
