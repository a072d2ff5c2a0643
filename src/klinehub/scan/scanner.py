"""The scanner: every symbol of a market held against screens at one closed bar.

1. All screens of one timeframe share an engine, which computes each different term once.
2. A symbol without the bar is missing; one of which something asked for is not known yet is warming: both
   are named, and neither is a hit.
3. Of the others those are hits for which the screen's condition holds and whose score is large enough.

A scan is a function of the panels' closed bars alone: no clock, no I/O. The engine keeps what the next bar
needs, and gives the same numbers without it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from klinehub.domain.timeframe import MINUTE, TIMEFRAMES, in_order
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.engine import Engine
from klinehub.factors.plan import planned
from klinehub.factors.points import available, points, share_weights, total
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import PanelView
from klinehub.scan.score import DEFAULT_WEIGHTS, VERSION, check_weights, default_parts, side, weights_of
from klinehub.scan.screen import Screen

# Long enough that a scan is worth a look, short enough that it comes often.
PREFERRED: Final = 15 * MINUTE
DEFAULT: Final = "score"


class Hit(msgspec.Struct, frozen=True):
    """One symbol that a screen has found; `contributions` are points per part and sum to `score` exactly.

    `columns` are what the screen shows besides; None is not known.
    """

    symbol: str
    score: float | None
    side: str
    price: float
    contributions: dict[str, float]
    columns: dict[str, float | None] = {}


class ScanResult(msgspec.Struct, frozen=True):
    """One screen at one bar: when, of what, and who came out on top.

    `symbols` counts those that could be judged; of `warming` something is not known yet, and `missing` lack
    the bar itself. `signals_found` counts all hits, also those that `top` cut from `results`. `weights` are
    those used (sizes sum to 100); `unavailable` parts took no part. `version` and `hash` tell definitions
    apart. `universe` is when (exchange time in ms) the universe was chosen that was looked at, None where
    that is every symbol. `forming` says that the bar was still open: nothing of the result is final.
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
    screen: str = DEFAULT
    version: int = VERSION
    hash: str = ""
    universe: int | None = None
    forming: bool = False


class Sheet(NamedTuple):
    """Every symbol's values at one bar, by row: also of those that are no hits.

    *columns* are by the names that the screen has for them, *passes* says where its condition holds, None
    without one. *forming* says that the bar was still open: nothing of it is final; *revision* how often it
    was computed again, *seconds* what that took in real ones.
    """

    timeframe: str
    bar: int
    symbols: tuple[str, ...]
    close: F64
    score: F64 | None
    parts: dict[str, F64]
    columns: dict[str, F64]
    passes: Flags | None
    warming: Flags
    missing: Flags
    forming: bool = False
    revision: int = 0
    seconds: float = 0.0


class _Judged(NamedTuple):
    """What was computed of all symbols at one bar: points [parts, symbols, 1], the others by symbol."""

    values: Mapping[str, F64]
    parts: F64
    scores: F64
    missing: Flags
    warming: Flags


class Universe(NamedTuple):
    """The symbols that scans look at, and when (exchange time in ms) they were chosen."""

    time: int
    symbols: Collection[str]


def default_timeframe(frames: Collection[str]) -> str:
    """Name the timeframe to scan: the smallest of 15m or more that has both a smaller and a larger one.

    Where all of those between are smaller than 15m, the largest of them; of two timeframes, the smaller.
    """
    ordered = in_order(tuple(frames))
    if not ordered:
        raise DefinitionError(
            "A scan needs at least one timeframe: configure some, for example 1m 5m 15m 1h."
        )
    between = ordered[1:-1] or ordered[:1]
    return next((frame.name for frame in between if frame.milliseconds >= PREFERRED), between[-1].name)


def default_screen(
    frames: Collection[str],
    timeframe: str | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    benchmark: bool = True,
    unavailable: Collection[str] = (),
    min_score: float = 0.0,
    top: int | None = None,
) -> Screen:
    """Give the screen of the default score on one of *frames*; raises UnknownName for one that is none."""
    names = [frame.name for frame in in_order(tuple(frames))]
    usual = default_timeframe(names)
    main = usual if timeframe is None else timeframe
    if main not in names:
        raise UnknownName("timeframe", main, names)
    for name in unavailable:
        if name not in DEFAULT_WEIGHTS:
            raise UnknownName("factor", name, DEFAULT_WEIGHTS)
    checked = check_weights(DEFAULT_WEIGHTS if weights is None else weights)
    parts = default_parts(checked, names, main, benchmark=benchmark, unavailable=unavailable)
    found = {part.name for part in parts}
    gone = tuple(name for name in checked if name not in found)
    return Screen(name=DEFAULT, timeframe=main, score=parts, unavailable=gone, min_score=min_score, top=top)


def needs(
    frames: Collection[str], timeframe: str | None = None, weights: Mapping[str, float] | None = None
) -> dict[str, int]:
    """Say how many closed bars of which timeframes the default screen reads, before there is any panel."""
    return rows_of(default_screen(frames, timeframe, weights=weights), frames)


