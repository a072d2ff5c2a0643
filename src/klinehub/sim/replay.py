"""A market that replays recorded klines.

What was recorded is the truth, bar for bar; finer timeframes and forming bars are drawn inside of it (see
split). Choices: a bar that is missing from the recording does not exist on this exchange either, in any
timeframe; a symbol is listed with its first bar; one whose bars end a day before the recording's end
is delisted (SETTLING) with its last.
"""

from bisect import bisect_right
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec
import numpy as np

from klinehub.domain.listing import NO_DELIVERY, Listing
from klinehub.domain.timeframe import DAY
from klinehub.sim.dice import key
from klinehub.sim.market import Change, Instrument, Market
from klinehub.sim.recordings import Recording, Recordings, read
from klinehub.sim.truth import CLOSE, I64, OPEN, OPEN_TIME

_QUOTES: Final = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY")
_SUITING: Final = {
    "1m": ("1m", "5m", "15m", "1h"),
    "3m": ("3m", "15m", "30m", "1h"),
    "5m": ("5m", "15m", "30m", "1h"),
    "15m": ("15m", "30m", "1h", "2h"),
    "30m": ("30m", "1h", "2h", "4h"),
    "1h": ("1h", "2h", "4h", "12h"),
}


def replay(path: str | Path, seed: int = 1) -> "ReplayMarket":
    """Make a market of the recordings at *path*, a file or a folder; *seed* draws what nobody recorded."""
    return ReplayMarket(read(Path(path)), seed)


class ReplayMarket(Market):
    """A market of recorded bars; `begin` and `end` (ms UTC) bound what was recorded.

    `middle` is the open time before which half of all recorded bars lie: never in a gap, whereas the
    middle between begin and end can be.
    """

    def __init__(self, recordings: Recordings, seed: int) -> None:
        self.grain = recordings.timeframe
        self.unavailable = recordings.unavailable
        self.default_timeframes = _SUITING.get(self.grain.name, (self.grain.name,))
        self._bars = [one.bars for one in recordings.symbols]
        self.begin = min(int(bars[0, OPEN_TIME]) for bars in self._bars)
        self.end = max(self._over(bars) for bars in self._bars)
        times = np.concatenate([bars[:, OPEN_TIME] for bars in self._bars])
        self.middle = int(np.partition(times, len(times) // 2)[len(times) // 2])
        super().__init__([self._instrument(one, seed) for one in recordings.symbols])
        self._fixed = [
            _listing(one, found) for one, found in zip(self.instruments, recordings.symbols, strict=True)
        ]

        lives = ((one.onboard, one.end) for one in self.instruments)
        self._moments = sorted((t, i) for i, life in enumerate(lives) for t in life if t is not None)

    def _over(self, bars: I64) -> int:
        """Give the end of the last bar."""
        return self.grain.open_time(self.grain.index(int(bars[-1, OPEN_TIME])) + 1)

    def _instrument(self, one: Recording, seed: int) -> Instrument:
        over = self._over(one.bars)
        end = over if over < self.end - DAY else None
        own = key(key(seed, 7), crc32(one.symbol.encode()))
        return Instrument(one.symbol, one.scale, 1, 1, int(one.bars[0, OPEN_TIME]), end, int(own))

    def listings(self, now: int) -> tuple[Listing, ...]:
        """Give what is listed at *now*: symbols appear with their first bar."""
        return tuple(self._at(i, now) for i, one in enumerate(self.instruments) if one.onboard <= now)

    def _at(self, i: int, now: int) -> Listing:
        end = self.instruments[i].end
        fixed = self._fixed[i]
        if end is None or now < end:
            return fixed
        return msgspec.structs.replace(fixed, status="SETTLING", delivery_time=end)

    def changes(self, after: int, until: int) -> list[Change]:
        """Give the listings and delistings in the time (after, until], oldest first."""
        low, high = (bisect_right(self._moments, time, key=lambda one: one[0]) for time in (after, until))
        return [Change(time, self._at(i, time)) for time, i in self._moments[low:high]]

    def coarse(self, i: int, first: int, last: int) -> I64:
        """Give the recorded bars with absolute indices first to last of instrument *i*."""
        bars = self._bars[i]
        low, high = self.grain.open_time(first), self.grain.open_time(last)
        times = bars[:, OPEN_TIME]
        return bars[np.searchsorted(times, low) : np.searchsorted(times, high, side="right")]


def _listing(one: Instrument, found: Recording) -> Listing:
    """Describe a recorded symbol; its tick and step are the largest that divide everything recorded."""
    symbol = one.symbol
    quote = next((quote for quote in _QUOTES if symbol.endswith(quote)), "")
    return Listing(
        symbol=symbol,
        pair=symbol.split("_")[0],
        contract_type="PERPETUAL",
        status="TRADING",
        base_asset=symbol.removesuffix(quote),
        quote_asset=quote,
        onboard_time=one.onboard,
        price_decimals=one.scale.price,
        quantity_decimals=one.scale.base,
        delivery_time=NO_DELIVERY,
        tick_size=_step_text(found.bars[:, OPEN : CLOSE + 1], one.scale.price),
        step_size=_step_text(found.bars[:, 5:6], one.scale.base),
    )


def _step_text(mantissas: I64, decimals: int) -> str:
    """Print the greatest common divisor of mantissas."""
    step = int(np.gcd.reduce(mantissas, axis=None)) or 1
    if decimals == 0:
        return str(step)
    text = str(step).rjust(decimals + 1, "0")
    return f"{text[:-decimals]}.{text[-decimals:]}"
