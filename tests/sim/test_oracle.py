"""The oracle itself: it is silent where all is well, and each invariant speaks up when it is broken."""

import asyncio

import pytest
from tests.sim.worlds import HOUR, World, play

from klinehub.dialect.params import Rejected
from klinehub.domain.stale import Stale
from klinehub.domain.timeframe import MINUTE, timeframe
from klinehub.feed.decisions import BarClosed, Correction
from klinehub.hub import Hub
from klinehub.panel.memory import CLOSE, OPEN_TIME
from klinehub.sim.closes import Announced
from klinehub.sim.oracle import Divergence, Remembering, Truth, Watch, settled
from klinehub.sim.spending import Spending, WatchedNetwork
from klinehub.sim.synthetic import synthetic

pytestmark = pytest.mark.timeout(120)

BASE = timeframe("1m")


def kinds(found: list[Divergence]) -> set[str]:
    return {one.kind for one in found}


def watching(made: World) -> tuple[Watch, int]:
    """Begin to watch a hub in which all is well."""
    watch, now = Watch(made.hub, Truth(made.market)), made.clock.now()
    assert watch.look(now) == []
    return watch, now


def cell(made: World, back: int = 1) -> tuple[int, int, int]:
    """Give where the first symbol's 1m bar that ended *back* bars ago lies."""
    return 0, 0, (BASE.index(made.clock.now()) - back) % made.hub.ring.bars


def test_a_hub_that_is_right_is_left_alone() -> None:
    async def act(made: World) -> None:
        watch, _ = watching(made)
        for _ in range(150):
            await asyncio.sleep(1)
            now = made.clock.now()
            assert watch.look(now) == []
            assert watch.read(made.hub.symbols[0], BASE, 20, now) == []
            assert all(watch.lacking(symbol, now) < 1_000 for symbol in made.hub.symbols)
        assert settled(made.hub, watch.truth, list(made.hub.symbols), made.clock.now()) == []

    play(act, start=HOUR - 90_000)


def test_a_closed_bar_that_is_not_the_truth_is_seen() -> None:
    async def act(made: World) -> None:
        made.hub.ring.memory.floats[(*cell(made), CLOSE)] *= 1.01
        found = Watch(made.hub, Truth(made.market)).look(made.clock.now())
        assert [one.kind for one in found] == ["I1"]
        assert "close" in found[0].detail

    play(act)


def test_a_bar_closed_before_its_end_is_seen() -> None:
    async def act(made: World) -> None:
        watch, now = watching(made)
        made.hub.ring.memory.state[cell(made, 0)] = 2
        assert "I2" in kinds(watch.look(now))

    play(act)


def test_a_closed_bar_changes_only_with_a_record() -> None:
    async def act(made: World) -> None:
        watch, now = watching(made)
        symbol, memory, place = made.hub.symbols[0], made.hub.ring.memory, cell(made)
        time = int(memory.cells[(*place, OPEN_TIME)])
        old = made.hub.panel("1m").exact(symbol, start=BASE.index(time), end=BASE.index(time))
        market = made.market
        assert isinstance(market, Remembering)
        assert market.correct(symbol, time, price_only=False)
        new = market.klines(market.index[symbol], BASE, BASE.index(time), BASE.index(time), now)
        made.hub.ring.correct(0, 0, new)
        # The larger bars that hold it have changed with it.
        assert kinds(watch.look(now)) == {"I3"}
        made.hub.ring.correct(0, 0, old)
        made.hub.corrections.append(Correction(symbol, "1m", time, new, old, "a test", now))
        assert kinds([one for one in watch.look(now) if one.timeframe == "1m"]) == {"I1"}
        made.hub.ring.correct(0, 0, new)
        made.hub.corrections.append(Correction(symbol, "1m", time, old, new, "a test", now + 1))
        assert [one for one in watch.look(now) if one.timeframe == "1m"] == []

    play(act)


def test_a_closed_bar_that_is_gone_is_seen() -> None:
    async def act(made: World) -> None:
        watch, now = watching(made)
        made.hub.ring.memory.state[cell(made, 5)] = 0
        assert kinds(watch.look(now)) == {"I3"}

    play(act)


def test_what_a_symbol_lacks_is_known_to_the_quarter_second() -> None:
    async def act(made: World) -> None:
        watch, _ = watching(made)
        await asyncio.sleep(5)
        for link in made.streams:
            link.stall()
        await asyncio.sleep(2.5)
        lacks = [watch.lacking(symbol, made.clock.now()) for symbol in made.hub.symbols]
        assert 1_750 <= max(lacks) <= 2_600

    play(act, start=HOUR + 5_000)


def test_a_hole_in_a_read_of_a_fresh_symbol_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(made: World) -> None:
        watch, now = watching(made)
        symbol = made.hub.symbols[0]
        made.hub.ring.memory.state[cell(made, 5)] = 0
        monkeypatch.setattr(Hub, "stale", lambda *_: None)
        assert kinds(watch.read(symbol, BASE, 20, now)) == {"I7"}
        assert watch.read(symbol, BASE, 20, now, now - 5_000) == []
        monkeypatch.setattr(Hub, "stale", lambda *_: Stale("a test", 0))
        assert watch.read(symbol, BASE, 20, now) == []
        made.hub.ring.memory.cells[(*cell(made, 3), OPEN_TIME)] -= MINUTE
        assert kinds(watch.read(symbol, BASE, 20, now)) == {"I7"}

    play(act)


