"""A replay gives what a live scan gave, bit for bit, and knows nothing of what came later."""

from typing import Final

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from tests.unit.factors.markets import BASE, FIRST, HOUR, Live, histories

from klinehub.errors import DataError, DefinitionError
from klinehub.evidence.members import Listed, Told
from klinehub.evidence.pools import Threads
from klinehub.evidence.replay import Replayed, replay
from klinehub.evidence.tape import Tape, built, tape_of
from klinehub.factors import engine
from klinehub.factors.engine import usable
from klinehub.factors.expr import field
from klinehub.factors.stock import stock_factor
from klinehub.panel.history import History
from klinehub.scan.presets import preset
from klinehub.scan.scanner import Scanner, default_screen
from klinehub.scan.screen import Screen
from klinehub.scan.universe_history import Change

BARS: Final = 2_800
KEEP: Final = 560
FOREVER: Final = 2**60
pytestmark = pytest.mark.timeout(120)


def made(panels: dict[str, History]) -> Tape:
    symbols = panels["15m"].symbols
    listed = dict.fromkeys(symbols, FIRST * BASE.milliseconds)
    return Tape(panels, "store", symbols[0], listed)


@pytest.fixture(scope="module")
def tape() -> Tape:
    return made(histories(seed=3, symbols=12, bars=BARS))


@pytest.fixture(scope="module")
def screen(tape: Tape) -> Screen:
    return default_screen(tape.panels, "15m", min_score=10.0)


@pytest.fixture(scope="module")
def found(tape: Tape, screen: Screen) -> Replayed:
    return replay(screen, tape, 0, FOREVER)


