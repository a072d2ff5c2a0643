"""One session with a PostgreSQL server: its address without the password, its settings, errors in words."""

import logging
import zlib
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import quote

from klinehub.errors import DefinitionError, StoreError

if TYPE_CHECKING:
    import psycopg
    from psycopg.abc import PQGen

    Session = psycopg.Connection[tuple[Any, ...]]

T = TypeVar("T")
# The oldest server whose behaviour is known.
LEAST_VERSION: Final = 15
# Seconds to wait for another session to let go of what this one needs: a hub that was killed a moment ago.
LOCK_WAIT: Final = 2
# Seconds after which a server that still has a session and says nothing is taken for dead: one whose disk or
# machine is frozen, whose own limits do not run either. Above the limit of a statement.
PATIENCE: Final = 45.0
# What libpq is told unless the address says otherwise: a server that is gone is noticed within 20 seconds.
_LINK: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
}
# Role and database may say otherwise. The keepalives are those of the server, which else holds the lock of
# a machine that lost its power for two hours.
_SET_UP: Final = f"""
    SET synchronous_commit = on;
    SET statement_timeout = '30s';
    SET lock_timeout = '{LOCK_WAIT}s';
    SET idle_session_timeout = 0;
    SET idle_in_transaction_session_timeout = '60s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 2;
"""
# Upper half of the advisory locks' numbers, so that no other program takes the same.
_LOCKS: Final = 0x6B6C696E
_HOLDER: Final = """
    SELECT coalesce(nullif(application_name, ''), 'a session') || coalesce(' from ' || host(client_addr), '')
        || ' (server process ' || pid || ')'
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND classid = %s AND objid = %s AND objsubid = 2
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# psycopg warns of a session that breaks while it is being ended; that is told as what broke it already.
_UNHEARD: Final = logging.NullHandler()
_SAFE: Final = ",.:[]"


class Address(NamedTuple):
    """Where a server is: what libpq has to know, and how it is called without its password."""

    params: dict[str, Any]
    where: str


def is_server(text: str) -> bool:
    """Whether a store's path is the address of a server, not a folder."""
    return text.startswith(("postgresql://", "postgres://"))


def driver() -> ModuleType:
    """Give psycopg; raises DefinitionError where it is not installed."""
    try:
        import psycopg  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise DefinitionError(
            "A store on PostgreSQL needs psycopg: pip install 'klinehub[postgres]'."
        ) from exc
    logging.getLogger(psycopg.__name__).addHandler(_UNHEARD)
    return psycopg


def address(url: str) -> Address:
    """Read the address of a database; raises DefinitionError, which never shows the password."""
    psycopg = driver()
    try:
        params = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        # libpq's own text may show the password.
        raise DefinitionError(
            "`store.path` is no address that PostgreSQL understands: write "
            "postgresql://user@host:5432/database, with % and other special characters percent-encoded."
        ) from None
    user, host, port, name = (
        quote(str(params.get(key, "")), _SAFE) for key in ("user", "host", "port", "dbname")
    )
    return Address(params, f"postgresql://{user and f'{user}@'}{host}{port and f':{port}'}/{name}")


@cache
def _patient() -> "type[Session]":
    """Give the kind of session that waits for PATIENCE seconds at most.

    A timer that hung it up from outside cost 0.17 ms a statement.
    """
    import psycopg  # noqa: PLC0415 - an extra

    class Patient(psycopg.Connection[tuple[Any, ...]]):
        def wait(self, gen: "PQGen[T]", interval: float = 0.1, timeout: float | None = None) -> "T":
            try:
                return super().wait(gen, interval, PATIENCE if timeout is None else timeout)
            except psycopg.OperationalError:
                # Nothing more is waited for, such as the end of a pipeline.
                if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    self.pgconn.finish()
                raise

    return Patient


def connected(to: Address, *, name: str) -> "Session":
    """Open a session that calls itself *name*; each statement is its own transaction. Raises StoreError."""
    psycopg = driver()
    fixed = {"client_encoding": "utf8", "application_name": name[:63], "autocommit": True}
    try:
        db = _patient().connect(**{**_LINK, **to.params, **fixed})
    except psycopg.Error as exc:
        raise StoreError(f"{to.where} can not be opened ({said(exc)}): {_way_in(exc)}") from None
    try:
        _check(db, to)
        db.execute(_SET_UP)
    except psycopg.Error as exc:
        db.close()
        raise StoreError(f"{to.where} can not be used ({said(exc)}).") from None
    except StoreError:
        db.close()
        raise
    return db


def _check(db: "Session", to: Address) -> None:
    """Refuse a server that can not keep what it is told."""
    if db.info.server_version < LEAST_VERSION * 10_000:
        raise StoreError(
            f"{to.where} runs PostgreSQL {db.info.server_version // 10_000}, and klinehub needs "
            f"{LEAST_VERSION} or newer: upgrade it, or name another store in `store.path`."
        )
    told = db.execute(
        "SELECT current_setting('server_encoding'), current_setting('fsync'), pg_is_in_recovery()"
    )
    encoding, fsync, standby = told.fetchone() or ("", "", False)
    if encoding != "UTF8":
        raise StoreError(
            f"{to.where} has the encoding {encoding}, which has no letters for some symbols: "
            "create a database with ENCODING 'UTF8'."
        )
    if fsync != "on":
        raise StoreError(f"{to.where} runs with fsync = {fsync} and forgets what it was told: switch it on.")
    if standby:
        raise StoreError(f"{to.where} is a standby, which can not be written: name the primary.")


def lock(db: "Session", name: str) -> str:
    """Take the lock *name* of this database until the session ends; gives who else has it, "" for nobody."""
    psycopg = driver()
    number = _signed(zlib.crc32(name.encode()))
    try:
        db.execute("SELECT pg_advisory_lock(%s, %s)", (_LOCKS, number))
    except psycopg.errors.LockNotAvailable:
        holder = db.execute(_HOLDER, (_LOCKS, number & 0xFFFF_FFFF)).fetchone()
        return str(holder[0]) if holder else "a session that has just gone"
    return ""


def _signed(number: int) -> int:
    """Read 32 bits as PostgreSQL's int4."""
    return number - (1 << 32) if number >= 1 << 31 else number


def said(exc: "psycopg.Error") -> str:
    """Give the first line of what server or driver said; neither names the password."""
    return (exc.diag.message_primary or str(exc)).strip().partition("\n")[0]


def _way_in(exc: "psycopg.Error") -> str:
    """Say what to look at when a server did not let us in: libpq keeps its reasons as text alone."""
    text = str(exc)
    if "password" in text:
        return "check the user, and the password in `store.path`, PGPASSWORD or ~/.pgpass."
    if "FATAL" in text:
        return "check the user and the database in `store.path`, and what pg_hba.conf lets in."
    return "check that the server runs, and its host and port in `store.path`."
