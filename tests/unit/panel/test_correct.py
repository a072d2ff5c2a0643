"""Corrections: one closed bar is changed, and with it exactly the larger bars that are built from it."""

from fractions import Fraction
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.panel.model import SCALE, Bar, exact, forming, market, roll_up, words

from klinehub.domain.kline import CLOSED, FORMING, VERIFIED, Scale
from klinehub.domain.timeframe import Timeframe, in_order
from klinehub.errors import DataError
from klinehub.panel.merge import merge_closed, merge_forming
from klinehub.panel.ring import Ring

FRAMES: Final = in_order(["1m", "5m", "15m"])
# A minute at which a quarter of an hour begins.
FIRST: Final = 28_333_335
MINUTE: Final = 60_000

pytestmark = pytest.mark.timeout(120)


def a_ring(bars: list[Bar], open_bar: Bar | None = None, *, keep: int = 64) -> Ring:
    """Make a ring that was told these minutes as closed and one as forming; a neighbour has them too."""
    ring = Ring(FRAMES, rows=2, bars=keep)
    for row, symbol in enumerate(("A", "B")):
        ring.add(symbol, SCALE)
        for bar in bars:
            merge_closed(ring.memory, 0, row, words(bar))
            ring.lift(0, row, bar.open_time)
        if open_bar is not None:
            merge_forming(ring.memory, 0, row, words(open_bar), open_bar.open_time + 1)
            ring.lift(0, row, -1)
    return ring


def held(ring: Ring, name: str, symbol: str = "A") -> dict[int, tuple[tuple[int | float, ...], int]]:
    """Give each bar of a timeframe with its state, by open time; the forming one too."""
    panel = ring.panel(name)
    rows = panel.exact(symbol, start=0, end=10**9, forming=True).rows.tolist()
    states = panel.klines(symbol, ring.bars, forming=True)["state"].tolist()
    return {row[0]: (row, state) for row, state in zip(rows, states, strict=True)}


def rolled(bars: list[Bar], tf: Timeframe) -> dict[int, tuple[int | float, ...]]:
    """Give what minutes make of a timeframe."""
    groups: dict[int, list[Bar]] = {}
    for bar in bars:
        groups.setdefault(tf.open_time(tf.index(bar.open_time)), []).append(bar)
    return {opened: roll_up(parts, tf).row for opened, parts in groups.items()}


def amended(bar: Bar, trades: int = 10**9 + 7) -> Bar:
    """Give a bar as the exchange might tell it later, all fields other than before."""
    volume, quote = bar.volume + 10**6, bar.quote_volume + 10**6
    return Bar(bar.open_time, 7, bar.high + 900, 3, bar.high + 500, volume, quote, trades, 5, 9)


def assert_rolled(ring: Ring, bars: list[Bar], symbol: str = "A") -> None:
    for tf in FRAMES[1:]:
        assert {time: row for time, (row, _) in held(ring, tf.name, symbol).items()} == rolled(bars, tf)


def test_a_corrected_minute_changes_the_closed_larger_bars_to_the_roll_up_of_the_truth() -> None:
    bars = market(FRAMES[0], FIRST, 30, 3)
    ring = a_ring(bars)
    before = {tf.name: held(ring, tf.name) for tf in FRAMES}
    truth = [amended(bar) if n == 7 else bar for n, bar in enumerate(bars)]

    changes = ring.correct(0, 0, exact([truth[7]]))
    assert_rolled(ring, truth)
    assert held(ring, "1m")[bars[7].open_time] == (truth[7].row, VERIFIED)
    assert [(one.timeframe, one.open_time) for one in changes] == [
        (0, bars[7].open_time),
        (1, bars[5].open_time),
        (2, bars[0].open_time),
    ]
    for one in changes:
        name = FRAMES[one.timeframe].name
        assert one.old.rows.tolist() == [before[name][one.open_time][0]]
        assert one.new.rows.tolist() == [held(ring, name)[one.open_time][0]]
        assert one.old.scale == one.new.scale == SCALE
    changed = {one.open_time for one in changes}
    for tf in FRAMES:
        after = held(ring, tf.name)
        assert {time for time in after if after[time] != before[tf.name][time]} == changed & {
            one.open_time for one in changes if FRAMES[one.timeframe] == tf
        }
    assert_rolled(ring, bars, "B")


def test_records_are_copies_that_later_changes_leave_alone() -> None:
    bars = market(FRAMES[0], FIRST, 15, 3, quiet=0.0)
    ring = a_ring(bars)
    first = ring.correct(0, 0, exact([amended(bars[0])]))
    told = [(one.old.rows.tolist(), one.new.rows.tolist()) for one in first]
    ring.correct(0, 0, exact([amended(bars[0], trades=5)]))

    assert [(one.old.rows.tolist(), one.new.rows.tolist()) for one in first] == told


