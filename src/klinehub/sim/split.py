"""Splitting a bar into smaller ones that add up to it exactly; a pure function of the bar and a key.

1. Trades fall on the parts by weights; a part without trades is flat at the last close.
2. A random bridge from open to close, stretched to fill low to high and bent towards the bar's average
   price, gives each traded part its prices; one part carries the high and one the low.
3. Volume leans towards the parts whose prices lie on the bar's average price, so that the quote volumes fit.
4. Every sum is settled in integers, each part within what its own prices and volumes allow.
"""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from klinehub.sim.dice import bell, key, uniform, waiting
from klinehub.sim.truth import (
    CLOSE,
    HIGH,
    I64,
    LOW,
    OPEN,
    OPEN_TIME,
    QUOTE,
    TAKER_BASE,
    TAKER_QUOTE,
    TRADES,
    VOLUME,
    WORDS,
    add,
    clear,
    copy,
    flatten,
)

F64 = npt.NDArray[np.float64]


@njit(cache=True, nogil=True)
def _spread(weights: F64, total: int, phase: float, out: I64) -> None:
    """Share *total* by weights so that the integer parts add up to it."""
    weight = 0.0
    for i in range(weights.size):
        weight += weights[i]
    so_far, before = 0.0, 0
    last = weights.size - 1
    while last > 0 and weights[last] == 0.0:
        last -= 1
    for i in range(weights.size):
        so_far += weights[i]
        upto = total if i >= last else math.floor(so_far / weight * total + phase)
        upto = min(max(upto, before), total)
        out[i] = upto - before
        before = upto


@njit(cache=True, nogil=True)
def _total(values: I64) -> int:
    """Add up."""
    total = 0
    for i in range(values.size):
        total += values[i]
    return total


@njit(cache=True, nogil=True)
def _settle(values: I64, low: I64, high: I64, rest: int) -> int:
    """Spread what is left of a sum over parts that still have room; gives what found no room."""
    for i in range(values.size):
        if rest > 0:
            move = min(high[i] - values[i], rest)
        elif rest < 0:
            move = max(low[i] - values[i], rest)
        else:
            return 0
        values[i] += move
        rest -= move
    return rest


@njit(cache=True, nogil=True)
def priced(bar: I64) -> bool:
    """Whether the quote volume is in ticks x steps, so that low and high bound it (not so on spot)."""
    volume, quote = float(bar[VOLUME]), float(bar[QUOTE])
    fits = bar[VOLUME] > 0 and float(bar[HIGH]) * volume < 4e18
    return fits and float(bar[LOW]) * volume <= quote and quote <= float(bar[HIGH]) * volume


@njit(cache=True, nogil=True)
def _share_trades(bar: I64, seed: int, out: I64, weights: F64) -> None:
    """Let the bar's trades fall on the parts; each trade will need a step of volume."""
    for i in range(weights.size):
        weights[i] = 0.25 + 0.75 * waiting(seed, i)
    units = min(bar[TRADES], bar[VOLUME])
    _spread(weights, max(units, 1), uniform(seed, -1), out[:, TRADES])
    if bar[TRADES] > max(units, 1):
        first = 0
        while out[first, TRADES] == 0:
            first += 1
        out[first, TRADES] += bar[TRADES] - max(units, 1)


@njit(cache=True, nogil=True)
def _stretch(bar: I64, path: F64, parts: int) -> None:
    """Turn a random walk into a path from open to close that fits between low and high."""
    end, run = path[parts - 1], float(bar[CLOSE] - bar[OPEN])
    up, down = 1e300, 1e300
    for j in range(parts):
        share = (j + 1.0) / parts
        path[j] -= end * share
        line = bar[OPEN] + run * share
        if path[j] > 0.0:
            up = min(up, (bar[HIGH] - line) / path[j])
        elif path[j] < 0.0:
            down = min(down, (line - bar[LOW]) / -path[j])
    for j in range(parts):
        line = bar[OPEN] + run * (j + 1.0) / parts
        path[j] = line + path[j] * (up if path[j] > 0.0 else down)
    path[parts - 1] = bar[CLOSE]


@njit(cache=True, nogil=True, error_model="numpy")
def _bend(bar: I64, out: I64, path: F64, parts: int) -> None:
    """Bend the path towards the bar's average price, so that the volume need not make up for it."""
    if not priced(bar) or bar[HIGH] == bar[LOW]:
        return
    goal = float(bar[QUOTE]) / float(bar[VOLUME])
    mean, room, j = 0.0, 0.0, 0
    for i in range(out.shape[0]):
        if out[i, TRADES] > 0:
            mean += path[j] * out[i, TRADES] / bar[TRADES]
            j += 1
    edge = float(bar[HIGH]) if goal > mean else float(bar[LOW])
    j = 0
    for i in range(out.shape[0]):
        if out[i, TRADES] > 0:
            share = (j + 1.0) / parts
            room += 4.0 * share * (1.0 - share) * (edge - path[j]) * out[i, TRADES] / bar[TRADES]
            j += 1
    pull = min((goal - mean) / room, 0.9) if room != 0.0 else 0.0
    for j in range(parts):
        share = (j + 1.0) / parts
        path[j] += pull * 4.0 * share * (1.0 - share) * (edge - path[j])


