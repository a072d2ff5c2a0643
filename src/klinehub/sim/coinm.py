"""The market margined in coins beside a simulated futures market: the same prices, in contracts of dollars.

1. Each minute is a pure function of the futures minute: its price stands some way above, its contracts are a
   share of what was turned over, in contracts of 10 dollars, of Bitcoin 100.
2. The second volume is in the coin: what the contracts were worth, over the average price.
3. A minute without a contract is flat at the last close. The first minute of an hour always trades, as does
   the first after a gap, so that no minute needs more than its own hour. One of very few trades is flat at
   its open, because nothing says which of the futures' prices these were made at.
"""

from typing import Final, NamedTuple

import msgspec
import numpy as np
from numba import njit

from klinehub.domain.kline import Scale
from klinehub.domain.listing import NO_DELIVERY, Listing
from klinehub.domain.timeframe import MINUTE
from klinehub.sim.dice import key, uniform
from klinehub.sim.drawn import HOUR_MINUTES, DrawnMarket, ever
from klinehub.sim.hours import F64
from klinehub.sim.market import SLOTS, Instrument, Market
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
    clear,
    copy,
    flatten,
)

COIN_DECIMALS: Final = 8
# So many of the largest coins have a perpetual, and of these so many quarterlies too.
_PERPETUALS: Final = 20
_QUARTERLIES: Final = 2
_SIZE: Final = 10
_BITCOIN_SIZE: Final = 100
# Of fewer trades nobody could tell four prices.
_TELLING: Final = 4
# Columns of what a contract's minutes are drawn with: contracts per futures quote unit, trades per futures
# trade, the price over the futures', and the coin's mantissa of a contract at a price of one tick.
_CONTRACTS, _COUNT, _PREMIUM, _COINS = range(4)


class Contract(NamedTuple):
    """A contract: its futures instrument's number, and how it is listed while it trades."""

    future: int
    instrument: Instrument
    listing: Listing
    shape: F64


@njit(cache=True, nogil=True)
def _coin_bar(future: I64, last: int, least: int, shape: F64, bar: I64) -> None:
    """Write the bar, of at least so many contracts, that a futures bar or the part of one stands for."""
    clear(bar)
    bar[OPEN_TIME] = future[OPEN_TIME]
    contracts = max(int(future[QUOTE] * shape[_CONTRACTS]), least)
    if contracts == 0:
        flatten(bar, last)
        return
    bar[VOLUME] = contracts
    bar[TRADES] = max(1, min(contracts, int(future[TRADES] * shape[_COUNT])))
    for word in range(OPEN, CLOSE + 1):
        told = word if bar[TRADES] >= _TELLING else OPEN
        bar[word] = max(1, int(future[told] * shape[_PREMIUM] + 0.5))
    average = float(bar[OPEN])
    if bar[TRADES] >= _TELLING and future[VOLUME] > 0:
        average = future[QUOTE] / future[VOLUME] * shape[_PREMIUM]
        average = min(max(average, float(bar[LOW])), float(bar[HIGH]))
    bar[QUOTE] = int(contracts * shape[_COINS] / average)
    bar[TAKER_BASE] = min(contracts, int(future[TAKER_QUOTE] * shape[_CONTRACTS]))
    bar[TAKER_QUOTE] = int(bar[TAKER_BASE] * shape[_COINS] / average)


@njit(cache=True, nogil=True)
def draw_coin_minutes(futures: I64, shape: F64, end: int, out: I64) -> None:
    """Write a contract's minute for each of the futures'; from *end* (ms) on nobody trades."""
    last = 1
    for i in range(out.shape[0]):
        minute = futures[i, OPEN_TIME] // MINUTE
        gap = i == 0 or futures[i - 1, OPEN_TIME] != futures[i, OPEN_TIME] - MINUTE
        if futures[i, OPEN_TIME] >= end and not gap:
            clear(out[i])
            out[i, OPEN_TIME] = futures[i, OPEN_TIME]
            flatten(out[i], last)
        else:
            least = 1 if gap or minute % HOUR_MINUTES == 0 else 0
            _coin_bar(futures[i], last, least, shape, out[i])
        last = out[i, CLOSE]


@njit(cache=True, nogil=True)
def draw_coin_slots(slots: I64, before: int, shape: F64, whole: I64, out: I64) -> None:
    """Write a forming minute at the end of each quarter second; volumes never shrink, and end as *whole*."""
    traded = whole[TRADES] > 0
    for i in range(out.shape[0]):
        bar = out[i]
        if i == out.shape[0] - 1:
            copy(bar, whole)
            continue
        _coin_bar(slots[i], before, 0, shape, bar)
        if not traded:
            flatten(bar, before)
        for word in range(VOLUME, WORDS):
            held = out[i - 1, word] if i > 0 else 0
            bar[word] = min(max(bar[word], held), whole[word])


