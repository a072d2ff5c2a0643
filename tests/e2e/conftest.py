"""One simulated exchange for all of these tests, in a process of its own, and commands run against it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from klinehub.app.cli import main

KLINEHUB = [sys.executable, "-m", "klinehub.app.cli"]
# When a simulated market begins: nobody is listed before the next full hour, which no test reaches.
AT = "2026-06-18T12:01"


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]
# Gives the address of what answers everything with a status and a body.
Answering = Callable[..., str]


def environment(folder: Path) -> dict[str, str]:
    ports = dict.fromkeys(("KLINEHUB_SERVE_PORT", "KLINEHUB_SERVE_WS_PORT"), "0")
    homes = dict.fromkeys(("XDG_RUNTIME_DIR", "XDG_DATA_HOME"), str(folder))
    return {**os.environ, **ports, **homes, "COLUMNS": "120"}


@contextmanager
def started(
    *arguments: str, folder: Path, env: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[str]]":
    """Start a command that goes on until it is told to end; its homes are in *folder*."""
    with subprocess.Popen(
        [*KLINEHUB, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**environment(folder), **(env or {})},
    ) as process:
        yield process


@pytest.fixture(scope="session")
def exchange() -> Iterator[dict[str, str]]:
    command = [*KLINEHUB, "sim", "--port", "0", "--symbols", "12", "--seed", "5", "--json", "--with-parent"]
    # Nobody comes or goes at the full hour, in whose middle the tests may run.
    command += ["--churn", "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()
        process.communicate()
        assert process.returncode == 143


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: starting an interpreter for each would take longer than all of them."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["klinehub", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return command


@pytest.fixture
def at(exchange: dict[str, str]) -> list[str]:
    """Give the options that point a command at the simulated exchange."""
    return ["--rest-url", exchange["rest_url"], "--stream-url", exchange["stream_url"]]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Give what starts a server that answers every request in the same way."""
    servers: list[tuple[HTTPServer, threading.Thread]] = []

    def serve(status: int, body: bytes, *, retry_after: int | None = None) -> str:
        class Same(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                if retry_after is not None:
                    self.send_header("Retry-After", str(retry_after))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = HTTPServer(("127.0.0.1", 0), Same)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()