def test_a_corrected_part_of_the_larger_bars_that_are_forming_changes_them_too() -> None:
    bars = market(FRAMES[0], FIRST, 23, 5, quiet=0.0)
    open_bar = forming(bars[22], Fraction(1, 3), bars[21].close)
    ring = a_ring(bars[:22], open_bar)
    truth = [amended(bar) if n == 21 else bar for n, bar in enumerate(bars[:22])]

    changes = ring.correct(0, 0, exact([truth[21]]))
    assert_rolled(ring, [*truth, open_bar])
    assert [one.timeframe for one in changes] == [0]
    assert held(ring, "5m")[bars[20].open_time][1] == FORMING
    merge_closed(ring.memory, 0, 0, words(bars[22]))
    ring.lift(0, 0, bars[22].open_time)
    assert_rolled(ring, [*truth, bars[22]])


def test_a_corrected_bar_in_a_closed_part_of_a_forming_bar_changes_both() -> None:
    bars = market(FRAMES[0], FIRST, 8, 5, quiet=0.0)
    ring = a_ring(bars)
    truth = [amended(bar) if n == 2 else bar for n, bar in enumerate(bars)]

    changes = ring.correct(0, 0, exact([truth[2]]))
    assert [one.timeframe for one in changes] == [0, 1]
    assert_rolled(ring, truth)
    assert [state for _, state in held(ring, "15m").values()] == [FORMING]


def test_larger_bars_that_the_correction_does_not_touch_are_not_recorded() -> None:
    """The open of a minute in the middle is the open of nothing larger."""
    bars = market(FRAMES[0], FIRST, 15, 5, quiet=0.0)
    bars[2] = bars[2]._replace(open=bars[2].low)
    ring = a_ring(bars)
    one = bars[2]._replace(open=bars[2].high)

    (change,) = ring.correct(0, 0, exact([one]))
    assert (change.timeframe, change.open_time) == (0, one.open_time)
    assert (change.old.rows.tolist(), change.new.rows.tolist()) == ([bars[2].row], [one.row])
    assert_rolled(ring, bars)


def test_a_larger_bar_whose_parts_are_gone_stays_as_it_is() -> None:
    bars = market(FRAMES[0], FIRST, 23, 5, quiet=0.0)
    ring = a_ring(bars, keep=10)
    assert min(held(ring, "1m")) == bars[13].open_time
    before = {name: held(ring, name) for name in ("5m", "15m")}

    changes = ring.correct(0, 0, exact([amended(bars[13])]))
    assert [one.timeframe for one in changes] == [0]
    assert {name: held(ring, name) for name in ("5m", "15m")} == before


def test_a_larger_bar_is_built_anew_from_those_below_it_that_are_still_held() -> None:
    """The minutes of the quarter are gone, its five-minute bars are not."""
    bars = market(FRAMES[0], FIRST, 23, 5, quiet=0.0)
    ring = a_ring(bars, keep=10)
    old = roll_up(bars[5:10], FRAMES[1])
    new = amended(old)

    changes = ring.correct(1, 0, exact([new]))
    fifteen = roll_up([roll_up(bars[:5], FRAMES[1]), new, roll_up(bars[10:15], FRAMES[1])], FRAMES[2])
    assert [one.timeframe for one in changes] == [1, 2]
    assert held(ring, "15m")[bars[0].open_time] == (fifteen.row, CLOSED)


def test_a_larger_bar_with_a_hole_is_not_made_up() -> None:
    bars = market(FRAMES[0], FIRST, 10, 5, quiet=0.0)
    ring = a_ring([bar for n, bar in enumerate(bars) if n != 3])
    changes = ring.correct(0, 0, exact([amended(bars[2])]))

    assert [one.timeframe for one in changes] == [0]
    assert bars[0].open_time not in held(ring, "5m")
    merge_closed(ring.memory, 0, 0, words(bars[3]))
    ring.lift(0, 0, bars[3].open_time)
    assert held(ring, "5m")[bars[0].open_time] == (
        rolled([*bars[:2], amended(bars[2]), *bars[3:5]], FRAMES[1])[bars[0].open_time],
        CLOSED,
    )


