"""Attached: the panels of a hub that runs in another process, read from its file without asking it.

Each read copies a row and looks at the row's sequence again, so that what it gives was never half written.
When the hub has gone, reads by symbol go on with the next hub in its place, and fail while there is none.
"""

import mmap
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from klinehub.domain.kline import CLOSED, EMPTY, KLINE_WORDS, ROW, ROW_WORDS, Exact, Klines, Scale
from klinehub.domain.stale import Reason, Stale
from klinehub.domain.timeframe import Timeframe, timeframe
from klinehub.errors import DataError, DefinitionError, NoHub, UnknownName
from klinehub.panel.memory import F64, I64, lay
from klinehub.panel.shared import FRAME_BYTES, LAYOUT, LIVE, MAGIC, NAME_BYTES, ORDER, PLACE, WORDS, Layout
from klinehub.panel.untorn import (
    BUSY,
    TRIES,
    mark_written,
    note_rows,
    read_block,
    read_ends,
    read_exact,
    read_klines,
    read_stale,
)
from klinehub.panel.view import PLANES

# Seconds since the hub's last beat: from when on nothing is called fresh, and from when on it has gone.
LATE: Final = 2.0
GONE: Final = 5.0
# A busy row is left alone for a moment so many times: the writer may not have the processor just then.
PAUSES: Final = 200
_BEAT, _STATE, _TIME, _RATE, _SYMBOLS = (PLACE[name] for name in ("beat", "state", "time", "rate", "symbols"))


class Run:
    """One run of a hub, as its file shows it; raises NoHub for no file, DataError for a wrong one."""

    def __init__(self, path: Path) -> None:
        mapped, self.inode = _mapped(path)
        words = np.frombuffer(mapped, np.int64, len(WORDS))
        known = dict(zip(WORDS, words.tolist(), strict=True))
        _check(path, known, len(mapped))
        dimensions = (known["timeframes"], known["rows"], known["bars"])
        layout = Layout.of(*dimensions)
        file = np.frombuffer(mapped, np.uint8)
        self.memory = lay(file[layout.arrays :], *dimensions)
        names = file[layout.names :][: dimensions[0] * FRAME_BYTES].tobytes()
        self.timeframes = tuple(
            timeframe(_spelled(names[at : at + FRAME_BYTES])) for at in range(0, len(names), FRAME_BYTES)
        )
        self.number = {tf.name: t for t, tf in enumerate(self.timeframes)}
        self.bars: int = known["bars"]
        self.generation: int = known["generation"]
        self._words = words
        self._rates: F64 = words.view(np.float64)
        self._table = file[layout.symbol_table :]
        self._symbols: tuple[str, ...] = ()
        self._rows: dict[str, int] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in row order; new ones come at the end."""
        count, known = self._words.item(_SYMBOLS), len(self._symbols)
        if count > known:
            cells = self._table[known * NAME_BYTES : count * NAME_BYTES].tobytes()
            added = tuple(_spelled(cells[at : at + NAME_BYTES]) for at in range(0, len(cells), NAME_BYTES))
            self._symbols += added
            self._rows |= {name: known + n for n, name in enumerate(added) if name}
        return self._symbols

    def row(self, symbol: str) -> int:
        """Give the row of *symbol*; raises UnknownName with the nearest symbol held."""
        found = self._rows.get(symbol)
        if found is None:
            found = self._rows.get(symbol) if self.symbols else None
        if found is None:
            raise UnknownName("symbol", symbol, self._rows)
        return found

    def age(self, seconds: float) -> float:
        """Give how many seconds ago the hub said that it is alive, infinite for one that has stopped."""
        age = seconds - self._words.item(_BEAT) / 1e9
        # A beat in the future is from before the machine was started anew.
        return age if self._words.item(_STATE) == LIVE and age > -1.0 else float("inf")

    def now(self, seconds: float) -> int:
        """Give the exchange time in ms."""
        return self.beat_time + int(max(self.age(seconds), 0.0) * 1000.0 * self._rates.item(_RATE))

    @property
    def beat_time(self) -> int:
        """The exchange time (ms) at which the hub was alive last."""
        return int(self._words.item(_TIME))


def _spelled(cell: bytes) -> str:
    return cell.rstrip(b"\0").decode()


def _mapped(path: Path) -> tuple[mmap.mmap, int]:
    """Map a file of this user's for reading; gives its inode too."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _no_hub(path, "there is no such file") from None
    except OSError as exc:
        raise DataError(
            f"{path} cannot be read ({exc.strerror}): give the path of a hub's own file."
        ) from exc
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in {os.geteuid(), 0}:
            raise DataError(f"{path} is no file of this user: nothing in it is believed, remove it.")
        if found.st_size < len(WORDS) * 8:
            raise DataError(f"{path} is no panel of a hub: give the path of one.")
        return mmap.mmap(opened, 0, mmap.MAP_SHARED, mmap.PROT_READ), found.st_ino
    finally:
        os.close(opened)


