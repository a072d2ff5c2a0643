"""Funding and open interest of a simulated market: pure functions of a symbol's seed and the time.

1. The premium of the perpetual over its index wanders from a level drawn at each funding to the next one's;
   most are small, and some are not.
2. The rate of a funding is worked out of the premium at its beginning, as the exchange does: close to the
   interest of 0.01 % in 8 hours unless the premium leaves a band of 0.05 % around it.
3. Open interest is a share of the last day's volume that swells and shrinks from hour to hour.
"""

from typing import Final

from klinehub.sim.dice import bell, fat, key, uniform
from klinehub.sim.market import HOUR

USUAL_HOURS: Final = 8
# The share of symbols that are paid every four hours.
_OFTEN: Final = 0.25
_SIZE: Final = 3e-4
_FLICKER: Final = 3e-5
_INTEREST: Final = 1e-4
_BAND: Final = 5e-4
_MOST: Final = 0.02
_SWELL: Final = 0.08
# Keys of what is drawn from a symbol's seed, none of which its prices use.
_HOURS, _PREMIUM, _NOISE, _AMOUNT = -101, -102, -103, -104


def hours(seed: int) -> int:
    """Give the hours between two fundings."""
    return 4 if uniform(key(seed, _HOURS), 0) < _OFTEN else USUAL_HOURS


def premium(seed: int, now: int) -> float:
    """Give how far the perpetual is above its index at *now* (ms), as a share of the index."""
    whole, part = divmod(now, hours(seed) * HOUR)
    share, drawn = part / (hours(seed) * HOUR), key(seed, _PREMIUM)
    level = fat(drawn, whole) * (1.0 - share) + fat(drawn, whole + 1) * share
    return _SIZE * level + _FLICKER * bell(key(seed, _NOISE), now // 60_000)


def rate(seed: int, now: int) -> float:
    """Give the rate of the next funding, for the hours between two."""
    begun = now // (hours(seed) * HOUR)
    level = _SIZE * fat(key(seed, _PREMIUM), begun)
    held = level + min(max(_INTEREST - level, -_BAND), _BAND)
    return min(max(held, -_MOST), _MOST) * hours(seed) / USUAL_HOURS


def next_funding(seed: int, now: int) -> int:
    """Give the time (ms) of the next funding."""
    length = hours(seed) * HOUR
    return (now // length + 1) * length


def swollen(seed: int, now: int) -> float:
    """Give open interest as a multiple of what is usual."""
    whole, part = divmod(now, HOUR)
    drawn, share = key(seed, _AMOUNT), part / HOUR
    return 1.0 + _SWELL * (bell(drawn, whole) * (1.0 - share) + bell(drawn, whole + 1) * share)


def interest(seed: int, volume: int, now: int) -> int:
    """Give open interest (mantissa) from the *volume* of the last 24 hours."""
    return int(volume // 3 * swollen(seed, now))
