"""Shrinking: the fewest faults of a failing schedule that still make it fail."""

from collections.abc import Callable, Sequence
from typing import Final

from klinehub.sim.faults import Fault

# A run takes a second or two.
MOST_RUNS: Final = 60


def shrink(
    faults: Sequence[Fault], fails: Callable[[Sequence[Fault]], bool], *, most: int = MOST_RUNS
) -> list[Fault]:
    """Give a smallest schedule for which *fails* is still true, as far as *most* runs lead.

    Parts are left out, first halves, then ever smaller ones (delta debugging); every fault keeps its own
    randomness, so that leaving out another changes nothing for it.
    """
    kept, parts, runs = list(faults), 2, 0
    if fails([]):
        return []
    while len(kept) > 1 and runs < most:
        size = -(-len(kept) // parts)
        for at in range(0, len(kept), size):
            rest = kept[:at] + kept[at + size :]
            runs += 1
            if rest and fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
            if runs >= most:
                break
        else:
            if size == 1:
                break
            parts = min(2 * parts, len(kept))
    return kept
