"""SQLite: the tables of one market in one file, durable at each commit, with one writer.

WAL with `synchronous=FULL` is one fsync a commit; exclusive locking keeps its index in memory instead of in
a shared file, and lets no second writer in. SQLite comes with apsw: the standard library's may be older than
the mend of the WAL-reset race (3.51.3).
"""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import apsw

from klinehub.domain.kline import Scale
from klinehub.errors import StoreError
from klinehub.store.base import Change, Entry, First, Kept
from klinehub.store.disk import locked, unlocked

T = TypeVar("T")
_DAMAGED: Final = (apsw.CorruptError, apsw.NotADBError)
_BROKEN: Final = (*_DAMAGED, apsw.ConnectionClosedError)
# Each step takes the schema from its place in this list to the next; none is ever changed.
_STEPS: Final = (
    """
    CREATE TABLE symbols (number INTEGER PRIMARY KEY, symbol TEXT NOT NULL, price INTEGER NOT NULL,
        base INTEGER NOT NULL, quote INTEGER NOT NULL, sum INTEGER NOT NULL);
    CREATE TABLE slices (key INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE firsts (timeframe INTEGER NOT NULL, symbol TEXT NOT NULL, bar INTEGER NOT NULL,
        sum INTEGER NOT NULL, PRIMARY KEY (timeframe, symbol)) WITHOUT ROWID;
    CREATE TABLE records (number INTEGER PRIMARY KEY, record TEXT NOT NULL, sum INTEGER NOT NULL);
    CREATE TABLE damaged (number INTEGER PRIMARY KEY, key INTEGER NOT NULL, body BLOB NOT NULL,
        why TEXT NOT NULL);
    CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE sealed (day INTEGER PRIMARY KEY, sum INTEGER NOT NULL);
    """,
)
# What a new file takes over from a damaged one, in this order; texts as bytes, since they may be none.
_TAKEN_OVER: Final = {
    "symbols": "number, CAST(symbol AS BLOB), price, base, quote, sum",
    "slices": "key, CAST(body AS BLOB)",
    "firsts": "timeframe, CAST(symbol AS BLOB), bar, sum",
    "records": "number, CAST(record AS BLOB), sum",
    "sealed": "day, sum",
}
_LEFT: Final = {"damaged": "number, key, body, why", "about": "name, value, sum"}
# More symbols than any market ever had.
_LOST_NUMBERS: Final = 10_000
# 4 KB pages: with 8 and 16 KB a commit of one slice wrote more and was no faster.
_SET_UP: Final = """
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA cache_size = -16384;
"""
# Pages in the WAL from which on they are moved into the file, between two commits.
LONG_WAL: Final = 2_000


