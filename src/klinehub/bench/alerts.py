"""`alerts`: a whole market held against the rules of many when a bar closes, up to what is to be told."""

import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from klinehub.alerts.group import Group
from klinehub.alerts.judging import Judge
from klinehub.alerts.outbox import Decision, Fired, Outbox
from klinehub.alerts.rule import Rule, RuleText, rule_of
from klinehub.alerts.telling import alert_of
from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.stage import NOON, SYMBOLS
from klinehub.domain.kline import Exact, Scale
from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.panel.ring import Ring
from klinehub.scan.alerts import Facts
from klinehub.scan.copies import Ground
from klinehub.scan.scanner import default_screen
from klinehub.sim.synthetic import synthetic

FRAMES: Final = ("5m", "15m", "1h")
MAIN: Final = "15m"
BARS: Final = 512
CLOSES: Final = 100
EVALUATIONS: Final = 10_000
GOAL: Final = 20.0
# What people ask for, each with other numbers for each of their rules.
WANTED: Final = (
    "rsi < {a:.1f} and volume_surge > {b:.2f}",
    "rsi_1h > {c:.1f} and trend > 0.5",
    "close > {d:.6g}",
    "close < {e:.6g}",
    "donchian > 1 and volume_surge > {b:.2f}",
    "bollinger_b < {f:.2f} and adx > 20",
    "roc > {g:.2f} or roc < -{g:.2f}",
    "zscore(volume_surge) > {b:.2f} and taker_ratio > 0.5",
    "score > {c:.1f} and age > 30d",
    "rank(atr_percent) > 0.{h} and macd > 0",
)


def measure(
    seed: int, *, symbols: int = SYMBOLS, closes: int = CLOSES, evaluations: int = EVALUATIONS
) -> Measurement:
    """Give the ms of CPU from a bar's close to what fires, of rules for everybody and of many for one."""
    rng = np.random.default_rng(seed)
    market = _Market(symbols, seed, closes)
    count = -(-evaluations // len(market.names))
    whole = _closing(market, [_rule(n, (), rng) for n in range(count)])
    market = _Market(symbols, seed, closes)
    names = rng.choice(market.names, evaluations).tolist()
    single = _closing(market, [_rule(n, (name,), rng) for n, name in enumerate(names)])
    detail = {
        "whole_market": {"rules": count, **whole},
        "one_symbol_each": {"rules": evaluations, **single},
        "symbols": len(market.names),
        "timeframes": len(FRAMES),
        "closes": closes,
        "time": "CPU; real for what is written, in a thread of its own",
        "goals": {"whole_market_ms_p50": GOAL, "one_symbol_each_ms_p50": GOAL},
    }
    return Measurement(whole["close_ms"]["p50"], "ms", detail)


class _Series:
    """What is still to come of one symbol on one timeframe, after the bar *last*."""

    def __init__(self, number: int, row: int, last: int, exact: Exact) -> None:
        self.number, self.row, self.last, self.exact = number, row, last, exact

    def next(self, upto: int) -> Exact:
        """Take the bars up to *upto*."""
        count, self.last = upto - self.last, upto
        taken, self.exact = (
            Exact(self.exact.rows[one], self.exact.scale) for one in (slice(count), slice(count, None))
        )
        return taken


class _Market:
    """A ring of a synthetic market, in which the bars of all timeframes close one after the other."""

    def __init__(self, symbols: int, seed: int, closes: int) -> None:
        market = synthetic(symbols, seed, start=NOON)
        self.names = [one.symbol for one in market.instruments][:symbols]
        self.frames = tuple(TIMEFRAMES[name] for name in FRAMES)
        self.ring = Ring(self.frames, rows=len(self.names), bars=BARS)
        self.panels = {frame.name: self.ring.panel(frame.name) for frame in self.frames}
        self.last = TIMEFRAMES[MAIN].index(NOON) - 1
        self.first = self.last - closes
        begin = TIMEFRAMES[MAIN].close_time(self.first) + 1
        self._coming = []
        for row, name in enumerate(self.names):
            self.ring.add(name, Scale(0, 0, 0))
            for number, frame in enumerate(self.frames):
                since, upto = frame.index(begin) - 1, frame.index(NOON) - 1
                told = market.klines(market.index[name], frame, since - BARS + 2, upto, NOON)
                old = len(told.rows) - (upto - since)
                self._load(number, row, Exact(told.rows[:old], told.scale))
                coming = Exact(told.rows[old:], told.scale)
                self._coming.append(_Series(number, row, since, coming))

    def close(self, bar: int) -> None:
        """Let everything close that ends by the end of this bar."""
        end = TIMEFRAMES[MAIN].close_time(bar) + 1
        for series in self._coming:
            upto = self.frames[series.number].index(end) - 1
            if upto > series.last:
                self._load(series.number, series.row, series.next(upto))

    def _load(self, number: int, row: int, exact: Exact) -> None:
        self.ring.load(number, row, exact, NOON + 10**7)


def _rule(number: int, symbols: tuple[str, ...], rng: np.random.Generator) -> Rule:
    """Make one of the rules that people want, with numbers of its own."""
    given = {name: float(rng.uniform(low, high)) for name, low, high in _NUMBERS}
    where = WANTED[number % len(WANTED)].format(h=int(rng.integers(5, 10)), **given)
    clear = f"rsi > {given['c']:.1f}" if number % 4 == 0 else ""
    text = RuleText(where=where, timeframe=MAIN, symbols=symbols, clear=clear, cooldown=number % 5)
    return rule_of(f"rule {number}", text, lambda frame: default_screen(FRAMES, frame), {})


_NUMBERS: Final = (
    ("a", 20.0, 40.0),
    ("b", 1.5, 4.0),
    ("c", 55.0, 80.0),
    ("d", 0.1, 100.0),
    ("e", 0.1, 100.0),
    ("f", -0.2, 0.2),
    ("g", 1.0, 5.0),
)


def _closing(market: _Market, rules: list[Rule]) -> dict[str, Any]:
    """Decide one close after the other, and write it down; gives the ms of each, and what came of it."""
    begun = time.process_time()
    judge = Judge(rules, Ground(market.panels, "BTCUSDT", {}))
    judge.compile()
    judge.seen(market.first)
    group = Group(judge, market.first - 1, {}, newest=market.first, listed={})
    group.take(group.decided(market.first, None))
    made = time.process_time() - begun
    decided, written, fired = [], [], 0
    with TemporaryDirectory() as folder, closing(Outbox(Path(folder) / "alerts.db", now=NOON)) as outbox:
        outbox.decided(Decision(NOON, edges=group.all_edges(), symbols=judge.symbols))
        for bar in range(market.first + 1, market.last + 1):
            market.close(bar)
            begun = time.process_time()
            step = group.decided(bar, None)
            edges = group.edges(step)
            decided.append(time.process_time() - begun)
            told = tuple(Fired(alert_of(fire, judge.frame, bar, Facts()), ("phone",)) for fire in step.fires)
            begun = time.perf_counter()
            fired += len(outbox.decided(Decision(NOON, told, {MAIN: bar}, edges)))
            written.append(time.perf_counter() - begun)
            group.take(step)
    return {
        "evaluations": int(judge.cells.row.size),
        "close_ms": _spread(decided),
        "written_ms": _spread(written),
        "fired": fired,
        "made_ms": rounded(made * 1e3),
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    """Give the ms of most and of nearly all, without those of the first closes."""
    kept = seconds[len(seconds) // 10 :]
    return {f"p{share}": rounded(float(np.percentile(kept, share)) * 1e3) for share in (50, 99)}
