"""Studies: a screen replayed over a range of history, and everything measured that says what it was worth.

1. Replay: values, hits and who was judged, at each bar.
2. Members: who was in the universe at each bar, as it was then.
3. Forward returns from the next bar's open, for each horizon.
4. Cross-sections by bar, then means over bars with intervals; the same on parts of bars and symbols.
5. A portfolio of the outer quantiles with its costs, held for the headline's horizon.
6. What the log of trials knows, and a verdict in words.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import msgspec
import numpy as np

from klinehub.errors import DefinitionError
from klinehub.evidence import portfolio as book
from klinehub.evidence import sharpe
from klinehub.evidence.cross import I8, Cross, cross, quantiles_of, turnover
from klinehub.evidence.events import Path, beyond, path
from klinehub.evidence.forward import Prices, delisted_within, forward_returns, next_returns, prices_in
from klinehub.evidence.groups import hours, regimes, tiers
from klinehub.evidence.intervals import Interval, newey_west
from klinehub.evidence.members import Members
from klinehub.evidence.pools import ALONE, Pool, Progress
from klinehub.evidence.replay import Replayed, plane, replay
from klinehub.evidence.result import Event, Evidence, Group, Horizon, Portfolio, number, span
from klinehub.evidence.tape import Tape
from klinehub.evidence.trials import Known, Trial, known_of
from klinehub.evidence.verdict import notes, verdict
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64, I64
from klinehub.panel.roll import indexes
from klinehub.scan.score import VERSION
from klinehub.scan.screen import Screen

HORIZONS: Final = (1, 4, 24, 96)
QUANTILES: Final = 5
FOLDS: Final = 5
_SIDES: Final = (("long", 1.0), ("short", -1.0))


class Asked(NamedTuple):
    """What is asked of a study: horizons in bars, that of the verdict, quantiles, costs, and who replays."""

    horizons: tuple[int, ...] = HORIZONS
    headline: int | None = None
    quantiles: int = QUANTILES
    costs: book.Costs = book.Costs()
    pool: Pool = ALONE

    def checked(self) -> "Asked":
        """Give the same in order; raises DefinitionError for what can not be measured."""
        if not self.horizons or min(self.horizons) < 1:
            raise DefinitionError(
                f"Horizons of {list(self.horizons)} bars are none: give whole numbers from 1."
            )
        horizons = tuple(sorted(set(self.horizons)))
        headline = self.headline or horizons[len(horizons) // 2]
        if headline not in horizons:
            raise DefinitionError(f"The headline of {headline} bars is no horizon: choose one of {horizons}.")
        if not 2 <= self.quantiles <= 20:
            raise DefinitionError(f"{self.quantiles} quantiles can not be cut: give 2 to 20.")
        return self._replace(horizons=horizons, headline=headline)


class Study(NamedTuple):
    """A result, the trial that it was, and the figures by bar that it was made of: what a report draws.

    `times` are the bars' opens (ms UTC), `crosses` by horizon; `booked` and `weights` are the portfolio's.
    """

    evidence: Evidence
    trial: Trial
    times: I64
    symbols: tuple[str, ...]
    crosses: Mapping[int, Cross]
    booked: book.Booked
    weights: F64
    returns: F64


class _Held(NamedTuple):
    """The portfolio: what is held [bars, symbols], as it was booked, and its net by day from its first on."""

    weights: F64
    booked: book.Booked
    days: F64


class _Range:
    """What is computed once of a replayed range, [bars, symbols]."""

    def __init__(self, tape: Tape, replayed: Replayed, members: Flags, asked: Asked) -> None:
        self.tape, self.replayed, self.asked = tape, replayed, asked
        self.panel = tape.panels[replayed.timeframe]
        self.length = self.panel.timeframe.milliseconds
        self.members = members & replayed.judged
        self.hits = members & replayed.hits
        self.values = replayed.values
        self.returns = {bars: forward_returns(self.prices, bars) for bars in asked.horizons}
        self.next = next_returns(self.prices)
        self.quantile: I8 = quantiles_of(self.values, self.members, asked.quantiles)
        self.crosses = {
            bars: cross(self.values, returns, self.quantile, asked.quantiles)
            for bars, returns in self.returns.items()
        }

    @property
    def headline(self) -> int:
        return self.asked.headline or self.asked.horizons[0]

    @cached_property
    def times(self) -> I64:
        frame, first = self.panel.timeframe, self.replayed.first
        return np.array([frame.open_time(first + bar) for bar in range(self.replayed.bars)])

    @cached_property
    def prices(self) -> Prices:
        return prices_in(self.panel, self.replayed.first, self.replayed.bars)

    def plane(self, name: str) -> F64:
        return plane(self.panel, name, self.replayed.first, self.replayed.bars)

    @cached_property
    def sides(self) -> F64:
        """The side of each value: that of a score, up for what is sorted or filtered by."""
        screen = self.replayed.screen
        if not screen.score:
            return np.ones(self.values.shape)
        return np.where(np.abs(self.values) >= screen.side_from, np.sign(self.values), 0.0)


def study(
    screen: Screen,
    tape: Tape,
    start: int,
    end: int,
    asked: Asked,
    *,
    members: Members,
    code: str,
    log: Sequence[Trial] = (),
    progress: Progress = lambda _: None,
) -> Study:
    """Replay a screen over [start, end) ms UTC of a tape and measure what it was worth.

    *members* says who was in the universe, *code* which klinehub this is, *log* what was tried before.
    """
    asked = asked.checked()
    replayed = replay(screen, tape, start, end, pool=asked.pool, progress=progress)
    panel = tape.panels[replayed.timeframe]
    found = _Range(tape, replayed, members.of(panel, replayed.first, replayed.bars), asked)
    held = _held(found)
    horizons = {str(bars): _horizon(found, bars) for bars in asked.horizons}
    trial = _trial(found, held, horizons[str(found.headline)])
    known = known_of(trial, log)
    measured = Evidence(
        screen=screen.name,
        hash=screen.hash,
        version=VERSION,
        code=code,
        data=trial.data,
        source=tape.source,
        timeframe=replayed.timeframe,
        universe=members.how,
        bars=replayed.bars,
        symbols=int(np.count_nonzero(found.members.any(axis=0))),
        range=(trial.start, trial.end),
        headline=found.headline,
        horizons=horizons,
        folds=tuple(_folds(found)),
        regimes=tuple(_regimes(found)),
        tiers=tuple(_tiers(found)),
        hours=tuple(_part(found, name, at) for name, at in hours(found.times + found.length)),
        events=tuple(_events(found)),
        portfolio=_portfolio(found, held),
        trials=known.trials,
        deflated_sharpe=number(sharpe.deflated(held.days, known.ratios)),
        verdict="",
    )
    evidence = _concluded(measured, tape, screen, known)
    return Study(
        *(evidence, trial, found.times, panel.symbols),
        *(found.crosses, held.booked, held.weights, found.next),
    )


def _held(found: _Range) -> _Held:
    """Book the portfolio of the outer quantiles, held for the headline's horizon."""
    weights = book.weights_of(found.quantile, found.asked.quantiles, found.headline)
    booked = book.booked(weights, found.next, found.asked.costs, _funding(found))
    # Days of the warm-up hold nothing, and would make what is earned a year look smaller.
    begun = int(np.argmax((weights != 0.0).any(axis=1)))
    return _Held(weights, booked, sharpe.daily(booked.net[begun:], found.times[begun:]))


