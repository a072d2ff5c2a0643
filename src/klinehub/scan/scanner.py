"""The scanner: every symbol of a market scored at one closed bar.

1. Take the newest closed bar of the scan's timeframe, and of the timeframes around it the newest bars that
   had closed by then.
2. Leave out the factors that cannot be had (no such timeframe, no benchmark, fields that are not real) and
   share their weight among the others.
3. Evaluate each factor over all symbols; a symbol without the bar is missing, one without a full window
   warming: both are named and neither is scored.
4. Add the points up and rank.

A scan is a function of the panels' closed bars alone: no clock, no I/O, nothing kept from one to the next.
"""

from collections.abc import Collection, Mapping
from typing import Final, Literal, Protocol

import msgspec
import numpy as np

from klinehub.domain.timeframe import MINUTE, TIMEFRAMES, Timeframe, in_order
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.engine import BENCHMARK, Factor, evaluate, usable, warm_up
from klinehub.factors.kernels import Series
from klinehub.factors.library import BY_NAME
from klinehub.panel.block import Block
from klinehub.panel.memory import F64, I64
from klinehub.scan.score import DEFAULT_WEIGHTS, SIDE_FROM, check_weights, points, share_weights, side

Order = Literal["magnitude", "score"]
ORDERS: Final = ("magnitude", "score")
# Long enough that a scan is worth a look, short enough that it comes often.
PREFERRED: Final = 15 * MINUTE


class PanelView(Protocol):
    """What a scan reads of a panel: closed bars of one timeframe, of a hub or of a recording."""

    timeframe: Timeframe

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols in row order."""

    @property
    def closed_bar(self) -> int:
        """The newest absolute bar index that any symbol has closed."""

    def block(self, bar: int, length: int) -> Block:
        """Give the *length* bars that end at absolute index *bar*, NaN where none has closed."""


class Hit(msgspec.Struct, frozen=True):
    """One symbol's score at a bar; `contributions` are points per factor and sum to `score` exactly."""

    symbol: str
    score: float
    side: str
    price: float
    contributions: dict[str, float]


class ScanResult(msgspec.Struct, frozen=True):
    """One scan: when, of what, and who came out on top.

    `symbols` counts the scored ones; `warming` lack a full window and `missing` the bar itself.
    `signals_found` counts scores of at least `min_score` in size, also those that a limit cut from
    `results`. `weights` are those used (sizes sum to 100); `unavailable` factors took no part.
    """

    timeframe: str
    bar: int
    bar_open_time: int
    symbols: int
    warming: tuple[str, ...]
    missing: tuple[str, ...]
    unavailable: tuple[str, ...]
    weights: dict[str, float]
    min_score: float
    signals_found: int
    results: tuple[Hit, ...]


def default_timeframe(frames: Collection[str]) -> str:
    """Name the timeframe to scan: the smallest of 15m or more that has both a smaller and a larger one.

    Where all of those between are smaller than 15m, the largest of them; of two timeframes, the smaller.
    """
    ordered = in_order(tuple(frames))
    between = ordered[1:-1] or ordered[:1]
    return next((frame.name for frame in between if frame.milliseconds >= PREFERRED), between[-1].name)


