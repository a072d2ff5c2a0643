"""Compiled kernels: made once, by a process of their own, before the first hub needs them.

Compiling takes some twenty seconds and leaves 150 MB behind (measured: a hub of 550 symbols peaks at 469 MB
with it and at 313 MB without). A hub that compiled while it is live would neither read nor answer meanwhile.
`python -m klinehub.compiled` fills the cache; numba keeps it beside the sources or in NUMBA_CACHE_DIR.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from klinehub.dialect.board import Board
from klinehub.dialect.source import Source
from klinehub.dialect.telling import warm_up
from klinehub.domain.kline import CLOSED, ROW, ROW_WORDS, Exact, Scale
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import in_order
from klinehub.feed.body import parse_klines
from klinehub.feed.core import Core
from klinehub.feed.decisions import Fetch
from klinehub.feed.wire import ingest
from klinehub.panel.carry import merge_bar, put_bar, show_bar, take_bar, take_open
from klinehub.panel.pairs import PAIR_FIELDS, Pairs
from klinehub.panel.ring import Ring
from klinehub.scan.scanner import Scanner, default_screen
from klinehub.store.slices import Lines, decode, encode


def is_filled() -> bool:
    """Whether the largest kernel is compiled; what a cache lacks is compiled where it is used."""
    cache: Any = ingest._cache  # type: ignore[attr-defined] # noqa: SLF001 - numba has no public way to ask
    return any(Path(cache.cache_path).glob("wire.ingest-*.nbi"))


async def ensure(on_compile: Callable[[], None] = lambda: None) -> None:
    """Fill the cache in a child process if it is empty; a failure shows itself where the kernels are used."""
    if is_filled():
        return
    on_compile()
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "klinehub.compiled")
    try:
        await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


def fill() -> None:
    """Use every kernel of a live hub once, on a market of one symbol."""
    frames = in_order(("1m", "5m", "15m", "1h"))
    ring = Ring(frames, rows=1, bars=8, beside=("mark_price", *PAIR_FIELDS))
    row = ring.add("BTCUSDT", Scale(0, 0, 0))
    core = Core(ring, wanted=4)
    core.watch(["BTCUSDT"])
    bar = [0, "1.0", "1.0", "1.0", "1.0", "1.0", 59_999, "1.00", 1, "1.0", "1.00", "0"]
    exact = parse_klines(msgspec.json.encode([bar]))
    core.on_rest(Fetch("BTCUSDT", "1m", None, 2), exact, 120_000, 120_000)
    core.go_live(120_000)
    frame = np.frombuffer(_frame(60_000), np.uint8)
    core.on_batch(0, frame.copy(), np.array([frame.size], np.int64), 1, 130_000)
    core.on_timer(130_000)
    ring.verify(0, row, exact)
    if ring.beside is not None:
        ring.beside.tell(("mark_price",), np.array([row]), np.array([130_000]), np.ones((1, 1)))
        ring.beside.settle(0, 1)
        ring.panel("1m").cube(1, 1, beside=("mark_price",))
        pairs = Pairs(ring, ring.beside, ring)
        pairs.join({"BTCUSDT": ("BTCUSDT", 1)})
        pairs.copy("1m")
    _carry(ring)
    warm_up(Board(cast("Source", _OneListed())), ring, "BTCUSDT")
    panels = {tf.name: ring.panel(tf.name) for tf in frames}
    panels["1m"].klines("BTCUSDT", 2, forming=True)
    Scanner(panels, (default_screen(panels),), benchmark="BTCUSDT").warm_up()


class _OneListed:
    """As much of a market as streams of one symbol need."""

    def listing(self, symbol: str) -> Listing:
        """Give a listing of any symbol."""
        return Listing(symbol, symbol, "PERPETUAL", "TRADING", "", "", 0, 1, 1)

    def klines(self, *_: object) -> Exact:
        """Give no bars."""
        return Exact(np.empty(0, ROW), Scale(0, 0, 0))


def _carry(ring: Ring) -> None:
    """Take a bar out of the ring as a store and a relay do, and put it back."""
    one, words = np.zeros(1, np.int64), np.zeros((1, ROW_WORDS), np.int64)
    take_bar(ring.memory, 0, 0, 1, one, one.copy(), words)
    lines = Lines(one, np.array([CLOSED]), words)
    told = decode(60_000, 0, 0, encode(60_000, 0, lines, one), one)
    ones, closed = np.ones((1, 2), np.int64), np.empty((1, len(ring.timeframes)), np.int64)
    put_bar(ring.memory, 0, 0, told.numbers, told.states, told.words, ones)
    merge_bar(ring.memory, 0, told.numbers, told.words, ones, one, closed)
    take_open(ring.memory, 0, 0, 1, one, words)
    show_bar(ring.memory, 0, one, words, ones, 0, closed[0])


def _frame(opened: int) -> bytes:
    """Give a kline frame as the exchange sends it."""
    bar = {"t": opened, "T": opened + 59_999, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 1, "n": 1, "x": False}
    prices = dict.fromkeys("ochl", "1.0") | {"v": "1.0", "q": "1.00", "V": "1.0", "Q": "1.00", "B": "0"}
    event = {"e": "kline", "E": opened + 1, "s": "BTCUSDT", "k": bar | prices}
    return msgspec.json.encode({"stream": "btcusdt@kline_1m", "data": event})


if __name__ == "__main__":
    fill()
