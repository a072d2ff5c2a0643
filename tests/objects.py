"""An S3 of the tests' own: moto's server, in a process of its own, on a port that nobody else has.

What it holds is in its memory and ends with it. It asks for credentials once it was told to.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from tests.postgres import free_port

# The tests hide settings of the environment from the hub: read before that.
REQUIRED: Final = os.environ.get("KLINEHUB_REQUIRE_S3", "") not in {"", "0"}
# An environment of its own: what it needs does not go with what klinehub has.
PYTHON: Final = Path(sys.prefix) / "s3" / "bin" / "python"
SECONDS: Final = 30.0
# Who may do everything; anybody, until the server is told to look.
KEY: Final = {"AWS_ACCESS_KEY_ID": "AKIATESTS", "AWS_SECRET_ACCESS_KEY": "tests"}


class NoServer(Exception):
    """There is no server of objects to be started here."""


class Server:
    """A server with one bucket; `start`, `stop` and `freeze` as often as a test likes."""

    bucket = "klines"

    def __init__(self) -> None:
        if not PYTHON.exists():
            raise NoServer(f"there is no {PYTHON}: `make .venv/.s3`")
        self.folder = Path(tempfile.mkdtemp(prefix="klinehub-s3-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.remove()
            raise

    def start(self, *, bucket: bool = True) -> None:
        """Start it, empty but for the bucket; returns when it answers."""
        tie = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [
            str(PYTHON),
            "-W",
            "ignore",
            "-m",
            "moto.server",
            "-H",
            "127.0.0.1",
            "-p",
            str(self.port),
        ]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*tie, *command],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "TZ": "UTC", **KEY},
                start_new_session=True,
            )
        deadline = time.monotonic() + SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError(f"it does not start:\n{(self.folder / 'server.log').read_text()}")
            time.sleep(0.02)
        if bucket:
            self.ask("PUT", f"/{self.bucket}")

    def _answers(self) -> bool:
        with suppress(OSError):
            self.ask("GET", "/moto-api/data.json")
            return True
        return False

    def ask(self, verb: str, path: str, body: str = "", **headers: str) -> bytes:
        """Ask it for something, as nobody in particular."""
        link = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            link.request(verb, path, body, headers)
            answer = link.getresponse()
            told = answer.read()
            assert answer.status < 300, told
            return told
        finally:
            link.close()

    def empty(self) -> None:
        """Forget all objects and users, and let everybody in again."""
        self.freeze(thaw=True)
        if self._process is None or self._process.poll() is not None:
            self.start()
            return
        self.ask("POST", "/moto-api/reset-auth", "inf")
        self.ask("POST", "/moto-api/reset")
        self.ask("PUT", f"/{self.bucket}")

    def lock(self) -> None:
        """Look at credentials from now on; nobody has any that are right."""
        self.ask("POST", "/moto-api/reset-auth", "0")

    def stop(self) -> None:
        """End it: nobody answers, and what it held is forgotten."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(SECONDS)

    def freeze(self, *, thaw: bool = False) -> None:
        """Let it do nothing more, or go on again: connections are taken, and nobody answers."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT if thaw else signal.SIGSTOP)

    def url(self, prefix: str = "", bucket: str = bucket) -> str:
        """Give the address of a prefix in a bucket."""
        asked = {"scheme": "http", "endpoint_override": f"127.0.0.1:{self.port}", "region": "us-east-1"}
        return f"s3://{bucket}/{prefix}?{urlencode(asked)}"

    def remove(self) -> None:
        """End it for good and delete what it wrote."""
        self.freeze(thaw=True)
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
