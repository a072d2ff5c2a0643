"""What all tests share: an environment of their own, and the recorded market data where it is there."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import hypothesis
import pytest
from tests import objects
from tests.nats import REQUIRED as NATS_REQUIRED
from tests.postgres import REQUIRED, NoPostgres, Server

from klinehub.bench.nats import NoNats, program
from klinehub.bench.nats import Server as NatsServer

REALDATA: Final = Path(__file__).resolve().parents[2] / "shared" / "realdata"
SETTINGS: Final = ("KLINEHUB_",)
PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

# No deadline: the first example that reaches a kernel also pays for compiling it.
hypothesis.settings.register_profile("klinehub", deadline=None)
hypothesis.settings.load_profile("klinehub")


def pytest_configure() -> None:
    """Drop compiled kernels that are older than any kernel's source.

    numba's cache looks at the file of the kernel itself, not at those of the kernels it calls.
    """
    sources = Path(__file__).resolve().parents[1] / "src" / "klinehub"
    kernels = [path for path in sources.rglob("*.py") if re.search("njit|kernel", path.read_text("utf-8"))]
    newest = max(path.stat().st_mtime for path in kernels)
    for compiled in sources.rglob("*.nb[ci]"):
        if compiled.stat().st_mtime < newest:
            compiled.unlink(missing_ok=True)


@pytest.fixture(autouse=True, scope="session")
def clean_environment() -> Iterator[None]:
    """Hide the settings and proxies of the shell that the tests were started from."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(SETTINGS) or name.lower() in PROXIES:
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def realdata() -> Path:
    """Give the folder of recorded market data, or skip: it is not part of the repository."""
    if not REALDATA.is_dir():
        pytest.skip("the recorded market data (../shared/realdata) is not here")
    return REALDATA


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Give a PostgreSQL of the tests' own, or skip; KLINEHUB_REQUIRE_POSTGRES=1 makes that a failure."""
    try:
        server = Server()
    except NoPostgres as exc:
        if REQUIRED:
            pytest.fail(f"KLINEHUB_REQUIRE_POSTGRES is set, and {exc}")
        pytest.skip(f"THE STORE ON POSTGRESQL IS NOT TESTED: {exc}")
    yield server
    server.remove()


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[Server]:
    """Give the tests' PostgreSQL to one test, whose databases are then another's."""
    yield postgres_server
    postgres_server.take_back()


@pytest.fixture(scope="session")
def nats_program() -> str:
    """Give the NATS server's program, or skip; KLINEHUB_REQUIRE_NATS=1 makes that a failure."""
    try:
        return program()
    except NoNats as exc:
        if NATS_REQUIRED:
            pytest.fail(f"KLINEHUB_REQUIRE_NATS is set, and {exc}")
        pytest.skip(str(exc))


@pytest.fixture
def nats_server(nats_program: str) -> Iterator[NatsServer]:
    """Give a NATS server with JetStream of the test's own."""
    assert nats_program
    server = NatsServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[objects.Server]:
    """Give an S3 of the tests' own, or skip; KLINEHUB_REQUIRE_S3=1 makes that a failure."""
    try:
        server = objects.Server()
    except objects.NoServer as exc:
        if objects.REQUIRED:
            pytest.fail(f"KLINEHUB_REQUIRE_S3 is set, and {exc}")
        pytest.skip(f"HISTORY ON S3 IS NOT TESTED: {exc}")
    yield server
    server.remove()


@pytest.fixture
def s3(s3_server: objects.Server, monkeypatch: pytest.MonkeyPatch) -> objects.Server:
    """Give the tests' S3 to one test, empty, and the environment who it takes for its owner."""
    for name, value in {**objects.KEY, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    s3_server.empty()
    return s3_server
