"""Joining: the bars of one symbol from several places, each bar once, and never a silent choice of two.

1. A part is bars in the order of time, each once, with the decimals that they were printed with.
2. Where two parts have a bar, the later generation has it: a correction is of a later generation.
3. Two parts of one generation agree on the bars that both have, or the bar is named and nothing is given.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from klinehub.domain.kline import ROW, ROW_WORDS, Exact, Scale
from klinehub.domain.moment import utc
from klinehub.domain.timeframe import Timeframe
from klinehub.errors import DataError
from klinehub.panel.memory import I64, MANTISSA_MAX, OPEN_TIME, SCALE_OF
from klinehub.panel.roll import indexes, opens

# No bar opens at or after this (2100-01-01), where nothing else is said.
FOREVER: Final = 4_102_444_800_000
_NAMES: Final = tuple(ROW.names or ())


class Part(NamedTuple):
    """Bars of one symbol from one place, and which generation they are of."""

    generation: int
    exact: Exact


def words_of(exact: Exact) -> I64:
    """Give the bars as words [n, 10]; prices are the bits of their float64."""
    return np.ascontiguousarray(exact.rows).view(np.int64).reshape(-1, ROW_WORDS)


def of_words(words: I64, scale: Scale) -> Exact:
    """Give words [n, 10] as bars."""
    return Exact(np.ascontiguousarray(words).view(ROW).reshape(-1), scale)


def times_of(exact: Exact) -> I64:
    """Give the open times [n] (ms UTC)."""
    return np.asarray(exact.rows["open_time"])


def widest(scales: Sequence[Scale]) -> Scale:
    """Give the scale that prints all of these."""
    return Scale(*(max(column) for column in zip(*scales, strict=True)))


def widened(exact: Exact, scale: Scale) -> I64:
    """Give the bars as words [n, 10] with mantissas of *scale*, which is not narrower than their own.

    Raises DataError where one does not fit 64 bits then.
    """
    words = words_of(exact)
    if exact.scale == scale:
        return words
    words = words.copy()
    for word, which in SCALE_OF:
        factor = 10 ** (scale[which] - exact.scale[which])
        if words.size and int(words[:, word].max()) > MANTISSA_MAX // factor:
            raise DataError(f"A {_NAMES[word]} with {scale[which]} decimals does not fit 64 bits.")
        words[:, word] *= factor
    return words


def joined(runs: Sequence[Exact]) -> Exact:
    """Make one of runs that follow each other in time, with the most decimals that any of them has."""
    if len(runs) == 1:
        return runs[0]
    scale = widest([run.scale for run in runs])
    return of_words(np.concatenate([widened(run, scale) for run in runs]), scale)


def resolved(symbol: str, timeframe: Timeframe, parts: Sequence[Part]) -> list[Exact]:
    """Give each bar of *parts* once: runs that follow each other in time, each with its own decimals.

    Raises DataError for a bar on which parts of one generation disagree.
    """
    held = sorted((part for part in parts if part.exact.rows.size), key=lambda part: times_of(part.exact)[0])
    spans = [times_of(part.exact)[[0, -1]] for part in held]
    if all(before[1] < after[0] for before, after in pairwise(spans)):
        return [part.exact for part in held]
    return _untangled(symbol, timeframe, held)


def _untangled(symbol: str, timeframe: Timeframe, parts: Sequence[Part]) -> list[Exact]:
    """Sort all bars by time and generation, and keep the last one of each time."""
    scales = [part.exact.scale for part in parts]
    scale = widest(scales)
    words = np.concatenate([widened(part.exact, scale) for part in parts])
    sizes = [part.exact.rows.size for part in parts]
    owner = np.repeat(np.arange(len(parts)), sizes)
    generation = np.array([part.generation for part in parts])[owner]
    order = np.lexsort((owner, generation, words[:, OPEN_TIME]))
    words, owner, generation = words[order], owner[order], generation[order]
    again = words[1:, OPEN_TIME] == words[:-1, OPEN_TIME]
    last = np.append(~again, True)
    newest = generation[last][np.cumsum(np.append(0, ~again))]
    rivals = again & (generation[:-1] == newest[:-1]) & np.any(words[1:] != words[:-1], axis=1)
    if rivals.any():
        at = int(np.argmax(rivals))
        raise DataError(
            f"{disagreement(symbol, timeframe, of_words(words[at : at + 2], scale))} are both kept: "
            f"write the right one with replace=True."
        )
    original = np.concatenate([words_of(part.exact) for part in parts])[order][last]
    owner = owner[last]
    kinds = np.array([scales.index(one) for one in scales])[owner]
    cuts = [0, *(np.flatnonzero(np.diff(kinds)) + 1), len(kinds)]
    return [of_words(original[a:b], scales[kinds[a]]) for a, b in pairwise(cuts)]


def disagreement(symbol: str, timeframe: Timeframe, two: Exact) -> str:
    """Name a bar that is there in two forms, and what each says where they differ."""
    first, second = (_told(two, at) for at in range(2))
    fields = [name for name in first if first[name] != second[name]]
    said = (", ".join(f"{name} {one[name]}" for name in fields) for one in (first, second))
    opened = utc(int(two.rows["open_time"][0]))
    return f"{symbol} {timeframe.name} {opened}: " + " and ".join(said)


def _told(exact: Exact, at: int) -> dict[str, str]:
    """Give a bar's fields as they would be printed."""
    told = {name: str(exact.rows[name][at]) for name in _NAMES}
    for word, which in SCALE_OF:
        number = Decimal(int(exact.rows[_NAMES[word]][at])).scaleb(-exact.scale[which])
        told[_NAMES[word]] = f"{number:f}"
    return told


