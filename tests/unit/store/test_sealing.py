"""Sealing: days move into history and nothing is deleted that history does not hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from klinehub.domain.kline import CLOSED, ROW, Exact, Scale
from klinehub.domain.timeframe import DAY, Timeframe, timeframe
from klinehub.errors import StoreError
from klinehub.store.history import HistoryStore
from klinehub.store.hot import HotStore, Slice
from klinehub.store.sealing import SETTLED, Sealing, Stores
from klinehub.store.slices import Lines
from klinehub.store.sqlite import SqliteTables

HOUR: Final = timeframe("1h")
# 2026-01-30 00:00: two days later a month is over.
START: Final = 1_769_731_200_000
SCALE: Final = Scale(2, 3, 5)


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    hot = HotStore(SqliteTables(tmp_path / "hot.sqlite3", origin="fapi.test"))
    yield Stores(hot, HistoryStore(tmp_path / "history"))
    hot.tables.close()


def exact(times: range, price: float = 1.5) -> Exact:
    rows = np.zeros(len(times), ROW)
    rows["open_time"] = times
    for name in ("open", "high", "low", "close"):
        rows[name] = price
    rows["volume"], rows["trades"] = 7, 1
    return Exact(rows, SCALE)


def put(hot: HotStore, day: int, *, price: float = 1.5, hours: range = range(24), symbol: str = "A") -> None:
    """Keep hours of a day, counted from START."""
    number = np.array([hot.number(symbol, SCALE)])
    bars = exact(range(START + day * DAY, START + (day + 1) * DAY, HOUR.milliseconds), price)
    words = bars.rows.view(np.int64).reshape(-1, 10)
    first = HOUR.index(START + day * DAY)
    hot.commit([Slice(HOUR, first + n, Lines(number, np.array([CLOSED]), words[n : n + 1])) for n in hours])


def sealing(stores: Stores, keep: int = 30 * DAY) -> Sealing:
    return Sealing(stores, lambda _: keep)


def all_steps(work: Sealing, now: int) -> int:
    steps = 0
    while work.step(now):
        steps += 1
    return steps


def closes(source: HotStore | HistoryStore | None, frame: Timeframe = HOUR) -> dict[int, list[float]]:
    """Give closes of A by day, counted from START."""
    assert source is not None
    found: dict[int, list[float]] = {}
    for one in source.read(frame, ["A"], 0, START + 100 * DAY).values():
        for row in one.rows:
            found.setdefault((int(row["open_time"]) - START) // DAY, []).append(float(row["close"]))
    return found


def test_a_day_is_moved_once_it_is_over_and_settled(stores: Stores) -> None:
    put(stores.hot, 0)
    put(stores.hot, 1, hours=range(3))
    work = sealing(stores)

    assert all_steps(work, START + DAY + SETTLED - 1) == 0
    assert all_steps(work, START + DAY + SETTLED) == 1
    assert closes(stores.history) == {0: [1.5] * 24}
    assert closes(stores.hot) == {0: [1.5] * 24, 1: [1.5] * 3}
    assert (work.sealed, work.fault) == (1, "")


def test_a_correction_opens_its_day_again_and_is_written_as_one(stores: Stores) -> None:
    put(stores.hot, 0)
    all_steps(sealing(stores), START + 2 * DAY)
    put(stores.hot, 0, price=2.5, hours=range(5, 6))
    work = sealing(stores)

    assert all_steps(work, START + 2 * DAY) == 1
    assert closes(stores.history) == {0: [1.5] * 5 + [2.5] + [1.5] * 18}
    assert all_steps(work, START + 2 * DAY) == 0


def test_what_somebody_else_wrote_otherwise_is_not_overwritten_and_stays_here(stores: Stores) -> None:
    assert stores.history is not None
    stores.history.write(HOUR, {"A": exact(range(START, START + DAY, HOUR.milliseconds), 9.0)})
    put(stores.hot, 0)
    put(stores.hot, 1)
    work = sealing(stores, keep=DAY)
    all_steps(work, START + 20 * DAY)

    assert closes(stores.history) == {0: [9.0] * 24, 1: [1.5] * 24}
    assert closes(stores.hot)[0] == [1.5] * 24
    assert "A" in work.fault
    assert "1h" in work.fault


def test_what_is_old_is_deleted_only_once_it_is_sealed(stores: Stores) -> None:
    for day in range(4):
        put(stores.hot, day)
    work = sealing(stores, keep=2 * DAY)
    all_steps(work, START + 4 * DAY + SETTLED)

    assert set(closes(stores.hot)) == {2, 3}
    assert set(closes(stores.history)) == {0, 1, 2, 3}


@pytest.mark.parametrize(("expires", "left"), [(False, {0, 1, 2, 3}), (True, {2, 3})])
def test_without_history_old_days_are_deleted_only_where_that_is_wanted(
    stores: Stores, *, expires: bool, left: set[int]
) -> None:
    for day in range(4):
        put(stores.hot, day)
    work = sealing(stores._replace(history=None, expires=expires), keep=2 * DAY)
    all_steps(work, START + 4 * DAY + SETTLED)

    assert set(closes(stores.hot)) == left


def test_a_disk_that_refuses_leaves_everything_where_it_is(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("no room")

    put(stores.hot, 0)
    monkeypatch.setattr(HistoryStore, "write", refuse)
    with pytest.raises(StoreError, match="no room"):
        sealing(stores, keep=0).step(START + 10 * DAY)
    monkeypatch.undo()

    assert closes(stores.hot) == {0: [1.5] * 24}
    assert all_steps(sealing(stores), START + 10 * DAY) >= 1
    assert closes(stores.history) == {0: [1.5] * 24}


def test_a_month_that_is_over_is_made_of_few_segments(stores: Stores) -> None:
    assert stores.history is not None
    for day in range(2):
        put(stores.hot, day)
        all_steps(sealing(stores), START + day * DAY + 2 * DAY)
    assert len(stores.history.paths(HOUR, "2026-01")) == 2
    all_steps(sealing(stores), START + 40 * DAY)

    assert len(stores.history.paths(HOUR, "2026-01")) == 1
    assert set(closes(stores.history)) == {0, 1}


def test_it_goes_on_after_a_stop(stores: Stores, tmp_path: Path) -> None:
    put(stores.hot, 0)
    all_steps(sealing(stores), START + 2 * DAY)
    stores.hot.tables.close()
    hot = HotStore(SqliteTables(tmp_path / "hot.sqlite3", origin="fapi.test"))

    assert hot.is_sealed(HOUR, START)
    assert all_steps(sealing(Stores(hot, stores.history)), START + 2 * DAY) == 0
    hot.tables.close()
