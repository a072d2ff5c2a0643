"""Numbers beside the klines: what a closed bar holds, what comes too late, and what readers are told of."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pytest
from tests.unit.panel.model import SCALE, market, words

from klinehub.domain.timeframe import in_order, timeframe
from klinehub.errors import DefinitionError, UnknownName
from klinehub.panel.beside import Beside
from klinehub.panel.history import History
from klinehub.panel.memory import F64
from klinehub.panel.merge import merge_closed
from klinehub.panel.ring import Ring
from klinehub.panel.view import BESIDE, PLANES, WIDE

MINUTE: Final = timeframe("1m")
# The first minute of a five-minute bar.
START: Final = 28_333_335
BARS: Final = 20
FIELDS: Final = ("mark_price", "funding_rate")
NAN: Final = float("nan")


@pytest.fixture
def ring() -> Ring:
    made = Ring(in_order(["1m", "5m"]), rows=3, bars=BARS, beside=FIELDS)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        made.add(symbol, SCALE)
    return made


@pytest.fixture
def beside(ring: Ring) -> Beside:
    assert ring.beside is not None
    return ring.beside


def close(ring: Ring, start: int = 0, count: int = 1, row: int = 0) -> None:
    """Close minutes of a row, counted from START, and what is built from them."""
    for bar in market(MINUTE, START + start, count, 11, quiet=0.0):
        merge_closed(ring.memory, 0, row, words(bar))
        ring.lift(0, row, bar.open_time)


def at(minute: float) -> int:
    """Give a time (ms) so many minutes after START."""
    return int((START + minute) * 60_000)


def tell(beside: Beside, minute: float, price: float, funding: float = 1e-4, row: int = 0) -> int:
    numbers = np.array([[price], [funding]])
    return beside.tell(FIELDS, np.array([row]), np.array([at(minute)]), numbers)


def shown(
    ring: Ring, length: int, last: int = -1, frame: str = "1m", name: str = "mark_price"
) -> list[float]:
    """Give what the panel shows of the first row, to so many minutes after START."""
    panel = ring.panel(frame)
    bar = panel.closed_bar if last < 0 else START + last
    values: list[float] = panel.cube(bar, length, np.array([0]), beside=(name,))[WIDE.index(name), 0].tolist()
    return values


def same(one: Sequence[float], other: Sequence[float]) -> bool:
    return np.array_equal(one, other, equal_nan=True)


def test_a_closed_bar_holds_what_was_told_last_inside_of_it(ring: Ring, beside: Beside) -> None:
    for minute, price in ((0.1, 10.0), (0.9, 11.0), (2.0, 12.0), (2.999, 13.0), (3.0, 14.0)):
        assert tell(beside, minute, price) == 0
    close(ring, 0, 3)

    assert same(shown(ring, 4), [NAN, 11.0, NAN, 13.0])


def test_larger_bars_hold_the_last_telling_of_their_own(ring: Ring, beside: Beside) -> None:
    for minute, price in ((0.5, 10.0), (3.5, 11.0), (5.0, 12.0)):
        tell(beside, minute, price)
    close(ring, 0, 5)

    assert shown(ring, 1, frame="5m") == [11.0]


def test_what_is_not_known_takes_the_place_of_what_was(ring: Ring, beside: Beside) -> None:
    tell(beside, 0.1, 10.0, 1e-4)
    tell(beside, 0.2, 10.0, NAN)
    close(ring)

    assert same(shown(ring, 1, name="funding_rate"), [NAN])


def test_a_bar_that_has_not_closed_shows_nothing(ring: Ring, beside: Beside) -> None:
    tell(beside, 0.5, 10.0)
    close(ring)
    tell(beside, 1.5, 11.0)

    assert same(shown(ring, 2, last=1), [10.0, NAN])


def test_a_closed_bar_does_not_change_by_what_is_told_late(ring: Ring, beside: Beside) -> None:
    tell(beside, 0.5, 10.0)
    close(ring)
    changes = ring.panel("1m").changes.tolist()

    assert tell(beside, 0.9, 11.0) == 1
    assert shown(ring, 1) == [10.0]
    assert ring.panel("1m").changes.tolist() == changes
    close(ring, 1, 4)
    assert shown(ring, 1, frame="5m") == [11.0]


def test_an_earlier_telling_does_not_replace_a_later_one(ring: Ring, beside: Beside) -> None:
    tell(beside, 0.5, 10.0)

    assert tell(beside, 0.4, 9.0) == 1
    close(ring)
    assert shown(ring, 1) == [10.0]


def test_rows_do_not_see_each_other(ring: Ring, beside: Beside) -> None:
    tell(beside, 0.5, 10.0)
    tell(beside, 0.5, 20.0, row=1)
    close(ring)

    cube = ring.panel("1m").cube(START, 1, beside=FIELDS)
    assert same(cube[WIDE.index("mark_price"), :, 0].tolist(), [10.0, NAN])


def test_a_slot_forgets_the_bar_that_it_held_a_round_before(ring: Ring, beside: Beside) -> None:
    tell(beside, 0.5, 10.0)
    close(ring, 0, BARS + 2)
    assert same(shown(ring, BARS), [NAN] * BARS)

    tell(beside, BARS + 2.5, 30.0)
    close(ring, BARS + 2)
    assert same(shown(ring, 2), [NAN, 30.0])
    assert same(shown(ring, 1, last=2), [NAN])


def test_a_history_may_come_late_and_is_a_change_only_where_somebody_has_read(
    ring: Ring, beside: Beside
) -> None:
    close(ring, 0, 4)
    panel = ring.panel("1m")
    before = panel.changes.copy()

    assert beside.put(0, "mark_price", 0, START, np.array([1.0, 2.0])) == 0
    assert same(shown(ring, 4), [1.0, 2.0, NAN, NAN])
    assert beside.put(0, "mark_price", 0, START + 1, np.array([2.0, 3.0, NAN])) == 1
    assert shown(ring, 3, last=2) == [1.0, 2.0, 3.0]
    assert (panel.changes - before).tolist() == [1, 0]
    assert beside.put(0, "mark_price", 0, START + 4, np.array([5.0])) == 0
    close(ring, 4)
    assert shown(ring, 1) == [5.0]


def test_planes_that_were_not_asked_for_are_unknown(ring: Ring, beside: Beside) -> None:
    tell(beside, 0.5, 10.0)
    close(ring)
    panel = ring.panel("1m")

    assert panel.cube(START, 1).shape == (len(PLANES), 2, 1)
    wide = panel.cube(START, 1, beside=("mark_price",))
    assert wide.shape == (len(WIDE), 2, 1)
    assert np.array_equal(wide[: len(PLANES)], panel.cube(START, 1), equal_nan=True)
    known = [name for name, value in zip(WIDE, wide[:, 0, 0], strict=True) if not np.isnan(value)]
    assert known == [*PLANES, "mark_price"]


def test_nothing_is_kept_that_nobody_asked_for() -> None:
    without = Ring(in_order(["1m"]), rows=2, bars=BARS)
    kept = Ring(in_order(["1m"]), rows=2, bars=BARS, beside=FIELDS)

    assert without.beside is None
    assert without.panel("1m").beside == ()
    assert kept.panel("1m").beside == FIELDS
    assert kept.bytes - without.bytes >= len(FIELDS) * 2 * BARS * 8


def history(told: dict[str, F64]) -> History:
    bars = np.arange(9.0 * 2 * 5).reshape(9, 2, 5)
    bars[:, 1, 2] = NAN
    return History(MINUTE, ["A", "B"], START, bars, told)


def test_a_history_gives_what_was_told_where_it_has_bars() -> None:
    told = history({"open_interest": np.arange(10.0).reshape(2, 5)})
    place = WIDE.index("open_interest")

    assert told.beside == ("open_interest",)
    assert same(told.cube(START + 5, 3, beside=told.beside)[place, 1].tolist(), [8.0, 9.0, NAN])
    part = told.head(START + 3).since(START + 1).cube(START + 4, 5, np.array([1]), beside=told.beside)
    assert same(part[place, 0].tolist(), [NAN, 6.0, NAN, 8.0, NAN])
    assert told.cube(START + 4, 2).shape == (len(PLANES), 2, 2)


def test_a_history_refuses_what_fits_no_bar() -> None:
    with pytest.raises(UnknownName, match=r"mark_pric.*mark_price"):
        history({"mark_pric": np.zeros((2, 5))})
    with pytest.raises(DefinitionError, match=r"mark_price has the shape \(2, 4\)"):
        history({"mark_price": np.zeros((2, 4))})


def test_every_field_beside_the_klines_says_what_keeps_it() -> None:
    assert all(setting.startswith("market.") for setting in BESIDE.values())
