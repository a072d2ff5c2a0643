"""Market data of the unmodified hub on virtual time: what bars know, cuts, silence, refusals and scans."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import pytest
from tests.sim.test_hub_scans import told
from tests.sim.worlds import HOUR, SYMBOLS, Place, World, play

from klinehub.dialect.params import Rejected
from klinehub.domain.timeframe import MINUTE
from klinehub.factors.expr import field
from klinehub.factors.stock import stock_factor
from klinehub.feed.market_data import ASK_AGAIN, MARK_FIELDS, MarketData
from klinehub.panel.history import History
from klinehub.panel.memory import F64, I64
from klinehub.panel.view import BESIDE, WIDE
from klinehub.scan.scanner import Scanner
from klinehub.scan.screen import Screen
from klinehub.sim.rest import SimRest

pytestmark = pytest.mark.timeout(120)

EVERY: Final = 60.0
PAID: Final = Screen(
    name="paid",
    timeframe="1m",
    where=field("funding_rate").known(),
    columns={"basis": stock_factor("basis")(), "change": stock_factor("open_interest_change")(n=2)},
    order_by=-stock_factor("funding")().abs(),
)


class Tape:
    """What was told to a hub since it was put in, by field, timeframe, row and bar."""

    def __init__(self, made: World) -> None:
        self.ring = made.hub.ring
        assert self.ring.beside is not None
        self.beside = self.ring.beside
        self.cells: dict[tuple[str, int, int, int], float] = {}
        self._tell = self.beside.tell
        self.begun = made.hub.now()
        self.beside.tell = self.tell  # type: ignore[method-assign]

    def tell(self, fields: Any, rows: I64, times: I64, values: F64) -> int:
        late = self._tell(fields, rows, times, values)
        for n, (row, time) in enumerate(zip(rows.tolist(), times.tolist(), strict=True)):
            for t, frame in enumerate(self.ring.timeframes):
                index = frame.index(time)
                if not self.ring.is_closed(t, row, index):
                    self.cells.update({(f, t, row, index): values[i, n] for i, f in enumerate(fields)})
        return late

    def assert_shown(self) -> int:
        """Hold every closed bar that began with the tape against it; gives how many numbers there were."""
        known = 0
        for t, frame in enumerate(self.ring.timeframes):
            panel, first = self.ring.panel(frame.name), frame.index(self.begun) + 1
            length = panel.closed_bar - first + 1
            if length < 1:
                continue
            cube = panel.cube(panel.closed_bar, length, beside=panel.beside)
            for name in panel.beside:
                expected = np.full(cube.shape[1:], np.nan)
                for (f, at, row, index), value in self.cells.items():
                    if (f, at) == (name, t) and first <= index <= panel.closed_bar:
                        expected[row, index - first] = value
                assert np.array_equal(cube[WIDE.index(name)], expected, equal_nan=True), (name, frame.name)
                known += int(np.isfinite(expected).sum())
        return known


def market_data(made: World) -> MarketData:
    found = made.hub.live.market_data
    assert found is not None
    return found


def minutes(made: World, name: str, count: int) -> F64:
    """Give a field's values [symbols, bars] at the last closed minutes."""
    panel = made.hub.panel("1m")
    values: F64 = panel.cube(panel.closed_bar, count, beside=(name,))[WIDE.index(name)]
    return values


def test_closed_bars_of_all_timeframes_know_what_was_told_last() -> None:
    async def act(made: World) -> None:
        tape = Tape(made)
        await asyncio.sleep(12 * 60)
        assert tape.assert_shown() > SYMBOLS * 4 * 10
        marks, closes = minutes(made, "mark_price", 10), made.hub.panel("1m")
        assert marks == pytest.approx(closes.cube(closes.closed_bar, 10)[3], rel=5e-3)
        assert np.abs(minutes(made, "index_price", 10) / marks - 1.0).max() < 1e-2
        assert (np.abs(minutes(made, "funding_rate", 10)) < 3e-2).all()
        assert (minutes(made, "open_interest", 10) > 0).all()
        assert len(set(minutes(made, "open_interest", 10)[0].tolist())) > 5
        stats = made.hub.get_stats()
        assert stats["fresh_marks"] == SYMBOLS
        rounds = 12 * 60 / EVERY / 0.9
        assert SYMBOLS * (rounds - 1) <= int(stats["open_interest_polls"]) <= SYMBOLS * (rounds + 2)
        odd = ("told_failures", "told_unread", "told_astray", "mark_reconnects", "reconnects")
        assert {name: stats[name] for name in odd} == dict.fromkeys(odd, 0)
        made.assert_true()

    play(act, start=HOUR - 100_000, marks=True, open_interest=EVERY)


@pytest.mark.parametrize("fault", ["reset", "cut"])
def test_a_stream_of_marks_that_is_cut_comes_back_and_klines_do_not_notice(fault: str) -> None:
    async def act(made: World) -> None:
        tape = Tape(made)
        await asyncio.sleep(95)
        seat = market_data(made).seat
        assert seat is not None
        getattr(made.streams[-1], fault)()
        await asyncio.sleep(0.1)
        assert not seat.up
        await asyncio.sleep(205)
        assert seat.up
        assert tape.assert_shown() > 0
        assert np.isfinite(minutes(made, "mark_price", 4)).all()
        stats = made.hub.get_stats()
        assert (stats["mark_reconnects"], stats["reconnects"], stats["stale_symbols"]) == (1, 0, 0)

    play(act, marks=True)


