"""Replaying: how far a replay has come, on a terminal's stderr."""

from collections.abc import Iterator
from contextlib import contextmanager

from klinehub.app import show
from klinehub.evidence.replay import Progress, range_of
from klinehub.evidence.tape import Tape
from klinehub.scan.screen import Screen


@contextmanager
def replaying(screen: Screen, tape: Tape, span: tuple[int, int]) -> Iterator[Progress]:
    """Give what is to be told of bars that are done while the block runs."""
    frame = screen.timeframe or ""
    first, last = range_of(tape.panels[frame], *span) if frame in tape.panels else (0, 0)
    with show.counting(f"replaying {screen.name}", last - first + 1, frame) as progress:
        yield progress
