"""The core's decisions: what closed, in which order, what is missing and what is asked for."""

import numpy as np
import pytest
from tests.unit.feed.frames import a_ring
from tests.unit.feed.telling import (
    FRAMES,
    MINUTE,
    NAMES,
    START,
    a_core,
    answer,
    at,
    close,
    frame,
    listing,
    names_of,
    repair,
    repairs,
    rows,
    tell,
    truth,
)
from tests.unit.panel.model import SCALE, roll_up

from klinehub.domain.kline import Exact
from klinehub.domain.stale import Reason
from klinehub.domain.timeframe import timeframe
from klinehub.feed.binance import MOST_ROWS, klines_weight
from klinehub.feed.core import GRACE, PROOF_MARGIN, Core
from klinehub.feed.decisions import BarClosed, Decisions, Fetch, Revision
from klinehub.feed.repair import RETRY, SURE
from klinehub.panel.merge import PROOF

# The first test waits until the way of a kline is compiled.
pytestmark = pytest.mark.timeout(120)


def test_nothing_is_announced_before_it_is_live() -> None:
    ring = a_ring(NAMES, SCALE, FRAMES, bars=64)
    core = Core(ring, wanted=20)
    core.watch(NAMES)

    assert close(core, 0) == core.on_timer(at(5)) == Decisions()


