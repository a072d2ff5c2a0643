"""PostgreSQL: the tables of one market in a schema of their own, for a hub and its readers on other machines.

1. A schema for each market: its keys need no market in front, and one market is granted, dumped, restored
   or dropped as a whole.
2. One session writes. It holds an advisory lock, which ends with it, and every commit has the next number: a
   session that takes up work again sees by it that nobody else has written, and that nothing was lost.
3. A commit is one transaction in one round trip. When it fails, the session is given up and the next commit
   opens another one; whether the server had it after all makes no difference, for writing it again changes
   nothing.
"""

import os
import re
import socket
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from klinehub.domain.kline import Scale
from klinehub.errors import StoreError
from klinehub.store.base import Change, Entry, First, Kept
from klinehub.store.postgres_session import address, connected, driver, lock, said

if TYPE_CHECKING:
    from klinehub.store.postgres_session import Session

# Each step takes the schema from its place in this list to the next; none is ever changed. Symbols are
# compared byte by byte: an index on a language's order breaks when that language's rules are upgraded. To
# keep the server from trying to compress slices (STORAGE EXTERNAL) made them neither faster nor larger.
_STEPS: Final = (
    """
    CREATE TABLE about (name text PRIMARY KEY, value text NOT NULL);
    CREATE TABLE symbols (number bigint PRIMARY KEY, symbol text COLLATE "C" NOT NULL, price integer NOT NULL,
        base integer NOT NULL, quote integer NOT NULL, sum bigint NOT NULL);
    CREATE TABLE slices (key bigint PRIMARY KEY, body bytea NOT NULL);
    CREATE TABLE firsts (timeframe bigint, symbol text COLLATE "C", bar bigint NOT NULL, sum bigint NOT NULL,
        PRIMARY KEY (timeframe, symbol));
    CREATE TABLE records (change bigint, line integer, record text NOT NULL, PRIMARY KEY (change, line));
    CREATE TABLE damaged (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key bigint NOT NULL,
        body bytea NOT NULL, why text NOT NULL);
    CREATE TABLE sealed (day bigint PRIMARY KEY, sum bigint NOT NULL);
    """,
)
# Slices that are read at a time, some megabytes of them: a page holds no lock and no snapshot.
PAGE: Final = 256


