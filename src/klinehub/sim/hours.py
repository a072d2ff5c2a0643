"""The hours of a synthetic symbol: each day is drawn from its own keys, so any day can be asked for first.

1. Three processes - market, sector, own - move the logarithm of the price. Each has a level at every
   midnight, a sum of noises whose periods double from one day to 2,048 days: day by day it looks like a
   random walk, over years it stays in a band, and no day needs the one before.
2. Between two midnights fat-tailed hourly moves are bent so that they end on the next level.
3. Turnover follows the hour of the day, the swell of activity in market and symbol, and the size of the move.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from klinehub.sim.dice import bell, fat, key, uniform, waiting
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
    clear,
    flatten,
)

F64 = npt.NDArray[np.float64]

HOURS: Final = 24
HOUR_MS: Final = 3_600_000
_OCTAVES: Final = 12
# What a synthetic symbol is made of: one line of floats.
LOG_PRICE, MARKET_BETA, SECTOR_BETA, MARKET_VOL, SECTOR_VOL, OWN_VOL, TURNOVER, TRADE_SIZE, TICK, STEP = (
    range(10)
)
SHAPE_WORDS: Final = 10


@njit(cache=True, nogil=True)
def level(process: int, day: int) -> float:
    """Give a process at the midnight that opens *day*, in units of its daily deviation."""
    total = 0.0
    size = 0.5
    for octave in range(_OCTAVES):
        period = 1 << octave
        cell = day // period
        share = (day - cell * period) / period
        noise = key(process, octave)
        total += size * (bell(noise, cell) * (1.0 - share) + bell(noise, cell + 1) * share)
        size *= 1.4142135623730951
    return total


@njit(cache=True, nogil=True)
def swell(process: int, day: int, hour: int) -> float:
    """Give how lively a process is, as a logarithm around 0."""
    slow = key(process, -7)
    share = hour / 24.0
    return (
        bell(slow, day) * (1.0 - share) + bell(slow, day + 1) * share + 0.5 * bell(slow, -(day * 24 + hour))
    )


@njit(cache=True, nogil=True)
def season(hour: int) -> float:
    """Give the usual liveliness of an hour of the day (UTC): quiet at 4:00, busiest at 15:00."""
    return 1.0 + 0.3 * math.cos((hour - 15.0) / 24.0 * 2.0 * math.pi)


@njit(cache=True, nogil=True)
def inside_day(process: int, day: int, steps: F64, path: F64) -> None:
    """Write the process at the 25 hour marks of a day into `path`; `steps` is each hour's deviation."""
    start, end = level(process, day), level(process, day + 1)
    path[0] = 0.0
    for h in range(HOURS):
        path[h + 1] = path[h] + steps[h] * fat(process, day * HOURS + h)
    off = end - start - path[HOURS]
    for h in range(HOURS + 1):
        path[h] += start + off * h / HOURS


@njit(cache=True, nogil=True)
def _liveliness(keys: I64, day: int, steps: F64) -> None:
    """Write the hourly deviation, relative to a day of 1, that market and symbol share out over a day."""
    for h in range(HOURS):
        warm = 0.4 * swell(keys[0], day, h) + 0.35 * swell(keys[2], day, h)
        steps[h] = 0.2 * math.sqrt(season(h)) * math.exp(0.7 * warm)


@njit(cache=True, nogil=True)
def _market_steps(keys: I64, day: int, steps: F64) -> None:
    """Write the hourly deviation of the market and sector: the same for every symbol."""
    for h in range(HOURS):
        steps[h] = 0.2 * math.sqrt(season(h)) * math.exp(0.3 * swell(keys[0], day, h))


@njit(cache=True, nogil=True)
def log_prices(keys: I64, shape: F64, day: int, steps: F64, out: F64) -> None:
    """Write the logarithm of the price at the 25 hour marks of a day; leaves the liveliness in `steps`."""
    path = np.empty(HOURS + 1)
    _market_steps(keys, day, steps)
    inside_day(keys[0], day, steps, path)
    for h in range(HOURS + 1):
        out[h] = shape[LOG_PRICE] + shape[MARKET_BETA] * shape[MARKET_VOL] * path[h]
    inside_day(keys[1], day, steps, path)
    for h in range(HOURS + 1):
        out[h] += shape[SECTOR_BETA] * shape[SECTOR_VOL] * path[h]
    _liveliness(keys, day, steps)
    inside_day(keys[2], day, steps, path)
    for h in range(HOURS + 1):
        out[h] += shape[OWN_VOL] * path[h]


