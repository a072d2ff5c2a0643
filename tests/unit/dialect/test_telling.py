"""What the followers of a board are told of a ring's bars, write by write, held against a plain model."""

from itertools import pairwise
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.panel.model import SCALE, Bar, exact, market, roll_up, words

from klinehub.dialect.board import Board
from klinehub.dialect.digits import U8
from klinehub.dialect.frames import Events
from klinehub.dialect.source import Source
from klinehub.dialect.telling import Telling
from klinehub.domain.kline import ROW, Exact, Scale
from klinehub.domain.listing import Listing
from klinehub.domain.timeframe import DAY, MINUTE, TIMEFRAMES, in_order
from klinehub.panel.merge import CLOSED_NOW, merge_closed, merge_forming
from klinehub.panel.ring import Ring

# 2026-02-28 23:15, a quarter of an hour before a month ends.
START = 1_772_320_500_000
M1, M3, M5 = (TIMEFRAMES[name] for name in ("1m", "3m", "5m"))
BARS = 40


class OneListed:
    """As much of a market as streams need: any symbol is listed."""

    def listing(self, symbol: str) -> Listing:
        return Listing(symbol, symbol, "PERPETUAL", "TRADING", "", "", 0, 1, 1)

    def klines(self, *_: object) -> Exact:
        return Exact(np.empty(0, ROW), Scale(0, 0, 0))


class Follower:
    combined = False

    def __init__(self) -> None:
        self.wanted: U8 = np.zeros(64, np.uint8)

    def deliver(self, data: bytes) -> None: ...


class Desk:
    """A ring with one symbol, and what is told of it."""

    def __init__(self, *names: str, kept: tuple[str, ...] = ("1m", "5m"), bars: int = BARS) -> None:
        self.ring = Ring(in_order(kept), rows=2, bars=bars)
        self.ring.add("OTHER", SCALE)
        self.row = self.ring.add("BTCUSDT", SCALE)
        self.board = Board(cast("Source", OneListed()), ids=False)
        self.follower = Follower()
        self.telling = Telling(self.board, self.ring)
        self.follow(*names)

    def follow(self, *names: str, now: int = START) -> None:
        for name in names:
            self.board.follow(self.follower, f"btcusdt@kline_{name}")
        self.telling.begin(now)

    def close(self, *bars: Bar) -> None:
        for bar in bars:
            flags = merge_closed(self.ring.memory, 0, self.row, words(bar))
            self.ring.lift(0, self.row, bar.open_time if flags & CLOSED_NOW else -1)

    def update(self, bar: Bar, event: int = START) -> None:
        merge_forming(self.ring.memory, 0, self.row, words(bar), event)
        self.ring.lift(0, self.row, -1)

    def closes(self) -> list[dict[str, Any]]:
        return told(self.telling.closes(START))

    def updates(self) -> list[dict[str, Any]]:
        return told(self.telling.updates(START))

    def missed(self, since: int) -> list[dict[str, Any]]:
        return told(self.telling.missed(self.follower.wanted, since, START))


def told(events: Events) -> list[dict[str, Any]]:
    """Give the bars of rendered events."""
    cuts = events.cuts[: len(events.lines) + 1].tolist()
    return [msgspec.json.decode(events.buffer[a:b].tobytes())["k"] for a, b in pairwise(cuts)]


