"""Jobs: which inputs are judged together, and what came of them."""

from collections.abc import Callable
from typing import NamedTuple

from tests.fuzz.dice import Dice
from tests.fuzz.shapes import GRAMMARS, drawn


class Job(NamedTuple):
    """Inputs *begin* to *end* of a chunk; which inputs a chunk holds is decided by its seed alone."""

    target: str
    seed: int
    chunk: int
    begin: int
    end: int


class Outcome(NamedTuple):
    """What came of a job: inputs that were taken, and what is wrong by input; seconds of one processor."""

    job: Job
    accepted: int
    wrong: list[tuple[bytes, str]]
    seconds: float


Work = Callable[[Job], Outcome]


def inputs_of(job: Job) -> list[bytes]:
    """Draw the inputs of a job."""
    dice = Dice((job.seed, sorted(GRAMMARS).index(job.target), job.chunk))
    return [drawn(job.target, dice) for _ in range(job.end)][job.begin :]