@njit(cache=True, nogil=True)
def _walk(bar: I64, seed: int, out: I64, path: F64) -> int:
    """Draw the closes of the traded parts, in ticks; gives how many parts traded."""
    parts, at = 0, 0.0
    for i in range(out.shape[0]):
        if out[i, TRADES] > 0:
            at += bell(seed, 1000 + i)
            path[parts] = at
            parts += 1
    _stretch(bar, path, parts)
    _bend(bar, out, path, parts)
    return parts


@njit(cache=True, nogil=True)
def _price(bar: I64, seed: int, part: I64, i: int, first: int, before: int, close: int) -> None:
    """Set the prices of one traded part that ends at *close*, after a last price of *before*."""
    if first == 1:
        part[OPEN] = bar[OPEN]
    else:
        jitter = math.floor(uniform(seed, 3000 + i) * 3.0) - 1
        part[OPEN] = min(max(before + jitter, bar[LOW]), bar[HIGH])
    part[CLOSE] = close
    if part[TRADES] == 1:
        if first == 1:
            part[CLOSE] = part[OPEN]
        part[OPEN] = part[CLOSE]
    top, bottom = max(part[OPEN], part[CLOSE]), min(part[OPEN], part[CLOSE])
    if part[TRADES] > 2:
        reach = 0.06 * float(bar[HIGH] - bar[LOW])
        top += int(reach * waiting(seed, 4000 + i))
        bottom -= int(reach * waiting(seed, 5000 + i))
    part[HIGH], part[LOW] = min(top, bar[HIGH]), max(bottom, bar[LOW])


@njit(cache=True, nogil=True)
def _carrier(out: I64, word: int, sign: int) -> int:
    """Find the traded part that comes nearest to an extreme, one with several trades if there is one."""
    best, best_rank = -1, -1
    for i in range(out.shape[0]):
        trades = out[i, TRADES]
        if trades == 0:
            continue
        rank = 2 if trades > 1 else 1
        if rank > best_rank or (rank == best_rank and sign * out[i, word] > sign * out[best, word]):
            best, best_rank = i, rank
    return best


@njit(cache=True, nogil=True)
def _touch(bar: I64, out: I64, word: int, sign: int) -> None:
    """Make one part reach the bar's high (sign 1) or low (sign -1)."""
    for i in range(out.shape[0]):
        if out[i, TRADES] > 0 and out[i, word] == bar[word]:
            return
    part = out[_carrier(out, word, sign)]
    if part[TRADES] == 1 and part[CLOSE] != bar[CLOSE] and part[OPEN] != bar[OPEN]:
        flatten(part, bar[word])
    else:
        part[word] = bar[word]


@njit(cache=True, nogil=True)
def _draw_prices(bar: I64, seed: int, before: int, out: I64, path: F64) -> None:
    """Give every part its open, high, low and close."""
    parts = _walk(bar, seed, out, path)
    done = 0
    for i in range(out.shape[0]):
        if out[i, TRADES] == 0:
            flatten(out[i], before)
            continue
        done += 1
        # The last traded part ends on the bar's close.
        close = bar[CLOSE] if done == parts else math.floor(path[done - 1] + 0.5)
        _price(bar, seed, out[i], i, done, before, min(max(close, bar[LOW]), bar[HIGH]))
        if done == parts and out[i, CLOSE] != bar[CLOSE]:
            out[i, CLOSE] = bar[CLOSE]
            out[i, HIGH], out[i, LOW] = max(out[i, HIGH], bar[CLOSE]), min(out[i, LOW], bar[CLOSE])
        before = out[i, CLOSE]
    _touch(bar, out, HIGH, 1)
    _touch(bar, out, LOW, -1)
    before = out[0, OPEN]
    for i in range(out.shape[0]):
        if out[i, TRADES] == 0:
            flatten(out[i], before if i > 0 else out[0, OPEN])
        before = out[i, CLOSE]