def places(bars: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Give interval and minutes after the start of each bar."""
    return [(bar["i"], (bar["t"] - START) // MINUTE) for bar in bars]


def minutes(count: int, *, quiet: float = 0.0) -> list[Bar]:
    return market(M1, M1.index(START), count, 3, quiet=quiet)


def test_a_close_is_told_once_and_before_any_update_of_the_next_bar() -> None:
    desk, bars = Desk("1m", "5m"), minutes(4)
    desk.update(bars[0])
    assert (desk.closes(), places(desk.updates())) == ([], [("1m", 0), ("5m", 0)])
    assert desk.updates() == []
    desk.close(bars[0])
    desk.update(bars[1])
    # The close has not been told yet.
    assert places(desk.updates()) == [("5m", 0)]
    assert places(desk.closes()) == [("1m", 0)]
    assert desk.closes() == []
    assert places(desk.updates()) == [("1m", 1)]


def test_what_was_closed_before_is_not_told_and_what_was_open_is() -> None:
    desk, bars = Desk(), minutes(4)
    desk.close(*bars[:2])
    desk.update(bars[2])
    desk.follow("1m", "5m")
    assert desk.closes() == []
    desk.close(bars[2])
    assert places(desk.closes()) == [("1m", 2)]


def test_a_line_that_nobody_follows_any_more_begins_anew() -> None:
    desk, bars = Desk("1m"), minutes(4)
    desk.close(bars[0])
    desk.board.unfollow(desk.follower, "btcusdt@kline_1m")
    assert desk.closes() == []
    desk.close(bars[1])
    desk.follow("1m")
    desk.close(bars[2])
    assert places(desk.closes()) == [("1m", 2)]


def test_a_bar_that_lacks_holds_up_those_behind_it_until_it_comes() -> None:
    desk, bars = Desk("1m", "3m", "5m"), minutes(6)
    desk.close(bars[0], bars[2], bars[3], bars[4])
    desk.update(bars[5])
    assert (places(desk.closes()), desk.updates()) == ([("1m", 0)], [])
    desk.close(bars[1])
    assert places(desk.closes()) == [("1m", 1), ("1m", 2), ("1m", 3), ("1m", 4), ("3m", 0), ("5m", 0)]
    assert places(desk.updates()) == [("1m", 5), ("3m", 3), ("5m", 5)]


def test_a_bar_that_the_exchange_does_not_have_is_passed_over() -> None:
    desk, bars = Desk("1m", "3m"), minutes(8)
    desk.close(bars[0], *bars[2:6])
    desk.telling.pass_over(set())
    assert places(desk.closes()) == [("1m", 0)]
    desk.telling.pass_over({(0, desk.row, M1.index(bars[1].open_time))})
    # The bar of three minutes cannot be built.
    assert places(desk.closes()) == [*(("1m", minute) for minute in (2, 3, 4, 5)), ("3m", 3)]


def test_bars_that_have_left_the_ring_are_passed_over() -> None:
    desk, bars = Desk("1m", "3m", bars=10), minutes(40)
    desk.close(bars[0], *bars[2:])
    assert places(desk.closes()) == [
        *(("1m", minute) for minute in range(30, 40)),
        *(("3m", minute) for minute in (30, 33, 36)),
    ]


def test_a_larger_bar_is_told_without_the_parts_from_before_a_symbol_s_first() -> None:
    desk, bars = Desk("1m", "3m"), minutes(6)
    desk.ring.memory.first[:, desk.row] = [tf.index(bars[1].open_time) for tf in desk.ring.timeframes]
    desk.close(*bars[1:])
    assert places(desk.closes()) == [*(("1m", minute) for minute in range(1, 6)), ("3m", 0), ("3m", 3)]


def test_the_first_bars_of_a_symbol_without_any_are_told_from_now_on() -> None:
    desk, bars = Desk(), minutes(6)
    desk.follow("1m", now=START + 2 * MINUTE + 5)
    desk.close(*bars)
    assert places(desk.closes()) == [("1m", minute) for minute in range(2, 6)]


def test_an_update_without_a_trade_is_none_and_one_without_a_new_trade_neither() -> None:
    desk, bars = Desk("1m"), minutes(1)
    desk.update(bars[0]._replace(trades=0))
    assert desk.updates() == []
    desk.update(bars[0], START + 1)
    desk.update(bars[0], START + 2)
    assert len(desk.updates()) == 1
    desk.update(bars[0], START + 3)
    assert desk.updates() == []


def test_what_a_client_missed_is_the_newest_of_each_line_that_is_still_open() -> None:
    desk, bars = Desk("1m", "5m"), minutes(3)
    rounds = []
    for trades in (5, 6, 7):
        desk.update(bars[0]._replace(trades=trades), START + trades)
        desk.updates()
        rounds.append(desk.telling.round)
    assert [(bar["i"], bar["n"]) for bar in desk.missed(rounds[0])] == [("1m", 7), ("5m", 7)]
    assert desk.missed(rounds[2]) == []
    desk.close(bars[0]._replace(trades=8))
    desk.closes()
    # The minute is over, and what was told of it is no news.
    assert [(bar["i"], bar["n"]) for bar in desk.missed(rounds[0])] == [("5m", 7)]
    desk.follower.wanted[:] = 0
    assert desk.missed(0) == []


def test_numbers_are_printed_with_the_decimals_that_are_known_by_then() -> None:
    desk, bars = Desk("1m"), minutes(2)
    desk.close(bars[0])
    (before,) = desk.closes()
    desk.ring.rescale(desk.row, Scale(3, 4, 6))
    desk.close(bars[1])
    (after,) = desk.closes()
    places_of = [[len(bar[name].partition(".")[2]) for name in "cvq"] for bar in (before, after)]
    assert places_of == [list(SCALE), [3, 4, 6]]


def test_streams_without_a_source_are_silent_and_counted() -> None:
    desk = Desk("1m", "1M", kept=("5m", "1h"))
    desk.board.follow(desk.follower, "nopeusdt@kline_5m")
    desk.telling.begin(START)
    assert (desk.closes(), desk.updates()) == ([], [])
    # No minute is kept; a month could be built of hours, if so many were kept.
    assert desk.telling.silent == 2
    desk.ring.memory.decimals[0] = SCALE


def test_a_symbol_that_comes_later_is_told_from_then_on() -> None:
    desk = Desk()
    desk.board.follow(desk.follower, "newusdt@kline_1m")
    desk.telling.begin(START)
    ring = Ring(in_order(("1m",)), rows=2, bars=BARS)
    telling = Telling(desk.board, ring)
    assert told(telling.closes(START)) == []
    row = ring.add("NEWUSDT", SCALE)
    telling.begin(START)
    merge_closed(ring.memory, 0, row, words(minutes(1)[0]))
    assert places(told(telling.closes(START))) == [("1m", 0)]


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(range(16)),
    looks=st.sets(st.integers(0, 15)),
    quiet=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_whatever_the_order_in_which_bars_come_each_is_told_once_in_order_and_as_it_is(
    order: list[int], looks: set[int], quiet: float
) -> None:
    desk, bars, found = Desk("1m", "3m", "5m"), minutes(16, quiet=quiet), list[dict[str, Any]]()
    for number, at in enumerate(order):
        desk.ring.load(0, desk.row, exact([bars[at]]), START + DAY)
        desk.ring.settle(0, desk.row, bars[at].open_time)
        if number in looks:
            found += desk.closes()
    found += desk.closes()

    for frame, size in ((M1, 1), (M3, 3), (M5, 5)):
        mine = [bar for bar in found if bar["i"] == frame.name]
        whole = [roll_up(bars[at : at + size], frame) for at in range(0, 16 - size + 1, size)]
        assert [bar["t"] for bar in mine] == [bar.open_time for bar in whole]
        assert [bar["n"] for bar in mine] == [bar.trades for bar in whole]
        assert [float(bar["h"]) for bar in mine] == [bar.high / 100 for bar in whole]
        assert [round(float(bar["v"]) * 1000) for bar in mine] == pytest.approx([b.volume for b in whole])
