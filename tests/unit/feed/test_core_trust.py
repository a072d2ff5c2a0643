"""What the core makes of what it is told: bad frames, doubts, corrections, staleness, clock and audit."""

import json
from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from tests.unit.feed.frames import a_ring, bar, event
from tests.unit.feed.telling import (
    FRAMES,
    HISTORY,
    MINUTE,
    NAMES,
    START,
    a_core,
    answer,
    at,
    close,
    frame,
    names_of,
    repair,
    repairs,
    rows,
    tell,
    truth,
)
from tests.unit.panel.model import SCALE, exact

from klinehub.domain.kline import Exact
from klinehub.domain.stale import Reason
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DataError
from klinehub.feed.core import GRACE, Core
from klinehub.feed.decisions import Decisions, Fetch, Resubscribe, Revision
from klinehub.feed.doubts import AGAIN, CONFIRMED_AFTER
from klinehub.feed.liveness import OVERDUE
from klinehub.feed.repair import RETRY, SURE
from klinehub.feed.use import Use
from klinehub.panel.merge import PROOF

# The first test waits until the way of a kline is compiled.
pytestmark = pytest.mark.timeout(120)


BAD_FRAMES: Final = {
    "no JSON": b'{"e":"kline"',
    "high below low": event(bar(at(0), symbol="A", h="1.00"), at=at(0) + 500),
    "not a number": event(bar(at(0), symbol="A", o="NaN")),
    "off the grid": event(bar(at(0) + 1, symbol="A")),
    "no close": event({k: v for k, v in bar(at(0), symbol="A").items() if k != "c"}),
    "refused": b'{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}',
}


@pytest.mark.parametrize("bad", BAD_FRAMES.values(), ids=[name.replace(" ", "-") for name in BAD_FRAMES])
def test_a_bad_frame_is_counted_and_the_rest_of_the_batch_is_merged(bad: bytes) -> None:
    core = a_core()
    good = [frame(truth(name, 0, 0)[0], name, closed=True) for name in NAMES]

    decisions = tell(core, [bad, good[0], bad, *good[1:], bad], at(1) + 50)
    assert names_of(decisions.closed) == [("1m", at(1))]
    assert decisions.closed[0].complete
    assert core.counts.set_aside == 3
    assert core.last_fault
    assert core.counts.updates == 6


def test_a_frame_of_odd_form_closes_bars_too() -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    odd = frame(truth("C", 0, 0)[0], "C", closed=True).replace(b'"o"', b'"\\u006f"')

    assert names_of(tell(core, [odd], at(1) + 60).closed) == [("1m", at(1))]
    assert core.counts.set_aside == 0


def an_event(name: str, **more: str) -> bytes:
    return json.dumps({"stream": f"!{name}", "data": {"e": name, "E": at(0), **more}}).encode()


def test_news_of_a_contract_asks_for_the_listing() -> None:
    core = a_core()
    info = an_event("contractInfo", s="NEWUSDT", ps="NEWUSDT", ct="PERPETUAL", cs="TRADING")

    assert tell(core, [info], at(0) + 100) == Decisions(relist=True)
    assert tell(core, [b'{"result":null,"id":1}', an_event("markPriceUpdate")], at(0) + 200) == Decisions()
    assert core.told == 0
    assert core.counts.set_aside == 0


def test_a_seat_whose_socket_is_to_be_shut_down_is_named() -> None:
    core = a_core()

    assert tell(core, [an_event("serverShutdown")], at(0) + 100, seat=3) == Decisions(leaving=[3])


def told_otherwise(symbol: str, minute: int) -> Exact:
    return exact([truth(symbol, minute, minute)[0]._replace(trades=10**9)])


def kept(core: Core, symbol: str, name: str, opened: int) -> list[tuple[int | float, ...]]:
    panel = core.ring.panel(name)
    index = panel.timeframe.index(opened)
    rows: list[tuple[int | float, ...]] = panel.exact(symbol, start=index, end=index).rows.tolist()
    return rows


def test_a_close_told_otherwise_by_the_stream_is_doubted_and_changes_nothing() -> None:
    core = a_core()
    close(core, 0)
    wrong = truth("A", 0, 0)[0]._replace(trades=10**9)

    assert tell(core, [frame(wrong, "A", closed=True)], at(1) + 100) == Decisions()
    assert core.told == at(1)
    assert (core.counts.conflicts, len(core.doubts)) == (1, 1)
    assert kept(core, "A", "1m", START) == [truth("A", 0, 0)[0].row]