def test_a_bar_is_announced_when_the_last_symbol_has_closed_it() -> None:
    core = a_core()

    assert close(core, 0, ("A", "C")).closed == []
    assert close(core, 0, ("B",), late=70).closed == [
        BarClosed("1m", START // MINUTE, START, complete=True, missing=())
    ]


def test_each_bar_is_announced_once_whatever_is_repeated() -> None:
    core = a_core()
    decisions = [close(core, minute) for minute in (0, 0, 1, 0, 1, 2, 2)]
    decisions += [core.on_timer(at(3) + 10), close(core, 2), core.on_timer(at(3) + 2 * GRACE)]

    assert [names_of(one.closed) for one in decisions if one.closed] == [[("1m", at(n))] for n in (1, 2, 3)]
    assert core.counts.closes == 9
    assert core.counts.conflicts == core.closing.late == 0


def test_the_largest_timeframe_of_an_instant_comes_first_and_the_base_last() -> None:
    core = a_core()
    told = [names_of(close(core, minute).closed) for minute in range(15)]

    assert told[3] == [("1m", at(4))]
    assert told[4] == [("5m", at(5)), ("1m", at(5))]
    assert told[14] == [("15m", at(15)), ("5m", at(15)), ("1m", at(15))]


def test_the_base_waits_for_the_larger_timeframes_of_its_instant() -> None:
    core = a_core()
    for minute in range(4):
        close(core, minute, NAMES if minute != 2 else ("A", "B"))
    core.on_timer(at(4) + GRACE)
    assert close(core, 4).closed == []

    late = core.on_timer(at(5) + GRACE).closed
    assert names_of(late) == [("5m", at(5)), ("1m", at(5))]
    assert [one.missing for one in late] == [("C",), ()]
    assert [one.complete for one in late] == [False, True]


def test_after_the_grace_it_is_announced_with_the_names_of_those_that_lack() -> None:
    core = a_core()
    close(core, 0, ("B",))

    assert core.on_timer(at(1) + GRACE - 2).closed == []
    assert core.on_timer(at(1) + GRACE).closed == [
        BarClosed("1m", START // MINUTE, START, complete=False, missing=("A", "C"))
    ]


def test_what_was_missed_meanwhile_is_announced_in_the_order_of_time() -> None:
    core = a_core()
    for minute in range(3):
        close(core, minute)

    late = core.on_timer(at(6) + GRACE)
    ends = [end for _, end in names_of(late.closed)]
    assert ends == sorted(ends)
    assert names_of(late.closed) == [("1m", at(4)), ("5m", at(5)), ("1m", at(5)), ("1m", at(6))]


def test_a_close_after_the_announcement_is_a_revision_not_a_second_close() -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    core.on_timer(at(1) + GRACE)

    late = close(core, 0, ("C",), late=GRACE + 500)
    assert late.closed == []
    assert late.revised == [Revision("1m", START // MINUTE, "C")]
    assert core.closing.late == 1
    assert close(core, 0, ("C",), late=GRACE + 600) == Decisions()


def test_a_late_close_revises_the_larger_bars_that_close_with_it() -> None:
    core = a_core()
    for minute in range(5):
        close(core, minute, NAMES if minute != 2 else ("A", "B"))
    core.on_timer(at(5) + GRACE)

    late = close(core, 2, ("C",), late=4 * MINUTE)
    five = timeframe("5m").index(START)
    assert set(late.revised) == {Revision("5m", five, "C"), Revision("1m", START // MINUTE + 2, "C")}


def test_a_repair_revises_the_larger_bars_that_close_with_it() -> None:
    core = a_core()
    for minute in range(5):
        close(core, minute, NAMES if minute != 2 else ("A", "B"))
    (fetch,) = repairs(core.on_timer(at(5) + GRACE))

    late = answer(core, fetch, at(5) + GRACE + 100)
    five = timeframe("5m").index(START)
    assert set(late.revised) == {Revision("5m", five, "C"), Revision("1m", START // MINUTE + 2, "C")}
    assert core.closing.late == 2
    assert core.counts.closes == 3 * (5 + 1)


def test_a_repair_completes_a_bar_that_is_not_announced_yet() -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    fetch = repair("C", "1m", START, 1)

    decisions = answer(core, fetch, at(1) + PROOF)
    assert names_of(decisions.closed) == [("1m", at(1))]
    assert decisions.closed[0].complete
    assert decisions.revised == []


def test_nothing_is_asked_for_while_nothing_is_missing() -> None:
    core = a_core()
    for minute in range(20):
        close(core, minute)
        assert repairs(core.on_timer(at(minute + 1) + 30_000)) == []
    assert core.missing(at(20) + GRACE) == []


def test_one_range_a_symbol_and_larger_bars_rebuilt_from_the_base() -> None:
    core = a_core()
    lost = {"A": {1, 2, 6}, "B": {4}, "C": set[int]()}
    for minute in range(15):
        close(core, minute, [name for name in NAMES if minute not in lost[name]])
    decisions = core.on_timer(at(15) + GRACE)

    assert repairs(decisions) == [repair("A", "1m", at(1), 6), repair("B", "1m", at(4), 1)]
    for fetch in repairs(decisions):
        answer(core, fetch, at(15) + GRACE + 50)
    assert core.missing(at(15) + GRACE) == []
    assert repairs(core.on_timer(at(15) + GRACE + 1_000)) == []
    for name in NAMES:
        for tf in ("5m", "15m"):
            panel = core.ring.panel(tf)
            first = -(15 * MINUTE // panel.timeframe.milliseconds)
            expected = rows(name, tf, 0, -first - 1)
            kept = panel.exact(name, start=panel.timeframe.index(START), end=10**9)
            assert kept.rows.tolist() == expected.rows.tolist()


def forget(core: Core, symbol: str, name: str, back: int) -> int:
    """Lose a closed bar, counted back from START; gives its open time."""
    t, tf = core.ring.number[name], timeframe(name)
    index = tf.index(START) - back
    core.ring.memory.state[t, core.ring.rows[symbol], index % core.ring.bars] = 0
    return tf.open_time(index)


def test_a_larger_bar_that_its_base_cannot_build_is_asked_for() -> None:
    """Its parts are older than the history that is kept of them."""
    core = a_core()
    opened = forget(core, "B", "15m", 10)

    assert repairs(core.on_timer(START + 30_000)) == [repair("B", "15m", opened, 1)]


def test_a_larger_bar_whose_parts_came_by_rest_is_built_and_not_asked_for() -> None:
    """History arrives by timeframe: the parts of a bar may come after the moment at which it closed."""
    core = a_core()
    before = core.ring.panel("15m").klines("B", 20).tolist()
    forget(core, "B", "15m", 1)
    forget(core, "B", "5m", 1)

    decisions = core.on_timer(START + 30_000)
    assert not decisions.news
    assert decisions.fetches == []
    assert core.ring.panel("15m").klines("B", 20).tolist() == before


def test_what_closed_before_it_went_live_was_never_announced_and_is_no_revision() -> None:
    core = a_core()
    opened = forget(core, "A", "1m", 3)
    (fetch,) = repairs(core.on_timer(START + GRACE))
    assert fetch == repair("A", "1m", opened, 1)

    assert answer(core, fetch, START + GRACE) == Decisions()
    assert core.closing.late == 0


def test_a_range_under_way_is_not_asked_for_again() -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    now = at(1) + GRACE
    assert len(repairs(core.on_timer(now))) == 1

    for step in (1_000, RETRY, 10 * RETRY):
        assert "C" not in {fetch.symbol for fetch in repairs(core.on_timer(now + step))}


def test_a_failed_range_is_asked_for_again_after_a_while() -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    now = at(1) + GRACE
    (fetch,) = repairs(core.on_timer(now))
    core.on_failed(fetch, now + 500)

    assert repairs(core.on_timer(now + RETRY)) == []
    assert repairs(core.on_timer(now + RETRY + 500)) == [fetch]


@pytest.mark.parametrize(
    ("grace", "margin", "moment"),
    [
        (0, 0, PROOF + PROOF_MARGIN),
        (GRACE, 0, PROOF + PROOF_MARGIN),
        (9 * GRACE, 0, 6 * GRACE),
        (GRACE, 321, PROOF + PROOF_MARGIN + 321),
        (9 * GRACE, 321, 6 * GRACE + 321),
    ],
)
def test_it_is_asked_for_when_it_can_be_proven_with_time_left_to_answer(
    grace: int, margin: int, moment: int
) -> None:
    core = a_core(grace=grace)
    core.margin = margin
    close(core, 0, ("A", "B"))

    assert repairs(core.on_timer(at(1) + moment - 1)) == []
    assert repairs(core.on_timer(at(1) + moment)) == [repair("C", "1m", START, 2)]


def test_a_bar_that_the_exchange_does_not_have_is_not_asked_for_for_ever() -> None:
    core = a_core()
    for minute in range(3):
        close(core, minute, ("A", "B"))
    (fetch,) = repairs(core.on_timer(at(3) + GRACE))
    assert fetch == repair("C", "1m", START, 4)
    nothing = Exact(rows("C", "1m", 0, 0).rows[:0], SCALE)
    core.on_rest(fetch, nothing, at(3) + GRACE, at(3) + GRACE)

    assert repairs(core.on_timer(at(3) + GRACE + RETRY - 1)) == []
    (again,) = repairs(core.on_timer(at(3) + GRACE + RETRY))
    assert again == fetch
    core.on_rest(again, nothing, at(3) + GRACE + RETRY, at(3) + GRACE + RETRY)
    (young,) = repairs(core.on_timer(at(3) + GRACE + 2 * RETRY))
    assert young == repair("C", "1m", at(2), 2)
    for asked in (at(3) + SURE, at(3) + SURE + RETRY):
        core.on_rest(young, nothing, asked, asked)
    assert repairs(core.on_timer(at(3) + SURE + 10 * RETRY)) == [
        repair(name, "1m", at(3), 5) for name in ("A", "B", "C")
    ]


def test_absent_bars_are_cut_off_what_is_asked_for_next() -> None:
    core = a_core(names=("A",))
    empty = Exact(rows("A", "1m", 0, 0).rows[:0], SCALE)
    for asked in (at(5) + SURE, at(5) + SURE + RETRY):
        core.on_rest(repair("A", "1m", START, 5), empty, asked, asked)

    assert repairs(core.on_timer(at(7) + GRACE)) == [repair("A", "1m", at(5), 3)]


def test_an_absent_bar_that_comes_after_all_is_kept() -> None:
    core = a_core(names=("A",))
    empty = Exact(rows("A", "1m", 0, 0).rows[:0], SCALE)
    for asked in (at(1) + SURE, at(1) + SURE + RETRY):
        core.on_rest(repair("A", "1m", START, 1), empty, asked, asked)
    close(core, 0, ("A",), late=SURE)

    assert core.ring.panel("1m").newest_closed("A") == START // MINUTE


def test_no_more_rows_are_asked_for_than_an_answer_can_have() -> None:
    ring = a_ring(["A"], SCALE, FRAMES[:1], bars=3_000)
    core = Core(ring, wanted=2_500)
    core.watch(["A"])
    core.go_live(START)

    asked = repairs(core.on_timer(START + 10_000))
    assert [fetch.limit for fetch in asked if fetch.limit > MOST_ROWS] == []
    covered = [(fetch.start or 0) + MINUTE * n for fetch in asked for n in range(fetch.limit)]
    assert sorted(covered) == [at(n) for n in range(-2_500, 1)]
    assert sum(klines_weight(fetch.limit) for fetch in asked) == 5 * 2 + 1


def test_a_symbol_listed_mid_way_is_not_missed_before_its_first_bar() -> None:
    core = a_core()
    core.ring.add("NEW", SCALE)
    core.watch(["NEW"])
    for minute in range(7):
        close(core, minute)
    for tf in FRAMES:
        first = timeframe(tf.name).index(at(7)) - timeframe(tf.name).index(START)
        known = rows("NEW", tf.name, first, first)
        core.on_rest(Fetch("NEW", tf.name, None, 20), known, at(7) + 10, at(7) + 10)
    now = at(7) + GRACE + 1_000

    assert core.missing(now) == []
    core.on_timer(now)
    assert [names_of(close(core, minute, [*NAMES, "NEW"]).closed) for minute in (7, 8, 9)] == [
        [("1m", at(8))],
        [("1m", at(9))],
        [("5m", at(10)), ("1m", at(10))],
    ]
    kept = core.ring.panel("5m").exact("NEW", start=0, end=10**9).rows
    assert kept.tolist() == [roll_up(truth("NEW", 7, 9), timeframe("5m")).row]


def test_a_symbol_that_is_followed_from_now_on_is_stale_and_asked_for_at_once() -> None:
    core = a_core()
    assert repairs(core.on_timer(START + GRACE)) == []
    row = core.ring.add("NEW", SCALE)
    core.watch(["NEW"])
    assert core.ring.memory.stale[row, 0] == Reason.STARTING

    assert {fetch.symbol for fetch in repairs(core.on_timer(START + GRACE + 500))} == {"NEW"}


def test_a_symbol_that_trades_no_more_is_waited_for_no_more() -> None:
    core = a_core()
    core.on_listing(listing(frozen=(("C", "SETTLING"),)), START + 30_000)

    assert names_of(close(core, 0, ("A", "B")).closed) == [("1m", at(1))]
    assert repairs(core.on_timer(at(1) + 10 * GRACE)) == []


def test_the_bars_that_ended_before_a_symbol_stood_still_are_still_waited_for() -> None:
    core = a_core()
    core.on_listing(listing(frozen=(("C", "SETTLING"),)), at(1) + 10)
    assert close(core, 0, ("A", "B")).closed == []
    close(core, 1, ("A", "B"))
    now = at(2) + GRACE
    decisions = core.on_timer(now)

    assert [one.missing for one in decisions.closed] == [("C",), ()]
    assert repairs(decisions) == [repair("C", "1m", START, 1)]
    assert decisions.left == []
    answer(core, repairs(decisions)[0], now)
    assert core.on_timer(now + 1_000).left == ["C"]
    assert core.on_timer(now + 2_000).left == []
    assert core.missing(now + 10 * MINUTE) == core.missing(now + 10 * MINUTE)
    assert {gap.row for gap in core.missing(now + 10 * MINUTE)} == {0, 1}


def test_a_symbol_that_trades_again_is_waited_for_again() -> None:
    core = a_core()
    core.on_listing(listing(frozen=(("C", "BREAK"),)), START + 30_000)
    assert core.on_timer(START + 30_001 + 2 * GRACE).left == ["C"]
    core.on_listing(listing(thawed=("C",)), at(3) + 30_000)
    for minute in range(4):
        close(core, minute, ("A", "B"))

    decisions = core.on_timer(at(4) + GRACE)
    assert [one.missing for one in decisions.closed if one.open_time == at(3)] == [("C",)]
    assert repairs(decisions) == [repair("C", "1m", START, 5)]

    close(core, 4, ("A", "B"))
    answer(core, repairs(decisions)[0], at(4) + GRACE + 100)
    core.on_listing(listing(frozen=(("C", "BREAK"),)), at(4) + 30_000)
    assert repairs(core.on_timer(at(5) + GRACE)) == []
    core.on_listing(listing(thawed=("C",)), at(5) + GRACE)
    assert repairs(core.on_timer(at(5) + GRACE + 500)) == [repair("C", "1m", at(4), 2)]


def test_as_many_new_symbols_are_taken_in_as_there_are_rows_for() -> None:
    core = a_core()

    assert core.on_listing(listing(added=("NEW", "NEWER")), START) == ("NEW",)
    core.ring.add("NEW", SCALE)
    assert core.on_listing(listing(added=("NEWER",)), START) == ()


def test_a_symbol_that_stands_still_is_left_only_after_its_last_bar_had_the_time_to_close() -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    core.on_listing(listing(frozen=(("C", "SETTLING"),)), at(1) + 10)
    assert core.on_timer(at(1) + 500).left == []
    assert core.on_timer(at(1) + PROOF).left == []

    decisions = core.on_timer(at(1) + GRACE)
    assert (repairs(decisions), decisions.left) == ([repair("C", "1m", START, 2)], [])
    answer(core, repairs(decisions)[0], at(1) + GRACE + 100)
    assert core.on_timer(at(1) + 2 * GRACE + 10).left == []
    assert core.on_timer(at(1) + 2 * GRACE + 11).left == ["C"]


def test_a_symbol_that_trades_again_after_it_was_left_is_to_be_subscribed_again() -> None:
    core = a_core()
    core.on_listing(listing(frozen=(("C", "BREAK"),)), START + 30_000)
    assert core.on_timer(START + 30_001 + 2 * GRACE).left == ["C"]

    assert core.on_listing(listing(thawed=("C",)), at(3)) == ("C",)
    assert core.on_listing(listing(frozen=(("B", "BREAK"),)), at(4)) == ()
    assert core.on_listing(listing(thawed=("B",)), at(4) + 10) == ()


def test_an_answer_older_than_what_is_kept_decides_nothing() -> None:
    core = a_core()
    for minute in range(80):
        close(core, minute)
    fetch = Fetch("A", "1m", at(0), 5)
    decisions = core.on_rest(fetch, rows("A", "1m", 0, 4), at(80) + PROOF, at(80) + PROOF)

    assert decisions == Decisions()


def test_a_batch_larger_than_any_before_finds_room_for_its_reports() -> None:
    core = a_core()
    frames = [frame(truth(name, n, n)[0], name, closed=True) for n in range(60) for name in NAMES]

    decisions = tell(core, frames, at(60) + 50)
    assert core.counts.closes == 3 * (60 + 12 + 4)
    assert len(decisions.closed) == 60 + 12 + 4
    assert all(one.complete for one in decisions.closed)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_order_of_late_closes_and_repairs_ends_whole_and_announced_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    core = a_core()
    closed: list[BarClosed] = []
    waiting: list[tuple[int, str, int]] = []
    under_way: list[tuple[int, Fetch]] = []
    for second in range(50 * 60):
        now = START + 1_000 * second + 77
        if second % 60 == 0 and second:
            for name in NAMES:
                late = int(rng.choice([0, 0, 0, 0, 2, 5, 130, 10**6]))
                waiting.append((second + late, name, second // 60 - 1))
        due = [one for one in waiting if one[0] <= second]
        waiting = [one for one in waiting if one[0] > second]
        frames = [frame(truth(name, minute, minute)[0], name, closed=True) for _, name, minute in due]
        decided = [tell(core, frames, now)] if frames else []
        answers = [fetch for when, fetch in under_way if when <= second]
        under_way = [one for one in under_way if one[0] > second]
        for fetch in answers:
            if rng.random() < 0.3:
                core.on_failed(fetch, now)
            else:
                decided.append(answer(core, fetch, now))
        decided.append(core.on_timer(now))
        under_way += [(second + int(rng.integers(0, 3)), fetch) for fetch in repairs(decided[-1])]
        for one in decided:
            closed += one.closed
    keys = [(end, -timeframe(name).milliseconds) for name, end in names_of(closed)]

    assert keys == sorted(set(keys))
    assert len(keys) == 49 + 9 + 3
    assert sum(not one.complete for one in closed) > 5
    end = at(48)
    assert core.missing(end) == []
    for name in NAMES:
        for tf in FRAMES:
            count = 48 * MINUTE // tf.milliseconds
            kept = core.ring.panel(tf.name).exact(
                name, start=tf.index(START), end=tf.index(START) + count - 1
            )
            assert kept.rows.tolist() == rows(name, tf.name, 0, count - 1).rows.tolist()