def _trial(found: _Range, held: _Held, headline: Horizon) -> Trial:
    """Say what the log of trials keeps of a study."""
    screen = found.replayed.screen
    return Trial(
        kind="judged",
        screen=screen.name,
        hash=screen.hash,
        data=found.tape.fingerprint(),
        timeframe=found.replayed.timeframe,
        start=int(found.times[0]),
        end=int(found.times[-1]) + found.length,
        sharpe=number(sharpe.sharpe(held.days)),
        rank_ic=headline.rank_ic,
    )


def _concluded(evidence: Evidence, tape: Tape, screen: Screen, known: Known) -> Evidence:
    """Add what the figures come to, in words."""
    told = notes(evidence, tape, screen, known)
    return msgspec.structs.replace(evidence, verdict=verdict(evidence), notes=tuple(told))


def _horizon(found: _Range, bars: int) -> Horizon:
    """Give one horizon's means with their intervals."""
    one, quantiles = found.crosses[bars], found.asked.quantiles
    ic, rank_ic = newey_west(one.ic, bars), newey_west(one.rank_ic, bars)
    apart = newey_west(one.spread, bars)
    on_side, hits = _on_side(found, bars)
    rate = newey_west(on_side, bars)
    changed = np.concatenate([turnover(found.quantile, which, bars) for which in (1, quantiles)])
    beyond_mean = (one.quantiles - one.mean) * one.sizes
    pooled = np.nansum(beyond_mean, axis=1) / np.maximum(one.sizes.sum(axis=1, where=one.sizes > 0), 1)
    return Horizon(
        bars=bars,
        ic=number(ic.mean),
        ic_interval=span(ic),
        rank_ic=number(rank_ic.mean),
        rank_ic_interval=span(rank_ic),
        quantiles=tuple(
            number(value) if n else None for value, n in zip(pooled, one.sizes.sum(axis=1), strict=True)
        ),
        spread=number(apart.mean),
        spread_interval=span(apart),
        hit_rate=number(_pooled(on_side, hits)),
        hit_rate_interval=span(rate),
        hits=int(hits.sum()),
        turnover=number(float(np.nanmean(changed)) if np.isfinite(changed).any() else np.nan),
        n=int(one.known[np.isfinite(one.mean)].sum()),
        counted=int(np.isfinite(one.rank_ic).sum()),
        delisted=delisted_within(found.prices, bars, found.members),
    )


