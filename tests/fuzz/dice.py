"""Dice: seeded draws, in blocks, since one draw of a numpy Generator costs more than a whole mutation."""

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np

T = TypeVar("T")
_BLOCK: Final = 8192


class Dice:
    """Draws small integers from a seed (a sequence of integers); equal seeds give equal draws."""

    def __init__(self, seed: Sequence[int]) -> None:
        self._rng = np.random.default_rng(list(seed))
        self._left: list[int] = []

    def below(self, n: int) -> int:
        """Draw an integer from 0 up to *n*, which is left out (n up to 2**32)."""
        if not self._left:
            self._left = self._rng.integers(0, 2**32, _BLOCK, np.int64).tolist()
        return self._left.pop() * n >> 32

    def wide(self, bits: int) -> int:
        """Draw an integer of a random number of bits, up to *bits* (at most 96)."""
        value = self.below(2**32) << 64 | self.below(2**32) << 32 | self.below(2**32)
        return value >> (96 - self.below(bits + 1))

    def pick(self, things: Sequence[T]) -> T:
        return things[self.below(len(things))]

    def one_in(self, n: int) -> bool:
        return self.below(n) == 0

    def shuffle(self, things: list[T]) -> None:
        for at in range(len(things) - 1, 0, -1):
            other = self.below(at + 1)
            things[at], things[other] = things[other], things[at]
