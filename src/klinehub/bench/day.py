"""`day`: a whole day of a whole market through the core, with losses and repairs, held against the truth."""

import time
from typing import Any, Final

import numpy as np

from klinehub.bench.catalogue import Measurement, rounded
from klinehub.bench.stage import NOON
from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import MINUTE, Timeframe, in_order
from klinehub.errors import FeedError
from klinehub.feed.core import GRACE, Core
from klinehub.feed.decisions import Fetch
from klinehub.panel.merge import PROOF
from klinehub.panel.ring import Ring
from klinehub.sim.synthetic import synthetic
from klinehub.sim.truth import exact, rolled

GOAL_SECONDS: Final = 300.0
SYMBOLS: Final = 500
HOURS: Final = 24
BARS: Final = 60
FRAMES: Final = in_order(("1m", "5m", "15m", "1h"))
# Of the closes this share is lost, comes twice or comes a minute late.
LOST, TWICE, LATE = 0.01, 0.01, 0.01


class _Day:
    """The truth of one day, and the core that is told of it."""

    def __init__(self, seed: int, symbols: int, hours: int) -> None:
        self.start, self.minutes = NOON, hours * 60
        self.market = synthetic(symbols, seed, start=NOON, churn_hours=0)
        self.rng = np.random.default_rng([seed, 31])
        self.ones = self.market.instruments[:symbols]
        before = (BARS + 1) * FRAMES[-1].milliseconds
        whole = [self.market.minutes(i, NOON - before, NOON + hours * 60 * MINUTE) for i in range(symbols)]
        self.truth = {
            (i, tf.name): exact(bars if tf is FRAMES[0] else rolled(bars, tf), one.units, one.scale)
            for i, (bars, one) in enumerate(zip(whole, self.ones, strict=True))
            for tf in FRAMES
        }
        self.ring = Ring(FRAMES, rows=symbols, bars=BARS + 14, native=FRAMES)
        self.core = Core(self.ring, wanted=BARS)
        for one in self.ones:
            self.ring.add(one.symbol, one.scale)
        self.core.watch(one.symbol for one in self.ones)
        for tf in FRAMES:
            self.core.liveness.assign(0, [one.symbol for one in self.ones], tf.name)
        self.core.on_seat(0, NOON, up=True)
        self.frames = self.fetched = self.closed = self.incomplete = 0

    def rows(self, i: int, tf: Timeframe, first: int, count: int) -> Exact:
        """Give true bars of a symbol from index *first* on."""
        whole = self.truth[i, tf.name]
        at = first - tf.index(int(whole.rows["open_time"][0]))
        return Exact(whole.rows[max(at, 0) : max(at + count, 0)], whole.scale)

    def warm_up(self) -> None:
        """Load the history as REST would."""
        for i, one in enumerate(self.ones):
            for tf in FRAMES:
                fetch = Fetch(one.symbol, tf.name, None, BARS)
                known = self.rows(i, tf, tf.index(self.start) - BARS, BARS)
                self.core.on_rest(fetch, known, self.start + PROOF, self.start + PROOF)
        self.core.go_live(self.start)

    def play(self) -> None:
        """Tell each minute's closes, lose some of them, and answer what is asked for."""
        late: list[bytes] = []
        for minute in range(1, self.minutes + 1):
            end = self.start + minute * MINUTE
            told = late + [
                text for tf in FRAMES if end % tf.milliseconds == 0 for text in self._closes(tf, end)
            ]
            dice = self.rng.random(len(told))
            late = [text for text, one in zip(told, dice, strict=True) if one < LATE]
            kept = [text for text, one in zip(told, dice, strict=True) if one >= LATE + LOST]
            kept += [text for text, one in zip(told, dice, strict=True) if one > 1 - TWICE]
            self._tell(kept, end + 60)
            for after in (GRACE - 500, GRACE + 500):
                self._look(end + after)

    def _closes(self, tf: Timeframe, end: int) -> list[bytes]:
        return [
            _frame(one.symbol, tf, self.rows(i, tf, tf.index(end - 1), 1)) for i, one in enumerate(self.ones)
        ]

    def _tell(self, texts: list[bytes], now: int) -> None:
        self.frames += len(texts)
        for at in range(0, len(texts), 500):
            some = texts[at : at + 500]
            ends = np.cumsum([len(text) for text in some])
            decisions = self.core.on_batch(0, np.frombuffer(b"".join(some), np.uint8), ends, len(some), now)
            self._count(decisions.closed)

    def _look(self, now: int) -> None:
        decisions = self.core.on_timer(now)
        self._count(decisions.closed)
        for fetch in decisions.fetches:
            if fetch.start is None:
                continue
            tf, i = self.ring.timeframes[self.ring.number[fetch.timeframe]], self.ring.rows[fetch.symbol]
            self.fetched += 1
            found = self.rows(i, tf, tf.index(fetch.start), fetch.limit)
            self._count(self.core.on_rest(fetch, found, now, now).closed)

    def _count(self, closed: list[Any]) -> None:
        self.closed += len(closed)
        self.incomplete += sum(not one.complete for one in closed)

    def compare(self) -> int:
        """Hold the last bars of every series against the truth; gives how many there were."""
        compared = 0
        for i, one in enumerate(self.ones):
            for tf in FRAMES:
                last = tf.index(self.start + self.minutes * MINUTE) - 1
                kept = self.ring.panel(tf.name).exact(one.symbol, start=last - BARS + 1, end=last)
                if kept.rows.tolist() != self.rows(i, tf, last - BARS + 1, BARS).rows.tolist():
                    raise FeedError(f"{one.symbol} {tf.name} is not what it should be: this is a bug.")
                compared += BARS
        return compared