def _on_side(found: _Range, bars: int) -> tuple[F64, I64]:
    """Give, by bar, the share of hits whose return was on their side, NaN without any, and how many."""
    returns = found.returns[bars]
    counts = found.hits & np.isfinite(returns) & (found.sides != 0.0)
    right = counts & (returns * found.sides > 0.0)
    hits = np.count_nonzero(counts, axis=1)
    shares = np.divide(np.count_nonzero(right, axis=1), hits, out=np.full(hits.size, np.nan), where=hits > 0)
    return shares, hits


def _pooled(shares: F64, counts: I64) -> float:
    """Give the share over all bars."""
    return float(np.nansum(shares * counts) / counts.sum()) if counts.sum() else np.nan


def _part(found: _Range, name: str, at: Flags) -> Group:
    """Give the headline's figures on some bars; intervals count what overlaps as if they were all."""
    one = found.crosses[found.headline]
    return _group(found, name, one.rank_ic[at], one.spread[at])


def _group(found: _Range, name: str, rank_ics: F64, spreads: F64) -> Group:
    rank_ic = newey_west(rank_ics, found.headline)
    known = spreads[np.isfinite(spreads)]
    return Group(
        name=name,
        counted=rank_ic.n,
        rank_ic=number(rank_ic.mean),
        rank_ic_interval=span(rank_ic),
        spread=number(float(known.mean())) if known.size else None,
    )


def _folds(found: _Range) -> Iterable[Group]:
    """Part the range in stretches, one after the other, with a horizon left out between them."""
    edges = np.linspace(0, found.replayed.bars, FOLDS + 1).astype(int)
    for n in range(FOLDS):
        at = np.zeros(found.replayed.bars, bool)
        at[edges[n] + (found.headline if n else 0) : edges[n + 1]] = True
        if at.any():
            first, last = found.times[at][[0, -1]]
            yield _part(found, f"{first}..{last}", at)


def _regimes(found: _Range) -> Iterable[Group]:
    if found.tape.benchmark not in found.panel.symbols:
        return
    closes = found.prices.closes[:, found.panel.symbols.index(found.tape.benchmark or "")]
    for name, at in regimes(closes, found.length):
        if at.any():
            yield _part(found, name, at)


def _tiers(found: _Range) -> Iterable[Group]:
    quantiles = found.asked.quantiles
    for name, members in tiers(found.plane("quote_volume"), found.members, found.length):
        cut = quantiles_of(found.values, members, quantiles)
        one = cross(found.values, found.returns[found.headline], cut, quantiles)
        yield _group(found, name, one.rank_ic, one.spread)


def _events(found: _Range) -> Iterable[Event]:
    apart = beyond(found.next, found.members)
    for name, side in _SIDES:
        seen: Path = path(found.hits & (found.sides == side), apart)
        if seen.events:
            yield Event(
                side=name, hits=seen.events, offsets=seen.offsets, path=tuple(map(number, seen.means))
            )


def _funding(found: _Range) -> F64 | None:
    """Give the rates due while what is decided at each bar is held: [bars, symbols], None without any.

    What is decided at bar t is held from the open of t + 1 to the next one, and pays what is due by then.
    """
    if not found.tape.funding:
        return None
    bars, rows = found.values.shape
    due = np.zeros((bars, rows))
    for row, symbol in enumerate(found.panel.symbols):
        if symbol in found.tape.funding:
            paid = found.tape.funding[symbol]
            # The archive tells some a few milliseconds late.
            due_at = (paid.times + 500) // 1_000 * 1_000
            at = indexes(found.panel.timeframe, due_at - 1) - found.replayed.first - 1
            inside = (at >= 0) & (at < bars)
            due[:, row] = np.bincount(at[inside], paid.rates[inside], bars)
    return due


def _portfolio(found: _Range, held: _Held) -> Portfolio:
    """Give the portfolio's figures a year."""
    weights, booked, days = held
    years = max(days.size, 1) / sharpe.DAYS_A_YEAR
    ratio = Interval(np.nan, np.nan, np.nan, days.size)
    if np.isfinite(sharpe.sharpe(days)):
        mean, half = sharpe.annual(sharpe.sharpe(days)), 1.96 * sharpe.annual(sharpe.error(days))
        ratio = Interval(mean, mean - half, mean + half, days.size)
    costs = found.asked.costs
    return Portfolio(
        hold=found.headline,
        fee=costs.fee,
        slippage=costs.slippage,
        gross=number(booked.gross.sum() / years),
        costs=number(booked.costs.sum() / years),
        funding=number(booked.funding.sum() / years) if found.tape.funding else None,
        net=number(booked.net.sum() / years),
        sharpe=number(ratio.mean),
        sharpe_interval=span(ratio),
        drawdown=float(book.drawdown(booked.net).min()),
        turnover=number(booked.traded.sum() / max(days.size, 1)),
        capacity=number(book.capacity(weights, found.plane("quote_volume"))),
        unpriced=booked.unpriced,
        days=days.size,
    )
