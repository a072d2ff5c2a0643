"""The core against an exchange that sends late, twice, out of order or not at all, in any sequence.

Whatever comes in whatever order: a closed bar is the truth, none is closed before its end, each is announced
once and in order, and when all that the core asks for is answered, nothing is missing.
"""

import json
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.feed.telling import (
    FRAMES,
    HISTORY,
    MINUTE,
    NAMES,
    PAST,
    START,
    a_core,
    at,
    frame,
    rows,
    tell,
    truth,
)
from tests.unit.panel.model import Bar, exact, forming, roll_up

from klinehub.domain.kline import CLOSED, Exact
from klinehub.domain.timeframe import Timeframe
from klinehub.feed.core import GRACE
from klinehub.feed.decisions import BarClosed, Decisions, Fetch
from klinehub.feed.repair import SURE
from klinehub.panel.memory import I64
from klinehub.panel.merge import PROOF

# The truth ends some minutes later.
LAST: Final = at(70)
# A replica may be this far behind and still tell the truth of what ended before it was asked.
MOST_BEHIND: Final = PROOF - 100
# Healing: every second a timer, and every request answered; a bar that was lacking is asked for again later.
QUIET: Final = 60
Series = tuple[int, str]
# All true bars by timeframe number and symbol, as words ([n, 10]), oldest first.
TRUE: Final[dict[Series, I64]] = {
    (t, name): rows(name, tf.name, -PAST * MINUTE // tf.milliseconds, 85 * MINUTE // tf.milliseconds - 1)
    .rows.view(np.int64)
    .reshape(-1, 10)
    for t, tf in enumerate(FRAMES)
    for name in NAMES
}

names = st.sampled_from(NAMES)
lates = st.one_of(st.integers(2 * GRACE // 3, 2 * GRACE), st.integers(0, MINUTE - 1))
whiles = st.one_of(st.integers(0, 2_500), st.integers(0, 30_000))


class Request(NamedTuple):
    """A request under way: when it was asked, and the answer once the exchange has written it."""

    fetch: Fetch
    asked: int
    answer: Exact | None = None


def seen(symbol: str, minute: int, now: int) -> Bar:
    """Give a minute as the exchange knows it at *now*: whole, or what there is of it."""
    (one,) = truth(symbol, minute, minute)
    if now >= at(minute + 1):
        return one
    (last,) = truth(symbol, minute - 1, minute - 1)
    return forming(one, Fraction(now - at(minute), MINUTE), last.close)


def listed(fetch: Fetch, timeframe: Timeframe, now: int) -> Exact:
    """Give what REST answers at *now*, the open bar included."""
    newest = timeframe.index(now)
    first = newest - fetch.limit + 1 if fetch.start is None else timeframe.index(fetch.start)
    bars = []
    for index in range(first, min(first + fetch.limit - 1, newest) + 1):
        opened = (timeframe.open_time(index) - START) // MINUTE
        upto = min((timeframe.open_time(index + 1) - START) // MINUTE, (now - START) // MINUTE + 1)
        bars.append(roll_up([seen(fetch.symbol, n, now) for n in range(opened, upto)], timeframe))
    return exact(bars)


def ended(answer: Exact, timeframe: Timeframe, now: int) -> Exact:
    """Give the rows of an answer whose bars were over at *now*."""
    return Exact(answer.rows[answer.rows["open_time"] + timeframe.milliseconds <= now], answer.scale)


def update(symbol: str, minute: int, now: int) -> bytes:
    """Give the frame that tells a minute at *now*: its close once it is over."""
    event = json.loads(frame(seen(symbol, minute, now), symbol, closed=now >= at(minute + 1)))
    event["data"]["E"] = now
    return json.dumps(event, separators=(",", ":")).encode()


class Exchange(RuleBasedStateMachine):
    """What may happen between an exchange and the core."""

    @initialize(told=st.lists(st.sets(names), max_size=8), late=lates)
    def begin(self, told: list[set[str]], late: int) -> None:
        self.core = a_core()
        self.now = START + PROOF
        self.flying: list[bytes] = []
        self.arrived: list[bytes] = []
        self.requests: list[Request] = []
        self.announced: list[BarClosed] = []
        self.revised: Counter[tuple[str, int, str]] = Counter()
        self.closed = self.kept()
        self.minutes_go_by(told, late)

    def learn(self, decisions: Decisions) -> None:
        """Note what the core has decided, and hold each announcement against what is kept."""
        self.requests += [Request(fetch, self.now) for fetch in decisions.fetches]
        kept = self.kept() if decisions.closed else {}
        for one in decisions.closed:
            t, tf = self.core.ring.number[one.timeframe], FRAMES[self.core.ring.number[one.timeframe]]
            assert tf.close_time(one.bar) + (1 if one.complete else GRACE) <= self.now
            lacking = {name for name in NAMES if one.open_time not in kept[t, name]}
            assert set(one.missing) == lacking
            assert one.complete is not bool(lacking)
        self.announced += decisions.closed
        self.revised.update(decisions.revised)

    def words(self, t: int, name: str) -> I64:
        """Give the closed bars of a series in the ring, in no order."""
        memory, row = self.core.ring.memory, self.core.ring.rows[name]
        held: I64 = memory.cells[t, row, memory.state[t, row] >= CLOSED]
        return held

    def kept(self) -> dict[Series, set[int]]:
        """Give the open times of the closed bars of each series."""
        return {series: set(self.words(*series)[:, 0].tolist()) for series in TRUE}

    @rule(ms=whiles)
    def time_goes_by(self, ms: int) -> None:
        self.now = min(self.now + ms, LAST)

    @rule(told=st.lists(st.sets(names), min_size=1, max_size=6), late=lates)
    def minutes_go_by(self, told: list[set[str]], late: int) -> None:
        """Tell the closes of some symbols, and fire a timer that late in the minute after."""
        for who in told:
            self.now = min(self.now - self.now % MINUTE + MINUTE, LAST)
            self.bring([self.update_of_last_minute(name) for name in sorted(who)])
            self.now = min(self.now + late, LAST)
            self.a_timer_fires()

    @rule(who=st.sets(names, min_size=1))
    def the_last_close_is_told(self, who: set[str]) -> None:
        if self.now >= at(1):
            self.bring([self.update_of_last_minute(name) for name in sorted(who)])

    def update_of_last_minute(self, name: str) -> bytes:
        return update(name, (self.now - START) // MINUTE - 1, self.now)

    @rule(name=names)
    def a_forming_bar_is_sent(self, name: str) -> None:
        self.flying.append(update(name, (self.now - START) // MINUTE, self.now))

    @rule(who=st.sets(names, min_size=1), back=st.integers(1, 4))
    def closes_are_sent(self, who: set[str], back: int) -> None:
        minute = (self.now - START) // MINUTE - back
        if minute >= 0:
            self.flying += [update(name, minute, self.now) for name in sorted(who)]

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def some_arrive_in_any_order(self, data: st.DataObject) -> None:
        frames = data.draw(st.permutations(self.flying))[: data.draw(st.integers(1, len(self.flying)))]
        for one in frames:
            self.flying.remove(one)
        self.bring(frames)

    @precondition(lambda self: self.arrived)
    @rule(data=st.data())
    def some_arrive_again(self, data: st.DataObject) -> None:
        self.bring(data.draw(st.lists(st.sampled_from(self.arrived[-20:]), min_size=1, max_size=4)))

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def some_are_lost(self, data: st.DataObject) -> None:
        del self.flying[data.draw(st.integers(0, len(self.flying) - 1)) :]

    def bring(self, frames: list[bytes]) -> None:
        self.arrived += frames
        self.learn(tell(self.core, frames, self.now))

    @rule()
    def a_timer_fires(self) -> None:
        self.learn(self.core.on_timer(self.now))

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), behind=st.integers(0, MOST_BEHIND))
    def an_answer_is_written(self, data: st.DataObject, behind: int) -> None:
        self.write(data, lambda fetch, tf: listed(fetch, tf, self.now - behind))

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), behind=st.integers(SURE // 2, SURE - 1))
    def an_answer_is_written_that_knows_nothing_new(self, data: st.DataObject, behind: int) -> None:
        """A replica that lags lacks the last bars, and the open one too; by no more than is waited for."""
        self.write(data, lambda fetch, tf: ended(listed(fetch, tf, self.now - behind), tf, self.now - behind))

    def write(self, data: st.DataObject, text: Callable[[Fetch, Timeframe], Exact]) -> None:
        number = data.draw(st.integers(0, len(self.requests) - 1))
        one = self.requests[number]
        if one.answer is None:
            tf = FRAMES[self.core.ring.number[one.fetch.timeframe]]
            self.requests[number] = one._replace(answer=text(one.fetch, tf))

    @precondition(lambda self: any(one.answer for one in self.requests))
    @rule(data=st.data())
    def an_answer_arrives(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from([one for one in self.requests if one.answer is not None]))
        self.requests = [other for other in self.requests if other is not one]
        assert one.answer is not None
        self.learn(self.core.on_rest(one.fetch, one.answer, one.asked, self.now))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def a_request_fails(self, data: st.DataObject) -> None:
        self.core.on_failed(
            self.requests.pop(data.draw(st.integers(0, len(self.requests) - 1))).fetch, self.now
        )

    @invariant()
    def every_closed_bar_is_the_truth(self) -> None:
        for (t, name), true in TRUE.items():
            words, step = self.words(t, name), FRAMES[t].milliseconds
            assert np.array_equal(words, true[(words[:, 0] - true[0, 0]) // step])
            assert words[:, 0].max() + step <= self.now

    @invariant()
    def a_closed_bar_stays_closed(self) -> None:
        newest, bars = self.core.ring.memory.newest, self.core.ring.bars
        kept = self.kept()
        for (t, name), times in self.closed.items():
            oldest = FRAMES[t].open_time(int(newest[t, self.core.ring.rows[name]]) - bars + 1)
            assert all(time < oldest for time in times - kept[t, name])
        self.closed = kept

    @invariant()
    def each_bar_is_announced_once_and_in_order(self) -> None:
        order = [(one.open_time + tf.milliseconds, -tf.milliseconds) for one, tf in self.with_timeframes()]
        assert order == sorted(set(order))
        for tf in FRAMES:
            bars = [one.bar for one in self.announced if one.timeframe == tf.name]
            first = tf.index(START)
            assert bars == list(range(first, first + len(bars)))

    def with_timeframes(self) -> list[tuple[BarClosed, Timeframe]]:
        return [(one, FRAMES[self.core.ring.number[one.timeframe]]) for one in self.announced]

    @invariant()
    def what_came_late_is_told_once(self) -> None:
        missing = {(one.timeframe, one.bar, name) for one in self.announced for name in one.missing}
        assert set(self.revised) <= missing
        assert not self.revised or max(self.revised.values()) == 1
        for name, bar, symbol in missing:
            t = self.core.ring.number[name]
            closed = FRAMES[t].open_time(bar) in self.closed[t, symbol]
            assert not closed or (name, bar, symbol) in self.revised

    @invariant()
    def the_truth_is_never_doubted(self) -> None:
        assert (self.core.counts.conflicts, self.core.counts.set_aside) == (0, 0)

    def teardown(self) -> None:
        """Answer all that is asked for: nothing is missing then, and nothing is asked for any more."""
        if not hasattr(self, "core"):
            return
        self.flying.clear()
        for _ in range(QUIET):
            self.now += 1_000
            self.a_timer_fires()
            asked, self.requests = self.requests, []
            for one in asked:
                tf = FRAMES[self.core.ring.number[one.fetch.timeframe]]
                answer = listed(one.fetch, tf, self.now) if one.answer is None else one.answer
                self.learn(self.core.on_rest(one.fetch, answer, one.asked, self.now))
        self.every_closed_bar_is_the_truth()
        self.a_closed_bar_stays_closed()
        self.each_bar_is_announced_once_and_in_order()
        self.what_came_late_is_told_once()
        assert self.core.missing(self.now) == []
        for t, tf in enumerate(FRAMES):
            last = tf.index(self.now - 2 * GRACE)
            expected = {tf.open_time(index) for index in range(last - HISTORY + 1, last)}
            assert all(expected <= self.closed[t, name] for name in NAMES)


TestCore = Exchange.TestCase
TestCore.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
