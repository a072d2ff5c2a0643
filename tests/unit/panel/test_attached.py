"""Attached panels: what the hub has, never half written, and another hub's once that one has gone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.panel.model import SCALE, exact, market, words
from tests.unit.panel.sharing import FRAMES, LATER, NOON, START, SYMBOLS, Machine

from klinehub.domain.kline import Scale
from klinehub.domain.stale import Reason, Stale
from klinehub.errors import DataError, DefinitionError, NoHub, UnknownName
from klinehub.panel.attached import GONE, LATE, PAUSES, Attached, AttachedPanel
from klinehub.panel.memory import OPEN
from klinehub.panel.merge import merge_closed, merge_forming
from klinehub.panel.sequence import close_row, open_row
from klinehub.panel.shared import SharedRing


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "panel"


@pytest.fixture
def ring(machine: Machine, path: Path) -> SharedRing:
    made = machine.ring(path)
    half = words(market(FRAMES[0], START + 30, 1, 8, quiet=0.0)[0])
    merge_forming(made.memory, 0, 0, half, LATER)
    made.lift(0, 0, -1)
    return made


@pytest.fixture
def attached(machine: Machine, ring: SharedRing) -> Attached:
    return machine.attach(ring.path)


@pytest.mark.parametrize("name", ["1m", "5m", "15m"])
@pytest.mark.parametrize("limit", [0, 1, 7, 40, 10_000])
@pytest.mark.parametrize("forming", [True, False])
def test_klines_are_those_of_the_hub(
    ring: SharedRing, attached: Attached, name: str, limit: int, *, forming: bool
) -> None:
    for symbol in SYMBOLS:
        got = attached[name].klines(symbol, limit, forming=forming)

        assert got.tobytes() == ring.panel(name).klines(symbol, limit, forming=forming).tobytes()
        assert got.flags.owndata or got.base is not None
        assert got.stale is None


@given(st.lists(st.integers(START, START + 60), max_size=30), st.integers(0, 45), st.booleans())
def test_whatever_was_written_is_read_as_the_hub_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    indexes: list[int],
    limit: int,
    forming: bool,  # noqa: FBT001 - drawn
) -> None:
    machine = Machine()
    ring = machine.ring(tmp_path_factory.mktemp("any") / "panel", filled=1)
    for at, index in enumerate(indexes):
        bar = words(market(FRAMES[0], index, 1, index, quiet=0.2)[0])
        if at % 3:
            merge_closed(ring.memory, 0, 0, bar)
        else:
            merge_forming(ring.memory, 0, 0, bar, LATER + at)
        ring.lift(0, 0, int(bar[0]) if at % 3 else -1)
    attached = machine.attach(ring.path)
    for name in attached:
        mine, hubs = attached[name], ring.panel(name)

        assert (
            mine.klines("BTCUSDT", limit, forming=forming).tobytes()
            == hubs.klines("BTCUSDT", limit, forming=forming).tobytes()
        )
        assert_same_panel(mine, hubs)


def assert_same_panel(mine: AttachedPanel, hubs: Any) -> None:
    """Compare all that factors read of a panel."""
    bar = hubs.closed_bar
    rows = np.array([1, 0])

    assert (mine.symbols, mine.bars, mine.closed_bar) == (hubs.symbols, hubs.bars, bar)
    for name in ("changes", "complete_from"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(hubs, name))
    np.testing.assert_array_equal(mine.cube(bar, 12), hubs.cube(bar, 12))
    np.testing.assert_array_equal(mine.cube(bar, 3, rows), hubs.cube(bar, 3, rows))
    np.testing.assert_array_equal(mine.open_cube(bar + 1, 5), hubs.open_cube(bar + 1, 5))
    for symbol in mine.symbols:
        assert mine.newest_closed(symbol) == hubs.newest_closed(symbol)


def test_all_that_factors_read_is_the_same(ring: SharedRing, attached: Attached) -> None:
    for name in attached:
        assert_same_panel(attached[name], ring.panel(name))


def test_exact_bars_are_those_of_the_hub(ring: SharedRing, attached: Attached) -> None:
    for forming in (False, True):
        got, hubs = (
            panel.exact("BTCUSDT", start=START + 3, end=START + 30, forming=forming)
            for panel in (attached["1m"], ring.panel("1m"))
        )

        assert got.rows.tobytes() == hubs.rows.tobytes()
        assert got.scale == hubs.scale


def test_a_wider_scale_is_read_with_the_bars_that_have_it(ring: SharedRing, attached: Attached) -> None:
    before = attached["5m"].klines("BTCUSDT", 5).copy()
    ring.rescale(0, Scale(2, 6, 8))

    assert attached["5m"].exact("BTCUSDT", start=0, end=LATER).scale == Scale(2, 6, 8)
    np.testing.assert_array_equal(attached["5m"].klines("BTCUSDT", 5), before)


def reads(panel: AttachedPanel) -> dict[str, Callable[[], Any]]:
    """Give each way to read a row."""
    return {
        "klines": lambda: panel.klines("BTCUSDT", 5, forming=True)[-1]["open"],
        "exact": lambda: panel.exact("BTCUSDT", start=0, end=LATER, forming=True).rows[-1]["open"],
        "cube": lambda: panel.cube(START + 29, 2)[0, 0, -1],
        "open_cube": lambda: panel.open_cube(START + 30, 2)[0, 0, -1],
        "closed_bar": lambda: panel.closed_bar,
        "complete_from": lambda: panel.complete_from[0],
    }


@pytest.mark.parametrize("way", ["klines", "exact", "cube", "open_cube", "closed_bar", "complete_from"])
def test_a_row_that_is_never_whole_is_not_read(
    machine: Machine, ring: SharedRing, attached: Attached, way: str
) -> None:
    read = reads(attached["1m"])[way]
    open_row(ring.memory.sequence, 0, 0)

    with pytest.raises(DataError, match=r"BTCUSDT 1m was being written at each of 12,800 attempts"):
        read()
    assert machine.pauses == PAUSES


@pytest.mark.parametrize("way", ["klines", "exact", "open_cube"])
def test_a_row_is_read_once_its_writer_goes_on(
    machine: Machine, ring: SharedRing, attached: Attached, way: str
) -> None:
    memory = ring.memory
    open_row(memory.sequence, 0, 0)
    memory.floats[0, 0, (START + 30) % 40, OPEN] = -1.0

    def written() -> None:
        if machine.pauses == 3:
            memory.floats[0, 0, (START + 30) % 40, OPEN] = 7.0
            close_row(memory.sequence, 0, 0)

    machine.on_pause = written

    assert reads(attached["1m"])[way]() == 7.0
    assert machine.pauses == 3


def test_other_rows_are_read_while_one_is_written(
    machine: Machine, ring: SharedRing, attached: Attached
) -> None:
    open_row(ring.memory.sequence, 0, 0)

    assert attached["1m"].klines("币安人生USDT", 30).size == 30
    assert attached["5m"].klines("BTCUSDT", 3).size == 3
    assert machine.pauses == 0


def test_a_view_says_which_rows_were_written_since(ring: SharedRing, attached: Attached) -> None:
    view = attached["1m"].view()
    hubs = ring.panel("1m").exact("BTCUSDT", start=START + 20, end=START + 29)
    fresh = view.valid()
    bar = words(market(FRAMES[0], START + 30, 1, 5)[0])
    merge_closed(ring.memory, 0, 1, bar)

    assert fresh
    assert view.rows.shape == (3, 40)
    assert view.rows[0, view.slots(START + 29, 10)].tobytes() == hubs.rows.tobytes()
    assert (view.valid(), view.overwritten().tolist()) == (False, [False, True, False])
    assert view.newest.tolist() == [START + 30, START + 30, -1]
    assert attached["1m"].view().valid()
    with pytest.raises(ValueError, match="read-only"):
        view.rows["open"][0] = 1.0


def test_a_view_of_a_row_that_is_open_is_not_valid(ring: SharedRing, attached: Attached) -> None:
    open_row(ring.memory.sequence, 0, 0)
    view = attached["1m"].view()
    close_row(ring.memory.sequence, 0, 0)

    assert view.overwritten().tolist() == [True, False, False]


def test_symbols_that_come_are_seen(ring: SharedRing, attached: Attached) -> None:
    panel = attached["1m"]
    with pytest.raises(UnknownName, match="Did you mean 'ETHUSDT'"):
        panel.klines("ETHUSDC", 3)
    ring.add("ETHUSDC", SCALE)
    ring.load(0, 3, exact(market(FRAMES[0], START, 3, 1)), LATER)

    assert panel.klines("ETHUSDC", 3).size == 3
    assert attached.symbols == panel.symbols == (*SYMBOLS, "ETHUSDC")


def test_what_is_stale_is_said(machine: Machine, ring: SharedRing, attached: Attached) -> None:
    ring.memory.stale[0] = Reason.LOST, 77
    lost = Stale(Reason.LOST.text, 77)

    assert attached["5m"].klines("BTCUSDT", 3).stale == attached["5m"].stale("BTCUSDT") == lost
    assert attached["5m"].stale("ETHUSDT") is None
    machine.seconds += LATE + 0.1
    assert attached["5m"].stale("ETHUSDT") == Stale(Reason.CLOCK.text, NOON)
    assert attached["5m"].stale("BTCUSDT") == lost


def test_the_time_goes_on_between_two_beats(machine: Machine, attached: Attached) -> None:
    machine.seconds += 1.5

    assert attached.now == NOON + 15_000


def test_it_shows_what_it_holds(machine: Machine, ring: SharedRing, attached: Attached) -> None:
    assert repr(attached) == "<Attached 3 symbols, 1m 5m 15m, 40 bars>"
    assert repr(attached["5m"]) == "<AttachedPanel 5m, 3 symbols>"
    assert (list(attached), len(attached), attached.timeframes) == (["1m", "5m", "15m"], 3, FRAMES)
    ring.end()
    assert repr(attached) == "<Attached 3 symbols, 1m 5m 15m, 40 bars, its hub has gone>"
    assert not attached.alive


def test_what_cannot_be_read_is_refused(attached: Attached) -> None:
    with pytest.raises(UnknownName, match="Did you mean '5m'"):
        attached["5M"]
    with pytest.raises(DefinitionError, match="give 0 or more"):
        attached["5m"].klines("BTCUSDT", -1)
    with pytest.raises(DefinitionError, match="mark_price: not shared"):
        attached["5m"].cube(START, 3, beside=("mark_price",))


@pytest.mark.parametrize("end", ["closed", "killed", "rebooted"])
def test_reads_go_on_with_the_next_hub(
    machine: Machine, ring: SharedRing, attached: Attached, end: str
) -> None:
    panel, by_rows = attached["1m"], attached["1m"]
    if end == "closed":
        ring.end()
    machine.seconds += {"closed": 0.0, "killed": GONE + 1, "rebooted": -100.0}[end]
    with pytest.raises(NoHub, match="start one with `klinehub run`"):
        panel.klines("BTCUSDT", 3)
    again = machine.ring(ring.path, generation=2, symbols=("XRPUSDT", "BTCUSDT"))

    assert panel.klines("BTCUSDT", 9).tobytes() == again.panel("1m").klines("BTCUSDT", 9).tobytes()
    assert panel.symbols == attached.symbols == ("XRPUSDT", "BTCUSDT")
    with pytest.raises(NoHub, match="attach anew"):
        by_rows.cube(START + 29, 3)
    assert attached["1m"].cube(START + 29, 3).shape == (9, 2, 3)


def test_one_can_attach_anew_at_once(machine: Machine, ring: SharedRing, attached: Attached) -> None:
    machine.ring(ring.path, generation=2)
    attached.reattach()

    assert attached.run.generation == 2


def test_a_hub_that_stopped_is_none(machine: Machine, ring: SharedRing) -> None:
    machine.seconds += 60.0

    with pytest.raises(NoHub, match="not heard for 60 s"):
        machine.attach(ring.path)


def test_a_timeframe_that_the_next_hub_does_not_keep(
    machine: Machine, ring: SharedRing, attached: Attached
) -> None:
    panel = attached["5m"]
    ring.end()
    later = SharedRing(FRAMES[:1], path=ring.path, generation=2, rows=1, bars=4)
    later.beat(machine.seconds, NOON, 1.0)

    with pytest.raises(UnknownName, match="timeframe"):
        panel.klines("BTCUSDT", 1)
