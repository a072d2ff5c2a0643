"""The spot market beside a simulated futures market: the same coins, in volumes of its own.

1. Each minute is a pure function of the futures minute and a key. Its price is the futures price without a
   basis of a few hundredths of a percent, which moves slowly; its turnover is a share of that of the futures.
2. In one half hour of five spot leads: the turnover is the one that the futures have three minutes later.
3. A minute without trades is flat at the last close. The first minute of an hour always trades, as does the
   first after a gap, so that no minute needs more than its own hour.
"""

import math
from typing import Final, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
from numba import njit

from klinehub.domain.kline import Scale
from klinehub.domain.listing import SPOT, Listing
from klinehub.domain.timeframe import MINUTE
from klinehub.sim.dice import bell, key, uniform
from klinehub.sim.drawn import HOUR_MINUTES, DrawnMarket, ever
from klinehub.sim.hours import F64, money
from klinehub.sim.market import Instrument, Market
from klinehub.sim.truth import (
    CLOSE,
    HIGH,
    I64,
    LOW,
    OPEN,
    OPEN_TIME,
    QUOTE,
    TRADES,
    VOLUME,
    clear,
    flatten,
)

# Spot prints prices and quote volumes with so many decimals, and base volumes too but of the cheapest coins.
DECIMALS: Final = 8
_CHEAP_DECIMALS: Final = 2
_KNOT: Final = 15
_LEAD: Final = 3
_LEADING: Final = 30
_LEADS: Final = 0.2
# Every coin of this many has a pair, of the others seven in ten.
_SURE: Final = 13
_PAIRED: Final = 0.7
MULTIPLIERS: Final = (("1000000", 1_000_000), ("1M", 1_000_000), ("1000", 1_000))
# Columns of what a pair's minutes are drawn with: spot ticks per futures tick, futures quote unit, the worth
# of a spot tick times a step, share of turnover, share of trades, mean basis.
_RATIO, _MONEY, _UNIT, _SHARE, _COUNT, _BASIS = range(6)


class Pair(NamedTuple):
    """A spot pair: its futures instrument's number, and how many coins one contract stands for."""

    future: int
    multiplier: int
    instrument: Instrument
    listing: Listing


@njit(cache=True, nogil=True)
def _basis(seed: int, mean: float, minute: int) -> float:
    """Give how much cheaper than the futures spot is at the start of a minute, as a fraction."""
    knots = key(seed, -11)
    at, share = minute // _KNOT, (minute % _KNOT) / _KNOT
    return mean + 3e-4 * (bell(knots, at) * (1.0 - share) + bell(knots, at + 1) * share)


@njit(cache=True, nogil=True)
def _ticks(price: int, ratio: float, basis: float) -> int:
    """Give a futures price in spot ticks."""
    return max(int(price * ratio * (1.0 - basis) + 0.5), 1)


@njit(cache=True, nogil=True)
def _prices(future: I64, ratio: float, before: float, after: float, bar: I64) -> None:
    """Set the prices of a minute as far as its trades suffice to reach them."""
    bar[OPEN], bar[CLOSE] = _ticks(future[OPEN], ratio, before), _ticks(future[CLOSE], ratio, after)
    if bar[TRADES] == 1:
        bar[OPEN] = bar[CLOSE]
    bar[HIGH], bar[LOW] = max(bar[OPEN], bar[CLOSE]), min(bar[OPEN], bar[CLOSE])
    if bar[TRADES] > 2:
        bar[HIGH] = max(bar[HIGH], _ticks(future[HIGH], ratio, max(before, after)))
    if bar[TRADES] > 3:
        bar[LOW] = min(bar[LOW], _ticks(future[LOW], ratio, min(before, after)))