def _check(path: Path, known: Mapping[str, int], held: int) -> None:
    """Refuse a file that is none of a hub, of another layout, or cut off."""
    if known["magic"] != MAGIC or known["order"] != ORDER:
        raise DataError(f"{path} is no panel of a hub on this machine: give the path of one.")
    if known["layout"] != LAYOUT:
        raise DataError(
            f"{path} has layout {known['layout']}, and this klinehub reads layout {LAYOUT}: "
            "use the same version of klinehub here as the hub does."
        )
    dimensions = (known["timeframes"], known["rows"], known["bars"])
    if min(dimensions) < 1 or Layout.of(*dimensions).bytes != known["bytes"] or held < known["bytes"]:
        raise DataError(f"{path} is cut off: start the hub anew.")


def _no_hub(path: Path, why: str) -> NoHub:
    return NoHub(f"No hub shares its panel here ({path}: {why}): start one with `klinehub run`.")


class Attached(Mapping[str, "AttachedPanel"]):
    """The panels of a running hub by timeframe, each read from its memory.

    *seconds* is the clock that the hub beats by, *pause* gives a writer a moment. Raises NoHub where none
    runs, and DataError for a file that cannot be read.
    """

    def __init__(self, path: Path, seconds: Callable[[], float], pause: Callable[[], None]) -> None:
        self.path = path
        self.pause = pause
        self._seconds = seconds
        self.run = Run(path)
        self._require(self.run)

    def __repr__(self) -> str:
        """Show what is held, for example `<Attached 550 symbols, 1m 5m 15m 1h, 512 bars>`."""
        state = "" if self.alive else ", its hub has gone"
        return f"<Attached {len(self.symbols)} symbols, {' '.join(self)}, {self.run.bars} bars{state}>"

    def __getitem__(self, name: str) -> "AttachedPanel":
        """Give the panel of a timeframe; raises UnknownName for one that the hub does not keep."""
        return AttachedPanel(self, self.current(), name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.run.number)

    def __len__(self) -> int:
        return len(self.run.number)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in row order; new ones come at the end."""
        return self.run.symbols

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        """The timeframes, the smallest first."""
        return self.run.timeframes

    @property
    def now(self) -> int:
        """The exchange time in ms."""
        return self.run.now(self._seconds())

    @property
    def alive(self) -> bool:
        """Whether the hub that is read was alive in the last seconds."""
        return self.age(self.run) <= GONE

    def age(self, run: Run) -> float:
        """Give how many seconds ago a hub said that it is alive."""
        return run.age(self._seconds())

    def current(self) -> Run:
        """Give the run to read: the next hub's, where the one that was read has gone."""
        if self.age(self.run) > GONE:
            self.reattach()
        return self.run

    def reattach(self) -> None:
        """Read the hub that is in this place now; raises NoHub when there is none."""
        run = Run(self.path)
        self._require(run)
        self.run = run

    def _require(self, run: Run) -> None:
        age = self.age(run)
        if age > GONE:
            told = "it has stopped" if age == float("inf") else f"not heard for {age:.0f} s"
            raise _no_hub(self.path, told)


