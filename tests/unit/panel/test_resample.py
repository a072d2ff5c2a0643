"""Larger bars built locally: equal to a plain roll-up after every single message, or not there at all."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.panel.model import SCALE, Bar, exact, forming, market, roll_up, words

from klinehub.domain.kline import CLOSED, FORMING
from klinehub.domain.timeframe import Timeframe, in_order
from klinehub.panel.merge import CLOSED_NOW, OLD, merge_closed, merge_forming
from klinehub.panel.ring import Ring

SYMBOL: Final = "BTCUSDT"
BARS: Final = 200
# 2026-02-28 23:17, an odd minute near the end of an hour, a week and a month.
SOMETIME: Final = 1_772_320_620_000


class Book:
    """A ring with one symbol, and a plain model of what has been said of its base timeframe."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.ring = Ring(in_order(names), rows=2, bars=BARS)
        self.ring.add("OTHER", SCALE)
        self.row = self.ring.add(SYMBOL, SCALE)
        self.base, *self.larger = self.ring.timeframes
        self.closed: dict[int, Bar] = {}
        self.open: Bar | None = None
        self.first = -1
        self.seen: set[tuple[str, int]] = set()

    def update(self, bar: Bar, event: int) -> None:
        flags = merge_forming(self.ring.memory, 0, self.row, words(bar), event)
        if not flags & OLD:
            self.open = bar
            self.ring.lift(0, self.row, -1)

    def close(self, bar: Bar) -> None:
        flags = merge_closed(self.ring.memory, 0, self.row, words(bar))
        self.closed[bar.open_time] = bar
        self.ring.lift(0, self.row, bar.open_time if flags & CLOSED_NOW else -1)

    def repair(self, bars: Sequence[Bar]) -> None:
        """Load REST rows that are all proven, then lift each as the core does."""
        self.ring.load(0, self.row, exact(bars), bars[-1].open_time + 10**11)
        for bar in bars:
            self.closed[bar.open_time] = bar
            self.ring.lift(0, self.row, bar.open_time)

    def list_from(self, bar: Bar) -> None:
        """Say that *bar* is the first one that the symbol ever had."""
        self.first = bar.open_time
        for t, tf in enumerate(self.ring.timeframes):
            self.ring.memory.first[t, self.row] = tf.index(bar.open_time)

    def parts(self, tf: Timeframe, index: int, until: int) -> list[Bar] | None:
        """Give the closed base bars of a larger bar that open before *until*; None when one lacks."""
        start = self.base.index(max(tf.open_time(index), self.first))
        end = self.base.index(min(tf.open_time(index + 1), until) - 1)
        times = [self.base.open_time(i) for i in range(start, end + 1)]
        return [self.closed[time] for time in times] if all(time in self.closed for time in times) else None

    def check(self) -> None:
        """Compare every larger bar that could be there with the model."""
        newest = self.newest()
        for tf in self.larger:
            panel = self.ring.panel(tf.name)
            now, then = tf.index(newest.open_time), tf.index(min([*self.closed, newest.open_time]))
            told = {int(row["open_time"]): row for row in panel.klines(SYMBOL, BARS, forming=True)}
            rows = panel.exact(SYMBOL, start=0, end=now, forming=True).rows
            kept = {int(row["open_time"]): row.tolist() for row in rows}
            for index in range(then, now + 1):
                opened = tf.open_time(index)
                whole = self.parts(tf, index, 10**15)
                if whole:
                    assert told[opened]["state"] == CLOSED, (tf.name, opened)
                    assert kept[opened] == roll_up(whole, tf).row
                    self.seen.add((tf.name, CLOSED))
                elif index < now:
                    assert opened not in told, (tf.name, opened)
                else:
                    self._check_open(tf, index, told.get(opened), kept)

    def newest(self) -> Bar:
        last = max(self.closed, default=-1)
        return self.closed[last] if self.open is None or last >= self.open.open_time else self.open

    def _check_open(
        self, tf: Timeframe, index: int, told: np.void | None, kept: dict[int, tuple[int | float, ...]]
    ) -> None:
        newest = self.newest()
        before = self.parts(tf, index, newest.open_time)
        if before is None:
            assert told is None, (tf.name, tf.open_time(index))
        else:
            assert told is not None, (tf.name, tf.open_time(index))
            assert told["state"] == FORMING
            assert kept[tf.open_time(index)] == roll_up([*before, newest], tf).row
            self.seen.add((tf.name, FORMING))


def play(book: Book, bars: Sequence[Bar], rng: np.random.Generator, *, trouble: float) -> None:
    """Tell bars as a stream does, some closes late or lost until a repair; checks after each message."""
    late: list[tuple[int, Bar]] = []
    lost: list[Bar] = []
    last = bars[0].open
    for at, bar in enumerate(bars):
        for step in range(int(rng.integers(0, 3))):
            book.update(forming(bar, Fraction(step + 1, 4), last), event=bar.open_time + step)
            book.check()
        last = bar.close
        kind = rng.random()
        if kind < trouble / 2:
            late.append((at + int(rng.integers(1, 9)), bar))
        elif kind < trouble:
            lost.append(bar)
        else:
            book.close(bar)
            book.check()
        for when, delayed in [item for item in late if item[0] <= at]:
            late.remove((when, delayed))
            book.close(delayed)
            book.check()
        if lost and rng.random() < 0.1:
            start = bars.index(lost.pop(0))
            end = int(rng.integers(start, at)) if start < at else start
            book.repair(bars[start : end + 1])
            lost = [one for one in lost if one.open_time not in book.closed]
            book.check()
    for one in [*lost, *(bar for _, bar in late)]:
        book.close(one)
        book.check()


