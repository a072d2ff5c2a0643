"""SQLite: the tables of one market in one file, durable at each commit, with one writer.

WAL with `synchronous=FULL` is one fsync a commit; exclusive locking keeps its index in memory instead of in
a shared file, and lets no second writer in. SQLite comes with apsw: the standard library's may be older than
the mend of the WAL-reset race (3.51.3).
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

from klinehub.domain.kline import Scale
from klinehub.errors import StoreError
from klinehub.store.base import Change, Entry, First, Kept

try:
    import fcntl
except ImportError:  # Windows: SQLite's own lock keeps a second writer out there.
    fcntl = None  # type: ignore[assignment]

# Each step takes the schema from its place in this list to the next; none is ever changed.
_STEPS: Final = (
    """
    CREATE TABLE symbols (number INTEGER PRIMARY KEY, symbol TEXT NOT NULL, price INTEGER NOT NULL,
        base INTEGER NOT NULL, quote INTEGER NOT NULL, sum INTEGER NOT NULL);
    CREATE TABLE slices (key INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE firsts (timeframe INTEGER NOT NULL, symbol TEXT NOT NULL, bar INTEGER NOT NULL,
        sum INTEGER NOT NULL, PRIMARY KEY (timeframe, symbol)) WITHOUT ROWID;
    CREATE TABLE records (number INTEGER PRIMARY KEY, record TEXT NOT NULL);
    CREATE TABLE damaged (number INTEGER PRIMARY KEY, key INTEGER NOT NULL, body BLOB NOT NULL,
        why TEXT NOT NULL);
    CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE sealed (day INTEGER PRIMARY KEY, sum INTEGER NOT NULL);
    """,
)
# 4 KB pages: with 8 and 16 KB a commit of one slice wrote more and was no faster.
_SET_UP: Final = """
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA cache_size = -16384;
"""
# Pages in the WAL from which on they are moved into the file, between two commits.
_LONG_WAL: Final = 2_000


class SqliteTables:
    """The tables in the file *path*, made if it is not there, for what the host *origin* tells.

    Raises StoreError when another process has it, a newer klinehub wrote it, it holds another host's klines,
    or it can not be opened. A file that is damaged beyond reading is renamed, and what can be read of it is
    taken over. *vfs* names another file system of SQLite's. Who only reads may give no *origin*.
    """

    def __init__(self, path: Path, *, origin: str | None, vfs: str | None = None) -> None:
        self.path = path
        self.where = str(path)
        self.salvaged = ""
        self._origin = origin
        self._vfs = vfs
        self._wal_pages = 0
        self._lock = -1
        if vfs is None:
            self._lock = _locked(path)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        try:
            self._db = self._connected(self.path)
        except (apsw.NotADBError, apsw.CorruptError) as exc:
            self._salvage(str(exc))
        except apsw.Error as exc:
            raise _refused(self.path, exc) from exc

    def _connected(self, path: Path) -> apsw.Connection:
        """Open the file, set it up and bring its schema up to date."""
        db = apsw.Connection(str(path), vfs=self._vfs)
        try:
            for line in _SET_UP.strip().splitlines():
                db.execute(line)
            with db:
                # Writes, so that a second writer is refused here and not at its first commit.
                self._migrate(db, path)
        except BaseException:
            db.close()
            raise
        db.set_wal_hook(self._count_wal)
        return db

    def _migrate(self, db: apsw.Connection, path: Path) -> None:
        version = int(str(db.pragma("user_version")))
        if version > len(_STEPS):
            raise StoreError(
                f"{path} was written by a newer klinehub (schema {version}, this one knows {len(_STEPS)}): "
                "upgrade klinehub, or name another folder."
            )
        for step in _STEPS[version:]:
            db.execute(step)
        db.pragma("user_version", len(_STEPS))
        if self._origin is None:
            return
        db.execute("INSERT OR IGNORE INTO about VALUES ('origin', ?)", (self._origin,))
        told = db.execute("SELECT value FROM about WHERE name = 'origin'").get
        if told != self._origin:
            raise StoreError(
                f"{path} holds the klines of {told}, and those of {self._origin} would mix with them: "
                "name another folder in `store.path`."
            )

    def _count_wal(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _salvage(self, why: str) -> None:
        """Rename a file that SQLite can not read, and take over what it still gives."""
        aside = self.path.with_name(f"{self.path.name}.damaged")
        for end in ("", "-wal"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + end).replace(aside.with_name(aside.name + end))
        self._db = self._connected(self.path)
        rows = 0
        for table, columns in (("symbols", 6), ("slices", 2), ("firsts", 4), ("records", 2), ("sealed", 2)):
            rows += self._take_over(aside, table, columns)
        self.salvaged = f"{self.path} was damaged ({why}): kept as {aside.name}, {rows:,} rows taken over."

    def _take_over(self, aside: Path, table: str, columns: int) -> int:
        """Copy the rows of a damaged table up to the first that can not be read; gives how many."""
        rows = 0
        marks = ", ".join("?" * columns)
        with suppress(apsw.Error):
            old = apsw.Connection(str(aside), flags=apsw.SQLITE_OPEN_READONLY, vfs=self._vfs)
            with self._db:
                for row in old.execute(f"SELECT * FROM {table}"):  # noqa: S608 - a table of ours
                    self._db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)  # noqa: S608
                    rows += 1
        return rows

    def kept(self) -> Kept:
        """Read the symbol index and the first bars; lines that do not add up are left out."""
        with self._told("read"):
            entries = tuple(
                Entry(number, symbol, Scale(price, base, quote))
                for number, symbol, price, base, quote, told in self._db.execute(
                    "SELECT * FROM symbols ORDER BY number"
                )
                if told == _sum(number, symbol, price, base, quote)
            )
            firsts = tuple(
                First(timeframe, symbol, bar)
                for timeframe, symbol, bar, told in self._db.execute("SELECT * FROM firsts")
                if told == _sum(timeframe, symbol, bar)
            )
        return Kept(entries, firsts)

    def commit(self, change: Change) -> None:
        """Write all of a change or nothing; when this returns, it is on disk."""
        symbols = [(*one, _sum(*one)) for one in ((e.number, e.symbol, *e.scale) for e in change.entries)]
        firsts = [(*one, _sum(*one)) for one in change.firsts]
        with self._told("write"), self._db as db:
            db.executemany("INSERT OR REPLACE INTO symbols VALUES (?, ?, ?, ?, ?, ?)", symbols)
            db.executemany("INSERT OR REPLACE INTO slices VALUES (?, ?)", change.slices)
            db.executemany("INSERT OR REPLACE INTO firsts VALUES (?, ?, ?, ?)", firsts)
            db.executemany("INSERT INTO records (record) VALUES (?)", [(one,) for one in change.records])
            db.executemany("INSERT INTO damaged (key, body, why) VALUES (?, ?, ?)", change.damaged)
            db.executemany("DELETE FROM slices WHERE key = ?", [(one[0],) for one in change.damaged])
            db.executemany("DELETE FROM slices WHERE key BETWEEN ? AND ?", change.gone)
            db.executemany("DELETE FROM sealed WHERE day = ?", [(day,) for day in change.opened])
            sealed = [(day, _sum(day)) for day in change.sealed]
            db.executemany("INSERT OR REPLACE INTO sealed VALUES (?, ?)", sealed)

    def scan(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Give the slices with keys from *first* to *last* (inclusive), in order."""
        with self._told("read"):
            query = "SELECT key, body FROM slices WHERE key BETWEEN ? AND ? ORDER BY key"
            yield from self._db.execute(query, (first, last))

    def bounds(self, first: int, last: int) -> tuple[int, int, int]:
        """Give the number of slices with keys from *first* to *last*, the least and the greatest key."""
        with self._told("read"):
            query = "SELECT COUNT(*), MIN(key), MAX(key) FROM slices WHERE key BETWEEN ? AND ?"
            count, least, greatest = self._db.execute(query, (first, last)).get
        return count, least or 0, greatest or 0

    def sealed(self) -> frozenset[int]:
        """Give the days that history holds."""
        with self._told("read"):
            return frozenset(
                day for day, told in self._db.execute("SELECT * FROM sealed") if told == _sum(day)
            )

    def records(self, most: int) -> list[str]:
        """Give the newest records, oldest first."""
        with self._told("read"):
            query = "SELECT record FROM records ORDER BY number DESC LIMIT ?"
            return [record for (record,) in self._db.execute(query, (most,))][::-1]

    def damaged(self) -> list[tuple[int, str]]:
        """Give the key and the fault of each slice that was moved aside."""
        with self._told("read"):
            return list(self._db.execute("SELECT key, why FROM damaged ORDER BY number"))

    def tidy(self) -> None:
        """Move a long WAL into the file, so that reading stays fast."""
        if self._wal_pages >= _LONG_WAL:
            with self._told("write"):
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._wal_pages = 0

    def close(self) -> None:
        """Give the database back."""
        if hasattr(self, "_db"):
            with suppress(apsw.Error):
                self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Say what SQLite found in the store's own words."""
        try:
            yield
        except (apsw.CorruptError, apsw.NotADBError) as exc:
            raise StoreError(
                f"{self.where} is damaged ({exc}): stop the hub and run `klinehub store repair`."
            ) from exc
        except apsw.FullError as exc:
            raise StoreError(f"{self.where} can not grow: the disk is full. Make room.") from exc
        except apsw.Error as exc:
            raise StoreError(f"{self.where} can not be {what.replace('write', 'written')} ({exc}).") from exc


def _sum(*words: int | str) -> int:
    """Give the checksum of a line."""
    return zlib.crc32(repr(words).encode())


def _locked(path: Path) -> int:
    """Hold the lock beside the file; raises StoreError naming the process that has it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        fd = os.open(path.with_name(f"{path.name}.lock"), flags, 0o600)
    except OSError as exc:
        raise StoreError(
            f"{path.parent} can not be written ({exc.strerror}): name another folder in `store.path`."
        ) from exc
    if fcntl is None:
        return fd
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise StoreError(
            f"{path.parent} is in use by process {owner or 'unknown'}: one hub writes a store. "
            "Use that hub, stop it first, or name another folder in `store.path`."
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _refused(path: Path, exc: apsw.Error) -> StoreError:
    if isinstance(exc, apsw.BusyError):
        return StoreError(f"{path} is open in another program: close it there; one hub writes a store.")
    return StoreError(f"{path} can not be opened ({exc}): check the folder, or name another in `store.path`.")