def test_a_doubt_that_rest_does_not_share_is_over() -> None:
    core = a_core()
    close(core, 0)
    wrong = truth("A", 0, 0)[0]._replace(trades=10**9)
    tell(core, [frame(wrong, "A", closed=True)], at(1) + 100)
    close(core, 1)

    assert repairs(core.on_timer(at(1) + SURE - 2)) == []
    (fetch,) = repairs(core.on_timer(at(1) + SURE - 1))
    assert fetch == repair("A", "1m", START, 1)
    assert not answer(core, fetch, at(1) + SURE).news
    assert len(core.doubts) == 0
    assert kept(core, "A", "1m", START) == [truth("A", 0, 0)[0].row]


def test_a_difference_that_rest_confirms_is_corrected_with_a_record() -> None:
    core = a_core()
    for minute in range(6):
        close(core, minute)
    before = {name: kept(core, "A", name, START) for name in ("1m", "5m")}
    now = at(6) + 100
    wrong = told_otherwise("A", 2)
    first = core.on_rest(Fetch("A", "1m", None, 4), wrong, now, now)
    assert not first.news
    (fetch,) = [one for one in core.on_timer(now + CONFIRMED_AFTER).fetches if one.symbol == "A"]

    assert fetch == repair("A", "1m", at(2), 1)
    then = now + CONFIRMED_AFTER + 40
    one, five = core.on_rest(fetch, wrong, then, then + 60).corrected
    assert (one.symbol, one.timeframe, one.open_time, one.time) == ("A", "1m", at(2), then + 60)
    assert (one.old.rows.tolist(), one.new.rows.tolist()) == ([truth("A", 2, 2)[0].row], wrong.rows.tolist())
    assert (five.timeframe, five.open_time, five.old.rows.tolist()) == ("5m", START, before["5m"])
    assert five.new.rows.tolist() == kept(core, "A", "5m", START) != before["5m"]
    assert one.cause != five.cause
    assert core.counts.corrections == 2
    assert repairs(core.on_timer(then + 10 * MINUTE))[0].symbol == "A"


def test_what_the_stream_told_otherwise_is_asked_about_until_rest_has_said_so_twice() -> None:
    core = a_core()
    close(core, 0)
    wrong = told_otherwise("A", 0)
    tell(core, [frame(truth("A", 0, 0)[0]._replace(trades=10**9), "A", closed=True)], at(1) + 100)
    now = at(1) + SURE
    (fetch,) = repairs(core.on_timer(now))[-1:]
    assert not core.on_rest(fetch, wrong, now, now).news

    (again,) = [one for one in repairs(core.on_timer(now + CONFIRMED_AFTER)) if one.start == START]
    assert again == fetch
    (one,) = core.on_rest(again, wrong, now + CONFIRMED_AFTER, now + CONFIRMED_AFTER).corrected
    assert one.new.rows.tolist() == kept(core, "A", "1m", START) == wrong.rows.tolist()


def test_each_bar_that_an_answer_tells_otherwise_is_doubted() -> None:
    core = a_core()
    for minute in range(4):
        close(core, minute)
    told = truth("A", 0, 3)
    told[1] = told[1]._replace(close=told[1].high)
    told[3] = told[3]._replace(volume=1)

    core.on_rest(Fetch("A", "1m", START, 4), exact(told), at(4), at(4))
    assert core.doubts.raised == 1
    core.on_rest(Fetch("A", "1m", START, 4), exact(told), at(4) + PROOF, at(4) + PROOF)
    assert core.doubts.raised == 2
    assert [kept(core, "A", "1m", at(n)) for n in (1, 3)] == [[truth("A", n, n)[0].row] for n in (1, 3)]


def stale(core: Core, symbol: str) -> tuple[Reason, int]:
    """Give what is written of a symbol."""
    reason, since = core.ring.memory.stale[core.ring.rows[symbol]].tolist()
    return Reason(reason), since


def test_a_socket_that_comes_or_goes_loses_no_question_that_is_due() -> None:
    core = a_core()
    now = START + PROOF + 2 * OVERDUE
    core.on_seat(0, now, up=True)
    assert core.on_timer(now + 500).prices