@njit(cache=True, nogil=True, error_model="numpy")
def _lean(bar: I64, seed: int, out: I64, weights: F64) -> None:
    """Weigh the traded parts so that their middle prices average to the bar's average price."""
    total = mean = spread = 0.0
    for i in range(weights.size):
        weights[i] = out[i, TRADES] * (0.5 + uniform(seed, 2000 + i))
        total += weights[i]
        mean += weights[i] * 0.5 * (out[i, HIGH] + out[i, LOW])
    mean /= total
    for i in range(weights.size):
        off = 0.5 * (out[i, HIGH] + out[i, LOW]) - mean
        spread += weights[i] / total * off * off
    if spread <= 0.0 or not priced(bar):
        return
    slope = (float(bar[QUOTE]) / float(bar[VOLUME]) - mean) / spread
    for i in range(weights.size):
        off = 0.5 * (out[i, HIGH] + out[i, LOW]) - mean
        weights[i] *= max(1.0 + slope * off, 0.05)


@njit(cache=True, nogil=True)
def _share_volume(bar: I64, seed: int, out: I64, weights: F64, spare: I64) -> None:
    """Share the volume: a step for each trade (as far as it goes), the rest by weight."""
    _lean(bar, seed, out, weights)
    taken = 0
    for i in range(out.shape[0]):
        out[i, VOLUME] = min(out[i, TRADES], bar[VOLUME] - taken)
        taken += out[i, VOLUME]
    _spread(weights, bar[VOLUME] - taken, uniform(seed, -2), spare)
    for i in range(out.shape[0]):
        out[i, VOLUME] += spare[i]