@njit(cache=True, nogil=True)
def _source(futures: I64, i: int, seed: int, minute: int) -> int:
    """Give which futures minute the turnover of minute *i* is taken from."""
    if uniform(key(seed, -13), minute // _LEADING) >= _LEADS or i + _LEAD >= futures.shape[0]:
        return i
    whole = futures[i + _LEAD, OPEN_TIME] == futures[i, OPEN_TIME] + _LEAD * MINUTE
    return i + _LEAD if whole else i


@njit(cache=True, nogil=True)
def draw_minutes(futures: I64, seed: int, shape: F64, end: int, out: I64) -> None:
    """Write a spot minute for each of the first lines of *futures*; from *end* (ms) on they are quiet."""
    last = 1
    for i in range(out.shape[0]):
        future, bar = futures[i], out[i]
        clear(bar)
        bar[OPEN_TIME] = future[OPEN_TIME]
        minute = future[OPEN_TIME] // MINUTE
        own = key(seed, minute)
        gap = i == 0 or futures[i - 1, OPEN_TIME] != future[OPEN_TIME] - MINUTE
        from_ = futures[_source(futures, i, seed, minute)]
        if future[OPEN_TIME] < end:
            bar[TRADES] = int(from_[TRADES] * shape[_COUNT] + uniform(own, 5))
        if gap or minute % HOUR_MINUTES == 0:
            bar[TRADES] = max(bar[TRADES], 1)
        before, after = _basis(seed, shape[_BASIS], minute), _basis(seed, shape[_BASIS], minute + 1)
        price = _ticks(future[CLOSE], shape[_RATIO], after)
        paid = from_[QUOTE] * shape[_MONEY] * shape[_SHARE] * math.exp(0.3 * bell(own, 3))
        if bar[TRADES] == 0:
            flatten(bar, last)
            continue
        bar[VOLUME] = max(int(paid / (price * shape[_UNIT])), bar[TRADES])
        _prices(future, shape[_RATIO], before, after, bar)
        money(own, bar)
        last = bar[CLOSE]


class SpotMarket(DrawnMarket[Pair]):
    """The spot pairs of *futures*; `pairs` tells of each by its symbol which contract it belongs to."""

    spot = True
    ahead = _LEAD

    def __init__(self, futures: Market) -> None:
        found = [_pair(futures, i, one) for i, one in _contracts(futures)]
        super().__init__(futures, [pair for pair in found if pair is not None])
        self.unavailable = futures.unavailable
        self.pairs = {pair.instrument.symbol: pair for pair in self.drawn}
        self._shapes = [_shape(futures.instruments[pair.future], pair) for pair in self.drawn]

    def listed(self, one: Pair, future: Listing) -> Listing | None:
        """Give a pair's listing as it is while its contract is as it is; there is none before that trades."""
        if future.trading:
            return one.listing
        known = future.status != "PENDING_TRADING"
        return msgspec.structs.replace(one.listing, status="BREAK") if known else None

    def draw(self, i: int, futures: I64, end: int, out: I64) -> None:
        """Write a pair's minute for each of the first of the futures'."""
        draw_minutes(futures, self.instruments[i].seed, self._shapes[i], end, out)


def _contracts(futures: Market) -> list[tuple[int, Listing]]:
    """Give the contracts that may have a pair: perpetuals on coins, whenever they are listed."""
    return [
        (i, one)
        for i, one in ever(futures)
        if one.contract_type == "PERPETUAL" and one.underlying_type == "COIN"
    ]


def _pair(futures: Market, i: int, contract: Listing) -> Pair | None:
    """Give the pair of a contract, None where it has none."""
    future = futures.instruments[i]
    seed = int(key(future.seed, crc32(b"spot")))
    if i >= _SURE and uniform(seed, 1) > _PAIRED:
        return None
    base, multiplier = _coin(contract.base_asset, future.scale)
    price = min(DECIMALS, future.scale.price + len(str(multiplier)) - 1)
    cheap = price >= DECIMALS - 1
    quantity = 0 if cheap else min(DECIMALS - price, future.scale.base + 2)
    volume = _CHEAP_DECIMALS if cheap else DECIMALS
    symbol, scale = f"{base}{contract.quote_asset}", Scale(DECIMALS, volume, DECIMALS)
    tick, step = 10 ** (DECIMALS - price), 10 ** (volume - quantity)
    instrument = Instrument(
        symbol, scale, tick, step, future.onboard, future.end, seed, 10 ** (DECIMALS - price - quantity)
    )
    listing = Listing(
        symbol=symbol,
        pair=symbol,
        contract_type=SPOT,
        status="TRADING",
        base_asset=base,
        quote_asset=contract.quote_asset,
        onboard_time=0,
        price_decimals=DECIMALS,
        quantity_decimals=volume,
        tick_size=f"{10.0**-price:.8f}",
        step_size=f"{10.0**-quantity:.8f}",
    )
    return Pair(i, multiplier, instrument, listing)


def _coin(base: str, scale: Scale) -> tuple[str, int]:
    """Give the coin that a contract is on and how many of it one stands for.

    Some of the cheapest coins keep their contract's name on spot, because their price would have no digits.
    """
    for prefix, multiplier in MULTIPLIERS:
        fits = scale.price + len(str(multiplier)) - 1 <= DECIMALS + 1
        if base.startswith(prefix) and len(base) > len(prefix) + 1 and fits:
            return base.removeprefix(prefix), multiplier
    return base, 1


def _shape(future: Instrument, pair: Pair) -> F64:
    """Give the numbers that a pair's minutes are drawn with."""
    spot = pair.instrument
    tick = future.tick / 10**future.scale.price
    spot_tick, spot_step = spot.tick / 10**spot.scale.price, spot.step / 10**spot.scale.base
    share = 0.04 + 0.11 * uniform(spot.seed, 2)
    shape = np.empty(6)
    shape[:] = (
        tick / pair.multiplier / spot_tick,
        tick * future.step / 10**future.scale.base,
        spot_tick * spot_step,
        share,
        share * 1.5,
        2e-4 * bell(spot.seed, 4),
    )
    return shape