def test_a_missing_bar_keeps_its_symbol_stale_while_sockets_come_and_go() -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    core.on_seat(0, at(1), up=True)
    now = at(1) + GRACE + 500
    tell(core, [frame(truth(name, 1, 1)[0], name, closed=False) for name in NAMES], now)
    core.ring.memory.heard[0] = now
    core.on_timer(now)
    assert stale(core, "C")[0] is Reason.GAP
    since = stale(core, "C")[1]

    core.on_seat(1, now + 100, up=True)
    assert stale(core, "C") == (Reason.GAP, since)
    core.on_seat(1, now + 200, up=False)
    assert stale(core, "C") == (Reason.GAP, since)


def test_a_lost_socket_is_seen_without_a_timer() -> None:
    core = a_core()
    core.on_seat(0, START, up=True)
    core.ring.memory.heard[0] = START + GRACE
    core.on_timer(START + GRACE)
    assert [stale(core, name)[0] for name in NAMES] == [Reason.FRESH] * 3
    core.on_seat(0, START + GRACE + 100, up=False)

    assert [stale(core, name)[0] for name in NAMES] == [Reason.LOST] * 3


def test_a_symbol_that_comes_later_is_stale_from_the_first_look_on() -> None:
    core = a_core()
    core.ring.add("NEW", SCALE)
    core.watch(["NEW"])
    core.on_timer(START + GRACE)
    assert stale(core, "NEW") == (Reason.GAP, START + GRACE)

    core.ring.memory.first[:, core.ring.rows["NEW"]] = 2**40
    core.on_timer(START + MINUTE + 2 * GRACE)
    assert stale(core, "NEW")[0] is Reason.STARTING


def test_while_the_clock_does_not_fit_nothing_is_announced_or_asked_for() -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    core.on_clock(at(1), fits=False)
    decisions = core.on_timer(at(9))
    assert (decisions.closed, decisions.fetches) == ([], [])
    assert [stale(core, name)[0] for name in NAMES] == [Reason.CLOCK] * 3
    core.ring.memory.heard[0] = at(9) + 1
    core.on_timer(at(9) + 500)
    assert [stale(core, name)[0] for name in NAMES] == [Reason.CLOCK] * 3

    core.on_clock(at(2), fits=True)
    decisions = core.on_timer(at(2) + GRACE)
    assert [one.missing for one in decisions.closed] == [("C",), NAMES]
    assert {fetch.symbol for fetch in repairs(decisions)} == set(NAMES)
    assert [stale(core, name)[0] for name in NAMES] == [Reason.CLOCK] * 3
    core.ring.memory.heard[0] = at(2) + GRACE + 1
    core.on_timer(at(2) + GRACE + 2)
    assert Reason.CLOCK not in [stale(core, name)[0] for name in NAMES]


def test_a_clock_that_fits_all_the_time_makes_nobody_stale() -> None:
    core = a_core()
    core.on_seat(0, START, up=True)
    core.ring.memory.heard[0] = START + GRACE
    core.on_clock(START + GRACE, fits=True)
    core.on_timer(START + GRACE)

    assert [stale(core, name)[0] for name in NAMES] == [Reason.FRESH] * 3


def test_prices_make_a_core_ask_about_streams_that_say_nothing() -> None:
    core = a_core()
    core.on_seat(0, START - 10_000, up=True)
    core.on_prices(dict.fromkeys(NAMES, START - 60_000), START + 9_000)
    core.on_timer(START + 9_500)
    assert [stale(core, name)[0] for name in NAMES] == [Reason.FRESH] * 3

    core.on_prices({**dict.fromkeys(NAMES, START - 60_000), "B": START + 11_000}, START + 15_000)
    tell(core, [frame(truth(name, 0, 0)[0], name, closed=False) for name in "AC"], START + 15_500)
    core.liveness.heard(0, START + 15_500, START + 15_500)
    decisions = core.on_timer(START + 15_500)
    assert decisions.steps == [Resubscribe(0, ("B",))]
    assert Fetch("B", "1m", None, 2, Use.PROBE) in decisions.fetches


FORMS: Final = pytest.mark.parametrize("key", [b'"o"', b'"\\u006f"'], ids=["usual", "odd"])