@njit(cache=True, nogil=True)
def _move_volume(bar: I64, out: I64, word: int, sign: int, need: int) -> None:
    """Move volume to the part that touches an extreme until the quote volume fits between the bounds."""
    goal = 0
    while out[goal, TRADES] == 0 or out[goal, word] != bar[word]:
        goal += 1
    for i in range(out.shape[0]):
        gain = sign * (bar[word] - out[i, word])
        if need <= 0 or gain <= 0 or out[i, VOLUME] <= out[i, TRADES]:
            continue
        steps = min(out[i, VOLUME] - out[i, TRADES], (need + gain - 1) // gain)
        out[i, VOLUME] -= steps
        out[goal, VOLUME] += steps
        need -= steps * gain


@njit(cache=True, nogil=True)
def _widen(bar: I64, out: I64, word: int, sign: int, need: int) -> None:
    """Let parts reach further, those of several trades first, until the quote volume fits exactly."""
    for trades in (2, 1):
        for i in range(out.shape[0]):
            room = sign * (bar[word] - out[i, word])
            if need <= 0 or room <= 0 or out[i, VOLUME] == 0 or out[i, TRADES] < trades:
                continue
            ticks = min(room, (need + out[i, VOLUME] - 1) // out[i, VOLUME])
            out[i, word] += sign * ticks
            need -= ticks * out[i, VOLUME]


@njit(cache=True, nogil=True)
def _bounds(out: I64, low: I64, high: I64) -> None:
    """Give what each part's quote volume can be at its prices."""
    for i in range(out.shape[0]):
        low[i] = out[i, LOW] * out[i, VOLUME]
        high[i] = out[i, HIGH] * out[i, VOLUME]


@njit(cache=True, nogil=True, error_model="numpy")
def _share_evenly(bar: I64, out: I64, word: int, low: I64, high: I64) -> None:
    """Share a volume in proportion to the base volume."""
    rest = bar[word]
    for i in range(out.shape[0]):
        low[i], high[i] = 0, bar[word]
        out[i, word] = int(float(bar[word]) * (float(out[i, VOLUME]) / float(bar[VOLUME])))
        rest -= out[i, word]
    _settle(out[:, word], low, high, rest)


@njit(cache=True, nogil=True, error_model="numpy")
def _share_quote(bar: I64, out: I64, low: I64, high: I64) -> None:
    """Share the quote volume, each part within its own low and high."""
    if not priced(bar):
        _share_evenly(bar, out, QUOTE, low, high)
        return
    _bounds(out, low, high)
    if _total(high) < bar[QUOTE]:
        _move_volume(bar, out, HIGH, 1, bar[QUOTE] - _total(high))
    elif _total(low) > bar[QUOTE]:
        _move_volume(bar, out, LOW, -1, _total(low) - bar[QUOTE])
    _bounds(out, low, high)
    # Volume moves in whole steps, which can carry it past the goal where prices are single.
    _widen(bar, out, HIGH, 1, bar[QUOTE] - _total(high))
    _widen(bar, out, LOW, -1, _total(low) - bar[QUOTE])
    _bounds(out, low, high)
    least, most = _total(low), _total(high)
    share = float(bar[QUOTE] - least) / float(most - least) if most > least else 0.0
    rest = bar[QUOTE]
    for i in range(out.shape[0]):
        out[i, QUOTE] = low[i] + int(share * float(high[i] - low[i]))
        rest -= out[i, QUOTE]
    _settle(out[:, QUOTE], low, high, rest)


@njit(cache=True, nogil=True, error_model="numpy")
def _share_taker_base(bar: I64, seed: int, out: I64, weights: F64, spare: I64) -> None:
    """Share the taker volume: the bar's ratio, then random amounts from a part to the next."""
    for i in range(out.shape[0]):
        weights[i] = float(out[i, VOLUME])
        spare[i] = 0
    _spread(weights, bar[TAKER_BASE], uniform(seed, -3), out[:, TAKER_BASE])
    rest = 0
    for i in range(out.shape[0]):
        rest += max(out[i, TAKER_BASE] - out[i, VOLUME], 0)
        out[i, TAKER_BASE] = min(out[i, TAKER_BASE], out[i, VOLUME])
    _settle(out[:, TAKER_BASE], spare, out[:, VOLUME], rest)
    last = -1
    for i in range(out.shape[0]):
        if out[i, VOLUME] == 0:
            continue
        if last >= 0:
            room = min(out[last, TAKER_BASE], out[i, VOLUME] - out[i, TAKER_BASE])
            move = int(room * 0.6 * uniform(seed, 6000 + i))
            out[last, TAKER_BASE] -= move
            out[i, TAKER_BASE] += move
        last = i


@njit(cache=True, nogil=True, error_model="numpy")
def _share_taker_quote(bar: I64, out: I64, low: I64, high: I64) -> None:
    """Share the taker quote volume so that neither side of a part trades outside of its prices."""
    if not priced(bar):
        _share_evenly(bar, out, TAKER_QUOTE, low, high)
        return
    rest = bar[TAKER_QUOTE]
    for i in range(out.shape[0]):
        base, other = out[i, TAKER_BASE], out[i, VOLUME] - out[i, TAKER_BASE]
        low[i] = max(out[i, LOW] * base, out[i, QUOTE] - out[i, HIGH] * other)
        high[i] = min(out[i, HIGH] * base, out[i, QUOTE] - out[i, LOW] * other)
        want = int(float(out[i, QUOTE]) * (float(base) / max(float(out[i, VOLUME]), 1.0)))
        out[i, TAKER_QUOTE] = min(max(want, low[i]), high[i])
        rest -= out[i, TAKER_QUOTE]
    rest = _settle(out[:, TAKER_QUOTE], low, high, rest)
    if rest != 0:
        for i in range(out.shape[0]):
            low[i], high[i] = 0, out[i, QUOTE]
        _settle(out[:, TAKER_QUOTE], low, high, rest)


@njit(cache=True, nogil=True)
def split(bar: I64, before: int, seed: int, span: int, out: I64) -> None:
    """Split *bar* into the lines of *out*, parts of *span* ms each, after a last price of *before* ticks.

    The parts add up to the bar (see truth.add) in every word, if it has trades where it has volume.
    """
    parts = out.shape[0]
    for i in range(parts):
        clear(out[i])
        out[i, OPEN_TIME] = bar[OPEN_TIME] + i * span
    if bar[TRADES] == 0:
        for i in range(parts):
            flatten(out[i], bar[CLOSE])
        return
    seed = key(seed, bar[OPEN_TIME])
    weights, path = np.empty(parts), np.empty(parts)
    low, high = np.empty(parts, np.int64), np.empty(parts, np.int64)
    _share_trades(bar, seed, out, weights)
    _draw_prices(bar, seed, before, out, path)
    if bar[VOLUME] > 0:
        _share_volume(bar, seed, out, weights, low)
        _share_quote(bar, out, low, high)
        _share_taker_base(bar, seed, out, weights, low)
        _share_taker_quote(bar, out, low, high)


@njit(cache=True, nogil=True)
def split_all(bars: I64, before: int, seed: int, span: int, out: I64) -> None:
    """Split bars (oldest first) into equal numbers of parts, the lines of *out* in order."""
    each = out.shape[0] // max(bars.shape[0], 1)
    for i in range(bars.shape[0]):
        split(bars[i], before, seed, span, out[i * each : (i + 1) * each])
        before = bars[i, CLOSE]


@njit(cache=True, nogil=True)
def _accumulate(out: I64) -> None:
    """Make each line the sum of itself and all lines before."""
    part = np.empty(WORDS, np.int64)
    for i in range(1, out.shape[0]):
        copy(part, out[i])
        copy(out[i], out[i - 1])
        add(out[i], part)


def unfold(bar: I64, before: int, seed: int, out: I64) -> None:
    """Give the forming bar at the end of each part of *bar*: line i is the sum of parts 0 to i."""
    # Calling the one compiled kernel from here, not from another kernel, halves the time to compile.
    split_all(bar.reshape(1, WORDS), before, seed, 0, out)
    _accumulate(out)
    out[:, OPEN_TIME] = bar[OPEN_TIME]