class View:
    """A look at all rows of a timeframe without a copy: arrays that change while the hub writes.

    `rows` [symbols, bars] are bars in the exact form (dtype ROW), each in its slot: absolute index modulo
    bars. `state` says what each slot holds, `newest` the index of each row's newest bar, `decimals` [symbols,
    3] what volumes have to be divided by. Look at `overwritten` or `valid` after reading.
    """

    def __init__(self, run: Run, t: int) -> None:
        self.symbols = run.symbols
        self.bars = run.bars
        count = len(self.symbols)
        self._memory, self._t = run.memory, t
        self._before = np.empty(count, np.int64)
        note_rows(self._memory, t, self._before)
        self.rows = run.memory.cells[t, :count].view(ROW)[..., 0]
        self.state = run.memory.state[t, :count]
        self.newest = run.memory.newest[t, :count]
        self.decimals = run.memory.decimals[:count]

    def slots(self, last: int, length: int) -> I64:
        """Give the slots of the *length* bars that end at index *last*, oldest first."""
        return np.arange(last - length + 1, last + 1) % self.bars

    def overwritten(self) -> npt.NDArray[np.bool_]:
        """Mark the rows [symbols] of which something was written since the view was taken."""
        marks = np.empty(self._before.size, np.bool_)
        mark_written(self._memory, self._t, self._before, marks)
        return marks

    def valid(self) -> bool:
        """Whether nothing at all was written since the view was taken."""
        return not self.overwritten().any()


