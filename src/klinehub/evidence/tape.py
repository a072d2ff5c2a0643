"""The tape: what a replay reads of a market's past, and where each part of it comes from.

1. Bars of one timeframe or several, each a panel that does not change. Those that were not recorded are
   built of smaller ones, of all their parts or not at all.
2. Since when a symbol trades is when its first bar opened, unless it is in the first bars of all: then it may
   have traded before, and its age is unknown.
3. A fingerprint of the bars tells tapes apart: the same one, the same screen and the same code give the same
   bytes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from klinehub.domain.timeframe import Timeframe
from klinehub.domain.timeframe import timeframe as timeframe_of
from klinehub.errors import DefinitionError
from klinehub.panel.history import History
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import PLANES

# Where bars are from: a store of klinehub, or files.
STORE: Final = "store"
FILES: Final = "files"
BENCHMARKS: Final = ("BTCUSDT", "BTCUSDC", "BTCUSD_PERP")
_HOW: Final = {"open": 0, "high": 1, "low": 2, "close": 3}


class Payments(NamedTuple):
    """A symbol's funding: when it was due (ms UTC), and the rates, paid by longs where positive."""

    times: I64
    rates: F64


class Tape(NamedTuple):
    """Panels by the names of their timeframes, the benchmark's symbol, and since when (ms) symbols trade.

    Of *unavailable* fields nothing was recorded; *estimated* ones were made of others. *source* says in words
    where the bars are from. *funding* has the payments by symbol, where they were imported.
    """

    panels: Mapping[str, History]
    source: str
    benchmark: str | None
    listed: Mapping[str, int]
    unavailable: frozenset[str] = frozenset()
    estimated: frozenset[str] = frozenset()
    funding: Mapping[str, Payments] = {}

    @property
    def base(self) -> History:
        """The panel of the smallest timeframe."""
        return min(self.panels.values(), key=lambda panel: panel.timeframe.milliseconds)

    def fingerprint(self) -> str:
        """Give sixteen digits that differ when any symbol or bar of the smallest timeframe does."""
        base = self.base
        told = hashlib.blake2b(digest_size=8)
        told.update(repr((base.timeframe.name, base.symbols, base.first, sorted(self.panels))).encode())
        for plane in (*base.planes, *(base.told[name] for name in sorted(base.told))):
            told.update(np.ascontiguousarray(plane).data)
        for symbol in sorted(self.funding):
            told.update(
                symbol.encode() + self.funding[symbol].times.tobytes() + self.funding[symbol].rates.tobytes()
            )
        return told.hexdigest()


def tape_of(
    panels: Sequence[History],
    frames: Sequence[str],
    source: str,
    *,
    unavailable: frozenset[str] = frozenset(),
    estimated: frozenset[str] = frozenset(),
) -> Tape:
    """Make a tape of recorded *panels*, with those of *frames* that can be built of them."""
    found = {panel.timeframe.name: panel for panel in panels}
    smallest = min(panels, key=lambda panel: panel.timeframe.milliseconds)
    for name in frames:
        if name not in found and timeframe_of(name).holds(smallest.timeframe):
            found[name] = built(smallest, timeframe_of(name))
    benchmark = next((name for name in BENCHMARKS if name in smallest.symbols), None)
    return Tape(found, source, benchmark, listed_of(smallest), unavailable, estimated)


def listed_of(panel: History) -> dict[str, int]:
    """Give when the first bar of each symbol opened (ms), of those that came after the panel had begun."""
    there = np.isfinite(panel.planes[PLANES.index("close")])
    firsts = np.argmax(there, axis=1)
    return {
        symbol: panel.timeframe.open_time(panel.first + int(firsts[row]))
        for row, symbol in enumerate(panel.symbols)
        if firsts[row] > 0
    }


def built(panel: History, whole: Timeframe) -> History:
    """Build larger bars: of all parts, or none. Raises DefinitionError for one that has no fixed length."""
    parts, left = divmod(whole.milliseconds, panel.timeframe.milliseconds)
    if whole.monthly or left:
        raise DefinitionError(f"{whole.name} bars can not be built of {panel.timeframe.name} ones here.")
    start = whole.index(panel.timeframe.open_time(panel.first) - 1) + 1
    skip = panel.timeframe.index(whole.open_time(start)) - panel.first
    count = max(0, (panel.bars - skip) // parts)
    shape = (len(PLANES), len(panel.symbols), count, parts)
    cut = panel.planes[:, :, skip : skip + count * parts].reshape(shape)
    out = cut.sum(axis=-1)
    out[_HOW["open"]], out[_HOW["close"]] = cut[_HOW["open"], ..., 0], cut[_HOW["close"], ..., -1]
    out[_HOW["high"]], out[_HOW["low"]] = cut[_HOW["high"]].max(axis=-1), cut[_HOW["low"]].min(axis=-1)
    out[:, np.isnan(out[_HOW["close"]]) | np.isnan(cut[_HOW["close"]].sum(axis=-1))] = np.nan
    return History(whole, panel.symbols, start, out)