def needs(
    frames: Collection[str], timeframe: str | None = None, weights: Mapping[str, float] | None = None
) -> dict[str, int]:
    """Say how many closed bars of which timeframes a scan reads, before there is any panel.

    Of smaller timeframes some bars have closed since the scan's bar did, which come on top.
    """
    names = [frame.name for frame in in_order(tuple(frames))]
    main = default_timeframe(names) if timeframe is None else timeframe
    if main not in names:
        raise UnknownName("timeframe", main, names)
    checked = check_weights(DEFAULT_WEIGHTS if weights is None else weights)
    reads = _lookback(_place(checked, names, main, BENCHMARK, ()))
    since = {name: TIMEFRAMES[main].milliseconds // TIMEFRAMES[name].milliseconds for name in reads}
    return {name: bars + max(0, since[name] - 1) for name, bars in reads.items()}


def _lookback(places: Mapping[str, str]) -> dict[str, int]:
    bars: dict[str, int] = {}
    for name, frame in places.items():
        bars[frame] = max(bars.get(frame, 0), BY_NAME[name].window)
    return bars


def _place(
    weights: Collection[str],
    frames: Collection[str],
    main: str,
    benchmark: str | None,
    unavailable: Collection[str],
) -> dict[str, str]:
    """Give each factor that can be had the name of the timeframe it reads."""
    ordered = [frame.name for frame in in_order(tuple(frames))]
    here = ordered.index(main)
    places: dict[str, str] = {}
    for name in weights:
        factor = BY_NAME[name]
        at = here + factor.step
        lonely = BENCHMARK in factor.fields and benchmark is None
        if name not in unavailable and not lonely and 0 <= at < len(ordered):
            places[name] = ordered[at]
    return places


class Scanner:
    """Scores all symbols of a market at a closed bar, from panels by timeframe name.

    *weights* (factor name to weight) replace the default ones; *unavailable* names factors whose fields
    are not real here; *benchmark* is the symbol that relative strength is measured against.
    *min_score* on |score| is what makes a result, *order* is by magnitude or by score (longs first).
    """

    def __init__(
        self,
        panels: Mapping[str, PanelView],
        *,
        benchmark: str | None = None,
        timeframe: str | None = None,
        weights: Mapping[str, float] | None = None,
        unavailable: Collection[str] = frozenset(),
        min_score: float = 0.0,
        side_from: float = SIDE_FROM,
        order: Order = "magnitude",
        limit: int | None = None,
    ) -> None:
        if not panels:
            raise DefinitionError(
                "A scan needs at least one timeframe: configure some, for example 1m 5m 15m 1h."
            )
        self.timeframe = default_timeframe(panels) if timeframe is None else timeframe
        if self.timeframe not in panels:
            raise UnknownName("timeframe", self.timeframe, panels)
        for known, names in ((BY_NAME, unavailable), (ORDERS, (order,))):
            for name in names:
                if name not in known:
                    raise UnknownName("order" if known is ORDERS else "factor", name, known)
        self.panels = panels
        self.benchmark = benchmark
        self.min_score, self.side_from, self.order, self.limit = min_score, side_from, order, limit
        if limit is not None and limit < 1:
            raise DefinitionError(f"A limit of {limit} results shows nothing: set 1 or more, or none.")
        self._weights = check_weights(DEFAULT_WEIGHTS if weights is None else weights)
        self._frames = {name: panel.timeframe for name, panel in panels.items()}
        self._places = _place(self._weights, self._frames, self.timeframe, benchmark, unavailable)
        if not self._places:
            raise DefinitionError(
                f"None of the weighted factors ({', '.join(self._weights)}) can be had from this data: "
                "weigh others, or add timeframes.",
            )

    def __repr__(self) -> str:
        """Show the timeframe, the factors in use and the benchmark."""
        return f"<Scanner {self.timeframe}, {len(self._places)} factors, benchmark {self.benchmark}>"

    @property
    def lookback(self) -> dict[str, int]:
        """How many closed bars a scan reads, by the names of the timeframes that it reads."""
        return _lookback(self._places)

    def warm_up(self) -> None:
        """Compile what a scan runs, or load it from the cache; for a thread beside the first fetches."""
        warm_up(tuple(BY_NAME[name] for name in self._places))
        # One bar, since a panel's own reading is compiled code as well.
        for frame in self.lookback:
            self.panels[frame].block(self.panels[frame].closed_bar, 1)

    def scan(self, bar: int | None = None) -> ScanResult:
        """Score every symbol at absolute *bar* of the scan's timeframe, by default at the newest closed."""
        panel = self.panels[self.timeframe]
        at = panel.closed_bar if bar is None else bar
        symbols = panel.symbols
        blocks = {name: self._read(name, at, length, symbols) for name, length in self.lookback.items()}
        price = panel.block(at, 1).close[: len(symbols), 0]
        parts, weights = self._score(blocks, symbols)
        total = np.sum(list(parts.values()), axis=0) if parts else np.full(len(symbols), np.nan)
        missing = np.isnan(price)
        hits, found = self._rank(symbols, price, total, parts)
        return ScanResult(
            timeframe=self.timeframe,
            bar=at,
            bar_open_time=panel.timeframe.open_time(at),
            symbols=int(np.count_nonzero(~np.isnan(total) & ~missing)),
            warming=_named(symbols, np.isnan(total) & ~missing),
            missing=_named(symbols, missing),
            unavailable=tuple(name for name in BY_NAME if name in self._weights and name not in weights),
            weights=weights,
            min_score=self.min_score,
            signals_found=found,
            results=hits,
        )

    def _read(self, name: str, bar: int, length: int, symbols: tuple[str, ...]) -> Block:
        """Copy the bars of a timeframe that had closed when the scan's *bar* did, in *symbols*' row order."""
        panel = self.panels[name]
        at = usable(panel.timeframe, self._frames[self.timeframe], bar)
        own = panel.symbols
        block = panel.block(at, length)
        if own == symbols:
            # A panel grows at its end: a symbol listed since its names were read waits for the next scan.
            return Block(*(field[: len(symbols)] for field in block))
        row = {symbol: number for number, symbol in enumerate(own)}
        return _picked(block, np.array([row.get(symbol, -1) for symbol in symbols], dtype=np.int64))

    def _score(
        self, blocks: Mapping[str, Block], symbols: tuple[str, ...]
    ) -> tuple[dict[str, F64], dict[str, float]]:
        """Give the points [symbols] of each factor that can be had at this bar, and the weights used."""
        values: dict[str, F64] = {}
        for name, frame in self._places.items():
            factor, block = BY_NAME[name], blocks[frame]
            row = self._benchmark_row(factor, block, symbols)
            if row is not None or BENCHMARK not in factor.fields:
                values[name] = factor.squash(evaluate(factor, block, row))
        weights = share_weights(self._weights, values)
        return {name: points(weights[name], values[name]) for name in weights}, weights

    def _benchmark_row(self, factor: Factor, block: Block, symbols: tuple[str, ...]) -> Series | None:
        """Give the benchmark's closes, None where it is not there or its window has a hole.

        Without it the factor is left out for everyone: a hole in one symbol must not end the scan of all.
        """
        if BENCHMARK not in factor.fields or self.benchmark not in symbols:
            return None
        row = block.close[symbols.index(self.benchmark)]
        return None if np.isnan(row[-factor.window :]).any() else row

    def _rank(
        self,
        symbols: tuple[str, ...],
        price: F64,
        total: F64,
        parts: Mapping[str, F64],
    ) -> tuple[tuple[Hit, ...], int]:
        """Give the hits, best first with ties by name, and how many there were before the limit."""
        scores = total.tolist()
        found = np.flatnonzero((np.abs(total) >= self.min_score) & ~np.isnan(price)).tolist()
        size = abs if self.order == "magnitude" else float
        found.sort(key=lambda row: (-size(scores[row]), symbols[row]))
        kept = found[: self.limit]
        prices, columns = price.tolist(), {name: column.tolist() for name, column in parts.items()}
        hits = tuple(
            Hit(
                symbol=symbols[row],
                score=scores[row],
                side=side(scores[row], side_from=self.side_from),
                price=prices[row],
                contributions={name: column[row] for name, column in columns.items()},
            )
            for row in kept
        )
        return hits, len(found)


def _named(symbols: tuple[str, ...], mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[str, ...]:
    """Give the names where *mask* [symbols] is set, in row order."""
    return tuple(symbols[row] for row in np.flatnonzero(mask))


def _picked(block: Block, rows: I64) -> Block:
    """Give the block's rows in another order; row -1 is a symbol that it does not hold (NaN)."""
    return Block(*(_pick(field, rows) for field in block))


def _pick(field: F64, rows: I64) -> F64:
    """Take rows of a field [symbols, bars] as a new array, NaN for row -1."""
    out = np.full((rows.size, field.shape[1]), np.nan)
    out[rows >= 0] = field[rows[rows >= 0]]
    return out
