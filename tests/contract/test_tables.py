"""What every database has to do to keep slices: the same tests for SQLite and PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw
import pytest
from tests.postgres import Server

from klinehub.domain.kline import Scale
from klinehub.errors import StoreError
from klinehub.store.base import BAR_BITS, Change, Entry, First, Tables
from klinehub.store.postgres import PAGE, PostgresTables
from klinehub.store.sqlite import SqliteTables

MARKET: Final = "binance-usdm"
HOST: Final = "fapi.test"
# The greatest key there is: a bar of months.
GREATEST: Final = 31 * 86_400_000 << BAR_BITS | (1 << BAR_BITS) - 1
EVERYTHING: Final = (0, 2**63 - 1)
ENTRIES: Final = (Entry(0, "BTCUSDT", Scale(2, 3, 5)), Entry(1, "币安人生USDT", Scale(7, 0, 18)))


class Lite:
    """SQLite in a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / MARKET / "hot.sqlite3"

    def opened(self, origin: str = HOST) -> Tables:
        return SqliteTables(self.path, origin=origin)

    def change(self, statement: str) -> None:
        """Run a statement behind the store's back, while it is closed."""
        db = apsw.Connection(str(self.path))
        db.execute(statement)
        db.close()

    def make_newer(self) -> None:
        self.change("PRAGMA user_version = 99")

    def fail_at(self, table: str) -> None:
        """Let every write to a table fail from now on."""
        self.change(
            f"CREATE TRIGGER refusing BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'no more'); END"
        )


