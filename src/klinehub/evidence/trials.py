"""The log of trials: what was judged or fitted on which stretch of history, to tell luck from worth.

1. Each screen that is judged is a trial; the same one on the same data and range counts once.
2. Trials that share some of the range with a new one are those it is the best of: they deflate its Sharpe
   ratio.
3. A screen of which another version was judged on the range before, or that was fitted on it, was tuned on
   what it is judged on: that is said.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec
import numpy as np

from klinehub.panel.memory import F64


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A screen that was judged, or the one that a fit proposed: on which bars, and what came out.

    `sharpe` is the daily one of the portfolio after costs. Times are ms UTC; `made` is when it was written.
    """

    kind: Literal["judged", "fitted"]
    screen: str
    hash: str
    data: str
    timeframe: str
    start: int
    end: int
    sharpe: float | None = None
    rank_ic: float | None = None
    made: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two trials the same one."""
        return (self.kind, self.hash, self.data, self.timeframe, str(self.start), str(self.end))


class Known(NamedTuple):
    """What the log knows of a trial: how many it is one of, their Sharpe ratios, and how it was tuned."""

    trials: int
    ratios: F64
    tuned: tuple[str, ...]


def known_of(trial: Trial, log: Iterable[Trial]) -> Known:
    """Say what a log knows of a trial, which is not in it yet or the same as one that is."""
    shared = [one for one in {one.key: one for one in log}.values() if _overlap(one, trial)]
    others = {one.hash: one for one in shared if one.kind == "judged" and one.hash != trial.hash}
    versions = sorted({one.hash for one in others.values() if one.screen == trial.screen})
    tuned = []
    if versions:
        count = len(versions)
        tuned.append(
            f"{count} other version{'s' * (count > 1)} of {trial.screen} "
            f"{'were' if count > 1 else 'was'} judged on this time before"
        )
    if any(one.kind == "fitted" and one.hash == trial.hash for one in shared):
        tuned.append("its weights were fitted on this time")
    ratios = [trial.sharpe, *(one.sharpe for one in others.values())]
    return Known(
        len(others) + 1, np.array([np.nan if ratio is None else ratio for ratio in ratios]), tuple(tuned)
    )


def is_new(trial: Trial, log: Sequence[Trial]) -> bool:
    """Whether a trial is in no log yet."""
    return all(one.key != trial.key for one in log)


def _overlap(one: Trial, other: Trial) -> bool:
    return one.start < other.end and other.start < one.end
