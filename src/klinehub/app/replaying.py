"""Replaying: who replays, and how far it has come, on a terminal's stderr."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from klinehub.app import show
from klinehub.errors import DefinitionError
from klinehub.evidence.pools import Pool, Progress, Threads
from klinehub.evidence.replay import range_of
from klinehub.evidence.tape import Tape
from klinehub.scan.screen import Screen


@contextmanager
def replaying(screen: Screen, tape: Tape, span: tuple[int, int]) -> Iterator[Progress]:
    """Give what is to be told of bars that are done while the block runs."""
    frame = screen.timeframe or ""
    first, last = range_of(tape.panels[frame], *span) if frame in tape.panels else (0, 0)
    with show.counting(f"replaying {screen.name}", last - first + 1, frame) as progress:
        yield progress


@contextmanager
def pool_of(given: Mapping[str, Any]) -> Iterator[Pool]:
    """Give who replays while the block runs: threads, as many as cores, or the workers of a Ray cluster."""
    if given["ray"] is None:
        yield Threads(given["workers"] or os.cpu_count() or 1)
        return
    if find_spec("ray") is None:
        raise DefinitionError(
            "--ray needs Ray: pip install 'klinehub[ray]' (not for Python 3.14), or leave it out."
        )
    from klinehub.evidence.ray_pool import connected

    with connected(given["ray"], given["workers"]) as pool:
        yield pool
