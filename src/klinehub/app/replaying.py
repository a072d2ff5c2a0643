"""Replaying: how far a replay has come, on a terminal's stderr."""

from collections.abc import Iterator
from contextlib import contextmanager

from klinehub.app import show
from klinehub.evidence.replay import Progress, range_of
from klinehub.evidence.tape import Tape
from klinehub.feed.asking import Progress as Step
from klinehub.scan.screen import Screen


@contextmanager
def replaying(screen: Screen, tape: Tape, span: tuple[int, int]) -> Iterator[Progress]:
    """Give what is to be told of bars that are done while the block runs."""
    frame, done = screen.timeframe or "", 0
    first, last = range_of(tape.panels[frame], *span) if frame in tape.panels else (0, 0)
    with show.steps(f"replaying {screen.name}") as bar:

        def progress(bars: int) -> None:
            nonlocal done
            done += bars
            bar(Step(done, last - first + 1, 0, frame))

        yield progress
