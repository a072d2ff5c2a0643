"""Cross-sections: how the scores of one bar and the returns after it go together, bar by bar.

1. Of each bar those symbols count that are members and have a score; of them, for a horizon, those whose
   return is known.
2. The information coefficient is the correlation over symbols: of the numbers (Pearson), and of their ranks
   (Spearman; equal values share the mean of their ranks).
3. Quantiles are cut where pandas' qcut cuts: edges at the linearly interpolated quantiles of the bar's
   scores, each bin closed at its upper edge, the lowest one at both. Where ties make two edges equal, bins
   between them stay empty.
4. The spread is half of the highest quantile's mean return less half of the lowest one's, as alphalens has
   it since 0.5: what a unit of capital parted between both sides brings.
5. Ranks come from a radix sort of the numbers' bits: measured 4 times as fast as a comparing sort on 500.

Arrays are [bars, symbols]; a bar with too few symbols is unknown (NaN).
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from klinehub.factors.kernels import kernel
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64, I64

I8 = npt.NDArray[np.int8]
U64 = npt.NDArray[np.uint64]
# A correlation over fewer says nothing.
LEAST: Final = 5
_DIGITS: Final = 8
_VALUES: Final = 256


class Cross(NamedTuple):
    """One horizon's figures by bar.

    `ic` and `rank_ic`, the `mean` return and that of each of `quantiles` [quantiles, bars]; `known` symbols
    counted, `sizes` [quantiles, bars] in each quantile.
    """

    ic: F64
    rank_ic: F64
    mean: F64
    quantiles: F64
    known: I64
    sizes: I64

    @property
    def spread(self) -> F64:
        """What half of the capital long in the highest quantile and half short in the lowest brought."""
        found: F64 = (self.quantiles[-1] - self.quantiles[0]) / 2.0
        return found


@kernel
def _sort(keys: U64, rows: I64, count: int, spare_keys: U64, spare_rows: I64) -> None:
    """Sort the first *count* keys upwards, and *rows* with them."""
    tally = np.zeros((_DIGITS, _VALUES), np.int64)
    for i in range(count):
        key = keys[i]
        for digit in range(_DIGITS):
            tally[digit, np.int64((key >> np.uint64(8 * digit)) & np.uint64(255))] += 1
    source_keys, source_rows, target_keys, target_rows = keys, rows, spare_keys, spare_rows
    for digit in range(_DIGITS):
        shift = np.uint64(8 * digit)
        # A digit that is the same for all is passed over.
        if tally[digit, np.int64((source_keys[0] >> shift) & np.uint64(255))] == count:
            continue
        place = 0
        for value in range(_VALUES):
            here = int(tally[digit, value])
            tally[digit, value] = place
            place += here
        for i in range(count):
            mine = np.int64((source_keys[i] >> shift) & np.uint64(255))
            at = tally[digit, mine]
            tally[digit, mine] = at + 1
            target_keys[at] = source_keys[i]
            target_rows[at] = source_rows[i]
        source_keys, target_keys = target_keys, source_keys
        source_rows, target_rows = target_rows, source_rows
    for i in range(count):
        keys[i] = source_keys[i]
        rows[i] = source_rows[i]


@kernel
def room(symbols: int) -> tuple[U64, I64, U64, I64]:
    """Make the room in which `rank` sorts."""
    return (
        np.empty(symbols, np.uint64),
        np.empty(symbols, np.int64),
        np.empty(symbols, np.uint64),
        np.empty(symbols, np.int64),
    )


@kernel
def rank(values: F64, rows: I64, count: int, work: tuple[U64, I64, U64, I64], out: F64) -> None:
    """Put the ranks (from 1) of values[rows[:count]] into out[rows]; leaves the sorted rows in work[1]."""
    bits = values.view(np.uint64)
    keys, order, spare_keys, spare_rows = work
    top = np.uint64(1) << np.uint64(63)
    for i in range(count):
        raw = bits[rows[i]]
        # The bits of a float64, made to sort as its number does; -0.0 is 0.0.
        if values[rows[i]] == 0.0:
            raw = np.uint64(0)
        keys[i] = ~raw if raw & top else raw | top
        order[i] = rows[i]
    _sort(keys, order, count, spare_keys, spare_rows)
    first = 0
    while first < count:
        last = first
        while last + 1 < count and keys[last + 1] == keys[first]:
            last += 1
        shared = 0.5 * (first + last) + 1.0
        for i in range(first, last + 1):
            out[order[i]] = shared
        first = last + 1


@kernel
def _correlation(a: F64, b: F64, rows: I64, count: int) -> float:
    """Give the correlation of two rows of numbers, NaN where one of them does not vary."""
    mean_a = mean_b = 0.0
    for i in range(count):
        mean_a += a[rows[i]]
        mean_b += b[rows[i]]
    mean_a /= count
    mean_b /= count
    aa = bb = ab = 0.0
    for i in range(count):
        x, y = a[rows[i]] - mean_a, b[rows[i]] - mean_b
        aa += x * x
        bb += y * y
        ab += x * y
    if aa <= 0.0 or bb <= 0.0:
        return np.nan
    found: float = min(1.0, max(-1.0, ab / np.sqrt(aa * bb)))
    return found


@kernel
def _edges(values: F64, order: I64, count: int, out: F64) -> None:
    """Put the inner edges of out.size + 1 quantiles of sorted values into *out*."""
    bins = out.size + 1
    for edge in range(1, bins):
        place = (count - 1) * (edge / bins)
        low = int(np.floor(place))
        share = place - low
        below, above = values[order[low]], values[order[min(low + 1, count - 1)]]
        # As numpy interpolates, to the last bit.
        if share >= 0.5:
            out[edge - 1] = above - (above - below) * (1.0 - share)
        else:
            out[edge - 1] = below + (above - below) * share


@kernel
def _cut(scores: F64, members: Flags, bins: int, least: int, out: I8) -> None:
    """Put the quantile (from 1; 0 for none) of each member into *out*, for all bars."""
    bars, symbols = scores.shape
    rows, ranks, edges = np.empty(symbols, np.int64), np.empty(symbols), np.empty(bins - 1)
    work = room(symbols)
    for t in range(bars):
        count = 0
        for s in range(symbols):
            out[t, s] = 0
            if members[t, s] and np.isfinite(scores[t, s]):
                rows[count] = s
                count += 1
        if count < least:
            continue
        rank(scores[t], rows, count, work, ranks)
        order = work[1]
        _edges(scores[t], order, count, edges)
        bin_ = 0
        for i in range(count):
            while bin_ < bins - 1 and scores[t, order[i]] > edges[bin_]:
                bin_ += 1
            out[t, order[i]] = bin_ + 1


@kernel
def _measure(
    scores: F64,
    returns: F64,
    quantile: I8,
    least: int,
    out: tuple[F64, F64, F64, F64, I64, I64],
) -> None:
    """Measure one horizon over all bars, of the symbols that are in a quantile."""
    ic, rank_ic, mean, quantiles, count, counts = out
    bars, symbols = scores.shape
    bins = quantiles.shape[0]
    rows = np.empty(symbols, np.int64)
    rank_a, rank_b, sums = np.empty(symbols), np.empty(symbols), np.empty(bins)
    work = room(symbols)
    for t in range(bars):
        known = 0
        total = 0.0
        sums[:] = 0.0
        counts[:, t] = 0
        for s in range(symbols):
            if quantile[t, s] > 0 and returns[t, s] == returns[t, s]:
                rows[known] = s
                known += 1
                bin_ = quantile[t, s] - 1
                sums[bin_] += returns[t, s]
                counts[bin_, t] += 1
                total += returns[t, s]
        count[t] = known
        if known < least:
            continue
        mean[t] = total / known
        for bin_ in range(bins):
            if counts[bin_, t]:
                quantiles[bin_, t] = sums[bin_] / counts[bin_, t]
        ic[t] = _correlation(scores[t], returns[t], rows, known)
        rank(scores[t], rows, known, work, rank_a)
        rank(returns[t], rows, known, work, rank_b)
        rank_ic[t] = _correlation(rank_a, rank_b, rows, known)


def quantiles_of(scores: F64, members: Flags, bins: int, *, least: int = LEAST) -> I8:
    """Give the quantile of each member of each bar, from 1 (lowest), 0 for none: int8 [bars, symbols]."""
    out = np.zeros(scores.shape, np.int8)
    _cut(np.ascontiguousarray(scores), np.ascontiguousarray(members), bins, max(least, bins), out)
    return out


def cross(scores: F64, returns: F64, quantile: I8, bins: int, *, least: int = LEAST) -> Cross:
    """Measure scores [bars, symbols] against the returns after them, of those that are in a *quantile*."""
    bars = scores.shape[0]
    found = Cross(
        ic=np.full(bars, np.nan),
        rank_ic=np.full(bars, np.nan),
        mean=np.full(bars, np.nan),
        quantiles=np.full((bins, bars), np.nan),
        known=np.zeros(bars, np.int64),
        sizes=np.zeros((bins, bars), np.int64),
    )
    _measure(
        *(np.ascontiguousarray(scores), np.ascontiguousarray(returns), quantile, least),
        (found.ic, found.rank_ic, found.mean, found.quantiles, found.known, found.sizes),
    )
    return found


def turnover(quantile: I8, bin_: int, lag: int) -> F64:
    """Give the share of a quantile's symbols at each bar that were not in it *lag* bars before: [bars]."""
    inside = quantile == bin_
    out = np.full(inside.shape[0], np.nan)
    size = np.count_nonzero(inside, axis=1)
    new = np.count_nonzero(inside[lag:] & ~inside[:-lag], axis=1)
    with np.errstate(all="ignore"):
        share = new / size[lag:]
    out[lag:] = np.where((size[lag:] > 0) & (size[:-lag] > 0), share, np.nan)
    return out