class Postgres:
    """A database of its own in the tests' PostgreSQL."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.database = server.database()

    def opened(self, origin: str = HOST) -> Tables:
        return PostgresTables(self.server.url(self.database), market=MARKET, origin=origin)

    def change(self, statement: str) -> None:
        """Run a statement behind the store's back."""
        self.server.ask(self.database, f"SET search_path = klinehub_binance_usdm; {statement}")

    def make_newer(self) -> None:
        self.change("UPDATE about SET value = '99' WHERE name = 'schema'")

    def fail_at(self, table: str) -> None:
        """Let every write to a table fail from now on."""
        raising = "BEGIN RAISE EXCEPTION 'no more'; END"
        self.change(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ {raising} $$")
        self.change(f"CREATE TRIGGER refusing BEFORE INSERT ON {table} EXECUTE FUNCTION refuse()")


Place = Lite | Postgres


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Lite(tmp_path)
    return Postgres(request.getfixturevalue("postgres"))


@pytest.fixture
def tables(place: Place) -> Iterator[Tables]:
    made = place.opened()
    yield made
    made.close()


def everything(tables: Tables) -> dict[str, Any]:
    """Give all that tables hold."""
    kept = tables.kept()
    return {
        "entries": kept.entries,
        "firsts": set(kept.firsts),
        "slices": list(tables.scan(*EVERYTHING)),
        "records": tables.records(100),
        "damaged": tables.damaged(),
        "sealed": tables.sealed(),
    }


WHOLE: Final = Change(
    entries=ENTRIES,
    slices=((5, b"five"), (GREATEST, bytes(range(256)) * 100), (7, b"")),
    firsts=(First(60_000, "BTCUSDT", 3), First(31 * 86_400_000, "币安人生USDT", 24_000)),
    records=("one", 'two "quoted" \\ ü\n'),
    damaged=((9, b"\x00\xff", "it does not add up"),),
    sealed=(3, 4),
)
TOLD: Final[dict[str, Any]] = {
    "entries": ENTRIES,
    "firsts": set(WHOLE.firsts),
    "slices": [(5, b"five"), (7, b""), (GREATEST, bytes(range(256)) * 100)],
    "records": ["one", 'two "quoted" \\ ü\n'],
    "damaged": [(9, "it does not add up")],
    "sealed": {3, 4},
}


def test_new_tables_are_empty(tables: Tables) -> None:
    nothing: dict[str, Any] = {"entries": (), "firsts": set(), "slices": [], "records": [], "damaged": []}

    assert everything(tables) == {**nothing, "sealed": set()}
    assert tables.bounds(*EVERYTHING) == (0, 0, 0)


def test_all_of_a_change_is_there_at_once_and_after_they_were_opened_again(
    place: Place, tables: Tables
) -> None:
    tables.commit(WHOLE)
    tables.tidy()

    assert everything(tables) == TOLD
    tables.close()
    again = place.opened()
    assert everything(again) == TOLD
    again.close()


def test_a_slice_a_first_bar_and_an_entry_take_the_place_of_the_old_one(tables: Tables) -> None:
    tables.commit(WHOLE)
    better = Entry(1, "币安人生USDT", Scale(8, 1, 18))
    tables.commit(Change((better,), ((5, b"new"),), (First(60_000, "BTCUSDT", 2),), ("three",), sealed=(3,)))

    assert everything(tables) == TOLD | {
        "entries": (ENTRIES[0], better),
        "slices": [(5, b"new"), *TOLD["slices"][1:]],
        "firsts": {First(60_000, "BTCUSDT", 2), WHOLE.firsts[1]},
        "records": [*WHOLE.records, "three"],
    }


def test_writing_a_slice_twice_changes_nothing_and_of_two_in_a_change_the_later_counts(
    tables: Tables,
) -> None:
    for _ in range(2):
        tables.commit(Change(slices=((5, b"early"), (6, b"six"), (5, b"late"))))

    assert list(tables.scan(*EVERYTHING)) == [(5, b"late"), (6, b"six")]


def test_an_empty_change_is_fine(tables: Tables) -> None:
    tables.commit(WHOLE)
    tables.commit(Change())

    assert everything(tables) == TOLD


@pytest.mark.parametrize("table", ["symbols", "slices", "firsts", "records", "damaged", "sealed"])
def test_a_change_that_fails_anywhere_leaves_nothing_and_the_next_one_works(place: Place, table: str) -> None:
    made = place.opened()
    made.commit(Change(slices=((1, b"one"),)))
    made.close()
    place.fail_at(table)
    made = place.opened()
    before = everything(made)

    with pytest.raises(StoreError, match=r"can not be written.*no more"):
        made.commit(WHOLE)
    assert everything(made) == before
    made.close()
    place.change(f"DROP TRIGGER refusing{'' if isinstance(place, Lite) else f' ON {table}'}")
    made = place.opened()
    made.commit(WHOLE)
    assert everything(made) == TOLD | {"slices": [(1, b"one"), *TOLD["slices"]]}
    made.close()


def test_a_damaged_slice_is_moved_aside(tables: Tables) -> None:
    tables.commit(Change(slices=((5, b"good"), (6, b"bad"))))
    tables.commit(Change(damaged=((6, b"bad", "why"),)))
    tables.commit(Change(slices=((6, b"again"),), damaged=((5, b"good", "also"),)))

    assert list(tables.scan(*EVERYTHING)) == [(6, b"again")]
    assert tables.damaged() == [(6, "why"), (5, "also")]


def test_ranges_of_slices_are_deleted_with_both_ends(tables: Tables) -> None:
    tables.commit(Change(slices=tuple((key, b"x") for key in range(10))))
    tables.commit(Change(gone=((2, 4), (8, 8), (20, 30), (6, 5))))

    assert [key for key, _ in tables.scan(*EVERYTHING)] == [0, 1, 5, 6, 7, 9]


def test_days_are_sealed_and_opened(tables: Tables) -> None:
    tables.commit(Change(sealed=(1, 2, 3)))
    tables.commit(Change(opened=(2, 9), sealed=(4,)))

    assert tables.sealed() == {1, 3, 4}


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [(2, 6, [2, 4, 6]), (3, 5, [4]), (6, 6, [6]), (7, 7, []), (6, 2, []), (0, GREATEST, [2, 4, 6, GREATEST])],
)
def test_a_range_is_read_with_both_ends_in_order(
    tables: Tables, first: int, last: int, found: list[int]
) -> None:
    tables.commit(Change(slices=tuple((key, str(key).encode()) for key in (6, 2, GREATEST, 4))))

    assert list(tables.scan(first, last)) == [(key, str(key).encode()) for key in found]
    assert tables.bounds(first, last) == (len(found), found[0] if found else 0, found[-1] if found else 0)


