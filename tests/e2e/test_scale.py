"""docs/scale.md and others: their commands and code run as printed, but for addresses and ports.

Run are the blocks that start hubs; tests/unit/test_readme.py runs those that need none.
"""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.e2e.conftest import AT, environment

import klinehub as kh
import nats
from klinehub.app.market import Announcement
from klinehub.bench.nats import Server, free_port

pytestmark = pytest.mark.timeout(180)
DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
PRINTED: Final = "nats://127.0.0.1:4222"
# The ports of the page: of hubs, of the simulated exchange and of the message server.
PORTS: Final = ("8787", "8788", "8797", "8798", "8091", "9000", "9001", "4222")
GOES_ON: Final = ("nats-server", "klinehub sim", "klinehub run")
WITHIN: Final = 90.0


def printed(language: str, page: str = "scale") -> list[str]:
    """Give the blocks of a page that are written in a language."""
    text = (DOCS / f"{page}.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def hubs_of(page: str) -> list[list[str]]:
    """Give the blocks of a page in which a hub or an exchange is started."""
    found = [commands(block) for block in printed("console", page)]
    return [block for block in found if re.search("klinehub (run|sim)", " ".join(block))]


SHAPES: Final = hubs_of("scale")
BLOCKS: Final = [
    *zip(("one machine", "fed", "cluster"), SHAPES, strict=True),
    *((page, block) for page in ("operations", "migrating", "getting-started") for block in hubs_of(page)),
]


class Shell:
    """Types the page's commands: what goes on until it is stopped is waited for until it does its work."""

    def __init__(self, folder: Path, exchange: dict[str, str]) -> None:
        self._folder = folder
        self._ports = {port: str(free_port()) for port in PORTS}
        self._going: list[subprocess.Popen[bytes]] = []
        here = Path(sys.executable).parent
        self._environment = {
            **environment(folder),
            "PATH": f"{here}{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin",
            "KLINEHUB_SERVE_PORT": self._ports["8787"],
            "KLINEHUB_SERVE_WS_PORT": self._ports["8788"],
        }
        # A hub that is fed is told of no exchange, as on the page.
        self._exchange = {
            "KLINEHUB_EXCHANGE_REST_URL": exchange["rest_url"],
            "KLINEHUB_EXCHANGE_STREAM_URL": exchange["stream_url"],
        }

    def type(self, command: str) -> str | None:
        """Run a command and give what it printed, or start one that goes on."""
        name = re.sub(r"^\w+=\S+ ", "", command)
        text = re.sub(r":(\d{4})\b|(?<=port )(\d{4})\b", self._other, command)
        if not name.startswith(GOES_ON):
            return self._ran(text)
        if name.startswith("nats-server"):
            self._start(f"{text} -a 127.0.0.1 -p {self._ports['4222']}", self._ports["4222"])
        elif name.startswith("klinehub sim"):
            self._start(f"{text} --ws-port {self._ports['9001']} --churn 0", self._ports["9001"])
        else:
            self._start(f"{text} --json", "")
        return None

    def _other(self, found: re.Match[str]) -> str:
        port = found[1] or found[2]
        return found[0].replace(port, self._ports[port])

    def _ran(self, command: str) -> str:
        done = subprocess.run(
            ["sh", "-euc", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _start(self, command: str, port: str) -> None:
        said, wrong = (self._folder / f"{len(self._going)}.{name}" for name in ("out", "err"))
        env = self._environment | ({} if "--subscribe" in command else self._exchange)
        with said.open("wb") as out, wrong.open("wb") as err:
            process = subprocess.Popen(
                ["sh", "-c", command],
                cwd=self._folder,
                env=env,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._going.append(process)
        deadline = time.monotonic() + WITHIN
        while not (listens(int(port)) if port else said.stat().st_size):
            assert process.poll() is None, f"{command}\n{wrong.read_text()}"
            assert time.monotonic() < deadline, f"{command}\n{wrong.read_text()}"
            time.sleep(0.1)

    def close(self) -> None:
        """End all that goes on, what feeds others last."""
        for process in reversed(self._going):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(WITHIN)


def listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0):
            return True
    except OSError:
        return False


@pytest.fixture
def shell(tmp_path: Path, exchange: dict[str, str]) -> Iterator[Shell]:
    with ExitStack() as stack:
        made = Shell(tmp_path, exchange)
        stack.callback(made.close)
        yield made


@pytest.mark.parametrize("block", [block for _, block in BLOCKS], ids=[name for name, _ in BLOCKS])
def test_commands_run_as_printed(shell: Shell, nats_program: str, tmp_path: Path, block: list[str]) -> None:
    assert nats_program
    # What the reader of the first page has saved by then.
    (mine,) = [text for text in printed("python", "getting-started") if "@kh.factor" in text]
    (tmp_path / "mine.py").write_text(mine, encoding="utf-8")
    said = {command: shell.type(command) for command in block}

    statuses = [text or "" for command, text in said.items() if command.endswith("status")]
    assert all("fresh symbols" in text for text in statuses)
    assert all(text is None or text for text in said.values()), said
    if any("--cluster" in command for command in block):
        assert re.search(r"relay members +│ \S+, \S+ ", statuses[0])
        assert re.search(r"relay own +│ [1-9]", statuses[0])


def test_the_page_shows_three_shapes() -> None:
    words = " ".join(command for block in SHAPES for command in block)

    assert len(SHAPES) == 3
    assert all(f"--{name} {PRINTED}" in words for name in ("publish", "subscribe", "cluster"))


@contextmanager
def program(text: str) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def until(ready: Any) -> None:
    async with asyncio.timeout(60):
        # Nobody is told when it is so.
        while not ready():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_program_without_klinehub_reads_what_is_told(nats_server: Server) -> None:
    (text,) = [block for block in printed("python") if "import nats" in block]
    assert "klinehub as" not in text
    async with kh.simulated(symbols=8, speed=60, at=AT) as exchange:
        clock = exchange.clock()
        async with kh.Hub(**where(exchange), clock=clock, publish=nats_server.url, bars=60) as hub:
            await until(lambda: int(hub.get_stats()["relay_told"]) > 60)
            async for event in hub.closes():
                if event.timeframe == "1m":
                    break
            with program(text.replace(PRINTED, nats_server.url)) as reader:
                assert reader.stdout is not None
                lines = [await asyncio.to_thread(reader.stdout.readline) for _ in range(24)]

            told = {(int(line.split()[0]), line.split()[1]): line.split()[2:] for line in lines}
            assert {symbol for _, symbol in told} == set(hub.symbols)
            for (opened, symbol), words in told.items():
                bars = hub.klines(symbol, "1m", 60)
                (kept,) = bars[bars["open_time"] == opened]
                assert [float(word) for word in words] == [kept["close"], kept["volume"]]


def where(exchange: Announcement) -> dict[str, Any]:
    return {"rest_url": exchange.rest_url, "stream_url": exchange.stream_url, "timeframes": ["1m", "5m"]}


@pytest.fixture
def guarded(nats_program: str, tmp_path: Path) -> Iterator[Server]:
    """A server with the users of the page."""
    assert nats_program
    (text,) = [block for block in printed("text") if block.startswith("jetstream")]
    settings = tmp_path / "nats.conf"
    settings.write_text(text, encoding="utf-8")
    server = Server("-c", str(settings), jetstream=False)
    try:
        server.start()
        yield server
    finally:
        server.remove()


async def test_who_may_only_read_is_fed_and_tells_nobody(guarded: Server) -> None:
    one, reader = (
        guarded.url.replace("//", f"//{who}@") for who in ("hub:one-that-tells", "reader:one-that-reads")
    )
    async with kh.simulated(symbols=4, at=AT) as exchange:
        clock = exchange.clock()
        async with kh.Hub(**where(exchange), clock=clock, publish=one, bars=30, hub_name="one") as hub:
            await until(lambda: hub.get_stats()["relay_told"])
            async with kh.Hub(timeframes=["1m", "5m"], bars=30, clock=clock, subscribe=reader) as fed:
                assert fed.symbols == hub.symbols
                assert fed.all_stale(fed.symbols) == {}
                taken = fed.get_stats()["relay_bars"]
                refused: list[str] = []

                async def note(exc: Exception) -> None:
                    refused.append(str(exc).lower())

                liar = await nats.connect(reader, error_cb=note)
                for subject in ("klines.1m", "klines.listing", "pulse.one", "alerts"):
                    await liar.publish(f"klinehub.v1.binance-usdm.{subject}", b"a lie")
                await liar.flush()
                await until(lambda: len(refused) == 4)
                await liar.close()

                assert all("permissions violation for publish" in text for text in refused)
                assert fed.get_stats()["relay_set_aside"] == 0
                assert taken