class SqliteTables:
    """The tables in the file *path*, made if it is not there, for what the host *origin* tells.

    Raises StoreError when another process has it, a newer klinehub wrote it, it holds another host's klines,
    or it can not be opened. A file that is damaged beyond reading is renamed, and what can be read of it is
    taken over. *vfs* names another file system of SQLite's, *replace* renames there; from *long_wal* pages on
    `tidy` moves the WAL into the file. Who only reads may give no *origin*, and where he does not *mend*, a
    damaged file is left as it is and raises StoreError.
    """

    def __init__(
        self,
        path: Path,
        *,
        origin: str | None,
        mend: bool = True,
        vfs: str | None = None,
        replace: Callable[[Path, Path], object] = Path.replace,
        long_wal: int = LONG_WAL,
    ) -> None:
        self.path = path
        self.where = str(path)
        self.salvaged = ""
        self.salvages = 0
        # Why the file that has the name has to give it up.
        self._broken = ""
        self._origin = origin
        self._mends = mend
        self._vfs = vfs
        self._replace = replace
        self._long_wal = long_wal
        self._wal_pages = 0
        self._is_closed = False
        self._lock = -1
        if vfs is None:
            self._lock = locked(path, "store.path")
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            try:
                self._db = self._connected()
            except _DAMAGED as exc:
                self._salvage(str(exc))
        except apsw.Error as exc:
            raise _refused(self.path, exc) from exc

    def _connected(self) -> apsw.Connection:
        """Open the file, set it up and bring its schema up to date."""
        db = apsw.Connection(str(self.path), vfs=self._vfs)
        try:
            for line in _SET_UP.strip().splitlines():
                db.execute(line)
            # In this mode the first look takes the lock, so that a second writer is refused here.
            version = int(str(db.pragma("user_version")))
            if version != len(_STEPS):
                with db:
                    self._migrate(db, version)
            _check_schema(db)
            self._belongs(db)
        except BaseException:
            db.close()
            raise
        db.set_wal_hook(self._count_wal)
        return db

    def _migrate(self, db: apsw.Connection, version: int) -> None:
        """Take the schema to the newest; a new file takes over what a damaged one still gives."""
        self._refuse_newer(version)
        for step in _STEPS[version:]:
            db.execute(step)
        db.pragma("user_version", len(_STEPS))
        if self._origin is not None:
            line = (self._origin, _sum(self._origin))
            db.execute("INSERT OR IGNORE INTO about VALUES ('origin', ?, ?)", line)
        if version == 0:
            self._take_over(db)

    def _refuse_newer(self, version: int) -> None:
        if version > len(_STEPS):
            raise StoreError(
                f"{self.path} was written by a newer klinehub (schema {version}, this one knows "
                f"{len(_STEPS)}): upgrade klinehub, or name another folder."
            )

    def _belongs(self, db: apsw.Connection) -> None:
        """Refuse another host's klines; a line that is damaged says nothing."""
        if self._origin is None:
            return
        line: Any = db.execute("SELECT CAST(value AS BLOB), sum FROM about WHERE name = 'origin'").get
        told = self._origin if line is None or line[1] != _sum(_text(line[0])) else _text(line[0])
        if told != self._origin:
            raise StoreError(
                f"{self.path} holds the klines of {told}, and those of {self._origin} would mix with them: "
                "name another folder in `store.path`."
            )

    def _count_wal(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    @property
    def _aside(self) -> Path:
        return self.path.with_name(f"{self.path.name}.damaged")

    def rebuild(self, why: str) -> None:
        """Put a file that is damaged for this reason aside, and take over what can be read of it."""
        self._salvage(why)

    def _salvage(self, why: str) -> None:
        """Rename a file that SQLite can not read, and take over what it still gives."""
        if not self._mends:
            raise StoreError(f"{self.path} is damaged ({why}): stop the hub and run `klinehub store repair`.")
        self._broken = why
        if hasattr(self, "_db"):
            self._db.close()
        # Only who knows a schema can say what its rows mean.
        self._refuse_newer(self._told_version())
        # The log first: beside a new file it would be taken for that one's.
        for end in ("-wal", ""):
            with suppress(FileNotFoundError):
                self._replace(
                    self.path.with_name(self.path.name + end),
                    self._aside.with_name(self._aside.name + end),
                )
        self._broken = ""
        self._db = self._connected()
        self.salvages += 1
        self.salvaged = f"{self.path} was damaged ({why}): it is kept as {self._aside.name}."

    def _told_version(self) -> int:
        """Give the schema that a damaged file tells, 0 where it can not be read or is not there."""
        try:
            db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self._vfs)
            try:
                db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                # Else a file whose end is cut off is refused before its head is looked at.
                db.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1)
                db.execute("PRAGMA locking_mode = EXCLUSIVE")
                return int(str(db.pragma("user_version")))
            finally:
                db.close()
        except (*_DAMAGED, apsw.CantOpenError):
            return 0

    def _take_over(self, db: apsw.Connection) -> None:
        """Copy what can be read of a file that was set aside, if there is one."""
        with suppress(apsw.Error), self._laid_aside() as old:
            for table, columns in _TAKEN_OVER.items():
                row, whole = self._copied(old, db, table, columns)
                if table == "symbols" and not whole:
                    # Which numbers the lost lines had is not known: none of them may be given away.
                    number = (row[0] if row else 0) + _LOST_NUMBERS
                    gap = (number, "", 0, 0, 0)
                    db.execute("INSERT INTO symbols VALUES (?, ?, ?, ?, ?, ?)", (*gap, _sum(*gap)))

    @contextmanager
    def _laid_aside(self) -> Iterator[apsw.Connection]:
        """Open the file that was set aside, and leave its log as it is."""
        old = apsw.Connection(str(self._aside), flags=apsw.SQLITE_OPEN_READWRITE, vfs=self._vfs)
        try:
            old.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            old.execute("PRAGMA locking_mode = EXCLUSIVE")
            yield old
        finally:
            old.close()

    @staticmethod
    def _copied(
        old: apsw.Connection, db: apsw.Connection, table: str, columns: str
    ) -> tuple[tuple[Any, ...] | None, bool]:
        """Copy a table up to the first row that can not be read; gives the last, and whether it was all."""
        row = None
        marks = ", ".join("?" * (columns.count(",") + 1))
        try:
            for row in old.execute(f"SELECT {columns} FROM {table}"):  # noqa: S608 - a table of ours
                if None not in row:
                    db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608
        except (*_DAMAGED, apsw.SQLError):
            return row, False
        return row, True

    def kept(self) -> Kept:
        """Read the symbol index and the first bars; lines that do not add up are left out."""
        return self._done("read", self._kept)

    def _kept(self) -> Kept:
        lines = list(
            self._rows(
                "SELECT number, CAST(symbol AS BLOB), price, base, quote, sum FROM symbols ORDER BY number"
            )
        )
        entries = [
            Entry(number, _text(symbol), Scale(price, base, quote))
            for number, symbol, price, base, quote, told in lines
            if told == _sum(number, _text(symbol), price, base, quote)
        ]
        firsts = tuple(
            First(timeframe, _text(symbol), bar)
            for timeframe, symbol, bar, told in self._rows(
                "SELECT timeframe, CAST(symbol AS BLOB), bar, sum FROM firsts"
            )
            if told == _sum(timeframe, _text(symbol), bar)
        )
        # Lines are only ever added: one whose number was damaged still counts.
        used = max([len(lines), *(one.number + 1 for one in entries)])
        return Kept(tuple(one for one in entries if one.symbol), firsts, used)

    def commit(self, change: Change) -> None:
        """Write all of a change or nothing; when this returns, it is on disk."""
        self._done("written", lambda: self._commit(change))

    def _commit(self, change: Change) -> None:
        symbols = [(*one, _sum(*one)) for one in ((e.number, e.symbol, *e.scale) for e in change.entries)]
        firsts = [(*one, _sum(*one)) for one in change.firsts]
        records = [(one, _sum(one)) for one in change.records]
        sealed = [(day, _sum(day)) for day in change.sealed]
        with self._db as db:
            db.executemany("INSERT OR REPLACE INTO symbols VALUES (?, ?, ?, ?, ?, ?)", symbols)
            db.executemany("INSERT OR REPLACE INTO slices VALUES (?, ?)", change.slices)
            db.executemany("INSERT OR REPLACE INTO firsts VALUES (?, ?, ?, ?)", firsts)
            db.executemany("INSERT INTO records (record, sum) VALUES (?, ?)", records)
            db.executemany("INSERT INTO damaged (key, body, why) VALUES (?, ?, ?)", change.damaged)
            db.executemany("DELETE FROM slices WHERE key = ?", [(one[0],) for one in change.damaged])
            db.executemany("DELETE FROM slices WHERE key BETWEEN ? AND ?", change.gone)
            db.executemany("DELETE FROM sealed WHERE day = ?", [(day,) for day in change.opened])
            db.executemany("INSERT OR REPLACE INTO sealed VALUES (?, ?)", sealed)

    def scan(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Give the slices with keys from *first* to *last* (inclusive), in order."""
        query = "SELECT key, CAST(body AS BLOB) FROM slices WHERE key BETWEEN ? AND ? ORDER BY key"
        with self._told("read"):
            try:
                for key, body in self._rows(query, first, last):
                    if key < first:
                        # SQLite looks for a key where it should be: such a row can not even be deleted.
                        raise apsw.CorruptError("slices are out of order")
                    yield key, body or b""
                    first = key + 1
            except _BROKEN as exc:
                self._mend(exc)
                yield from self._rows(query, first, last)

    def bounds(self, first: int, last: int) -> tuple[int, int, int]:
        """Give the number of slices with keys from *first* to *last*, the least and the greatest key."""
        query = "SELECT COUNT(*), MIN(key), MAX(key) FROM slices WHERE key BETWEEN ? AND ?"
        count, least, greatest = self._done("read", lambda: self._db.execute(query, (first, last)).get)
        return count, least or 0, greatest or 0

    def sealed(self) -> frozenset[int]:
        """Give the days that history holds."""
        rows = self._done("read", lambda: list(self._rows("SELECT day, sum FROM sealed")))
        return frozenset(day for day, told in rows if told == _sum(day))

    def records(self, most: int) -> list[str]:
        """Give the newest records, oldest first; those that do not add up are left out."""
        query = "SELECT CAST(record AS BLOB), sum FROM records ORDER BY number DESC LIMIT ?"
        rows = self._done("read", lambda: list(self._rows(query, most)))
        return [_text(record) for record, told in reversed(rows) if told == _sum(_text(record))]

    def damaged(self) -> list[tuple[int, str]]:
        """Give the key and the fault of each slice that was moved aside."""
        query = "SELECT key, CAST(why AS BLOB) FROM damaged ORDER BY number"
        rows = self._done("read", lambda: list(self._rows(query)))
        return [(key, _text(why)) for key, why in rows]

    def tidy(self) -> None:
        """Move a long WAL into the file, so that reading stays fast."""
        if self._wal_pages >= self._long_wal:
            self._done("written", lambda: self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE))
            self._wal_pages = 0

    def close(self) -> None:
        """Give the database back."""
        self._is_closed = True
        if hasattr(self, "_db"):
            with suppress(apsw.Error):
                self._db.close()
        unlocked(self._lock)
        self._lock = -1

    def _rows(self, query: str, *given: int) -> Iterator[tuple[Any, ...]]:
        """Ask; a column of a damaged row may be of any type."""
        return cast("Iterator[tuple[Any, ...]]", self._db.execute(query, given))

    def _done(self, what: str, work: Callable[[], T]) -> T:
        """Carry *work* out; where the file turns out to be damaged, once more on what can be saved of it."""
        with self._told(what):
            try:
                return work()
            except _BROKEN as exc:
                self._mend(exc)
            return work()

    def _mend(self, exc: apsw.Error) -> None:
        """Go on with what can be saved of a damaged file; a connection that is closed is one that was not."""
        if isinstance(exc, apsw.ConnectionClosedError) and not self._broken:
            self._db = self._connected()
        else:
            self._salvage(self._broken or str(exc))

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Say what SQLite found in the store's own words."""
        if self._is_closed:
            raise StoreError(f"{self.where} is closed: open it again.")
        try:
            yield
        except _DAMAGED as exc:
            raise StoreError(
                f"{self.where} is damaged ({exc}): stop the hub and run `klinehub store repair`."
            ) from exc
        except apsw.FullError as exc:
            raise StoreError(f"{self.where} can not grow: the disk is full. Make room.") from exc
        except apsw.Error as exc:
            raise StoreError(f"{self.where} can not be {what} ({exc}).") from exc


def _check_schema(db: apsw.Connection) -> None:
    """Look for all tables and columns that are asked for; raises apsw.CorruptError where one is not there.

    The schema is text in the file: SQLite reads one in which a letter has changed without complaint. Later an
    SQLError does not say so: it may come of a transaction that a full disk has ended.
    """
    for table, columns in {**_TAKEN_OVER, **_LEFT}.items():
        try:
            db.execute(f"SELECT {columns} FROM {table} LIMIT 0")  # noqa: S608 - a table of ours
        except apsw.SQLError as exc:
            raise apsw.CorruptError(str(exc)) from exc


def _text(told: bytes | None) -> str:
    """Read a text that may be damaged; its checksum says whether it is."""
    return "" if told is None else told.decode("utf-8", "replace")


def fault(path: Path) -> str:
    """Say what is wrong with a file of tables, nothing of which is changed; empty where nothing is.

    A file that another process has is none of ours to look at: its own checks speak for it.
    """
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            found = [str(line) for (line,) in db.execute("PRAGMA integrity_check(5)")]
        finally:
            db.close()
    except (apsw.BusyError, apsw.CantOpenError, apsw.ReadOnlyError):
        return ""
    except apsw.Error as exc:
        return str(exc)
    return "" if found == ["ok"] else "; ".join(" ".join(line.split()) for line in found)


def _sum(*words: int | str) -> int:
    """Give the checksum of a line."""
    return zlib.crc32(repr(words).encode())


def _refused(path: Path, exc: apsw.Error) -> StoreError:
    if isinstance(exc, apsw.BusyError):
        return StoreError(f"{path} is open in another program: close it there; one hub writes a store.")
    return StoreError(f"{path} can not be opened ({exc}): check the folder, or name another in `store.path`.")
