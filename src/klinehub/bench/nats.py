"""A NATS server of one's own: in a directory of its own and on a port that nobody else has.

It is started from the Debian package (or what PATH has), ended by its process's number, and it ends with who
started it where that is killed.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from klinehub.errors import DefinitionError

SECONDS: Final = 20.0


class NoNats(DefinitionError):
    """There is no NATS server to be started here."""


def program() -> str:
    """Give the server's program."""
    found = shutil.which("nats-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise NoNats("There is no nats-server here: install it (Debian: apt-get install nats-server).")
    return found


def free_port() -> int:
    """Give a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server with JetStream in a folder of its own; `start`, `stop` and `kill` as often as a test likes."""

    def __init__(self, *options: str, jetstream: bool = True) -> None:
        self.program = program()
        self.folder = Path(tempfile.mkdtemp(prefix="klinehub-nats-"))
        self.port = free_port()
        self._options = [*options, *(["-js", "-sd", str(self.folder / "js")] if jetstream else [])]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for whoever needs no name."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; returns when it takes connections."""
        tie = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the server alone
                [*tie, self.program, "-a", "127.0.0.1", "-p", str(self.port), *self._options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + SECONDS
        while not self._answers():
            if time.monotonic() >= deadline or not self.is_running:
                raise NoNats(f"nats-server does not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as probe:
                return probe.recv(4) == b"INFO"
        except OSError:
            return False

    def stop(self) -> None:
        """Stop it as an administrator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def freeze(self, *, thaw: bool = False) -> None:
        """Let it do nothing more, or go on again: connections stay, and nobody answers."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT if thaw else signal.SIGSTOP)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.wait(SECONDS)

    def remove(self) -> None:
        """End it for good and delete all it wrote."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
