"""The tape of the store's benchmarks: closes of a simulated market, the same in every process."""

from typing import Final

import numpy as np

from klinehub.bench.stage import NOON
from klinehub.domain.kline import ROW, ROW_WORDS, Exact, Scale
from klinehub.domain.timeframe import MINUTE, Timeframe, timeframe
from klinehub.panel.memory import OPEN_TIME
from klinehub.panel.ring import Ring
from klinehub.sim.synthetic import synthetic
from klinehub.sim.truth import I64

FRAMES: Final = tuple(timeframe(name) for name in ("1m", "5m", "15m", "1h"))
# Minutes of the market that are there; the next ones are the same again.
PERIOD: Final = 480


class Tape:
    """The bars of *symbols* symbols from NOON on, for ever; equal arguments give equal bars."""

    start = NOON

    def __init__(self, symbols: int, seed: int) -> None:
        market = synthetic(symbols, seed, start=NOON, churn_hours=0)
        there = [
            one.symbol
            for one in market.listings(NOON)
            if one.trading and one.perpetual and one.quote_asset == "USDT"
        ]
        self.symbols = [one.symbol for one in market.instruments if one.symbol in there]
        self.scales: list[Scale] = []
        self._bars: dict[str, I64] = {}
        late = NOON + 2 * PERIOD * MINUTE
        for frame in FRAMES:
            first = frame.index(NOON)
            last = frame.index(NOON + PERIOD * MINUTE) - 1
            told = [market.klines(market.index[name], frame, first, last, late) for name in self.symbols]
            self.scales = [one.scale for one in told]
            words = [one.rows.view(np.int64).reshape(-1, ROW_WORDS) for one in told]
            self._bars[frame.name] = np.ascontiguousarray(np.stack(words, axis=1))

    def words(self, frame: Timeframe, bar: int) -> I64:
        """Give the ten words of each symbol's bar with this absolute index: [symbols, 10]."""
        bars = self._bars[frame.name]
        words: I64 = bars[(bar - frame.index(NOON)) % len(bars)].copy()
        words[:, OPEN_TIME] = frame.open_time(bar)
        return words

    def exact(self, frame: Timeframe, symbol: int, first: int, last: int) -> Exact:
        """Give one symbol's bars with indices *first* to *last*."""
        words = np.concatenate([self.words(frame, bar)[symbol] for bar in range(first, last + 1)])
        return Exact(words.view(ROW), self.scales[symbol])

    def ring(self, bars: int, *, spare: int = 0) -> Ring:
        """Make a ring with a row for each symbol."""
        ring = Ring(FRAMES, rows=len(self.symbols) + spare, bars=bars)
        for symbol, scale in zip(self.symbols, self.scales, strict=True):
            ring.add(symbol, scale)
        return ring

    def close(self, ring: Ring, minute: int, without: int = -1) -> None:
        """Close a minute of all symbols but one in a ring, and the larger bars that end with it."""
        frame = FRAMES[0]
        words, opened = self.words(frame, minute), frame.open_time(minute)
        asked = opened + 2 * MINUTE
        for row, scale in enumerate(self.scales):
            if row != without:
                ring.load(0, row, Exact(words[row].view(ROW), scale), asked)
                ring.lift(0, row, opened)
