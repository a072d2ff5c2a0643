"""The simulated disk: what survives a loss of power and a kill, and what it says when it fails."""

from pathlib import Path
from typing import Final

import apsw
import numpy as np
import pytest

from klinehub.errors import StoreError
from klinehub.sim.disk import SECTOR, Disk, Step
from klinehub.store.base import Change
from klinehub.store.sqlite import SqliteTables

PATH: Final = Path("/data/hot.sqlite3")
LOG: Final = f"{PATH}-wal"


def tables_on(disk: Disk) -> SqliteTables:
    return SqliteTables(PATH, origin="simulated", vfs=disk.vfs, replace=disk.replace)


def commit_often(tables: SqliteTables) -> None:
    for key in range(2, 20):
        tables.commit(Change(slices=((key, b"b" * 9_000),)))


def kept(tables: SqliteTables) -> dict[int, bytes]:
    return dict(tables.scan(0, 2**62))


def write(disk: Disk, name: str, data: bytes, at: int = 0) -> None:
    disk.do(Step("write", name, at, data))


@pytest.fixture
def disk() -> Disk:
    """A disk whose one file holds four sectors that are synced."""
    made = Disk()
    made.do(Step("create", "a"))
    write(made, "a", b"o" * 4 * SECTOR)
    made.do(Step("sync", "a", to="folder"))
    return made


def cuts(disk: Disk, name: str = "a") -> set[bytes]:
    """Give what can be left of a file; nothing where its name is gone."""
    left = [disk.cut(np.random.default_rng(seed)) for seed in range(60)]
    return {one.content(name) if name in one.names else b"" for one in left}


def test_what_is_synced_survives_and_what_is_not_is_there_or_not_by_sectors(disk: Disk) -> None:
    assert cuts(disk) == {b"o" * 4 * SECTOR}
    write(disk, "a", b"n" * 2 * SECTOR, SECTOR // 2)
    left = cuts(disk)

    assert disk.content("a") in left
    assert b"o" * 4 * SECTOR in left
    assert len(left) == 2**3
    for one in left:
        assert one[: SECTOR // 2] + one[5 * SECTOR // 2 :] == b"o" * 2 * SECTOR
        assert len(set(one[SECTOR : 2 * SECTOR])) == 1


def test_a_kill_loses_nothing_that_was_written(disk: Disk) -> None:
    write(disk, "a", b"n" * SECTOR)
    assert disk.killed().content("a") == disk.content("a")


def test_names_survive_in_the_order_of_their_changes_up_to_some_point(disk: Disk) -> None:
    disk.replace(Path("a"), Path("b"))
    disk.do(Step("create", "a"))
    found = {tuple(disk.cut(np.random.default_rng(seed)).names) for seed in range(30)}

    assert found == {("a",), ("b",), ("a", "b")}
    disk.do(Step("sync", "a", to="folder"))
    assert {tuple(disk.cut(np.random.default_rng(seed)).names) for seed in range(30)} == {("a", "b")}


def test_a_truncation_may_be_undone(disk: Disk) -> None:
    disk.do(Step("truncate", "a", SECTOR))
    assert cuts(disk) == {b"o" * 4 * SECTOR, b"o" * SECTOR}


def test_a_commit_that_was_acknowledged_survives_and_others_know_of_nothing() -> None:
    disk = Disk()
    tables = tables_on(disk)
    tables.commit(Change(slices=((7, b"x" * 9_000),)))

    for seed in range(20):
        left = tables_on(disk.cut(np.random.default_rng(seed)))
        assert kept(left) == {7: b"x" * 9_000}
        left.close()
    tables.close()


def test_a_second_writer_is_refused_and_harms_nobody() -> None:
    disk = Disk()
    tables = tables_on(disk)
    with pytest.raises(StoreError, match="open in another program"):
        tables_on(disk)
    tables.commit(Change(slices=((7, b"x"),)))
    assert kept(tables) == {7: b"x"}
    tables.close()
    tables_on(disk).close()


@pytest.mark.parametrize("what", ["write", "sync"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_commit_that_fails_is_not_there_and_the_next_one_is(what: str, after: int) -> None:
    disk = Disk()
    tables = tables_on(disk)
    tables.commit(Change(slices=((1, b"a" * 9_000),)))
    seen = [0]

    def fail(done: str, _name: str, _grows: bool) -> None:  # noqa: FBT001 - as a disk asks
        seen[0] += done == what
        if seen[0] > after:
            raise apsw.FullError if what == "write" else apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)

    disk.trouble = fail
    with pytest.raises(StoreError, match="full" if what == "write" else "can not be written"):
        commit_often(tables)
    disk.trouble = lambda *_: None
    before = kept(tables)
    tables.commit(Change(slices=((50, b"c"),)))
    assert kept(tables) == {**before, 50: b"c"}
    tables.close()
    again = tables_on(disk.killed())
    assert kept(again) == {**before, 50: b"c"}
    again.close()


def test_a_disk_that_can_not_be_read_says_so_and_is_read_later() -> None:
    disk = Disk()
    tables = tables_on(disk)
    tables.commit(Change(slices=tuple((key, bytes(9_000)) for key in range(50))))
    tables.close()

    def fail(done: str, _name: str, _grows: bool) -> None:  # noqa: FBT001 - as a disk asks
        if done == "read":
            raise apsw.exception_for(apsw.SQLITE_IOERR_READ)

    disk.trouble = fail
    with pytest.raises(StoreError, match="can not be opened"):
        tables_on(disk)
    disk.trouble = lambda *_: None
    again = tables_on(disk)
    assert len(kept(again)) == 50
    again.close()


def test_a_full_disk_is_opened_and_read() -> None:
    disk = Disk()
    tables = tables_on(disk)
    tables.commit(Change(slices=((7, b"x"),)))
    disk.leave()
    left = disk.killed()

    def full(_done: str, _name: str, grows: bool) -> None:  # noqa: FBT001 - as a disk asks
        if grows:
            raise apsw.FullError

    left.trouble = full
    again = tables_on(left)
    assert kept(again) == {7: b"x"}
    with pytest.raises(StoreError, match="full"):
        again.commit(Change(slices=tuple((key, bytes(9_000)) for key in range(50))))
    assert kept(again) == {7: b"x"}
    again.close()
    with pytest.raises(StoreError):
        tables.commit(Change(slices=((8, b"y"),)))
    tables.close()
