"""The ring: the panel's one writer, for all timeframes of a market."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from klinehub.domain.kline import CLOSED, ROW, ROW_WORDS, VERIFIED, Exact, Scale
from klinehub.domain.timeframe import DAY, Timeframe
from klinehub.errors import DataError
from klinehub.panel.beside import Beside
from klinehub.panel.memory import (
    I64,
    MANTISSA_MAX,
    PARENT,
    SCALE_OF,
    U8,
    Memory,
    carve,
    size,
)
from klinehub.panel.merge import PROOF, load_rows, put, verify_bar
from klinehub.panel.panel import Panel
from klinehub.panel.read import mark_closed
from klinehub.panel.resample import lift, rebuild, show_forming
from klinehub.panel.sequence import close_row, open_row

# 10**18 is the largest power of ten that a mantissa can be of.
MOST_DECIMALS = 18


class Change(NamedTuple):
    """A closed bar that was corrected: number of its timeframe, open time (ms), what was kept and what is."""

    timeframe: int
    open_time: int
    old: Exact
    new: Exact


class Ring:
    """The bars of every symbol and timeframe in one buffer; give it a buffer to share them.

    *timeframes* are in ascending order; those in *native* are streamed by the exchange, the others
    are built from the next smaller one. *rows* is the most symbols it can hold, *bars* how many bars
    of each it keeps, *beside* the fields that are kept beside the klines. `contracts` are the dollars of a
    contract by row where volumes are counted in these, None where they are not.
    """

    def __init__(
        self,
        timeframes: Sequence[Timeframe],
        *,
        rows: int,
        bars: int,
        native: Sequence[Timeframe] = (),
        buffer: U8 | None = None,
        beside: Sequence[str] = (),
    ) -> None:
        self.timeframes = tuple(timeframes)
        self.bars = bars
        self.capacity = rows
        self.symbols: list[str] = []
        self.rows: dict[str, int] = {}
        self.contracts: npt.NDArray[np.float64] | None = None
        self.number = {tf.name: t for t, tf in enumerate(self.timeframes)}
        needed = size(len(timeframes), rows, bars)
        memory = np.zeros(needed, np.uint8) if buffer is None else buffer[:needed]
        self.memory: Memory = carve(memory, timeframes, rows, bars)
        for timeframe in (self.timeframes[0], *native):
            self.memory.grid[self.number[timeframe.name], PARENT] = -1
        parents = self.memory.grid[:, PARENT]
        self.streamed = tuple(tf for tf, parent in zip(self.timeframes, parents, strict=True) if parent < 0)
        self.beside = Beside(self.memory, beside) if beside else None
        # The fields of klines that the exchange does not tell, and that nothing can be computed from.
        self.lacks: frozenset[str] = frozenset()
        self.bytes = needed + (self.beside.bytes if self.beside else 0)
        self._closed = np.full(len(timeframes), -1, np.int64)

    def __repr__(self) -> str:
        """Show what is held, for example `<Ring 550 symbols, 1m 5m 15m 1h, 500 bars>`."""
        names = " ".join(tf.name for tf in self.timeframes)
        return f"<Ring {len(self.symbols)} symbols, {names}, {self.bars} bars>"

    def add(self, symbol: str, scale: Scale, contract: int = 0) -> int:
        """Give *symbol* a row and the decimals its numbers are printed with; known symbols keep theirs.

        *contract* is how many dollars one of its contracts is, where its volumes are told in contracts.
        """
        if symbol in self.rows:
            return self.rows[symbol]
        if len(self.symbols) == self.capacity:
            message = (
                f"No row left for {symbol}: the ring holds {self.capacity} symbols. "
                "Raise `market.spare` and restart."
            )
            raise DataError(message)
        row = len(self.symbols)
        self.symbols.append(symbol)
        self.rows[symbol] = row
        self.memory.decimals[row] = scale
        if contract and self.contracts is None:
            self.contracts = np.zeros(self.capacity)
        if self.contracts is not None:
            self.contracts[row] = contract
        return row

    def scale(self, row: int) -> Scale:
        """Give the decimals that a row's mantissas carry."""
        return Scale(*(int(n) for n in self.memory.decimals[row]))

    def panel(self, name: str) -> Panel:
        """Give the read side of one timeframe."""
        return Panel(self, self.number[name])

    def load(self, t: int, row: int, exact: Exact, asked: int) -> int:
        """Merge REST rows asked for at exchange time *asked* (ms); returns the flags of `merge`.

        Raises DataError, and changes no bar, when a row is not on the grid or does not fit 64 bits.
        """
        timeframe, times = self.timeframes[t], exact.rows["open_time"]
        if np.any((times - timeframe.offset) % (DAY if timeframe.monthly else timeframe.milliseconds)):
            raise DataError(f"{self.symbols[row]}: an answer has rows that are no {timeframe.name} bars.")
        flags = int(load_rows(self.memory, t, row, self._fitted(row, exact), asked))
        return flags | self.lift(t, row, -1)

    def lift(self, t: int, row: int, closed: int) -> int:
        """Bring the bars built from *t* up to date; *closed* is the open time of a bar that closed, or -1."""
        self._closed[:] = -1
        self._closed[t] = closed
        return int(lift(self.memory, t, row, self._closed))

    def settle(self, t: int, row: int, time: int) -> list[tuple[int, int]]:
        """Lift a bar that closed late; gives number of timeframe and open time of each bar that did too."""
        self.lift(t, row, time)
        return [
            (larger, int(opened)) for larger, opened in enumerate(self._closed) if larger > t and opened >= 0
        ]

    def is_closed(self, t: int, row: int, index: int) -> bool:
        """Say whether the bar of this index is held and closed; its slot may hold an older one."""
        # Each row of an answer is asked for: through the kernel of this name that takes 1.8 us, so 0.1.
        newest = int(self.memory.newest[t, row])
        held = newest - self.bars < index <= newest
        return held and bool(self.memory.state[t, row, index % self.bars] >= CLOSED)

    def closed(self, t: int, rows: I64, index: int) -> npt.NDArray[np.bool_]:
        """Mark those of *rows* whose bar of this index is held and closed."""
        marks = np.empty(rows.size, np.bool_)
        mark_closed(self.memory, t, rows, index, marks)
        return marks

    def differing(self, t: int, row: int, exact: Exact, asked: int) -> list[int]:
        """List the open times of closed bars that rows asked for at *asked* contradict."""
        timeframe, memory, found = self.timeframes[t], self.memory, []
        for words in self._fitted(row, exact):
            index = timeframe.index(int(words[0]))
            proven = timeframe.close_time(index) + PROOF <= asked
            if not proven or not self.is_closed(t, row, index):
                continue
            if not np.array_equal(memory.cells[t, row, index % self.bars], words):
                found.append(int(words[0]))
        return found

    def verify(self, t: int, row: int, exact: Exact) -> tuple[int, list[int]]:
        """Compare closed bars with a second answer: how many there were, and the open times that differ."""
        checked, different = 0, []
        for words in self._fitted(row, exact):
            verdict = verify_bar(self.memory, t, row, words)
            checked += verdict >= 0
            if verdict == 0:
                different.append(int(words[0]))
        return checked, different

    def correct(self, t: int, row: int, exact: Exact) -> list[Change]:
        """Put one row in the place of a closed bar, and build the closed larger bars anew from it.

        Gives every bar that this changed, the given one first.
        """
        words, memory = self._fitted(row, exact)[0], self.memory
        opened = int(words[0])
        changes = [Change(t, opened, self._bar(t, row, opened), Exact(words.view(ROW), self.scale(row)))]
        put(memory, t, row, self.timeframes[t].index(opened), words, VERIFIED)
        touched = {t}
        for larger in range(t + 1, len(self.timeframes)):
            if int(memory.grid[larger, PARENT]) not in touched:
                continue
            touched.add(larger)
            timeframe = self.timeframes[larger]
            index = timeframe.index(opened)
            old = self._bar(larger, row, timeframe.open_time(index))
            if rebuild(memory, larger, row, index):
                time = timeframe.open_time(index)
                changes.append(Change(larger, time, old, self._bar(larger, row, time)))
            show_forming(memory, larger, row)
        return changes

    def words(self, row: int, exact: Exact) -> tuple[int, ...]:
        """Give the ten words that one exact row would be kept as."""
        return tuple(self._fitted(row, exact)[0].tolist())

    def _bar(self, t: int, row: int, opened: int) -> Exact:
        """Copy the bar that is kept where one that opens at *opened* belongs."""
        words = self.memory.cells[t, row, self.timeframes[t].index(opened) % self.bars].copy()
        return Exact(words.view(ROW), self.scale(row))

    def rescale(self, row: int, scale: Scale) -> None:
        """Carry more decimals from now on: multiply the mantissas that are kept.

        Raises DataError when one would not fit 64 bits any more; the row is then left as it was.
        """
        memory = self.memory
        wider = Scale(*(max(pair) for pair in zip(self.scale(row), scale, strict=True)))
        factors = [10 ** (new - int(old)) for new, old in zip(wider, memory.decimals[row], strict=True)]
        if wider.price > MOST_DECIMALS:
            raise DataError(f"{self.symbols[row]}: a price with {wider.price} decimals is none.")
        if memory.newest[:, row].max() < 0 and max(wider) <= MOST_DECIMALS:
            memory.decimals[row] = wider  # a row without bars has nothing to multiply
            return
        kept = (memory.cells[:, row], memory.parts[:, row])
        for cells in kept:
            for word, part in SCALE_OF:
                if wider[part] > MOST_DECIMALS or int(cells[..., word].max()) > MANTISSA_MAX // factors[part]:
                    raise self._too_wide(row, wider[part])
        for t in range(len(self.timeframes)):
            open_row(memory.sequence, t, row)
        for cells in kept:
            for word, part in SCALE_OF:
                cells[..., word] *= factors[part]
        memory.decimals[row] = wider
        for t in range(len(self.timeframes)):
            close_row(memory.sequence, t, row)

    def _too_wide(self, row: int, decimals: int) -> DataError:
        return DataError(f"{self.symbols[row]}: a volume with {decimals} decimals does not fit 64 bits.")

    def _fitted(self, row: int, exact: Exact) -> I64:
        """Give rows as words ([n, 10]) whose mantissas carry this row's decimals."""
        words = exact.rows.view(np.int64).reshape(-1, ROW_WORDS)
        have = self.scale(row)
        if exact.scale == have:
            return words
        if any(new > old for new, old in zip(exact.scale, have, strict=True)):
            self.rescale(row, exact.scale)
            have = self.scale(row)
        words = words.copy()
        for word, part in SCALE_OF:
            factor = 10 ** (have[part] - exact.scale[part])
            if words.size and int(words[:, word].max()) > MANTISSA_MAX // factor:
                raise self._too_wide(row, have[part])
            words[:, word] *= factor
        return words
