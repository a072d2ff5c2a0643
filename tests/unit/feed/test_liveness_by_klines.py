"""Liveness where no request tells when each symbol last traded: proved symbol by symbol, from klines."""

from collections.abc import Iterable
from typing import Final

import pytest
from tests.unit.feed.telling import START
from tests.unit.feed.watching import FRESH, TICK, Watch

from klinehub.domain.stale import Reason
from klinehub.feed.decisions import Renew, Resubscribe
from klinehub.feed.liveness import LAGS
from klinehub.feed.use import Use
from klinehub.feed.venue import SPOT

PATIENCE: Final = SPOT.patience
MINUTE: Final = 60_000


class Klines(Watch):
    """A watch whose requests for klines are answered at once: symbols in `trades` have untold trades."""

    def __init__(self, pace: float = 1.0) -> None:
        super().__init__(patience=PATIENCE, pace=pace)
        self.trades: set[str] = set()
        self.answered = 0

    def go(self, ms: int, *, talking: Iterable[str] = (), priced: bool = True, step: int = TICK) -> None:
        """Let time go by, and answer what is asked."""
        for _ in range(ms // step):
            self.now += step
            self.hear(*talking)
            for fetch in self.check().fetches:
                assert (fetch.use, fetch.limit, fetch.start) == (Use.PROBE, 2, None)
                if priced:
                    self.answer(fetch.symbol)

    def answer(self, symbol: str, *, opened: int | None = None) -> None:
        """Tell what REST knows of a symbol now."""
        self.answered += 1
        row = self.ring.rows[symbol]
        self.liveness.loaded(0, row, self.now)
        untold = self.now - 1_000 if symbol in self.trades else opened
        self.trades.discard(symbol)
        self.liveness.on_klines(0, row, untold, self.now, newest=True)


def test_who_tells_the_end_of_each_minute_is_never_asked_about() -> None:
    watch = Klines()
    watch.begin()
    for _ in range(10):
        watch.go(MINUTE, talking=(), priced=True)
        watch.hear("A", "B", "C")

    assert (watch.answered, watch.asked, watch.steps) == (0, [], [])
    assert watch.reasons() == FRESH


def test_a_silent_pair_is_asked_about_and_proved_quiet_for_a_minute() -> None:
    watch = Klines()
    watch.begin()
    for _ in range(5):
        watch.go(MINUTE // 2, talking=("B", "C"))
        watch.go(MINUTE // 2, talking=("B", "C"))
        assert watch.reasons() == FRESH

    assert {fetch.symbol for _, fetch in watch.fetches} == {"A"}
    # Once in the patience, not at every look.
    assert watch.answered == 5 * MINUTE // PATIENCE.overdue
    assert watch.steps == []


def test_a_stream_that_owes_what_klines_show_is_stale_and_subscribed_anew() -> None:
    watch = Klines()
    watch.begin()
    watch.go(PATIENCE.overdue, talking=("B", "C"))
    watch.trades = {"A"}
    watch.go(2 * TICK, talking=("B", "C"))
    assert (watch.answered, watch.reason("A")) == (1, Reason.FRESH)
    watch.go(PATIENCE.tells_within + 2 * TICK, talking=("B", "C"))

    assert watch.reason("A") is Reason.SILENT
    assert [step for _, step in watch.steps] == [Resubscribe(0, ("A",))]
    # A second answer knows nothing more, and proves nothing: the stream still owes the first.
    watch.answer("A")
    watch.go(TICK, talking=("B", "C"))
    assert watch.reason("A") is Reason.SILENT
    watch.hear("A")
    watch.go(TICK, talking=("A", "B", "C"))
    assert watch.reasons() == FRESH


def test_a_trade_that_the_stream_tells_a_moment_later_is_not_owed() -> None:
    watch = Klines()
    watch.begin()
    watch.go(PATIENCE.overdue, talking=("B", "C"))
    watch.trades = {"A"}
    watch.go(2 * TICK, talking=("B", "C"))
    watch.go(PATIENCE.tells_within + 4 * TICK, talking=("A", "B", "C"))

    assert watch.reasons() == FRESH
    assert watch.steps == []


def test_without_an_answer_it_is_stale() -> None:
    watch = Klines()
    watch.begin()
    watch.go(PATIENCE.unproven, talking=("B", "C"), priced=False)
    assert watch.reasons() == FRESH
    watch.go(TICK, talking=("B", "C"), priced=False)

    assert watch.reason("A") is Reason.SILENT


def test_trades_of_the_bar_in_which_a_stream_was_subscribed_may_be_from_before() -> None:
    watch = Klines()
    watch.begin()
    watch.go(PATIENCE.overdue + TICK, talking=("B", "C"), priced=False)
    watch.answer("A", opened=START - MINUTE)
    watch.go(2 * PATIENCE.tells_within, talking=("B", "C"))

    assert watch.reason("A") is not Reason.SILENT
    assert watch.steps == []


def test_nothing_is_proved_within_the_lag_of_a_replica_after_a_subscription() -> None:
    watch = Klines()
    watch.begin()
    watch.liveness.on_seat(0, watch.now, up=False)
    watch.liveness.on_seat(0, watch.now, up=True)
    watch.go(LAGS - TICK, talking=("B", "C"))
    assert (watch.answered, watch.reason("A")) == (0, Reason.LOST)
    watch.go(3 * TICK, talking=("B", "C"))

    assert watch.reasons() == FRESH


def test_a_socket_that_is_silent_as_a_whole_is_replaced_after_a_minute() -> None:
    watch = Klines()
    watch.begin()
    watch.go(PATIENCE.seat_unproven + 2 * TICK, priced=False)

    assert watch.reasons() == [Reason.FEED_SILENT] * 3
    assert [step for _, step in watch.steps] == [Renew(0, "it is silent", overlap=True)]


@pytest.mark.parametrize("pace", [10.0, 60.0])
def test_patience_is_real_time(pace: float) -> None:
    assert PATIENCE.at(pace).overdue == PATIENCE.overdue * pace
    watch = Klines(pace)
    watch.begin()
    watch.go(int(PATIENCE.overdue * pace), talking=("B", "C"), step=int(TICK * pace))

    assert (watch.answered, watch.reasons()) == (0, FRESH)