class AttachedPanel:
    """All symbols' bars of one timeframe, from the memory of a hub in another process; made by `Attached`.

    Reads by symbol go on with the next hub where this one has gone; those by row number raise NoHub then, as
    rows are another's. Use one attachment per thread.
    """

    def __init__(self, home: Attached, run: Run, name: str) -> None:
        self._home = home
        self._bind(run, name)

    def _bind(self, run: Run, name: str) -> None:
        if name not in run.number:
            raise UnknownName("timeframe", name, run.number)
        self._run, self._t = run, run.number[name]
        self.timeframe: Timeframe = run.timeframes[self._t]

    def __repr__(self) -> str:
        """Show the timeframe and the symbols."""
        return f"<AttachedPanel {self.timeframe.name}, {len(self._run.symbols)} symbols>"

    def _live(self) -> Run:
        """Give the run to read by symbol, the next one where the hub has gone."""
        run = self._home.current()
        if run is not self._run:
            self._bind(run, self.timeframe.name)
        return run

    def _bound(self) -> Run:
        """Give the run to read by row number."""
        if self._home.age(self._run) > GONE:
            raise _no_hub(self._home.path, "its hub has gone, and with it the rows; attach anew")
        return self._run

    def _settled(self, ask: Callable[[], int], symbol: str) -> int:
        """Ask until the answer is not BUSY; raises DataError when the writer leaves no time for that."""
        for _ in range(PAUSES):
            found = ask()
            if found != BUSY:
                return found
            self._home.pause()
        raise self._written(symbol)

    def _written(self, symbol: str) -> DataError:
        return DataError(
            f"{symbol} {self.timeframe.name} was being written at each of {TRIES * PAUSES:,} attempts to "
            "read it: try again, or look whether the hub stands still."
        )

    def klines(self, symbol: str, limit: int, *, forming: bool = False) -> Klines:
        """Copy a symbol's last *limit* closed bars, oldest first; with *forming* the open bar is added.

        Raises UnknownName for a symbol that is not held, NoHub without a hub, and DataError for a row that is
        written at each attempt.
        """
        if limit < 0:
            raise DefinitionError(f"A limit of {limit} bars is none: give 0 or more.")
        run = self._live()
        row, room = run.row(symbol), min(limit, run.bars)
        out, stale = Klines.empty(room + 1), np.empty(2, np.int64)
        words = out.view(np.int64).reshape(-1, KLINE_WORDS)
        floats, t, mem = words.view(np.float64), self._t, run.memory
        count = read_klines(mem, t, row, room, int(forming), words, floats, stale)
        if count == BUSY:
            count = self._settled(
                lambda: int(read_klines(mem, t, row, room, int(forming), words, floats, stale)), symbol
            )
        kept: Klines = out[room + 1 - count :]  # type: ignore[assignment] # a slice keeps its class
        kept.stale = self._judged(run, int(stale[0]), int(stale[1]))
        return kept

    def exact(self, symbol: str, *, start: int, end: int, forming: bool = False) -> Exact:
        """Copy a symbol's bars from index *start* to *end* (inclusive) in the exact form (dtype ROW)."""
        run = self._live()
        row, least, t = run.row(symbol), EMPTY + 1 if forming else CLOSED, self._t
        out, scale = np.empty((run.bars, ROW_WORDS), np.int64), np.empty(3, np.int64)
        count = self._settled(
            lambda: int(read_exact(run.memory, t, row, start, end, least, out, scale)), symbol
        )
        return Exact(out[:count].view(ROW).reshape(-1), Scale(*scale.tolist()))

    def stale(self, symbol: str) -> Stale | None:
        """Give why *symbol* is not proven fresh and since when; None when it is fresh."""
        run, found = self._live(), np.empty(2, np.int64)
        row = run.row(symbol)
        self._settled(lambda: int(read_stale(run.memory, row, found)), symbol)
        return self._judged(run, int(found[0]), int(found[1]))

    def _judged(self, run: Run, reason: int, since: int) -> Stale | None:
        if reason:
            return Stale(Reason(reason).text, since)
        return Stale(Reason.CLOCK.text, run.beat_time) if self._home.age(run) > LATE else None

    def view(self) -> View:
        """Look at all rows without a copy; see `View` for what to ask it after reading."""
        return View(self._live(), self._t)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in row order; new ones come at the end."""
        return self._bound().symbols

    @property
    def bars(self) -> int:
        """How many bars of a symbol are kept at most."""
        return self._run.bars

    @property
    def beside(self) -> tuple[str, ...]:
        """Which fields are kept beside the klines: none of them is in the file."""
        return ()

    @property
    def lacks(self) -> frozenset[str]:
        """Which fields of klines the exchange does not tell: the file does not say."""
        return frozenset()

    @property
    def changes(self) -> I64:
        """How often each row [symbols] was changed other than by a bar at its end."""
        run = self._bound()
        return run.memory.changes[self._t, : len(run.symbols)].copy()

    @property
    def closed_bar(self) -> int:
        """The newest absolute bar index that any symbol has closed, -1 when there is none."""
        return int(self._ends()[:, 0].max(initial=-1))

    @property
    def complete_from(self) -> I64:
        """From which absolute index on each row [symbols] is known: a bar that lacks since then is a hole."""
        return self._ends()[:, 1]

    def _ends(self) -> I64:
        run = self._bound()
        out = np.empty((len(run.symbols), 2), np.int64)
        self._advanced(lambda start: int(read_ends(run.memory, self._t, start, out)), np.arange(len(out)))
        return out

    def _advanced(self, read: Callable[[int], int], rows: I64) -> None:
        """Let *read* go on from row to row; raises DataError when the writer leaves no time for one."""
        at, pauses = read(0), 0
        while at < rows.size:
            pauses += 1
            self._home.pause()
            following = read(at)
            if following == at and pauses == PAUSES:
                raise self._written(self._run.symbols[int(rows[at])])
            at, pauses = following, pauses if following == at else 0

    def cube(self, bar: int, length: int, rows: I64 | None = None, *, beside: Sequence[str] = ()) -> F64:
        """Copy the *length* bars that end at index *bar*: float64 [9, rows, length], NaN for none.

        Raises DefinitionError for fields of *beside*, which only the hub itself has.
        """
        return self._cube(bar, length, rows, beside, is_open=0)

    def open_cube(self, bar: int, length: int, rows: I64 | None = None, *, beside: Sequence[str] = ()) -> F64:
        """Copy the same bars with the last one as it stands, closed or still open; for a look ahead alone."""
        before = self._cube(bar - 1, length - 1, rows, beside, is_open=0)
        return np.concatenate((before, self._cube(bar, 1, rows, beside, is_open=1)), axis=2)

    def _cube(self, bar: int, length: int, rows: I64 | None, beside: Sequence[str], *, is_open: int) -> F64:
        if beside:
            raise DefinitionError(f"{', '.join(beside)}: not shared with other programs, ask the hub itself.")
        run = self._bound()
        chosen = np.arange(len(run.symbols), dtype=np.int64) if rows is None else rows
        out = np.empty((len(PLANES), chosen.size, length))
        self._advanced(
            lambda start: int(read_block(run.memory, self._t, chosen, start, bar, is_open, out)), chosen
        )
        return out

    def newest_closed(self, symbol: str) -> int:
        """Give the absolute index of a symbol's newest closed bar, -1 when it has none."""
        newest = self.klines(symbol, 1)
        return self.timeframe.index(int(newest["open_time"][-1])) if newest.size else -1