def test_a_stream_of_marks_is_replaced_without_a_gap() -> None:
    async def act(made: World) -> None:
        tape, seat = Tape(made), market_data(made).seat
        assert seat is not None
        await asyncio.sleep(40)
        seat.renew("it is due", overlap=True)
        for _ in range(100):
            await asyncio.sleep(1)
            assert made.hub.get_stats()["fresh_marks"] == SYMBOLS
        assert (seat.rotations, seat.reconnects, seat.given_up) == (1, 0, 0)
        assert tape.assert_shown() > 0

    play(act, marks=True)


def test_a_silent_stream_is_stirred_while_rest_fills_in() -> None:
    async def act(made: World) -> None:
        exchange: Any = made.served.exchange
        await asyncio.sleep(30)
        names = list(made.hub.live.seats[0].names)
        silent = made.streams[-1]
        with patch.object(exchange._tellers, "_marks", lambda _: []):
            await asyncio.sleep(150)
            assert np.isfinite(minutes(made, "mark_price", 2)).all()
            told_at = made.hub.ring.beside.told("mark_price")[:SYMBOLS]  # type: ignore[union-attr]
            assert (made.hub.now() - told_at <= (ASK_AGAIN + 3) * 1000).all()
        assert silent not in made.streams
        await asyncio.sleep(60)
        assert made.hub.get_stats()["fresh_marks"] == SYMBOLS
        assert made.hub.live.seats[0].names == tuple(names)
        assert made.hub.get_stats()["reconnects"] == 0

    play(act, marks=True)


def refuse(*_: Any) -> bytes:
    raise Rejected(-1000, "An unknown error occurred while processing the request.")


def without(*paths: str) -> Any:
    """Refuse these requests from now on."""
    return patch.dict(SimRest.routes, dict.fromkeys((f"/fapi/v1/{path}" for path in paths), refuse))


def test_what_rest_refuses_is_counted_and_the_rest_goes_on() -> None:
    async def act(made: World) -> None:
        await asyncio.sleep(130)
        stats = made.hub.get_stats()
        assert int(stats["told_failures"]) > SYMBOLS
        assert "An unknown error occurred" in str(stats["told_failure"])
        assert stats["funding_known"] == 0
        assert np.isfinite(minutes(made, "mark_price", 2)).all()
        assert np.isnan(minutes(made, "funding_rate", 2)).all()
        made.assert_true()

    with without("openInterest", "fundingInfo", "premiumIndex"):
        play(act, marks=True, open_interest=EVERY)


def test_polls_leave_the_budget_to_everybody_else() -> None:
    """A round that would take all of the budget takes the share of polls, a tenth."""

    async def act(made: World) -> None:
        before = dict(made.weights)
        await asyncio.sleep(5 * 60)
        spent = [weight - before.get(minute, 0) for minute, weight in sorted(made.weights.items())]
        assert max(spent[-4:]) <= 60 + 30
        assert min(spent[-4:-1]) >= 55
        assert made.refusals == 0

    play(act, place=Place(limit=600), open_interest=0.5)


def test_scans_of_it_are_those_of_a_replay() -> None:
    async def act(made: World) -> None:
        got = await told(made, 8 * 60, PAID)
        assert len(got) == 8
        hits = [one for scan in got[1:] for one in scan.result.results]
        assert len(hits) == 7 * SYMBOLS
        assert all(hit.columns["basis"] is not None for hit in hits)
        assert [hit.columns["change"] for hit in hits[-SYMBOLS:]] != [None] * SYMBOLS
        panel = made.hub.panel("1m")
        last, bars = panel.closed_bar, 12
        cube = panel.cube(last, bars, beside=panel.beside)
        beside: Mapping[str, F64] = {name: cube[WIDE.index(name)] for name in panel.beside}
        history = History(panel.timeframe, panel.symbols, last - bars + 1, cube[: -len(BESIDE)], beside)
        for scan in got:
            known = {"1m": history.head(scan.result.bar)}
            assert Scanner(known, [PAID]).scan(scan.result.bar)[0] == scan.result

    play(act, start=HOUR + 5_000, marks=True, open_interest=30.0)


def test_without_streams_what_is_told_at_the_start_stands_for_the_newest_bars() -> None:
    async def act(made: World) -> None:
        for frame in made.hub.timeframes:
            panel = made.hub.panel(frame.name)
            cube = panel.cube(panel.closed_bar, 2, beside=panel.beside)
            for name in (*MARK_FIELDS, "open_interest"):
                assert np.isfinite(cube[WIDE.index(name)]).tolist() == [[False, True]] * SYMBOLS
        assert made.streams == []
        assert made.hub.scan(PAID).result.signals_found == SYMBOLS

    play(act, marks=True, open_interest=EVERY, streams=False)


def test_a_hub_of_which_nothing_is_asked_asks_nothing() -> None:
    asked: list[str] = []

    def noted(path: str, answer: Any) -> Any:
        def note(*given: Any) -> Any:
            asked.append(path)
            return answer(*given)

        return note

    routes = {path: noted(path, answer) for path, answer in SimRest.routes.items()}

    async def act(made: World) -> None:
        await asyncio.sleep(2 * MINUTE / 1000)
        assert made.hub.live.market_data is None
        assert len(made.streams) == len(made.hub.live.seats) == 1
        assert not {name for seat in made.hub.live.seats for name in seat.names if "@kline_" not in name} - {
            "!contractInfo"
        }

    with patch.dict(SimRest.routes, routes):
        play(act)
    assert "/fapi/v1/exchangeInfo" in asked
    assert not {path for path in asked if path.endswith(("premiumIndex", "openInterest", "fundingInfo"))}
