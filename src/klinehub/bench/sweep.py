"""`sweep`: studies of several screens over one range, on threads and on the workers of a Ray of its own.

1. Each screen is judged over four horizons by both, in turns, so that a busier minute meets both of them.
2. The first study on Ray pays for what Ray needs once: workers that load klinehub, and the bars lent to them.
   How long the cluster took to start is told beside it.
3. The documents and every figure by bar have to be equal; then each screen is only replayed, and the bits of
   all values are compared.
"""

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.evidence import year_tape
from klinehub.evidence.members import Listed
from klinehub.evidence.pools import Pool, Threads
from klinehub.evidence.replay import Replayed, replay
from klinehub.evidence.study import HORIZONS, Asked, Study, study
from klinehub.evidence.tape import Tape
from klinehub.scan.presets import preset
from klinehub.scan.scanner import default_screen
from klinehub.scan.screen import Screen

GOALS: Final = {"overhead": 0.25}
PRESETS: Final = ("momentum", "breakout", "mean_reversion", "squeeze")
FRAME: Final = "1h"
_FOREVER: Final = 2**60
_THREADS: Final = "pool_s"
_RAY: Final = "ray_s"
Found = TypeVar("Found")


def measure(
    seed: int,
    *,
    symbols: int = 521,
    bars: int = 8_760,
    presets: tuple[str, ...] = PRESETS,
    workers: int = 2,
) -> Measurement:
    """Give the seconds of a sweep on Ray, or on threads where there is no Ray here."""
    tape = year_tape(seed, symbols, bars)
    screens = (default_screen(tape.panels, FRAME), *(preset(name, FRAME) for name in presets))
    facts = {
        "goals": GOALS,
        "screens": [screen.name for screen in screens],
        "horizons": HORIZONS,
        "symbols": symbols,
        "bars": bars,
        "workers": workers,
        "time": "real seconds",
    }
    pools: dict[str, Pool] = {_THREADS: Threads(workers)}
    # What every process does once, and no sweep is judged by: kernels are loaded.
    small = year_tape(seed, 8, 400)
    for screen in screens:
        _studied(screen, small, pools[_THREADS])
    if find_spec("ray") is None:
        seconds, _ = _swept(screens, tape, pools, _studied, _same_studies)
        why = "there is no Ray here: pip install 'klinehub[ray]'"
        return Measurement(seconds[_THREADS], "s", {**facts, **seconds, "ray_s": None, "equal": why})
    from klinehub.evidence.ray_pool import LOCAL, connected  # noqa: PLC0415 - needs Ray

    began = time.perf_counter()
    with connected(LOCAL, workers) as pool:
        pools[_RAY] = pool
        starting = rounded(time.perf_counter() - began)
        seconds, is_equal = _swept(screens, tape, pools, _studied, _same_studies)
        alone, are_same = _swept(screens, tape, pools, _replayed, _same_bits)
    told = {
        **seconds,
        "equal": is_equal and are_same,
        "overhead": rounded(seconds[_RAY] / seconds[_THREADS] - 1.0),
        "replays": alone,
        "starting_s": starting,
    }
    return Measurement(seconds[_RAY], "s", {**facts, **told})


def _swept(
    screens: tuple[Screen, ...],
    tape: Tape,
    pools: dict[str, Pool],
    work: Callable[[Screen, Tape, Pool], Found],
    same: Callable[[Found, Found], bool],
) -> tuple[dict[str, float], bool]:
    """Do the work of each screen by each pool; gives the seconds of each, and whether all were the same."""
    seconds = dict.fromkeys(pools, 0.0)
    is_same = True
    for turn, screen in enumerate(screens):
        found = {}
        for name in sorted(pools, reverse=turn % 2 == 1):
            began = time.perf_counter()
            found[name] = work(screen, tape, pools[name])
            seconds[name] += time.perf_counter() - began
        is_same &= all(same(found[_THREADS], one) for one in found.values())
    return {name: rounded(value) for name, value in seconds.items()}, is_same


def _studied(screen: Screen, tape: Tape, pool: Pool) -> Study:
    return study(screen, tape, 0, _FOREVER, Asked(pool=pool), members=Listed(), code="bench")


def _replayed(screen: Screen, tape: Tape, pool: Pool) -> Replayed:
    return replay(screen, tape, 0, _FOREVER, pool=pool)


def _same_studies(one: Study, other: Study) -> bool:
    """Whether two studies came to the same document, and to the same figures at each bar."""
    documents = [msgspec.json.encode(found.evidence) for found in (one, other)]
    pairs = zip(_figures(one), _figures(other), strict=True)
    return documents[0] == documents[1] and all(a.tobytes() == b.tobytes() for a, b in pairs)


def _figures(found: Study) -> Iterator[np.ndarray[Any, Any]]:
    for one in found.crosses.values():
        yield from one
    yield from (found.booked.net, found.weights, found.returns)


def _same_bits(one: Replayed, other: Replayed) -> bool:
    """Whether two replays agree in every bit."""
    pairs = ((one.values, other.values), (one.hits, other.hits), (one.judged, other.judged))
    return all(a.tobytes() == b.tobytes() for a, b in pairs)