class Held(NamedTuple):
    """How new bars stand to those that are kept: masks [n] over the new ones."""

    fresh: npt.NDArray[np.bool_]
    different: npt.NDArray[np.bool_]


def held_against(kept: Exact, new: Exact) -> Held:
    """Hold *new* bars against *kept* ones, each in the order of time."""
    at = np.searchsorted(times_of(kept), times_of(new))
    there = at < kept.rows.size
    there[there] = times_of(kept)[at[there]] == times_of(new)[there]
    scale = widest((kept.scale, new.scale))
    was, now = widened(kept, scale), widened(new, scale)
    different = there.copy()
    different[there] = np.any(was[at[there]] != now[there], axis=1)
    return Held(~there, different)


def pair(kept: Exact, new: Exact, at: int) -> Exact:
    """Give the bar that is kept and the new bar number *at* that differs from it, in this order."""
    scale = widest((kept.scale, new.scale))
    place = int(np.searchsorted(times_of(kept), times_of(new)[at]))
    two = np.stack((widened(kept, scale)[place], widened(new, scale)[at]))
    return of_words(two, scale)


def refuse_disorder(symbol: str, exact: Exact, timeframe: Timeframe) -> None:
    """Raise DataError for bars out of the order of time, there twice, or off the timeframe's grid."""
    times = times_of(exact)
    strange = np.flatnonzero((times < 0) | (times >= FOREVER))
    if strange.size:
        raise DataError(f"{symbol}: {times[strange[0]]} is no open time in ms UTC between 1970 and 2100.")
    late = np.flatnonzero(np.diff(times) <= 0)
    if late.size:
        before, after = (utc(int(time)) for time in times[late[0] : late[0] + 2])
        raise DataError(
            f"{symbol} {timeframe.name}: the bar of {after} comes after that of {before}: "
            f"sort the bars and leave in one of each."
        )
    astray = np.flatnonzero(opens(timeframe, indexes(timeframe, times)) != times)
    if astray.size:
        raise DataError(f"{symbol}: {utc(int(times[astray[0]]))} is no open time of a {timeframe.name} bar.")


def without_echoes(exact: Exact) -> Exact:
    """Leave out each bar that is equal to the one before it."""
    words = words_of(exact)
    new = np.ones(len(words), bool)
    new[1:] = np.any(words[1:] != words[:-1], axis=1)
    return exact if new.all() else of_words(words[new], exact.scale)