class CoinMarket(DrawnMarket[Contract]):
    """The contracts on the largest coins of *futures* that are margined in the coin itself."""

    coins = True

    def __init__(self, futures: Market) -> None:
        super().__init__(futures, _contracts(futures))

    def listed(self, one: Contract, future: Listing) -> Listing:
        """Give a contract's listing as it is while the futures on its coin are as they are."""
        own = one.listing
        ends = future.delivery_time if own.contract_type == "PERPETUAL" else own.delivery_time
        return msgspec.structs.replace(own, status=future.status, delivery_time=ends)

    def draw(self, i: int, futures: I64, end: int, out: I64) -> None:
        """Write a contract's minute for each of the futures'."""
        draw_coin_minutes(futures, self.drawn[i].shape, end, out)

    def slots(self, i: int, minute: int) -> I64 | None:
        """Give the forming minute at the end of each quarter second; None where it has no bar."""
        bars = self.minutes(i, minute - MINUTE, minute + MINUTE)
        slots = self.futures.slots(self.drawn[i].future, minute)
        if slots is None or not len(bars) or bars[-1, OPEN_TIME] != minute:
            return None
        before = int(bars[0, CLOSE] if len(bars) > 1 else bars[-1, OPEN])
        out = np.empty((SLOTS, WORDS), np.int64)
        draw_coin_slots(slots, before, self.drawn[i].shape, bars[-1], out)
        return out

    def recent(self, i: int, start: int, now: int) -> I64:
        """Give the 1m bars from *start* up to *now*, the last one forming."""
        minute = now - now % MINUTE
        bars = self.minutes(i, start, minute + MINUTE)
        if not len(bars) or bars[-1, OPEN_TIME] != minute:
            return bars
        bars, slot = bars.copy(), (now - minute) * SLOTS // MINUTE - 1
        slots = self.slots(i, minute)
        if slots is not None and slot >= 0:
            bars[-1] = slots[slot]
            return bars
        before = int(bars[-2, CLOSE] if len(bars) > 1 else bars[-1, OPEN])
        bars[-1, VOLUME:] = 0
        bars[-1, OPEN : CLOSE + 1] = before
        return bars


def _contracts(futures: Market) -> list[Contract]:
    """List the perpetuals of the largest coins, then the quarterlies of the very largest."""
    found = ever(futures)
    coins = [
        (i, one)
        for i, one in found
        if one.contract_type == "PERPETUAL" and one.underlying_type == "COIN" and one.base_asset.isalpha()
        if one.quote_asset == "USDT" and one.base_asset.isascii()
    ][:_PERPETUALS]
    dated = [one for _, one in found if one.contract_type in {"CURRENT_QUARTER", "NEXT_QUARTER"}]
    perpetuals = [_contract(futures, i, one, None) for i, one in coins]
    return perpetuals + [
        _contract(futures, i, one, quarter) for i, one in coins[:_QUARTERLIES] for quarter in dated
    ]


def _contract(futures: Market, i: int, future: Listing, quarter: Listing | None) -> Contract:
    one, base = futures.instruments[i], future.base_asset
    pair = f"{base}USD"
    symbol = f"{pair}_PERP" if quarter is None else f"{pair}_{quarter.symbol.partition('_')[2]}"
    size = _BITCOIN_SIZE if base == "BTC" else _SIZE
    seed = int(key(one.seed, size))
    # A quarterly stands further above the futures, the later it ends, and is traded less.
    late = 0 if quarter is None else 1 if quarter.contract_type == "CURRENT_QUARTER" else 2
    share = (0.02 + 0.05 * uniform(seed, 1)) * 0.2**late
    tick = one.tick / 10**one.scale.price
    money = tick * one.step / 10**one.scale.base
    shape = np.array(
        [share * money / size, share * 2.0, 1.0 + 0.005 * late, size * 10**COIN_DECIMALS / tick], np.float64
    )
    onboard = one.onboard if quarter is None else max(one.onboard, quarter.onboard_time)
    scale = Scale(one.scale.price, 0, COIN_DECIMALS)
    instrument = Instrument(symbol, scale, one.tick, 1, onboard, one.end, seed, 1)
    listing = msgspec.structs.replace(
        future,
        symbol=symbol,
        pair=pair,
        contract_type="PERPETUAL" if quarter is None else quarter.contract_type,
        quote_asset="USD",
        onboard_time=onboard,
        delivery_time=NO_DELIVERY if quarter is None else quarter.delivery_time,
        quantity_decimals=0,
        step_size="1",
        contract_size=size,
    )
    return Contract(i, instrument, listing, shape)