@njit(cache=True, nogil=True)
def _volume(shape: F64, seed: int, price: int, stir: float, hour: int, forced: int, bar: I64) -> None:
    """Set trades and volume of an hour; a quiet one can be left with no trade at all."""
    paid = shape[TURNOVER] * season(hour) * stir * math.exp(0.35 * bell(seed, 3))
    steps = paid / (price * shape[TICK] * shape[STEP])
    trades = paid / (shape[TRADE_SIZE] * (0.7 + 0.6 * uniform(seed, 4)))
    bar[TRADES] = min(int(trades + uniform(seed, 5)), int(steps))
    if forced == 1:
        bar[TRADES] = max(bar[TRADES], 1)
    if bar[TRADES] > 0:
        bar[VOLUME] = max(int(steps), bar[TRADES])


@njit(cache=True, nogil=True)
def _range(seed: int, opened: int, closed: int, reach: float, bar: I64) -> None:
    """Set the four prices so that the number of trades suffices to reach them."""
    bar[OPEN], bar[CLOSE] = opened, closed
    if bar[TRADES] == 1:
        bar[OPEN] = closed
    bar[HIGH], bar[LOW] = max(bar[OPEN], closed), min(bar[OPEN], closed)
    if bar[TRADES] > 2:
        bar[HIGH] += int(reach * waiting(seed, 1))
    if bar[TRADES] > 3:
        bar[LOW] = max(bar[LOW] - int(reach * waiting(seed, 2)), 1)


@njit(cache=True, nogil=True, error_model="numpy")
def money(seed: int, bar: I64) -> None:
    """Set quote volume and the takers' share so that both sides trade between low and high."""
    low, high, volume = bar[LOW], bar[HIGH], bar[VOLUME]
    at = min(max(0.5 + 0.12 * bell(seed, 6), 0.05), 0.95)
    bar[QUOTE] = low * volume + int(at * float((high - low) * volume))
    move = (bar[CLOSE] - bar[OPEN]) / max(high - low, 1)
    share = min(max(0.5 + 0.12 * move + 0.06 * bell(seed, 7), 0.0), 1.0)
    base = int(share * float(volume) + uniform(seed, 8))
    bar[TAKER_BASE] = min(base, volume)
    other = volume - bar[TAKER_BASE]
    want = int(float(bar[QUOTE]) * (float(bar[TAKER_BASE]) / float(volume)))
    least = max(low * bar[TAKER_BASE], bar[QUOTE] - high * other)
    most = min(high * bar[TAKER_BASE], bar[QUOTE] - low * other)
    bar[TAKER_QUOTE] = min(max(want, least), most)


@njit(cache=True, nogil=True)
def draw_hours(keys: I64, shape: F64, first_day: int, first_hour: int, out: I64) -> None:
    """Write the hours from midnight of *first_day*; `keys` are those of market, sector and symbol.

    The first hour of a day and *first_hour* (absolute, the listing) always trade, so that a trade-less
    hour finds its price on its own day.
    """
    marks, steps = np.empty(HOURS + 1), np.empty(HOURS)
    for d in range(out.shape[0] // HOURS):
        day = first_day + d
        log_prices(keys, shape, day, steps, marks)
        last = 1
        for h in range(HOURS):
            bar, hour = out[d * HOURS + h], day * HOURS + h
            clear(bar)
            bar[OPEN_TIME] = hour * HOUR_MS
            seed = key(keys[2], hour)
            opened = max(int(math.exp(marks[h]) / shape[TICK] + 0.5), 1)
            closed = max(int(math.exp(marks[h + 1]) / shape[TICK] + 0.5), 1)
            size = abs(marks[h + 1] - marks[h]) / (shape[OWN_VOL] * 0.2)
            stir = math.exp(1.2 * math.log(steps[h] * 5.0)) * (0.6 + 0.5 * min(size, 8.0))
            _volume(shape, seed, closed, stir, h, 1 if h == 0 or hour == first_hour else 0, bar)
            if bar[TRADES] == 0:
                flatten(bar, last)
                continue
            _range(seed, opened, closed, 0.5 * shape[OWN_VOL] * steps[h] * closed, bar)
            money(seed, bar)
            last = bar[CLOSE]
