"""The hot store: an index that grows, slices laid over each other, damage that is named and left out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw
import numpy as np
import pytest

from klinehub.domain.kline import CLOSED, ROW, VERIFIED, Scale
from klinehub.domain.timeframe import timeframe
from klinehub.errors import StoreError
from klinehub.store.base import First, key_of
from klinehub.store.hot import HotStore, Slice
from klinehub.store.slices import ABSENT, Lines
from klinehub.store.sqlite import SqliteTables

MINUTE: Final = timeframe("1m")
BAR: Final = 29_853_020
PLAIN: Final = Scale(2, 3, 5)


def opened(folder: Path, origin: str = "fapi.test") -> HotStore:
    return HotStore(SqliteTables(folder / "hot.sqlite3", origin=origin))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HotStore]:
    made = opened(tmp_path)
    yield made
    made.tables.close()


def bar(index: int, price: float, *volumes: int) -> list[int]:
    row = np.zeros(1, ROW)
    row[0] = (MINUTE.open_time(index), price, price, price, price, *(volumes or (7, 8, 9, 5, 6)))
    return list(row.view(np.int64).tolist())


def told(store: HotStore, index: int, **prices: float | None) -> Slice:
    """Give a slice of one price a symbol; None is a bar that the exchange does not have."""
    numbers = {name: store.number(name, PLAIN) for name in prices}
    ordered = sorted(prices, key=numbers.__getitem__)
    states = [ABSENT if prices[name] is None else CLOSED for name in ordered]
    words = [bar(index, prices[name] or 0.0) for name in ordered]
    return Slice(
        MINUTE,
        index,
        Lines(np.array([numbers[n] for n in ordered], np.int64), np.array(states, np.int64), np.array(words)),
    )


def closes(store: HotStore, *symbols: str) -> dict[str, list[float]]:
    read = store.read(MINUTE, symbols or None, MINUTE.open_time(BAR - 10), MINUTE.open_time(BAR + 10))
    return {name: exact.rows["close"].tolist() for name, exact in read.items()}


def test_what_was_committed_is_there_after_it_was_opened_again(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(
        [told(store, BAR, A=1.25, B=2.5), told(store, BAR + 1, A=1.5)], firsts=[First(60_000, "B", BAR)]
    )
    store.tables.close()

    again = opened(tmp_path)
    assert closes(again) == {"A": [1.25, 1.5], "B": [2.5]}
    assert (again.names, again.firsts) == (("A", "B"), {(60_000, "B"): BAR})
    assert again.range(MINUTE) == (2, MINUTE.open_time(BAR), MINUTE.open_time(BAR + 1))
    again.tables.close()


def test_a_slice_is_laid_over_what_is_kept_of_others(store: HotStore) -> None:
    store.commit([told(store, BAR, A=1.0, B=2.0, C=None)])
    store.commit([told(store, BAR, B=3.0, C=4.0, A=None)])

    assert closes(store) == {"A": [1.0], "B": [3.0], "C": [4.0]}


def test_writing_twice_changes_nothing(store: HotStore) -> None:
    one = told(store, BAR, A=1.0, B=None)
    store.commit([one])
    before = list(store.tables.scan(0, 2**62))
    store.commit([one])

    assert list(store.tables.scan(0, 2**62)) == before


def test_only_the_asked_for_range_and_symbols_are_read(store: HotStore) -> None:
    store.commit([told(store, BAR + n, A=1.0 + n, B=2.0 + n) for n in range(4)])
    read = store.read(MINUTE, ["B"], MINUTE.open_time(BAR) + 1, MINUTE.open_time(BAR + 2) + 1)

    assert {name: exact.rows["close"].tolist() for name, exact in read.items()} == {"B": [3.0, 4.0]}
    assert store.read(timeframe("5m"), None, 0, 2**45) == {}


def test_decimals_that_grow_give_a_symbol_another_number_and_join_exactly(store: HotStore) -> None:
    first = store.number("A", PLAIN)
    store.commit([told(store, BAR, A=1.0)])
    wider = store.number("A", Scale(4, 5, 5))
    words = np.array([bar(BAR + 1, 1.2345, 777, 8, 9, 555, 6)])
    store.commit([Slice(MINUTE, BAR + 1, Lines(np.array([wider]), np.array([VERIFIED]), words))])

    exact = store.read(MINUTE, ["A"], 0, 2**45)["A"]
    assert first != wider
    assert exact.scale == Scale(4, 5, 5)
    assert exact.rows["volume"].tolist() == [700, 777]
    assert exact.rows["close"].tolist() == [1.0, 1.2345]


def test_a_symbol_with_two_numbers_has_one_bar_in_a_slice(store: HotStore) -> None:
    store.commit([told(store, BAR, A=1.0, B=2.0)])
    wider = store.number("A", Scale(4, 3, 5))
    store.commit(
        [Slice(MINUTE, BAR, Lines(np.array([wider]), np.array([CLOSED]), np.array([bar(BAR, 1.2345)])))]
    )

    assert closes(store) == {"A": [1.2345], "B": [2.0]}


def damage(folder: Path, statement: str) -> None:
    db = apsw.Connection(str(folder / "hot.sqlite3"))
    db.execute(statement)
    db.close()


def test_a_damaged_slice_is_moved_aside_named_and_missing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit([told(store, BAR + n, A=1.0 + n) for n in range(3)])
    store.tables.close()
    damage(tmp_path, f"UPDATE slices SET body = x'00' WHERE key = {key_of(MINUTE, BAR + 1)}")

    again = opened(tmp_path)
    assert closes(again) == {"A": [1.0, 3.0]}
    assert again.set_aside == [f"1m {BAR + 1}: A slice of 1 bytes is cut short."]
    assert [key for key, _ in again.tables.damaged()] == [key_of(MINUTE, BAR + 1)]
    again.commit([told(again, BAR + 1, A=2.0)])
    assert closes(again) == {"A": [1.0, 2.0, 3.0]}
    again.tables.close()


def test_a_slice_that_was_moved_to_another_bar_is_not_read_there(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit([told(store, BAR, A=1.0)])
    store.tables.close()
    damage(tmp_path, f"UPDATE slices SET key = key + 1 WHERE key = {key_of(MINUTE, BAR)}")

    again = opened(tmp_path)
    assert closes(again) == {}
    again.tables.close()


@pytest.mark.parametrize("change", ["symbol = 'B'", "price = 3", "number = 5"])
def test_a_damaged_line_of_the_index_makes_its_bars_missing_and_no_others(
    tmp_path: Path, change: str
) -> None:
    store = opened(tmp_path)
    store.commit([told(store, BAR, A=1.0)])
    store.commit([told(store, BAR + 1, Z=2.0)])
    store.tables.close()
    damage(tmp_path, f"UPDATE symbols SET {change} WHERE number = 0")

    again = opened(tmp_path)
    assert closes(again) == {"Z": [2.0]}
    assert again.number("A", PLAIN) not in {0, 1}
    again.tables.close()


def test_a_second_writer_is_refused_by_name(tmp_path: Path, store: HotStore) -> None:
    import os

    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}.*store.path"):
        opened(tmp_path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).tables.close()
    damage(tmp_path, "PRAGMA user_version = 99")

    with pytest.raises(StoreError, match=r"newer klinehub.*upgrade"):
        opened(tmp_path)


def test_the_klines_of_another_exchange_are_refused(tmp_path: Path) -> None:
    opened(tmp_path).tables.close()

    with pytest.raises(StoreError, match=r"klines of fapi\.test, and those of 127\.0\.0\.1"):
        opened(tmp_path, "127.0.0.1")


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "hot.sqlite3").write_bytes(b"no database" * 1000)
    store = opened(tmp_path)
    tables = store.tables
    store.commit([told(store, BAR, A=1.0)])

    assert isinstance(tables, SqliteTables)
    assert "was damaged" in tables.salvaged
    assert (tmp_path / "hot.sqlite3.damaged").read_bytes().startswith(b"no database")
    assert closes(store) == {"A": [1.0]}
    tables.close()


def test_a_folder_that_can_not_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match=r"can not be written.*store\.path"):
        opened(tmp_path / "file")