@FORMS
def test_a_seat_that_tells_klines_is_not_silent(key: bytes) -> None:
    core = a_core()
    core.on_seat(0, START, up=True)
    steps = []
    for now in range(START + GRACE, START + 30_000, 1_000):
        tell(core, [event(bar(START, symbol="A"), at=now).replace(b'"o"', key)], now)
        steps += core.on_timer(now).steps

    assert steps == []
    assert [stale(core, name)[0] for name in NAMES] == [Reason.FRESH, Reason.SILENT, Reason.SILENT]


@FORMS
def test_a_stream_that_nothing_else_is_known_of_is_fresh_for_six_seconds_after_its_event(key: bytes) -> None:
    core = a_core()
    told = START + 10_000
    tell(core, [event(bar(START, symbol="A"), at=told).replace(b'"o"', key)], told)
    core.on_timer(told + 6_000)
    assert stale(core, "A")[0] is Reason.FRESH

    core.on_timer(told + 6_001)
    assert stale(core, "A") == (Reason.SILENT, told)


def test_a_history_proves_its_symbol_fresh_and_a_probe_does_not() -> None:
    core = a_core()
    now = START + 10_000
    core.on_timer(now)
    assert stale(core, "A")[0] is Reason.SILENT
    for use, reason in ((Use.PROBE, Reason.SILENT), (Use.WARM_UP, Reason.FRESH)):
        now += 500
        core.on_rest(Fetch("A", "1m", None, 2, use), rows("A", "1m", -1, 0), now, now)
        core.on_timer(now)
        assert stale(core, "A")[0] is reason


@pytest.mark.parametrize("lacking", [[7], [4, 5, 11]])
def test_bars_that_a_history_passes_over_are_not_asked_for(lacking: list[int]) -> None:
    core = a_core()
    core.ring.add("NEW", SCALE)
    core.watch(["NEW"])
    for tf in FRAMES:
        whole = rows("NEW", tf.name, -HISTORY, -1)
        told = Exact(np.delete(whole.rows, lacking), SCALE) if tf.name == "1m" else whole
        core.on_rest(Fetch("NEW", tf.name, None, len(told.rows)), told, START + PROOF, START + PROOF)

    assert repairs(core.on_timer(START + GRACE)) == []


@pytest.mark.parametrize(("limit", "asked"), [(20, [repair("A", "1m", at(-30), 10)]), (21, [])])
def test_only_a_history_shorter_than_asked_for_shows_where_a_symbol_began(
    limit: int, asked: list[Fetch]
) -> None:
    core = Core(a_ring(["A"], SCALE, FRAMES[:1], bars=64), wanted=30)
    core.watch(["A"])
    core.on_rest(Fetch("A", "1m", None, limit), rows("A", "1m", -20, -1), START + PROOF, START + PROOF)
    core.go_live(START + PROOF)

    assert repairs(core.on_timer(START + GRACE)) == asked


def test_the_audit_counts_verifies_and_doubts() -> None:
    core = a_core(audit_weight=48.0)
    for minute in range(6):
        close(core, minute)
    (fetch,) = [one for one in core.on_timer(at(6) + GRACE).fetches if one.use is Use.AUDIT]
    first = timeframe(fetch.timeframe).index(fetch.start or 0) - timeframe(fetch.timeframe).index(START)
    told = rows(fetch.symbol, fetch.timeframe, first, first + fetch.limit - 1)
    assert core.on_rest(fetch, told, at(6) + GRACE, at(6) + GRACE) == Decisions()
    assert (core.counts.audited, core.counts.different, len(core.doubts)) == (HISTORY, 0, 0)

    told.rows["trades"][3] += 1
    core.on_rest(fetch, told, at(6) + GRACE + 1, at(6) + GRACE + 1)
    assert (core.counts.audited, core.counts.different, len(core.doubts)) == (2 * HISTORY, 1, 1)


def test_an_audit_compares_only_what_was_proven_when_it_was_asked() -> None:
    core = a_core()
    close(core, 0)
    fetch = Fetch("A", "1m", at(-3), 4, Use.AUDIT)
    wrong = exact([*truth("A", -3, -1), truth("A", 0, 0)[0]._replace(trades=1)])
    core.on_rest(fetch, wrong, at(1) - 2 + PROOF, at(1) + PROOF)
    assert (core.counts.audited, core.counts.different) == (3, 0)
    core.on_rest(fetch, wrong, at(1) - 1 + PROOF, at(1) + PROOF)
    assert (core.counts.audited, core.counts.different) == (7, 1)


