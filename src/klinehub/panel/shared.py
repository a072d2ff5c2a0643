"""The panel's file: a ring that other processes read while it is written, and how it lies on disk.

1. A header of 8-byte words, little-endian like all that follows: WORDS names them, in order.
2. The timeframes' names, 8 bytes each, and the rows' symbols, NAME_BYTES each: UTF-8, filled up with zeros.
3. The ring's arrays as `panel.memory` lays them out; the header says where each begins.
4. The file is made under another name and then put in its place, so that a reader meets it whole. A later hub
   makes a new one; whoever reads the old one keeps it, and sees that it is closed or that its beat stopped.
"""

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.kline import Scale
from klinehub.domain.timeframe import Timeframe
from klinehub.panel.memory import F64, I64, U8, Memory, size
from klinehub.panel.ring import Ring
from klinehub.panel.sequence import publish

LAYOUT: Final = 1
MAGIC: Final = int.from_bytes(b"KLINEHUB", "little")
# Its bytes in the file are 8 7 6 5 4 3 2 1: who reads another number has the other byte order.
ORDER: Final = 0x0102030405060708
# In the order of the buffer; two of the ring's arrays are second views of the same bytes.
ARRAYS: Final = (*(name for name in Memory._fields if name not in {"floats", "parts_f", "state"}), "state")
WORDS: Final = (
    *("magic", "order", "layout", "bytes", "generation", "state", "beat", "time", "rate"),
    *("timeframes", "rows", "bars", "symbols", "names", "symbol_table"),
    *(f"at_{name}" for name in ARRAYS),
)
PLACE: Final = {name: at for at, name in enumerate(WORDS)}
LIVE: Final = 1
CLOSED: Final = 2
NAME_BYTES: Final = 40
FRAME_BYTES: Final = 8
_HEADER_BYTES: Final = 256
_PAGE: Final = 4096


class Layout(NamedTuple):
    """Where the parts of the file lie, in bytes from its start."""

    names: int
    symbol_table: int
    arrays: int
    bytes: int

    @classmethod
    def of(cls, timeframes: int, rows: int, bars: int) -> "Layout":
        """Give the layout of a ring of these dimensions."""
        symbol_table = _HEADER_BYTES + timeframes * FRAME_BYTES
        arrays = -(-(symbol_table + rows * NAME_BYTES) // _PAGE) * _PAGE
        return cls(_HEADER_BYTES, symbol_table, arrays, arrays + size(timeframes, rows, bars))


class SharedRing(Ring):
    """A ring in the file *path*, which this user's other processes may read; see `Ring` for the rest.

    *generation* tells this file from those before it. Raises OSError where the file cannot be made or has no
    room.
    """

    def __init__(
        self,
        timeframes: Sequence[Timeframe],
        *,
        path: Path,
        generation: int,
        rows: int,
        bars: int,
        native: Sequence[Timeframe] = (),
        beside: Sequence[str] = (),
    ) -> None:
        layout = Layout.of(len(timeframes), rows, bars)
        self.path = path
        fresh = path.with_name(f".{path.name}.new")
        mapped, self._inode = _made(fresh, layout.bytes)
        self._file: U8 = np.frombuffer(mapped, np.uint8)
        self._header: I64 = self._file[:_HEADER_BYTES].view(np.int64)
        self._table: U8 = self._file[layout.symbol_table :][: rows * NAME_BYTES].reshape(rows, NAME_BYTES)
        super().__init__(
            timeframes, rows=rows, bars=bars, native=native, buffer=self._file[layout.arrays :], beside=beside
        )
        names = self._file[layout.names :][: len(timeframes) * FRAME_BYTES].reshape(-1, FRAME_BYTES)
        for cell, timeframe in zip(names, timeframes, strict=True):
            _spell(cell, timeframe.name)
        self._fill_header(layout, generation)
        fresh.replace(path)

    def _fill_header(self, layout: Layout, generation: int) -> None:
        base = self._file.ctypes.data
        known = {
            "magic": MAGIC,
            "order": ORDER,
            "layout": LAYOUT,
            "bytes": layout.bytes,
            "generation": generation,
            "state": LIVE,
            "timeframes": len(self.timeframes),
            "rows": self.capacity,
            "bars": self.bars,
            "names": layout.names,
            "symbol_table": layout.symbol_table,
            **{f"at_{name}": getattr(self.memory, name).ctypes.data - base for name in ARRAYS},
        }
        for name, value in known.items():
            self._header[PLACE[name]] = value

    def add(self, symbol: str, scale: Scale, contract: int = 0) -> int:
        """Give *symbol* a row as `Ring.add` does; readers see it from then on."""
        row, known = super().add(symbol, scale, contract), int(self._header[PLACE["symbols"]])
        if row == known:
            _spell(self._table[row], symbol)
            publish(self._header, PLACE["symbols"], row + 1)
        return row

    def beat(self, seconds: float, time: int, rate: float) -> None:
        """Tell readers that the hub is alive at *seconds* of the machine, exchange time *time* (ms).

        Exchange time runs *rate* times as fast as the machine's.
        """
        rates: F64 = self._header.view(np.float64)
        rates[PLACE["rate"]] = rate
        self._header[PLACE["time"]] = time
        publish(self._header, PLACE["beat"], int(seconds * 1e9))

    def end(self) -> None:
        """Tell readers that nobody writes any more, and take the file away unless it is a later hub's."""
        publish(self._header, PLACE["state"], CLOSED)
        try:
            if self.path.stat(follow_symlinks=False).st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass


def _spell(cell: U8, text: str) -> None:
    """Write a name into its cell; one that does not fit is left out, which is nobody's name."""
    name = np.frombuffer(text.encode(), np.uint8)
    if name.size <= cell.size:
        cell[: name.size] = name


def _made(path: Path, total: int) -> tuple[mmap.mmap, int]:
    """Make a file of *total* bytes that only this user may read, with room for all of it; gives its inode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(opened, total)
        if hasattr(os, "posix_fallocate"):
            # A hole that finds no room when it is written to would end the process with a signal.
            os.posix_fallocate(opened, 0, total)
        return mmap.mmap(opened, total, mmap.MAP_SHARED), os.fstat(opened).st_ino
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(opened)
