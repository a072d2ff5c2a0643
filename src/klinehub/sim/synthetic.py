"""A seeded market of any size: one market factor, sectors, fat tails, quiet coins, comings and goings."""

import math
from typing import Final
from zlib import crc32

import numpy as np

from klinehub.domain.kline import Scale
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DefinitionError
from klinehub.sim.dice import key, uniform
from klinehub.sim.hours import F64, HOUR_MS, HOURS, SHAPE_WORDS, draw_hours, level
from klinehub.sim.listings import Plan, Role, plan
from klinehub.sim.market import Change, Instrument, Market
from klinehub.sim.names import Coin, decimals_of
from klinehub.sim.truth import CLOSE, I64, OPEN, OPEN_TIME, WORDS

SECTORS: Final = 12
# One symbol comes and one goes so often.
CHURN_HOURS: Final = 6
# The day on which the coins stand near the prices they are named with.
_REFERENCE_DAY: Final = 20_778
_MARKET, _SECTOR, _SYMBOL = range(3)


def synthetic(
    symbols: int = 550, seed: int = 1, *, start: int, churn_hours: int = CHURN_HOURS
) -> "SyntheticMarket":
    """Make a market with exactly *symbols* trading USDT perpetuals at *start* (ms UTC).

    Beside them it lists what a real exchange lists: settled, pending and quarterly contracts, another
    quote asset. Every *churn_hours* after *start* one symbol is listed and one delisted (0: never).
    Prices depend on seed, symbol and time alone, not on *start*.
    """
    if symbols < 1:
        raise DefinitionError(f"A market needs at least 1 symbol, not {symbols}: ask for 1 or more.")
    return SyntheticMarket(plan(symbols, seed, start, churn_hours), seed)


class SyntheticMarket(Market):
    """A market drawn from a seed; its grain is the hour."""

    grain = timeframe("1h")

    def __init__(self, roles: Plan, seed: int) -> None:
        self.seed = seed
        self.plan = roles
        self._keys = [_keys(seed, role) for role in roles.roles]
        self._shapes = [_shape(role, keys) for role, keys in zip(roles.roles, self._keys, strict=True)]
        super().__init__(
            [_instrument(role, keys) for role, keys in zip(roles.roles, self._keys, strict=True)]
        )

    def listings(self, now: int) -> tuple[Listing, ...]:
        """Give everything the exchange lists at *now* (ms UTC), trading or not."""
        return self.plan.listings(now)

    def changes(self, after: int, until: int) -> list[Change]:
        """Give the listings and delistings in the time (after, until], oldest first."""
        return [Change(time, self.plan.listing(role, time)) for time, role in self.plan.changes(after, until)]

    def coarse(self, i: int, first: int, last: int) -> I64:
        """Give the hours with absolute indices first to last of instrument *i*, from its listing on.

        After a delisting the hours go on flat, at the last price and without volume.
        """
        one = self.instruments[i]
        first = max(first, one.onboard // HOUR_MS)
        end = one.end // HOUR_MS if one.end is not None else last + 1
        if last < first:
            return np.empty((0, WORDS), np.int64)
        if last < end:
            return self._drawn(i, first, last)
        alive = self._drawn(i, min(first, end - 1), end - 1)
        flat = np.zeros((last - max(first, end) + 1, WORDS), np.int64)
        flat[:, OPEN_TIME] = np.arange(max(first, end), last + 1) * HOUR_MS
        flat[:, OPEN : CLOSE + 1] = alive[-1, CLOSE]
        return np.concatenate((alive[len(alive) - max(end - first, 0) :], flat))

    def _drawn(self, i: int, first: int, last: int) -> I64:
        """Draw the whole days that hold the hours first to last and give those hours."""
        day = first // HOURS
        out = np.empty(((last // HOURS - day + 1) * HOURS, WORDS), np.int64)
        draw_hours(self._keys[i], self._shapes[i], day, self.instruments[i].onboard // HOUR_MS, out)
        return out[first - day * HOURS : last - day * HOURS + 1]


def _keys(seed: int, role: Role) -> I64:
    """Give the keys of market, sector and symbol, the last from its name."""
    root = key(seed, 0)
    name = crc32(role.coin.base.encode())
    market, sector = key(root, _MARKET), key(key(root, _SECTOR), name % SECTORS)
    return np.array([market, sector, key(key(root, _SYMBOL), name)], np.int64)


def _shape(role: Role, keys: I64) -> F64:
    """Give the numbers that a symbol's hours are drawn with."""
    coin, own = role.coin, int(keys[2])
    minor = 1.0 - min(max(math.log10(coin.turnover / 1e5) / 5.0, 0.0), 1.0)
    betas = (0.7 + 0.6 * uniform(own, 11), 0.5 + 0.8 * uniform(own, 12))
    vols = (0.02, 0.015, 0.012 + 0.03 * minor * (0.5 + uniform(own, 13)))
    price, quantity = decimals_of(coin.price)
    drift = sum(
        weight * vol * level(int(k), _REFERENCE_DAY)
        for weight, vol, k in zip((*betas, 1.0), vols, keys, strict=True)
    )
    shape = np.empty(SHAPE_WORDS)
    shape[:] = (
        math.log(coin.price * role.premium) - drift,
        *betas,
        *vols,
        coin.turnover / HOURS * role.share,
        60.0 + 2500.0 * (1.0 - minor) ** 2,
        _tick(coin) * 10.0**-price,
        10.0**-quantity,
    )
    return shape


def _tick(coin: Coin) -> int:
    """Give the tick in units of the last printed decimal: the dearest coin moves in tens of it."""
    return 10 if decimals_of(coin.price)[0] == 2 and coin.price > 50_000 else 1


def _instrument(role: Role, keys: I64) -> Instrument:
    price, quantity = decimals_of(role.coin.price)
    scale = Scale(price, quantity, price + quantity)
    seed = key(int(keys[2]), crc32(role.symbol.encode()))
    return Instrument(role.symbol, scale, _tick(role.coin), 1, role.onboard, role.end, int(seed))