def test_at_the_end_every_bar_is_there_true_and_no_other() -> None:
    async def act(made: World) -> None:
        await asyncio.sleep(30)
        truth, now, memory = Truth(made.market), made.clock.now(), made.hub.ring.memory
        symbols = list(made.hub.symbols)

        def details() -> list[str]:
            return [one.detail for one in settled(made.hub, truth, symbols, now)]

        assert details() == []
        state = memory.state.copy()
        memory.state[cell(made, 7)] = 0
        assert details() == ["missing"]
        memory.state[:] = state
        memory.floats[(*cell(made, 7), CLOSE)] += 1
        assert details()[0].startswith("close ")
        memory.floats[(*cell(made, 7), CLOSE)] -= 1
        memory.state[cell(made, 0)] = 2
        assert details() == ["a bar that the exchange does not have"]
        memory.state[:] = state
        memory.stale[0] = (3, now)
        symbols.append("NOSUCHUSDT")
        assert details() == ["the symbol is not followed", "the symbol is still stale"]

    play(act)


def closed(made: World, name: str, back: int, *, complete: bool = True) -> BarClosed:
    frame = made.hub.panel(name).timeframe
    bar = frame.index(made.clock.now()) - back
    return BarClosed(name, bar, frame.open_time(bar), complete, ())


@pytest.mark.parametrize(
    ("events", "detail"),
    [
        ([("1m", 0)], "announced before its end"),
        ([("1m", 2), ("1m", 2)], "announced twice"),
        ([("1m", 4), ("1m", 2)], "announced after 1 bars that were not"),
        ([("1m", 1), ("1h", 1)], "announced out of order"),
    ],
)
def test_announcements_come_once_in_order_after_the_end(events: list[tuple[str, int]], detail: str) -> None:
    async def act(made: World) -> None:
        announced = Announced(made.hub, Truth(made.market))
        taken = [announced.take(closed(made, *event), made.clock.now()) for event in events]
        assert taken[:-1] == [[]] * (len(events) - 1)
        assert detail in [one.detail for one in taken[-1]]

    play(act, start=HOUR + 200)


def test_a_complete_announcement_is_held_against_what_is_there() -> None:
    async def act(made: World) -> None:
        announced, now = Announced(made.hub, Truth(made.market)), made.clock.now()
        assert announced.take(closed(made, "1m", 3), now) == []
        made.hub.ring.memory.state[cell(made, 2)] = 0
        assert "without" in announced.take(closed(made, "1m", 2), now)[0].detail
        assert announced.take(closed(made, "1m", 1), now) == []
        assert announced.untold(now, now) == []
        assert {one.timeframe for one in announced.untold(0, now + 2 * MINUTE)} == {"1m", "5m", "15m", "1h"}

    play(act)


def test_weight_beyond_the_budget_is_seen_once_a_minute() -> None:
    spending = Spending(100, 80)
    for _ in range(9):
        spending.spend("here", 10, HOUR)
    spending.spend("here", 10, HOUR + MINUTE)
    assert [(one.kind, one.open_time) for one in spending.found] == [("I5", HOUR)]
    with pytest.raises(Rejected):
        spending.spend("here", 100, HOUR + MINUTE)


def test_a_request_during_a_known_ban_is_seen() -> None:
    async def act(made: World) -> None:
        spending = Spending(2400, 2400)
        network = WatchedNetwork(made.clock, spending)
        tally = made.served.exchange.tally
        tally.account("127.0.0.1", made.clock.now()).banned_until = made.clock.now() + 30_000
        async with network.session(made.served.rest_url, timeout=5) as session:
            for wait in (0, 40, 0):
                await asyncio.sleep(wait)
                async with session.get(f"{made.served.rest_url}/fapi/v1/time"):
                    pass
            assert spending.found == []
            tally.account("127.0.0.1", made.clock.now()).banned_until = made.clock.now() + 30_000
            for _ in range(2):
                async with session.get(f"{made.served.rest_url}/fapi/v1/time"):
                    pass
        assert [one.kind for one in spending.found] == ["I5"]

    play(act)


def test_every_form_that_a_bar_has_had_is_known() -> None:
    market = Remembering(synthetic(2, 1, start=HOUR, churn_hours=0))
    truth, symbol, five, now = (
        Truth(market),
        market.instruments[0].symbol,
        timeframe("5m"),
        HOUR + 10 * MINUTE,
    )
    index = five.index(HOUR)
    first = truth.bars(symbol, five, index, index, now)[HOUR]
    assert truth.ever(symbol, five, index, now) == {first: ()}
    for minute in (HOUR + MINUTE, HOUR + 3 * MINUTE):
        assert market.correct(symbol, minute, price_only=False)
    forms = truth.ever(symbol, five, index, now)
    assert len(forms) == 4
    assert next(iter(forms)) == truth.bars(symbol, five, index, index, now)[HOUR]
    assert forms[first] == (0, 0)
