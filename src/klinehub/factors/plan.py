"""The plan: which terms are computed on which timeframe, and how many bars of each that takes."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from klinehub.domain.timeframe import DAY, TIMEFRAMES, Timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.factors.define import Factor
from klinehub.factors.expr import Expr
from klinehub.factors.loops import BLOCK


class Step(NamedTuple):
    """A term on a timeframe."""

    term: Expr
    timeframe: str


class Plan(NamedTuple):
    """Every step once, each after those it is made of, with how many of its last bars are wanted."""

    timeframe: str
    steps: tuple[Step, ...]
    bars: Mapping[Step, int]

    @property
    def rows(self) -> dict[str, int]:
        """How many closed bars of each timeframe are read, so that no value has to wait for more."""
        needed: dict[str, int] = {}
        for step in self.steps:
            if step.term.op not in {"factor", "field"}:
                continue
            rows = self.bars[step] + lookback(step.term)
            needed[step.timeframe] = max(needed.get(step.timeframe, 0), rows)
        return needed


def lookback(term: Expr) -> int:
    """Give how many bars before the first one wanted a leaf has to see."""
    if term.op != "factor":
        return 0
    factor: Factor = term.params[0]
    need = factor.lookback(term.params[1:])
    # A stepped one is begun at the start of its block, less the warm-up.
    return need + BLOCK - 1 if factor.kind == "step" else need


def planned(exprs: Iterable[Expr], timeframe: str, frames: Iterable[str], *, bars: int = 1) -> Plan:
    """Plan the last *bars* values of expressions on a timeframe, read from panels of *frames*.

    Raises UnknownName for a timeframe that is not kept.
    """
    known = tuple(frames)
    wanted: dict[Step, int] = {}

    def visit(step: Step, count: int) -> None:
        if step.timeframe not in known:
            raise _not_kept(step, known)
        if wanted.get(step, 0) >= count:
            return
        wanted[step] = count
        for part, more in _parts(step, count):
            visit(part, more)

    for expr in exprs:
        visit(Step(expr, timeframe), bars)
    return Plan(timeframe, _ordered(wanted), wanted)


def _not_kept(step: Step, known: tuple[str, ...]) -> DefinitionError:
    """Say that a timeframe is not there, and for which term."""
    error = UnknownName("timeframe", step.timeframe, known)
    return DefinitionError(f"{step.term!r} is asked for on {step.timeframe}, which is not kept. {error}")


def _parts(step: Step, count: int) -> list[tuple[Step, int]]:
    """Give the steps that a step is made of, and how many bars of each it takes for *count* of its own."""
    term, frame = step
    if term.op == "lag":
        return [(Step(term.args[0], frame), count + term.params[0])]
    if term.op == "on":
        other = term.params[0]
        return [(Step(term.args[0], other), spanned(TIMEFRAMES[frame], TIMEFRAMES[other], count))]
    return [(Step(arg, frame), count) for arg in term.args]


def parts_of(step: Step) -> list[Step]:
    """Give the steps that a step is made of."""
    return [part for part, _ in _parts(step, 1)]


def spanned(frame: Timeframe, other: Timeframe, bars: int) -> int:
    """Give how many bars of *other* may lie between its newest and what so many bars of *frame* use of it.

    The last bar of *frame* may itself be from up to its own length before.
    """
    shortest = 28 * DAY if other.monthly else other.milliseconds
    return bars * frame.milliseconds // shortest + 2


def _ordered(wanted: Mapping[Step, int]) -> tuple[Step, ...]:
    """Put every step after those it is made of."""
    done: dict[Step, None] = {}

    def visit(step: Step) -> None:
        if step not in done:
            for part in parts_of(step):
                visit(part)
            done[step] = None

    for step in wanted:
        visit(step)
    return tuple(done)
