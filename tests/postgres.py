"""A PostgreSQL of the tests' own: in a directory of its own, on a socket and a port that nobody else has.

It is started from the Debian package (or what PATH has), as another user where the tests run as root, which
PostgreSQL refuses. It is ended by its process's number, and it ends with the tests where these are killed.
"""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

# The tests hide settings of the environment from the hub: read before that.
REQUIRED: Final = os.environ.get("KLINEHUB_REQUIRE_POSTGRES", "") not in {"", "0"}
DEBIAN: Final = Path("/usr/lib/postgresql")
SECONDS: Final = 20.0
# Who the tests are in the database, with all rights and, on the socket, without a password.
OWNER: Final = "klinehub_tests"


class NoPostgres(Exception):
    """There is no PostgreSQL to be started here."""


def programs() -> Path:
    """Give the folder of initdb and postgres, the newest that is installed."""
    debian = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    if found is None:
        raise NoPostgres(
            "no PostgreSQL here: install it (Debian: apt-get install postgresql), or have initdb on PATH"
        )
    return Path(found).resolve().parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server in *folder*, which it owns; `start`, `stop` and `kill` as often as a test likes."""

    def __init__(self) -> None:
        self.bin = programs()
        # Not pytest's own folder, into which no other user may look.
        self.folder = Path(tempfile.mkdtemp(prefix="klinehub-pg-"))
        self.port = free_port()
        self._names = itertools.count(1)
        self._lent: set[str] = set()
        self._free: list[str] = []
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            import pwd

            user = next(
                name for name in ("postgres", "nobody") if name in {one.pw_name for one in pwd.getpwall()}
            )
            self._as = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
            shutil.chown(self.folder, user)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._make()
            self.start()
        except BaseException:
            self.remove()
            raise

    def _run(self, *command: str | Path, log: str) -> "subprocess.Popen[bytes]":
        # Ends with the tests, even when these are killed.
        tie = ["setpriv", "--pdeathsig", "QUIT"] if shutil.which("setpriv") else []
        with (self.folder / log).open("ab") as written:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [*tie, *map(str, command)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
                **self._as,
            )
        return process

    def _make(self) -> None:
        """Make the cluster: trust on the socket, passwords on the port."""
        options = ("-U", OWNER, "-E", "UTF8", "--locale=C", "--auth-local=trust", "--auth-host=scram-sha-256")
        making = self._run(self.bin / "initdb", "-D", self.folder / "data", "-N", *options, log="initdb.log")
        if making.wait(60):
            raise NoPostgres(f"initdb failed:\n{(self.folder / 'initdb.log').read_text()}")

    def start(self, *options: str) -> None:
        """Start it, with further *options* as `-c name=value`; returns when it answers."""
        settings = {
            "unix_socket_directories": str(self.folder),
            "listen_addresses": "127.0.0.1",
            "max_connections": "40",
            "shared_buffers": "16MB",
        }
        told = [f"-c{name}={value}" for name, value in settings.items()]
        command: tuple[str | Path, ...] = (
            self.bin / "postgres",
            "-D",
            self.folder / "data",
            f"-p{self.port}",
        )
        deadline = time.monotonic() + SECONDS
        while True:
            self._process = self._run(*command, *told, *options, log="server.log")
            while time.monotonic() < deadline and self._process.poll() is None:
                if self._answers():
                    return
                time.sleep(0.01)
            # The memory of one that was killed is given back a moment later.
            if time.monotonic() >= deadline:
                raise NoPostgres(f"it does not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Stop it as an administrator would, cutting all connections."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it and all its processes at once, as a power cut would."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def freeze(self, *, thaw: bool = False) -> None:
        """Let it do nothing more, or go on again: connections stay, and nobody answers."""
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT if thaw else signal.SIGSTOP)

    def _pids(self) -> list[int]:
        """Give the server's process and those that it has begun, one for each session among them."""
        assert self._process is not None
        pid = self._process.pid
        begun = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        return [pid, *map(int, begun)]

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.wait(SECONDS)

    def url(self, database: str) -> str:
        """Give the address of a database on the socket."""
        return f"postgresql://{OWNER}@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str, user: str, password: str) -> str:
        """Give the address of a database on the port, where a password is asked for."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """Give the name of an empty database, for one test.

        Those of earlier tests are emptied: to make one copies 300 files, to delete a hundred takes a minute.
        """
        if self._process is None or self._process.poll() is not None:
            # A test that failed left it dead.
            self.start()
        name = self._free.pop() if self._free else f"test_{next(self._names)}"
        if name not in self._lent:
            self.ask("postgres", f"CREATE DATABASE {name} TEMPLATE template0")
        self._lent.add(name)
        others = (
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
        )
        self.ask(name, f"{others} AND pid <> pg_backend_pid()")
        for (schema,) in self.ask(name, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'klinehub%'"):
            self.ask(name, f"DROP SCHEMA {schema} CASCADE")
        return name

    def take_back(self) -> None:
        """Say that a test is over: its databases may be given to another."""
        self._free = sorted(self._lent)

    def ask(self, database: str, query: str) -> list[tuple[object, ...]]:
        """Run a statement as the owner and give its rows."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as db:
            cursor = db.execute(query)
            return list(cursor.fetchall()) if cursor.description else []

    def remove(self) -> None:
        """End it for good, without its last checkpoint, and delete all it wrote."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)