def test_over_two_thousand_closes_live_and_replay_agree_in_every_bit(
    tape: Tape, screen: Screen, found: Replayed
) -> None:
    live = {name: Live(panel, KEEP) for name, panel in tape.panels.items()}
    scanner = Scanner(live, [screen], benchmark=tape.benchmark, listed=tape.listed)
    closes = range(KEEP, BARS)
    assert len(closes) >= 2_000

    wrong, seen = [], 0
    for at in closes:
        live["15m"].end, live["1h"].end = FIRST + at, usable(HOUR, BASE, FIRST + at)
        result = scanner.scan(FIRST + at)[0]
        told = {hit.symbol: hit.score for hit in result.results}
        rows = np.flatnonzero(found.hits[at])
        again = {found.symbols[row]: float(found.values[at, row]) for row in rows}
        seen += len(told)
        if told != again or result.symbols != found.judged[at].sum():
            wrong.append(at)
    assert wrong == []
    assert seen > 5_000


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_change_no_bit(
    tape: Tape, screen: Screen, found: Replayed, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klinehub.evidence.pools._PART", 500)
    told: list[int] = []
    other = replay(screen, tape, 0, FOREVER, pool=Threads(workers), progress=told.append)

    assert_array_equal(other.values, found.values)
    assert_array_equal(other.hits, found.hits)
    assert (sum(told), len(told) > workers) == (BARS, True)


def test_a_range_is_what_the_whole_has_there(tape: Tape, screen: Screen, found: Replayed) -> None:
    start, end = (BASE.open_time(FIRST + bar) for bar in (900, 1_700))
    part = replay(screen, tape, start, end)

    assert (part.first, part.bars) == (FIRST + 900, 800)
    assert_array_equal(part.values, found.values[900:1_700])


def differing(tape: Tape, screen: Screen, found: Replayed, cut: int) -> int:
    """Change all that comes after a bar, of every timeframe; say how many values up to it differ."""
    panels = {}
    for name, panel in tape.panels.items():
        planes = panel.planes.copy()
        last = usable(panel.timeframe, BASE, FIRST + cut)
        planes[:, :, last + 1 - panel.first :] *= 1.5
        panels[name] = History(panel.timeframe, panel.symbols, panel.first, planes)
    other = replay(screen, made(panels), 0, BASE.open_time(FIRST + cut) + 1)
    before = found.values[: cut + 1]
    return int(np.count_nonzero(~((other.values == before) | (np.isnan(other.values) & np.isnan(before)))))


@pytest.mark.parametrize("cut", [1_201, 1_202, 1_203, 1_204, 2_000])
def test_nothing_later_changes_a_value(tape: Tape, screen: Screen, found: Replayed, cut: int) -> None:
    assert differing(tape, screen, found, cut) == 0


def test_a_forming_bar_of_a_larger_timeframe_would_be_caught(
    tape: Tape, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted cheat: the hour that still runs instead of the one that has closed."""

    def forming(frame: object, main: object, bar: int) -> int:
        return bar // 4 if frame == HOUR else usable(frame, main, bar)  # type: ignore[arg-type] # as given

    monkeypatch.setattr(engine, "usable", forming)
    cheated = replay(screen, tape, 0, FOREVER)
    monkeypatch.undo()

    honest = replay(screen, tape, 0, FOREVER)
    assert (cheated.values != honest.values).sum() > 1_000
    monkeypatch.setattr(engine, "usable", forming)
    assert differing(tape, screen, cheated, 1_202) > 0


def test_a_future_bar_would_be_caught(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted cheat: a panel that gives the next bar's close for this one's."""
    momentum = Screen(name="m", timeframe="15m", order_by=-stock_factor("roc")())
    cube = History.cube

    def leaking(self: History, bar: int, length: int, *rest: object, **more: object) -> object:
        return cube(self, bar + 1, length, *rest, **more)  # type: ignore[arg-type] # as given

    honest = replay(momentum, tape, 0, FOREVER)
    assert differing(tape, momentum, honest, 1_202) == 0
    monkeypatch.setattr(History, "cube", leaking)
    assert differing(tape, momentum, replay(momentum, tape, 0, FOREVER), 1_202) > 0


def test_the_universe_is_that_of_the_time_and_not_todays(tape: Tape) -> None:
    """The planted cheat: today's members applied to the past would be hits before they came."""
    panel = tape.panels["15m"]
    names = panel.symbols[:3]
    changes = [
        Change(BASE.open_time(FIRST + 100), names[0], entered=True, why="turnover"),
        Change(BASE.open_time(FIRST + 1_000) + 1, names[1], entered=True, why="turnover"),
        Change(BASE.open_time(FIRST + 1_500), names[0], entered=False, why="turnover"),
    ]
    inside = Told(changes, "as recorded").of(panel, FIRST, BARS)

    assert inside[:, 0].nonzero()[0][[0, -1]].tolist() == [100, 1_499]
    assert inside[:, 1].nonzero()[0][0] == 1_000
    assert not inside[:, 2:].any()
    today = {symbol for row, symbol in enumerate(panel.symbols) if inside[-1, row]}
    assert today == {names[1]}
    assert not inside[:1_000, 1].any()


def test_who_has_no_bar_is_no_member(tape: Tape) -> None:
    panel = tape.panels["15m"]
    there = np.isfinite(panel.planes[3].T)

    assert not there.all()
    assert_array_equal(Listed().of(panel, FIRST, BARS), there)


def test_a_condition_an_order_and_a_preset_are_replayed_as_they_are_scanned(tape: Tape) -> None:
    surge = Screen(name="s", timeframe="15m", where=stock_factor("volume_surge")() > 1.5)
    found = replay(surge, tape, 0, FOREVER)
    assert set(np.unique(found.values[found.judged])) == {0.0, 1.0}
    assert_array_equal(found.hits, found.judged & (found.values == 1.0))

    ordered = replay(preset("mean_reversion", "15m"), tape, 0, FOREVER)
    value = replay(Screen(name="r", timeframe="15m", order_by=stock_factor("rsi")()), tape, 0, FOREVER)
    assert_array_equal(ordered.values, value.values)
    assert 0 < ordered.hits.sum() < ordered.judged.sum()


def test_a_screen_that_can_not_be_judged_and_a_time_without_bars_are_refused(tape: Tape) -> None:
    with pytest.raises(DefinitionError, match="neither a score"):
        replay(Screen(name="n", timeframe="15m", columns={"c": field("close")}), tape, 0, FOREVER)
    with pytest.raises(DefinitionError, match="15m, 1h"):
        replay(Screen(name="x", timeframe="4h", order_by=field("close")), tape, 0, FOREVER)
    with pytest.raises(DataError, match="no 15m bars"):
        replay(default_screen(tape.panels, "15m"), tape, 0, 1_000)


def test_larger_bars_are_built_of_all_parts_or_not_at_all(tape: Tape) -> None:
    base = tape.panels["15m"]
    whole = built(base, HOUR)

    assert_array_equal(whole.planes[:4], tape.panels["1h"].planes[:4])
    np.testing.assert_allclose(whole.planes[4:], tape.panels["1h"].planes[4:], rtol=1e-12)
    assert whole.first == tape.panels["1h"].first


def test_fingerprints_differ_with_any_bar_and_frames_are_built_on_demand(tape: Tape) -> None:
    base = tape.panels["15m"]
    other = History(base.timeframe, base.symbols, base.first, base.planes.copy())
    other.planes[3, 0, 17] *= 1.0000001
    plain, changed, again = (tape_of([panel], ["1h", "4h"], "files") for panel in (base, other, base))

    assert sorted(plain.panels) == ["15m", "1h", "4h"]
    assert plain.fingerprint() == again.fingerprint() != changed.fingerprint()
