"""Damage of the file itself: what can be read is taken over, and nothing is taken for something else."""

from pathlib import Path
from typing import Final

import apsw
import numpy as np
import pytest

from klinehub.domain.kline import CLOSED, ROW, Scale
from klinehub.domain.timeframe import timeframe
from klinehub.errors import StoreError
from klinehub.store.base import First
from klinehub.store.hot import HotStore, Slice
from klinehub.store.slices import Lines
from klinehub.store.sqlite import SqliteTables

MINUTE: Final = timeframe("1m")
BAR: Final = 29_853_020
PAGE: Final = 4_096
SYMBOLS: Final = tuple(f"S{n}" for n in range(40))
PLAIN: Final = Scale(2, 3, 5)
BARS: Final = 60


def opened(folder: Path) -> HotStore:
    return HotStore(SqliteTables(folder / "hot.sqlite3", origin="fapi.test"))


def close(store: HotStore, bar: int, price: float, *symbols: str) -> Slice:
    rows = np.zeros(len(symbols), ROW)
    for name in ("open", "high", "low", "close"):
        rows[name] = price
    rows["open_time"] = MINUTE.open_time(bar)
    numbers = np.array([store.number(name, PLAIN) for name in symbols])
    return Slice(
        MINUTE, bar, Lines(numbers, np.full(len(symbols), CLOSED), rows.view(np.int64).reshape(-1, 10))
    )