def _frame(symbol: str, tf: Timeframe, known: Exact) -> bytes:
    """Give the frame of a close as the exchange sends it."""
    words = known.rows.view(np.int64)
    row, end = known.rows[0], tf.close_time(tf.index(int(words[0])))
    price, scale = known.scale.price, known.scale
    prices = ",".join(f'"{key}":"{row[name]:.{price}f}"' for key, name in zip("ohlc", _PRICES, strict=True))
    places = (scale.base, scale.quote, scale.base, scale.quote)
    volumes = ",".join(
        f'"{key}":"{_volume(int(words[at]), decimals)}"'
        for key, at, decimals in zip("vqVQ", (5, 6, 8, 9), places, strict=True)
    )
    return (
        f'{{"stream":"{symbol.lower()}@kline_{tf.name}",'
        f'"data":{{"e":"kline","E":{end + 20},"s":"{symbol}","k":{{"t":{words[0]},"T":{end},'
        f'"s":"{symbol}","i":"{tf.name}",{prices},{volumes},"n":{words[7]},"x":true}}}}}}'
    ).encode()


_PRICES: Final = ("open", "high", "low", "close")


def _volume(mantissa: int, places: int) -> str:
    if not mantissa or not places:
        return str(mantissa)
    return f"{mantissa // 10**places}.{mantissa % 10**places:0{places}d}"


def measure(seed: int, *, symbols: int = SYMBOLS, hours: int = HOURS) -> Measurement:
    """Give the seconds of CPU for a day of closes in four streamed timeframes, a part of them lost."""
    begun = time.process_time()
    day = _Day(seed, symbols, hours)
    made = time.process_time()
    day.warm_up()
    day.play()
    played = time.process_time()
    compared = day.compare()
    missing = day.core.missing(day.start + day.minutes * MINUTE + 2 * GRACE)
    if missing:
        raise FeedError(f"{len(missing)} gaps are left: this is a bug.")
    detail = {
        "time": "CPU seconds of everything: making the truth, telling it, the core, comparing",
        "symbols": symbols,
        "hours": hours,
        "timeframes": [tf.name for tf in FRAMES],
        "frames": day.frames,
        "repairs": day.fetched,
        "bars_announced": day.closed,
        "announced_incomplete": day.incomplete,
        "corrections": day.core.counts.corrections,
        "bars_compared": compared,
        "making_the_truth": rounded(made - begun),
        "telling_and_core": rounded(played - made),
        "goal_seconds": GOAL_SECONDS,
    }
    return Measurement(rounded(time.process_time() - begun), "s", detail)
