"""A Ray cluster of the tests' own: one machine, two cores, on loopback, in a folder that it leaves with.

It is ended by its process's number, and it ends with the tests where these are killed.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.postgres import free_port

# The tests hide settings of the environment from the hub: read before that.
REQUIRED: Final = os.environ.get("KLINEHUB_REQUIRE_RAY", "") not in {"", "0"}
# Ray takes 127.0.0.1 for any address of this machine, and would be open to its neighbours.
HOST: Final = "127.0.0.2"
SECONDS: Final = 60.0
# Ray reads these once in a process, when it is imported: one token for all clusters that tests start there.
ENTRY: Final = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
}


class NoRay(Exception):
    """There is no Ray to be started here."""


class Cluster:
    """A cluster that runs from its making to `stop`; programs reach it at `address` with ENTRY set."""

    def __init__(self) -> None:
        program = Path(sys.executable).with_name("ray")
        if find_spec("ray") is None or not program.exists():
            raise NoRay("no Ray here: pip install 'klinehub[ray]', for Python 3.13 or older")
        # Not pytest's own folder: the names of its sockets may not be long.
        self.folder = Path(tempfile.mkdtemp(prefix="kh-ray-"))
        port = free_port()
        self.address = f"{HOST}:{port}"
        # Ends with the tests, even when these are killed.
        tie = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        options = {
            "--port": str(port),
            "--node-ip-address": HOST,
            "--num-cpus": "2",
            "--object-store-memory": "100000000",
            "--include-dashboard": "false",
            "--dashboard-port": str(free_port()),
            "--include-log-monitor": "false",
            "--temp-dir": str(self.folder),
        }
        command = [*tie, str(program), "start", "--head", "--block"]
        self._log = self.folder / "start.log"
        with self._log.open("wb") as written:
            self._process = subprocess.Popen(
                [*command, *(part for option in options.items() for part in option)],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENTRY},
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + SECONDS
        while "Ray runtime started" not in self._log.read_text("utf-8"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NoRay(f"it does not start:\n{self._log.read_text('utf-8')}")
            time.sleep(0.05)

    def left(self) -> list[int]:
        """List the processes of the cluster that are still there, by their numbers."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                # What follows the name in brackets: state, parent, group, session.
                state, _, _, session, *_ = path.read_text("utf-8").rpartition(")")[2].split()
                if int(session) == self._process.pid and state != "Z":
                    found.append(int(path.parent.name))
        return found

    def stop(self) -> None:
        """End it with all its processes, and delete all it wrote."""
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        for pid in self.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