def bars(store: HotStore) -> dict[int, int]:
    return {bar: len(lines.numbers) for bar, lines in store.slices(MINUTE, 0, BAR + 10**6)}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A store of 60 bars of 40 symbols that was closed."""
    store = opened(tmp_path)
    for bar in range(BAR, BAR + BARS):
        records = [f"S1 was corrected in {bar}"]
        store.commit([close(store, bar, 1.5, *SYMBOLS)], firsts=[First(60_000, "S1", BAR)], records=records)
    store.tables.close()
    return tmp_path


def page_of(folder: Path, table: str, kind: str) -> int:
    """Give the last page of a kind in a table."""
    db = apsw.Connection(str(folder / "hot.sqlite3"))
    query = "SELECT MAX(pageno) FROM dbstat WHERE name = ? AND pagetype = ?"
    number = db.execute(query, (table, kind)).get
    db.close()
    return int(str(number))


def overwrite(folder: Path, page: int) -> None:
    with (folder / "hot.sqlite3").open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xee" * PAGE)


def test_a_damaged_page_costs_its_own_bars_and_the_rest_is_taken_over(whole: Path) -> None:
    overwrite(whole, page_of(whole, "slices", "leaf"))
    store = opened(whole)
    tables = store.tables
    kept = bars(store)

    assert isinstance(tables, SqliteTables)
    assert "hot.sqlite3.damaged" in tables.salvaged
    assert BARS // 4 < len(kept) < BARS
    assert set(kept.values()) == {len(SYMBOLS)}
    assert store.firsts == {(60_000, "S1"): BAR}
    assert tables.records(1) == [f"S1 was corrected in {BAR + BARS - 1}"]
    store.commit([close(store, BAR + BARS, 1.5, *SYMBOLS)])
    tables.close()

    again = opened(whole)
    assert bars(again) == {**kept, BAR + BARS: len(SYMBOLS)}
    again.tables.close()


def test_slices_out_of_order_are_found_and_put_in_order(whole: Path) -> None:
    """A page of which the end is zeros, as where a file was cut, is full of rows with key 0 for SQLite."""
    page = page_of(whole, "slices", "leaf")
    with (whole / "hot.sqlite3").open("r+b") as file:
        file.seek(page * PAGE - PAGE // 2)
        file.write(bytes(PAGE // 2))
    store = opened(whole)
    kept = bars(store)
    assert isinstance(store.tables, SqliteTables)
    assert "out of order" in store.tables.salvaged
    assert 0 < len(kept) < BARS
    store.tables.close()

    again = opened(whole)
    assert bars(again) == kept
    assert again.set_aside == []
    again.tables.close()


def test_a_commit_that_meets_damage_is_written_to_what_was_saved(whole: Path) -> None:
    overwrite(whole, page_of(whole, "slices", "internal"))
    store = opened(whole)
    store.commit([close(store, BAR + 2, 2.5, "S3", "NEW")])

    assert bars(store)[BAR + 2] == 2
    store.tables.close()


def test_a_lost_index_gives_none_of_its_numbers_away(whole: Path) -> None:
    overwrite(whole, page_of(whole, "symbols", "leaf"))
    store = opened(whole)

    assert not any(store.entries)
    assert store.number("NEW", PLAIN) > len(SYMBOLS)
    assert set(bars(store).values()) <= {0}
    store.tables.close()


def test_the_number_of_a_damaged_last_line_is_not_given_to_another(whole: Path) -> None:
    db = apsw.Connection(str(whole / "hot.sqlite3"))
    db.execute("UPDATE symbols SET symbol = 'Z' WHERE number = ?", (len(SYMBOLS) - 1,))
    db.close()
    store = opened(whole)

    assert store.number("NEW", PLAIN) == len(SYMBOLS)
    assert set(bars(store).values()) == {len(SYMBOLS) - 1}
    store.tables.close()


@pytest.mark.parametrize(
    "change",
    ["UPDATE records SET record = 'x' WHERE number = 7", "UPDATE records SET record = CAST(x'c5' AS TEXT)"],
)
def test_a_damaged_record_is_not_told(whole: Path, change: str) -> None:
    db = apsw.Connection(str(whole / "hot.sqlite3"))
    db.execute(change)
    db.close()
    store = opened(whole)

    assert all(record.startswith("S1 was corrected") for record in store.tables.records(100))
    assert len(store.tables.records(100)) in {0, BARS - 1}
    store.tables.close()


@pytest.mark.parametrize("body", ["NULL", "7", "'text'", "CAST(x'4b53c5' AS TEXT)"])
def test_a_slice_of_another_type_is_moved_aside(tmp_path: Path, body: str) -> None:
    store = opened(tmp_path)
    store.commit([close(store, BAR, 1.5, "S1")])
    store.tables.close()
    db = apsw.Connection(str(tmp_path / "hot.sqlite3"))
    db.execute("CREATE TABLE loose (key INTEGER PRIMARY KEY, body)")
    db.execute(f"INSERT INTO loose SELECT key, {body} FROM slices")
    db.execute("DROP TABLE slices")
    db.execute("ALTER TABLE loose RENAME TO slices")
    db.close()
    again = opened(tmp_path)

    assert bars(again) == {}
    assert len(again.tables.damaged()) == 1
    again.tables.close()


@pytest.mark.parametrize(
    ("written", "read", "lost"),
    [(b"price INTEGER", b"qrice INTEGER", 0), (b"(key INTEGER PRIMARY", b"(kex INTEGER PRIMARY", BARS)],
)
def test_a_schema_whose_text_is_damaged_is_made_anew(
    whole: Path, written: bytes, read: bytes, lost: int
) -> None:
    """SQLite reads such a file without complaint, and then knows of no such column."""
    file = whole / "hot.sqlite3"
    content = file.read_bytes()
    assert content.count(written) == 1
    file.write_bytes(content.replace(written, read))
    store = opened(whole)

    assert len(bars(store)) == BARS - lost
    assert isinstance(store.tables, SqliteTables)
    assert "no such column" in store.tables.salvaged
    store.commit([close(store, BAR + BARS, 1.5, *SYMBOLS)])
    store.tables.close()
    again = opened(whole)
    assert bars(again)[BAR + BARS] == len(SYMBOLS)
    again.tables.close()


def test_a_store_that_can_not_be_read_can_be_opened_again_at_once(whole: Path) -> None:
    def full(_: Path, __: Path) -> None:
        raise apsw.FullError("no room")

    overwrite(whole, page_of(whole, "symbols", "leaf"))
    with pytest.raises(StoreError, match="full"):
        HotStore(SqliteTables(whole / "hot.sqlite3", origin="fapi.test", replace=full))
    opened(whole).tables.close()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_damaged_store_of_a_newer_klinehub_is_left_as_it_is(whole: Path, share: float) -> None:
    """Only who knows its schema can say what its rows mean."""
    file = whole / "hot.sqlite3"
    db = apsw.Connection(str(file))
    db.pragma("user_version", 7)
    db.close()
    content = file.read_bytes()[: int(share * file.stat().st_size)]
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"newer klinehub \(schema 7"):
        opened(whole)
    assert file.read_bytes() == content
    assert not (whole / "hot.sqlite3.damaged").exists()


def test_a_damaged_origin_is_nobody_elses(whole: Path) -> None:
    db = apsw.Connection(str(whole / "hot.sqlite3"))
    db.execute("UPDATE about SET value = 'fapj.test'")
    db.close()
    store = opened(whole)

    assert len(bars(store)) == BARS
    store.tables.close()


def test_what_could_not_be_saved_at_once_is_saved_later(whole: Path) -> None:
    full = [True]

    def replace(old: Path, new: Path) -> None:
        if full[0]:
            raise apsw.FullError("no room")
        old.replace(new)

    overwrite(whole, page_of(whole, "slices", "leaf"))
    store = HotStore(SqliteTables(whole / "hot.sqlite3", origin="fapi.test", replace=replace))
    with pytest.raises(StoreError, match="full"):
        bars(store)
    full[0] = False
    kept = bars(store)
    assert BARS // 4 < len(kept) < BARS
    store.tables.close()
