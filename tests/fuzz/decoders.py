"""The decoders under test, with the hub around them; also with a bug planted into one of them."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numba import njit
from tests.fuzz.shapes import NAMES, TIME

from klinehub.domain.kline import Scale
from klinehub.domain.timeframe import in_order
from klinehub.feed import binance, body, core, marks, numerals, slow, wire
from klinehub.feed.directory import Directory, directory
from klinehub.panel.memory import F64, I64, U8, to_float
from klinehub.panel.ring import Ring

SCALE: Final = Scale(2, 3, 5)
FRAMES: Final = in_order(["1m", "5m"])
# Two symbols whose frames surround each frame under test, and that it must not disturb.
NEIGHBOURS: Final = ("AAAUSDT", "ZZZUSDT")
WHERE: Final = directory(NAMES, FRAMES, FRAMES[:1])
NOW: Final = TIME + 200_000
_CLOSE: Final = (
    '{"e":"kline","E":%d,"s":"%s","k":{"t":%d,"s":"%s","i":"1m","o":"1","h":"1","l":"1","c":"1","v":"1","n":1,'
    '"x":true,"q":"1","V":"1","Q":"1"}}'
)
BEFORE, AFTER = ((_CLOSE % (NOW, name, TIME, name)).encode() for name in NEIGHBOURS)
# What reads the bodies that hold no klines, and the answers to our own messages.
ANSWERS: Final = {
    **dict.fromkeys(
        ("parse_listings", "parse_tickers", "parse_time", "parse_trade_times", "parse_answer"), "binance"
    ),
    **dict.fromkeys(("parse_marks", "parse_premiums", "parse_open_interest", "parse_funding_hours"), "marks"),
}
# In the order in which they import each other.
_UNDER_TEST: Final = (numerals, body, wire, slow, core, binance, marks)


class Decoders(NamedTuple):
    """The decoders as the hub calls them, and kernels that call them for whole batches."""

    parse_frames: Callable[[U8, I64, I64, Directory, I64, I64, I64, F64], None]
    parse_numerals: Callable[[U8, I64, I64, I64, I64, I64, F64, F64], None]
    parse_klines: Callable[[bytes], Any]
    number: Callable[[str], Any]
    nearest_float: Callable[[Any], float]
    whole: Callable[[Any, int], int]
    answers: tuple[Callable[[bytes], Any], ...]  # as ANSWERS
    hub: "Hub"


class Kept(NamedTuple):
    """What the hub has made of a frame: the only new bar, and the decimals that its row carries now."""

    row: int
    closed: bool
    words: list[int]
    scale: tuple[int, ...]


class Hub:
    """A core with a small ring that forgets everything before each frame."""

    def __init__(self, core_module: ModuleType) -> None:
        symbols = (*NAMES, *NEIGHBOURS)
        bars = 8
        self.buffer = np.zeros(1 << 16, np.uint8)
        self.ring = Ring(FRAMES, rows=len(symbols), bars=bars, buffer=self.buffer)
        for symbol in symbols:
            self.ring.add(symbol, SCALE)
        self.core = core_module.Core(self.ring, wanted=5)
        self.core.watch(symbols)
        self._pristine = self.buffer.copy()

    def take(self, frame: bytes) -> Kept | None:
        """Give a frame to the hub between two others; None when it keeps nothing of it."""
        self.buffer[:] = self._pristine
        text = bytearray(BEFORE + frame + AFTER)
        ends = np.array([len(BEFORE), len(BEFORE) + len(frame), len(text)], np.int64)
        self.core.on_batch(0, np.frombuffer(text, np.uint8), ends, 3, NOW)
        memory = self.ring.memory
        newest = memory.newest[0].tolist()
        if newest[len(NAMES) :] != [TIME // 60_000] * 2:
            raise AssertionError("a frame has disturbed the frames beside it")
        rows = [row for row, index in enumerate(newest[: len(NAMES)]) if index >= 0]
        if not rows:
            return None
        (row,) = rows
        slot = newest[row] % self.ring.bars
        (state,) = (state for state in memory.state[0, row].tolist() if state)
        return Kept(row, state > 1, memory.cells[0, row, slot].tolist(), self.ring.scale(row))


def _frame_kernel(parse: Any) -> Any:
    """Make the loop over the frames of a batch; frame f lies at begins[f] to ends[f]."""

    def parse_frames(
        buf: U8, begins: I64, ends: I64, where: Directory, spans: I64, flags: I64, words: I64, floats: F64
    ) -> None:
        for f in range(begins.size):
            flags[f] = parse(buf, begins[f], ends[f], where, spans, words[f], floats[f])

    return njit(nogil=True)(parse_frames)


def _numeral_kernel(module: ModuleType) -> Any:
    """Make the loop over the numerals of a batch; each gives mantissa, decimals, integer and two floats."""
    mantissa, nearest, integer = module.mantissa, module.nearest, module.integer

    def parse_numerals(
        buf: U8, begins: I64, ends: I64, values: I64, decimals: I64, integers: I64, floats: F64, wide: F64
    ) -> None:
        for f in range(begins.size):
            values[f], decimals[f] = mantissa(buf, begins[f], ends[f])
            integers[f] = integer(buf, begins[f], ends[f])
            if values[f] >= 0:
                floats[f] = nearest(values[f], decimals[f])
                wide[f] = to_float(values[f], 10 ** decimals[f])

    return njit(nogil=True)(parse_numerals)


def _from(modules: Sequence[ModuleType]) -> Decoders:
    of = {module.__name__.rpartition(".")[2]: module for module in modules}
    return Decoders(
        _frame_kernel(of["wire"].parse),
        _numeral_kernel(of["numerals"]),
        of["body"].parse_klines,
        of["body"].number,
        of["body"].nearest_float,
        of["body"].whole,
        tuple(getattr(of[module], name) for name, module in ANSWERS.items()),
        Hub(of["core"]),
    )


def real() -> Decoders:
    """Give the decoders as they are."""
    return _from(_UNDER_TEST)


def planted(folder: Path, changes: Mapping[str, tuple[str, str]]) -> Decoders:
    """Give decoders in whose modules a text is replaced by another: `{"numerals": (old, new)}`.

    They are written to *folder* and run uncompiled, which takes no time to start.
    """
    settings = vars(numba.config)
    before, settings["DISABLE_JIT"] = settings["DISABLE_JIT"], 1
    try:
        changed = [
            _changed(folder, module, changes.get(module.__name__.rpartition(".")[2]))
            for module in _UNDER_TEST
        ]
        decoders = _from(changed)
    finally:
        settings["DISABLE_JIT"] = before
        for module in _UNDER_TEST:
            sys.modules[module.__name__] = module
    return decoders


def _changed(folder: Path, module: ModuleType, change: tuple[str, str] | None) -> ModuleType:
    """Import a changed copy of *module* in its place."""
    source = Path(str(module.__file__)).read_text("utf-8")
    if change is not None:
        if source.count(change[0]) != 1:
            raise ValueError(f"{change[0]!r} is not found once in {module.__name__}")
        source = source.replace(*change)
    path = folder / f"{module.__name__.rpartition('.')[2]}.py"
    path.write_text(source, "utf-8")
    spec = importlib.util.spec_from_file_location(module.__name__, path)
    if spec is None or spec.loader is None:
        raise ImportError(module.__name__)
    copy = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = copy
    spec.loader.exec_module(copy)
    return copy
