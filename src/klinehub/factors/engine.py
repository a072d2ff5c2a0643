"""The engine: what a factor is, and its value for every symbol of a block of closed bars.

1. A factor names the block's fields that it reads, its window and its kernel.
2. One compiled loop per number of fields cuts the last `window` bars of each symbol, refuses windows with
   a hole, and calls the kernel by address: a new factor compiles its kernel and nothing else.
3. The kernel sees one symbol's window and nothing beyond it, so it can neither look ahead nor mix symbols.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import numba as nb
import numpy as np

from klinehub.domain.timeframe import Timeframe
from klinehub.factors.kernels import Series, kernel
from klinehub.panel.block import Block
from klinehub.panel.memory import F64

# A pseudo field: the benchmark's close, the same for every symbol.
BENCHMARK: Final = "benchmark"


class Factor(msgspec.Struct, frozen=True):
    """One number per symbol from its last `window` closed bars; NaN until they are all there (warming).

    `fields` are the arrays that the kernel takes, in its order (three at most); `residue` bounds what is
    left of a recursive average's seed at the end of the window, as a share of what it was.
    `squash` maps values to -1 to 1 around `centre`; at `scale` away from it the result is 0.71.
    """

    name: str
    title: str
    formula: str
    unit: str
    range: str
    source: str
    fields: tuple[str, ...]
    window: int
    kernel: Callable[..., float]
    scale: float
    weight: float
    centre: float = 0.0
    residue: float = 0.0
    # Which timeframe it reads, counted from the scan's own: 1 is the next larger, -1 the next smaller.
    step: int = 0

    def squash(self, values: F64) -> F64:
        """Map values to -1 to 1: r / sqrt(1 + r * r) with r = (value - centre) / scale; NaN stays."""
        # Clipped, because the square of a huge r is infinite and would give 0.
        r = np.clip((values - self.centre) / self.scale, -1e6, 1e6)
        return np.asarray(r / np.sqrt(1.0 + r * r), dtype=np.float64)


@kernel
def whole(window: Series) -> bool:
    """Whether no bar of the window is missing."""
    holes = 0
    for value in window:
        holes += np.isnan(value)
    return holes == 0


@kernel
def finite(value: float) -> float:
    """Give *value*, or NaN where it is infinite: no factor hands out an infinity."""
    return value if np.isfinite(value) else np.nan


@kernel
def rows1(call: Callable[..., float], window: int, a: F64, out: Series) -> None:
    """Fill *out* [symbols] with a one-field kernel's value over the last *window* bars of each row."""
    for s in range(out.size):
        x = a[s, a.shape[1] - window :]
        out[s] = finite(call(x)) if whole(x) else np.nan


@kernel
def rows2(call: Callable[..., float], window: int, a: F64, b: F64, out: Series) -> None:
    """Do as rows1 for a kernel of two fields."""
    for s in range(out.size):
        x, y = a[s, a.shape[1] - window :], b[s, b.shape[1] - window :]
        out[s] = finite(call(x, y)) if whole(x) and whole(y) else np.nan


@kernel
def rows3(call: Callable[..., float], window: int, a: F64, b: F64, c: F64, out: Series) -> None:
    """Do as rows1 for a kernel of three fields."""
    for s in range(out.size):
        x, y = a[s, a.shape[1] - window :], b[s, b.shape[1] - window :]
        z = c[s, c.shape[1] - window :]
        out[s] = finite(call(x, y, z)) if whole(x) and whole(y) and whole(z) else np.nan


LOOPS: Final[dict[int, Any]] = {1: rows1, 2: rows2, 3: rows3}
ROW_TYPE: Final = nb.types.Array(nb.float64, 1, "C")
BLOCK_TYPE: Final = nb.types.Array(nb.float64, 2, "C")


def compile_loop(fields: int) -> Callable[..., None]:
    """Give the compiled loop for kernels of so many fields, which takes any of them by address.

    Left alone, numba would compile the loop anew for every kernel, and find none of them in its cache.
    """
    loop = LOOPS[fields]
    if not loop.signatures:
        address = nb.types.FunctionType(nb.float64(*[ROW_TYPE] * fields))
        loop.compile(nb.void(address, nb.int64, *[BLOCK_TYPE] * fields, ROW_TYPE))
        loop.disable_compile()
    compiled: Callable[..., None] = loop
    return compiled


def evaluate(factor: Factor, block: Block, benchmark: Series | None = None) -> F64:
    """Give the factor's value at the block's last bar, float64 [symbols].

    NaN where a bar of the window or the whole window is not there; *benchmark* is the close of the
    benchmark's bars, as long as the block's rows, and only needed by factors that read it.
    """
    symbols, bars = block.close.shape
    out = np.full(symbols, np.nan)
    if bars < factor.window:
        return out
    arrays = [_field(block, name, benchmark) for name in factor.fields]
    compile_loop(len(arrays))(factor.kernel, factor.window, *arrays, out)
    return out


def _field(block: Block, name: str, benchmark: Series | None) -> F64:
    """Give a field [symbols, bars] by its name, the benchmark's row repeated for each symbol."""
    if name != BENCHMARK:
        field: F64 = getattr(block, name)
        return field
    row = np.full(block.close.shape[1], np.nan) if benchmark is None else benchmark
    return np.tile(row, (block.close.shape[0], 1))


def usable(frame: Timeframe, main: Timeframe, bar: int) -> int:
    """Give the newest bar of *frame* that has closed when bar *bar* of *main* closes.

    Its close time is never after the main bar's, so that a scan at 12:15 reads the hour to 12:00.
    """
    return frame.index(main.close_time(bar) + 1) - 1


def warm_up(factors: tuple[Factor, ...]) -> None:
    """Compile every kernel and loop on a few made-up bars, or load them from the cache.

    Takes seconds the first time on a machine: call it in a thread while the klines are fetched.
    """
    for factor in factors:
        bars = np.ones((1, factor.window))
        evaluate(factor, Block(*[bars] * len(Block._fields)), bars[0])
