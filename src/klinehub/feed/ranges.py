"""The cheapest REST ranges that bring the bars a series lacks, and the order in which to ask for them."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from klinehub.feed.binance import KLINES_WEIGHTS, MOST_ROWS

Run = tuple[int, int]


class Planned(NamedTuple):
    """One range to ask for: *limit* bars from index *start* of a timeframe (by its number, smallest first).

    *rank* is the symbol's place in the list of symbols: the smaller, the more important.
    """

    rank: int
    timeframe: int
    start: int
    limit: int
    weight: int


def order(plans: Iterable[Planned]) -> list[Planned]:
    """Put ranges in the order to ask in: the cheapest first, then the more important, then the smaller."""
    return sorted(plans, key=lambda plan: (plan.weight, plan.rank, plan.timeframe, plan.start, plan.limit))


def cheapest(
    missing: Sequence[Run], *, most: int = MOST_ROWS, weights: Sequence[tuple[int, int]] = KLINES_WEIGHTS
) -> list[tuple[int, int]]:
    """Cover runs of missing bars (first and last index, ascending, apart) with (first index, bars) ranges.

    No other ranges of at most *most* bars weigh less; of those that weigh as little these are the fewest
    requests and then the fewest bars. A range may span bars that are there. *weights* lists (most bars,
    weight) in ascending order.
    """
    if not missing:
        return []
    ends = [last for _, last in missing]
    tiers = [(min(rows, most), weight) for rows, weight in weights]
    # The shortest way to a position before which all is covered. One that costs no less than another that
    # lies further on leads to nothing better, so few are looked at, however long the runs are.
    waiting = [((0, 0, 0), -missing[0][0], missing[0][0], 0)]
    came: dict[int, Run] = {}
    reached = missing[0][0] - 1
    while reached <= ends[-1]:
        (weight, requests, rows), position, start, count = heappop(waiting)
        if -position <= reached:
            continue
        reached = -position
        came[reached] = (start, count)
        for bars, more in _steps(missing, ends, tiers, reached):
            cost = (weight + more, requests + 1, rows + bars)
            heappush(waiting, (cost, -_next(missing, ends, reached + bars), reached, bars))
    return _way(came, missing[0][0], reached)


def _steps(
    missing: Sequence[Run], ends: Sequence[int], tiers: Sequence[tuple[int, int]], start: int
) -> Iterator[tuple[int, int]]:
    """Give (bars, weight) of each range from *start* worth trying: to the end of a run, or cut by a tier.

    To end within a run before the tier does saves nothing: the next range would only be longer.
    """
    run, least = bisect_left(ends, start), 0
    for longest, weight in tiers:
        while run < len(ends) and ends[run] - start < longest:
            yield ends[run] - start + 1, weight
            run += 1
        if run < len(ends) and longest > least and missing[run][0] - start < longest:
            yield longest, weight
        least = longest


def _next(missing: Sequence[Run], ends: Sequence[int], index: int) -> int:
    """Give the first missing bar from *index* on, or an index after all of them."""
    run = bisect_left(ends, index)
    return max(index, missing[run][0]) if run < len(missing) else ends[-1] + 1


def _way(came: dict[int, Run], first: int, position: int) -> list[tuple[int, int]]:
    """Walk back from *position* and list the ranges that led there, the first one first."""
    ranges: list[tuple[int, int]] = []
    while position != first:
        ranges.append(came[position])
        position = came[position][0]
    return ranges[::-1]