def rows_of(screen: Screen, frames: Collection[str]) -> dict[str, int]:
    """Say how many closed bars of which timeframes a screen reads, so that nothing of it is warming.

    Of smaller timeframes some bars have closed since the scan's bar did, which come on top.
    """
    main = screen.timeframe or default_timeframe(frames)
    rows = planned(screen.exprs.values(), main, frames).rows
    since = {name: TIMEFRAMES[main].milliseconds // TIMEFRAMES[name].milliseconds for name in rows}
    return {name: bars + max(0, since[name] - 1) for name, bars in rows.items()}


class Scanner:
    """Holds screens of one timeframe against panels by timeframe name, bar by bar.

    *benchmark* is the symbol that factors compare with, *listed* since when (ms) symbols trade.
    """

    def __init__(
        self,
        panels: Mapping[str, PanelView],
        screens: Sequence[Screen],
        *,
        benchmark: str | None = None,
        listed: Mapping[str, int] | None = None,
    ) -> None:
        frames = {screen.timeframe or default_timeframe(panels) for screen in screens}
        if len(frames) != 1:
            raise DefinitionError(
                f"One scanner scans one timeframe, not {sorted(frames)}: make one for each."
            )
        self.timeframe = frames.pop()
        if self.timeframe not in panels:
            raise UnknownName("timeframe", self.timeframe, panels)
        self.screens = tuple(screens)
        self.benchmark = benchmark
        self._panel = panels[self.timeframe]
        self._hashes = [screen.hash for screen in screens]
        self._keys = [tuple(screen.exprs) for screen in screens]
        exprs = {f"{n} {key}": expr for n, one in enumerate(screens) for key, expr in one.exprs.items()}
        self.engine = Engine(exprs, panels, self.timeframe, benchmark=benchmark, listed=listed)

    def __repr__(self) -> str:
        """Show the timeframe and the screens."""
        return f"<Scanner {self.timeframe}, {', '.join(screen.name for screen in self.screens)}>"

    def follow(self, panels: Mapping[str, PanelView]) -> None:
        """Go on from here on other panels of the same bars: those of the hub that these were copied from."""
        self._panel = panels[self.timeframe]
        self.engine.part(panels)

    @property
    def rows(self) -> dict[str, int]:
        """How many closed bars a scan reads, by the names of the timeframes that it reads."""
        return self.engine.plan.rows

    def warm_up(self) -> None:
        """Compile what a scan runs, or load it from the cache; for a thread beside the first fetches."""
        self.engine.compile()

    def scan(
        self, bar: int | None = None, *, min_score: float | None = None, universe: Universe | None = None
    ) -> tuple[ScanResult, ...]:
        """Hold every symbol against every screen at absolute *bar*, by default the newest closed one.

        *min_score* stands in for that of the screens. Of a *universe* only its symbols can be hits; ranks and
        z-scores are taken over all that the panels hold.
        """
        at = self._panel.closed_bar if bar is None else bar
        chosen = [
            screen if min_score is None else msgspec.structs.replace(screen, min_score=min_score)
            for screen in self.screens
        ]
        return self._results(self.engine, chosen, at, universe)

    def ahead(
        self, views: Mapping[str, PanelView], bar: int, *, universe: Universe | None = None
    ) -> tuple[ScanResult, ...]:
        """Hold every symbol against every screen at *bar*, which is still open, as *views* show it.

        What the scanner keeps is not touched: the bar's close is scanned as if nobody had looked before.
        """
        self.engine.at(bar - 1)
        found = self._results(self.engine.ahead(views), self.screens, bar, universe)
        return tuple(msgspec.structs.replace(one, forming=True) for one in found)

    def sheet(self, bar: int) -> Sheet:
        """Give every symbol's values of the first screen at absolute *bar*, whether it is a hit or not."""
        return self._sheet(self.engine, bar)

    def sheet_ahead(self, views: Mapping[str, PanelView], bar: int) -> Sheet:
        """Give the same at *bar*, which is still open, as *views* show it; see `ahead`."""
        self.engine.at(bar - 1)
        return self._sheet(self.engine.ahead(views), bar)._replace(forming=True)

    def _sheet(self, engine: Engine, bar: int) -> Sheet:
        values = engine.at(bar)
        screen = self.screens[0]
        found = _judged(engine, screen, {key: values[f"0 {key}"][:, 0] for key in self._keys[0]})
        where = found.values.get("where")
        return Sheet(
            timeframe=self.timeframe,
            bar=bar,
            symbols=engine.symbols,
            close=found.values["close"].copy(),
            score=found.scores.copy() if screen.score else None,
            parts={part.name: found.parts[n, :, 0].copy() for n, part in enumerate(screen.score)},
            columns={name: found.values[f"column {name}"].copy() for name in screen.columns},
            passes=None if where is None else where == 1.0,
            warming=found.warming,
            missing=found.missing,
        )

    def _results(
        self, engine: Engine, screens: Sequence[Screen], bar: int, universe: Universe | None
    ) -> tuple[ScanResult, ...]:
        """Give what each of the scanner's screens finds."""
        values = {name: column[:, 0] for name, column in engine.at(bar).items()}
        return tuple(
            self._result(
                *(engine, screen, self._hashes[number], bar),
                {key: values[f"{number} {key}"] for key in keys},
                universe,
            )
            for number, (screen, keys) in enumerate(zip(screens, self._keys, strict=True))
        )

    def _result(
        self,
        engine: Engine,
        screen: Screen,
        digest: str,
        bar: int,
        values: Mapping[str, F64],
        universe: Universe | None,
    ) -> ScanResult:
        """Find a screen's hits among the values that were computed for it."""
        symbols, found = engine.symbols, _judged(engine, screen, values)
        missing, warming, scores = found.missing, found.warming, found.scores
        # Symbols that a screen names are looked at whatever the universe is: somebody holds them.
        among = screen.symbols or (None if universe is None else universe.symbols)
        looked_at = np.ones(len(symbols), bool) if among is None else np.isin(symbols, list(among))
        rows = _found(screen, values, scores, looked_at & ~missing & ~warming, engine.order)
        used = _used(screen, values)
        return ScanResult(
            timeframe=self.timeframe,
            bar=bar,
            bar_open_time=self._panel.timeframe.open_time(bar),
            symbols=int(np.count_nonzero(looked_at & ~missing & ~warming)),
            warming=_named(symbols, looked_at & warming),
            missing=_named(symbols, looked_at & missing),
            unavailable=(*screen.unavailable, *(one.name for one in screen.score if one.name not in used)),
            weights=used,
            min_score=screen.min_score,
            signals_found=len(rows),
            results=tuple(
                _hit(screen, symbols[row], row, values, scores, found.parts) for row in rows[: screen.top]
            ),
            screen=screen.name,
            hash=digest,
            universe=None if universe is None or screen.symbols else universe.time,
        )


def _judged(engine: Engine, screen: Screen, values: Mapping[str, F64]) -> _Judged:
    """Score every symbol, and say of which the bar lacks and of which something is not known yet."""
    given = _given(screen, values)
    parts = points(screen.score, given) if given else np.empty((0, len(engine.symbols), 1))
    scores = total(parts)[:, 0]
    missing = np.isnan(values["close"])
    warming = ~missing & (np.isnan(scores) | np.isnan(values.get("where", scores * 0.0)))
    return _Judged(values, parts, scores, missing, warming)


def _given(screen: Screen, values: Mapping[str, F64]) -> list[F64]:
    """Give the values of a screen's parts [symbols, 1]."""
    return [values[f"part {part.name}"][:, None] for part in screen.score]


def _used(screen: Screen, values: Mapping[str, F64]) -> dict[str, float]:
    """Give the weights of the parts that counted."""
    if not screen.score:
        return {}
    counted = available(screen.score, _given(screen, values))[0]
    return share_weights(weights_of(screen.score), counted)


def _found(screen: Screen, values: Mapping[str, F64], scores: F64, known: Flags, order: I64) -> list[int]:
    """List the rows of the hits as the screen orders them, equal ones in *order*, unplaced ones last."""
    passes = screen.passing(values.get("where"), scores, known)
    by = values["order"] if screen.order_by is not None else -np.abs(scores)
    rows = order[passes[order]]
    found: list[int] = rows[np.argsort(by[rows], kind="stable")].tolist()
    return found


def _hit(screen: Screen, symbol: str, row: int, values: Mapping[str, F64], scores: F64, parts: F64) -> Hit:
    """Write one hit down."""
    score = float(scores[row]) if screen.score else None
    named = {part.name: float(parts[n, row, 0]) for n, part in enumerate(screen.score)}
    columns = {name: float(values[f"column {name}"][row]) for name in screen.columns}
    return Hit(
        symbol=symbol,
        score=score,
        side="flat" if score is None else side(score, side_from=screen.side_from),
        price=float(values["close"][row]),
        contributions=named,
        columns={name: None if np.isnan(value) else value for name, value in columns.items()},
    )


def _named(symbols: tuple[str, ...], mask: Flags) -> tuple[str, ...]:
    """Give the names where *mask* [symbols] is set, in row order."""
    return tuple(symbols[row] for row in np.flatnonzero(mask))


def compute(
    screen: Screen,
    panel: PanelView | Mapping[str, PanelView],
    bar: int | None = None,
    *,
    benchmark: str | None = None,
    listed: Mapping[str, int] | None = None,
    universe: Universe | None = None,
) -> ScanResult:
    """Hold a screen against recorded bars, without a hub: the numbers that a live one would have given.

    *panel* is one timeframe's or several by name, *bar* the absolute index to look at, by default the newest;
    *benchmark* is the symbol that factors compare with, *listed* since when (ms) symbols trade. *universe* is
    who was in the universe then, everybody without one.
    """
    panels = panel if isinstance(panel, Mapping) else {panel.timeframe.name: panel}
    return Scanner(panels, (screen,), benchmark=benchmark, listed=listed).scan(bar, universe=universe)[0]