def test_an_audit_that_failed_gives_way_to_the_next_one() -> None:
    core = a_core(audit_weight=48.0)
    asked: list[Fetch] = []
    for second in range(60):
        fetches = core.on_timer(START + PROOF + 1_000 * second).fetches
        asked += [one for one in fetches if one.use is Use.AUDIT]
    assert len(asked) == 2
    core.on_failed(asked[0], START + MINUTE)

    fetches = core.on_timer(START + 2 * MINUTE).fetches
    assert len([one for one in fetches if one.use is Use.AUDIT]) == 1


def test_the_audit_goes_on_as_long_as_its_requests_are_answered() -> None:
    core = a_core(audit_weight=12.0)
    asked = 0
    for now in range(START + PROOF, START + MINUTE, 500):
        for fetch in core.on_timer(now).fetches:
            asked += fetch.use is Use.AUDIT
            answer(core, fetch, now + 50)

    assert asked == 12


def test_what_was_missing_and_came_with_an_audit_is_kept_and_told() -> None:
    core = a_core()
    for minute in range(5):
        close(core, minute, NAMES if minute != 2 else ("A", "B"))
    core.on_timer(at(5) + GRACE)

    decisions = answer(core, Fetch("C", "1m", START, 5, Use.AUDIT), at(5) + GRACE)
    five, one = timeframe("5m").index(START), timeframe("1m").index(at(2))
    assert set(decisions.revised) == {Revision("5m", five, "C"), Revision("1m", one, "C")}
    assert core.missing(at(5) + GRACE) == []


def test_an_answer_of_bars_that_are_none_is_a_failed_request() -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    now = at(1) + GRACE
    (fetch,) = repairs(core.on_timer(now))
    astray = rows("C", "1m", 0, 0)
    astray.rows["open_time"] += 1
    with pytest.raises(DataError, match="no 1m bars"):
        core.on_rest(fetch, astray, now, now)

    assert repairs(core.on_timer(now + RETRY - 1)) == []
    assert repairs(core.on_timer(now + RETRY)) == [fetch]


def the_clock_fits_again(core: Core) -> None:
    core.on_clock(at(1) + GRACE + 600, fits=False)
    core.on_clock(at(1) + GRACE + 700, fits=True)


@pytest.mark.parametrize(
    ("news", "asked"),
    [
        (Core.on_open, True),
        (lambda core: core.on_seat(1, at(1) + GRACE + 600, up=True), True),
        (the_clock_fits_again, True),
        (lambda core: core.on_seat(1, at(1) + GRACE + 600, up=False), False),
        (lambda core: core.on_clock(at(1) + GRACE + 600, fits=True), False),
    ],
    ids=["rest-answers", "socket-up", "clock-fits-again", "socket-lost", "clock-fits-still"],
)
def test_what_failed_is_asked_for_at_once_when_there_is_reason_for_hope(
    news: Callable[[Core], None], *, asked: bool
) -> None:
    core = a_core()
    close(core, 0, ("A", "B"))
    (fetch,) = repairs(core.on_timer(at(1) + GRACE))
    core.on_failed(fetch, at(1) + GRACE)
    assert repairs(core.on_timer(at(1) + GRACE + 500)) == []
    news(core)

    assert repairs(core.on_timer(at(1) + GRACE + 1_000)) == [fetch] * asked


def test_a_doubt_whose_question_failed_is_asked_again_later_and_holds_up_no_repair() -> None:
    core = a_core()
    close(core, 0)
    wrong = truth("A", 0, 0)[0]._replace(trades=10**9)
    tell(core, [frame(wrong, "A", closed=True)], at(1) + 100)
    close(core, 1, ("B", "C"))
    now = at(2) + GRACE
    doubted, missing = repair("A", "1m", START, 1), repair("A", "1m", at(1), 2)
    assert repairs(core.on_timer(now)) == [missing, doubted]
    core.on_failed(doubted, now + 100)
    answer(core, missing, now + 200)

    assert core.missing(now + 200) == []
    assert doubted not in repairs(core.on_timer(now + 100 + AGAIN - 1))
    assert doubted in repairs(core.on_timer(now + 100 + AGAIN))
