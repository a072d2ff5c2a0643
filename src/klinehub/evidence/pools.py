"""Pools: who computes the bars of a range, which is parted in time.

A factor's value depends on a declared number of bars before it, so a worker that reads that many before its
part comes to the same bits as one that read everything.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

import numpy as np

from klinehub.evidence.tape import Tape
from klinehub.factors.engine import Engine
from klinehub.factors.expr import Expr
from klinehub.panel.memory import F64

# Bars that are computed at a time: few enough that the values of all terms stay in the cache for the next.
PORTION: Final = 512
# Not less than this is worth a worker's reading of what lies before its part.
_PART: Final = 2_000
Progress = Callable[[int], None]
Values = dict[str, F64]


class Job(NamedTuple):
    """Named expressions, wanted at each bar of a timeframe from absolute index *first* up to before *end*."""

    asked: Mapping[str, Expr]
    timeframe: str
    first: int
    end: int

    def parts(self, workers: int) -> list["Job"]:
        """Part the bars among as many as *workers*, one stretch after the other."""
        count = max(1, min(workers, (self.end - self.first) // _PART))
        edges = np.linspace(self.first, self.end, count + 1).astype(int).tolist()
        return [self._replace(first=first, end=end) for first, end in pairwise(edges)]


class Pool(Protocol):
    """What computes a job: threads of this process, or workers elsewhere."""

    def compute(self, job: Job, tape: Tape, values: Values, progress: Progress) -> None:
        """Fill *values* [bars, symbols] of each expression; *progress* is told of bars that are done."""


class Threads(NamedTuple):
    """Threads of this process, which share its memory."""

    workers: int = 1

    def compute(self, job: Job, tape: Tape, values: Values, progress: Progress) -> None:
        """Fill *values* [bars, symbols] of each expression; *progress* is told of bars that are done."""

        def work(part: Job) -> None:
            for bar, found in computed(part, tape):
                progress(put(values, bar - job.first, found))

        parts = job.parts(self.workers)
        with ThreadPoolExecutor(len(parts)) as threads:
            for done in [threads.submit(work, part) for part in parts]:
                done.result()


# The usual pool: one thread.
ALONE: Final = Threads()


def computed(job: Job, tape: Tape) -> Iterator[tuple[int, Values]]:
    """Go through a job in portions: the first bar of each and its values [bars, symbols], valid for now."""
    bars = min(PORTION, job.end - job.first)
    engine = Engine(
        *(job.asked, tape.panels, job.timeframe), bars=bars, benchmark=tape.benchmark, listed=tape.listed
    )
    for bar in range(job.first, job.end, PORTION):
        end = min(bar + PORTION, job.end)
        yield bar, {name: found[:, bar - end :].T for name, found in engine.at(end - 1).items()}


def put(values: Values, at: int, found: Values) -> int:
    """Put a portion's values in their place, *at* bars from the start; gives how many bars they are."""
    bars = 0
    for name, portion in found.items():
        bars = portion.shape[0]
        values[name][at : at + bars] = portion
    return bars