class PostgresTables:
    """The tables of *market* in the database *url*, made if they are not there, for what *origin* tells.

    Without *writing* they are only read, also beside the hub that writes them. Raises DefinitionError without
    psycopg or for an address that can not be read, and StoreError when the server can not be reached or used,
    another hub writes them, a newer klinehub made them or they hold another host's klines.
    """

    def __init__(self, url: str, *, market: str, origin: str = "", writing: bool = True) -> None:
        self._address = address(url)
        self.schema = "klinehub_" + re.sub(r"\W", "_", market.lower(), flags=re.ASCII)
        self.where = f"{self._address.where} ({self.schema})"
        # Damaged pages are the server's affair.
        self.salvaged, self.salvages = "", 0
        self._market = market
        self._origin = origin
        self._writing = writing
        self._commits = -1
        self._closed = False
        self._turn = threading.RLock()
        self._db = self._opened()

    def _opened(self) -> "Session":
        """Open a session, take the lock, and bring the schema up to date or see that it is as we left it."""
        psycopg = driver()
        role = f"process {os.getpid()} on {socket.gethostname()}" if self._writing else "reader"
        db = connected(self._address, name=f"klinehub {self._market}, {role}")
        try:
            db.execute(f"SET search_path = {self.schema}")
            self._take(db)
        except psycopg.errors.InsufficientPrivilege as exc:
            user, name = db.info.user, db.info.dbname
            db.close()
            raise StoreError(
                f"{self.where} can not be used by {user} ({said(exc)}): "
                f"GRANT CREATE ON DATABASE {name} TO {user}, or let {user} own the schema {self.schema}."
            ) from None
        except psycopg.Error as exc:
            db.close()
            raise StoreError(f"{self.where} can not be opened ({said(exc)}).") from None
        except BaseException:
            db.close()
            raise
        return db

    def _take(self, db: "Session") -> None:
        if self._writing and (holder := lock(db, self.schema)):
            raise StoreError(
                f"{self.where} is in use by {holder}: one hub writes a store. "
                "Use that hub, stop it first, or name another database in `store.path`."
            )
        self._migrate(db)
        if self._writing:
            self._check_origin(db)
            self._count(db)

    def _migrate(self, db: "Session") -> None:
        """Take the schema, step by step, to the newest, each step whole or not at all."""
        made = db.execute("SELECT to_regclass(%s)", (f"{self.schema}.about",)).fetchone() != (None,)
        version = int(_about(db, "schema") or 0) if made else 0
        if version > len(_STEPS):
            raise StoreError(
                f"{self.where} was written by a newer klinehub (schema {version}, this one knows "
                f"{len(_STEPS)}): upgrade klinehub, or name another database in `store.path`."
            )
        if not self._writing and version < len(_STEPS):
            raise StoreError(
                f"{self.where} "
                + ("is of an older klinehub" if made else "holds nothing")
                + ": start a hub on it."
            )
        for number, step in enumerate(_STEPS[version:], version + 1):
            with db.transaction():
                # Asked first: IF NOT EXISTS wants the right to make it even where it is there.
                if (
                    db.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (self.schema,)).fetchone()
                    is None
                ):
                    db.execute(f"CREATE SCHEMA {self.schema}")
                db.execute(step)
                db.execute(_put("about", "name", "value"), ("schema", str(number)))

    def _check_origin(self, db: "Session") -> None:
        told = _about(db, "origin")
        if told is None:
            db.execute(_put("about", "name", "value"), ("origin", self._origin))
        elif told != self._origin:
            raise StoreError(
                f"{self.where} holds the klines of {told}, and those of {self._origin} would mix with them: "
                "name another database in `store.path`."
            )

    def _count(self, db: "Session") -> None:
        """See that only our own commits are there; to open it counts as one, so that a second hub shows."""
        there = int(_about(db, "commits") or 0)
        if self._commits < 0:
            self._commits = there + 1
            db.execute(_put("about", "name", "value"), ("commits", str(self._commits)))
        elif there not in {self._commits, self._commits + 1}:
            raise StoreError(
                f"{self.where} is not as this hub left it (commit {there}, ours was {self._commits}): "
                "another hub wrote to it, or the server lost commits. Restart this hub."
            )

    @contextmanager
    def session(self, what: str) -> Iterator["Session"]:
        """Lend the session for statements that *what* (for example "read"); one that fails is given up."""
        psycopg = driver()
        with self._turn:
            if self._closed:
                raise StoreError(f"{self.where} was closed.")
            if self._db.closed:
                self._db = self._opened()
            try:
                yield self._db
            except psycopg.errors.DiskFull as exc:
                self._db.close()
                raise StoreError(
                    f"{self.where} can not grow ({said(exc)}): make room on the server."
                ) from None
            except psycopg.Error as exc:
                self._db.close()
                raise StoreError(f"{self.where} can not be {what} ({said(exc)}).") from None
            except BaseException:
                self._db.close()
                raise

    def kept(self) -> Kept:
        """Read the symbol index and the first bars; lines that do not add up are left out."""
        with self.session("read") as db:
            entries = tuple(
                Entry(number, symbol, Scale(price, base, quote))
                for number, symbol, price, base, quote, told in db.execute(
                    "SELECT * FROM symbols ORDER BY number"
                )
                if told == _sum(number, symbol, price, base, quote)
            )
            firsts = tuple(
                First(timeframe, symbol, bar)
                for timeframe, symbol, bar, told in db.execute("SELECT * FROM firsts")
                if told == _sum(timeframe, symbol, bar)
            )
        return Kept(entries, firsts)

    def commit(self, change: Change) -> None:
        """Write all of a change or nothing; when this returns, it is on the server's disk."""
        if not self._writing:
            raise StoreError(f"{self.where} was opened to be read: what is damaged in it is left to its hub.")
        with self.session("written") as db, db.cursor() as cursor, db.pipeline():
            number = self._commits + 1
            cursor.execute("BEGIN")
            cursor.execute(_put("about", "name", "value"), ("commits", str(number)))
            for query, rows in _rows(change, number):
                if rows:
                    cursor.executemany(query, rows)
            cursor.execute("COMMIT")
        self._commits = number

    def scan(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Give the slices with keys from *first* to *last* (inclusive), in order."""
        query = "SELECT key, body FROM slices WHERE key BETWEEN %s AND %s ORDER BY key LIMIT %s"
        while first <= last:
            with self.session("read") as db:
                page = db.execute(query, (first, last, PAGE), binary=True).fetchall()
            yield from page
            if len(page) < PAGE:
                return
            first = page[-1][0] + 1

    def bounds(self, first: int, last: int) -> tuple[int, int, int]:
        """Give the number of slices with keys from *first* to *last*, the least and the greatest key."""
        with self.session("read") as db:
            query = "SELECT count(*), min(key), max(key) FROM slices WHERE key BETWEEN %s AND %s"
            count, least, greatest = db.execute(query, (first, last)).fetchone() or (0, 0, 0)
        return count, least or 0, greatest or 0

    def sealed(self) -> frozenset[int]:
        """Give the days that history holds."""
        with self.session("read") as db:
            return frozenset(day for day, told in db.execute("SELECT * FROM sealed") if told == _sum(day))

    def records(self, most: int) -> list[str]:
        """Give the newest records, oldest first."""
        with self.session("read") as db:
            query = "SELECT record FROM records ORDER BY change DESC, line DESC LIMIT %s"
            return [record for (record,) in db.execute(query, (most,))][::-1]

    def damaged(self) -> list[tuple[int, str]]:
        """Give the key and the fault of each slice that was moved aside."""
        with self.session("read") as db:
            return [(key, why) for key, why in db.execute("SELECT key, why FROM damaged ORDER BY number")]

    def tidy(self) -> None:
        """Do nothing: the server's autovacuum and checkpoints do it."""

    def close(self) -> None:
        """Give the database back, and the lock with it."""
        with self._turn:
            self._closed = True
            self._db.close()


def _rows(change: Change, number: int) -> Iterator[tuple[str, Sequence[Sequence[Any]]]]:
    """Give the statements of commit *number*, each with its rows."""
    entries = [(e.number, e.symbol, *e.scale) for e in change.entries]
    yield _put("symbols", "number", "symbol price base quote sum"), [(*one, _sum(*one)) for one in entries]
    yield _put("slices", "key", "body"), change.slices
    yield _put("firsts", "timeframe symbol", "bar sum"), [(*one, _sum(*one)) for one in change.firsts]
    # Under the commit's number, so that one that is written again is not there twice.
    records = [(number, line, record) for line, record in enumerate(change.records)]
    yield _put("records", "change line", "record"), records
    yield "INSERT INTO damaged (key, body, why) VALUES (%s, %s, %s)", change.damaged
    yield "DELETE FROM slices WHERE key = %s", [(key,) for key, _, _ in change.damaged]
    yield "DELETE FROM slices WHERE key BETWEEN %s AND %s", change.gone
    yield "DELETE FROM sealed WHERE day = %s", [(day,) for day in change.opened]
    yield _put("sealed", "day", "sum"), [(day, _sum(day)) for day in change.sealed]


def _put(table: str, keys: str, values: str) -> str:
    """Give the statement that writes a row in the place of the one with the same keys."""
    names = [*keys.split(), *values.split()]
    changed = ", ".join(f"{name} = EXCLUDED.{name}" for name in values.split())
    return (
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))}) "  # noqa: S608
        f"ON CONFLICT ({', '.join(keys.split())}) DO UPDATE SET {changed}"
    )


def _about(db: "Session", name: str) -> str | None:
    """Read a line that the schema says of itself."""
    told = db.execute("SELECT value FROM about WHERE name = %s", (name,)).fetchone()
    return None if told is None else str(told[0])


def _sum(*words: int | str) -> int:
    """Give the checksum of a line."""
    return zlib.crc32(repr(words).encode())
