"""The warm-up: its plan and price, and how it goes when something fails."""

import asyncio
from typing import Final

import pytest

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import in_order
from klinehub.errors import BadRequest, Banned, Blocked, DataError, FeedError, ProxyError, Unreachable
from klinehub.feed.asking import Progress
from klinehub.feed.decisions import Fetch
from klinehub.feed.warmup import Plan, Summary, plan, rows_needed, warm_up
from klinehub.sim.loop import SimLoop, run

MINUTE: Final = 60_000
FRAMES: Final = in_order(["1m", "5m", "15m", "1h"])
SYMBOLS: Final = tuple(f"S{n}USDT" for n in range(530))


def planned(count: int, bars: int, *, cap: int | None = 1920, used: int = 0, second: float = 0) -> Plan:
    now = 29_000_000 * MINUTE + int(second * 1000)
    return plan(SYMBOLS[:count], FRAMES, bars, cap=cap, used=used, now=now)


@pytest.mark.parametrize(
    ("bars", "weight"), [(70, 1), (98, 1), (99, 2), (498, 2), (499, 5), (999, 5), (1000, 10), (1499, 10)]
)
def test_the_weight_is_that_of_the_documented_table(bars: int, weight: int) -> None:
    todo = planned(3, bars)

    assert todo.requests == 12
    assert todo.weight == 12 * weight
    assert {fetch.limit for fetch in todo.fetches} == {bars + 1}


def test_the_base_timeframe_comes_first_and_each_symbol_once_a_timeframe() -> None:
    todo = planned(5, 100)

    order = [(fetch.timeframe, fetch.symbol) for fetch in todo.fetches]
    assert order == [(tf.name, symbol) for tf in FRAMES for symbol in SYMBOLS[:5]]
    assert all(fetch.start is None for fetch in todo.fetches)


@pytest.mark.parametrize(
    ("second", "used", "seconds"),
    [(0, 0, 120), (5, 0, 115), (30, 0, 90), (55, 0, 65), (59.9, 0, 60.1), (0, 1500, 120), (0, 1521, 180)],
)
def test_the_seconds_are_the_bound_of_the_budget(second: float, used: int, seconds: float) -> None:
    """530 symbols x 4 x weight 2 = 4240: three minutes of 1920, the first of which has begun."""
    todo = planned(530, 300, second=second, used=used)

    assert todo.weight == 4240
    assert todo.seconds == pytest.approx(seconds)


def test_what_fits_into_the_minute_takes_no_time() -> None:
    assert planned(240, 300).seconds == 0.0
    assert planned(241, 300).seconds == 60.0
    assert planned(530, 300, cap=None).seconds == 0.0
    assert plan((), FRAMES, 300, cap=1, used=0, now=0).seconds == 0.0


@pytest.mark.parametrize(
    ("names", "bars", "rows"),
    [
        ("1m 5m 15m 1h", 300, [301, 301, 301, 301]),
        ("1m 1h", 50, [61, 51]),
        ("1m 1d", 300, [1441, 301]),
        ("1m 1h 1d", 20, [61, 25, 21]),
        ("1m 1w", 300, [1500, 301]),
        ("1d 1M", 10, [32, 11]),
        ("3m 5m 1h", 10, [11, 13, 11]),
        ("1m", 1499, [1500]),
        ("1m", 5000, [1500]),
    ],
)
def test_the_rows_hold_the_parts_of_a_larger_bar(names: str, bars: int, rows: list[int]) -> None:
    frames = in_order(names.split())

    assert list(rows_needed(frames, bars).values()) == rows


FAILURES: Final = (
    Unreachable("no answer"),
    BadRequest("Invalid symbol.", -1121),
    DataError("no klines"),
    FeedError("odd"),
)


class Exchange:
    """Answers after 100 ms, or fails; knows how many requests are under way."""

    def __init__(self, failing: dict[str, Exception]) -> None:
        self.failing = failing
        self.now = self.most = 0
        self.asked: list[Fetch] = []

    async def fetch(self, item: Fetch) -> None:
        self.asked.append(item)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0.1)
            if item.symbol in self.failing:
                raise self.failing[item.symbol]
        finally:
            self.now -= 1


def carried_out(todo: Plan, exchange: Exchange, *, batch: int = 4) -> tuple[Summary, list[Progress]]:
    steps: list[Progress] = []

    async def main(loop: SimLoop) -> Summary:
        clock = Clock(0, 1.0, loop.time)
        return await warm_up(todo, exchange.fetch, clock, batch=batch, progress=steps.append)

    return run(main), steps


def test_a_batch_is_under_way_at_a_time() -> None:
    exchange = Exchange({})
    summary, steps = carried_out(planned(10, 98), exchange)

    assert exchange.most == 4
    assert exchange.asked == list(planned(10, 98).fetches)
    assert summary.seconds == pytest.approx(1.0)
    assert summary.ms_per_symbol == pytest.approx(100.0)
    assert (summary.requests, summary.weight, summary.succeeded, summary.failed) == (40, 40, 40, 0)
    assert [step.done for step in steps] == list(range(1, 41))
    assert {step.total for step in steps} == {40}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_a_symbol_that_fails_is_reported_and_stops_no_other(failure: Exception) -> None:
    exchange = Exchange({"S3USDT": failure})
    summary, steps = carried_out(planned(10, 98), exchange)

    assert len(exchange.asked) == 40
    assert (summary.succeeded, summary.failed) == (36, 4)
    assert summary.failures == {f"S3USDT {tf.name}": str(failure) for tf in FRAMES}
    assert steps[-1].failed == 4


@pytest.mark.parametrize(
    "failure",
    [Banned("later", 10**13), Blocked("not here"), ProxyError("dead")],
    ids=lambda f: type(f).__name__,
)
def test_what_concerns_every_request_is_raised_at_once(failure: FeedError) -> None:
    exchange = Exchange({"S3USDT": failure})

    with pytest.raises(type(failure)) as raised:
        carried_out(planned(10, 98), exchange)
    assert raised.value is failure
    assert len(exchange.asked) <= 8
    assert exchange.now == 0


def test_two_refusals_at_once_are_one_error() -> None:
    exchange = Exchange({symbol: Banned(symbol, 10**13) for symbol in SYMBOLS[:4]})

    with pytest.raises(Banned):
        carried_out(planned(10, 98), exchange)


def test_a_bug_is_not_taken_for_a_failing_symbol() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        carried_out(planned(10, 98), Exchange({"S3USDT": ZeroDivisionError()}))
    assert isinstance(raised.value.exceptions[0], ZeroDivisionError)


def test_nothing_to_do_is_done_at_once() -> None:
    summary, steps = carried_out(plan((), FRAMES, 5, cap=None, used=0, now=0), Exchange({}))

    assert (summary.requests, summary.seconds, summary.ms_per_symbol, steps) == (0, 0.0, 0.0, [])
