"""The outbox: alerts on disk, with what became of them for each target, and where every rule stands.

1. `decided` writes the alerts of a bar, a delivery for each of their targets, and where the rules stand, in
   one transaction: after a stop the rules go on from what was told.
2. A delivery is `waiting` until a message takes it. `due` gives those of a target whose time has come,
   `hush` puts them off (`quiet`), `claim` makes one message of some of them, on disk before it is sent.
3. `settled` writes what became of a message: `sent`, `failed` (again at `due`) or `given_up`. What is final
   is never sent again. A message that was claimed and not settled when everything stopped is given by
   `unsettled`, at once, with the same id and the same alerts: it may be sent twice, and has its id so that a
   receiver can tell.
4. `next_due` says when a target has something to do; whoever delivers sleeps until then or until it is woken.

All methods are synchronous and meant for one thread (see `Log`); times are ms of exchange time. Every method
raises StoreError where the disk refuses, and has then changed nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

import apsw
import msgspec

from klinehub.errors import StoreError
from klinehub.scan.alerts import Alert
from klinehub.store.disk import locked, unlocked

State = Literal["waiting", "quiet", "sent", "failed", "given_up"]
Settled = Literal["sent", "failed", "given_up"]
MEMORY: Final = ":memory:"
# Alerts that are kept; of more the oldest go, with what became of them.
MOST_ALERTS: Final = 100_000
# Deliveries of a target that are given at once.
MOST_DUE: Final = 1_000
_SPARE: Final = 256
# Each step takes the schema from its place in this list to the next; none is ever changed.
_STEPS: Final = (
    """
    CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE rules (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE edges (rule TEXT PRIMARY KEY, hash TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE bars (timeframe TEXT PRIMARY KEY, bar INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE alerts (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,
        time INTEGER NOT NULL, rule TEXT NOT NULL, symbol TEXT NOT NULL, body TEXT NOT NULL);
    CREATE INDEX alerts_of_symbol ON alerts (symbol, id);
    CREATE INDEX alerts_of_rule ON alerts (rule);
    CREATE TABLE messages (number INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL,
        time INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER);
    CREATE INDEX messages_due ON messages (target, due) WHERE due IS NOT NULL;
    CREATE TABLE deliveries (alert INTEGER NOT NULL, target TEXT NOT NULL, state TEXT NOT NULL,
        attempts INTEGER NOT NULL, due INTEGER, message INTEGER, detail TEXT NOT NULL, time INTEGER NOT NULL,
        PRIMARY KEY (alert, target)) WITHOUT ROWID;
    CREATE INDEX deliveries_due ON deliveries (target, due, alert) WHERE due IS NOT NULL;
    CREATE INDEX deliveries_of_message ON deliveries (message) WHERE message IS NOT NULL;
    """,
)
_SET_UP: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
)
_DAMAGED: Final = (apsw.CorruptError, apsw.NotADBError)
_decode_alert = msgspec.json.Decoder(Alert).decode


class Fired(NamedTuple):
    """An alert to be written down, the targets it goes to, and why it is not to be sent, if so."""

    alert: Alert
    to: tuple[str, ...]
    refusal: str = ""


class Edges(NamedTuple):
    """Where a rule of some `hash` stands, as `edges.py` writes it: by the rows of `Standing.symbols`."""

    rule: str
    hash: str
    body: bytes


class Standing(NamedTuple):
    """Where the rules stood at the last stop: whose rows, the edges of each, and the last bar decided."""

    symbols: tuple[str, ...]
    edges: tuple[Edges, ...]
    bars: Mapping[str, int]


class Decision(NamedTuple):
    """All that changes at once: alerts, and of the rules the last bars decided, by timeframe, and edges.

    *symbols* are given where the rows have changed since they were last; the edges of rules that are *gone*
    are forgotten.
    """

    time: int
    fired: tuple[Fired, ...] = ()
    bars: Mapping[str, int] = {}
    edges: tuple[Edges, ...] = ()
    symbols: tuple[str, ...] | None = None
    gone: tuple[str, ...] = ()


class Kept(msgspec.Struct, frozen=True):
    """An alert with a number that grows, and when it was made (exchange time in ms)."""

    id: int
    time: int
    alert: Alert


class Delivered(msgspec.Struct, frozen=True):
    """What became of an alert for one target, since when; `detail` is the reason of a failure."""

    target: str
    state: State
    attempts: int
    detail: str
    time: int


class Logged(msgspec.Struct, frozen=True):
    """An alert of the log and what became of it."""

    kept: Kept
    deliveries: tuple[Delivered, ...]


class Message(NamedTuple):
    """Alerts that go to a target together; `id` stays through all attempts and restarts."""

    number: int
    id: str
    target: str
    time: int
    attempts: int
    alerts: tuple[Kept, ...]


class Outcome(NamedTuple):
    """What became of an attempt; a `failed` one is tried again at *due*."""

    state: Settled
    detail: str = ""
    due: int | None = None


class Outbox:
    """The outbox in the file *path*, made where it is not there, or in memory for ":memory:".

    Raises StoreError when another process has it, a newer klinehub wrote it, or it can not be opened. A file
    that is damaged is put aside and `notice` says so. *now* names a new outbox, whose messages nobody is to
    take for those of another one; *most* alerts are kept.
    """

    def __init__(self, path: Path | str, *, now: int, most: int = MOST_ALERTS) -> None:
        self.path = str(path)
        self.notice = ""
        self._most = most
        self._lock = -1 if self.path == MEMORY else locked(Path(path), "alerts.path")
        try:
            self._db = self._opened(now)
        except BaseException:
            unlocked(self._lock)
            raise
        self._label = str(self._db.execute("SELECT value FROM about WHERE name = 'label'").get)

    def close(self) -> None:
        """Give the file back."""
        with suppress(apsw.Error):
            self._db.close()
        unlocked(self._lock)
        self._lock = -1

    # -- what is decided

    def standing(self) -> Standing:
        """Give where the rules stood when the last bar was decided."""
        with self._told("read"):
            symbols = self._db.execute("SELECT value FROM about WHERE name = 'symbols'").get
            edges = [Edges(*row) for row in self._rows("SELECT rule, hash, body FROM edges")]
            bars = dict(self._rows("SELECT timeframe, bar FROM bars"))
        names = () if symbols is None else msgspec.json.decode(str(symbols), type=tuple[str, ...])
        return Standing(names, tuple(edges), cast("dict[str, int]", bars))

    def decided(self, decision: Decision) -> list[Kept]:
        """Write a decision; gives the alerts that were not known by their keys yet."""
        with self._change() as db:
            new = [kept for fired in decision.fired for kept in self._add(db, fired, decision.time)]
            if decision.symbols is not None:
                text = msgspec.json.encode(decision.symbols).decode()
                db.execute("INSERT OR REPLACE INTO about VALUES ('symbols', ?)", (text,))
            db.executemany("INSERT OR REPLACE INTO bars VALUES (?, ?)", decision.bars.items())
            db.executemany("DELETE FROM edges WHERE rule = ?", [(name,) for name in decision.gone])
            db.executemany("INSERT OR REPLACE INTO edges VALUES (?, ?, ?)", decision.edges)
            self._prune(db)
        return new

    def _add(self, db: apsw.Connection, fired: Fired, now: int) -> Iterator[Kept]:
        """Add one alert with its deliveries, unless its key is known."""
        alert = fired.alert
        body = msgspec.json.encode(alert).decode()
        db.execute(
            "INSERT OR IGNORE INTO alerts (key, time, rule, symbol, body) VALUES (?, ?, ?, ?, ?)",
            (alert.key, now, alert.rule, alert.symbol, body),
        )
        if not db.changes():
            return
        number = db.last_insert_rowid()
        state: State = "given_up" if fired.refusal else "waiting"
        due = None if fired.refusal else now
        db.executemany(
            "INSERT INTO deliveries VALUES (?, ?, ?, 0, ?, NULL, ?, ?)",
            [(number, target, state, due, fired.refusal, now) for target in dict.fromkeys(fired.to)],
        )
        yield Kept(number, now, alert)

    def _prune(self, db: apsw.Connection) -> None:
        """Drop the oldest alerts of too many, some at a time, and messages of which nothing is left."""
        found: Any = db.execute("SELECT COALESCE(MAX(id) - MIN(id), 0), MAX(id) FROM alerts").fetchone()
        span, last = found
        if span < self._most + _SPARE:
            return
        bound = (last - self._most,)
        db.execute("DELETE FROM deliveries WHERE alert <= ?", bound)
        db.execute("DELETE FROM alerts WHERE id <= ?", bound)
        db.execute(
            "DELETE FROM messages WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.number)"
        )

    # -- what is delivered

    def retain(self, targets: Iterable[str], now: int) -> None:
        """Give up what waits for targets that are not there any more; to be called once at the start."""
        known = set(targets)
        with self._change() as db:
            waiting = db.execute("SELECT DISTINCT target FROM deliveries WHERE due IS NOT NULL").fetchall()
            waiting += db.execute("SELECT DISTINCT target FROM messages WHERE due IS NOT NULL").fetchall()
            for (target,) in {*waiting}:
                if target not in known:
                    self._give_up(db, str(target), now)

    def _give_up(self, db: apsw.Connection, target: str, now: int) -> None:
        why = "there is no such target any more"
        db.execute(
            "UPDATE deliveries SET state = 'given_up', due = NULL, detail = ?, time = ? "
            "WHERE target = ? AND state NOT IN ('sent', 'given_up')",
            (why, now, target),
        )
        db.execute("UPDATE messages SET due = NULL WHERE target = ?", (target,))

    def next_due(self, target: str) -> int | None:
        """Give when a target has something to send, None for nothing; a time that has passed is now."""
        with self._told("read"):
            found = self._db.execute(
                "SELECT MIN(due) FROM ("
                "SELECT MIN(due) AS due FROM deliveries WHERE target = ? AND due IS NOT NULL UNION ALL "
                "SELECT MIN(due) FROM messages WHERE target = ? AND due IS NOT NULL)",
                (target, target),
            ).get
        return cast("int | None", found)

    def due(self, target: str, now: int, *, limit: int = MOST_DUE) -> list[Kept]:
        """Give alerts whose time has come for a target and that no message has taken, oldest first."""
        with self._told("read"):
            rows = self._rows(
                "SELECT id, alerts.time, body FROM deliveries JOIN alerts ON id = alert "
                "WHERE target = ? AND due <= ? ORDER BY alert LIMIT ?",
                *(target, now, limit),
            )
            return [_kept(row) for row in rows]

    def hush(self, target: str, now: int, until: int) -> None:
        """Put off what a target would be sent before *until*; messages that were claimed stay as they are."""
        with self._change() as db:
            db.execute(
                "UPDATE deliveries SET state = 'quiet', due = ?, time = ? WHERE target = ? AND due < ?",
                (until, now, target, until),
            )

    def claim(self, target: str, ids: Sequence[int], now: int) -> Message:
        """Make one message of alerts that `due` gave; from now on they are sent together or not at all."""
        with self._change() as db:
            db.execute(
                "INSERT INTO messages (target, time, attempts, due) VALUES (?, ?, 0, ?)", (target, now, now)
            )
            number = db.last_insert_rowid()
            db.executemany(
                "UPDATE deliveries SET state = 'waiting', message = ?, due = NULL "
                "WHERE alert = ? AND target = ? AND due IS NOT NULL",
                [(number, alert, target) for alert in ids],
            )
        return self._message(number)

    def unsettled(self, target: str, now: int) -> list[Message]:
        """Give the messages of a target that are to be sent, or sent again, by now; oldest first."""
        with self._told("read"):
            query = "SELECT number FROM messages WHERE target = ? AND due <= ? ORDER BY number LIMIT ?"
            numbers = [row[0] for row in self._rows(query, target, now, MOST_DUE)]
        return [self._message(number) for number in numbers]

    def settled(self, message: Message, outcome: Outcome, now: int) -> None:
        """Write what became of an attempt at a message, for each of its alerts."""
        due = outcome.due if outcome.state == "failed" else None
        if outcome.state == "failed" and due is None:
            raise ValueError(outcome)
        with self._change() as db:
            db.execute(
                "UPDATE messages SET attempts = attempts + 1, due = ? WHERE number = ?", (due, message.number)
            )
            db.execute(
                "UPDATE deliveries SET state = ?, attempts = attempts + 1, detail = ?, time = ? "
                "WHERE message = ?",
                (outcome.state, outcome.detail, now, message.number),
            )

    def _message(self, number: int) -> Message:
        with self._told("read"):
            found: Any = self._db.execute(
                "SELECT target, time, attempts FROM messages WHERE number = ?", (number,)
            ).fetchone()
            target, time, attempts = found
            alerts = self._rows(
                "SELECT id, alerts.time, body FROM deliveries JOIN alerts ON id = alert WHERE message = ? "
                "ORDER BY alert",
                number,
            )
            kept = tuple(_kept(one) for one in alerts)
            return Message(number, f"{self._label}-{number}", target, time, attempts, kept)

    # -- what is shown

    def entries(self, after: int = 0, limit: int = 1_000, symbol: str | None = None) -> list[Logged]:
        """Give the newest alerts with a number above *after*, oldest first, with what became of each."""
        whole, of_one = (
            "SELECT id, time, body FROM alerts WHERE id > ? ORDER BY id DESC LIMIT ?",
            "SELECT id, time, body FROM alerts WHERE id > ? AND symbol = ? ORDER BY id DESC LIMIT ?",
        )
        with self._told("read"):
            asked = (
                self._rows(whole, after, limit)
                if symbol is None
                else self._rows(of_one, after, symbol, limit)
            )
            rows = list(asked)
            return [Logged(_kept(row), self._deliveries(row[0])) for row in reversed(rows)]

    def _deliveries(self, alert: int) -> tuple[Delivered, ...]:
        query = "SELECT target, state, attempts, detail, time FROM deliveries WHERE alert = ? ORDER BY target"
        return tuple(Delivered(*row) for row in self._rows(query, alert))

    def counts(self) -> dict[tuple[str, str], int]:
        """Count the deliveries that are kept, by target and state."""
        with self._told("read"):
            rows = self._rows("SELECT target, state, COUNT(*) FROM deliveries GROUP BY target, state")
            return {(target, state): count for target, state, count in rows}

    def fired(self) -> dict[str, int]:
        """Count the alerts that are kept, by rule."""
        with self._told("read"):
            return dict(self._rows("SELECT rule, COUNT(*) FROM alerts GROUP BY rule"))

    # -- rules of the board

    def rules(self) -> dict[str, str]:
        """Give the rules of the board, as JSON by name."""
        with self._told("read"):
            return dict(self._rows("SELECT name, body FROM rules ORDER BY name"))

    def put_rule(self, name: str, body: str) -> None:
        """Keep a rule of the board, in place of an older one of this name."""
        with self._change() as db:
            db.execute("INSERT OR REPLACE INTO rules VALUES (?, ?)", (name, body))

    def drop_rule(self, name: str) -> None:
        """Forget a rule of the board; its alerts stay."""
        with self._change() as db:
            db.execute("DELETE FROM rules WHERE name = ?", (name,))

    # -- the file

    def _opened(self, now: int) -> apsw.Connection:
        try:
            try:
                return self._connected(now)
            except _DAMAGED as exc:
                self._put_aside(str(exc))
                return self._connected(now)
        except (apsw.Error, OSError) as exc:
            raise StoreError(
                f"{self.path} can not be opened ({exc}): check the folder, or name another file in "
                "`alerts.path`."
            ) from exc

    def _connected(self, now: int) -> apsw.Connection:
        """Open the file and bring its schema up to date."""
        if self.path != MEMORY:
            # What symbols somebody holds is nobody else's business; the log beside it takes the same mode.
            Path(self.path).touch(mode=0o600)
        db = apsw.Connection(self.path)
        try:
            for line in _SET_UP:
                db.execute(line)
            with db:
                self._migrate(db, now)
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: apsw.Connection, now: int) -> None:
        """Take the schema to the newest."""
        version = int(str(db.pragma("user_version")))
        if version > len(_STEPS):
            raise StoreError(
                f"{self.path} was written by a newer klinehub (schema {version}, this one knows "
                f"{len(_STEPS)}): upgrade klinehub, or name another file in `alerts.path`."
            )
        for step in _STEPS[version:]:
            db.execute(step)
        if version < len(_STEPS):
            db.execute("INSERT OR IGNORE INTO about VALUES ('label', ?)", (f"{now:x}",))
            db.pragma("user_version", len(_STEPS))

    def _put_aside(self, why: str) -> None:
        """Rename a file that SQLite can not read, its log first: it would be taken for the new one's."""
        path = Path(self.path)
        aside = path.with_name(f"{path.name}.damaged")
        for end in ("-wal", ""):
            with suppress(FileNotFoundError):
                path.with_name(path.name + end).replace(aside.with_name(aside.name + end))
        self.notice = f"{path} was damaged ({why}): it is kept as {aside.name}, and the log begins anew."

    def _rows(self, query: str, *given: int | str) -> Iterator[tuple[Any, ...]]:
        return cast("Iterator[tuple[Any, ...]]", self._db.execute(query, given))

    @contextmanager
    def _change(self) -> Iterator[apsw.Connection]:
        """Do all of a block or nothing; when it ends, that is on disk."""
        with self._told("written"), self._db as db:
            yield db

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Say what SQLite found in our own words."""
        try:
            yield
        except apsw.ConnectionClosedError as exc:
            raise StoreError(f"{self.path} is closed: open it again.") from exc
        except apsw.FullError as exc:
            raise StoreError(f"{self.path} can not grow: the disk is full. Make room.") from exc
        except apsw.Error as exc:
            raise StoreError(f"{self.path} can not be {what} ({exc}).") from exc


def _kept(row: Sequence[Any]) -> Kept:
    number, time, body = row
    return Kept(number, time, _decode_alert(body))