@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_more_than_a_page_is_read_whole(tables: Tables, count: int) -> None:
    slices = [(3 * key, bytes([key % 256])) for key in range(count)]
    tables.commit(Change(slices=tuple(slices)))

    assert list(tables.scan(0, 3 * count)) == slices


def test_a_scan_may_be_left_and_the_tables_written_meanwhile(tables: Tables) -> None:
    tables.commit(Change(slices=tuple((key, b"x") for key in range(10))))
    scan = tables.scan(*EVERYTHING)
    assert next(scan) == (0, b"x")
    tables.commit(Change(slices=((20, b"y"),)))
    del scan

    assert tables.bounds(*EVERYTHING) == (11, 0, 20)


def test_the_newest_records_come_oldest_first(tables: Tables) -> None:
    for number in range(4):
        tables.commit(Change(records=(f"{number}a", f"{number}b")))

    assert tables.records(3) == ["2b", "3a", "3b"]


@pytest.mark.parametrize(
    ("statement", "left_out"),
    [
        ("UPDATE symbols SET symbol = 'XTCUSDT' WHERE number = 0", {"entries": (ENTRIES[1],)}),
        ("UPDATE symbols SET price = 3 WHERE number = 1", {"entries": (ENTRIES[0],)}),
        ("UPDATE symbols SET number = 7 WHERE number = 1", {"entries": (ENTRIES[0],)}),
        ("UPDATE firsts SET bar = 4 WHERE symbol = 'BTCUSDT'", {"firsts": {WHOLE.firsts[1]}}),
        ("UPDATE firsts SET timeframe = 1 WHERE symbol = 'BTCUSDT'", {"firsts": {WHOLE.firsts[1]}}),
        ("UPDATE sealed SET day = 5 WHERE day = 4", {"sealed": {3}}),
    ],
)
def test_a_line_that_does_not_add_up_is_left_out(
    place: Place, statement: str, left_out: dict[str, Any]
) -> None:
    made = place.opened()
    made.commit(WHOLE)
    made.close()
    place.change(statement)

    made = place.opened()
    assert everything(made) == TOLD | left_out
    made.close()


def test_a_second_writer_is_refused_with_who_it_is_and_the_way_out(place: Place, tables: Tables) -> None:
    import os

    with pytest.raises(StoreError, match=rf"in use by .*process {os.getpid()}.*store\.path"):
        place.opened()
    tables.commit(WHOLE)
    assert everything(tables) == TOLD


def test_a_newer_schema_is_refused_and_left_as_it_is(place: Place) -> None:
    place.opened().close()
    place.make_newer()

    for _ in range(2):
        with pytest.raises(StoreError, match=r"newer klinehub \(schema 99.*upgrade.*name another"):
            place.opened()


def test_another_origin_is_refused_and_the_first_one_still_welcome(place: Place) -> None:
    place.opened().close()

    with pytest.raises(StoreError, match=r"klines of fapi\.test, and those of api\.test.*store\.path"):
        place.opened("api.test")
    place.opened().close()


def test_closed_tables_say_so_and_may_be_closed_again(tables: Tables) -> None:
    tables.commit(WHOLE)
    tables.close()
    tables.close()

    uses: list[Callable[[], object]] = [tables.kept, tables.sealed, lambda: tables.commit(WHOLE)]
    uses.append(lambda: list(tables.scan(0, 1)))
    for use in uses:
        with pytest.raises(StoreError, match="closed"):
            use()