def test_a_timeframe_that_is_streamed_is_not_built_from_a_smaller_one() -> None:
    bars = market(FRAMES[0], FIRST, 15, 5, quiet=0.0)
    ring = Ring(FRAMES, rows=1, bars=64, native=FRAMES[:2])
    ring.add("A", SCALE)
    for bar in bars:
        merge_closed(ring.memory, 0, 0, words(bar))
        ring.lift(0, 0, bar.open_time)
    fives = [roll_up(bars[n : n + 5], FRAMES[1]) for n in (0, 5, 10)]
    for five in fives:
        merge_closed(ring.memory, 1, 0, words(five))
        ring.lift(1, 0, five.open_time)
    before = held(ring, "5m"), held(ring, "15m")

    assert [one.timeframe for one in ring.correct(0, 0, exact([amended(bars[7])]))] == [0]
    assert (held(ring, "5m"), held(ring, "15m")) == before
    assert [one.timeframe for one in ring.correct(1, 0, exact([amended(fives[1])]))] == [1, 2]
    fifteen = roll_up([fives[0], amended(fives[1]), fives[2]], FRAMES[2])
    assert held(ring, "15m")[bars[0].open_time][0] == fifteen.row


def test_a_correction_with_more_decimals_widens_the_row() -> None:
    bars = market(FRAMES[0], FIRST, 5, 5, quiet=0.0)
    ring = a_ring(bars)
    new = amended(bars[1])
    wider = Scale(SCALE.price, SCALE.base + 1, SCALE.quote)

    changes = ring.correct(0, 0, exact([new], wider))
    assert ring.scale(0) == wider
    assert held(ring, "1m")[bars[0].open_time][0][5] == bars[0].volume * 10
    assert {one.new.scale for one in changes} == {wider}
    five = held(ring, "5m")[bars[0].open_time][0]
    assert five[5] == sum(bar.volume * 10 for n, bar in enumerate(bars) if n != 1) + new.volume


def test_a_correction_that_does_not_fit_changes_nothing() -> None:
    bars = market(FRAMES[0], FIRST, 5, 5, quiet=0.0)
    ring = a_ring(bars)
    before = {tf.name: held(ring, tf.name) for tf in FRAMES}

    with pytest.raises(DataError, match="does not fit 64 bits"):
        ring.correct(0, 0, exact([bars[1]._replace(volume=2**62)], Scale(2, 2, 5)))
    assert {tf.name: held(ring, tf.name) for tf in FRAMES} == before


def test_the_words_of_an_answer_are_those_that_would_be_kept() -> None:
    (bar,) = market(FRAMES[0], FIRST, 1, 5, quiet=0.0)
    ring = a_ring([bar])
    coarse = bar._replace(volume=7, taker_base=3)

    assert ring.words(0, exact([bar])) == tuple(words(bar).tolist())
    assert ring.words(0, exact([coarse], Scale(2, 2, 5))) == tuple(
        words(bar._replace(volume=70, taker_base=30)).tolist()
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40), quiet=st.sampled_from([0.0, 0.5, 0.9]))
def test_after_any_corrections_the_larger_bars_are_the_roll_up(seed: int, count: int, quiet: float) -> None:
    rng = np.random.default_rng(seed)
    bars = market(FRAMES[0], FIRST, count + 1, seed, quiet=quiet)
    last = bars.pop()
    open_bar = forming(last, Fraction(1, 2), bars[-1].close)
    ring = a_ring(bars, open_bar)
    others = market(FRAMES[0], FIRST, count, seed + 1, quiet=0.0)
    for n in rng.permutation(count)[: int(rng.integers(1, 9))].tolist():
        bars[n] = others[n]
        ring.correct(0, 0, exact([others[n]]))
        assert_rolled(ring, [*bars, open_bar])


def test_minutes_that_have_not_come_are_not_taken_from_those_a_round_before() -> None:
    """REST closed the five minutes before the last two of their minutes had come, where older ones lie."""
    bars = market(FRAMES[0], FIRST, 25, 5, quiet=0.0)
    ring = a_ring(bars[:23], keep=10)
    five = roll_up(bars[20:], FRAMES[1])
    merge_closed(ring.memory, 1, 0, words(five))

    changes = ring.correct(0, 0, exact([amended(bars[21])]))
    assert [one.timeframe for one in changes] == [0]
    assert held(ring, "5m")[bars[20].open_time] == (five.row, CLOSED)


def test_a_slot_that_holds_an_older_bar_is_no_closed_bar() -> None:
    ring = a_ring(market(FRAMES[0], FIRST, 23, 5, quiet=0.0), keep=10)
    newest = FIRST + 22

    assert [ring.is_closed(0, 0, index) for index in range(newest - 10, newest + 2)] == (
        [False, *[True] * 10, False]
    )
