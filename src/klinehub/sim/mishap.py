"""What every part of the trouble stands on: a fault in, a cure out, and the choice of what is hit."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import numpy as np

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import MINUTE
from klinehub.sim.faults import Fault

T = TypeVar("T")
# Ends a fault; what it gives is awaited before the fault counts as healed.
Cure = Callable[[], Awaitable[None] | None]
# Begins a fault; None says that there was nothing to hit.
Deed = Callable[[Fault], Cure | None]
_WHOLE: Final = 2**32


def nothing() -> None:
    """Cure what is over at once."""


def one_of(items: Sequence[T], pick: float) -> T:
    """Choose an item by a number in [0, 1)."""
    return items[int(pick * len(items))]


class Dice:
    """Gives each fault randomness of its own, so that leaving out another fault changes nothing for it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._salt = int(rng.integers(_WHOLE))

    def __call__(self, fault: Fault) -> np.random.Generator:
        """Give the randomness of a fault."""
        words = (self._salt, fault.at, int(fault.pick * _WHOLE), int(fault.size * _WHOLE))
        return np.random.default_rng(words)


def next_minute(clock: Clock) -> int:
    """Give the time (ms) at which the next minute opens."""
    return clock.now() // MINUTE * MINUTE + MINUTE


def whole_minutes(seconds: float) -> int:
    """Give the length in ms of the whole minutes that hold *seconds*."""
    return -(-int(seconds * 1000) // MINUTE) * MINUTE