CHAINS: Final = (("1m", "5m", "15m", "1h"), ("1m", "3m", "5m", "15m", "30m"), ("12h", "1d", "3d", "1w", "1M"))


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain[0] + "-" + chain[-1])
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), trouble=st.sampled_from([0.0, 0.1, 0.4]))
@example(seed=0, trouble=0.0)
def test_larger_bars_equal_a_roll_up_after_every_message(
    chain: tuple[str, ...], seed: int, trouble: float
) -> None:
    rng = np.random.default_rng(seed)
    book = Book(chain)
    first = book.base.index(SOMETIME) + int(rng.integers(0, 60))
    quiet = float(rng.choice([0.0, 0.3, 0.9]))

    play(book, market(book.base, first, 125, seed, quiet=quiet), rng, trouble=trouble)

    for tf in book.larger:
        assert {(tf.name, CLOSED), (tf.name, FORMING)} <= book.seen


@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1), trouble=st.sampled_from([0.0, 0.4]))
@example(seed=151, trouble=0.0)
def test_the_larger_bars_of_a_new_listing_begin_with_its_first_bar(seed: int, trouble: float) -> None:
    rng = np.random.default_rng(seed)
    book = Book(CHAINS[0])
    bars = market(book.base, book.base.index(SOMETIME) + int(rng.integers(0, 60)), 70, seed)
    book.list_from(bars[0])

    play(book, bars, rng, trouble=trouble)

    first_hour = book.ring.panel("1h").klines(SYMBOL, 9)[0]
    assert first_hour["open_time"] == book.larger[-1].open_time(book.larger[-1].index(bars[0].open_time))
    assert first_hour["state"] == CLOSED


def test_the_first_update_of_a_larger_bar_holds_nothing_of_the_one_before() -> None:
    """A sum of all parts was taken for the sum of the next bar's parts, until its second part came."""
    book = Book(("1m", "5m"))
    bars = market(book.base, SOMETIME // 300_000 * 5, 6, 1, quiet=0.0)
    for bar in bars[:5]:
        book.close(bar)
    book.update(bars[5], 1)
    book.check()

    loaded = Book(("1m", "5m"))
    loaded.ring.load(0, loaded.row, exact(bars[:5]), bars[5].open_time + 3_000)
    loaded.update(bars[5], 1)
    loaded.closed = {bar.open_time: bar for bar in bars[:4]}
    newest = loaded.ring.panel("5m").klines(SYMBOL, 3, forming=True)[-1]
    assert (newest["open_time"], newest["trades"]) == (bars[5].open_time, bars[5].trades)


def test_a_shown_bar_vanishes_when_a_part_turns_out_to_lack() -> None:
    book = Book(("1m", "5m", "15m"))
    bars = market(book.base, SOMETIME // 900_000 * 15, 10, 1, quiet=0.0)
    book.close(bars[0])
    book.update(bars[1], 1)
    assert len(book.ring.panel("15m").klines(SYMBOL, 1, forming=True)) == 1

    book.update(bars[2], 2)
    for name in ("5m", "15m"):
        assert len(book.ring.panel(name).klines(SYMBOL, 1, forming=True)) == 0
    book.close(bars[1])
    book.check()
    for bar in (*bars[2:4], *bars[5:10]):
        book.close(bar)
        book.check()
    assert len(book.ring.panel("15m").klines(SYMBOL, 1, forming=True)) == 0
    book.close(bars[4])
    book.check()
    assert len(book.ring.panel("15m").klines(SYMBOL, 1, forming=True)) == 1


def test_a_trade_less_first_minute_gives_no_open_price() -> None:
    book = Book(("1m", "5m"))
    start = SOMETIME // 300_000 * 300_000
    flat = Bar(start, 100, 100, 100, 100, 0, 0, 0, 0, 0)
    traded = Bar(start, 120, 130, 110, 125, 7, 9, 2, 3, 4)
    quiet = flat._replace(open=125, high=125, low=125, close=125)
    for minute, bar in enumerate((flat, traded, quiet, traded, quiet)):
        book.close(bar._replace(open_time=start + 60_000 * minute))

    row = book.ring.panel("5m").exact(SYMBOL, start=0, end=10**9).rows[0]
    assert row.tolist() == (start, 1.2, 1.3, 1.1, 1.25, 14, 18, 4, 6, 8)


def test_a_bar_that_rest_brought_and_the_parts_contradict_stays() -> None:
    book = Book(("1m", "5m"))
    bars = market(book.base, SOMETIME // 300_000 * 5, 5, 3, quiet=0.0)
    truth = roll_up(bars, book.larger[0])
    book.ring.load(1, book.row, exact([truth._replace(trades=1)]), 10**13)
    for bar in bars:
        book.close(bar)

    row = book.ring.panel("5m").exact(SYMBOL, start=0, end=10**9).rows[0]
    assert row["trades"] == 1


def test_natively_streamed_timeframes_are_not_built() -> None:
    frames = in_order(["1m", "5m", "15m"])
    ring = Ring(frames, rows=1, bars=50, native=[frames[1]])
    ring.add(SYMBOL, SCALE)
    bars = market(frames[0], SOMETIME // 900_000 * 15, 15, 3)
    for bar in bars:
        merge_closed(ring.memory, 0, 0, words(bar))
        ring.lift(0, 0, bar.open_time)

    assert [tf.name for tf in ring.streamed] == ["1m", "5m"]
    assert len(ring.panel("5m").klines(SYMBOL, 9, forming=True)) == 0
    for at in range(0, 15, 5):
        five = roll_up(bars[at : at + 5], frames[1])
        merge_closed(ring.memory, 1, 0, words(five))
        ring.lift(1, 0, five.open_time)
    fifteen = ring.panel("15m").exact(SYMBOL, start=0, end=10**9).rows
    assert fifteen.tolist() == [roll_up(bars, frames[2]).row]
